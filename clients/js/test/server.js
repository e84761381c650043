// Answers as a node does, in virtual time: positions by channel, history behind them, the first heartbeat at once. Channels of one
// stream come in no order among each other, pieces are cut anywhere, and streams can be cut, refused and left silent.

export class Server {
  logs = {};
  streams = new Set();
  asked = [];
  retry = 1000;
  heartbeat = 15_000;
  /** Longest time that a block may take to a stream. */
  slow = 30;
  answer = undefined;

  constructor(world) {
    this.world = world;
    world.server = this;
  }

  publish(channel, fields = {}) {
    const log = (this.logs[channel] ??= []);
    log.push({ n: log.length + 1, ...fields });
    for (const stream of this.streams) stream.pump();
    return log.length;
  }

  /** Takes the place of `fetch` in a tab. */
  async fetch(tab, url, { method = "GET", body, headers = {}, signal } = {}) {
    const address = new URL(url);
    const query = body ? new URLSearchParams(String(body)) : address.searchParams;
    const asked = { tab, method, query, token: headers.Authorization?.slice(7), at: this.world.now, url };
    this.asked.push(asked);
    const given = this.answer?.(asked);
    if (given === "silence") return new Promise((_, failed) => signal.addEventListener("abort", () => failed(signal.reason)));
    if (given === "refused") throw new TypeError("fetch failed");
    if (given) return { headers: new Headers(given.headers), json: async () => given.problem ?? {}, status: given.status };
    const stream = new Stream(this, tab, query, signal);
    return { status: 200, headers: new Headers({ "content-type": "text/event-stream; charset=utf-8" }), body: { getReader: () => stream } };
  }

  /** Breaks all streams, somewhere within what is on its way. */
  cut() {
    for (const stream of [...this.streams]) stream.gone();
  }
}

class Stream {
  pieces = [];
  busy = false;
  mute = false;

  constructor(server, tab, query, signal) {
    Object.assign(this, { server, tab, world: server.world, query });
    this.channels = (query.get("channels") ?? "a").split(",");
    const given = this.given(query.get("lastEventId") ?? "");
    const begins = (log = []) => (query.get("since") === "earliest" ? 0 : log.length);
    this.at = Object.fromEntries(this.channels.map((name) => [name, given[name] ?? begins(server.logs[name])]));
    server.streams.add(this);
    tab.streams.add(this);
    signal.addEventListener("abort", () => this.gone(signal.reason));
    this.say(`retry: ${server.retry}\n`);
    if (query.get("heartbeatEvent") === "1") this.beat();
    this.pump();
  }

  given(text) {
    if (/^\d+-0$/.test(text)) return this.channels.length === 1 ? { [this.channels[0]]: parseInt(text) } : {};
    return Object.fromEntries(text.split(",").filter(Boolean).map((part) => [part.split("=")[0], parseInt(part.split("=")[1])]));
  }

  get id() {
    const { channels, at } = this;
    return channels.length === 1 ? `${at[channels[0]]}-0` : channels.map((name) => `${name}=${at[name]}-0`).join();
  }

  beat() {
    if (!this.server.streams.has(this)) return;
    this.say(`id: ${this.id}\nevent: fantail.heartbeat\ndata: {"every_ms":${this.server.heartbeat}}\n\n`);
    this.world.after(this.server.heartbeat, () => this.beat());
  }

  /** The next event of any channel, after a while. */
  pump() {
    const behind = this.channels.filter((name) => (this.server.logs[name]?.length ?? 0) > this.at[name]);
    if (this.busy || !behind.length || !this.server.streams.has(this)) return;
    this.busy = true;
    this.world.after(this.world.chance.below(this.server.slow), () => {
      this.busy = false;
      const channel = this.world.chance.of(behind);
      const entry = this.server.logs[channel][this.at[channel]++];
      const type = entry.event ? `event: ${entry.event}\n` : "";
      this.say(`id: ${this.id}\n${type}data: ${JSON.stringify({ channel, n: entry.n })}\n\n`);
      this.pump();
    });
  }

  say(text) {
    if (this.mute || !this.server.streams.has(this)) return;
    const bytes = new TextEncoder().encode(text);
    const cut = this.world.chance.below(bytes.length);
    for (const piece of [bytes.slice(0, cut), bytes.slice(cut)]) this.pieces.push(piece);
    this.tab.does(() => this.flow());
  }

  flow() {
    if (!this.waiting) return;
    if (this.pieces.length) this.waiting.done({ value: this.pieces.shift() });
    else if (this.over) this.clean ? this.waiting.done({ done: true }) : this.waiting.failed(this.over);
    else return;
    this.waiting = undefined;
  }

  // A reader's.
  read() {
    return new Promise((done, failed) => {
      this.waiting = { done, failed };
      this.flow();
    });
  }

  gone(why = new TypeError("network error")) {
    if (!this.server.streams.delete(this)) return;
    this.over = why;
    this.clean = why.name !== "AbortError" && this.world.chance.below(2);
    if (why.name === "AbortError") this.pieces = [];
    else this.pieces.length = this.world.chance.below(this.pieces.length + 1);
    this.tab.does(() => this.flow());
  }
}
