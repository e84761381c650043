// The same by EventSource, in virtual time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Server } from "./server.js";
import { World } from "./world.js";

/** EventSource as far as a test breaks it. */
class Source extends EventTarget {
  static all = [];
  readyState = 0;
  constructor(url, { withCredentials }) {
    super();
    Object.assign(this, { url: new URL(url), withCredentials });
    Source.all.push(this);
  }
  open() {
    this.readyState = 1;
    this.onopen(new Event("open"));
  }
  fail(readyState) {
    this.readyState = readyState;
    this.onerror(new Event("error"));
  }
  say(type, data, lastEventId) {
    this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data), lastEventId }));
  }
  close() {
    this.readyState = 2;
  }
}

function open(url, options = {}) {
  Source.all = [];
  const world = new World();
  const server = new Server(world);
  const { EventStream } = world.tab({ EventSource: Source });
  const stream = new EventStream(url, { via: "EventSource", ...options });
  const seen = [];
  for (const type of ["message", "created", "orders", "_fantail.x", "fantail.gap"]) {
    stream.addEventListener(type, ({ type, data, lastEventId }) => seen.push([type, data, lastEventId]));
  }
  return { world, server, stream, seen };
}
const beat = (source, id) => source.say("fantail.heartbeat", { every_ms: 15_000 }, id);

test("types that nobody knew before arrive, for all comes in envelopes", async () => {
  const { world, stream, seen } = open("https://n.example/events?tail=5", { channels: ["orders"], token: "t", withCredentials: true });
  await world.run(10);
  const [source] = Source.all;
  const query = Object.fromEntries(source.url.searchParams);
  assert.deepEqual(query, { tail: "5", channels: "orders", heartbeatEvent: "1", envelope: "1", token: "t" });
  assert.equal(source.withCredentials, true);
  source.open();
  beat(source, "0-1");
  source.say("message", { channel: "orders", id: "1-0", event: "created", data: "hello" }, "1-0");
  source.say("fantail.gap", { lost: 1 }, "1-0");
  assert.deepEqual(seen, [["created", "hello", "1-0"], ["fantail.gap", '{"lost":1}', "1-0"]]);
  assert.equal(stream.lastEventId, "1-0");
  stream.close();
  assert.equal(source.readyState, 2);
});

test("type=channel and envelope=1 of the page mean what they mean", async () => {
  const typed = open("https://n.example/events?channels=orders&type=channel");
  await typed.world.run(10);
  assert.equal(Source.all[0].url.searchParams.get("type"), null);
  Source.all[0].open();
  Source.all[0].say("message", { channel: "orders", event: "created", data: "x" }, "1-0");
  Source.all[0].say("message", { channel: "fantail.x", event: "created", data: "x" }, "2-0");
  assert.deepEqual(typed.seen.map(([type]) => type), ["orders", "_fantail.x"]);
  const plain = open("https://n.example/events?channels=orders&envelope=1");
  await plain.world.run(10);
  Source.all[0].open();
  Source.all[0].say("message", { data: "x" }, "1-0");
  assert.deepEqual(plain.seen, [["message", '{"data":"x"}', "1-0"]]);
});

test("one that breaks comes back by itself, one that is silent is replaced where it was", async () => {
  const { world, stream } = open("https://n.example/events", { channels: ["orders"] });
  await world.run(10);
  const [source] = Source.all;
  source.open();
  beat(source, "7-0");
  source.fail(0);
  assert.equal(stream.readyState, 0);
  source.open();
  beat(source, "8-0");
  assert.equal(stream.readyState, 1);
  await world.run(29_000);
  assert.equal(Source.all.length, 1);
  await world.run(2_000);
  assert.deepEqual([Source.all.length, source.readyState], [2, 2]);
  assert.equal(Source.all[1].url.searchParams.get("lastEventId"), "8-0");
});

test("why it was refused is asked by fetch, which goes on", async () => {
  const { world, server, stream } = open("https://n.example/events", { channels: ["orders"] });
  const errors = [];
  stream.onerror = ({ status }) => errors.push(status);
  server.answer = () => (server.asked.length === 1 ? { status: 503, headers: { "retry-after": "5" } } : undefined);
  await world.run(10);
  Source.all[0].fail(2);
  await world.run(20_000);
  assert.deepEqual([errors, server.asked.length, stream.readyState, Source.all.length], [[503], 2, 1, 1]);
  assert.ok(server.asked[1].at - server.asked[0].at >= 5_000);
});

test("a set that no URL holds goes by fetch and QUERY", async () => {
  const channels = Array.from({ length: 300 }, (_, i) => `room.${i}`);
  const { world, server } = open("https://n.example/events", { channels });
  await world.run(10);
  assert.deepEqual([Source.all.length, server.asked[0].method], [0, "QUERY"]);
});
