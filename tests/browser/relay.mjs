// A site with a page and the client, which hands `/events` on to a node as a proxy does, and can cut, move and count streams.
import { readFileSync } from "node:fs";
import { createServer, request } from "node:http";

const CLIENT = readFileSync(new URL("../../clients/js/fantail.js", import.meta.url));
const PAGE = `<!doctype html><script type="module">
  import { EventStream } from "/fantail.js";
  window.got = {};
  window.states = [];
  window.start = (query, options) => {
    const token = options.token && (async ({ reason }) => (await fetch("/token?reason=" + reason)).text());
    const stream = (window.stream = new EventStream("/events" + query, { ...options, token }));
    stream.onmessage = ({ data }) => {
      const [channel, number] = data.split(" ");
      (window.got[channel] ??= []).push(Number(number));
    };
    stream.onopen = () => window.states.push("open");
    stream.onerror = ({ status }) => window.states.push(status ?? "broken");
  };
</script>`;

export class Relay {
  streams = new Set();
  asked = 0;
  reasons = [];

  static async start(node) {
    const relay = Object.assign(new Relay(), { node });
    relay.server = createServer((ask, answer) => relay.serve(ask, answer));
    await new Promise((done) => relay.server.listen(0, "127.0.0.1", done));
    relay.url = `http://127.0.0.1:${relay.server.address().port}`;
    return relay;
  }

  serve(ask, answer) {
    const { pathname, searchParams } = new URL(ask.url, this.url);
    if (pathname === "/events") return this.hand(ask, answer);
    if (pathname === "/token") {
      this.reasons.push(searchParams.get("reason"));
      return answer.end(this.token());
    }
    const script = pathname === "/fantail.js";
    answer.writeHead(200, { "content-type": script ? "text/javascript" : "text/html; charset=utf-8" });
    answer.end(script ? CLIENT : PAGE);
  }

  hand(ask, answer) {
    this.asked += 1;
    const [host, port] = this.node.clients.split(":");
    const onward = request({ host, port, path: ask.url, method: ask.method, headers: ask.headers });
    const cut = () => {
      this.streams.delete(answer);
      onward.destroy();
      answer.destroy();
    };
    onward.on("error", cut);
    answer.on("close", cut);
    answer.cut = cut;
    onward.on("response", (given) => {
      if (given.statusCode === 200) this.streams.add(answer);
      answer.writeHead(given.statusCode, given.headers);
      answer.flushHeaders();
      given.on("error", cut).on("aborted", cut).pipe(answer);
    });
    ask.pipe(onward);
  }

  /** Breaks all streams, as a proxy does at its time limit. */
  cut() {
    for (const answer of [...this.streams]) answer.cut();
  }

  close() {
    this.cut();
    this.server.closeAllConnections();
    this.server.close();
  }
}
