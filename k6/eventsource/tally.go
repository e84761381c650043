package eventsource

import (
	"math/rand/v2"
	"sync"
	"time"

	"go.k6.io/k6/v2/metrics"
)

// How often a VU hands its figures to k6: often enough for a live view, rare enough for a thousand VUs.
const flushInterval = 500 * time.Millisecond

// counts are sums, of one stream or of the streams with the same tags.
type counts struct {
	events, bytes, checked, lags int64
	gaps, expired                int64
	verdict
}

func (c *counts) add(d counts) {
	c.events += d.events
	c.bytes += d.bytes
	c.checked += d.checked
	c.lags += d.lags
	c.gaps += d.gaps
	c.expired += d.expired
	c.verdict.add(d.verdict)
}

// tally collects what one VU's streams with the same tags count between two flushes.
//
// k6 gets a sum per counter and flush, not a sample per event, and of the lags a fair sample: it keeps every value of a
// trend until the end.
type tally struct {
	tags *metrics.TagSet

	mu      sync.Mutex
	sums    counts
	checked bool // something was, once: zeros of exactness are figures from then on
	lags    []float64
	quota   int
	ready   []metrics.Sample
}

// count adds to the sums, and to the stream's own.
func (t *tally) count(own *counts, d counts) {
	t.mu.Lock()
	t.sums.add(d)
	own.add(d)
	t.mu.Unlock()
}

// lag offers one lag in milliseconds; each of an interval has the same chance to be kept.
func (t *tally) lag(own *counts, ms float64) {
	t.mu.Lock()
	t.sums.lags++
	own.lags++
	if len(t.lags) < t.quota {
		t.lags = append(t.lags, ms)
	} else if i := rand.Int64N(t.sums.lags); i < int64(len(t.lags)) {
		t.lags[i] = ms
	}
	t.mu.Unlock()
}

// sample hands over a single value; `extra` are tags of its own.
func (t *tally) sample(m *metrics.Metric, value float64, extra ...[2]string) {
	tags := t.tags
	for _, tag := range extra {
		tags = tags.With(tag[0], tag[1])
	}
	t.mu.Lock()
	t.ready = append(t.ready, metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: m, Tags: tags}, Time: time.Now(), Value: value,
	})
	t.mu.Unlock()
}

// snapshot reads a stream's own counts.
func (t *tally) snapshot(own *counts) counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return *own
}

// drain appends what was collected since the last time.
func (t *tally) drain(into []metrics.Sample, m *sseMetrics, quota int) []metrics.Sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	add := func(m *metrics.Metric, tags *metrics.TagSet, value float64) {
		into = append(into, metrics.Sample{
			TimeSeries: metrics.TimeSeries{Metric: m, Tags: tags}, Time: now, Value: value,
		})
	}
	sum := func(m *metrics.Metric, n int64, zeros bool) {
		if n != 0 || zeros {
			add(m, t.tags, float64(n))
		}
	}
	first := !t.checked && t.sums.checked > 0
	t.checked = t.checked || first
	sum(m.events, t.sums.events, false)
	sum(m.bytes, t.sums.bytes, false)
	sum(m.checked, t.sums.checked, false)
	sum(m.lags, t.sums.lags, false)
	sum(m.expired, t.sums.expired, false)
	sum(m.gaps, t.sums.gaps, first)
	sum(m.duplicates, t.sums.duplicates, first)
	sum(m.reordered, t.sums.reordered, first)
	if n := t.sums.lost - t.sums.announced; n != 0 || first {
		add(m.lost, t.tags.With("announced", "false"), float64(n))
	}
	if n := t.sums.announced; n != 0 {
		add(m.lost, t.tags.With("announced", "true"), float64(n))
	}
	for _, ms := range t.lags {
		add(m.lag, t.tags, ms)
	}
	into = append(into, t.ready...)
	t.sums, t.lags, t.ready, t.quota = counts{}, t.lags[:0], t.ready[:0], quota
	return into
}
