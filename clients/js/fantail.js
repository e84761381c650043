// Event streams for pages: README.md says how, fantail.d.ts what is set.

const CONTROL = "opened heartbeat gap held joined expiring expired revoked".split(" ").map((name) => `fantail.${name}`);
const STATES = { CONNECTING: 0, OPEN: 1, CLOSED: 2 };
const { CONNECTING, OPEN, CLOSED } = STATES;
/** A longer URL goes by QUERY. */
const URL_MOST = 2000;
/** In ms: for token, head and heartbeat; the longest waits of its own, and as told. */
const PATIENCE = 30_000;
const WAIT_MOST = 30_000;
const TOLD_MOST = 3_600_000;
/** A silent leader is asked, and after as long again replaced: within 2 s. */
const SILENT = 700;
const TICK = 250;
/** How long a tab waits for the leader, and what it keeps. */
const GRACE = 1000;
const KEPT = 500;
const KEPT_SIZE = 1 << 20;

/** The HTML standard, 9.2.6: what was torn before its blank line is never told. */
export class Parser {
  retry = 3000;
  line = "";

  /** `tell` gets each block, without `data` where it is no event. What is above `most` is a gap. */
  constructor(tell, most = Infinity, id = "") {
    Object.assign(this, { tell, most, id });
    this.clear();
  }

  clear() {
    Object.assign(this, { type: "message", data: [], size: 0, over: false });
  }

  push(text) {
    if (!text) return;
    let from = this.cr && text[0] === "\n" ? 1 : 0;
    this.cr = text.endsWith("\r");
    const ends = /\r\n?|\n/g;
    ends.lastIndex = from;
    for (let end; (end = ends.exec(text)); from = ends.lastIndex) {
      const line = this.line + text.slice(from, end.index);
      this.line = "";
      this.read(line);
    }
    this.line += text.slice(from);
    if (this.size + this.line.length > this.most + 5) this.drop((this.line = ":"));
  }

  drop() {
    this.over = true;
    this.data = [];
  }

  read(line) {
    if (!line) return this.end();
    const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
    if (name === "data") {
      this.size += value.length + 1;
      if (this.size > this.most) this.drop();
      if (!this.over) this.data.push(value);
    } else if (name === "event") this.type = value || "message";
    else if (name === "id" && !value.includes("\0")) this.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = +value;
  }

  end() {
    const { id, over, type, data } = this;
    const gap = { channel: null, reason: "too_large", resume_from: null, continues_at: id, lost: 1 };
    this.clear();
    if (over) this.tell({ type: "fantail.gap", data: JSON.stringify(gap), id });
    else this.tell({ type, data: data.length ? data.join("\n") : undefined, id });
  }
}

/** One stream that comes back where it was. */
class Connection {
  until = 0;
  retry = 3000;
  failures = 0;
  refused = 0;
  stale = "first";

  constructor(options, cursor, sink) {
    Object.assign(this, { options, cursor, sink, via: options.via });
  }

  start() {
    this.stop();
    this.attempt = new AbortController();
    this.waits();
    this.run(this.attempt.signal);
  }

  stop() {
    clearTimeout(this.timer);
    this.attempt?.abort();
    this.attempt = undefined;
  }

  wake(anew) {
    if (this.attempt) return anew ? this.again() : this.check();
    this.later(this.until - Date.now());
  }

  again(why) {
    this.sink.state(CONNECTING, why);
    if (this.attempt) this.start();
  }

