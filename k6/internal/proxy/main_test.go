package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func node(t *testing.T, name string, events int) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Node", name)
		for n := 1; n <= events; n++ {
			fmt.Fprintf(w, ":heartbeat\n\nid: %d-0\ndata: %d\n\n", n, n)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, proxy *httptest.Server) (body, node string) {
	t.Helper()
	response, err := http.Get(proxy.URL)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text), response.Header.Get("X-Node")
}

func TestOneEventInAThousandIsLostAndNothingElse(t *testing.T) {
	proxy := httptest.NewServer(newProxy([]string{node(t, "a", 2500).Listener.Addr().String()}, 1000))
	defer proxy.Close()
	body, _ := get(t, proxy)
	require.Equal(t, 2498, strings.Count(body, "data:"))
	require.NotContains(t, body, "data: 1000\n")
	require.NotContains(t, body, "data: 2000\n")
	require.Equal(t, 2500, strings.Count(body, ":heartbeat"))
}

func TestConnectionsAreSpreadAndANodeThatIsAwayIsPassedOver(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()
	nodes := []string{node(t, "a", 1).Listener.Addr().String(), node(t, "b", 1).Listener.Addr().String()}
	seen := map[string]int{}
	proxy := httptest.NewServer(newProxy(append(nodes, closed.Addr().String()), 0))
	defer proxy.Close()
	for range 6 {
		_, name := get(t, proxy)
		seen[name]++
	}
	require.Positive(t, seen["a"])
	require.Positive(t, seen["b"])
	require.Equal(t, 6, seen["a"]+seen["b"])
}
