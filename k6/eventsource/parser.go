package eventsource

import (
	"bytes"
	"errors"
	"math"
	"unicode/utf8"
)

// errTooLarge ends a stream whose event exceeds the limit: a bound for what one server can make this process hold.
var errTooLarge = errors.New("an event is larger than maxEventBytes")

var utf8BOM = []byte("\xef\xbb\xbf")

// parser reads text/event-stream incrementally (WHATWG HTML 9.2.6). It knows neither sockets nor JavaScript.
type parser struct {
	// emit gets an event; its slices are valid during the call only.
	emit func(event, id, data []byte)
	// retry gets the milliseconds of a `retry:` field.
	retry func(ms int64)
	// limit is the most bytes of one event.
	limit int

	line, data, event   []byte
	id                  []byte // the last event ID buffer
	committed           []byte // the last event ID string: what a reconnect sends
	begun, afterCR, any bool
	ownID               bool // the block has an id of its own
	more                bool // the block has a line that is neither `retry:` nor a comment
	// dismissed: the last that came is a `retry:` between two events, by which a node asks to come back.
	dismissed bool
}

// start begins a new connection. An event that the last one cut off is forgotten, its id included.
//
// The buffer keeps the committed id, as in browsers; the letter of the standard would forget it.
func (p *parser) start() {
	p.line, p.data, p.event = p.line[:0], p.data[:0], p.event[:0]
	p.id = append(p.id[:0], p.committed...)
	p.begun, p.afterCR, p.any, p.ownID = false, false, false, false
	p.more, p.dismissed = false, false
}

// feed takes the next bytes, cut anywhere.
func (p *parser) feed(b []byte) error {
	for len(b) > 0 {
		if p.afterCR {
			p.afterCR = false
			if b[0] == '\n' {
				b = b[1:]
				continue
			}
		}
		end := lineEnd(b)
		if end < 0 {
			p.line, p.dismissed = append(p.line, b...), false
			return p.check()
		}
		p.afterCR = b[end] == '\r'
		if len(p.line) == 0 {
			p.take(b[:end])
		} else {
			p.line = append(p.line, b[:end]...)
			p.take(p.line)
			p.line = p.line[:0]
		}
		if err := p.check(); err != nil {
			return err
		}
		b = b[end+1:]
	}
	return nil
}

func (p *parser) check() error {
	if len(p.line)+len(p.data) > p.limit {
		return errTooLarge
	}
	return nil
}

// lineEnd is the index of the first CR or LF, or -1.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf < 0 {
		return bytes.IndexByte(b, '\r')
	}
	if cr := bytes.IndexByte(b[:lf], '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// take reads one line.
func (p *parser) take(line []byte) {
	if !p.begun {
		p.begun = true
		line = bytes.TrimPrefix(line, utf8BOM)
	}
	if len(line) == 0 {
		p.dispatch()
		return
	}
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = decode(bytes.TrimPrefix(value, []byte{' '}))
	delay := string(name) == "retry"
	p.more = p.more || !delay && len(name) > 0
	p.dismissed = delay && !p.more
	switch string(name) {
	case "data":
		p.data = append(append(p.data, value...), '\n')
		p.any = true
	case "event":
		p.event = append(p.event[:0], value...)
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			p.id, p.ownID = append(p.id[:0], value...), true
		}
	case "retry":
		if ms, ok := bounded(value, longestRetry.Milliseconds()); ok {
			p.retry(ms)
		}
	}
}

// dispatch ends a block. A block without data commits its id and nothing else.
func (p *parser) dispatch() {
	p.committed = append(p.committed[:0], p.id...)
	if p.any {
		p.emit(p.event, p.id, p.data[:len(p.data)-1])
	}
	p.data, p.event, p.any, p.ownID, p.more = p.data[:0], p.event[:0], false, false, false
}

// decode makes text of what is no UTF-8, as the Encoding Standard does: U+FFFD for each longest beginning of a character
// that goes no further. Line ends are in no character, so a line can be decoded by itself.
func decode(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+8)
	for len(b) > 0 {
		if r, size := utf8.DecodeRune(b); r != utf8.RuneError || size > 1 {
			out = append(out, b[:size]...)
			b = b[size:]
			continue
		}
		out = append(out, "\uFFFD"...)
		b = b[brokenLen(b):]
	}
	return out
}

// brokenLen is the length of the longest beginning of b that begins a character; 1 at least. What follows can complete none.
func brokenLen(b []byte) int {
	for n := min(3, len(b)); n > 1; n-- {
		// The rest of a character that begins so would be continuation bytes.
		for _, rest := range []string{"\x80", "\x80\x80"} {
			if utf8.Valid(append(append([]byte{}, b[:n]...), rest...)) {
				return n
			}
		}
	}
	return 1
}

// digits reads up to 18 ASCII digits and nothing else.
func digits(b []byte) (int64, bool) {
	if len(b) > 18 {
		return 0, false
	}
	return bounded(b, math.MaxInt64)
}

// bounded reads ASCII digits and nothing else; what is beyond most is most.
func bounded(b []byte, most int64) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (most-int64(c-'0'))/10 {
			n = most // and stays so
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
