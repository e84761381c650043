// Publishes numbered events, at a steady rate, to channels of its own.
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';
import { headers, redisClient } from './settings.js';

const published = new Counter('published');
const publishErrors = new Counter('publish_errors');
const publishDuration = new Trend('publish_duration', true);
// How late an event was sent: k6 or Redis could not keep up with RATE. Lags from `t` contain it.
const publishLate = new Trend('publish_late', true);

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Publisher {
  /**
   * In the init context: by Redis where REDIS_URL is given, else by POST. `by` can ask for `post`, or for `batch`: POST of
   * as many events at once as the setting `batch` says.
   */
  constructor(s, { by } = {}) {
    this.s = s;
    this.redis = by ? null : redisClient(s);
    this.batch = by === 'batch' ? s.batch : 1;
    this.tags = { by: by || (this.redis ? 'xadd' : 'post') };
    this.post = { headers: headers(s), tags: { name: `POST ${s.url}/events/{channel}`, ...this.tags } };
  }

  /** Publishes one event and resolves with its id; false where that failed. */
  publish(channel, data, fields = {}) {
    return this.counted(channel, 1, () => (this.redis ? this.xadd(channel, data, fields)
      : this.overHttp(channel, data, fields)));
  }

  /** Publishes several events of one channel in a request; false where that failed. */
  publishBatch(channel, all) {
    return this.counted(channel, all.length, async () => {
      const lines = all.map((data) => `{"channel":"${channel}","data":${JSON.stringify(data)}}`).join('\n');
      const answer = await http.asyncRequest('POST', `${this.s.url}/events`, lines, this.post);
      if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
      return answer.json('ids');
    });
  }

  async counted(channel, count, send) {
    const begun = Date.now();
    try {
      const result = await send();
      publishDuration.add(Date.now() - begun, this.tags);
      published.add(count, this.tags);
      return result;
    } catch (error) {
      publishErrors.add(1, this.tags);
      console.error(`publishing to ${channel} failed: ${error}`);
      return false;
    }
  }

  xadd(channel, data, fields) {
    const more = Object.entries(fields).flat();
    return this.redis.sendCommand('XADD', this.s.keyPrefix + channel, 'MAXLEN', '~', this.s.maxlen, '*', ...more,
      'data', data);
  }

  async overHttp(channel, data, fields) {
    const query = Object.entries(fields).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
    const answer = await http.asyncRequest('POST', `${this.s.url}/events/${channel}?${query}`, data, this.post);
    if (answer.status !== 201) throw new Error(`${answer.status} ${answer.body}`);
    return answer.json('id');
  }

  /**
   * Publishes `rate` events per second in all to `channels` in turn, for so many seconds, then an event of type `end`
   * to each. One after another, so that the numbers are in the order of the ids.
   *
   * `t` is when the event should have been sent: a publisher that is held up cannot hide lag.
   */
  async publishFor(channels, rate, duration, bytes) {
    const numbers = channels.map(() => 0);
    const start = Date.now();
    const total = Math.round(rate * duration);
    for (let i = 0; i < total; i += this.batch) {
      const due = start + (i * 1000) / rate;
      if (due > Date.now()) await wait(due - Date.now());
      publishLate.add(Math.max(0, Date.now() - due));
      const at = (i / this.batch) % channels.length;
      const events = Array.from({ length: this.batch }, (_, j) => numbered(channels[at], numbers[at] + 1 + j, due, bytes));
      const done = this.batch > 1 ? this.publishBatch(channels[at], events) : this.publish(channels[at], events[0]);
      if (await done) numbers[at] += this.batch;
    }
    for (const [at, name] of channels.entries()) {
      const end = numbered(name, numbers[at] + 1, Date.now(), bytes);
      for (let tries = 0; tries < 20 && !(await this.publish(name, end, { event: 'end' })); tries++) await wait(500);
    }
  }
}

/** Data of about so many bytes: the channel, the event's number in it, and when it was due. */
export function numbered(channel, number, due, bytes) {
  const data = `{"c":"${channel}","n":${number},"t":${due.toFixed(2)},"pad":"`;
  return `${data}${'x'.repeat(Math.max(0, bytes - data.length - 2))}"}`;
}
