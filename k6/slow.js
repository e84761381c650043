// Slow readers among fast ones: nobody waits for them, and they lose nothing either.
//
// `slow` streams read SLOW_SHARE of what is published, so they fall behind the node's memory and catch up later;
// `stalled` ones read next to nothing, and are the node's to end. The others must not notice.
import { EventSource } from 'k6/x/eventsource';
import { crowd, crowdScenario, measured, openEvenly, publisherScenario, share } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { exact, guarded, opened, publishes } from './lib/thresholds.js';

const s = settings('slow', {
  smoke: { streams: 50, slow: 5, stalled: 5, vus: 5, rate: 30, eventBytes: 4000, slowShare: 0.6, ramp: '1s', duration: '15s' },
  average: { streams: 300, slow: 30, stalled: 30, vus: 10, rate: 20, eventBytes: 8000, slowShare: 0.6, ramp: '5s', duration: '40s' },
  stress: { streams: 1000, slow: 200, stalled: 200, vus: 20, rate: 20, eventBytes: 8000, slowShare: 0.5, ramp: '10s', duration: '90s' },
});
const publisher = new Publisher(s);
const until = s.ramp + s.settle + s.duration;

export const options = {
  scenarios: {
    fast: crowdScenario(s, 'fast'),
    slow: crowdScenario(s, 'slow', { vus: 2, maxDuration: `${Math.ceil((3 * until) / s.slowShare + 60)}s` }),
    stalled: crowdScenario(s, 'stalled', { vus: 2 }),
    publisher: publisherScenario(s, 'publish'),
  },
  thresholds: guarded(exact('{kind:fast}'), exact('{kind:slow}'), opened(s.streams, '{kind:fast}'),
    opened(s.slow, '{kind:slow}'), opened(s.stalled, '{kind:stalled}'), publishes, {
      'sse_event_lag{kind:fast}': ['p(95)<1000'],
      // Else they were not slow, and nothing was shown.
      'sse_event_lag{kind:slow}': ['max>1000'],
      'sse_errors{kind:fast}': ['count==0'],
    }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

const url = (run) => eventsUrl(s, [channel(run, s, 'all')]);
// A small socket buffer, so that the node feels it and not the kernel.
const slowly = (kind, bytesPerSecond) => measured(s, { bytesPerSecond, receiveBuffer: 16384, tags: { kind, name: kind } });

export const fast = ({ run }) => crowd(s, () => ({
  url: url(run), options: measured(s, { tags: { kind: 'fast', name: 'fast' } }),
}));

export const slow = ({ run }) => crowd(s, () => ({
  url: url(run), options: slowly('slow', Math.round(s.rate * s.eventBytes * s.slowShare)),
}), { total: s.slow, vus: 2 });

export async function stalled({ run }) {
  const streams = await openEvenly(share(s.stalled, 2), s.ramp, s.stalled,
    () => new EventSource(url(run), slowly('stalled', 1000)));
  setTimeout(() => streams.forEach((stream) => stream.close()), 1000 * (until - s.ramp));
  await Promise.all(streams.map((stream) => stream.closed()));
}

export const publish = ({ run }) => publisher.publishFor([channel(run, s, 'all')], s.rate, s.duration, s.eventBytes);

export const handleSummary = summary('slow', s);
