// How fast can one publish, by XADD, by POST and by POST of batches, and does everything arrive?
//
// RATE is that of each way. Without REDIS_URL only POST is measured; the node needs --publish on.
import { crowd, crowdScenario, measured, publisherScenario } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { exact, guarded, opened, publishes } from './lib/thresholds.js';

const s = settings('publish', {
  smoke: { streams: 4, vus: 2, rate: 50, ramp: '1s', duration: '5s', batch: 10 },
  average: { streams: 10, vus: 5, rate: 300, ramp: '1s', duration: '30s', batch: 20 },
  stress: { streams: 10, vus: 5, rate: 1000, ramp: '1s', duration: '60s', batch: 100 },
});
const ways = { xadd: new Publisher(s), post: new Publisher(s, { by: 'post' }), batch: new Publisher(s, { by: 'batch' }) };
if (!s.redisUrl) delete ways.xadd;
const names = Object.keys(ways);

const scenarios = { subscribers: crowdScenario(s, 'subscribe') };
const perWay = {};
for (const way of names) {
  scenarios[way] = publisherScenario(s, 'publish', { env: { WAY: way } });
  Object.assign(perWay, exact(`{kind:${way}}`), opened(s.streams, `{kind:${way}}`), {
    [`publish_duration{by:${way}}`]: ['p(95)<100'],
    [`published{by:${way}}`]: [`count>=${s.rate * s.duration}`],
    [`sse_event_lag{kind:${way}}`]: ['p(95)<1000'],
  });
}

export const options = { scenarios, thresholds: guarded(perWay, publishes), summaryTrendStats: trendStats };

export const setup = () => ({ run: runId(s) });

export const subscribe = ({ run }) => crowd(s, (number) => {
  const way = names[number % names.length];
  return { url: eventsUrl(s, [channel(run, s, way)]), options: measured(s, { tags: { kind: way, name: way } }) };
}, { total: s.streams * names.length });

export const publish = ({ run }) => ways[__ENV.WAY].publishFor([channel(run, s, __ENV.WAY)], s.rate, s.duration,
  s.eventBytes);

export const handleSummary = summary('publish', s);
