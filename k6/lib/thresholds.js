// Thresholds that cannot pass for want of samples: k6 lets a threshold without any sample pass.
import { Counter } from 'k6/metrics';

// How many k6 share a crowd (k6-operator's parallelism): each judges its share, and only one of them publishes.
const instances = Number(__ENV.INSTANCES || 1);

// By how much limits of time are stretched, for machines that are busy with other things.
const slack = Number(__ENV.SLACK || 1);
const stretched = (rule) => rule.replace(/^(p\(\d+\)<)(\d+)$/, (_, head, ms) => `${head}${ms * slack}`);

/** Counts checks, since the rate of `checks` cannot be guarded by itself. */
export const checksMade = new Counter('checks_made');

// The counter that shows that a metric was measured at all.
const guards = {
  sse_connect_duration: 'sse_connects',
  sse_time_to_first_event: 'sse_events',
  sse_event_lag: 'sse_lags',
  sse_reconnect_duration: 'sse_reconnects',
  sse_gaps: 'sse_events',
  sse_lost: 'sse_checked',
  sse_duplicates: 'sse_checked',
  sse_reordered: 'sse_checked',
  sse_errors: 'sse_streams',
  sse_finished: 'sse_connects',
  checks: 'checks_made',
  publish_duration: 'published',
  publish_late: 'published',
  publish_errors: 'published',
};

// Tags that a metric has and its guard has not: `{kind:a,code:cut}` is guarded on `{kind:a}`.
function withoutOwn(tags) {
  const shared = tags.slice(1, -1).split(',').filter((tag) => tag && !/^(code|announced|status|proto|tls_version):/.test(tag));
  return shared.length ? `{${shared.join(',')}}` : '';
}

/**
 * Thresholds with a guard `count>0` beside each, on the same tags.
 *
 * A metric that is a counter itself and wants samples (`count>0`, `count==5`) is its own guard.
 */
export function guarded(...parts) {
  const thresholds = {};
  const add = (metric, rules) => {
    thresholds[metric] = [...new Set([...(thresholds[metric] || []), ...rules])];
  };
  for (const [metric, all] of parts.flatMap(Object.entries)) {
    if (instances > 1 && /^(publish|checks)/.test(metric)) continue;
    const shared = (rule) => (instances > 1 ? rule.replace(/^count(>=|==)[1-9]\d*$/, 'count>0') : rule);
    const rules = all.map((rule) => shared(stretched(rule)));
    add(metric, rules);
    const [, name, tags = ''] = /^(\w+)(\{.*\})?$/.exec(metric);
    if (rules.some((rule) => /^count(>0|(>|>=|==)[1-9])/.test(rule))) continue;
    if (!guards[name]) throw new Error(`no guard is known for the threshold on ${metric}`);
    add(guards[name] + withoutOwn(tags), ['count>0']);
  }
  return thresholds;
}

/** Exactness of streams with these tags: nothing lost, repeated or out of order, no gap, and every stream got the end. */
export function exact(tags = '') {
  return {
    [`sse_lost${tags}`]: ['count==0'],
    [`sse_duplicates${tags}`]: ['count==0'],
    [`sse_reordered${tags}`]: ['count==0'],
    [`sse_gaps${tags}`]: ['count==0'],
    [`sse_finished${tags}`]: ['rate==1'],
  };
}

/** As many streams as were asked for got through. */
export const opened = (count, tags = '') => ({ [`sse_connects${tags}`]: [`count>=${count}`] });

/** The publisher did its part. */
export const publishes = { publish_errors: ['count==0'] };
