package eventsource

import (
	"context"
	"errors"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/metrics"
)

// The states of readyState.
const (
	connecting = 0
	open       = 1
	closed     = 2
)

// EventSource is what JavaScript holds, by reflection. Its exported fields are touched on the event loop only.
type EventSource struct {
	URL             string      `js:"url"`
	WithCredentials bool        `js:"withCredentials"`
	ReadyState      int         `js:"readyState"`
	LastEventID     string      `js:"lastEventId"`
	Onopen          sobek.Value `js:"onopen"`
	Onmessage       sobek.Value `js:"onmessage"`
	Onerror         sobek.Value `js:"onerror"`

	in        *instance
	stream    *stream
	object    *sobek.Object
	listeners map[string][]sobek.Value
	outcome   *Outcome
	promise   *sobek.Promise
	resolve   func(any) error
}

// Event is what listeners get.
type Event struct {
	Type        string `js:"type"`
	Data        string `js:"data"`
	LastEventID string `js:"lastEventId"`
	Origin      string `js:"origin"`
	// Of `error` events: what happened, the HTTP status if there was one, and the code of sse_errors.
	Message string `js:"message"`
	Status  int    `js:"status"`
	Code    string `js:"code"`
}

// Outcome is what `closed()` resolves with, and `stats()` tells meanwhile.
type Outcome struct {
	// Reason is closed, finished, stopped, refused, failed, ended or interrupted; empty while the stream lives.
	Reason      string `js:"reason"`
	Status      int    `js:"status"`
	Code        string `js:"code"`
	LastEventID string `js:"lastEventId"`
	Finished    bool   `js:"finished"`
	Connects    int64  `js:"connects"`
	Events      int64  `js:"events"`
	Bytes       int64  `js:"bytes"`
	Checked     int64  `js:"checked"`
	Gaps        int64  `js:"gaps"`
	Expired     int64  `js:"expired"`
	Lost        int64  `js:"lost"`
	Duplicates  int64  `js:"duplicates"`
	Reordered   int64  `js:"reordered"`
}

// construct is `new EventSource(url, options)`.
func (in *instance) construct(call sobek.ConstructorCall) *sobek.Object {
	rt := in.vu.Runtime()
	source, err := in.newSource(call.Argument(0).String(), call.Argument(1))
	if err != nil {
		common.Throw(rt, err)
	}
	source.object = rt.ToValue(source).(*sobek.Object)
	if err := source.object.SetPrototype(call.This.Prototype()); err != nil {
		common.Throw(rt, err)
	}
	in.mailbox.hold()
	in.begin(in.vu.Context())
	go source.stream.run()
	return source.object
}

func (in *instance) newSource(address string, given sobek.Value) (*EventSource, error) {
	state := in.vu.State()
	if state == nil {
		return nil, common.NewInitContextError("an EventSource cannot be opened in the init context")
	}
	u, err := parseURL(address)
	if err != nil {
		return nil, err
	}
	o, err := parseOptions(in.vu.Runtime(), given)
	if err != nil {
		return nil, err
	}
	tags := state.Tags.GetCurrentValues()
	// Never a time series per query, of which there may be one per user.
	plain := u.Scheme + "://" + u.Host + u.Path
	tags.SetSystemTagOrMetaIfEnabled(state.Options.SystemTags, metrics.TagName, plain)
	if err := common.ApplyCustomUserTags(in.vu.Runtime(), &tags, o.tags); err != nil {
		return nil, err
	}
	if agent := state.Options.UserAgent.String; agent != "" && o.headers.Get("User-Agent") == "" {
		o.headers.Set("User-Agent", agent)
	}
	source := &EventSource{URL: u.String(), in: in, LastEventID: o.lastEventID}
	source.stream = newStream(source, u, o)
	source.stream.tally = in.tally(tags.Tags)
	source.stream.ctx, source.stream.cancel = context.WithCancelCause(in.vu.Context())
	if o.resume != nil {
		if o.resume.outcome == nil {
			return nil, errors.New("EventSource: resume needs a stream that has ended: await its closed() first")
		}
		source.LastEventID = o.resume.LastEventID
		source.stream.follow(o.resume.stream)
	}
	return source, nil
}

// AddEventListener is the DOM's; a listener is added once.
func (es *EventSource) AddEventListener(kind string, listener sobek.Value) {
	if es.listeners == nil {
		es.listeners = map[string][]sobek.Value{}
	}
	for _, known := range es.listeners[kind] {
		if known.SameAs(listener) {
			return
		}
	}
	es.listeners[kind] = append(es.listeners[kind], listener)
}

// RemoveEventListener is the DOM's.
func (es *EventSource) RemoveEventListener(kind string, listener sobek.Value) {
	for i, known := range es.listeners[kind] {
		if known.SameAs(listener) {
			// A copy: the list may be walked by a delivery right now.
			rest := append([]sobek.Value{}, es.listeners[kind][:i]...)
			es.listeners[kind] = append(rest, es.listeners[kind][i+1:]...)
			return
		}
	}
}

// Close ends the stream for good; no listener is called after it.
func (es *EventSource) Close() {
	es.ReadyState = closed
	es.stream.cancel(errClosed)
}

// Cut drops the connection as a failing network does; the stream reconnects and resumes.
func (es *EventSource) Cut() { es.stream.cut() }

// Closed returns a promise of the stream's outcome; it resolves when the stream has ended for good.
func (es *EventSource) Closed() *sobek.Promise {
	if es.promise == nil {
		var resolve func(any) error
		es.promise, resolve, _ = es.in.vu.Runtime().NewPromise()
		es.resolve = resolve
		if es.outcome != nil {
			if err := resolve(es.outcome); err != nil {
				common.Throw(es.in.vu.Runtime(), err)
			}
		}
	}
	return es.promise
}

// Stats tells what the stream has seen up to now.
func (es *EventSource) Stats() *Outcome {
	if es.outcome != nil {
		return es.outcome
	}
	outcome := es.stream.outcome()
	outcome.LastEventID = es.LastEventID
	return outcome
}

// deliver runs on the event loop.
func (in *instance) deliver(n notice) error {
	es := n.source
	if n.kind == ended {
		es.ReadyState, es.outcome = closed, n.end
		es.LastEventID = n.end.LastEventID
		if es.resolve == nil {
			return nil
		}
		return es.resolve(n.end)
	}
	// Closed by the script, or its iteration is being interrupted: nothing is dispatched any more.
	if es.ReadyState == closed || in.vu.Context().Err() != nil {
		return nil
	}
	var property sobek.Value
	switch n.kind {
	case opened:
		es.ReadyState, property = open, es.Onopen
	case failed:
		es.ReadyState, property = connecting, es.Onerror
		if n.end != nil {
			es.ReadyState = closed
		}
	case message:
		es.LastEventID = n.event.LastEventID
		if n.event.Type == "message" {
			property = es.Onmessage
		}
	}
	return es.call(property, n.event)
}

// call runs the on… property and then the listeners; the first one that throws ends the iteration, as k6 users expect.
func (es *EventSource) call(property sobek.Value, event *Event) error {
	var argument sobek.Value
	one := func(listener sobek.Value) error {
		function, ok := sobek.AssertFunction(listener)
		if !ok {
			return nil
		}
		if argument == nil {
			argument = es.in.vu.Runtime().ToValue(event)
		}
		_, err := function(es.object, argument)
		return err
	}
	if property != nil {
		if err := one(property); err != nil {
			return err
		}
	}
	for _, listener := range es.listeners[event.Type] {
		if err := one(listener); err != nil {
			return err
		}
	}
	return nil
}
