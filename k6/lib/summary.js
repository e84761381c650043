// What a run leaves behind: JSON and a readable text, both in the folder RESULTS, and the text on the terminal.

const order = [/^sse_/, /^publish/, /^checks/, /^http_req/, /^iteration|^vus|^data/];
const rank = (name) => order.findIndex((pattern) => pattern.test(name));

function figure(value, contains) {
  if (value === undefined || value === null) return '-';
  if (contains === 'time') return value >= 1000 ? `${(value / 1000).toFixed(2)}s` : `${value.toFixed(2)}ms`;
  if (contains === 'data') {
    for (const unit of ['B', 'kB', 'MB', 'GB']) {
      if (value < 1000 || unit === 'GB') return `${unit === 'B' ? value : value.toFixed(1)} ${unit}`;
      value /= 1000;
    }
  }
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}

function values(metric) {
  const v = metric.values;
  const show = (value) => figure(value, metric.contains);
  switch (metric.type) {
    case 'counter':
      return `${show(v.count)}  (${figure(v.rate, metric.contains === 'data' ? 'data' : '')}/s)`;
    case 'gauge':
      return `${show(v.value)}  max ${show(v.max)}`;
    case 'rate':
      return `${(100 * v.rate).toFixed(2)}%  ${v.passes} of ${v.passes + v.fails}`;
    default:
      return ['med', 'p(95)', 'p(99)', 'max'].map((key) => `${key} ${show(v[key])}`).join('  ');
  }
}

/** The text: every metric with its thresholds, then the verdict. */
export function text(script, s, data) {
  const names = Object.keys(data.metrics)
    .filter((name) => rank(name) >= 0)
    .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  const lines = [`${script}.js, profile ${s.profile}, ${s.url}, ${(data.state.testRunDurationMs / 1000).toFixed(1)} s`, ''];
  const crossed = [];
  for (const name of names) {
    const metric = data.metrics[name];
    lines.push(`  ${name.padEnd(46)} ${values(metric)}`);
    for (const [rule, { ok }] of Object.entries(metric.thresholds || {})) {
      lines.push(`      ${ok ? 'ok     ' : 'CROSSED'} ${rule}`);
      if (!ok) crossed.push(`${name} ${rule}`);
    }
  }
  lines.push('');
  for (const each of crossed) lines.push(`CROSSED ${each}`);
  lines.push(crossed.length === 0 ? 'every threshold holds' : `${crossed.length} thresholds are crossed`, '');
  return lines.join('\n');
}

/** `handleSummary` of a script. */
export function summary(script, s) {
  return (data) => {
    const readable = text(script, s, data);
    const files = { stdout: `\n${readable}` };
    if (__ENV.RESULTS) {
      const { token, redisUrl, ...shown } = s;
      files[`${__ENV.RESULTS}/${script}.txt`] = readable;
      files[`${__ENV.RESULTS}/${script}.json`] = JSON.stringify({ script, settings: shown, ...data }, null, 2);
    }
    return files;
  };
}

export const trendStats = ['avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'max'];
