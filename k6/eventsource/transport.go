package eventsource

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
)

// The read buffer of a bare connection: the largest part of what a stream costs, and enough for ten small events.
const readBufferBytes = 2048

// Informational answers before one that counts; servers send one or two.
const informationalMax = 10

var errInformational = fmt.Errorf("more than %d informational answers", informationalMax)

// bareTransport speaks HTTP/1.1 on a connection of its own: one goroutine and one small buffer per stream, where
// net/http's transport has two goroutines and two buffers of 4 KiB. It knows neither proxies nor HTTP/2.
//
// k6's dialer is used, so hosts, DNS, blacklists and local addresses are those of the options.
type bareTransport struct {
	dialer        lib.DialContexter
	tls           *tls.Config
	receiveBuffer int
}

// RoundTrip implements http.RoundTripper; the request's context ends the connection.
func (t bareTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	conn, err := t.dial(ctx, request)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	response, err := exchange(conn, request)
	if err != nil {
		stop()
		_ = conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	// What else the body's reader would keep for the stream's life is the request and two maps of headers.
	response.Body = bareBody{response.Body, conn, stop}
	return response, nil
}

func (t bareTransport) dial(ctx context.Context, request *http.Request) (net.Conn, error) {
	secure := request.URL.Scheme == "https"
	port := request.URL.Port()
	if port == "" {
		port = "80"
		if secure {
			port = "443"
		}
	}
	conn, err := t.dialer.DialContext(ctx, "tcp", net.JoinHostPort(request.URL.Hostname(), port))
	if err != nil {
		return nil, err
	}
	shrink(conn, t.receiveBuffer)
	if !secure {
		return conn, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.tls != nil {
		config = t.tls.Clone()
	}
	config.ServerName, config.NextProtos = request.URL.Hostname(), []string{"http/1.1"}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// shrink makes a slow reader felt by the server sooner; 0 leaves the kernel's choice.
func shrink(conn net.Conn, bytes int) {
	if wrapped, ok := conn.(*netext.Conn); ok {
		conn = wrapped.Conn
	}
	if tcp, ok := conn.(*net.TCPConn); ok && bytes > 0 {
		_ = tcp.SetReadBuffer(bytes)
	}
}

func exchange(conn net.Conn, request *http.Request) (*http.Response, error) {
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(conn, readBufferBytes)
	response, err := http.ReadResponse(reader, request)
	// Informational answers come before the one that counts, whoever asked for them (RFC 9110 15.2).
	for n := 0; err == nil && response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols; n++ {
		if n == informationalMax {
			return nil, errInformational
		}
		response, err = http.ReadResponse(reader, request)
	}
	if err != nil {
		return nil, err
	}
	if secured, ok := conn.(*tls.Conn); ok {
		state := secured.ConnectionState()
		response.TLS = &state
	}
	return response, nil
}

// bareBody closes its connection at once: the rest of an event stream cannot be drained.
type bareBody struct {
	io.ReadCloser
	conn net.Conn
	stop func() bool
}

func (b bareBody) Close() error {
	b.stop()
	return b.conn.Close()
}

// gunzip reads its header only when the first byte is asked for, since a quiet stream has none yet.
type gunzip struct {
	source io.ReadCloser
	reader *gzip.Reader
}

func (g *gunzip) Read(into []byte) (int, error) {
	if g.reader == nil {
		reader, err := gzip.NewReader(g.source)
		if err != nil {
			return 0, err
		}
		g.reader = reader
	}
	return g.reader.Read(into)
}

func (g *gunzip) Close() error { return g.source.Close() }
