// Real servers: Redis, and nodes of FANTAIL_BIN, on ports of loopback; all end with the test.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

// What comes at all comes within this, on a busy machine too.
export const LIMIT = 90_000;

export async function eventually(what, question) {
  const end = Date.now() + LIMIT;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${LIMIT / 1000} s: ${what}`);
    await pause(50);
  }
}

export class Place {
  folder = mkdtempSync(join(tmpdir(), "fantail-browser-"));
  processes = [];
  count = 0;

  start(program, args) {
    const log = join(this.folder, `${this.count++}.log`);
    const file = openSync(log, "a");
    const child = spawn(program, args, { stdio: ["ignore", file, file] });
    this.processes.push(child);
    child.on("error", (error) => { throw error; });
    child.ended = new Promise((done) => child.once("exit", (code, signal) => done(code ?? signal)));
    child.log = () => readFileSync(log, "utf8");
    return child;
  }

  async close() {
    for (const child of this.processes) child.kill("SIGKILL");
    await Promise.all(this.processes.map((child) => child.ended));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class Redis {
  static async start(place) {
    const redis = new Redis();
    redis.socket = join(place.folder, "redis.sock");
    place.start("redis-server", ["--port", "0", "--unixsocket", redis.socket, "--save", "", "--dir", place.folder]);
    await eventually("Redis answers", () => { try { return redis.ask("PING") === "PONG"; } catch { return false; } });
    return redis;
  }
  ask(...words) {
    return execFileSync("redis-cli", ["-s", this.socket, ...words], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  }
  /** Appends to a channel's stream; the id. */
  add(channel, fields) {
    return this.ask("XADD", "sse:" + channel, "*", ...Object.entries(fields).flat());
  }
}

export class Node {
  static async start(place, redis, ...flags) {
    const node = Object.assign(new Node(), { place, redis, flags, admin: "127.0.0.1:0", clients: "127.0.0.1:0" });
    await node.begin();
    return node;
  }
  /** Starts it, again on the ports that it had. */
  async begin() {
    const store = this.redis ? ["--redis", "unix:" + this.redis.socket] : [];
    const listen = this.flags.includes("--listen") ? [] : ["--listen", this.clients];
    this.process = this.place.start(process.env.FANTAIL_BIN, [
      "serve", ...store, ...listen, "--admin-listen", this.admin, ...this.flags,
    ]);
    const banner = await eventually("a node starts", () => {
      const log = this.process.log();
      if (this.process.exitCode !== null) throw new Error(`the node ended: ${log}`);
      return log.includes("the node has started") && log;
    });
    [, this.clients] = /^ *clients +http:\/\/([^/]+)\//m.exec(banner);
    [, this.admin] = /^ *admin +http:\/\/([^ ]+)/m.exec(banner);
    this.url = `http://${this.admin}/`;
  }
  /** Subscribes; what it gives ends it. */
  async subscribe(channels) {
    const asked = request(`http://${this.clients}/events?channels=${channels}`);
    asked.on("error", () => {});
    asked.end();
    const answer = await new Promise((done, failed) => { asked.once("response", done); asked.once("error", failed); });
    if (answer.statusCode !== 200) throw new Error(`subscribing: ${answer.statusCode}`);
    answer.on("error", () => {});
    answer.resume();
    return () => asked.destroy();
  }
}
