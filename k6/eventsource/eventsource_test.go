package eventsource

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/modulestest"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"
)

// vu is a VU of k6 with the module, and what it hands to k6.
type vu struct {
	*modulestest.Runtime
	t       *testing.T
	samples chan metrics.SampleContainer
}

func newVU(t *testing.T) *vu {
	t.Helper()
	rt := modulestest.NewRuntime(t)
	require.NoError(t, rt.SetupModuleSystem(map[string]any{"k6/x/eventsource": New()}, nil, nil))
	registry := rt.VU.InitEnvField.Registry
	_, err := rt.VU.Runtime().RunString(`const { EventSource } = require("k6/x/eventsource"); var got = [];`)
	require.NoError(t, err)
	v := &vu{rt, t, make(chan metrics.SampleContainer, 1000)}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	rt.MoveToVUContext(&lib.State{
		Dialer: &net.Dialer{}, Transport: http.DefaultTransport, CookieJar: jar,
		Samples: v.samples,
		Options: lib.Options{SystemTags: &metrics.DefaultSystemTagSet, RunTags: map[string]string{"testid": "t1"}},
		Tags:    lib.NewVUStateTags(registry.RootTagSet().With("testid", "t1").With("group", "")),
	})
	return v
}

// run runs an iteration, which must end by itself.
func (v *vu) run(script string, arguments ...any) error {
	v.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := v.RunOnEventLoop(fmt.Sprintf(script, arguments...))
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		v.t.Fatal("the iteration hangs")
		return nil
	}
}

func (v *vu) got() string { return v.VU.Runtime().Get("got").String() }

// sums adds up what k6 was handed, by metric and by metric{code or announced}.
func (v *vu) sums() map[string]float64 {
	close(v.samples)
	sums := map[string]float64{}
	for container := range v.samples {
		for _, sample := range container.GetSamples() {
			sums[sample.Metric.Name] += sample.Value
			for _, tag := range []string{"code", "announced", "status", "proto", "tls_version", "name", "kind"} {
				if value, ok := sample.Tags.Get(tag); ok {
					sums[sample.Metric.Name+"{"+tag+":"+value+"}"] += sample.Value
				}
			}
		}
	}
	return sums
}

// serve answers each connection with the next of the bodies, and 204 after the last.
func serve(t *testing.T, bodies ...string) (url string, lastEventIDs func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header.Get("Last-Event-ID"))
		n := len(seen)
		mu.Unlock()
		if n > len(bodies) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, bodies[n-1])
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, seen...)
	}
}

func TestEveryFigureHasTheTagsOfTheRun(t *testing.T) {
	url, _ := serve(t, "id: 1-0\ndata: a\n\n")
	v := newVU(t)
	require.NoError(t, v.run(`new EventSource(%q, {retry: 1}).onmessage = (event) => got.push(event.data)`, url))
	close(v.samples)
	seen := map[string]bool{}
	for container := range v.samples {
		for _, sample := range container.GetSamples() {
			run, _ := sample.Tags.Get("testid")
			require.Equal(t, "t1", run, sample.Metric.Name)
			seen[sample.Metric.Name] = true
		}
	}
	require.True(t, seen["sse_open_streams"] && seen["sse_events"], seen)
}

