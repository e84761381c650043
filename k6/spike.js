// Everybody at once: all streams are opened in the same moment, while events flow.
import { crowd, crowdScenario, measured, publisherScenario } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { exact, guarded, opened, publishes } from './lib/thresholds.js';

const s = settings('spike', {
  smoke: { streams: 200, vus: 10, rate: 20, ramp: '0s', duration: '10s' },
  average: { streams: 3000, vus: 30, rate: 10, ramp: '0s', duration: '30s' },
  stress: { streams: 10000, vus: 100, rate: 5, ramp: '0s', duration: '60s' },
});
const publisher = new Publisher(s);
const tags = '{kind:spike}';

export const options = {
  scenarios: {
    publisher: publisherScenario(s, 'publish', { startTime: '0s' }),
    subscribers: crowdScenario(s, 'subscribe', { startTime: `${s.settle}s` }),
  },
  thresholds: guarded(exact(tags), opened(s.streams, tags), publishes, {
    [`sse_connect_duration${tags}`]: ['p(95)<5000'],
    [`sse_time_to_first_event${tags}`]: ['p(95)<6000'],
    [`sse_errors${tags}`]: ['count==0'],
  }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

export const subscribe = ({ run }) => crowd(s, () => ({
  url: eventsUrl(s, [channel(run, s, 'all')]), options: measured(s, { tags: { kind: 'spike', name: 'spike' } }),
}));

export const publish = ({ run }) => publisher.publishFor([channel(run, s, 'all')], s.rate, s.duration, s.eventBytes);

export const handleSummary = summary('spike', s);
