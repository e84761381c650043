// A browser with tabs, in virtual time. Each tab has the client's text in globals of its own, so that one can crash or freeze
// without a word. Whatever happens is decided by the seed.
import { readFileSync } from "node:fs";

const TEXT = readFileSync(new URL("../fantail.js", import.meta.url), "utf8").replace(/^export /gm, "");
const GLOBALS = ["globalThis", "navigator", "BroadcastChannel", "EventSource", "document", "Date", "Math"];
const TIMERS = ["setTimeout", "clearTimeout", "setInterval", "clearInterval"];
const load = new Function(...GLOBALS, ...TIMERS, `${TEXT}; return { EventStream, Parser };`);

/** Numbers that a seed decides (mulberry32). */
export function chance(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { next, below: (n) => Math.floor(next() * n), of: (list) => list[Math.floor(next() * list.length)] };
}

// What promises have in store is done when the event loop has come round; streams take several turns.
const settle = async () => {
  for (let turn = 0; turn < 3; turn++) await new Promise((done) => setImmediate(done));
};

export class World {
  now = 1_800_000_000_000;
  timers = [];
  tabs = [];
  locks = new Map();
  buses = new Set();
  count = 0;

  constructor(seed = 1) {
    this.chance = chance(seed);
  }

  /** Calls `act` after `ms`; what it returns takes that back. */
  after(ms, act) {
    const timer = { at: this.now + Math.max(0, ms || 0), order: this.count++, act };
    this.timers.push(timer);
    return () => (timer.act = undefined);
  }

  /** Lets time pass. */
  async run(ms) {
    const end = this.now + ms;
    await settle();
    for (;;) {
      this.timers = this.timers.filter(({ act }) => act);
      const [next] = this.timers.sort((a, b) => a.at - b.at || a.order - b.order);
      if (!next || next.at > end) break;
      this.now = Math.max(this.now, next.at);
      const { act } = next;
      next.act = undefined;
      act();
      await settle();
    }
    this.now = end;
  }

  /** Until `question` says yes; how long that took. */
  async until(question, most = 60_000) {
    const begin = this.now;
    while (!question()) {
      if (this.now - begin > most) throw new Error(`not within ${most} ms: ${question}`);
      await this.run(10);
    }
    return this.now - begin;
  }

  tab(globals = {}) {
    const tab = new Tab(this, globals);
    this.tabs.push(tab);
    return tab;
  }

  grant(name) {
    const lock = this.locks.get(name);
    if (!lock || lock.holder || !lock.waiting.length) return;
    const request = (lock.holder = lock.waiting.shift());
    request.granted = true;
    const over = () => {
      if (lock.holder !== request) return;
      lock.holder = undefined;
      request.done();
      this.grant(name);
    };
    this.after(1, () => request.tab.alive && Promise.resolve(request.held()).then(over));
  }
}

/** What the client finds in one tab. */
class Tab extends EventTarget {
  alive = true;
  frozen = false;
  streams = new Set();
  late = [];

  constructor(world, globals) {
    super();
    this.world = world;
    this.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
    const tab = this;
    class Bus {
      constructor(name) {
        Object.assign(this, { name, tab });
        world.buses.add(this);
      }
      postMessage(data) {
        if (!world.buses.has(this)) throw new Error("a closed channel");
        tab.posted = (tab.posted ?? 0) + 1;
        for (const bus of world.buses) if (bus !== this && bus.name === this.name) tab.send(bus, structuredClone(data));
      }
      close() {
        world.buses.delete(this);
      }
    }
    const timer = (act, ms, again) => {
      const cancel = {};
      const begin = () => (cancel.now = world.after(ms, () => tab.does(() => cancel.now && (again && begin(), act()))));
      begin();
      return cancel;
    };
    const clear = (cancel) => (cancel?.now?.(), cancel && (cancel.now = undefined));
    const own = {
      fetch: (...asked) => world.server.fetch(tab, ...asked),
      addEventListener: (...asked) => this.addEventListener(...asked),
      navigator: { locks: { request: (...asked) => this.request(...asked) } },
      location: { href: "https://page.example/" },
      document: this.document,
      BroadcastChannel: Bus,
      ...globals,
    };
    const clock = Object.assign(function () {}, { now: () => world.now, parse: Date.parse });
    const maths = Object.create(Math, { random: { value: () => world.chance.next() } });
    Object.assign(maths, { max: Math.max, min: Math.min });
    const timers = [timer, clear, (act, ms) => timer(act, ms, true), clear];
    const { EventStream, Parser } = load(own, own.navigator, Bus, own.EventSource, this.document, clock, maths, ...timers);
    Object.assign(this, { EventStream, Parser });
  }

  /** Now, or where the tab is frozen when it thaws, or never. */
  does(act, message = false) {
    if (this.frozen) this.late.push({ act, message });
    else if (this.alive) act();
  }

  // In the order in which one tab sends to another; what crashed had sent arrives.
  send(bus, data) {
    const lane = (bus.lanes ??= new Map());
    const at = Math.max(lane.get(this) ?? 0, this.world.now + this.world.chance.below(5));
    lane.set(this, at);
    const arrive = () => this.world.buses.has(bus) && bus.onmessage?.({ data });
    this.world.after(at - this.world.now, () => bus.tab.does(arrive, true));
  }

  request(name, { steal, signal } = {}, held) {
    const { locks } = this.world;
    if (!locks.has(name)) locks.set(name, { waiting: [] });
    const lock = locks.get(name);
    return new Promise((done, failed) => {
      const request = { tab: this, held, done, failed };
      const abort = () => {
        if (request.granted) return;
        lock.waiting = lock.waiting.filter((other) => other !== request);
        failed(signal.reason);
      };
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort);
      if (steal) {
        lock.waiting.unshift(request);
        const { holder } = lock;
        lock.holder = undefined;
        if (holder) holder.tab.does(() => holder.failed(new DOMException("stolen", "AbortError")));
      } else lock.waiting.push(request);
      this.world.grant(name);
    });
  }

  /** As when its process dies. */
  crash() {
    this.alive = false;
    for (const [name, lock] of this.world.locks) {
      lock.waiting = lock.waiting.filter(({ tab }) => tab !== this);
      if (lock.holder?.tab === this) lock.holder = undefined;
      this.world.grant(name);
    }
    for (const bus of this.world.buses) if (bus.tab === this) this.world.buses.delete(bus);
    for (const stream of this.streams) stream.gone();
  }

  /** Nothing happens in it until it thaws; what other tabs said meanwhile comes then, or is lost. */
  freeze() {
    this.frozen = true;
  }
  thaw(lost = false) {
    this.frozen = false;
    for (const { act, message } of this.late.splice(0)) if (!lost || !message) this.does(act);
  }
}