func TestItReconnectsAndResumesUntil204(t *testing.T) {
	for _, transport := range []string{"auto", "k6", "bare"} {
		t.Run(transport, func(t *testing.T) {
			url, ids := serve(t,
				"retry: 5\nid: 10-1\ndata: a\ndata: b\n\nid: 10-9\ndata: cut",
				"id: 10-2\n\n", "id: 10-3\nevent: named\ndata: c\n\n")
			v := newVU(t)
			require.NoError(t, v.run(`
				const es = new EventSource(%q, {transport: %q});
				if (!(es instanceof EventSource) || es.CLOSED !== 2 || EventSource.OPEN !== 1) throw new Error("shape");
				es.onopen = () => got.push("open" + es.readyState);
				es.onmessage = (e) => got.push(e.data + "@" + e.lastEventId);
				es.addEventListener("named", (e) => got.push(e.type + ":" + e.data));
				es.onerror = (e) => got.push("error" + es.readyState);
				es.closed().then((end) => got.push(end.reason, end.status, es.readyState, end.lastEventId));`, url, transport))
			require.Equal(t, []string{"", "10-1", "10-2", "10-3"}, ids())
			require.Equal(t, "open1,a\nb@10-1,error0,open1,error0,open1,named:c,error0,error2,stopped,204,2,10-3",
				strings.ReplaceAll(v.got(), "error0,error2", "error0,error2"))
			sums := v.sums()
			require.Equal(t, 2.0, sums["sse_events"])
			require.Equal(t, 3.0, sums["sse_connects"])
			require.Equal(t, 2.0, sums["sse_reconnects"])
			require.Equal(t, 1.0, sums["sse_streams"])
			require.Zero(t, sums["sse_errors"])
			require.NotZero(t, sums["sse_connect_duration{proto:HTTP/1.1}"])
			require.NotZero(t, sums["sse_reconnect_duration"])
		})
	}
}

func TestARefusalEndsItForGoodWithTheCodeOfTheServer(t *testing.T) {
	for name, answer := range map[string]struct {
		status           int
		kind, body, code string
	}{
		"problem":      {503, "application/problem+json", `{"code":"node_full"}`, "node_full"},
		"odd problem":  {503, "application/problem+json", `{"code":"a b/9"}`, "http_503"},
		"plain":        {401, "text/plain", "no", "http_401"},
		"content type": {200, "text/html", "hello", "content_type"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", answer.kind)
				w.WriteHeader(answer.status)
				fmt.Fprint(w, answer.body)
			}))
			defer server.Close()
			v := newVU(t)
			require.NoError(t, v.run(`
				const es = new EventSource(%q, {retry: 1});
				es.onerror = (e) => got.push(es.readyState, e.status, e.code);
				es.closed().then((end) => got.push(end.reason, end.code));`, server.URL))
			require.Equal(t, fmt.Sprintf("2,%d,%s,refused,%s", answer.status, answer.code, answer.code), v.got())
			require.Equal(t, 1.0, v.sums()["sse_errors{code:"+answer.code+"}"])
		})
	}
}

func TestANodeThatIsAwayIsTriedAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	v := newVU(t)
	require.NoError(t, v.run(`
		const es = new EventSource("http://%s/", {retry: 1});
		let n = 0;
		es.onerror = (e) => { got.push(es.readyState + e.code); if (++n == 3) es.close(); };
		es.closed().then((end) => got.push(end.reason));`, address))
	require.Equal(t, "0connection_refused,0connection_refused,0connection_refused,closed", v.got())
}

func TestASilentServerIsLeftAfterTheTimeout(t *testing.T) {
	for _, transport := range []string{"k6", "bare"} {
		gone := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			gone <- struct{}{}
		}))
		v := newVU(t)
		require.NoError(t, v.run(`
			const es = new EventSource(%q, {timeout: "50ms", reconnect: false, transport: %q});
			es.closed().then((end) => got.push(end.reason, end.code));`, server.URL, transport))
		require.Equal(t, "failed,timeout", v.got())
		<-gone
		server.Close()
	}
}

func TestExactnessIsJudgedAcrossReconnectsAndWithoutJavaScript(t *testing.T) {
	event := func(n int) string { return fmt.Sprintf("id: 10-%d\ndata: {\"n\":%d}\n\n", n, n) }
	url, _ := serve(t, "retry: 1\n"+event(1)+event(2)+event(4), event(5)+event(5)+event(6)+event(9)+event(8))
	v := newVU(t)
	require.NoError(t, v.run(`
		const es = new EventSource(%q, {count: true, sequence: "n", tags: {kind: "k", name: "mine"}});
		es.onmessage = () => got.push("message");
		es.closed().then((end) => got.push(end.events, end.lost, end.duplicates, end.reordered));`, url))
	require.Equal(t, "8,2,1,1", v.got())
	sums := v.sums()
	require.Equal(t, 8.0, sums["sse_checked"])
	require.Equal(t, 2.0, sums["sse_lost{announced:false}"])
	require.Equal(t, 1.0, sums["sse_duplicates{kind:k}"])
	require.Equal(t, 1.0, sums["sse_reordered{name:mine}"])
}

