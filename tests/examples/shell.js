// A network of its own, in which what the documentation says to type can be typed as it stands: its ports are free.
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { promisify } from "node:util";
import { until } from "./cluster.js";

export class Network {
  #children = [];
  folder = mkdtempSync("/tmp/fantail-shell-");

  // `addresses` are this machine's in there.
  static async start(addresses = []) {
    if (!process.env.FANTAIL_BIN) throw new Error("FANTAIL_BIN is not set: the binary to test with");
    const network = new Network();
    symlinkSync(process.env.FANTAIL_BIN, `${network.folder}/fantail`);
    const add = addresses.map((address) => `ip addr add ${address}/32 dev lo && `).join("");
    const command = `ip link set lo up && ${add} echo ready && exec sleep infinity`;
    // Without root, in a user namespace.
    const root = process.getuid() === 0 ? [] : ["--map-root-user"];
    const stdio = ["ignore", "pipe", "inherit"];
    network.holder = spawn("unshare", ["--net", ...root, "sh", "-c", command], { stdio });
    await once(network.holder.stdout, "data");
    return network;
  }

  #command(text) {
    const root = process.getuid() === 0 ? [] : ["--user", "--preserve-credentials"];
    return ["nsenter", ["--target", String(this.holder.pid), "--net", ...root, "bash", "-euo", "pipefail", "-c", text]];
  }

  // As with a user, who has no settings of these tests: `fantail check` fails at those that it does not know.
  get #options() {
    const others = Object.entries(process.env).filter(([name]) => !name.startsWith("FANTAIL_"));
    return { cwd: this.folder, env: { ...Object.fromEntries(others), PATH: `${this.folder}:${process.env.PATH}` } };
  }

  // What is typed, and ends by itself: its output.
  async type(text) {
    const options = { ...this.#options, timeout: 120_000 };
    const { stdout } = await promisify(execFile)(...this.#command(text), options).catch((error) => {
      throw new Error(`${text}: ${error.message}\n${error.stdout}`);
    });
    return stdout;
  }

  // What goes on until it is ended: `said` is its output so far.
  begin(text) {
    const options = { ...this.#options, detached: true, stdio: ["ignore", "pipe", "pipe"] };
    const child = spawn(...this.#command(text), options);
    child.said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (more) => (child.said += more));
    this.#children.push(child);
    return child;
  }

  says(child, text) {
    return until(`${text} in ${child.said}`, () => child.said.includes(text)).catch((error) => {
      throw new Error(`${error.message}; now: ${child.said}`);
    });
  }

  answers(url) {
    return until(url, () => this.type(`curl -sf ${url}`).then(() => true, () => false));
  }

  // Ends a command with all that it began; `only` those whose command line has this.
  async end(child, only = "") {
    const lines = execFileSync("ps", ["-e", "-o", "pid=,pgid=,args="]).toString().split("\n");
    const found = lines.map((line) => line.trim().split(/\s+/));
    const own = found.filter(([, group, ...args]) => Number(group) === child.pid && args.join(" ").includes(only));
    if (own.length === 0) throw new Error(`nothing of ${child.spawnargs.at(-1)} runs with ${only}`);
    for (const [pid] of own) process.kill(Number(pid), "SIGKILL");
    await until("they are gone", () => own.every(([pid]) => !alive(Number(pid))));
  }

  stop() {
    for (const child of this.#children) {
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    }
    this.holder?.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

// Whether a process runs; one that has ended and was not waited for does not.
function alive(pid) {
  try {
    return !/^\s*Z/.test(execFileSync("ps", ["-o", "stat=", "-p", String(pid)]).toString());
  } catch {
    return false;
  }
}
