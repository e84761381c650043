// Each subscriber has a channel of its own and three shared ones, as most users of an application have.
import { crowd, crowdScenario, measured, publisherScenario } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { exact, guarded, opened, publishes } from './lib/thresholds.js';

// `rate` is that of the shared channels together, `ownRate` that of all own ones together.
const s = settings('channels', {
  smoke: { streams: 60, vus: 3, rate: 15, ownRate: 60, ramp: '2s', duration: '5s' },
  average: { streams: 1000, vus: 10, rate: 9, ownRate: 300, ramp: '10s', duration: '30s' },
  stress: { streams: 8000, vus: 80, rate: 6, ownRate: 800, ramp: '30s', duration: '60s' },
});
const publisher = new Publisher(s);
const tags = '{kind:channels}';

export const options = {
  scenarios: {
    subscribers: crowdScenario(s, 'subscribe'),
    shared: publisherScenario(s, 'publishShared'),
    own: publisherScenario(s, 'publishOwn'),
  },
  thresholds: guarded(exact(tags), opened(s.streams, tags), publishes, {
    [`sse_event_lag${tags}`]: ['p(95)<1000'],
    [`sse_errors${tags}`]: ['count==0'],
  }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

const own = (run, number) => channel(run, s, `user.${number}`);
const shared = (run) => ['news', 'prices', 'status'].map((name) => channel(run, s, name));

export const subscribe = ({ run }) => crowd(s, (number) => ({
  url: eventsUrl(s, [own(run, number), ...shared(run)]),
  options: measured(s, { untilTimes: 4, tags: { kind: 'channels', name: 'channels' } }),
}));

export const publishShared = ({ run }) => publisher.publishFor(shared(run), s.rate, s.duration, s.eventBytes);

export const publishOwn = ({ run }) => publisher.publishFor(
  Array.from({ length: s.streams }, (_, number) => own(run, number)), s.ownRate, s.duration, s.eventBytes);

export const handleSummary = summary('channels', s);