func TestFantailsControlEventsAreSeenAlsoWhenOnlyCounting(t *testing.T) {
	url, _ := serve(t, "retry: 1\nid: 10-1\ndata: {\"n\":1}\n\n"+
		"event: fantail.gap\ndata: {\"channel\":\"a\",\"reason\":\"trimmed\",\"lost\":2}\n\n"+
		"id: 10-4\ndata: {\"n\":4}\n\nevent: fantail.expired\ndata: {}\n\n")
	v := newVU(t)
	require.NoError(t, v.run(`
		const es = new EventSource(%q, {count: true, sequence: "n"});
		for (const kind of ["fantail.gap", "fantail.expired"]) es.addEventListener(kind, (e) => got.push(e.type));`, url))
	require.Equal(t, "fantail.gap,fantail.expired", v.got())
	sums := v.sums()
	require.Equal(t, 2.0, sums["sse_events"])
	require.Equal(t, 1.0, sums["sse_gaps"])
	require.Equal(t, 1.0, sums["sse_expired"])
	require.Equal(t, 2.0, sums["sse_lost{announced:true}"])
	require.Zero(t, sums["sse_lost{announced:false}"])
}

// endless answers with a stream that sends an event every few milliseconds until it is left.
func endless(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "retry: 1\n\n")
		for n := 1; r.Context().Err() == nil; n++ {
			fmt.Fprintf(w, "id: %d-0\nevent: tick\ndata: {\"n\":%d}\n\n", n, n)
			w.(http.Flusher).Flush()
			select {
			case <-time.After(2 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server
}

func TestAStreamEndsWithTheEventItWaitsFor(t *testing.T) {
	server := endless(t)
	server.Start()
	v := newVU(t)
	require.NoError(t, v.run(`
		const es = new EventSource(%q, {until: "tick", untilTimes: 3, count: true});
		es.closed().then((end) => got.push(end.reason, end.finished, end.events));`, server.URL))
	require.Equal(t, "finished,true,3", v.got())
	require.Equal(t, 1.0, v.sums()["sse_finished"])
}

func TestACutStreamResumesAndASuccessorGoesOnWhereItEnded(t *testing.T) {
	url, ids := serve(t, "retry: 1\nid: 10-1\ndata: {\"n\":1}\n\n", "id: 10-2\ndata: {\"n\":2}\n\n", "id: 10-4\ndata: {\"n\":4}\n\n")
	v := newVU(t)
	require.NoError(t, v.run(`
		const first = new EventSource(%q, {sequence: "n"});
		first.onmessage = (e) => { if (e.lastEventId === "10-2") first.close(); };
		first.closed().then(async () => {
			const second = new EventSource(first.url, {sequence: "n", resume: first, retry: 1});
			const end = await second.closed();
			got.push(end.events, end.lost, end.lastEventId);
		});`, url))
	require.Equal(t, "1,1,10-4", v.got())
	require.Equal(t, []string{"", "10-1", "10-2", "10-4"}, ids())
	server := endless(t)
	server.Start()
	v = newVU(t)
	require.NoError(t, v.run(`
		const es = new EventSource(%q, {});
		es.onopen = () => { if (es.stats().connects == 3) es.close(); else es.cut(); };
		es.closed().then((end) => got.push(end.reason, end.connects));`, server.URL))
	require.Equal(t, "closed,3", v.got())
	require.Zero(t, v.sums()["sse_errors"], "a cut is the script's wish")
}

func TestAnIterationNeverHangs(t *testing.T) {
	server := endless(t)
	server.Start()
	t.Run("a listener throws", func(t *testing.T) {
		v := newVU(t)
		v.EventLoop.WaitOnRegistered()
		ctx, cancel := context.WithCancel(context.Background())
		v.VU.CtxField = ctx
		time.AfterFunc(100*time.Millisecond, cancel) // the runner cancels a failed iteration's context
		err := v.run(`const es = new EventSource(%q); es.addEventListener("tick", () => { throw new Error("thrown") });`,
			server.URL)
		require.ErrorContains(t, err, "thrown")
	})
	t.Run("the context is cancelled", func(t *testing.T) {
		v := newVU(t)
		ctx, cancel := context.WithCancel(context.Background())
		v.VU.CtxField = ctx
		time.AfterFunc(100*time.Millisecond, cancel)
		require.NoError(t, v.run(`
			for (let i = 0; i < 50; i++) new EventSource(%q).closed().then((end) => got.push(end.reason));`, server.URL))
		require.Equal(t, 50, strings.Count(v.got(), "interrupted"))
		require.NotZero(t, v.sums()["sse_events"])
	})
	t.Run("close in a timer", func(t *testing.T) {
		v := newVU(t)
		require.NoError(t, v.run(`
			const all = Array.from({length: 200}, () => new EventSource(%q, {count: true}));
			setTimeout(() => all.forEach((es) => es.close()), 100);`, server.URL))
	})
	t.Run("JavaScript is slower than the stream", func(t *testing.T) {
		url, _ := serve(t, strings.Repeat("data: x\n\n", 3*mailboxMax))
		v := newVU(t)
		require.NoError(t, v.run(`
			const es = new EventSource(%q, {retry: 1}); let n = 0;
			es.onopen = () => {
				const full = Date.now() + 20000;
				while (es.stats().events < %d && Date.now() < full);
				for (const more = Date.now() + 200; Date.now() < more;);
				got.push(es.stats().events);
			};
			es.onmessage = () => n++;
			es.closed().then(() => got.push(n));`, url, mailboxMax))
		var held, all int
		_, err := fmt.Sscanf(v.got(), "%d,%d", &held, &all)
		require.NoError(t, err)
		// What was taken out with the notice of the opening, a full mailbox, and the one that waits for room.
		require.LessOrEqual(t, held, 2*mailboxMax+1)
		require.GreaterOrEqual(t, held, mailboxMax)
		require.Equal(t, 3*mailboxMax, all)
	})
}

func TestItSpeaksTLSAndHTTP2ThroughK6sTransport(t *testing.T) {
	for transport, proto := range map[string]string{"auto": "HTTP/2.0", "bare": "HTTP/1.1"} {
		server := endless(t)
		server.EnableHTTP2 = true
		server.StartTLS()
		v := newVU(t)
		v.VU.StateField.Transport = server.Client().Transport
		v.VU.StateField.TLSConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
		url := strings.Replace(server.URL, "127.0.0.1", "example.com", 1)
		v.VU.StateField.Dialer = redirected(server.Listener.Addr().String())
		if transport == "auto" {
			url = server.URL
		}
		require.NoError(t, v.run(`
			const all = Array.from({length: 20}, () => new EventSource(%q, {transport: %q, until: "tick"}));`, url, transport))
		sums := v.sums()
		require.Equal(t, 20.0, sums["sse_finished"])
		require.NotZero(t, sums["sse_connect_duration{proto:"+proto+"}"])
		require.NotZero(t, sums["sse_connect_duration{tls_version:tls1.3}"])
	}
	server := endless(t)
	server.StartTLS()
	v := newVU(t)
	require.NoError(t, v.run(`new EventSource(%q, {transport: "bare", reconnect: false});`, server.URL))
	require.Equal(t, 1.0, v.sums()["sse_errors{code:tls}"])
}

// redirected dials one address, whatever is asked for.
type redirected string

func (r redirected) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, string(r))
}