  later(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.start(), Math.max(0, wait));
  }

  waits() {
    this.seen = Date.now();
    this.limit = PATIENCE;
    this.check();
  }

  check() {
    clearTimeout(this.timer);
    const left = this.seen + this.limit - Date.now();
    if (left > 0) this.timer = setTimeout(() => this.check(), left);
    else this.again({ error: new Error("silence") });
  }

  async run(signal) {
    let why = {};
    try {
      await this.renew(signal);
      const answer = signal.aborted ? undefined : await this.ask(signal);
      if (!answer) return;
      if (answer.status === 200 && /^text\/event-stream/i.test(answer.headers.get("content-type"))) {
        await this.read(answer.body.getReader(), signal);
      } else {
        const { code, detail } = await answer.json().catch(() => ({}));
        why = { status: answer.status, code, detail, after: 1000 * answer.headers.get("retry-after") || 0 };
      }
    } catch (error) {
      why = { error };
    }
    if (!signal.aborted) this.ended(why);
  }

  async renew(signal) {
    if (!this.stale) return;
    const { token } = this.options;
    const fresh = typeof token === "function" ? await token({ reason: this.stale }) : token;
    if (!signal.aborted) Object.assign(this, { token: fresh, stale: "" });
  }

  ask(signal) {
    const { url, channels, withCredentials, fetch = globalThis.fetch } = this.options;
    const address = new URL(url);
    const query = address.searchParams;
    if (channels) query.set("channels", channels.join());
    if (!query.has("heartbeatEvent")) query.set("heartbeatEvent", "1");
    if (this.cursor) query.set("lastEventId", this.cursor);
    const large = address.href.length > URL_MOST;
    if (this.via === "EventSource" && !large) return this.source(address, signal);
    const headers = { Accept: "text/event-stream" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const asked = { headers, signal, cache: "no-store", credentials: withCredentials ? "include" : "same-origin" };
    if (large) {
      Object.assign(asked, { method: "QUERY", body: new URLSearchParams(query) });
      address.search = "";
    }
    return fetch(address.href, asked);
  }

  async read(reader, signal) {
    const decoder = new TextDecoder();
    const parser = new Parser((block) => signal.aborted || this.item(block), this.options.maxEventSize, this.cursor);
    this.sink.state(OPEN);
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) return;
      this.seen = Date.now();
      parser.push(decoder.decode(value, { stream: true }));
      this.retry = parser.retry;
    }
  }

  /** In envelopes, for EventSource tells only of types that it knows. */
  source(address, signal) {
    const query = address.searchParams;
    const plain = query.has("envelope");
    const typed = !plain && query.get("type") === "channel";
    if (typed) query.delete("type");
    query.set("envelope", "1");
    if (this.token) query.set("token", this.token);
    const source = new EventSource(address.href, { withCredentials: this.options.withCredentials });
    signal.addEventListener("abort", () => source.close());
    source.onopen = () => this.sink.state(OPEN);
    source.onerror = () => {
      if (signal.aborted) return;
      this.waits();
      if (source.readyState !== CLOSED) return this.sink.state(CONNECTING, {});
      // It does not say why; fetch does.
      this.via = "fetch";
      this.start();
    };
    const item = ({ type, data, lastEventId: id }) => {
      if (signal.aborted) return;
      this.seen = Date.now();
      if (plain || type !== "message") return this.item({ type, data, id });
      const { channel, event, data: own } = JSON.parse(data);
      this.item({ type: typed ? channel.replace(/^fantail\./, "_$&") : event, data: own, id });
    };
    for (const type of ["message", ...CONTROL]) source.addEventListener(type, item);
  }

  item(block) {
    const { type, data, id } = block;
    this.failures = this.refused = 0;
    this.cursor = id;
    if (type === "fantail.heartbeat") this.check((this.limit = 2 * JSON.parse(data).every_ms || PATIENCE));
    if (/^fantail\.(expired|revoked)$/.test(type)) this.stale = type.slice(8);
    if (type === "fantail.expiring") this.expiring(this.attempt.signal);
    this.sink.item(block);
  }

  async expiring(signal) {
    const { token } = this;
    if (typeof this.options.token !== "function") return;
    this.stale = "expiring";
    await this.renew(signal).catch(() => {});
    if (!signal.aborted && !this.stale && !(token && token === this.token)) this.again();
  }

  /** At the node's pace after a stream, ever slower after failures, never before `Retry-After`. */
  ended(why) {
    this.stop();
    const { status, after = 0 } = why;
    const renews = status === 401 && typeof this.options.token === "function" && !this.refused++;
    const passes = !status || status === 408 || status === 429 || (status >= 500 && status !== 501);
    if (!renews && !passes) return this.sink.end(why);
    const least = renews ? 0 : Math.min(Math.max(this.retry, after), TOLD_MOST);
    const own = renews ? 0 : Math.min(this.retry * 2 ** this.failures, WAIT_MOST);
    const jitter = this.failures || after ? 1 + Math.random() / 2 : 1;
    if (renews) this.stale = "unauthorized";
    else this.failures++;
    this.until = Date.now() + least;
    this.later(Math.max(own, least) * jitter);
    this.sink.state(CONNECTING, why);
  }
}

