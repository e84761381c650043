// One stream in one tab, in virtual time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Server } from "./server.js";
import { World } from "./world.js";

const URL = "https://node.example/events";

function page(seed = 1, globals) {
  const world = new World(seed);
  const server = new Server(world);
  const tab = world.tab(globals);
  return { world, server, tab };
}

/** A stream, and what it said. */
function open({ tab }, options = {}, url = URL) {
  const stream = new tab.EventStream(url, { channels: ["a"], ...options });
  const seen = { numbers: [], states: [], errors: [], gaps: [] };
  stream.onmessage = ({ data, lastEventId }) => seen.numbers.push(JSON.parse(data).n) && (seen.last = lastEventId);
  stream.onopen = () => seen.states.push("open");
  stream.onerror = (event) => {
    seen.states.push(["connecting", "open", "closed"][stream.readyState]);
    seen.errors.push({ status: event.status, code: event.code });
  };
  return Object.assign(seen, { stream });
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const refusal = (status, code, retryAfter) => ({
  status, problem: { code }, headers: retryAfter === undefined ? {} : { "retry-after": retryAfter },
});

test("it has EventSource's interface", async () => {
  const here = page();
  const { stream, states, numbers: got } = open(here, { withCredentials: true, channels: ["b", "a", "b"] });
  const { EventStream } = here.tab;
  assert.deepEqual([EventStream.CONNECTING, EventStream.OPEN, EventStream.CLOSED, stream.CLOSED], [0, 1, 2, 2]);
  assert.deepEqual([stream.url, stream.withCredentials, stream.readyState, stream.lastEventId], [URL, true, 0, ""]);
  await here.world.run(100);
  assert.deepEqual([stream.readyState, states, stream.lastEventId], [1, ["open"], "a=0-0,b=0-0"]);
  const types = [];
  const note = ({ type, data, origin }) => types.push(type, JSON.parse(data).n, origin);
  stream.addEventListener("created", note);
  here.server.publish("a", { event: "created" });
  here.server.publish("b");
  await here.world.run(100);
  stream.removeEventListener("created", note);
  here.server.publish("a", { event: "created" });
  await here.world.run(100);
  assert.deepEqual([types, got], [["created", 1, "https://node.example"], [1]]);
  stream.close();
  here.server.publish("b");
  await here.world.run(100_000);
  assert.deepEqual([stream.readyState, got, here.server.streams.size, states], [2, [1], 0, ["open"]]);
  assert.deepEqual(here.world.timers.filter(({ act }) => act).length <= 1, true, "no timer is left but the node's heartbeat");
});

test("a relative address is one of the page's", async () => {
  const here = page();
  open(here, { channels: undefined }, "/events/a?since=earliest");
  await here.world.run(10);
  assert.equal(here.server.asked[0].url, "https://page.example/events/a?since=earliest&heartbeatEvent=1");
});

test("streams that break anywhere go on exactly, after the delay that the node told", async () => {
  for (let seed = 0; seed < 30; seed++) {
    const here = page(seed);
    const { stream, numbers: got, states } = open(here, { channels: ["a"] });
    await here.world.run(10);
    for (let n = 1; n <= 60; n++) {
      here.server.publish("a");
      if (n % 10 === 5) here.server.cut();
      await here.world.run(here.world.chance.below(300));
    }
    await here.world.run(20_000);
    assert.deepEqual(got, numbers(1, 60), `seed ${seed}`);
    assert.equal(states.at(-1), "open");
    stream.close();
  }
  const here = page();
  open(here);
  await here.world.run(10);
  here.server.publish("a");
  await here.world.run(100);
  here.server.cut();
  const { at } = here.server.asked[0];
  await here.world.until(() => here.server.asked.length === 2);
  assert.equal(here.server.asked[1].at - at, 1110);
});

test("UTF-8 may be split, and a byte order mark stand in front", async () => {
  const bytes = new TextEncoder().encode("\ufeffid: 1\ndata: gr\u00fc\u00df \u{1f600}\n\n");
  for (let cut = 0; cut <= bytes.length; cut++) {
    const here = page();
    const pieces = [bytes.slice(0, cut), bytes.slice(cut)];
    const read = async () => (pieces.length ? { value: pieces.shift() } : new Promise(() => {}));
    const headers = new Headers({ "content-type": "text/event-stream" });
    const fetch = async () => ({ status: 200, headers, body: { getReader: () => ({ read }) } });
    const stream = new here.tab.EventStream(URL, { fetch });
    let event;
    stream.onmessage = (message) => (event = message);
    await here.world.run(10);
    assert.deepEqual([event.data, event.lastEventId], ["gr\u00fc\u00df \u{1f600}", "1"]);
  }
});

test("a stream without heartbeats is dead, and what it said at once", async () => {
  const here = page();
  const { numbers: got } = open(here);
  await here.world.run(100);
  for (const stream of here.server.streams) stream.mute = true;
  here.server.publish("a");
  const took = await here.world.until(() => got.length);
  assert.ok(took > 14_000 && took <= 31_000, String(took));
  assert.deepEqual(got, [1]);
});

test("a stream that asked for frequent heartbeats is known to be dead as soon", async () => {
  const here = page();
  here.server.heartbeat = 1_000;
  const { numbers: got } = open(here);
  await here.world.run(100);
  for (const stream of here.server.streams) stream.mute = true;
  here.server.publish("a");
  const took = await here.world.until(() => got.length);
  assert.ok(took <= 2_100, String(took));
});

test("an answer that does not come is not waited for", async () => {
  const here = page();
  here.server.answer = () => (here.server.asked.length < 3 ? "silence" : undefined);
  const { states } = open(here);
  await here.world.run(59_000);
  assert.equal(here.server.asked.length, 2);
  await here.world.run(2_000);
  assert.deepEqual(states, ["connecting", "connecting", "open"]);
});

test("a page that slept, is online again, is seen again or shown again, goes on at once", async () => {
  const cases = {
    slept: ({ tab }) => tab.document.dispatchEvent(new Event("visibilitychange")),
    online: ({ tab }) => tab.dispatchEvent(new Event("online")),
    "page cache": ({ tab }) => {
      tab.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
      assert.equal([...tab.world.server.streams].filter(({ mute }) => !mute).length, 0);
      tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    },
  };
  for (const [name, happens] of Object.entries(cases)) {
    const here = page();
    const { numbers: got } = open(here);
    await here.world.run(100);
    for (const stream of here.server.streams) stream.mute = true;
    here.server.publish("a");
    // Of a machine that sleeps: time passes, and no timer goes off.
    here.world.now += name === "slept" ? 3_600_000 : 1_000;
    happens(here);
    await new Promise((done) => setImmediate(done));
    assert.equal(here.server.asked.length, 2, `${name}: at once`);
    await here.world.run(100);
    assert.deepEqual(got, [1], name);
  }
});

test("what is visible and alive is left alone", async () => {
  const here = page();
  open(here);
  await here.world.run(10_000);
  here.tab.document.dispatchEvent(new Event("visibilitychange"));
  here.tab.dispatchEvent(new Event("pageshow"));
  here.tab.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  await here.world.run(120_000);
  assert.equal(here.server.asked.length, 1);
});

test("429 and 503 are asked again after Retry-After, never before, and not by all at once", async () => {
  const times = [];
  for (let seed = 0; seed < 20; seed++) {
    const here = page(seed);
    here.server.answer = () => (here.server.asked.length === 1 ? refusal([429, 503][seed % 2], "node_full", "20") : undefined);
    const { errors } = open(here);
    await here.world.run(5_000);
    // Impatience does not count.
    here.tab.dispatchEvent(new Event("online"));
    await here.world.until(() => here.server.asked.length === 2);
    times.push(here.server.asked[1].at - here.server.asked[0].at);
    assert.deepEqual(errors, [{ status: [429, 503][seed % 2], code: "node_full" }]);
  }
  assert.ok(Math.min(...times) >= 20_000 && Math.max(...times) <= 30_100, String(times));
});

test("Retry-After spreads who was refused together", async () => {
  const times = new Set();
  for (let seed = 0; seed < 20; seed++) {
    const here = page(seed);
    here.server.answer = () => (here.server.asked.length === 1 ? refusal(503, "node_full", "20") : undefined);
    open(here);
    await here.world.until(() => here.server.asked.length === 2);
    times.add(Math.round((here.server.asked[1].at - here.server.asked[0].at) / 1000));
  }
  assert.ok(times.size > 5, [...times].join());
});

test("failures are tried again ever slower, within a bound, and a success makes that undone", async () => {
  const here = page();
  here.server.answer = () => "refused";
  open(here);
  await here.world.run(600_000);
  const waits = here.server.asked.slice(1).map(({ at }, i) => at - here.server.asked[i].at);
  assert.ok(waits[0] >= 3_000 && waits[0] <= 4_500 && waits[1] >= 6_000, String(waits));
  assert.ok(waits.slice(4).every((wait) => wait >= 30_000 && wait <= 45_000), String(waits));
  here.server.answer = undefined;
  await here.world.until(() => here.server.streams.size);
  await here.world.run(100);
  here.server.cut();
  assert.ok((await here.world.until(() => here.server.streams.size)) <= 1_010);
});

test("204 is the end, and refusals are, which say why", async () => {
  for (const status of [204, 400, 403, 404, 405, 410, 413, 415, 501]) {
    const here = page();
    here.server.answer = () => refusal(status, `code${status}`);
    const { stream, states, errors } = open(here);
    await here.world.run(600_000);
    assert.deepEqual([here.server.asked.length, stream.readyState, states], [1, 2, ["closed"]]);
    assert.deepEqual(errors, [{ status, code: `code${status}` }]);
  }
});

test("a page of HTML is no stream, and not asked for again", async () => {
  const here = page();
  here.server.answer = () => ({ status: 200, headers: { "content-type": "text/html" } });
  const { stream } = open(here);
  await here.world.run(600_000);
  assert.deepEqual([here.server.asked.length, stream.readyState], [1, 2]);
});

test("408 and 5xx of a proxy pass", async () => {
  for (const status of [408, 500, 502, 504]) {
    const here = page();
    here.server.answer = () => (here.server.asked.length === 1 ? refusal(status) : undefined);
    const { states } = open(here);
    await here.world.run(10_000);
    assert.deepEqual(states, ["connecting", "open"]);
  }
});

const say = (server, type, data) => {
  for (const stream of server.streams) stream.say(`event: fantail.${type}\ndata: ${JSON.stringify(data)}\n\n`);
};

test("a token is asked for, renewed before it ends, and the stream goes on where it was", async () => {
  const here = page();
  const reasons = [];
  const token = async ({ reason }) => reasons.push(reason) && `token${reasons.length}`;
  const { numbers: got, states } = open(here, { token });
  await here.world.run(100);
  here.server.publish("a");
  await here.world.run(100);
  say(here.server, "expiring", { expires_at_ms: 1, left_ms: 30_000 });
  here.server.publish("a");
  await here.world.run(100);
  here.server.publish("a");
  await here.world.run(100);
  assert.deepEqual(reasons, ["first", "expiring"]);
  assert.deepEqual(here.server.asked.map(({ token }) => token), ["token1", "token2"]);
  assert.deepEqual([got, here.server.streams.size, states], [[1, 2, 3], 1, ["open", "connecting", "open"]]);
  here.server.cut();
  await here.world.run(5_000);
  assert.deepEqual([reasons.length, here.server.asked.at(-1).token], [2, "token2"]);
});

test("a token that cannot be had while the stream lives is asked for when it has ended", async () => {
  const here = page();
  const reasons = [];
  const token = ({ reason }) => {
    reasons.push(reason);
    if (reason === "expiring") throw new Error("the application is away");
    return reason;
  };
  const { numbers: got } = open(here, { token });
  await here.world.run(100);
  say(here.server, "expiring", { left_ms: 30_000 });
  await here.world.run(100);
  assert.equal(here.server.streams.size, 1);
  say(here.server, "expired", {});
  await here.world.run(10);
  here.server.cut();
  here.server.publish("a");
  await here.world.run(5_000);
  assert.deepEqual(got, [1]);
  assert.deepEqual(reasons, ["first", "expiring", "expired"]);
});

test("the same token again is no reason to come again, a cookie's renewal is", async () => {
  for (const [given, times] of [["same", 1], [undefined, 2]]) {
    const here = page();
    open(here, { token: () => given });
    await here.world.run(100);
    say(here.server, "expiring", { left_ms: 30_000 });
    await here.world.run(100);
    assert.equal(here.server.asked.length, times);
  }
});

test("after 401 a fresh token is asked for, once; where it is refused, too, it is over", async () => {
  const here = page();
  const reasons = [];
  const token = ({ reason }) => reasons.push(reason) && reason;
  here.server.answer = ({ token }) => (token === "unauthorized" ? undefined : refusal(401, "token_expired"));
  const { states } = open(here, { token });
  await here.world.run(500);
  assert.deepEqual([reasons, states], [["first", "unauthorized"], ["connecting", "open"]]);

  here.server.answer = () => refusal(401, "token_revoked");
  here.server.cut();
  await here.world.run(60_000);
  assert.deepEqual([here.server.asked.length, states.at(-1)], [4, "closed"]);

  const other = page();
  other.server.answer = () => refusal(401, "bad_token");
  const { stream } = open(other, { token: "text" });
  await other.world.run(60_000);
  assert.deepEqual([other.server.asked.length, stream.readyState], [1, 2]);
});

test("who throws instead of giving a token is asked again, ever slower", async () => {
  const here = page();
  let count = 0;
  const token = async () => {
    if (++count < 4) throw new Error("offline");
    return "fine";
  };
  const { states } = open(here, { token });
  await here.world.run(60_000);
  assert.deepEqual([count, here.server.asked.length, states.at(-1)], [4, 1, "open"]);
});

test("channels change, and those that stay go on where they were", async () => {
  const here = page();
  const { stream } = open(here);
  const got = [];
  stream.onmessage = ({ data }) => got.push(data);
  const both = (n) => `{"channel":"${n[0]}","n":${n[1]}}`;
  await here.world.run(100);
  here.server.publish("a");
  await here.world.run(100);
  here.server.publish("b");
  here.server.publish("a");
  stream.channels = ["a", "b"];
  here.server.publish("a");
  await here.world.run(100);
  here.server.publish("b");
  await here.world.run(100);
  stream.channels = ["b"];
  here.server.publish("b");
  here.server.publish("a");
  await here.world.run(100);
  stream.channels = ["c"];
  stream.channels = ["c", "b"];
  here.server.publish("b");
  await here.world.run(100);
  assert.deepEqual(got, ["a1", "a2", "a3", "b2", "b3", "b4"].map(both));
  assert.deepEqual([stream.channels, here.server.streams.size, here.server.asked.length], [["b", "c"], 1, 4]);
  stream.channels = [];
  here.server.publish("b");
  await here.world.run(100_000);
  assert.equal(here.server.streams.size, 0);
  stream.channels = ["b"];
  await here.world.run(100);
  assert.deepEqual(got.slice(6), [both("b5")]);
  const fixed = open(here, { channels: undefined }).stream;
  assert.throws(() => (fixed.channels = ["x"]), TypeError);
});

test("a bare position of one channel is never taken for another's", async () => {
  const here = page();
  for (let n = 0; n < 5; n++) here.server.publish("b");
  const { stream, numbers: got } = open(here);
  await here.world.run(100);
  here.server.publish("a");
  await here.world.run(100);
  stream.channels = ["b"];
  await here.world.run(1_000);
  assert.deepEqual(got, [1], "b begins at its end");
});

test("a set that no URL holds goes by QUERY", async () => {
  const here = page();
  const channels = Array.from({ length: 300 }, (_, i) => `room.${i}`);
  const { numbers: got } = open(here, { channels });
  await here.world.run(100);
  const [asked] = here.server.asked;
  assert.deepEqual([asked.method, asked.url, asked.query.get("channels").split(",").length], ["QUERY", URL, 300]);
  here.server.publish("room.7");
  await here.world.run(100);
  here.server.cut();
  here.server.publish("room.7");
  await here.world.run(5_000);
  assert.deepEqual(got, [1, 2]);
});

test("gaps are told, and events go on behind them", async () => {
  const here = page();
  const gaps = [];
  const { numbers: got } = open(here, { onGap: (gap, event) => gaps.push([gap, event.type]) });
  await here.world.run(100);
  const gap = { channel: "a", reason: "trimmed", resume_from: "1-0", continues_at: "5-0", lost: 4 };
  say(here.server, "gap", gap);
  here.server.publish("a");
  await here.world.run(100);
  assert.deepEqual([gaps, got], [[[gap, "fantail.gap"]], [1]]);
});

test("a loop has all events and gaps, and leaving it closes the stream", async () => {
  const here = page();
  const { stream } = open(here);
  const got = [];
  const loop = (async () => {
    for await (const { type, data } of stream) {
      got.push(type === "message" ? JSON.parse(data).n : type);
      if (got.length === 4) break;
    }
  })();
  await here.world.run(100);
  here.server.publish("a");
  here.server.publish("a", { event: "x" });
  await here.world.run(100);
  say(here.server, "gap", { reason: "trimmed" });
  here.server.publish("a");
  here.server.publish("a");
  await here.world.run(100);
  await loop;
  assert.deepEqual([got, stream.readyState, here.server.streams.size], [[1, "x", "fantail.gap", 3], 2, 0]);
});

test("a loop ends with 204 and close(), and fails with refusals and its signal", async () => {
  const ends = async (change, options) => {
    const here = page();
    const { stream } = open(here, options);
    const ended = (async () => {
      for await (const _ of stream);
      return "done";
    })().catch((error) => error.message);
    await here.world.run(100);
    change(here, stream);
    here.server.cut();
    await here.world.run(5_000);
    return ended;
  };
  assert.equal(await ends((_, stream) => stream.close()), "done");
  assert.equal(await ends(({ server }) => (server.answer = () => refusal(204))), "done");
  assert.equal(await ends(({ server }) => (server.answer = () => refusal(403, "forbidden"))), "403 forbidden");
  const abort = new AbortController();
  assert.equal(await ends(() => abort.abort(new Error("enough")), { signal: abort.signal }), "enough");
});

test("a loop that is too slow fails behind what it could take", async () => {
  const here = page();
  const { stream } = open(here, { buffer: 3 });
  const got = [];
  let go;
  const loop = (async () => {
    for await (const { data } of stream) {
      got.push(JSON.parse(data).n);
      await new Promise((done) => (go = done));
    }
  })();
  const failed = assert.rejects(loop, RangeError);
  await here.world.run(100);
  for (let n = 0; n < 9; n++) here.server.publish("a");
  await here.world.run(1_000);
  for (let n = 0; n < 5; n++) {
    go();
    await here.world.run(10);
  }
  await failed;
  assert.deepEqual([got, stream.readyState], [[1, 2, 3, 4], 2]);
});

test("a signal that was given before is heeded, too", async () => {
  const here = page();
  const { stream } = open(here, { signal: AbortSignal.abort() });
  await here.world.run(1_000);
  assert.deepEqual([stream.readyState, here.server.asked.length], [2, 0]);
});

test("closing in the middle of a piece is closing", async () => {
  const here = page();
  const { stream, numbers: got } = open(here);
  await here.world.run(100);
  stream.addEventListener("message", () => stream.close());
  for (const one of here.server.streams) one.pieces.push(new TextEncoder().encode('id: 1-0\ndata: {"n":1}\n\nid: 2-0\ndata: {"n":2}\n\n')), one.flow();
  await here.world.run(100);
  assert.deepEqual([got, stream.lastEventId], [[1], "1-0"]);
});

test("an event above the limit is a gap, and is not asked for again", async () => {
  const here = page();
  const gaps = [];
  const { numbers: got } = open(here, { maxEventSize: 100, onGap: (gap) => gaps.push(gap.reason) });
  await here.world.run(100);
  for (const stream of here.server.streams) stream.say(`id: 1-0\ndata: ${"x".repeat(500)}\n\n`);
  here.server.publish("a");
  here.server.publish("a");
  await here.world.run(100);
  here.server.cut();
  await here.world.run(5_000);
  assert.deepEqual([gaps, got.at(-1)], [["too_large"], 2]);
  assert.ok(!here.server.asked[1].query.get("lastEventId").startsWith("0"));
});
