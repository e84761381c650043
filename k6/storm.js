// Streams are cut and resumed under load, as in a rollout: nobody may lose or repeat anything.
//
// The script cuts each stream CUTS times itself. `k6/run storm.js` has two nodes and kills one in the middle as well;
// against nodes of your own, start a rollout meanwhile.
import exec from 'k6/execution';
import { EventSource } from 'k6/x/eventsource';
import { crowdScenario, measured, openEvenly, publisherScenario, share } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { exact, guarded, opened, publishes } from './lib/thresholds.js';

const s = settings('storm', {
  smoke: { streams: 100, vus: 5, rate: 20, ramp: '2s', duration: '15s', cuts: 1 },
  average: { streams: 2000, vus: 20, rate: 10, ramp: '10s', duration: '40s', cuts: 2 },
  stress: { streams: 8000, vus: 80, rate: 5, ramp: '30s', duration: '90s', cuts: 3 },
});
const publisher = new Publisher(s);
const tags = '{kind:storm}';

export const options = {
  scenarios: { subscribers: crowdScenario(s, 'subscribe'), publisher: publisherScenario(s, 'publish') },
  thresholds: guarded(exact(tags), opened(s.streams, tags), publishes, {
    [`sse_reconnects${tags}`]: [`count>=${s.streams * s.cuts}`],
    [`sse_reconnect_duration${tags}`]: ['p(95)<10000'],
    // A node that was killed has cut its streams: else the run was not the storm it should have been.
    ...(__ENV.NODE_KILLED ? { 'sse_errors{code:cut}': ['count>0'] } : {}),
  }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

export async function subscribe({ run }) {
  const url = eventsUrl(s, [channel(run, s, 'all')]);
  const streams = await openEvenly(share(s.streams, s.vus), s.ramp, s.streams,
    () => new EventSource(url, measured(s, { tags: { kind: 'storm', name: 'storm' } })));
  // In waves over the time of the publishing, each spread over a fifth of it.
  const begin = exec.scenario.startTime + 1000 * (s.ramp + s.settle);
  for (let wave = 1; wave <= s.cuts; wave++) {
    const at = begin + (1000 * s.duration * wave) / (s.cuts + 1);
    for (const stream of streams) {
      setTimeout(() => stream.cut(), at - Date.now() + (Math.random() * 1000 * s.duration) / 5);
    }
  }
  await Promise.all(streams.map((stream) => stream.closed()));
}

export const publish = ({ run }) => publisher.publishFor([channel(run, s, 'all')], s.rate, s.duration, s.eventBytes);

export const handleSummary = summary('storm', s);
