// What a run is told by its environment, and what each profile says where it is not told.
import redis from 'k6/x/redis';

const env = (name, otherwise) => (__ENV[name] === undefined || __ENV[name] === '' ? otherwise : __ENV[name]);

/** Seconds of `90`, `500ms`, `30s`, `5m` or `1h`. */
export function seconds(text) {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(String(text));
  if (!match) throw new Error(`${text} is no duration: 90, 500ms, 30s, 5m or 1h`);
  return Number(match[1]) * { ms: 0.001, s: 1, m: 60, h: 3600 }[match[2] || 's'];
}

/**
 * The settings of a script. `profiles` has the numbers of `smoke`, `average` and `stress`; each can be set by the
 * environment variable of its name in capitals (`streams`: STREAMS, `eventBytes`: EVENT_BYTES).
 */
export function settings(script, profiles) {
  const profile = env('PROFILE', 'average');
  if (!profiles[profile]) throw new Error(`PROFILE is ${profile}, expected ${Object.keys(profiles).join(', ')}`);
  const s = { script, profile };
  for (const [name, value] of Object.entries({ eventBytes: 200, lag: 't', settle: '3s', ...profiles[profile] })) {
    const variable = name.replace(/[A-Z]/g, (capital) => `_${capital}`).toUpperCase();
    s[name] = env(variable, value);
    if (typeof value === 'number') s[name] = Number(s[name]);
    if (Number.isNaN(s[name])) throw new Error(`${variable} is ${__ENV[variable]}, expected a number`);
  }
  for (const name of ['duration', 'ramp', 'settle']) if (s[name] !== undefined) s[name] = seconds(s[name]);
  s.url = env('FANTAIL_URL', 'http://127.0.0.1:8080').replace(/\/+$/, '');
  s.redisUrl = env('REDIS_URL', '');
  s.keyPrefix = env('FANTAIL_KEY_PREFIX', 'sse:');
  s.maxlen = Number(env('MAXLEN', 100000));
  s.token = env('TOKEN', '');
  s.runId = env('RUN_ID', '');
  return s;
}

/** The name of this run, by which its channels differ from those of others; for `setup()`. */
export function runId(s) {
  return s.runId || `${Date.now().toString(36)}${Math.floor(Math.random() * 46656).toString(36)}`;
}

/** A channel of this run. */
export const channel = (run, s, name) => `k6.${s.script}.${run}.${name}`;

/** The address of a subscription. */
export function eventsUrl(s, channels, parameters = {}) {
  const query = Object.entries(parameters).map(([name, value]) => `&${name}=${encodeURIComponent(value)}`);
  return `${s.url}/events?channels=${channels.map(encodeURIComponent).join(',')}${query.join('')}`;
}

/** Headers of a request: the bearer token, where there is one. */
export const headers = (s) => (s.token ? { Authorization: `Bearer ${s.token}` } : {});

/** A client of Redis, or null where there is none: then publishing goes by POST. In the init context only. */
export const redisClient = (s) => (s.redisUrl ? new redis.Client(s.redisUrl) : null);