const wentBack = ({ type, data }) => type === "fantail.gap" && JSON.parse(data).reason === "reset";

/**
 * Who holds the lock leads: it has the stream, and numbers what it tells. Others follow while no number is missing. A tab that
 * stands elsewhere is apart, on a stream of its own, until it stands where the leader is or was, and a node has said so (`sure`).
 */
class Tabs {
  leader = "";
  number = 0;
  shared = CONNECTING;
  asked = 0;

  constructor(name, options, cursor, sink) {
    const fresh = !cursor && !/[?&](since|tail|lastEventId)=/.test(options.url);
    Object.assign(this, { name, options, cursor, sink, fresh });
  }

  start() {
    this.stop();
    this.bus = new BroadcastChannel(this.name);
    this.bus.onmessage = ({ data }) => this.bus && this.hear(data);
    this.ticks = setInterval(() => this.look(), TICK);
    this.follow();
  }

  stop() {
    clearInterval(this.ticks);
    this.bus?.close();
    this.bus = undefined;
    this.lock?.abort();
    this.leave();
  }

  wake(anew) {
    this.line?.wake(anew);
    if (this.bus) this.look();
  }

  leave() {
    this.alone();
    this.line?.stop();
    this.line = this.at = undefined;
    this.leads = this.sure = false;
    this.leader = "";
    this.forget();
  }

  forget(base) {
    Object.assign(this, { base, ring: [], size: 0 });
  }

  alone(wait) {
    clearTimeout(this.timer);
    this.timer = wait && setTimeout(() => this.apart(), wait);
  }

  follow() {
    this.leave();
    this.heard = Date.now();
    this.alone(GRACE);
    this.queue();
    this.bus.postMessage({ hi: 1 });
  }

  /** Aborting gives the lock back. */
  queue(steal) {
    this.lock?.abort();
    this.lock = new AbortController();
    const { signal } = this.lock;
    const held = () => {
      if (!signal.aborted) this.lead();
      return new Promise((release) => (signal.aborted ? release() : signal.addEventListener("abort", release)));
    };
    const lost = ({ name }) => signal.aborted || (name === "AbortError" ? this.follow() : this.apart());
    navigator.locks.request(this.name, steal ? { steal } : { signal }, held).catch(lost);
  }

  look() {
    const now = Date.now();
    if (this.leads || now - this.heard < SILENT) this.asked = 0;
    else if (!this.asked) {
      this.asked = now;
      this.bus.postMessage({ hi: 1 });
    } else if (now - this.asked >= SILENT) {
      this.heard = now;
      this.queue(true);
    }
  }

  lead() {
    this.alone();
    this.forget();
    this.leads = true;
    this.fresh = false;
    this.at = { leader: `${Date.now()}.${Math.random()}`, number: 0 };
    if (!this.line) this.connect();
    this.tell();
  }

  tell() {
    this.bus.postMessage({ ...this.at, cursor: this.cursor, open: this.open });
  }

