// Hours of ordinary life: subscribers come, stay for a while, go, and come back where they were.
//
// Each stream is left after LIFE (half of it to one and a half) and followed by another that resumes, so whoever counts
// sees one long stream. Set DURATION to hours, and K6_SSE_LAG_SAMPLES (per second) to 50: k6 keeps every sample.
import { EventSource } from 'k6/x/eventsource';
import { crowdScenario, measured, openEvenly, publisherScenario, share } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, seconds, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { exact, guarded, opened, publishes } from './lib/thresholds.js';

const s = settings('soak', {
  smoke: { streams: 50, vus: 5, rate: 20, ramp: '1s', duration: '15s', life: '3s' },
  average: { streams: 500, vus: 10, rate: 10, ramp: '10s', duration: '3m', life: '30s' },
  stress: { streams: 2000, vus: 20, rate: 20, ramp: '30s', duration: '4h', life: '5m' },
});
const life = seconds(s.life);
const publisher = new Publisher(s);
const tags = '{kind:soak}';

export const options = {
  scenarios: { subscribers: crowdScenario(s, 'subscribe'), publisher: publisherScenario(s, 'publish') },
  thresholds: guarded(exact(tags), opened(s.streams, tags), publishes, {
    // The streams that came back; a fifth fewer than on average is chance.
    [`sse_streams${tags}`]: [`count>=${Math.floor(s.streams * Math.max(1, (0.8 * s.duration) / life))}`],
    [`sse_event_lag${tags}`]: ['p(95)<1000'],
    [`sse_errors${tags}`]: ['count==0'],
  }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

/** One subscriber after another in the same place, until one of them gets the end. */
async function comeAndGo(url) {
  for (let resume = null; ;) {
    const source = new EventSource(url, measured(s, { resume, tags: { kind: 'soak', name: 'soak' } }));
    const leave = setTimeout(() => source.close(), 1000 * life * (0.5 + Math.random()));
    const end = await source.closed();
    clearTimeout(leave);
    if (end.reason !== 'closed') return;
    resume = source;
  }
}

export async function subscribe({ run }) {
  const url = eventsUrl(s, [channel(run, s, 'all')]);
  await Promise.all(await openEvenly(share(s.streams, s.vus), s.ramp, s.streams, () => ({ over: comeAndGo(url) }))
    .then((all) => all.map(({ over }) => over)));
}

export const publish = ({ run }) => publisher.publishFor([channel(run, s, 'all')], s.rate, s.duration, s.eventBytes);

export const handleSummary = summary('soak', s);