func TestRedirectsHeadersAndCookiesAreThoseOfK6(t *testing.T) {
	for _, transport := range []string{"k6", "bare"} {
		var seen []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/from" {
				http.SetCookie(w, &http.Cookie{Name: "session", Value: "s1"})
				http.Redirect(w, r, "/to", http.StatusTemporaryRedirect)
				return
			}
			seen = append(seen, r.URL.Path, r.Header.Get("Cookie"), r.Header.Get("X-Token"), r.Header.Get("Accept"))
			w.WriteHeader(http.StatusNoContent)
		}))
		v := newVU(t)
		require.NoError(t, v.run(`new EventSource(%q, {headers: {"x-token": "t"}, transport: %q})`, server.URL+"/from", transport))
		require.Equal(t, []string{"/to", "session=s1", "t", "text/event-stream"}, seen)
		server.Close()
	}
}

func TestACompressedStreamIsRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Last-Event-ID") != "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", r.Header.Get("Accept-Encoding"))
		z := gzip.NewWriter(w)
		fmt.Fprint(z, "retry: 1\nid: 1-0\ndata: squeezed\n\n")
		z.Close()
	}))
	defer server.Close()
	v := newVU(t)
	require.NoError(t, v.run(`
		const es = new EventSource(%q, {headers: {"Accept-Encoding": "gzip"}});
		es.onmessage = (e) => got.push(e.data);`, server.URL))
	require.Equal(t, "squeezed", v.got())
}

