// Command proxy stands between k6 and nodes in the suite's own tests.
//
// It spreads connections over nodes like a load balancer and passes over those that do not answer. With -drop N it loses
// one event in N on the way, as a broken server would: a run against it must fail.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	to := flag.String("to", "", "addresses of nodes, host:port, separated by commas")
	drop := flag.Int64("drop", 0, "loses one event in so many; 0: none")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("proxy http://%s\n", listener.Addr())
	server := &http.Server{Handler: newProxy(strings.Split(*to, ","), *drop), ReadHeaderTimeout: time.Minute}
	log.Fatal(server.Serve(listener))
}

// newProxy makes the reverse proxy; httputil flushes event streams by itself.
func newProxy(nodes []string, drop int64) http.Handler {
	transport := &http.Transport{DialContext: balancer(nodes), DisableCompression: true, DisableKeepAlives: true}
	var events atomic.Int64
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "nodes"
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(response *http.Response) error {
			if drop > 0 && strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
				response.Body = newLossy(response.Body, drop, &events)
			}
			return nil
		},
		ErrorLog: log.New(io.Discard, "", 0), // a node that is killed is the test, not news
	}
}

// balancer dials the nodes in turn, and the next one where one does not answer.
func balancer(nodes []string) func(context.Context, string, string) (net.Conn, error) {
	var turn atomic.Int64
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var errs []error
		first := turn.Add(1)
		for i := range nodes {
			conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, nodes[(int(first)+i)%len(nodes)])
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
}

// lossy passes an event stream on, block by block, but for one event in `drop` of all streams.
type lossy struct {
	io.Closer
	source *bufio.Reader
	drop   int64
	events *atomic.Int64
	ready  []byte
	err    error
}

func newLossy(body io.ReadCloser, drop int64, events *atomic.Int64) *lossy {
	return &lossy{Closer: body, source: bufio.NewReader(body), drop: drop, events: events}
}

func (l *lossy) Read(into []byte) (int, error) {
	for len(l.ready) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		l.ready, l.err = l.block()
	}
	n := copy(into, l.ready)
	l.ready = l.ready[n:]
	return n, nil
}

// block reads up to a blank line; it is empty where the event is to be lost.
func (l *lossy) block() (block []byte, err error) {
	event := false
	for {
		line, err := l.source.ReadBytes('\n')
		block = append(block, line...)
		if err != nil {
			return block, err
		}
		event = event || bytes.HasPrefix(line, []byte("data:"))
		if len(bytes.TrimRight(line, "\r\n")) > 0 {
			continue
		}
		if event && l.events.Add(1)%l.drop == 0 {
			return nil, nil
		}
		return block, nil
	}
}
