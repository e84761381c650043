"use strict";
// Whatever comes from outside is only ever put into text nodes: no markup is made of it.
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const seconds = (s) => s == null ? "–" : s === 0 ? "0 s" : s < 1 ? `${+(s * 1000).toPrecision(3)} ms` : s < 120 ? `${+s.toPrecision(3)} s`
  : s < 7200 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
const bytes = (n) => n < 1048576 ? `${Math.round(n / 1024)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;
const SPARKS = 150; // five minutes of two-second beats
const STEP = 5; // beats of a point of a record's past
const STRIDE = 120; // seconds of a point of a record's hour
const POINTS = 30; // of each
const SHOWN = 200; // events that the viewer keeps
const BEAT = 2; // seconds between updates
const HOUR = 3600;
const tiles = new Map(), lines = new Map();
let nodes = [], eventsIn, own = "", actions = false, current = null, sort = "subscribers";
// The channel's page: what ends with it, its stream, and events that are not shown yet.
let shown = null, source = null, paused = false, held = 0;
const waiting = [];

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text != null) element.textContent = text;
  if (name) element.className = name;
  return element;
}
// Rows are kept and their texts replaced, so that focus and selection stay where they are.
function fill(body, rows, columns) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, i) => {
    const line = body.rows[i] ?? body.insertRow();
    columns.forEach(([name, show], j) => {
      const cell = line.cells[j] ?? line.appendChild(j === 0 ? Object.assign(make("th"), { scope: "row" }) : make("td"));
      cell.className = name;
      show(cell, row);
    });
  });
}
const text = (f) => (cell, row) => { const t = String(f(row)); if (cell.textContent !== t) cell.textContent = t; };
function channelLink(cell, name) {
  const link = cell.firstElementChild ?? cell.appendChild(make("a"));
  if (link.textContent !== name) { link.textContent = name; link.href = "#/channel/" + encodeURIComponent(name); }
}
function sparkline() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 30"); svg.setAttribute("preserveAspectRatio", "none"); svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "polyline"));
  return svg;
}
// What some nodes tell of a time that is over, as one line: their ends are now.
function told(times, key, together) {
  const all = times.map((time) => time?.[key] ?? []), length = Math.min(Math.max(0, ...all.map((each) => each.length)), POINTS);
  return Array.from({ length }, (_, i) => together(all.map((each) => each[each.length - length + i] ?? 0)));
}
const past = (nodes, key, together) => told(nodes.map((n) => n.past), key, together).flatMap((v) => Array(STEP).fill(v));
// The last hour with its times, up to where the last minutes begin.
function hour(nodes, key, together, until) {
  const points = told(nodes.map((n) => n.hour), key, together), now = Date.now();
  return points.map((v, i) => [now - (points.length - i) * STRIDE * 1000, v]).filter(([at]) => at < until);
}
const plus = (values) => values.reduce((a, b) => a + b, 0), most = (values) => Math.max(0, ...values);
function grow(values, value) { values.push(value); values.splice(0, values.length - SPARKS); return values; }
function spark(svg, values) {
  const top = Math.max(...values, 1e-9), width = SPARKS - 1;
  const points = values.map((v, i) => `${(i + SPARKS - values.length) / width * 100},${(1 - v / top) * 28 + 1}`);
  svg.firstElementChild.setAttribute("points", values.length > 1 ? points.join(" ") : "");
}
// A number of the whole cluster; the page's first one has behind it what nodes know of the last minutes and hour.
function tile(key, title, together, f, shown, all) {
  let entry = tiles.get(key);
  if (!entry) {
    const item = $("tiles").appendChild(make("li"));
    item.append(make("span", title, "dim"), make("b"), sparkline());
    const values = past(nodes, key, together), now = Date.now();
    const minutes = values.map((v, i) => [now - (values.length - i) * BEAT * 1000, v]);
    const seen = [...hour(nodes, key, together, minutes[0]?.[0] ?? now), ...minutes];
    tiles.set(key, entry = { title, shown, values, seen, number: item.children[1], svg: item.children[2] });
    $("line").append(Object.assign(make("option", title), { value: key }));
  }
  const value = all ?? together(nodes.map((n) => f(n) || 0));
  entry.number.textContent = shown(value);
  spark(entry.svg, grow(entry.values, value));
  entry.seen.push([Date.now(), value]);
  entry.seen.splice(0, entry.seen.findIndex(([at]) => at >= Date.now() - HOUR * 1000));
}
// One number of these at large: a line with axes, of five minutes or of an hour.
let hand = null; // how many seconds before now its value is shown
const range = () => $("range-60").checked ? HOUR : 300;
function roundUp(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * unit >= value * .999) * unit;
}
function mark(name, path) {
  const svg = $("plot").firstElementChild ?? $("plot").appendChild(sparkline());
  let line = svg.querySelector("#" + name);
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.id = name;
    svg.prepend(line);
  }
  line.setAttribute("d", path);
}
function plot() {
  const entry = tiles.get($("line").value);
  if (!entry) return;
  $("chart").hidden = false;
  const span = range(), now = entry.seen.at(-1)[0], seen = entry.seen.filter(([at]) => at >= now - span * 1000);
  const top = roundUp(Math.max(...seen.map(([, value]) => value)));
  [top, top / 2, 0].forEach((value, i) => { $("high").children[i].textContent = value ? entry.shown(value) : "0"; });
  [span, span / 2].forEach((ago, i) => { $("low").children[i].textContent = `${ago / 60} min ago`; });
  const across = (at) => 100 - (now - at) / span / 10;
  mark("grid", "M0 1H100M0 15H100M0 29H100");
  $("plot").querySelector("polyline").setAttribute("points", seen.map(([at, value]) => `${across(at)},${29 - value / top * 28}`).join(" "));
  const wanted = now - (hand ?? 0) * 1000;
  const [at, value] = seen.reduce((best, each) => Math.abs(each[0] - wanted) < Math.abs(best[0] - wanted) ? each : best);
  mark("hand", hand == null ? "M-9 0" : `M${across(at)} 0V30`);
  const said = `${new Date(at).toLocaleTimeString()}: ${entry.shown(value)}`;
  $("at").textContent = hand == null ? "" : said;
  $("plot").setAttribute("aria-valuemin", -span);
  $("plot").setAttribute("aria-valuenow", -Math.round(hand ?? 0));
  $("plot").setAttribute("aria-valuetext", `${entry.title}, ${said}`);
}
// The same for one node, in a cell of its row.
const traced = (key, f, shown) => (cell, n) => {
  if (!cell.firstElementChild) cell.append(make("span"), sparkline());
  text(shown)(cell.firstElementChild, n);
  spark(cell.lastElementChild, lines.get(n.id)[key] = grow(lines.get(n.id)[key] ?? past([n], key, plus), f(n) || 0));
};
const sum = (f) => nodes.reduce((all, node) => all + (f(node) || 0), 0);
function overview(channels) {
  const limit = sum((n) => n.connection_limit), taken = sum((n) => n.connections);
  for (const id of lines.keys()) if (!nodes.some((n) => n.id === id)) lines.delete(id);
  nodes.forEach((n) => lines.has(n.id) || lines.set(n.id, {}));
  $("summary").textContent = `${nodes.length} node${nodes.length === 1 ? "" : "s"}, ${number.format(taken)} of ${number.format(limit)} connections`;
  tile("connections", "connections", plus, (n) => n.connections, number.format);
  tile("subscriptions", "subscriptions", plus, (n) => n.subscriptions, number.format);
  // Nodes read the same events: the cluster's number is told by the node, and what was before it is of the busiest one.
  tile("events_in", "events in /s", most, (n) => n.events_in, short.format, eventsIn);
  tile("deliveries", "deliveries /s", plus, (n) => n.deliveries, short.format);
  tile("bytes_out", "out /s", plus, (n) => n.bytes_out, bytes);
  tile("lag", "worst lag p99", most, (n) => n.lag?.p99, (s) => s ? seconds(s) : "–");
  tile("command", "Redis command", most, (n) => n.backplane?.command_seconds, (s) => s ? seconds(s) : "–");
  plot();
  fill($("nodes"), nodes, [
    ["name", text((n) => n.name + (n.id === own ? " (this one)" : ""))],
    ["", (cell, n) => { text((n) => n.state + heard(n))(cell, n); cell.className = { ok: "good", degraded: "bad" }[n.state] ?? "warn"; }],
    ["n", traced("connections", (n) => n.connections, (n) => `${number.format(n.connections)} / ${short.format(n.connection_limit)}`)],
    ["n", traced("events_in", (n) => n.events_in, (n) => short.format(n.events_in))],
    ["n", traced("deliveries", (n) => n.deliveries, (n) => short.format(n.deliveries))],
    ["n", traced("lag", (n) => n.lag?.p99, (n) => seconds(n.lag?.p99))], ["n", text((n) => `${Math.round(n.cpu * 100)} %`)], ["n", text((n) => bytes(n.memory_bytes))],
    ["", text((n) => { const b = n.backplane ?? {}; return (b.up ? "up" : isStarting(n) ? "connecting" : "down") + `, ${b.follow ?? "–"}, ${b.version ?? b.name ?? ""}`
      + (b.reconnects ? `, ${b.reconnects} reconnects` : "") + (b.trouble ? `: ${b.trouble}` : ""); })],
    ["", text((n) => `${n.version}, ${seconds(n.uptime_seconds)}`)],
  ]);
  $("drain-row").hidden = !actions;
  if (isUsual()) showChannels(channels);
  const reasons = [];
  for (const [what, key] of [["refused", "refused"], ["ended", "closed"], ["resumed", "resumes"], ["gap", "gaps"]]) {
    const all = {};
    nodes.forEach((n) => Object.entries(n[key] ?? {}).forEach(([reason, count]) => { all[reason] = (all[reason] ?? 0) + count; }));
    Object.entries(all).sort((a, b) => b[1] - a[1]).forEach(([reason, count]) => reasons.push({ what, reason, count }));
  }
  $("reasons-note").hidden = reasons.length > 0;
  fill($("reasons"), reasons, [["", text((r) => r.what)], ["", text((r) => r.reason)], ["n", text((r) => number.format(r.count))]]);
}
function showChannels(channels) {
  $("channels-note").textContent = channels.length > 0 ? "All channels of this node, and the busiest of the others."
    : $("search").value ? "No channel that anybody listens to has that in its name." : "Nobody listens to a channel.";
  fill($("channels"), channels, [
    ["name", (cell, c) => channelLink(cell, c.channel)], ["n", text((c) => number.format(c.subscribers))],
    ["n", text((c) => c.nodes)], ["n", text((c) => short.format(c.rate))],
    ["n", text((c) => c.history_entries == null ? "–" : `${short.format(c.history_entries)} in ${seconds(c.history_seconds)}`)],
  ]);
}
async function get(path) {
  const answer = await fetch(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? answer.statusText);
  return body;
}
// Updates bring the most subscribed channels; whatever else is wanted is asked for.
const isUsual = () => !$("search").value && sort === "subscribers";
async function searchNow() {
  const query = () => String(new URLSearchParams({ search: $("search").value, sort })), wanted = query();
  try {
    const found = await get("/api/channels?" + wanted);
    if (query() === wanted) showChannels(found.channels);
  } catch (error) { $("state").textContent = error.message; }
}
// Of a node that says something every two seconds. Both times are of the backplane's clock.
const heard = (n) => {
  const ago = Math.round(((nodes[0]?.at_ms ?? 0) - n.at_ms) / 1000);
  return ago >= 6 ? `, heard ${ago} s ago` : "";
};
// A node that is starting has not lost Redis.
const isStarting = (n) => n.state === "starting";
const updates = new EventSource("/api/updates");
updates.addEventListener("nodes", (event) => {
  const all = JSON.parse(event.data);
  ({ nodes, own, actions, events_in: eventsIn } = all);
  $("state").textContent = "";
  $("away").hidden = nodes[0]?.backplane?.up !== false || isStarting(nodes[0]);
  overview(all.channels);
  if (!isUsual()) searchNow();
  $("publish").hidden = !actions;
});
updates.onerror = () => { $("state").textContent = updates.readyState === 2 ? "no updates any more: reload" : "reconnecting…"; };

// One channel.
const allowed = (type) => { const types = $("types").value.split(",").map((t) => t.trim()).filter(Boolean);
  return types.length === 0 || types.includes(type); };
const when = (id) => {
  const time = new Date(Number(id?.split("-")[0] ?? NaN));
  if (isNaN(time)) return "";
  return time.toDateString() === new Date().toDateString() ? time.toLocaleTimeString() : time.toLocaleString();
};
const LOST = { trimmed: "trimmed away", deleted: "deleted by a producer", missing: "missing: the stream was deleted, or Redis lost them", reset: "unknown: the stream's ids began anew" };
function gapText(data) {
  const { reason, resume_from: from, continues_at: at, lost } = JSON.parse(data);
  return `${lost == null ? "events" : lost === 1 ? "1 event" : `${number.format(lost)} events`} after ${from ?? "the beginning"} `
    + `${lost === 1 ? "is" : "are"} ${LOST[reason] ?? reason}; it goes on at ${at && at !== "0-0" ? at : "the next one"}`;
}
// The beginning of the URLs that clients use. A node that listens on all addresses is where its console is.
const entrance = (node) => node.address.replace(/^(https?:\/\/)(0\.0\.0\.0|\[::\])(?=:|$)/, (_, scheme) => scheme + location.hostname);
const ownNode = async () => nodes[0] ?? (await get("/api/nodes")).nodes[0];
function show(entry) {
  const gap = entry.event === "fantail.gap", item = make("li", null, gap ? "gap" : "");
  item.dataset.type = entry.event;
  item.hidden = !gap && !allowed(entry.event);
  item.append(make("span", gap ? "gap" : entry.event, ""), make("span", entry.id ?? "", "dim"),
    make("span", when(entry.id), "dim"), make("pre", gap ? gapText(entry.data) : entry.data));
  $("events").prepend(item);
}
// Events wait here for the next frame, or for the pause's end; of more than are shown the newest stay.
function flush() {
  if (paused) return;
  waiting.splice(0).forEach(show);
  while ($("events").children.length > SHOWN) $("events").lastChild.remove();
}
function add(entry) {
  if (waiting.length === 0 && !paused) requestAnimationFrame(flush);
  waiting.push(entry);
  if (waiting.length > SHOWN) waiting.shift();
  if (paused) { held += 1; $("viewer").textContent = `paused, ${held} came since` + (held > SHOWN ? `, the newest ${SHOWN} are kept` : ""); }
}
// An EventSource delivers a type only to who asks for it, and types are not known before: the envelope has them.
function watch(name, since, signal) {
  const query = new URLSearchParams({ envelope: "1" });
  if (since) query.set("since", since);
  source = new EventSource(`/api/channels/${encodeURIComponent(name)}/live?${query}`);
  const own_ = source;
  let at = since;
  own_.onopen = () => { if (!paused) $("viewer").textContent = "live"; };
  own_.onmessage = (event) => { at = event.lastEventId || at; add(JSON.parse(event.data)); };
  own_.addEventListener("fantail.gap", (event) => add({ event: "fantail.gap", data: event.data }));
  own_.onerror = () => {
    if (own_.readyState !== EventSource.CLOSED) { $("viewer").textContent = "reconnecting…"; return; }
    // An answer that is no stream, such as that of a node with too many viewers, ends an EventSource for good.
    $("viewer").textContent = "not live: this node gives no stream now";
    const again = setTimeout(() => watch(name, at, signal), 5000);
    signal.addEventListener("abort", () => clearTimeout(again), { once: true });
  };
  signal.addEventListener("abort", () => own_.close(), { once: true });
}
async function channel(name) {
  current = name;
  $("channel-name").textContent = name;
  $("to-subscribers").href = "#/subscribers?" + new URLSearchParams({ channel: name });
  $("events").replaceChildren(); $("facts").replaceChildren();
  $("viewer").textContent = "…"; paused = false; held = 0; waiting.length = 0;
  $("pause").setAttribute("aria-pressed", "false"); $("pause").textContent = "Pause"; $("p-said").textContent = "";
  shown = new AbortController();
  const signal = shown.signal;
  const refresh = async () => {
    const [all, node] = await Promise.all([get("/api/channels/" + encodeURIComponent(name)), ownNode()]);
    if (signal.aborted) return all;
    const s = all.stream, rows = [["subscribers", `${number.format(all.audience.subscribers)} (approximate)`]];
    Object.entries(all.audience.nodes).forEach(([node, count]) => rows.push(["on " + node, number.format(count)]));
    rows.push(["stream", s ? `${number.format(s.entries)} ${s.entries === 1 ? "entry" : "entries"}` + (s.added == null ? "" : ` of ${number.format(s.added)} ever added`) : "does not exist"]);
    if (s?.first) rows.push(["first", `${s.first}  ${when(s.first)}`]);
    if (s) rows.push(["last", `${s.last}  ${when(s.last)}`]);
    if (s?.finished) rows.push(["finished", "yes: its last event is final"]);
    rows.push(["for clients", `${entrance(node)}/events/${encodeURIComponent(name)}`]);
    $("facts").replaceChildren(...rows.flatMap(([k, v]) => [make("dt", k), make("dd", v)]));
    return all;
  };
  try {
    const all = await refresh();
    if (signal.aborted) return;
    all.events.forEach(show);
    const every = setInterval(() => refresh().catch(() => {}), 5000);
    signal.addEventListener("abort", () => clearInterval(every));
    if (all.contents === false) $("viewer").textContent = "this node does not show what events hold (--admin-contents off)";
    else watch(name, all.events.at(-1)?.id ?? all.stream?.last, signal);
  } catch (error) { $("viewer").textContent = error.message; }
}
const PLACES = { overview: () => {}, channel, subscribers, subscriber };
// What the address names: one channel, one subscriber, a search for subscribers, or the cluster.
function place() {
  const [, name, rest] = /^#\/(channel|subscriber)\/(.+)$/.exec(location.hash) ?? /^#\/(subscribers)(?:\?(.*))?$/.exec(location.hash) ?? [];
  try {
    return name === "subscribers" ? [name, rest ?? ""] : name ? [name, decodeURIComponent(rest)] : ["overview", null];
  } catch { return ["overview", null]; }
}
function navigate() {
  shown?.abort(); shown = null; current = null;
  const [name, what] = place();
  for (const id of Object.keys(PLACES)) $(id).hidden = id !== name;
  document.title = { channel: what + " – Fantail", subscribers: "Subscribers – Fantail", subscriber: "Subscriber – Fantail" }[name] ?? "Fantail";
  PLACES[name](what);
  if (name !== "overview") $("main").focus();
}
addEventListener("hashchange", navigate);
for (const id of ["line", "range-5", "range-60"]) $(id).addEventListener("change", () => { hand = null; plot(); });
const point = (seconds) => { hand = seconds == null ? null : Math.min(range(), Math.max(0, seconds)); plot(); };
$("plot").addEventListener("pointermove", (event) => {
  const { left, width } = $("plot").getBoundingClientRect();
  point((1 - (event.clientX - left) / width) * range());
});
$("plot").addEventListener("pointerleave", () => point(null));
$("plot").addEventListener("blur", () => point(null));
$("plot").addEventListener("keydown", (event) => {
  const step = range() / SPARKS, now = hand ?? 0;
  const to = { ArrowLeft: now + step, ArrowDown: now + step, ArrowRight: now - step, ArrowUp: now - step,
    PageDown: now + 10 * step, PageUp: now - 10 * step, Home: range(), End: 0, Escape: null }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  point(to);
});
$("search").addEventListener("input", searchNow);
for (const by of ["subscribers", "rate"]) $("by-" + by).addEventListener("click", () => {
  sort = by;
  for (const each of ["subscribers", "rate"]) {
    const head = $("by-" + each).parentElement;
    if (each === by) head.setAttribute("aria-sort", "descending"); else head.removeAttribute("aria-sort");
  }
  searchNow();
});
$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("open").value) location.hash = "#/channel/" + encodeURIComponent($("open").value);
});
$("pause").addEventListener("click", () => {
  paused = !paused; held = 0;
  $("pause").setAttribute("aria-pressed", String(paused)); $("pause").textContent = paused ? "Go on" : "Pause";
  $("viewer").textContent = paused ? "paused" : source?.readyState === EventSource.OPEN ? "live" : "reconnecting…";
  flush();
});
$("types").addEventListener("input", () => {
  for (const item of $("events").children) item.hidden = !item.classList.contains("gap") && !allowed(item.dataset.type);
});
$("curl").addEventListener("click", async () => {
  const types = $("types").value.trim();
  const quoted = (s) => "'" + s.replaceAll("'", "'\\''") + "'";
  const node = await ownNode();
  // The console has neither a token nor a cookie of the application.
  const who = { jwt: " -H 'Authorization: Bearer TOKEN'", forward: " -b 'COOKIE'" }[node.auth] ?? "";
  const line = `curl -N${who} ` + quoted(`${entrance(node)}/events/${encodeURIComponent(current)}` + (types ? "?events=" + encodeURIComponent(types) : ""));
  try { await navigator.clipboard.writeText(line); $("viewer").textContent = "copied: " + line; } catch { $("viewer").textContent = line; }
});
const act = (path, body) => fetch(path, { method: "POST", body, headers: { "X-Fantail-Action": "1" } });
$("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const query = new URLSearchParams({ channel: current });
  if ($("p-type").value) query.set("event", $("p-type").value);
  if ($("p-final").checked) query.set("final", "1");
  const answer = await act("/api/publish?" + query, $("p-data").value);
  const said = await answer.json();
  $("p-said").textContent = answer.ok ? "published as " + said.id : said.detail;
});
$("drain").addEventListener("click", async () => {
  if (!confirm("Drain this node? It takes no new subscribers, ends those it has, and exits.")) return;
  const answer = await act("/api/drain", "");
  $("state").textContent = answer.ok ? "draining" : (await answer.json()).detail;
});
