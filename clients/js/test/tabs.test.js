// One stream for several tabs, in virtual time: leaders that end, crash, hang and freeze; exact in each tab.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Server } from "./server.js";
import { World } from "./world.js";

const URL = "https://node.example/events";
const numbers = (from, to) => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

function browser(seed) {
  const world = new World(seed);
  return { world, server: new Server(world) };
}

/** A tab with a shared stream, and what it was told, by channel. */
function open({ world }, options = {}, url = URL) {
  const tab = world.tab();
  const stream = new tab.EventStream(url, { channels: ["a"], share: true, ...options });
  const seen = { tab, stream, got: {}, states: [], gaps: [] };
  stream.onmessage = ({ data }) => {
    const { channel, n } = JSON.parse(data);
    (seen.got[channel] ??= []).push(n);
  };
  stream.onopen = () => seen.states.push("open");
  stream.onerror = () => seen.states.push(["connecting", "open", "closed"][stream.readyState]);
  stream.addEventListener("fantail.gap", ({ data }) => seen.gaps.push(JSON.parse(data).reason));
  return seen;
}

test("ten tabs have one stream, and all events", async () => {
  const here = browser(1);
  const tabs = numbers(1, 10).map(() => open(here, { channels: ["a", "b"] }));
  await here.world.run(3_000);
  for (let n = 0; n < 20; n++) here.server.publish("ab"[n % 2]);
  await here.world.run(2_000);
  for (const { got, stream, states } of tabs) {
    assert.deepEqual(got, { a: numbers(1, 10), b: numbers(1, 10) });
    assert.deepEqual([stream.readyState, stream.lastEventId, states], [1, "a=10-0,b=10-0", ["open"]]);
  }
  assert.deepEqual([here.server.streams.size, here.server.asked.length], [1, 1]);
});

test("other URLs, channels, identities and credentials have streams of their own", async () => {
  const here = browser(1);
  open(here);
  open(here, { channels: ["b"] });
  open(here, { share: "alice" });
  open(here, { withCredentials: true });
  open(here, {}, URL + "?events=x");
  open(here, { share: undefined });
  open(here, { share: undefined });
  await here.world.run(3_000);
  assert.equal(here.server.streams.size, 7);
});

test("the order in which channels are named does not matter", async () => {
  const here = browser(1);
  open(here, { channels: ["a", "b"] });
  open(here, { channels: ["b", "a"] });
  await here.world.run(3_000);
  assert.equal(here.server.streams.size, 1);
});

test("a leader that closes, crashes or hangs is followed within 2 s, and nothing is lost or doubled", async () => {
  const ends = {
    closes: ({ stream }) => stream.close(),
    crashes: ({ tab }) => tab.crash(),
    hangs: ({ tab }) => tab.freeze(),
    "is kept in the page cache": ({ tab }) => tab.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true })),
  };
  for (const [name, end] of Object.entries(ends)) {
    for (let seed = 1; seed < 15; seed++) {
      const here = browser(seed);
      const tabs = [open(here)];
      await here.world.run(100);
      tabs.push(open(here), open(here));
      await here.world.run(1_000 + here.world.chance.below(1_000));
      for (let n = 0; n < 5; n++) here.server.publish("a");
      await here.world.run(here.world.chance.below(80));
      end(tabs[0]);
      const led = () => here.server.asked.some(({ tab }, i) => i > 0 && tab !== tabs[0].tab);
      const took = await here.world.until(led);
      assert.ok(took <= 2_000, `${name}: ${took} ms`);
      for (let n = 0; n < 5; n++) here.server.publish("a");
      await here.world.run(5_000);
      for (const { got } of tabs.slice(1)) assert.deepEqual(got, { a: numbers(1, 10) }, `${name}, seed ${seed}`);
      const left = [...here.server.streams].filter(({ tab }) => tab !== tabs[0].tab);
      assert.equal(left.length, 1, `${name}, seed ${seed}`);
    }
  }
});

