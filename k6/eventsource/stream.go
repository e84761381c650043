package eventsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.k6.io/k6/v2/metrics"
	"golang.org/x/net/http/httpguts"
)

// Why a stream, or one connection of it, was ended from this side.
var (
	errClosed   = errors.New("closed by the script")
	errFinished = errors.New("the event to wait for came")
	errCut      = errors.New("cut by the script")
	errTimeout  = errors.New("no answer within the timeout")
	errEnd      = errors.New("the server ended the stream")
	errCircle   = fmt.Errorf("more than %d redirects", redirectsMax)
)

// Redirects that a request follows where k6 is not told of another number (Fetch, section 4.4).
const redirectsMax = 20

// stream is one EventSource's network side: a goroutine that connects, reads and connects again until it ends for good.
type stream struct {
	source  *EventSource
	url     *url.URL
	options options
	client  *http.Client
	tally   *tally
	ctx     context.Context
	cancel  context.CancelCauseFunc

	// Of the goroutine alone.
	parser    parser
	witness   witness
	retry     time.Duration
	connected time.Time // when the connection that is open, or was last, was asked for
	lostAt    time.Time // when an open stream was lost; zero while it is open
	greeted   bool      // the first event has come

	own counts // under the tally's lock

	mu       sync.Mutex
	drop     context.CancelCauseFunc // of the connection
	connects int64
}

func newStream(source *EventSource, u *url.URL, o options) *stream {
	s := &stream{source: source, url: u, options: o, retry: o.retry}
	s.parser = parser{
		limit: o.maxEventBytes, emit: s.take,
		retry:     func(ms int64) { s.retry = time.Duration(ms) * time.Millisecond },
		committed: []byte(o.lastEventID),
	}
	s.witness = newWitness(o)
	s.client = s.httpClient()
	return s
}

// httpClient makes redirects and cookies those of k6, and picks the transport: a bare connection where it can do what
// k6's transport would, since it costs half.
func (s *stream) httpClient() *http.Client {
	state := s.source.in.vu.State()
	client := &http.Client{Transport: state.Transport, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		limit := state.Options.MaxRedirects
		switch {
		case limit.Valid && int64(len(via)) > limit.Int64:
			return http.ErrUseLastResponse
		case !limit.Valid && len(via) > redirectsMax:
			return errCircle
		default:
			return nil
		}
	}}
	if state.CookieJar != nil { // a typed nil in Jar would panic
		client.Jar = state.CookieJar
	}
	bare := s.options.transport == "bare"
	if s.options.transport == "auto" && s.url.Scheme == "http" {
		proxy, err := http.ProxyFromEnvironment(&http.Request{URL: s.url})
		bare = proxy == nil && err == nil
	}
	if bare {
		client.Transport = bareTransport{state.Dialer, state.TLSConfig, s.options.receiveBuffer}
	}
	return client
}

// follow goes on where another stream, which has ended, was.
func (s *stream) follow(other *stream) {
	s.parser.committed = append([]byte{}, other.parser.committed...)
	s.witness.follow(&other.witness)
}

// cut drops the connection, if there is one.
func (s *stream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drop != nil {
		s.drop(errCut)
	}
}

// run is the stream's life.
func (s *stream) run() {
	in := s.source.in
	s.tally.sample(in.metrics.streams, 1)
	end := s.live()
	// Whoever never got in, or was closed by the script, has not failed to finish.
	if s.options.until != "" && end.Connects > 0 && end.Reason != "closed" {
		s.tally.sample(in.metrics.finished, oneIf(end.Finished))
	}
	in.finish()
	in.mailbox.post(notice{source: s.source, kind: ended, end: end})
	s.cancel(errClosed)
}

// live connects until the stream ends, and tells why it did.
func (s *stream) live() *Outcome {
	for {
		failure := s.connect()
		if s.ctx.Err() != nil {
			return s.ended("", nil)
		}
		reason := failure.final
		if reason == "" && !s.options.reconnect {
			reason = "failed"
			if failure.err == errEnd { //nolint:errorlint // its own value, never wrapped
				reason = "ended"
			}
		}
		s.report(failure)
		n := notice{source: s.source, kind: failed, event: &Event{
			Type: "error", Message: failure.err.Error(), Status: failure.status, Code: failure.code,
		}}
		if reason != "" {
			n.end = s.ended(reason, failure)
		}
		s.source.in.mailbox.post(n)
		if reason != "" {
			return n.end
		}
		if !s.pause(s.retry) {
			return s.ended("", nil)
		}
	}
}

// ended makes the outcome; without a reason it is what ended the context.
func (s *stream) ended(reason string, failure *failure) *Outcome {
	s.tally.count(&s.own, counts{verdict: s.witness.settle()})
	outcome := s.outcome()
	outcome.Reason, outcome.LastEventID = reason, string(s.parser.committed)
	if failure != nil {
		outcome.Status, outcome.Code = failure.status, failure.code
	}
	if reason == "" {
		switch context.Cause(s.ctx) {
		case errClosed:
			outcome.Reason = "closed"
		case errFinished:
			outcome.Reason = "finished"
		default:
			outcome.Reason = "interrupted"
		}
	}
	outcome.Finished = outcome.Reason == "finished"
	return outcome
}

func (s *stream) outcome() *Outcome {
	n := s.tally.snapshot(&s.own)
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Outcome{
		Connects: s.connects, Events: n.events, Bytes: n.bytes, Checked: n.checked, Gaps: n.gaps, Expired: n.expired,
		Lost: n.lost, Duplicates: n.duplicates, Reordered: n.reordered,
	}
}

