// A crowd of subscribers: STREAMS streams, shared among VUS virtual users, opened over RAMP seconds.
import exec from 'k6/execution';
import { EventSource } from 'k6/x/eventsource';
import { headers } from './settings.js';

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** How every stream of the suite is measured: lag from LAG, completeness by `n` of each channel `c`, the end by `end`. */
export function measured(s, more = {}) {
  return { headers: headers(s), count: true, lag: s.lag, sequence: 'n', channel: 'c', until: 'end', ...more };
}

/** The scenario of a crowd; `exec` is the function that each VU runs once. */
export function crowdScenario(s, name, more = {}) {
  return {
    executor: 'per-vu-iterations', exec: name, vus: s.vus, iterations: 1,
    maxDuration: `${Math.ceil(s.ramp + s.settle + s.duration + 60)}s`, gracefulStop: '5s', ...more,
  };
}

/** The scenario of publishers, which begin when the crowd is there. */
export function publisherScenario(s, name, more = {}) {
  return {
    executor: 'per-vu-iterations', exec: name, vus: 1, iterations: 1, startTime: `${s.ramp + s.settle}s`,
    maxDuration: `${Math.ceil(s.duration + 60)}s`, gracefulStop: '5s', ...more,
  };
}

/** The numbers, from 0, of the streams that are this VU's share of `total`. */
export function share(total, vus) {
  const first = exec.scenario.iterationInTest % vus;
  return Array.from({ length: Math.ceil(Math.max(0, total - first) / vus) }, (_, i) => first + i * vus);
}

/**
 * Opens a stream per number, evenly over `over` seconds; resolves with all of them when the last one is opened.
 * `open(number)` makes one.
 */
export async function openEvenly(numbers, over, total, open) {
  const start = Date.now();
  const streams = [];
  for (const number of numbers) {
    const due = start + (1000 * over * number) / total;
    if (due - Date.now() > 5) await wait(due - Date.now());
    streams.push(open(number));
  }
  return streams;
}

/** A VU's share of a crowd: opens it and waits until all its streams have ended. */
export async function crowd(s, open, { total = s.streams, over = s.ramp, vus = s.vus } = {}) {
  const streams = await openEvenly(share(total, vus), over, total, (number) => {
    const { url, options } = open(number);
    return new EventSource(url, options);
  });
  return Promise.all(streams.map((stream) => stream.closed()));
}
