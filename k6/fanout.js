// One channel, many subscribers: does each of them get every event, and how soon?
import { crowd, crowdScenario, measured, publisherScenario } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { exact, guarded, opened, publishes } from './lib/thresholds.js';

const s = settings('fanout', {
  smoke: { streams: 50, vus: 5, rate: 20, ramp: '1s', duration: '5s' },
  average: { streams: 2000, vus: 20, rate: 10, ramp: '10s', duration: '30s' },
  stress: { streams: 10000, vus: 100, rate: 5, ramp: '30s', duration: '60s' },
});
const publisher = new Publisher(s);

export const options = {
  scenarios: { subscribers: crowdScenario(s, 'subscribe'), publisher: publisherScenario(s, 'publish') },
  thresholds: guarded(exact('{kind:fanout}'), opened(s.streams, '{kind:fanout}'), publishes, {
    'sse_event_lag{kind:fanout}': ['p(95)<1000'],
    'sse_errors{kind:fanout}': ['count==0'],
  }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

export const subscribe = ({ run }) => crowd(s, () => ({
  url: eventsUrl(s, [channel(run, s, 'all')]), options: measured(s, { tags: { kind: 'fanout', name: 'fanout' } }),
}));

export const publish = ({ run }) => publisher.publishFor([channel(run, s, 'all')], s.rate, s.duration, s.eventBytes);

export const handleSummary = summary('fanout', s);
