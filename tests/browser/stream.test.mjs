// The client for pages in real browsers, on real nodes: exact by the numbers of events, whatever is cut, killed or closed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { BROWSERS } from "./drivers.mjs";
import { Relay } from "./relay.mjs";
import { Node, Place, Redis, eventually } from "./servers.mjs";

const FLAGS = ["--retry", "500ms..700ms", "--drain-delay", "0s", "--drain", "1s"];
const numbers = (last) => Array.from({ length: last }, (_, i) => i + 1);

/** Redis, two nodes, a site before them, and tabs. */
class Site {
  static async start(browser, flags = []) {
    const site = Object.assign(new Site(), { browser, place: new Place(), tabs: [], counts: {} });
    site.redis = await Redis.start(site.place);
    site.nodes = [];
    for (let n = 0; n < 2; n++) site.nodes.push(await Node.start(site.place, site.redis, ...FLAGS, ...flags));
    site.relay = await Relay.start(site.nodes[0]);
    return site;
  }
  async tab(options, query = "?heartbeat=2s") {
    const tab = await this.browser.tab(this.relay.url);
    this.tabs.push(tab);
    await eventually("the page is there", () => tab.run("typeof window.start === 'function'"));
    await tab.run(`window.start(${JSON.stringify(query)}, ${JSON.stringify(options)})`);
    await eventually("a stream is open", () => tab.run("window.stream.readyState === 1"));
    return tab;
  }
  publish(channel) {
    const count = (this.counts[channel] = (this.counts[channel] ?? 0) + 1);
    this.redis.add(channel, { data: `${channel} ${count}` });
  }
  /** Publishes for a while; between two events `act` may do something. */
  async stream(channels, count, act = () => {}) {
    for (let n = 0; n < count; n++) {
      this.publish(channels[n % channels.length]);
      await act(n);
      await pause(20);
    }
  }
  async exact(tabs = this.tabs, counts = this.counts) {
    const expected = Object.fromEntries(Object.entries(counts).map(([name, last]) => [name, numbers(last)]));
    for (const tab of tabs) {
      let got;
      const whole = () => Object.entries(expected).every(([name, all]) => (got[name]?.length ?? 0) >= all.length);
      await eventually("all events", async () => {
        got = JSON.parse(await tab.run("JSON.stringify(window.got)"));
        return whole();
      });
      assert.deepEqual(got, expected);
    }
  }
  async end() {
    for (const tab of this.tabs) await tab.close().catch(() => {});
    this.relay.close();
    await this.place.close();
  }
}

for (const [name, start] of Object.entries(BROWSERS)) {
  let drivers, browser;
  const with_ = (flags, body) => async () => {
    drivers ??= new Place();
    browser ??= await start(drivers);
    const site = await Site.start(browser, flags);
    try {
      await body(site);
    } finally {
      await site.end();
    }
  };
  after(async () => {
    await browser?.close().catch(() => {});
    await drivers?.close();
  });

  for (const via of ["fetch", "EventSource"]) {
    test(`${name}, ${via}: a node is killed, another one drains, and a proxy cuts`, with_([], async (site) => {
      await site.tab({ channels: ["a", "b"], via });
      await site.stream(["a", "b"], 60, async (n) => {
        if (n === 15) {
          site.relay.node = site.nodes[1];
          site.nodes[0].process.kill("SIGKILL");
        }
        if (n === 30) {
          await site.nodes[0].begin();
          site.relay.node = site.nodes[0];
          site.nodes[1].process.kill("SIGTERM");
        }
        if (n % 12 === 5) site.relay.cut();
      });
      await site.exact();
    }));
  }

  test(`${name}: ten tabs have one stream, also when the first ones are closed or die`, with_([], async (site) => {
    for (let n = 0; n < 10; n++) await site.tab({ channels: ["a", "b"], share: true });
    assert.equal(site.relay.streams.size, 1);
    await site.stream(["a", "b"], 60, async (n) => {
      const [first] = site.tabs;
      if (n === 10 || n === 50) await site.tabs.shift().close();
      if (n === 30) await site.tabs.shift()[first.crash ? "crash" : "close"]();
      if (n % 25 === 24) site.relay.cut();
    });
    await site.exact();
    await eventually("one stream is left", () => site.relay.streams.size === 1);
  }));

  test(`${name}: two tabs, of which the one with the stream hangs`, with_([], async (site) => {
    const [first, second] = [await site.tab({ channels: ["a"], share: true }), await site.tab({ channels: ["a"], share: true })];
    await site.stream(["a"], 5);
    const { asked } = site.relay;
    const begin = Date.now();
    // Busy for four seconds: it answers nobody meanwhile.
    const hung = first.run("(() => { const end = Date.now() + 4000; while (Date.now() < end); return 1; })()");
    await eventually("the other one asks", () => site.relay.asked > asked);
    assert.ok(Date.now() - begin < 4_000, "it does not wait for the first one");
    await site.stream(["a"], 20);
    await site.exact([second]);
    await hung;
    await site.stream(["a"], 5);
    await site.exact([first, second]);
    await eventually("one stream is left", () => site.relay.streams.size === 1);
  }));

  test(`${name}: a token is renewed before it ends`, async () => {
    const keys = new Place();
    const key = join(keys.folder, "key");
    writeFileSync(key, "0123456789abcdef".repeat(8));
    await with_(["--auth", "jwt", "--jwt-key", key, "--token-expiring", "4s"], async (site) => {
      const sign = (ttl) => [process.env.FANTAIL_BIN, ["token", "--key", key, "--sub", "alice", "--subscribe", "a", "--ttl", ttl]];
      site.relay.token = () => execFileSync(...sign(site.relay.reasons.length < 3 ? "6s" : "1h"), { encoding: "utf8" }).trim();
      await site.tab({ channels: ["a"], token: true });
      await eventually("it was renewed twice", async () => {
        site.publish("a");
        await pause(50);
        return site.relay.reasons.length >= 3;
      });
      await site.stream(["a"], 5);
      await site.exact();
      assert.deepEqual(site.relay.reasons, ["first", "expiring", "expiring"]);
    })();
    await keys.close();
  });

  test(`${name}: a large set goes by QUERY, and channels change on the way`, with_([], async (site) => {
    const tab = await site.tab({ channels: ["a"] });
    await site.stream(["a"], 3);
    await site.exact();
    const many = Array.from({ length: 250 }, (_, i) => `room.${i}`);
    await tab.run(`void (window.stream.channels = ${JSON.stringify(["a", ...many])})`);
    await site.stream(["a"], 3);
    await eventually("it is open", () => tab.run("window.stream.readyState === 1"));
    await site.exact();
    await site.stream(["a", "room.7"], 6);
    await site.exact();
  }));
}
