// Tokens that expire on the way: each stream is told, ends, and goes on with a fresh one, without losing anything.
//
// JWT_SECRET is the secret of the node's --jwt-key (HS256), TOKEN_LIFE how long tokens of streams live. `k6/run auth.js`
// starts such a node.
import { check } from 'k6';
import { EventSource } from 'k6/x/eventsource';
import { crowdScenario, measured, openEvenly, publisherScenario, share } from './lib/crowd.js';
import { Publisher } from './lib/publisher.js';
import { channel, eventsUrl, runId, seconds, settings } from './lib/settings.js';
import { summary, trendStats } from './lib/summary.js';
import { checksMade, exact, guarded, opened, publishes } from './lib/thresholds.js';
import { token, unsigned } from './lib/token.js';

const s = settings('auth', {
  smoke: { streams: 30, vus: 3, rate: 20, ramp: '1s', duration: '15s', tokenLife: '6s' },
  average: { streams: 1000, vus: 10, rate: 10, ramp: '10s', duration: '60s', tokenLife: '15s' },
  stress: { streams: 4000, vus: 40, rate: 5, ramp: '20s', duration: '2m', tokenLife: '20s' },
});
const secret = __ENV.JWT_SECRET;
if (!secret) throw new Error('JWT_SECRET is missing: the secret that the node has in the file of --jwt-key');
const life = seconds(s.tokenLife);
s.token = token(secret, s.ramp + s.settle + s.duration + 600, { publish: ['k6.**'] });
const publisher = new Publisher(s);
const tags = '{kind:auth}';

export const options = {
  scenarios: {
    subscribers: crowdScenario(s, 'subscribe'),
    publisher: publisherScenario(s, 'publish'),
    refusals: { executor: 'per-vu-iterations', exec: 'refusals', vus: 1, iterations: 1, maxDuration: '60s' },
  },
  thresholds: guarded(exact(tags), opened(s.streams, tags), publishes, {
    checks: ['rate==1'],
    // Half of the streams wait for the end of their token.
    [`sse_expired${tags}`]: [`count>=${Math.floor((s.streams / 2) * Math.floor(s.duration / (life + 2)))}`],
    [`sse_event_lag${tags}`]: ['p(90)<2000'],
    [`sse_errors${tags}`]: ['count==0'],
  }),
  summaryTrendStats: trendStats,
};

export const setup = () => ({ run: runId(s) });

const bearer = (value) => ({ Authorization: `Bearer ${value}` });

/** A subscriber that renews its token: when it is told that the end is near, or only when the stream has ended. */
async function renewing(name, early, inQuery) {
  for (let resume = null; ;) {
    const fresh = token(secret, life, { subscribe: [name] });
    const url = eventsUrl(s, [name], inQuery ? { token: fresh } : {});
    const headers = inQuery ? {} : bearer(fresh);
    const source = new EventSource(url, measured(s, { headers, resume, tags: { kind: 'auth', name: 'auth' } }));
    source.addEventListener(early ? 'fantail.expiring' : 'fantail.expired', () => source.close());
    const end = await source.closed();
    if (end.reason !== 'closed') return;
    resume = source;
  }
}

export async function subscribe({ run }) {
  const name = channel(run, s, 'all');
  const all = await openEvenly(share(s.streams, s.vus), s.ramp, s.streams,
    (number) => ({ over: renewing(name, number % 2 === 0, number % 4 < 2) }));
  await Promise.all(all.map(({ over }) => over));
}

/** What must not get in, does not, and is told why. */
export async function refusals({ run }) {
  const name = channel(run, s, 'all');
  const good = { subscribe: [name] };
  const tries = {
    'no token': ['unauthorized', {}],
    'a wrong signature': ['unauthorized', bearer(token(`${secret}x`, 60, good))],
    'a token that has expired': ['unauthorized', bearer(token(secret, -60, good))],
    'a token without a signature': ['unauthorized', bearer(unsigned({ exp: Date.now(), 'fantail.subscribe': [name] }))],
    'a token for another channel': ['forbidden', bearer(token(secret, 60, { subscribe: [`${name}.other`] }))],
  };
  for (const [what, [code, headers]] of Object.entries(tries)) {
    const source = new EventSource(eventsUrl(s, [name]), { headers, tags: { kind: 'refused', name: 'refused' } });
    const late = setTimeout(() => source.close(), 10000);
    const end = await source.closed();
    clearTimeout(late);
    checksMade.add(1);
    const expected = { unauthorized: 401, forbidden: 403 }[code];
    check(end, { [`${what} is refused with ${expected}`]: () => end.reason === 'refused' && end.status === expected });
  }
}

export const publish = ({ run }) => publisher.publishFor([channel(run, s, 'all')], s.rate, s.duration, s.eventBytes);

export const handleSummary = summary('auth', s);
