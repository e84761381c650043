package eventsource

// The most ranges of missing numbers that a channel's place remembers; the oldest is settled beyond that.
const missingRangesMax = 16

// A missing number that has not come when so many later ones have is lost, not late.
const lateWindow = 128

// verdict is what the numbers of a stream's events say.
type verdict struct {
	lost, announced       int64 // missing; of those, within an announced gap
	duplicates, reordered int64
}

func (v *verdict) add(w verdict) {
	v.lost += w.lost
	v.announced += w.announced
	v.duplicates += w.duplicates
	v.reordered += w.reordered
}

// ledger checks that the numbers of each channel are contiguous, from whichever comes first.
type ledger struct{ places []place }

// place is how far a stream has come in one channel.
type place struct {
	channel uint32
	last    int64
	joined  bool
	gap     bool // announced, and not yet seen in the numbers
	missing []missing
}

type missing struct {
	from, to  int64
	announced bool
}

// see takes the next event's number.
func (l *ledger) see(channel uint32, number int64) verdict {
	return l.place(channel).see(number)
}

// announce takes a gap that the server has told; `reset` makes the numbers begin anew.
func (l *ledger) announce(channel uint32, reset bool) verdict {
	p := l.place(channel)
	p.gap = true
	if !reset {
		return verdict{}
	}
	p.joined = false
	return p.settle(true)
}

// settle ends the waiting for numbers that are missing.
func (l *ledger) settle() verdict {
	var v verdict
	for i := range l.places {
		v.add(l.places[i].settle(true))
	}
	return v
}

func (l *ledger) place(channel uint32) *place {
	for i := range l.places {
		if l.places[i].channel == channel {
			return &l.places[i]
		}
	}
	l.places = append(l.places, place{channel: channel})
	return &l.places[len(l.places)-1]
}

func (p *place) see(number int64) verdict {
	var v verdict
	switch {
	case !p.joined:
		p.joined, p.last, p.gap = true, number, false
	case number > p.last:
		if number > p.last+1 {
			p.missing = append(p.missing, missing{p.last + 1, number - 1, p.gap})
		}
		p.last, p.gap = number, false
	case p.found(number):
		v.reordered++
	default:
		v.duplicates++
	}
	v.add(p.settle(false))
	return v
}

// found takes a number out of the missing ones.
func (p *place) found(number int64) bool {
	for i, m := range p.missing {
		if number < m.from || number > m.to {
			continue
		}
		rest := make([]missing, 0, len(p.missing)+1)
		rest = append(rest, p.missing[:i]...)
		if m.from < number {
			rest = append(rest, missing{m.from, number - 1, m.announced})
		}
		if number < m.to {
			rest = append(rest, missing{number + 1, m.to, m.announced})
		}
		p.missing = append(rest, p.missing[i+1:]...)
		return true
	}
	return false
}

// settle counts as lost what can no longer be late; all of it at the end.
func (p *place) settle(all bool) verdict {
	var v verdict
	for len(p.missing) > 0 {
		m := p.missing[0]
		if !all && len(p.missing) <= missingRangesMax && p.last-m.to <= lateWindow {
			break
		}
		v.lost += m.to - m.from + 1
		if m.announced {
			v.announced += m.to - m.from + 1
		}
		p.missing = p.missing[1:]
	}
	return v
}