test("a leader that hung goes on as one of the others", async () => {
  for (const lost of [false, true]) {
    for (let seed = 1; seed < 15; seed++) {
      const here = browser(seed);
      const tabs = [open(here), open(here), open(here)];
      await here.world.run(2_000);
      here.server.publish("a");
      tabs[0].tab.freeze();
      for (let n = 0; n < 20; n++) {
        here.server.publish("a");
        await here.world.run(here.world.chance.below(400));
      }
      tabs[0].tab.thaw(lost);
      await here.world.run(5_000);
      here.server.publish("a");
      await here.world.run(2_000);
      for (const { got } of tabs) assert.deepEqual(got, { a: numbers(1, 22) }, `lost: ${lost}, seed ${seed}`);
      assert.equal(here.server.streams.size, 1);
    }
  }
});

test("a tab that missed something catches up on a stream of its own, and comes back", async () => {
  const here = browser(3);
  const tabs = [open(here, { channels: ["a", "b"] }), open(here, { channels: ["a", "b"] })];
  await here.world.run(2_000);
  tabs[1].tab.freeze();
  for (let n = 0; n < 9; n++) here.server.publish("ab"[n % 2]), await here.world.run(50);
  tabs[1].tab.thaw(true);
  here.server.publish("a");
  await here.world.run(100);
  here.server.publish("b");
  await here.world.run(5_000);
  for (const { got } of tabs) assert.deepEqual(got, { a: numbers(1, 6), b: numbers(1, 5) });
  assert.deepEqual([here.server.streams.size, here.server.asked.length], [1, 2]);
});

test("a newcomer begins where the others are, one with a position of its own where that is", async () => {
  const here = browser(1);
  for (let n = 0; n < 1000; n++) here.server.publish("a");
  const first = open(here);
  await here.world.run(1_000);
  here.server.publish("a");
  await here.world.run(1_000);
  const late = open(here);
  const resumed = open(here, { lastEventId: "990-0" });
  await here.world.run(50);
  assert.equal(here.server.asked.length, 2, "there is nothing to wait for");
  for (let n = 0; n < 5; n++) here.server.publish("a"), await here.world.run(100);
  await here.world.run(10_000);
  assert.deepEqual([first.got, late.got, resumed.got], [{ a: numbers(1001, 1006) }, { a: numbers(1002, 1006) }, { a: numbers(991, 1006) }]);
  assert.deepEqual([here.server.streams.size, here.server.asked.length], [1, 2]);
});

test("since is each tab's own beginning", async () => {
  const here = browser(2);
  for (let n = 0; n < 50; n++) here.server.publish("a");
  const tabs = [];
  for (let n = 0; n < 3; n++) {
    tabs.push(open(here, {}, URL + "?since=earliest"));
    await here.world.run(3_000);
  }
  for (const { got } of tabs) assert.deepEqual(got, { a: numbers(1, 50) });
  assert.equal(here.server.streams.size, 1);
});

test("a lone tab whose leader never answers does not wait for it", async () => {
  const here = browser(1);
  const first = open(here);
  await here.world.run(1_000);
  first.tab.freeze();
  const late = open(here);
  const took = await here.world.until(() => late.states.length);
  assert.ok(took <= 1_100, String(took));
});

test("a stream that is over is over in each tab", async () => {
  const here = browser(1);
  const tabs = [open(here), open(here), open(here)];
  await here.world.run(2_000);
  here.server.publish("a");
  await here.world.run(100);
  here.server.answer = () => ({ status: 204 });
  here.server.cut();
  await here.world.run(10_000);
  for (const { stream, got } of tabs) assert.deepEqual([stream.readyState, got], [2, { a: [1] }]);
});

test("all tabs show that the stream is away, and back", async () => {
  const here = browser(1);
  const tabs = [open(here), open(here)];
  await here.world.run(2_000);
  here.server.answer = () => "refused";
  here.server.cut();
  await here.world.run(500);
  for (const { stream } of tabs) assert.equal(stream.readyState, 0);
  here.server.answer = undefined;
  await here.world.run(60_000);
  for (const { stream, states } of tabs) assert.deepEqual([stream.readyState, states.at(-1)], [1, "open"]);
});

test("gaps are told in each tab", async () => {
  const here = browser(1);
  const tabs = [open(here), open(here)];
  await here.world.run(2_000);
  for (const stream of here.server.streams) stream.say('event: fantail.gap\ndata: {"reason":"trimmed"}\n\n');
  await here.world.run(100);
  for (const { gaps } of tabs) assert.deepEqual(gaps, ["trimmed"]);
});

