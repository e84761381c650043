package eventsource

import (
	"bytes"
	"encoding/json"
	"hash/crc32"
	"time"
)

// Fantail's own events, which are no entry of a channel and carry no id.
var controlPrefix = []byte("fantail.")

func isControl(kind []byte) bool { return bytes.HasPrefix(kind, controlPrefix) }

// witness judges a stream's events: lag, order and completeness, by ids, by a number in the data, or both.
type witness struct {
	lagFrom, sequence, channel []byte // patterns that precede a field's value in JSON text; lagFrom nil: none
	lagFromID                  bool
	cursor                     cursor
	ledger                     ledger
}

func newWitness(o options) witness {
	w := witness{sequence: fieldPattern(o.sequence), channel: fieldPattern(o.channel), lagFromID: o.lag == "id"}
	if !w.lagFromID && o.lag != "none" {
		w.lagFrom = fieldPattern(o.lag)
	}
	return w
}

func (w *witness) follow(other *witness) { w.cursor, w.ledger = other.cursor, other.ledger }

func (w *witness) settle() verdict { return w.ledger.settle() }

// see takes an event with its own id, if it has one; `lag` is in milliseconds and counts where `measured`.
func (w *witness) see(kind, id, data []byte, now time.Time) (seen counts, lag float64, measured bool) {
	if isControl(kind) {
		return w.control(kind, data), 0, false
	}
	seen.events = 1
	moved, known := w.cursor.move(id)
	if w.lagFromID && known {
		lag, measured = float64(now.UnixMicro())/1000-float64(moved.at.ms), true
	} else if w.lagFrom != nil {
		var sent float64
		if sent, measured = numberAt(data, w.lagFrom); measured {
			lag = float64(now.UnixMicro())/1000 - sent
		}
	}
	if n, ok := w.number(data); ok {
		seen.checked = 1
		seen.verdict = w.ledger.see(w.channelOf(data, moved), n)
	} else if known && w.sequence == nil {
		seen.checked = 1
		switch {
		case moved.back:
			seen.reordered = 1
		case !moved.forward:
			seen.duplicates = 1
		}
	}
	return seen, lag, measured
}

func (w *witness) control(kind, data []byte) (seen counts) {
	switch string(kind) {
	case "fantail.gap":
		seen.gaps = 1
		var gap struct{ Channel, Reason string }
		if json.Unmarshal(data, &gap) != nil {
			return seen
		}
		if gap.Reason == "reset" {
			w.cursor.legs = nil
		}
		var channel uint32
		if w.channel != nil || len(w.cursor.legs) > 0 && w.cursor.legs[0].channel != 0 {
			channel = crc32.ChecksumIEEE([]byte(gap.Channel))
		}
		seen.verdict = w.ledger.announce(channel, gap.Reason == "reset")
	case "fantail.expired":
		seen.expired = 1
	}
	return seen
}

func (w *witness) number(data []byte) (int64, bool) {
	if w.sequence == nil {
		return 0, false
	}
	n, ok := numberAt(data, w.sequence)
	return int64(n), ok
}

// channelOf is the channel whose number it is: by the data's field, or by which position of the id moved.
func (w *witness) channelOf(data []byte, moved advance) uint32 {
	if w.channel != nil {
		if name, ok := textAt(data, w.channel); ok {
			return crc32.ChecksumIEEE(name)
		}
	}
	return moved.channel
}

func fieldPattern(name string) []byte {
	if name == "" {
		return nil
	}
	return []byte(`"` + name + `":`)
}

// numberAt reads the number behind a pattern's first occurrence, without parsing the rest of the JSON text.
func numberAt(data, pattern []byte) (float64, bool) {
	rest, ok := behind(data, pattern)
	if !ok {
		return 0, false
	}
	var n, scale float64
	i := 0
	for ; i < len(rest); i++ {
		c := rest[i]
		if c == '.' && scale == 0 && i > 0 {
			scale = 1
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + float64(c-'0')
		scale *= 10
	}
	if scale > 1 {
		n /= scale
	}
	return n, i > 0
}

func textAt(data, pattern []byte) ([]byte, bool) {
	rest, ok := behind(data, pattern)
	if !ok || len(rest) == 0 || rest[0] != '"' {
		return nil, false
	}
	text, _, ok := bytes.Cut(rest[1:], []byte{'"'})
	return text, ok
}

func behind(data, pattern []byte) ([]byte, bool) {
	_, rest, ok := bytes.Cut(data, pattern)
	return bytes.TrimLeft(rest, " "), ok
}
