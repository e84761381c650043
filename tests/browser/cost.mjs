// What the console costs with 15,000 subscribers and 10,000 channels: the node's processor time with one console open against
// none, in turns, and the page's memory. Prints figures; fails above the limits. Not among the tests, for it measures time.
// Usage: FANTAIL_BIN=… node tests/browser/cost.mjs [SECONDS PER TURN [TURNS]]
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { launch, open, picture, shows } from "./browser.mjs";
import { eventually, Node, Place, Redis } from "./servers.mjs";

const SUBSCRIBERS = 15_000, CHANNELS = 10_000, EVENTS_PER_SECOND = 20;
const CORE_PERCENT = 1, MEGABYTES = 5;

if (process.argv[2] === "crowd") {
  // Subscribers from addresses of their own, a few thousand each, so that ports suffice; they read and forget.
  const [port, from, to] = process.argv.slice(3).map(Number);
  for (let n = from; n < to; n += 1) {
    const socket = connect({ port, host: "127.0.0.1", localAddress: `127.0.0.${2 + Math.floor(n / 5000)}` });
    socket.write(`GET /events/c${n % CHANNELS} HTTP/1.1\r\nHost: node\r\n\r\n`);
    socket.resume();
    socket.on("error", (error) => { throw error; });
    if (n % 200 === 199) await pause(100);
  }
} else {
  const place = new Place();
  const crowds = [];
  try {
    await measure(place, crowds);
  } finally {
    for (const crowd of crowds) crowd.kill("SIGKILL");
    await place.close();
  }
}

/** Processor seconds of a process so far, as Linux counts them, by threads' names. */
function processor(pid) {
  const ticks = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(ticks[11]) + Number(ticks[12])) / 100;
}

async function measure(place, crowds) {
  const [seconds, turns] = [process.argv[2] ?? 20, process.argv[3] ?? 5].map(Number);
  const redis = await Redis.start(place);
  const node = await Node.start(place, redis);
  const port = node.clients.split(":")[1];
  for (let from = 0; from < SUBSCRIBERS; from += 5000) {
    crowds.push(fork(fileURLToPath(import.meta.url), ["crowd", port, from, Math.min(from + 5000, SUBSCRIBERS)]));
  }
  const status = async () => (await fetch(`${node.url}status`)).json();
  await eventually("subscribers", async () => {
    const { connections, channels } = await status();
    return connections === SUBSCRIBERS && channels === CHANNELS;
  });
  // Something goes on, too.
  const publisher = setInterval(() => {
    for (let n = 0; n < EVENTS_PER_SECOND / 2; n += 1) {
      redis.ask("XADD", `sse:c${Math.floor(Math.random() * CHANNELS)}`, "*", "data", "x".repeat(200));
    }
  }, 500);
  const browser = await launch("--js-flags=--expose-gc");
  const costs = { none: [], overview: [], channel: [] };
  const turn = async (name) => {
    const before = processor(node.process.pid), begin = performance.now();
    await pause(seconds * 1000);
    const percent = 100 * (processor(node.process.pid) - before) / ((performance.now() - begin) / 1000);
    costs[name].push(percent);
    console.log(`${name}: ${percent.toFixed(2)} %`);
  };
  let heap = 0;
  for (let n = 0; n < turns; n += 1) {
    await turn("none");
    for (const name of ["overview", "channel"]) {
      const page = await open(browser, name === "channel" ? `${node.url}#/channel/c1` : node.url);
      await shows(page, name === "channel" ? "#viewer" : "#summary", name === "channel" ? "live" : "15,000 of");
      await turn(name);
      const debug = await page.context().newCDPSession(page);
      await debug.send("HeapProfiler.collectGarbage");
      const { usedSize } = await debug.send("Runtime.getHeapUsage");
      heap = Math.max(heap, usedSize / 1e6);
      if (n === 0) await picture(page, `cost-${name}`);
      await page.context().close();
    }
  }
  clearInterval(publisher);
  await browser.close();
  const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];
  let failed = heap > MEGABYTES;
  console.log(`${SUBSCRIBERS} subscribers, ${CHANNELS} channels; node alone: ${median(costs.none).toFixed(2)} % of a core`);
  for (const name of ["overview", "channel"]) {
    const extra = median(costs[name]) - median(costs.none);
    failed ||= extra > CORE_PERCENT;
    console.log(`console, ${name}: ${extra.toFixed(2)} % more (${costs[name].map((c) => c.toFixed(2)).join(" ")}; none: `
      + `${costs.none.map((c) => c.toFixed(2)).join(" ")}), at most ${CORE_PERCENT}`);
  }
  console.log(`page: ${heap.toFixed(2)} MB of JavaScript heap, at most ${MEGABYTES}`);
  process.exitCode = failed ? 1 : 0;
}