  apart() {
    this.alone();
    this.at = undefined;
    this.fresh = this.sure = false;
    if (!this.line) this.connect();
  }

  connect() {
    const item = (block) => {
      const news = block.id !== this.cursor || (block.data !== undefined && block.type !== "fantail.heartbeat");
      if (this.leads && news) this.bus.postMessage({ leader: this.at.leader, number: ++this.at.number, item: block });
      // Where ids went back a position says nothing until it moves.
      this.reset = block.id === this.cursor && (this.reset || wentBack(block));
      this.sure = !this.reset;
      this.take(block);
      this.merge();
    };
    const state = (open, why) => {
      this.open = open;
      if (this.leads) this.tell();
      this.sink.state(open, why);
    };
    this.open = CONNECTING;
    this.line = new Connection(this.options, this.cursor, { item, state, end: this.sink.end });
    this.line.start();
  }

  take(block) {
    this.cursor = block.id;
    this.sink.item(block);
  }

  hear({ hi, leader, number, item, cursor, open }) {
    if (hi && this.leads) {
      this.line.attempt && this.line.check();
      this.tell();
    }
    if (hi || this.leads) return;
    this.heard = Date.now();
    const follows = this.at?.leader === leader;
    const next = follows && number === this.at.number + (item ? 1 : 0);
    if (next) this.at.number = number;
    else if (follows) this.at = this.sure = undefined;
    if (!item) {
      if (leader !== this.leader || number !== this.number) this.forget({ cursor });
      Object.assign(this, { leader, number, shared: open });
      if (this.fresh) this.take({ id: cursor }, (this.sure = true));
    } else if (leader === this.leader) this.keep(item, number);
    else if (!next) this.bus.postMessage({ hi: 1 });
    if (item && next) this.take(item);
    this.merge();
  }

  keep(item, number) {
    if (number !== this.number + 1) this.forget();
    this.number = number;
    if (this.at?.leader === this.leader) return;
    if (wentBack(item)) {
      this.forget();
      this.reset = true;
      this.line?.start();
      return this.apart();
    }
    this.ring.push(item);
    this.size += item.data?.length ?? 0;
    while (this.ring.length > KEPT || this.size > KEPT_SIZE) {
      const { id, data } = this.ring.shift();
      this.size -= data?.length ?? 0;
      this.base = { cursor: id };
    }
  }

  merge() {
    if (this.leads || !this.bus || !this.leader) return;
    if (this.at?.leader === this.leader || this.join()) this.sink.state(this.shared);
  }

  join() {
    const from = this.base?.cursor === this.cursor ? 0 : this.ring.findIndex(({ id }) => id === this.cursor) + 1 || -1;
    if (from < 0 || !this.sure) {
      if (!this.line && !this.sure) this.apart();
      else if (!this.line && !this.timer) this.alone(GRACE);
      return false;
    }
    this.alone();
    this.line?.stop();
    this.line = undefined;
    this.fresh = false;
    this.at = { leader: this.leader, number: this.number };
    const items = this.ring.slice(from);
    this.forget();
    for (const item of items) if (this.bus) this.take(item);
    return true;
  }
}

/** So that equal sets have equal positions. */
const sorted = (names) => [...new Set([names].flat())].sort();

export class EventStream extends EventTarget {
  readyState = CONNECTING;
  onopen = null;
  onmessage = null;
  onerror = null;
  #closed = new AbortController();
  #readers = new Set();
  #options;
  #channels;
  #line;
  #why;