func TestASlowReaderTakesItsTime(t *testing.T) {
	url, _ := serve(t, "retry: 1\nid: 1-0\ndata: "+strings.Repeat("x", 1000)+"\n\n")
	v := newVU(t)
	start := time.Now()
	require.NoError(t, v.run(`new EventSource(%q, {bytesPerSecond: 4000, receiveBuffer: 4096})`, url))
	require.Greater(t, time.Since(start), 200*time.Millisecond)
	require.Equal(t, 1.0, v.sums()["sse_events"])
}

func TestAWrongArgumentIsNamed(t *testing.T) {
	for script, want := range map[string]string{
		`new EventSource("ftp://x")`:                       `url is "ftp://x"`,
		`new EventSource("http://x", {sequense: "n"})`:     `option is "sequense"`,
		`new EventSource("http://x", {transport: "udp"})`:  `transport is "udp"`,
		`new EventSource("http://x", {retry: "soon"})`:     `retry is "soon"`,
		`new EventSource("http://x", {bytesPerSecond: 0})`: `bytesPerSecond is "0"`,
		`new EventSource("http://x", {tags: {a: {}}})`:     `metric tag 'a'`,
		`new EventSource("http://x", {resume: 1})`:         `resume is "1"`,
	} {
		require.ErrorContains(t, newVU(t).run("%s", script), want)
	}
}

func TestLagsAreSampledAndCounted(t *testing.T) {
	var body strings.Builder
	body.WriteString("retry: 1\n")
	for n := 1; n <= 2000; n++ {
		fmt.Fprintf(&body, "id: %d-%d\ndata: x\n\n", time.Now().UnixMilli(), n)
	}
	url, _ := serve(t, body.String())
	v := newVU(t)
	require.NoError(t, v.run(`new EventSource(%q, {count: true})`, url))
	close(v.samples)
	var lags, counted float64
	for container := range v.samples {
		for _, sample := range container.GetSamples() {
			switch sample.Metric.Name {
			case "sse_event_lag":
				lags++
			case "sse_lags":
				counted += sample.Value
			}
		}
	}
	require.Equal(t, 2000.0, counted)
	require.NotZero(t, lags)
	require.LessOrEqual(t, lags, float64(lagSamplesPerSecond))
}

func TestAnEventSourceCannotBeOpenedInTheInitContext(t *testing.T) {
	rt := modulestest.NewRuntime(t)
	require.NoError(t, rt.SetupModuleSystem(map[string]any{"k6/x/eventsource": New()}, nil, nil))
	_, err := rt.VU.Runtime().RunString(`new (require("k6/x/eventsource").EventSource)("http://x")`)
	require.ErrorContains(t, err, "init context")
}
