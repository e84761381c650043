// One example as its README starts it, beside a cluster, with a browser.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { Cluster, answers, until } from "./cluster.js";

const ROOT = new URL("../../", import.meta.url).pathname;
// Maven and cargo build on the first start.
const FIRST_START = 1500;

export class Example {
  // Registers start and end of the example `name` with node:test. `flags` are the nodes', `change` what the test
  // needs otherwise in the command.
  static of(name, { flags = [], env = {}, change = (command) => command } = {}) {
    const example = new Example();
    example.name = name;
    before(async () => {
      example.cluster = await Cluster.start(flags);
      await example.#start(env, change);
      example.browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium" });
    });
    after(async () => {
      await example.browser?.close();
      await example.end();
      await example.cluster?.stop();
      if (example.wrong?.length) throw new Error(`in the pages: ${example.wrong.join("\n")}`);
    });
    return example;
  }

  // What the pages complained of, and what they asked of other hosts.
  wrong = [];

  get app() {
    return this.cluster.app;
  }

  // A page of a browser context of its own: other cookies, other storage.
  async page(path = "/", context) {
    context ??= await this.browser.newContext({ viewport: { width: 900, height: 600 } });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => this.wrong.push(String(error)));
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      const own = origin === this.app || origin === this.cluster.node || protocol === "data:";
      if (!own) this.wrong.push(`asks ${request.url()}`);
      if (origin === this.cluster.node && request.url().includes("/events")) page.streams = (page.streams ?? 0) + 1;
    });
    await page.goto(this.app + path);
    return page;
  }

  async post(path, body) {
    return this.#asked("POST", path, body);
  }

  async #asked(method, path, body) {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(this.app + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  }

  // Kept for people to look at.
  async picture(page) {
    mkdirSync(`${ROOT}target/examples`, { recursive: true });
    await page.screenshot({ path: `${ROOT}target/examples/${this.name}.png` });
  }

  async begin() {
    await this.#start(this.env, this.change);
  }

  // Kills the example's back end.
  async end() {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, "exit");
    process.kill(-this.process.pid, "SIGKILL");
    await gone;
  }

  async #start(env, change) {
    Object.assign(this, { env, change });
    const folder = `${ROOT}examples/${this.name}`;
    const command = change(/```sh\n([^]*?)\n```/.exec(readFileSync(`${folder}/README.md`, "utf8"))[1]);
    const { address, redis } = this.cluster;
    const addresses = { HOST: address, FLASK_RUN_HOST: address, UVICORN_HOST: address, SERVER_ADDRESS: address };
    const services = { REDIS_URL: redis, SPRING_DATA_REDIS_URL: redis, FANTAIL_URL: this.cluster.node };
    this.process = spawn("bash", ["-euo", "pipefail", "-c", command], {
      cwd: folder,
      detached: true,
      env: { ...process.env, ...addresses, ...services, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on("data", (text) => (said = (said + text).slice(-3000)));
    }
    await until(`${this.name} answers`, () => {
      if (this.process.exitCode !== null) throw new Error(`${command}: ended with ${this.process.exitCode}\n${said}`);
      return answers(address, 3000);
    }, FIRST_START).catch((error) => {
      throw new Error(`${error.message}\n${said}`);
    });
  }
}
