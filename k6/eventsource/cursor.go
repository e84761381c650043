package eventsource

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// position is an entry id of a Redis stream, `<ms>-<seq>`.
type position struct{ ms, seq int64 }

func (p position) after(q position) bool { return p.ms > q.ms || p.ms == q.ms && p.seq > q.seq }

// leg is a channel's position in a cursor. A channel is known by the CRC-32 of its name, as in compact cursors.
type leg struct {
	channel uint32
	at      position
}

// cursor is what Fantail's `id:` carries: one position, or one for each channel.
type cursor struct {
	legs, spare []leg
	decoded     []byte
}

// advance says which of the id's channels moved since the last id, and how.
type advance struct {
	leg
	// forward: a position is after the last one; back: one lies before it; neither: nothing moved.
	forward, back bool
}

// move reads the next id; false where it is none of Fantail's. The first id has moved forward.
func (c *cursor) move(id []byte) (advance, bool) {
	next, ok := c.parse(id)
	if !ok {
		return advance{}, false
	}
	var moved advance
	for i, now := range next {
		was, known := c.position(now.channel, i)
		switch {
		case !known || now.at.after(was):
			// Of several that moved (a filter skips events) the newest is the event's own.
			if !moved.forward || now.at.after(moved.at) {
				moved.leg, moved.forward = now, true
			}
		case was.after(now.at):
			moved.back = true
			if !moved.forward {
				moved.leg = now
			}
		default:
			if !moved.forward && !moved.back && !moved.at.after(now.at) {
				moved.leg = now
			}
		}
	}
	// What went back does not count as a place: the place is the furthest that was seen.
	if !moved.back {
		c.legs, c.spare = next, c.legs[:0]
	}
	return moved, true
}

// position finds a channel's last position; it mostly has the same index as in the new cursor.
func (c *cursor) position(channel uint32, hint int) (position, bool) {
	if hint < len(c.legs) && c.legs[hint].channel == channel {
		return c.legs[hint].at, true
	}
	for _, l := range c.legs {
		if l.channel == channel {
			return l.at, true
		}
	}
	return position{}, false
}

func (c *cursor) parse(id []byte) ([]leg, bool) {
	into := c.spare[:0]
	if at, ok := parsePosition(id); ok {
		return append(into, leg{at: at}), true
	}
	if bytes.IndexByte(id, '=') >= 0 {
		return parseVector(id, into)
	}
	return c.parseCompact(id, into)
}

func parsePosition(b []byte) (position, bool) {
	ms, seq, ok := bytes.Cut(b, []byte{'-'})
	if !ok {
		return position{}, false
	}
	m, ok := digits(ms)
	if !ok {
		return position{}, false
	}
	s, ok := digits(seq)
	return position{m, s}, ok
}

// parseVector reads `orders=1700000000000-0,user.42=1700000000001-3`.
func parseVector(b []byte, into []leg) ([]leg, bool) {
	for more := true; more; {
		var one []byte
		one, b, more = bytes.Cut(b, []byte{','})
		name, at, ok := bytes.Cut(one, []byte{'='})
		if !ok {
			return nil, false
		}
		p, ok := parsePosition(at)
		if !ok {
			return nil, false
		}
		into = append(into, leg{crc32.ChecksumIEEE(name), p})
	}
	return into, true
}

// parseCompact reads the form for many channels: base64url of the byte 1, the newest ms as a varint, and for each
// channel the CRC-32 of its name, how many ms it lies before the newest, and its seq.
func (c *cursor) parseCompact(b []byte, into []leg) ([]leg, bool) {
	decoded, err := base64.RawURLEncoding.AppendDecode(c.decoded[:0], b)
	c.decoded = decoded
	if err != nil || len(decoded) < 2 || decoded[0] != 1 {
		return nil, false
	}
	decoded = decoded[1:]
	newest, n := binary.Uvarint(decoded)
	if n <= 0 {
		return nil, false
	}
	for decoded = decoded[n:]; len(decoded) >= 4; {
		channel := binary.LittleEndian.Uint32(decoded)
		before, n := binary.Uvarint(decoded[4:])
		if n <= 0 || before > newest {
			return nil, false
		}
		decoded = decoded[4+n:]
		seq, n := binary.Uvarint(decoded)
		if n <= 0 {
			return nil, false
		}
		decoded = decoded[n:]
		into = append(into, leg{channel, position{int64(newest - before), int64(seq)}})
	}
	return into, len(decoded) == 0 && len(into) > 0
}
