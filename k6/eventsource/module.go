// Package eventsource is the k6 module k6/x/eventsource: the browser's EventSource for load tests.
//
// A VU holds thousands of streams. Each is one goroutine that reads, parses and counts (stream.go); what JavaScript is to
// see goes through one mailbox to the VU's event loop (mailbox.go, source.go); figures are summed and handed to k6 twice a
// second (tally.go).
package eventsource

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"
	"go.k6.io/k6/v2/metrics"
)

// Lags that all VUs together hand to k6 per second, where K6_SSE_LAG_SAMPLES does not say otherwise: half an hour of it
// is 900,000 values, of which k6 finds a percentile in a quarter of a second.
const lagSamplesPerSecond = 500

// RootModule is shared by all VUs.
type RootModule struct {
	open       atomic.Int64 // streams with a head
	activeVUs  atomic.Int64 // VUs with a stream
	lagSamples atomic.Int64
}

// New makes the module; k6 calls it once per process.
func New() *RootModule {
	root := &RootModule{}
	root.lagSamples.Store(lagSamplesPerSecond)
	return root
}

// instance is a VU's share of the module.
type instance struct {
	vu       modules.VU
	root     *RootModule
	metrics  sseMetrics
	mailbox  *mailbox
	exports  modules.Exports
	rootTags *metrics.TagSet
	runTags  *metrics.TagSet // those of `--tag`, for what all VUs count together

	flushes sync.Mutex // one at a time; before mu

	mu       sync.Mutex
	tallies  map[*metrics.TagSet]*tally
	out      chan<- metrics.SampleContainer
	active   int             // streams whose goroutine runs
	flushing context.Context // the iteration that is flushed regularly
}

// NewModuleInstance implements modules.Module.
func (root *RootModule) NewModuleInstance(vu modules.VU) modules.Instance {
	env, rt := vu.InitEnv(), vu.Runtime()
	in := &instance{
		vu: vu, root: root, rootTags: env.Registry.RootTagSet(), tallies: map[*metrics.TagSet]*tally{},
	}
	var err error
	if in.metrics, err = registerMetrics(env.Registry); err != nil {
		common.Throw(rt, err)
	}
	if env.LookupEnv != nil {
		if text, ok := env.LookupEnv("K6_SSE_LAG_SAMPLES"); ok && text != "" {
			n, err := strconv.ParseInt(text, 10, 32)
			if err != nil || n < 1 {
				common.Throw(rt, &badOption{"K6_SSE_LAG_SAMPLES", text, "a number from 1"})
			}
			root.lagSamples.Store(n)
		}
	}
	in.mailbox = newMailbox(vu, in.deliver)
	// Once: k6 asks for the exports at each use of the import, and a new function each time breaks instanceof.
	constructor := rt.ToValue(in.construct).(*sobek.Object)
	prototype := constructor.Get("prototype").(*sobek.Object)
	for name, state := range map[string]int{"CONNECTING": connecting, "OPEN": open, "CLOSED": closed} {
		for _, on := range []*sobek.Object{constructor, prototype} {
			if err := on.Set(name, state); err != nil {
				common.Throw(rt, err)
			}
		}
	}
	in.exports = modules.Exports{Default: constructor, Named: map[string]any{"EventSource": constructor}}
	return in
}

// Exports implements modules.Instance.
func (in *instance) Exports() modules.Exports { return in.exports }

// tally finds the one for these tags; on the event loop only.
func (in *instance) tally(tags *metrics.TagSet) *tally {
	in.mu.Lock()
	defer in.mu.Unlock()
	found := in.tallies[tags]
	if found == nil {
		found = &tally{tags: tags, quota: 1}
		in.tallies[tags] = found
	}
	return found
}

// begin counts a stream in; the first one of an iteration starts the flushing.
func (in *instance) begin(ctx context.Context) {
	in.mu.Lock()
	defer in.mu.Unlock()
	state := in.vu.State()
	in.out, in.runTags = state.Samples, in.rootTags.WithTagsFromMap(state.Options.RunTags)
	in.active++
	if in.active == 1 {
		in.root.activeVUs.Add(1)
	}
	if in.flushing != ctx {
		in.flushing = ctx
		go in.flushRegularly(ctx)
	}
}

// finish counts a stream out. The last one flushes before its end is posted, so before the iteration can end.
func (in *instance) finish() {
	in.mu.Lock()
	in.active--
	last := in.active == 0
	in.mu.Unlock()
	if last {
		in.root.activeVUs.Add(-1)
		in.flush(true)
	}
}

func (in *instance) flushRegularly(ctx context.Context) {
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			in.flush(false)
		}
	}
}

// flush hands everything to k6, also when the iteration is being cancelled: k6 waits for its streams, so it still reads.
// Without streams only the last one's flush may send, since k6 closes the channel after the last iteration.
func (in *instance) flush(last bool) {
	in.flushes.Lock()
	defer in.flushes.Unlock()
	var samples metrics.Samples
	in.mu.Lock()
	if in.active == 0 && !last {
		in.mu.Unlock()
		return
	}
	perFlush := in.root.lagSamples.Load() * flushInterval.Milliseconds() / 1000
	quota := max(1, int(perFlush/max(1, in.root.activeVUs.Load()))/max(1, len(in.tallies)))
	for _, t := range in.tallies {
		samples = t.drain(samples, &in.metrics, quota)
	}
	out, tags := in.out, in.runTags
	in.mu.Unlock()
	samples = append(samples, metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: in.metrics.open, Tags: tags},
		Time:       time.Now(), Value: float64(in.root.open.Load()),
	})
	out <- samples
}