test("channels change in one tab without the others", async () => {
  const here = browser(1);
  const tabs = [open(here), open(here), open(here)];
  await here.world.run(2_000);
  here.server.publish("a");
  await here.world.run(100);
  tabs[0].stream.channels = ["a", "b"];
  for (const name of ["a", "b", "a"]) here.server.publish(name), await here.world.run(300);
  await here.world.run(3_000);
  assert.deepEqual(tabs[0].got, { a: numbers(1, 3), b: [1] });
  for (const { got } of tabs.slice(1)) assert.deepEqual(got, { a: numbers(1, 3) });
  tabs[1].stream.channels = ["b", "a"];
  await here.world.run(3_000);
  here.server.publish("b");
  here.server.publish("a");
  await here.world.run(3_000);
  assert.deepEqual([tabs[0].got, tabs[1].got], [{ a: numbers(1, 4), b: [1, 2] }, { a: numbers(1, 4), b: [2] }]);
  assert.equal(here.server.streams.size, 2);
});

test("tabs that are left alone say little to each other", async () => {
  const here = browser(1);
  const tabs = [];
  for (let n = 0; n < 10; n++) tabs.push(open(here)), await here.world.run(500 + here.world.chance.below(100));
  const posted = () => tabs.reduce((sum, { tab }) => sum + tab.posted, 0);
  const before = posted();
  await here.world.run(60_000);
  assert.ok(posted() - before < 60 * 5, String(posted() - before));
});

test("a tab whose position may be of another life of a stream asks a node", async () => {
  const here = browser(1);
  const tabs = [open(here), open(here)];
  await here.world.run(2_000);
  here.server.publish("a");
  await here.world.run(100);
  tabs[1].tab.freeze();
  for (let n = 0; n < 3; n++) here.server.publish("a"), await here.world.run(100);
  tabs[1].tab.thaw(true);
  here.server.slow = 1_000_000;
  await here.world.until(() => here.server.streams.size === 2);
  await here.world.run(100);
  const [leading] = [...here.server.streams].filter(({ tab }) => tab === tabs[0].tab);
  leading.say('event: fantail.gap\ndata: {"reason":"reset"}\n\n');
  await here.world.run(100);
  leading.say('id: 1-0\ndata: {"channel":"a","n":101}\n\n');
  await here.world.run(100);
  here.server.slow = 1;
  for (const stream of here.server.streams) if (stream !== leading) (stream.busy = false), stream.pump();
  await here.world.run(1_000);
  assert.deepEqual([tabs[0].got, tabs[0].gaps], [{ a: [1, 2, 3, 4, 101] }, ["reset"]]);
  assert.deepEqual(tabs[1].got, { a: [1, 2, 3, 4] });
  assert.deepEqual(here.server.asked.map(({ query }) => query.get("lastEventId")), [null, "1-0", "1-0"]);
});

test("a tab that was told of a reset joins no one until its position has moved", async () => {
  const here = browser(1);
  const tabs = [open(here), open(here, { lastEventId: "5-0" })];
  here.server.slow = 1;
  await here.world.run(3_000);
  for (const stream of here.server.streams) {
    if (stream.tab === tabs[1].tab) stream.say('event: fantail.gap\ndata: {"reason":"reset"}\n\nid: 5-0\nevent: fantail.heartbeat\ndata: {}\n\n');
  }
  await here.world.run(100);
  for (let n = 0; n < 5; n++) here.server.publish("a"), await here.world.run(100);
  assert.equal(here.server.streams.size, 2);
  for (const stream of here.server.streams) {
    if (stream.tab === tabs[1].tab) (stream.at.a = 0), stream.pump();
  }
  await here.world.run(3_000);
  assert.deepEqual([tabs[0].got, tabs[1].got], [{ a: numbers(1, 5) }, { a: numbers(1, 5) }]);
  assert.equal(here.server.streams.size, 1);
});

