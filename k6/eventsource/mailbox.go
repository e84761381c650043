package eventsource

import (
	"sync"

	"go.k6.io/k6/v2/js/modules"
)

// The most messages that wait for JavaScript in one VU; beyond that its streams stop reading, and TCP holds the server.
const mailboxMax = 4096

// notice is something that a stream tells its VU's event loop.
type notice struct {
	source *EventSource
	kind   noticeKind
	event  *Event
	end    *Outcome
}

type noticeKind uint8

const (
	opened noticeKind = iota
	message
	failed
	ended
)

// mailbox brings notices of all streams of a VU to its event loop.
//
// One callback is registered for all of them: it keeps the iteration alive while a stream is open, and a wake-up takes
// everything that waits. A callback per event would cost more than the event.
type mailbox struct {
	vu  modules.VU
	run func(notice) error

	mu        sync.Mutex
	room      *sync.Cond
	waiting   []notice
	spare     []notice
	enqueue   func(func() error)
	scheduled bool
	open      int // streams; touched on the event loop only
}

func newMailbox(vu modules.VU, run func(notice) error) *mailbox {
	m := &mailbox{vu: vu, run: run}
	m.room = sync.NewCond(&m.mu)
	return m
}

// hold announces a stream, which will post one `ended`. On the event loop only.
func (m *mailbox) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	if m.enqueue == nil && !m.scheduled {
		m.enqueue = m.vu.RegisterCallback()
	}
}

// post leaves a notice, from any goroutine; a message waits for room while its stream lives.
func (m *mailbox) post(n notice) {
	m.mu.Lock()
	for n.kind == message && len(m.waiting) >= mailboxMax && n.source.stream.ctx.Err() == nil {
		m.room.Wait()
	}
	m.waiting = append(m.waiting, n)
	if m.scheduled {
		m.mu.Unlock()
		return
	}
	m.scheduled = true
	enqueue := m.enqueue
	m.enqueue = nil
	m.mu.Unlock()
	enqueue(m.empty)
}

// empty runs on the event loop. An error of a listener does not keep later notices from being counted.
func (m *mailbox) empty() (err error) {
	m.mu.Lock()
	batch := m.waiting
	m.waiting, m.scheduled = m.spare[:0], false
	m.enqueue = m.vu.RegisterCallback()
	m.mu.Unlock()
	m.room.Broadcast()
	for i, n := range batch {
		if e := m.run(n); e != nil && err == nil {
			err = e
		}
		if n.kind == ended {
			m.open--
		}
		batch[i] = notice{}
	}
	m.mu.Lock()
	m.spare = batch
	if m.open > 0 || m.scheduled {
		m.mu.Unlock()
		return err
	}
	enqueue := m.enqueue
	m.enqueue = nil
	m.mu.Unlock()
	enqueue(func() error { return nil })
	return err
}
