package eventsource

import "go.k6.io/k6/v2/metrics"

// sseMetrics are the module's metrics; README.md says what each one means.
type sseMetrics struct {
	open                                                *metrics.Metric
	streams, connects, events, bytes, checked, lags     *metrics.Metric
	reconnects, gaps, expired                           *metrics.Metric
	lost, duplicates, reordered, errors                 *metrics.Metric
	connectDuration, firstEvent, lag, reconnectDuration *metrics.Metric
	finished                                            *metrics.Metric
}

func registerMetrics(registry *metrics.Registry) (m sseMetrics, err error) {
	for _, each := range []struct {
		into **metrics.Metric
		name string
		kind metrics.MetricType
		unit metrics.ValueType
	}{
		{&m.open, "sse_open_streams", metrics.Gauge, metrics.Default},
		{&m.streams, "sse_streams", metrics.Counter, metrics.Default},
		{&m.connects, "sse_connects", metrics.Counter, metrics.Default},
		{&m.events, "sse_events", metrics.Counter, metrics.Default},
		{&m.bytes, "sse_bytes", metrics.Counter, metrics.Data},
		{&m.checked, "sse_checked", metrics.Counter, metrics.Default},
		{&m.lags, "sse_lags", metrics.Counter, metrics.Default},
		{&m.reconnects, "sse_reconnects", metrics.Counter, metrics.Default},
		{&m.gaps, "sse_gaps", metrics.Counter, metrics.Default},
		{&m.expired, "sse_expired", metrics.Counter, metrics.Default},
		{&m.lost, "sse_lost", metrics.Counter, metrics.Default},
		{&m.duplicates, "sse_duplicates", metrics.Counter, metrics.Default},
		{&m.reordered, "sse_reordered", metrics.Counter, metrics.Default},
		{&m.errors, "sse_errors", metrics.Counter, metrics.Default},
		{&m.connectDuration, "sse_connect_duration", metrics.Trend, metrics.Time},
		{&m.firstEvent, "sse_time_to_first_event", metrics.Trend, metrics.Time},
		{&m.lag, "sse_event_lag", metrics.Trend, metrics.Time},
		{&m.reconnectDuration, "sse_reconnect_duration", metrics.Trend, metrics.Time},
		{&m.finished, "sse_finished", metrics.Rate, metrics.Default},
	} {
		if *each.into, err = registry.NewMetric(each.name, each.kind, each.unit); err != nil {
			return m, err
		}
	}
	return m, nil
}