test("what an apart tab does not hear of the leader is not taken for nothing", async () => {
  const here = browser(1);
  const tabs = [open(here), open(here, { lastEventId: "0-0" })];
  await here.world.run(1_000);
  here.server.publish("a");
  tabs[1].tab.freeze();
  here.server.publish("a");
  await here.world.run(100);
  tabs[1].tab.thaw(true);
  await here.world.run(3_000);
  for (const { got } of tabs) assert.deepEqual(got, { a: [1, 2] });
  here.server.slow = 1_000_000;
  const late = open(here, { lastEventId: "0-0" });
  await here.world.run(30);
  here.server.slow = 1;
  assert.equal(here.server.streams.size, 2);
  for (let n = 3; n <= 5; n++) {
    here.server.publish("a");
    if (n === 4) late.tab.freeze();
    await here.world.run(100);
    late.tab.thaw(true);
  }
  for (const stream of here.server.streams) if (stream.tab === late.tab) (stream.busy = false), stream.pump();
  await here.world.run(3_000);
  assert.deepEqual(late.got, { a: numbers(1, 5) });
});

test("those who follow do not hurry a leader that waits", async () => {
  const here = browser(1);
  here.server.answer = () => "refused";
  open(here);
  await here.world.run(100);
  open(here);
  await here.world.run(600_000);
  assert.ok(here.server.asked.length < 45, String(here.server.asked.length));
});

test("where locks are refused each tab has its own stream", async () => {
  const here = browser(1);
  const navigator = { locks: { request: async () => { throw new DOMException("sandboxed", "SecurityError"); } } };
  const tab = here.world.tab({ navigator });
  const stream = new tab.EventStream(URL, { channels: ["a"], share: true });
  await here.world.run(3_000);
  assert.deepEqual([stream.readyState, here.server.asked.length], [1, 1]);
});

// What may happen, at random. Each tab has to have everything from where it began, once, in order.
function disturb(here, tabs) {
  const { chance } = here.world;
  const one = chance.of(tabs);
  const alive = tabs.filter(({ tab, stream }) => tab.alive && stream.readyState !== 2);
  switch (chance.below(9)) {
    case 0: return alive.length > 2 && one.tab.crash();
    case 1: return alive.length > 2 && !one.tab.frozen && one.stream.close();
    case 2: return one.tab.alive && !one.tab.frozen && one.tab.freeze();
    case 3: case 4: return one.tab.frozen && one.tab.thaw(chance.below(2));
    case 5: return here.server.cut();
    case 6: return tabs.length < 12 && tabs.push(open(here, here.options, here.url));
    case 7: return one.tab.alive && !one.tab.frozen && one.tab.dispatchEvent(new Event("online"));
    default: return here.publish();
  }
}

const seeds = Number(process.env.FANTAIL_SEEDS ?? 150);
const first = Number(process.env.FANTAIL_SEED ?? 1);
test(`exact in each tab, whatever happens: ${seeds} histories`, async () => {
  for (let seed = first; seed < first + seeds; seed++) {
    const here = browser(seed);
    const { chance } = here.world;
    const channels = ["a", "b", "c"].slice(0, 1 + chance.below(3));
    here.options = { channels };
    here.url = URL + ["", "?since=earliest"][chance.below(2)];
    here.server.slow = chance.of([1, 30, 300]);
    here.publish = () => here.server.publish(chance.of(channels));
    const tabs = [open(here, here.options, here.url)];
    await here.world.run(chance.below(3_000));
    tabs.push(open(here, here.options, here.url));
    for (let step = 0; step < 120; step++) {
      if (chance.below(3)) here.publish();
      else disturb(here, tabs);
      await here.world.run(chance.of([0, 1, 20, 300, 1_500]));
    }
    for (const { tab } of tabs) if (tab.frozen) tab.thaw();
    await here.world.run(60_000);
    const left = tabs.filter(({ tab, stream }) => tab.alive && stream.readyState !== 2);
    for (const name of channels) {
      here.server.publish(name);
      await here.world.run(1_000);
    }
    await here.world.run(5_000);
    for (const tab of tabs) {
      for (const [channel, got] of Object.entries(tab.got)) assert.deepEqual(got, numbers(got[0], got.at(-1)), `seed ${seed}`);
    }
    for (const { got } of left) {
      for (const name of channels) assert.equal(got[name]?.at(-1), here.server.logs[name].length, `seed ${seed}, ${name}`);
      if (here.url !== URL) for (const name of channels) assert.equal(got[name][0], 1, `seed ${seed}`);
    }
    assert.equal(here.server.streams.size, 1, `seed ${seed}: one stream is left`);
  }
});
