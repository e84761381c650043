// Two nodes on a Redis of their own, and a balancer in front where a page expects its node: `<address>:8080`. Each
// cluster has a loopback address of its own, so that the ports of nodes and examples need not be configured.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { randomInt } from "node:crypto";
import net from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const FANTAIL = process.env.FANTAIL_BIN;
const run = promisify(execFile);

export class Cluster {
  address = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(2, 255)}`;
  #nodes = new Map();
  #connections = new Set();
  #children = [];

  // `flags`: further flags of the nodes.
  static async start(flags = []) {
    if (!FANTAIL) throw new Error("FANTAIL_BIN is not set: the binary to test with");
    const cluster = new Cluster();
    try {
      cluster.port = await freePort(cluster.address);
      const bind = ["--bind", cluster.address, "--port", String(cluster.port), "--protected-mode", "no"];
      const redis = spawn("redis-server", [...bind, "--save", "", "--appendonly", "no"], { stdio: "ignore" });
      cluster.#child(redis, "redis-server");
      await until("redis-server answers", async () => {
        if (redis.exitCode !== null) throw new Error(`redis-server ended with ${redis.exitCode}`);
        return (await cluster.cli("DBSIZE").catch(() => null)) === 0;
      });
      cluster.flags = ["--redis", cluster.redis, "--cors-origin", cluster.app, ...flags];
      await Promise.all([cluster.begin(8081), cluster.begin(8082)]);
      await cluster.#balance();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get redis() {
    return `redis://${this.address}:${this.port}`;
  }
  get node() {
    return `http://${this.address}:8080`;
  }
  get app() {
    return `http://${this.address}:3000`;
  }

  // Starts a node on a port.
  async begin(port) {
    const listen = ["--listen", `${this.address}:${port}`, "--admin-listen", `${this.address}:${port + 1000}`];
    const node = spawn(FANTAIL, [...listen, ...this.flags], { stdio: ["ignore", "ignore", "pipe"] });
    node.said = "";
    node.stderr.on("data", (text) => (node.said += text));
    this.#child(node, `node ${port}`);
    this.#nodes.set(port, node);
    await until(`node ${port} is ready: ${node.said}`, async () => {
      if (node.exitCode !== null) throw new Error(`node ${port} ended: ${node.said}`);
      return (await fetch(`http://${this.address}:${port + 1000}/readyz`).catch(() => ({}))).ok;
    });
  }

  // Kills the node that serves most of the balancer's connections, and returns when it is gone. Begin it again with
  // `begin(port)`.
  async kill() {
    const [port] = this.#load()[0];
    const node = this.#nodes.get(port);
    this.#nodes.delete(port);
    const gone = once(node, "exit");
    node.kill("SIGKILL");
    await gone;
    return port;
  }

  async cli(...args) {
    const options = ["-h", this.address, "-p", String(this.port), "-e", "--json"];
    const { stdout } = await run("redis-cli", [...options, ...args], { maxBuffer: 1e8 });
    return JSON.parse(stdout);
  }

  // All entries of a channel's stream, oldest first, as objects with `id`.
  async entries(channel) {
    const found = await this.cli("XRANGE", `sse:${channel}`, "-", "+");
    return found.map(([id, fields]) => {
      const entry = { id };
      for (let i = 0; i < fields.length; i += 2) entry[fields[i]] = fields[i + 1];
      return entry;
    });
  }

  async stop() {
    this.balancer?.close();
    for (const { client } of this.#connections) client.destroy();
    await Promise.all(this.#children.map(async (child) => {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, "exit");
        child.kill("SIGKILL");
        await gone;
      }
    }));
  }

  // Ports of nodes with their connections, the busiest first.
  #load() {
    const load = new Map([...this.#nodes.keys()].map((port) => [port, 0]));
    for (const { port } of this.#connections) if (load.has(port)) load.set(port, load.get(port) + 1);
    return [...load].sort((a, b) => b[1] - a[1]);
  }

  #child(child, name) {
    child.on("error", (error) => console.error(`${name}: ${error}`));
    this.#children.push(child);
  }

  // Each connection goes to the node with the fewest; that it breaks is passed on, nothing is repeated.
  async #balance() {
    this.balancer = net.createServer((client) => {
      const [port] = this.#load().at(-1) ?? [];
      if (port === undefined) return client.destroy();
      const connection = { client, port };
      this.#connections.add(connection);
      const upstream = net.connect(port, this.address);
      const end = () => {
        this.#connections.delete(connection);
        client.destroy();
        upstream.destroy();
      };
      for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
      client.pipe(upstream).pipe(client);
    });
    this.balancer.listen(8080, this.address);
    await once(this.balancer, "listening");
  }
}

// Waits for a condition, which may be asynchronous; fails after `seconds`.
export async function until(what, condition, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await wait(50);
  }
}

async function freePort(address) {
  const server = net.createServer().listen(0, address);
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export function answers(address, port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, address);
    socket.on("connect", () => (socket.destroy(), resolve(true))).on("error", () => resolve(false));
  });
}
