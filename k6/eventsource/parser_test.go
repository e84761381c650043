package eventsource

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, text string, size int) (events []string, p *parser) {
	t.Helper()
	p = &parser{limit: 1000, retry: func(ms int64) { events = append(events, fmt.Sprintf("retry %d", ms)) }}
	p.emit = func(kind, id, data []byte) { events = append(events, fmt.Sprintf("%s|%s|%s", kind, id, data)) }
	p.start()
	for len(text) > 0 {
		n := min(size, len(text))
		require.NoError(t, p.feed([]byte(text[:n])))
		text = text[n:]
	}
	return events, p
}

func TestEveryCutOfAStreamParsesAlike(t *testing.T) {
	text := "\xef\xbb\xbfid: 1\rdata:x\r\ndata\n\n:c\nevent: e\ndata:  y\n\nid\ndata: z\n\nretry: 20\nretry: 2x\n\ndata: no"
	for size := 1; size <= len(text); size++ {
		events, _ := parse(t, text, size)
		require.Equal(t, []string{"|1|x\n", "e|1| y", "||z", "retry 20"}, events, "size %d", size)
	}
}

func TestABareIDCommitsWithoutAnEvent(t *testing.T) {
	events, p := parse(t, "retry: 1\nid: 5-0\n\n", 100)
	require.Equal(t, []string{"retry 1"}, events)
	require.Equal(t, "5-0", string(p.committed))
}

func TestTheIDOfAnEventThatWasCutIsForgotten(t *testing.T) {
	_, p := parse(t, "id: 5-0\ndata: a\n\nid: 6-0\ndata: cut", 100)
	require.Equal(t, "5-0", string(p.committed))
	p.start()
	require.Equal(t, "5-0", string(p.id))
}

func TestAnIDWithNULIsIgnored(t *testing.T) {
	_, p := parse(t, "id: 5-0\n\nid: 6\x00\n\n", 100)
	require.Equal(t, "5-0", string(p.committed))
}

func TestAnEventBeyondTheLimitIsAnError(t *testing.T) {
	for _, text := range []string{"data: " + strings.Repeat("x", 2000), strings.Repeat("data: xxxxx\n", 300)} {
		p := &parser{limit: 1000}
		require.ErrorIs(t, p.feed([]byte(text)), errTooLarge)
	}
}

func TestADelayAloneAtTheEndIsTheInvitationToComeBack(t *testing.T) {
	for text, want := range map[string]bool{
		"retry: 1\n": true, "retry: 1\n\n": true, "data: x\n\nretry: 1\n": true, ":\nretry: 1\r\n": true,
		":\n\nretry: 1\n\n": true, "": false, "\n": false, "retry: 1": false, "retry: 1\n:": false, "retry: 1\n:\n": false,
		"retry: 1\n\n:\n\n": false, "event: x\nretry: 1\n": false,
		"retry: 1\nid: 1\n\n": false, "retry: 1\n\nid: 1\n\n": false,
	} {
		for _, size := range []int{1, 100} {
			_, p := parse(t, text, size)
			require.Equal(t, want, p.dismissed, "%q", text)
		}
	}
}
