// What the documentation says to type into a shell works, as it stands.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, test } from "node:test";
import { mkdirSync } from "node:fs";
import { block, blocks } from "./snippet.js";
import { Network } from "./shell.js";
import { until } from "./cluster.js";

const READY = "http://127.0.0.1:9090/readyz";
// Where something is built first, the binary is there already.
const built = (text) => text.replace("cargo run --release", "fantail");
// The lines of a block, without what they say of themselves.
const lines = (text) => text.split("\n").map((line) => line.replace(/(^|\s+)#.*/, "").trim()).filter((line) => line);

let network;
beforeEach(async () => (network = await Network.start(["10.0.0.5"])));
afterEach(() => network?.stop());

async function redis() {
  const server = network.begin("redis-server --bind 10.0.0.5 127.0.0.1 --protected-mode no --save ''");
  await until("Redis answers", () => network.type("redis-cli ping").then((said) => said.includes("PONG"), () => false));
  return server;
}

// Whether a node has so many, as its operators' listener says.
async function subscribers(port, count) {
  const metrics = await network.type(`curl -s http://127.0.0.1:${port}/metrics`);
  return metrics.includes(`\nfantail_connections ${count}\n`);
}

test("docs/quickstart.md: on a laptop", async () => {
  const page = "docs/quickstart.md";
  network.begin(built(block(page, "sh", "cargo run")));
  await network.answers(READY);
  const first = network.begin(block(page, "sh", "curl -N http"));
  await network.says(first, "id: ");
  await network.type(block(page, "sh", "curl -d"));
  await network.says(first, "data: hello");
  await network.end(first);
  const again = network.begin(block(page, "sh", "tail=5"));
  await network.says(again, "data: hello");
});

test("docs/quickstart.md: several nodes", async () => {
  const page = "docs/quickstart.md";
  const nodes = network.begin(`${block(page, "sh", "redis-server")}\nwait`);
  for (const port of [9090, 9091]) await network.answers(`http://127.0.0.1:${port}/readyz`);
  await network.type("fantail check --redis redis://127.0.0.1:6379");
  const tail = network.begin(block(page, "sh", "fantail tail"));
  const has = (port) => subscribers(port, 1);
  await until("the tail is connected", async () => (await has(9090)) || (await has(9091)));
  const publish = block(page, "sh", "redis-cli XADD");
  await network.type(publish);
  await network.says(tail, '{"id":1}');
  const own = (await has(9090)) ? 8080 : 8081;
  await network.end(nodes, `--listen 127.0.0.1:${own}`);
  await network.type(publish.replace('"id":1', '"id":2'));
  await network.says(tail, '{"id":2}');
  assert.deepEqual(tail.said.match(/"id":\d/g), ['"id":1', '"id":2']);
});

test("README.md: in one minute, and the tools for a terminal", async () => {
  network.begin(built(block("README.md", "sh", "cargo run")));
  await network.answers(READY);
  const [subscribe, publish] = lines(block("README.md", "sh", "curl -N"));
  const subscriber = network.begin(subscribe);
  await network.says(subscriber, "id: ");
  await network.type(publish);
  await network.says(subscriber, "data: hello");
  await redis();
  let tail;
  for (const line of lines(block("README.md", "sh", "fantail tail"))) {
    if (line.includes(" tail ")) {
      tail = network.begin(line);
      await until("two subscribers", () => subscribers(9090, 2));
    } else {
      const said = await network.type(line);
      if (line.endsWith(" top")) assert.match(said, /demo/);
    }
  }
  await network.says(tail, '{"id":1}');
});

test("README.md: on Redis", async () => {
  await redis();
  network.begin(block("README.md", "sh", "--listen 0.0.0.0:8080"));
  await network.answers(READY);
  const subscriber = network.begin("curl -N http://127.0.0.1:8080/events/orders");
  await network.says(subscriber, "id: ");
  await network.type(block("README.md", "sh", "redis-cli XADD"));
  await network.says(subscriber, 'data: {"id":1}');
});

test("README.md: tokens, and docs/authorization.md: revocation", async () => {
  await redis();
  network.begin(block("README.md", "sh", "--auth jwt"));
  await network.answers(READY);
  assert.equal(await network.type("curl -s -o answer -w '%{http_code}' http://127.0.0.1:8080/events/orders"), "401");
  const orders = lines(block("docs/authorization.md", "sh", "fantail revoke"));
  for (const line of orders) await network.type(line);
  assert.equal((await network.type("redis-cli XLEN sse:~control")).trim(), String(orders.length));
});

test("docs/tls.md: a certificate", async () => {
  const [serve, check] = lines(block("docs/tls.md", "sh", "--tls-cert"));
  const here = (text) => text.replaceAll("/etc/fantail", ".");
  const subject = ["-days", "90", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const out = ["-keyout", "tls.key", "-out", "tls.crt"];
  const options = { cwd: network.folder, stdio: "ignore" };
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject, ...out], options);
  await network.type(here(check));
  network.begin(here(serve));
  await network.answers(READY);
  const subscriber = network.begin("curl -N --cacert tls.crt https://localhost/events/orders");
  await network.says(subscriber, "id: ");
});

test("docs/tracing.md: collectors", async () => {
  for (const line of lines(block("docs/tracing.md", "sh", "--otlp-endpoint"))) {
    const node = network.begin(line);
    await network.answers(READY);
    await network.end(node);
  }
});

test("examples/README.md and notifications: the nodes beside them", async () => {
  const beside = network.begin(`${block("examples/README.md", "sh", "redis-server")}\nwait`);
  await network.answers(READY);
  await network.end(beside, "fantail");
  mkdirSync(`${network.folder}/examples/notifications`, { recursive: true });
  network.begin(block("examples/notifications/README.md", "sh", "--auth jwt"));
  await network.answers(READY);
});

// Those that are run by other tests, or need what is not here.
const ELSEWHERE = [/^docker build/, /^helm /, /^kubectl /, /^tests\/run/, /ulimit -Hn/];
test("no shell block of these pages is left out", () => {
  const tested = ["README.md", "docs/quickstart.md", "docs/authorization.md", "docs/tls.md", "docs/tracing.md"];
  const typed = [/cargo run/, /curl -N/, /curl -d/, /tail=5/, /fantail tail/, /redis-server/, /redis-cli XADD/];
  const flags = [/0\.0\.0\.0:8080/, /--auth jwt/, /fantail revoke/, /--tls-cert/, /--otlp-endpoint/];
  const known = [...typed, ...flags, ...ELSEWHERE];
  for (const page of tested) {
    for (const text of blocks(page, "sh")) assert.ok(known.some((known) => known.test(text)), `${page}: ${text}`);
  }
});