  constructor(url, options = {}) {
    super();
    this.url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
    this.withCredentials = Boolean(options.withCredentials);
    this.lastEventId = options.lastEventId ?? "";
    this.#options = { maxEventSize: 16 << 20, buffer: 10_000, ...options, url: this.url };
    this.#channels = options.channels && sorted(options.channels);
    const { signal, onGap } = options;
    for (const type of ["open", "message", "error"]) this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    if (onGap) this.addEventListener("fantail.gap", (event) => onGap(JSON.parse(event.data), event));
    const on = (target, type, act) => target?.addEventListener?.(type, act, { signal: this.#closed.signal });
    on(globalThis, "online", () => this.#line?.wake(true));
    on(globalThis, "pagehide", ({ persisted }) => persisted && this.#line?.stop());
    on(globalThis, "pageshow", ({ persisted }) => persisted && this.#line?.start());
    on(globalThis.document, "visibilitychange", () => document.visibilityState === "visible" && this.#line?.wake());
    on(signal, "abort", () => this.#end({ error: signal.reason }));
    if (signal?.aborted) this.#end({ error: signal.reason });
    this.#start();
  }

  get channels() {
    return this.#channels && [...this.#channels];
  }
  set channels(names) {
    if (!this.#channels) throw new TypeError("the URL has the channels");
    const [only, ...others] = this.#channels;
    const next = sorted(names);
    if (next.join() === this.#channels.join()) return;
    // The position of a single channel does not say whose it is.
    if (!others.length && /^\d+-\d+$/.test(this.lastEventId)) this.lastEventId = `${only}=${this.lastEventId}`;
    this.#channels = next;
    this.#line?.stop();
    this.#line = undefined;
    this.#state(CONNECTING);
    queueMicrotask(() => this.#start());
  }

  close() {
    this.#end();
  }

  async *[Symbol.asyncIterator]() {
    const { buffer } = this.#options;
    const queue = [];
    let wake, late;
    const reader = (event) => {
      late ||= queue.length >= buffer;
      if (event && !late) queue.push(event);
      wake?.();
    };
    this.#readers.add(reader);
    try {
      for (;;) {
        if (queue.length) yield queue.shift();
        else if (late) throw new RangeError(`${buffer} events wait`);
        else if (this.readyState !== CLOSED) await new Promise((done) => (wake = done));
        else if (!this.#why || this.#why.status === 204) return;
        else throw this.#why.error ?? new Error(`${this.#why.status} ${this.#why.code ?? ""}`);
      }
    } finally {
      this.#readers.delete(reader);
      this.close();
    }
  }

  #start() {
    if (this.#line || this.readyState === CLOSED || this.#channels?.length === 0) return;
    const { share } = this.#options;
    const options = { ...this.#options, channels: this.#channels };
    const state = (state, why) => this.#state(state, why);
    const sink = { item: (block) => this.#item(block), state, end: (why) => this.#end(why) };
    const name = JSON.stringify(["fantail", share, this.url, this.withCredentials, this.#channels]);
    this.#line =
      share && globalThis.navigator?.locks && globalThis.BroadcastChannel
        ? new Tabs(name, options, this.lastEventId, sink)
        : new Connection(options, this.lastEventId, sink);
    this.#line.start();
  }

  #item({ type, data, id }) {
    this.lastEventId = id;
    if (data === undefined) return;
    const event = new MessageEvent(type, { data, lastEventId: id, origin: new URL(this.url).origin });
    if (!/^fantail\.(heartbeat|opened)$/.test(type)) for (const reader of this.#readers) reader(event);
    this.dispatchEvent(event);
  }

  #state(state, why) {
    if (this.readyState === CLOSED || (this.readyState === state && !why)) return;
    this.readyState = state;
    this.dispatchEvent(state === OPEN ? new Event("open") : Object.assign(new Event("error"), why));
  }

  #end(why) {
    if (this.readyState === CLOSED) return;
    this.#why = why;
    this.readyState = CLOSED;
    this.#line?.stop();
    this.#closed.abort();
    for (const reader of this.#readers) reader();
    if (why) this.dispatchEvent(Object.assign(new Event("error"), why));
  }
}

for (const [name, value] of Object.entries(STATES)) EventStream[name] = EventStream.prototype[name] = value;
