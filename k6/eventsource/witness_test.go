package eventsource

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/metrics"
)

func numbers(t *testing.T, announced int, ns ...int64) verdict {
	t.Helper()
	var l ledger
	var v verdict
	for i, n := range ns {
		if announced == i && i > 0 {
			v.add(l.announce(0, false))
		}
		v.add(l.see(0, n))
	}
	v.add(l.settle())
	return v
}

func TestNumbersTellLostRepeatedAndReordered(t *testing.T) {
	require.Equal(t, verdict{}, numbers(t, 0, 7, 8, 9))
	require.Equal(t, verdict{lost: 2}, numbers(t, 0, 1, 4, 5))
	require.Equal(t, verdict{duplicates: 1}, numbers(t, 0, 1, 2, 2, 3))
	require.Equal(t, verdict{reordered: 1}, numbers(t, 0, 1, 3, 2, 4))
	require.Equal(t, verdict{reordered: 1, lost: 2}, numbers(t, 0, 1, 5, 3, 6))
	require.Equal(t, verdict{lost: 2, announced: 2}, numbers(t, 2, 1, 2, 5, 6))
	// What was announced for one hole does not excuse the next one.
	require.Equal(t, verdict{lost: 3, announced: 2}, numbers(t, 2, 1, 2, 5, 7))
}

func TestWhatIsTooLateIsLostAtOnce(t *testing.T) {
	var l ledger
	var v verdict
	for n := int64(1); n < 300; n++ {
		if n != 100 {
			v.add(l.see(0, n))
		}
	}
	require.Equal(t, verdict{lost: 1}, v)
	require.Equal(t, verdict{duplicates: 1}, l.see(0, 100))
}

func TestTheRangesThatAPlaceRemembersAreBounded(t *testing.T) {
	var l ledger
	var v verdict
	for n := int64(1); n < 200; n += 2 {
		v.add(l.see(0, n))
	}
	require.LessOrEqual(t, len(l.places[0].missing), missingRangesMax)
	v.add(l.settle())
	require.Equal(t, verdict{lost: 99}, v)
}

func compact(legs ...leg) []byte {
	var newest int64
	for _, l := range legs {
		newest = max(newest, l.at.ms)
	}
	b := binary.AppendUvarint([]byte{1}, uint64(newest))
	for _, l := range legs {
		b = binary.LittleEndian.AppendUint32(b, l.channel)
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(newest-l.at.ms)), uint64(l.at.seq))
	}
	return []byte(base64.RawURLEncoding.EncodeToString(b))
}

func TestEveryFormOfAnIDTellsWhichChannelMoved(t *testing.T) {
	a, b := crc32.ChecksumIEEE([]byte("a")), crc32.ChecksumIEEE([]byte("b"))
	for name, ids := range map[string][3]string{
		"vector": {"a=5-0,b=9-0", "a=7-1,b=9-0", "a=6-0,b=9-0"},
		"compact": {
			string(compact(leg{a, position{5, 0}}, leg{b, position{9, 0}})),
			string(compact(leg{a, position{7, 1}}, leg{b, position{9, 0}})),
			string(compact(leg{a, position{6, 0}}, leg{b, position{9, 0}})),
		},
	} {
		var c cursor
		_, ok := c.move([]byte(ids[0]))
		require.True(t, ok, name)
		moved, ok := c.move([]byte(ids[1]))
		require.True(t, ok, name)
		require.Equal(t, advance{leg: leg{a, position{7, 1}}, forward: true}, moved, name)
		moved, _ = c.move([]byte(ids[1]))
		require.False(t, moved.forward || moved.back, name)
		moved, _ = c.move([]byte(ids[2]))
		require.Equal(t, advance{leg: leg{a, position{6, 0}}, back: true}, moved, name)
		moved, _ = c.move([]byte(ids[1]))
		require.False(t, moved.forward, "%s: what went back is no place", name)
	}
}

func TestAnIDOfAnotherServerIsNoPosition(t *testing.T) {
	var c cursor
	for _, id := range []string{"", "12", "1-x", "a=1", "a=1-0,b", "AQ", "not base64!", "1-0-0"} {
		_, ok := c.move([]byte(id))
		require.False(t, ok, id)
	}
}

func TestLagIsMeasuredFromTheIDOrFromAField(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_250)
	data := []byte(`{"c":"a","n":3,"t": 1700000000100.5,"x":1}`)
	for from, want := range map[string]float64{"id": 250, "t": 149.5} {
		w := newWitness(options{lag: from})
		_, lag, measured := w.see(nil, []byte("1700000000000-0"), data, now)
		require.True(t, measured)
		require.InDelta(t, want, lag, 0.01)
	}
	for _, from := range []string{"none", "y"} {
		w := newWitness(options{lag: from})
		_, _, measured := w.see(nil, []byte("1700000000000-0"), data, now)
		require.False(t, measured)
	}
}

