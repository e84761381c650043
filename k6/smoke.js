// Is everything there? A minute against any node: events, resume, gaps, filters, errors, both ways to publish.
import http from 'k6/http';
import { check } from 'k6';
import { EventSource } from 'k6/x/eventsource';
import { crowd, crowdScenario, measured, publisherScenario } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, headers, runId, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { checksMade, exact, guarded, opened, publishes } from './lib/thresholds.js';

const numbers = { streams: 20, vus: 2, rate: 20, ramp: '1s', duration: '5s' };
const s = settings('smoke', { smoke: numbers, average: numbers, stress: numbers });
const publisher = new Publisher(s);
const names = ['a', 'b', 'c'];

export const options = {
  scenarios: {
    subscribers: crowdScenario(s, 'subscribe'),
    publisher: publisherScenario(s, 'publish'),
    features: { executor: 'per-vu-iterations', exec: 'features', vus: 1, iterations: 1, maxDuration: '180s' },
  },
  thresholds: guarded(
    exact('{kind:callbacks}'), exact('{kind:counted}'), exact('{kind:several}'), exact('{kind:resumed}'),
    opened(s.streams, '{kind:counted}'), publishes, {
      checks: ['rate==1'],
      'sse_event_lag{kind:counted}': ['p(95)<1000'],
      // The gap that `features` asks for, and no other.
      'sse_gaps{kind:gap}': ['count==1'],
    }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

/** A third each: with JavaScript callbacks, counted in Go, and of several channels. */
export async function subscribe({ run }) {
  const one = [channel(run, s, 'a')];
  const several = names.map((name) => channel(run, s, name));
  const kinds = [
    () => ({ url: eventsUrl(s, one), options: measured(s, { count: false, tags: { kind: 'callbacks', name: 'one' } }) }),
    () => ({ url: eventsUrl(s, one), options: measured(s, { tags: { kind: 'counted', name: 'one' } }) }),
    () => ({
      url: eventsUrl(s, several),
      options: measured(s, { untilTimes: several.length, tags: { kind: 'several', name: 'several' } }),
    }),
  ];
  await crowd(s, (number) => kinds[number % 3](), { total: 3 * s.streams });
}

export const publish = ({ run }) => publisher.publishFor(names.map((name) => channel(run, s, name)), s.rate * 3,
  s.duration, s.eventBytes);

function verify(value, checks) {
  checksMade.add(Object.keys(checks).length);
  check(value, checks);
}

/** The first `count` events of a stream, which is then closed. */
function receive(url, options, count) {
  return new Promise((resolve, reject) => {
    const events = [];
    const source = new EventSource(url, { headers: headers(s), lag: 'none', ...options });
    const take = (event) => {
      events.push(event);
      if (events.length === count) source.close();
    };
    source.onmessage = take;
    for (const type of ['created', 'fantail.gap']) source.addEventListener(type, take);
    const late = setTimeout(() => reject(new Error(`${url}: ${events.length} of ${count} events in 60 s`)), 60000);
    source.closed().then((end) => {
      clearTimeout(late);
      resolve({ events, end });
    });
  });
}

export async function features({ run }) {
  const name = channel(run, s, 'features');
  const url = eventsUrl(s, [name]);
  const ids = [];
  for (const n of [1, 2, 3, 4]) {
    ids.push(await publisher.publish(name, `{"n":${n},"text":"line 1\\nüñ"}`, n === 3 ? { event: 'created' } : {}));
  }
  verify(ids, { 'publishing gives ids that rise': () => ids.every((id, i) => /^\d+-\d+$/.test(id) && (i === 0 || id > ids[i - 1])) });

  const whole = await receive(`${url}&since=earliest`, { tags: { kind: 'features' } }, 4);
  verify(whole.events, {
    'history comes in order, with its ids': (events) => events.map((event) => event.lastEventId).join() === ids.join(),
    'data comes as it was published': (events) => events.every((event, i) => event.data === `{"n":${i + 1},"text":"line 1\\nüñ"}`),
    'types come': (events) => events.map((event) => event.type).join() === 'message,message,created,message',
  });

  const resumed = await receive(url, { lastEventId: ids[1], sequence: 'n', tags: { kind: 'features' } }, 2);
  verify(resumed.events, { 'a stream goes on after its id': (events) => events.map((event) => event.lastEventId).join() === ids.slice(2).join() });
  const filtered = await receive(`${url}&since=earliest&events=created`, { tags: { kind: 'features' } }, 1);
  verify(filtered.events, { 'a filter lets its type through': ([event]) => event.lastEventId === ids[2] });
  const gap = await receive(url, { lastEventId: 'not-an-id', tags: { kind: 'gap' } }, 1);
  verify(gap.events, { 'an unknown id is a gap, not an error': ([event]) => JSON.parse(event.data).reason === 'reset' });

  await interrupted(run);
  const bad = await receive(`${s.url}/events?channels=a%20b`, { tags: { kind: 'features' } }, 1);
  verify(bad.end, { 'a bad name is refused for good, with its code': (end) => end.reason === 'refused' && end.code === 'bad_channel' });
  await finalEvent(name, url);
  const missing = http.get(`${s.url}/nothing-here`, { headers: headers(s), responseCallback: http.expectedStatuses(404) });
  verify(missing, { 'an unknown page is problem+json': (answer) => answer.json('code') === 'not_found' });
}

/** A stream is cut between any two events, and must lose and repeat nothing. */
async function interrupted(run) {
  const name = channel(run, s, 'cut');
  const source = new EventSource(eventsUrl(s, [name]), measured(s, { retry: 10, count: false, tags: { kind: 'resumed', name: 'cut' } }));
  await new Promise((resolve) => { source.onopen = resolve; });
  source.onopen = null;
  for (let n = 1; n <= 10; n++) {
    await publisher.publish(name, `{"c":"${name}","n":${n},"t":${Date.now()}}`, n === 10 ? { event: 'end' } : {});
    if (n % 4 === 0) source.cut();
  }
  const end = await source.closed();
  verify(end, { 'a stream that is cut resumes': () => end.finished && end.events === 10 && end.connects > 1 });
}

/** After an entry with `final` the stream is over: 204 tells the client to stop. */
async function finalEvent(name, url) {
  const source = new EventSource(url, { headers: headers(s), retry: 10, lag: 'none', tags: { kind: 'features' } });
  await new Promise((resolve) => { source.onopen = resolve; });
  await publisher.publish(name, 'over', { final: 1 });
  const end = await source.closed();
  verify(end, { 'a final event stops the client': () => end.reason === 'stopped' && end.status === 204 });
}

export const handleSummary = summary('smoke', s);