// pause waits; false where the stream ended meanwhile.
func (s *stream) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// connect opens one connection and reads it to its end.
func (s *stream) connect() *failure {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(errClosed)
	s.mu.Lock()
	s.drop = cancel
	s.mu.Unlock()
	body, failed := s.head(ctx, cancel)
	if failed != nil {
		return failed
	}
	in := s.source.in
	in.root.open.Add(1)
	s.parser.start()
	err := s.read(body)
	in.root.open.Add(-1)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	_ = body.Close()
	s.lostAt = time.Now()
	return lossOf(err)
}

// target is the URL and the value of Last-Event-ID. An id that no header can carry goes into the query, as a polyfill of
// EventSource would have it: net/http refuses it, and a server would refuse the request.
func (s *stream) target() (url, id string) {
	id = string(s.parser.committed)
	if httpguts.ValidHeaderFieldValue(id) {
		return s.url.String(), id
	}
	u := *s.url
	query := u.Query()
	query.Set("lastEventId", id)
	u.RawQuery = query.Encode()
	return u.String(), ""
}

// head sends the request and judges the answer.
func (s *stream) head(ctx context.Context, cancel context.CancelCauseFunc) (io.ReadCloser, *failure) {
	if limit := s.source.in.vu.State().RPSLimit; limit != nil {
		if err := limit.Wait(ctx); err != nil {
			return nil, connectFailure(err)
		}
	}
	target, id := s.target()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, connectFailure(err)
	}
	request.Header = s.options.headers.Clone()
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Cache-Control", "no-cache") // as Fetch sends it for EventSource's cache mode, "no-store"
	if id != "" {
		request.Header.Set("Last-Event-ID", id)
	}
	s.connected = time.Now()
	timeout := time.AfterFunc(s.options.timeout, func() { cancel(errTimeout) })
	defer timeout.Stop()
	response, err := s.client.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, connectFailure(err)
	}
	if refusal := refusalOf(response); refusal != nil {
		_ = response.Body.Close()
		return nil, refusal
	}
	s.opened(response)
	body := response.Body
	response.Request, response.Header = nil, nil // else the body holds them as long as the stream lives
	return body, nil
}

// opened counts a connection whose head is that of an event stream.
func (s *stream) opened(response *http.Response) {
	in, now := s.source.in, time.Now()
	s.tally.sample(in.metrics.connectDuration, metrics.D(now.Sub(s.connected)), in.answerTags(response)...)
	s.tally.sample(in.metrics.connects, 1)
	if !s.lostAt.IsZero() {
		s.tally.sample(in.metrics.reconnects, 1)
		s.tally.sample(in.metrics.reconnectDuration, metrics.D(now.Sub(s.lostAt)))
		s.lostAt = time.Time{}
	}
	s.mu.Lock()
	s.connects++
	s.mu.Unlock()
	if response.Header.Get("Content-Encoding") == "gzip" {
		response.Body = &gunzip{source: response.Body}
	}
	in.mailbox.post(notice{source: s.source, kind: opened, event: &Event{Type: "open"}})
}

// read feeds the parser until the connection ends; the end that the server meant is errEnd.
func (s *stream) read(body io.Reader) error {
	size := readBufferBytes / 2
	if pace := s.options.bytesPerSecond; pace > 0 {
		size = int(min(int64(size), max(1, pace/4)))
	}
	buffer := make([]byte, size)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			s.tally.count(&s.own, counts{bytes: int64(n)})
			if err := s.parser.feed(buffer[:n]); err != nil {
				return err
			}
			if pace := s.options.bytesPerSecond; pace > 0 {
				s.pause(time.Duration(int64(n) * int64(time.Second) / pace))
			}
			if s.ctx.Err() != nil {
				return context.Cause(s.ctx)
			}
		}
		// An end that invites to come back has no last chunk, or is a reset of HTTP/2, so that nobody takes it for the whole.
		if err == io.EOF || err != nil && s.parser.dismissed {
			return errEnd
		}
		if err != nil {
			return err
		}
	}
}

// take gets one event from the parser.
func (s *stream) take(kind, id, data []byte) {
	in, now := s.source.in, time.Now()
	if !s.greeted {
		s.greeted = true
		s.tally.sample(in.metrics.firstEvent, metrics.D(now.Sub(s.connected)))
	}
	ownID := id
	if !s.parser.ownID {
		ownID = nil // what the browser's rule carries over from another event says nothing of this one
	}
	seen, lag, measured := s.witness.see(kind, ownID, data, now)
	s.tally.count(&s.own, seen)
	if measured {
		s.tally.lag(&s.own, lag)
	}
	if !s.options.count || isControl(kind) {
		name := "message"
		if len(kind) > 0 {
			name = string(kind)
		}
		in.mailbox.post(notice{source: s.source, kind: message, event: &Event{
			Type: name, Data: string(data), LastEventID: string(id), Origin: s.url.Scheme + "://" + s.url.Host,
		}})
	}
	if s.options.until != "" && string(kind) == s.options.until {
		s.options.untilTimes--
		if s.options.untilTimes == 0 {
			s.cancel(errFinished)
		}
	}
}

// report counts what went wrong; an end that the server or the script meant is none.
func (s *stream) report(f *failure) {
	if f.code == "" {
		return
	}
	s.tally.sample(s.source.in.metrics.errors, 1, s.source.in.failureTags(f)...)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
