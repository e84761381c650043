package eventsource

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What servers that are not Fantail send, and what a browser makes of it.

func TestADelayOfAnyLengthIsOne(t *testing.T) {
	day := (24 * time.Hour).Milliseconds()
	for text, want := range map[string]int64{
		"0": 0, "0000000000000000000000020": 20, "86400000": day, "86400001": day,
		"99999999999999": day, "9223372036854775807": day, "99999999999999999999999999": day,
	} {
		n, ok := bounded([]byte(text), day)
		require.True(t, ok, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "-1", "1.5", "1e3", " 1", "٣"} {
		_, ok := bounded([]byte(text), day)
		require.False(t, ok, text)
	}
}

func TestAHugeDelayIsNoStorm(t *testing.T) {
	for _, field := range []string{"99999999999999", "18446744073710", "99999999999999999999"} {
		var mu sync.Mutex
		requests := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			requests++
			mu.Unlock()
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte("retry: " + field + "\ndata: x\n\n"))
		}))
		v := newVU(t)
		// Whether it comes back at all is seen while another stream makes ten connections.
		other, _ := serve(t, "retry: 1\n\n", "\n", "\n", "\n", "\n", "\n", "\n", "\n", "\n")
		require.NoError(t, v.run(`
			const es = new EventSource(%q);
			es.onerror = () => new EventSource(%q, {retry: 1}).closed().then(() => es.close());`, server.URL, other))
		server.Close()
		require.Equal(t, 1, requests, field)
	}
}

func TestADelayOfTheScriptHasABound(t *testing.T) {
	for _, value := range []string{"1e14", "86400001", `"25h"`, "-1", "Infinity"} {
		v := newVU(t)
		require.ErrorContains(t, v.run(`new EventSource("http://127.0.0.1:1/", {retry: %s})`, value), "up to 24h", value)
	}
}

func TestWhatIsNoUTF8IsReplacedAsTheStandardSays(t *testing.T) {
	for text, want := range map[string]string{
		"ab": "ab", "ü€😀": "ü€😀", "\xff": "�", "a\xc3": "a�", "\xc3\x28": "�(",
		"\xe2\x82": "�", "\xe2\x82a": "�a", "\xe2\x28\xa1": "�(�", "\xf0\x9f\x98": "�", "\xf0\x9f\x98a": "�a",
		"\xf0\x9f\x98\xf0\x9f\x98\x80": "�😀", "\xc0\xaf": "��", "\xed\xa0\x80": "���", "\xf4\x90\x80\x80": "����", "\x80\x80": "��",
		"�": "�",
	} {
		require.Equal(t, want, string(decode([]byte(text))), "%q", text)
	}
}

func TestTypesIdsAndDataAreText(t *testing.T) {
	url, ids := serve(t, "retry: 1\nid: a\xff\nevent: t\xffy\xe2\x82\ndata: d\xc3\n\n")
	v := newVU(t)
	require.NoError(t, v.run(`
		const es = new EventSource(%q);
		es.addEventListener("t\uFFFDy\uFFFD", (e) => got.push(e.type === "t\uFFFDy\uFFFD", e.data === "d\uFFFD", e.lastEventId === "a\uFFFD"));`, url))
	require.Equal(t, "true,true,true", v.got())
	require.Equal(t, []string{"", "a�"}, ids())
}

func TestAnIDThatNoHeaderCanCarryGoesIntoTheQuery(t *testing.T) {
	for _, transport := range []string{"auto", "k6", "bare"} {
		var mu sync.Mutex
		var seen []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, r.Header.Get("Last-Event-ID")+"|"+r.URL.Query().Get("lastEventId")+"|"+r.URL.Query().Get("x"))
			bodies := []string{"retry: 1\nid: a\x01b\ndata: 1\n\n", "id: \x7f\ndata: 2\n\n", "id: 5-1\ndata: 3\n\n"}
			if len(seen) > len(bodies) {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte(bodies[len(seen)-1]))
		}))
		v := newVU(t)
		require.NoError(t, v.run(`new EventSource(%q, {transport: %q}).onmessage = (e) => got.push(e.data)`, server.URL+"/?x=y", transport))
		server.Close()
		require.Equal(t, "1,2,3", v.got(), transport)
		require.Equal(t, []string{"||y", "|a\x01b|y", "|\x7f|y", "5-1||y"}, seen, transport)
	}
}

func TestTheHeadOfAnEventStreamIsTakenInAnyForm(t *testing.T) {
	for _, transport := range []string{"k6", "bare"} {
		for _, kind := range []string{"text/event-stream", "TEXT/Event-Stream;x", "text/event-stream; charset=utf-8; charset=latin1"} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusProcessing)
				w.Header().Set("Content-Type", kind)
				_, _ = w.Write([]byte("data: " + r.Header.Get("Cache-Control") + "\n\n"))
			}))
			v := newVU(t)
			require.NoError(t, v.run(`
				new EventSource(%q, {transport: %q, reconnect: false}).onmessage = (e) => got.push(e.data)`, server.URL, transport))
			server.Close()
			require.Equal(t, "no-cache", v.got(), "%s %s", transport, kind)
		}
	}
}

func TestInformationalAnswersHaveABound(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.WriteHeader(http.StatusProcessing)
		}
	}))
	defer server.Close()
	for _, transport := range []string{"k6", "bare"} {
		v := newVU(t)
		require.NoError(t, v.run(`
			new EventSource(%q, {transport: %q, reconnect: false}).onerror = (e) => got.push(e.code)`, server.URL, transport))
		require.Equal(t, "connect", v.got(), transport)
	}
}

func TestRedirectsHaveABound(t *testing.T) {
	for _, transport := range []string{"k6", "bare"} {
		for most, want := range map[int64]string{-1: "21,connect", 3: "4,http_302"} {
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) > 100 {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				http.Redirect(w, r, "/", http.StatusFound)
			}))
			v := newVU(t)
			limit := &v.VU.StateField.Options.MaxRedirects
			limit.Int64, limit.Valid = most, most > 0
			require.NoError(t, v.run(`
				new EventSource(%q, {transport: %q, reconnect: false}).onerror = (e) => got.push(e.code)`, server.URL, transport))
			server.Close()
			require.Equal(t, want, fmt.Sprintf("%d,%s", requests.Load(), v.got()), transport)
		}
	}
}
