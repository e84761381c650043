// More and more subscribers, up to a limit of connections: who is in must notice nothing of those who are refused.
//
// LIMIT is the number of streams that the nodes take in all; without it everybody must get in. `k6/run ramp.js` starts
// a node with a limit.
import { crowd, crowdScenario, measured, publisherScenario } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { exact, guarded, opened, publishes } from './lib/thresholds.js';

const s = settings('ramp', {
  smoke: { streams: 300, vus: 5, rate: 10, ramp: '5s', duration: '10s', limit: 0 },
  average: { streams: 2000, vus: 20, rate: 10, ramp: '20s', duration: '30s', limit: 0 },
  stress: { streams: 10000, vus: 100, rate: 3, ramp: '60s', duration: '90s', limit: 0 },
});
const publisher = new Publisher(s);
const tags = '{kind:ramp}';
const limited = s.limit > 0 && s.limit < s.streams;

export const options = {
  scenarios: {
    subscribers: crowdScenario(s, 'subscribe'),
    publisher: publisherScenario(s, 'publish', { startTime: '0s' }),
  },
  thresholds: guarded(exact(tags), publishes, limited ? {
    [`sse_connects${tags}`]: [`count==${s.limit}`],
    'sse_errors{kind:ramp,code:node_full}': [`count==${s.streams - s.limit}`],
    [`sse_errors${tags}`]: [`count==${s.streams - s.limit}`],
  } : { ...opened(s.streams, tags), [`sse_errors${tags}`]: ['count==0'] }, {
    [`sse_connect_duration${tags}`]: ['p(95)<1000'],
    [`sse_event_lag${tags}`]: ['p(95)<1000'],
  }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

export const subscribe = ({ run }) => crowd(s, () => ({
  url: eventsUrl(s, [channel(run, s, 'all')]), options: measured(s, { tags: { kind: 'ramp', name: 'ramp' } }),
}));

export const publish = ({ run }) => publisher.publishFor([channel(run, s, 'all')], s.rate, s.ramp + s.duration,
  s.eventBytes);

export const handleSummary = summary('ramp', s);
