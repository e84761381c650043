// What the documentation shows of browsers runs in one, on a page of an allowed origin.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { chromium } from "playwright-core";
import { Cluster, answers, until } from "./cluster.js";
import { ROOT, block } from "./snippet.js";
import { signed } from "./token.js";

let browser;
before(async () => (browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium" })));
after(() => browser?.close());

// Runs a block in a page, on a cluster of its own, with functions of the page; then `judge` gets what they were called
// with, `console.log` among them.
async function shown(code, { flags, functions = {} }, judge) {
  const cluster = await Cluster.start(flags);
  const context = await browser.newContext();
  const server = createServer((_, answer) => {
    answer.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html>");
  });
  try {
    const page = await context.newPage();
    const calls = [];
    page.on("pageerror", (error) => calls.push(["pageerror", String(error)]));
    server.listen(3000, cluster.address);
    await once(server, "listening");
    await page.goto(`${cluster.app}/`);
    const note = (name) => (...args) => void calls.push([name, ...args]);
    await page.exposeFunction("log", note("log"));
    for (const [name, of] of Object.entries(functions)) await page.exposeFunction(name, of ?? note(name));
    const here = code.replace(/https:\/\/events\.example\.org|http:\/\/127\.0\.0\.1:8080/g, cluster.node)
      .replace(/(["`])\/(events|history)/g, `$1${cluster.node}/$2`);
    await page.addScriptTag({ type: "module", content: `console.log = (...all) => log(...all);\n${here}` });
    const say = (channel, ...fields) => cluster.cli("XADD", `sse:${channel}`, "*", ...fields);
    const called = (...call) => {
      const text = JSON.stringify(call);
      return until(text, () => calls.some((one) => JSON.stringify(one) === text));
    };
    const connected = (count = 1) => until(`${count} subscribers`, async () => (await subscribers(cluster)) === count);
    await judge({ cluster, calls, say, called, connected });
    assert.deepEqual(calls.filter(([name]) => name === "pageerror"), []);
  } finally {
    await context.close();
    server.close();
    await cluster.stop();
  }
}

// Of all nodes, as their metrics say.
async function subscribers(cluster) {
  const counts = [9081, 9082].map(async (port) => {
    const answer = await fetch(`http://${cluster.address}:${port}/metrics`).catch(() => null);
    return Number(/^fantail_connections (\d+)/m.exec(await answer?.text() ?? "")?.[1] ?? 0);
  });
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

test("README.md: events, types and gaps", async () => {
  const code = block("README.md", "js", "fantail.gap");
  const functions = { add: undefined, reload: undefined };
  await shown(code, { functions }, async ({ cluster, say, called, connected }) => {
    await connected();
    await say("orders", "data", "plain");
    await called("log", "plain");
    await say("user.42", "event", "created", "data", '{"id":1}');
    await called("add", { id: 1 });
    await cluster.kill();
    for (let i = 0; i < 3; i++) await say("orders", "data", `missed ${i}`);
    await cluster.cli("XTRIM", "sse:orders", "MAXLEN", "1");
    await called("reload", "orders");
    await called("log", "missed 2");
  });
});

test("docs/quickstart.md: a whole page, served as it says", async () => {
  const page = "docs/quickstart.md";
  const cluster = await Cluster.start();
  const folder = mkdtempSync("/tmp/fantail-page-");
  const here = (text) => text.replaceAll("127.0.0.1", cluster.address);
  writeFileSync(`${folder}/index.html`, here(block(page, "html", "EventSource")));
  const [program, ...words] = here(block(page, "sh", "http.server")).split(" ");
  const server = spawn(program, words, { cwd: folder, stdio: "ignore" });
  const context = await browser.newContext();
  try {
    const first = await cluster.cli("XADD", "sse:demo", "*", "data", "before");
    await until("the page is served", () => answers(cluster.address, 3000));
    const tab = await context.newPage();
    await tab.goto(`${cluster.app}/`);
    const shows = (lines) =>
      until(lines.join(), async () => (await tab.locator("li").allTextContents()).join() === lines.join());
    await shows([`${first}: before`]);
    await cluster.kill();
    const second = await cluster.cli("XADD", "sse:demo", "*", "data", "<b>hello</b>");
    await shows([`${first}: before`, `${second}: <b>hello</b>`]);
  } finally {
    await context.close();
    server.kill();
    await cluster.stop();
    rmSync(folder, { recursive: true });
  }
});

test("docs/troubleshooting.md: what a browser says is literal", async () => {
  const text = readFileSync(`${ROOT}docs/troubleshooting.md`, "utf8").replaceAll(/\s+/g, " ");
  const cluster = await Cluster.start();
  const context = await browser.newContext();
  // An origin that the nodes allow, and one that they do not. Their pages are no streams.
  const html = (_, answer) => answer.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html>");
  const servers = [3000, 3001].map((port) => createServer(html).listen(port, cluster.address));
  try {
    await Promise.all(servers.map((server) => server.listening || once(server, "listening")));
    const said = [];
    const page = await context.newPage();
    page.on("console", (message) => said.push(message.text()));
    const says = async (url, message, origin) => {
      await page.goto(`${origin}/`);
      await page.evaluate((url) => void (globalThis.events = new EventSource(url)), url);
      if (message.startsWith("net::")) {
        await until("the stream is open", () => page.evaluate(() => globalThis.events.readyState === 1));
        await cluster.kill();
      }
      await until(message, () => said.some((line) => line.includes(message)));
      assert.ok(text.includes(message), message);
    };
    const other = `http://${cluster.address}:3001`;
    await says(`${cluster.node}/events/demo`, "has been blocked by CORS policy: No 'Access-Control-Allow-Origin' header is present on the requested resource.", other);
    await says("/", 'that is not "text/event-stream"', other);
    await says("/", "EventSource's response has a MIME type", other);
    await says(`${cluster.node}/events/demo`, "net::ERR_INCOMPLETE_CHUNKED_ENCODING", cluster.app);
  } finally {
    await context.close();
    for (const server of servers) server.close();
    await cluster.stop();
  }
});

test("docs/reference/history.md: history, and live from there", async () => {
  const code = block("docs/reference/history.md", "js", "/history/");
  for (const before of [0, 3]) {
    // What there is before the page asks is said by the page itself, so that it is there in time.
    const flags = ["--publish", "on"];
    const first = Array.from({ length: before }, (_, i) =>
      `await fetch("/events/chat", { method: "POST", body: "old ${i}" });`);
    const page = { flags, functions: { show: undefined } };
    await shown([...first, code].join("\n"), page, async ({ cluster, calls, say, connected }) => {
      await connected();
      for (let i = 0; i < 3; i++) await say("chat", "data", `new ${i}`);
      await until("all events", () => calls.length >= before + 3);
      const entries = (await cluster.entries("chat")).map(({ id, data }) => [id, data]);
      assert.deepEqual(calls.map(([, event]) => [event.id, event.data]), entries);
      const answer = await (await fetch(`${cluster.node}/history/chat?limit=1`)).json();
      const shape = JSON.parse(block("docs/reference/history.md", "json", '"more"'));
      for (const of of [(page) => page, (page) => page.events[0]]) {
        assert.deepEqual(Object.keys(of(answer)).sort(), Object.keys(of(shape)).sort());
      }
    });
  }
});

test("docs/authorization.md: a token is about to end", async () => {
  const secret = randomBytes(64).toString("hex");
  const file = `/tmp/fantail-secret-${process.pid}`;
  writeFileSync(file, secret);
  // Half of what is left passes before it is told.
  const token = signed({ exp: Math.floor(Date.now() / 1000) + 30, fantail: { subscribe: ["orders"] } }, secret);
  const events = `const events = new EventSource("/events/orders?token=${token}");`;
  const flags = ["--auth", "jwt", "--jwt-key", file, "--token-expiring", "300s"];
  const functions = { connectAgainWithFreshToken: undefined };
  const code = `${events}\n${block("docs/authorization.md", "js", "connectAgain")}`;
  await shown(code, { flags, functions }, ({ called }) => called("connectAgainWithFreshToken"))
    .finally(() => rmSync(file));
});

test("docs/authorization.md: a fresh token before the old one ends", async () => {
  const secret = randomBytes(64).toString("hex");
  const file = `/tmp/fantail-secret-${process.pid}`;
  writeFileSync(file, secret);
  let tokens = 0;
  const freshToken = async () => {
    // Events come meanwhile, too.
    await wait(300);
    tokens += 1;
    const exp = Math.floor(Date.now() / 1000) + 12;
    return signed({ sub: "ann", exp, fantail: { subscribe: ["orders"] } }, secret);
  };
  const code = `${block("docs/authorization.md", "js", "freshToken")}\nconnect();`;
  const flags = ["--auth", "jwt", "--jwt-key", file, "--jwt-leeway", "0s", "--token-expiring", "10s"];
  const functions = { freshToken, show: undefined };
  await shown(code, { flags, functions }, async ({ cluster, calls, say, connected }) => {
    await connected();
    // Events all the while that tokens come and go.
    await until("three tokens", async () => (await say("orders", "data", `${Math.random()}`), tokens >= 3));
    await until("all events", async () => calls.length === (await cluster.cli("XLEN", "sse:orders")));
    assert.deepEqual(calls.map(([, data]) => data), (await cluster.entries("orders")).map((entry) => entry.data));
  }).finally(() => rmSync(file));
});