func TestChannelsAreCheckedApart(t *testing.T) {
	for name, o := range map[string]options{
		"by the data's field": {sequence: "n", channel: "c"},
		"by the id":           {sequence: "n"},
	} {
		w := newWitness(o)
		var sum counts
		at := map[string]int{"a": 1, "b": 1}
		for i, event := range []struct {
			channel string
			number  int
		}{{"a", 1}, {"b", 8}, {"a", 2}, {"b", 9}, {"a", 4}, {"b", 10}} {
			at[event.channel] = 10 + i
			id := fmt.Sprintf("a=%d-0,b=%d-0", at["a"], at["b"])
			data := fmt.Sprintf(`{"c":%q,"n":%d}`, event.channel, event.number)
			seen, _, _ := w.see(nil, []byte(id), []byte(data), time.Now())
			sum.add(seen)
		}
		sum.verdict.add(w.settle())
		require.Equal(t, int64(6), sum.checked, name)
		require.Equal(t, verdict{lost: 1}, sum.verdict, name)
	}
}

func TestWithoutNumbersTheIDsMustAdvance(t *testing.T) {
	w := newWitness(options{lag: "id"})
	var sum counts
	for _, id := range []string{"5-0", "5-1", "5-1", "", "4-0", "6-0"} {
		seen, _, _ := w.see(nil, []byte(id), nil, time.Now())
		sum.add(seen)
	}
	require.Equal(t, counts{events: 6, checked: 5, verdict: verdict{duplicates: 1, reordered: 1}}, sum)
}

func TestAnAnnouncedGapIsNoSilentLoss(t *testing.T) {
	for reason, want := range map[string]verdict{"trimmed": {lost: 3, announced: 3}, "reset": {}} {
		w := newWitness(options{sequence: "n"})
		var sum counts
		see := func(kind, id, data string) {
			seen, _, _ := w.see([]byte(kind), []byte(id), []byte(data), time.Now())
			sum.add(seen)
		}
		see("", "9-0", `{"n":1}`)
		see("fantail.gap", "", `{"channel":"a","reason":"`+reason+`","lost":3}`)
		see("", "9-5", `{"n":5}`)
		sum.verdict.add(w.settle())
		require.Equal(t, counts{events: 2, checked: 2, gaps: 1, verdict: want}, sum, reason)
	}
}

// What keeps JavaScript and the garbage collector out of the measurement of many small events.
func TestCountingAnEventAllocatesNothing(t *testing.T) {
	for name, id := range map[string]func(n int64) string{
		"one channel": func(n int64) string { return fmt.Sprintf("1700000000000-%d", n) },
		"several":     func(n int64) string { return fmt.Sprintf("a=1700000000000-%d,b=1700000000000-1", n) },
	} {
		s := &stream{options: options{count: true, sequence: "n", lag: "id"}, tally: &tally{quota: 10}, greeted: true}
		s.witness = newWitness(s.options)
		s.source = &EventSource{in: &instance{}}
		s.parser = parser{limit: 1000, emit: s.take}
		var events [][]byte
		for n := int64(1); n <= 600; n++ {
			events = append(events, []byte(fmt.Sprintf("id: %s\ndata: {\"n\":%d,\"t\":1}\n\n", id(n), n)))
		}
		next := 0
		feed := func() {
			require.NoError(t, s.parser.feed(events[next]))
			next++
		}
		for range 50 {
			feed()
		}
		require.Zero(t, testing.AllocsPerRun(500, feed), name)
		require.Equal(t, verdict{}, s.own.verdict)
		require.Equal(t, s.own.events, s.own.checked)
	}
}

// What the README and the dashboard name exists, and the README names all there is.
func TestMetricsAreThoseOfTheReadmeAndTheDashboard(t *testing.T) {
	registry := metrics.NewRegistry()
	_, err := registerMetrics(registry)
	require.NoError(t, err)
	var registered []string
	for _, m := range registry.All() {
		registered = append(registered, m.Name)
	}
	named := func(file, pattern string) []string {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var names []string
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			names = append(names, match[1])
		}
		return names
	}
	require.Subset(t, named("../README.md", "`(sse_[a-z_]+)"), registered)
	require.Subset(t, registered, named("../README.md", "`(sse_[a-z_]+)"))
	require.Subset(t, registered, named("../../helm/dashboards/k6.json", `k6_(sse_\w+?)(?:_total|_p95)?\{`))
}
