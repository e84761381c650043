// Real nodes: FANTAIL_BIN. In Node there are no tabs; browsers are in tests/browser.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { EventStream } from "../fantail.js";

const BIN = process.env.FANTAIL_BIN;
const LIMIT = 60_000;

async function until(what, question) {
  const end = Date.now() + LIMIT;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${LIMIT / 1000} s: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

async function node(test, ...flags) {
  const started = spawn(BIN, ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--retry", "500ms..600ms", ...flags]);
  test.after(() => started.kill("SIGKILL"));
  let said = "";
  for (const stream of [started.stdout, started.stderr]) stream.on("data", (piece) => (said += piece));
  const [, address] = await until("a node starts", () => {
    assert.equal(started.exitCode, null, said);
    return said.includes("the node has started") && /^ *clients +(http:\/\/[^/]+)\//m.exec(said);
  });
  const publish = async (channel, body, query = "") => {
    const answer = await fetch(`${address}/events/${channel}${query}`, { method: "POST", body });
    assert.equal(answer.status, 201, await answer.text());
  };
  return { process: started, url: `${address}/events`, publish };
}

const opened = (stream) => until("it is open", () => stream.readyState === EventStream.OPEN && stream.lastEventId);

test("events of several channels, changed on the way, and large sets by QUERY", { skip: !BIN }, async (test) => {
  const { url, publish } = await node(test);
  const got = [];
  const stream = new EventStream(url, { channels: ["a", "b"] });
  test.after(() => stream.close());
  for (const type of ["message", "x"]) stream.addEventListener(type, ({ data }) => got.push(data));
  await opened(stream);
  await publish("a", "a1");
  await publish("b", "b1\r\nline", "?event=x");
  await until("both", () => got.length === 2);
  assert.deepEqual(got, ["a1", "b1\nline"]);
  stream.channels = ["b"];
  await publish("b", "b2");
  await until("b2", () => got.length === 3);
  stream.channels = ["b", "c"];
  await publish("b", "b3");
  await until("b3", () => got.length === 4);
  stream.channels = Array.from({ length: 250 }, (_, i) => `room.${i}`).concat("b");
  await publish("b", "b4");
  await until("b4", () => got.length === 5);
  assert.deepEqual(got.slice(2), ["b2", "b3", "b4"]);
  await publish("room.7", "r");
  await publish("b", "b5");
  await until("both of many", () => got.length === 7);
  assert.deepEqual(got.slice(5).sort(), ["b5", "r"]);
});

test("a loop reads what was there, and ends at the final event", { skip: !BIN }, async (test) => {
  const { url, publish } = await node(test);
  for (const word of ["one", "two", "three"]) await publish("answer", word);
  await publish("answer", "", "?event=done&final=1");
  const got = [];
  for await (const { type, data } of new EventStream(url + "?since=earliest", { channels: "answer" })) got.push(data || type);
  assert.deepEqual(got, ["one", "two", "three", "done"]);
});

test("a token is renewed before it ends, without loss", { skip: !BIN }, async (test) => {
  const { execFileSync } = await import("node:child_process");
  const { mkdtempSync, writeFileSync } = await import("node:fs");
  const key = `${mkdtempSync("/tmp/fantail-key-")}/key`;
  writeFileSync(key, "0123456789abcdef".repeat(8));
  const flags = ["--auth", "jwt", "--jwt-key", key, "--token-expiring", "5s"];
  const { url } = await node(test, ...flags);
  const sign = (ttl, ...more) =>
    execFileSync(BIN, ["token", "--key", key, "--sub", "alice", "--subscribe", "a", "--publish", "a", "--ttl", ttl, ...more], { encoding: "utf8" }).trim();
  const reasons = [];
  const token = ({ reason }) => reasons.push(reason) && sign(reasons.length < 3 ? "6s" : "1h");
  const got = [];
  const stream = new EventStream(url, { channels: ["a"], token });
  test.after(() => stream.close());
  stream.onmessage = ({ data }) => got.push(Number(data));
  await opened(stream);
  const publisher = sign("1h");
  let count = 0;
  await until("two renewals", async () => {
    const headers = { Authorization: `Bearer ${publisher}` };
    const answer = await fetch(`${url}/a`, { method: "POST", body: String(++count), headers });
    assert.equal(answer.status, 201);
    return reasons.length === 3;
  });
  await until("all", () => got.length === count);
  assert.deepEqual([got, reasons], [Array.from({ length: count }, (_, i) => i + 1), ["first", "expiring", "expiring"]]);
});

test("where a node is full it is asked again when there is room", { skip: !BIN }, async (test) => {
  const { url } = await node(test, "--max-connections", "1");
  const first = new EventStream(url, { channels: ["a"] });
  const second = new EventStream(url, { channels: ["a"] });
  test.after(() => (first.close(), second.close()));
  const why = [];
  for (const stream of [first, second]) stream.onerror = ({ status, code }) => why.push([status, code]);
  await until("one is refused", () => why.length);
  assert.deepEqual(why, [[503, "node_full"]]);
  (first.readyState === 1 ? first : second).close();
  await until("the other one has its place", () => first.readyState + second.readyState === 3);
});
