// What the documentation says to type into a shell works, as it stands.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, test } from "node:test";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { ROOT, block } from "./snippet.js";
import { Network } from "./shell.js";
import { signed } from "./token.js";
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
  network.begin(built(block(page, "sh", "cargo run --release")));
  await network.answers(READY);
  const first = network.begin(block(page, "sh", "curl -N http"));
  await network.says(first, "id: ");
  await network.type(block(page, "sh", "curl -d"));
  await network.says(first, "data: hello");
  await network.end(first);
  const again = network.begin(block(page, "sh", "tail=5"));
  await network.says(again, "data: hello");
});

test("docs/quickstart.md: a node that a page may read", async () => {
  const page = "docs/quickstart.md";
  network.begin(built(block(page, "sh", "--cors-origin")).replace("fantail --", "fantail"));
  await network.answers(READY);
  const head = await network.type("curl -sI -H 'Origin: http://127.0.0.1:3000' http://127.0.0.1:8080/events/demo");
  assert.match(head, /^access-control-allow-origin: http:\/\/127\.0\.0\.1:3000\r$/im);
});

test("docs/quickstart.md: several nodes", async () => {
  const page = "docs/quickstart.md";
  // As a build leaves it.
  mkdirSync(`${network.folder}/target/release`, { recursive: true });
  renameSync(`${network.folder}/fantail`, `${network.folder}/target/release/fantail`);
  const path = block(page, "sh", "export PATH");
  // One terminal, in which there is typed what the page says when it is told.
  const told = (name) => `read -r _ <${name}`;
  const stop = /connected to \(`(kill -KILL %2)`\)/.exec(readFileSync(`${ROOT}${page}`, "utf8"))[1];
  const again = block(page, "sh", "while it was away");
  await network.type("mkfifo stop again end");
  const typed = [block(page, "sh", "redis-server"), told("stop"), stop, told("again"), again, told("end"), block(page, "sh", "jobs -p")];
  const first = network.begin([path, ...typed, "wait", "echo ended"].join("\n"));
  for (const port of [9090, 9091]) await network.answers(`http://127.0.0.1:${port}/readyz`);
  await network.type(`${path}\nfantail check --redis redis://127.0.0.1:6379`);
  const tail = network.begin(`${path}\n${block(page, "sh", "fantail tail")}`);
  await until("the tail is connected to the node that is stopped", () => subscribers(9090, 1));
  const demo = network.begin("exec curl -sN --retry 100 --retry-all-errors --retry-delay 1 'http://127.0.0.1:8080/events/demo?since=earliest'");
  const publish = block(page, "sh", "redis-cli XADD sse:orders");
  await network.type(publish);
  await network.says(tail, '{"id":1}');
  await network.type("echo >stop");
  await network.type(publish.replace('"id":1', '"id":2'));
  await network.says(tail, '{"id":2}');
  await until("the tail is connected to the other", () => subscribers(9091, 1));
  assert.deepEqual(tail.said.match(/"id":\d/g), ['"id":1', '"id":2']);
  await network.type("echo >again");
  await network.says(demo, "data: while it was away");
  await network.type("echo >end");
  await network.says(first, "ended");
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
  for (const line of lines(block("README.md", "sh", "fantail top"))) {
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

test("README.md: several nodes, of which one is killed", async () => {
  // As a build leaves it.
  mkdirSync(`${network.folder}/target/release`, { recursive: true });
  renameSync(`${network.folder}/fantail`, `${network.folder}/target/release/fantail`);
  const path = block("README.md", "sh", "export PATH");
  // One terminal, in which there is nothing typed between its blocks before it is told.
  const [nodes, kill] = ["redis-server", "kill -KILL"].map((having) => block("README.md", "sh", having));
  const page = readFileSync(`${ROOT}README.md`, "utf8");
  const rest = /`(kill \$\(jobs -p\))` in the first terminal/.exec(page)[1];
  const told = (name) => `read -r _ <${name}`;
  await network.type("mkfifo kill end");
  const first = network.begin([path, nodes, told("kill"), kill, told("end"), rest, "wait", "echo ended"].join("\n"));
  for (const port of [9090, 9091]) await network.answers(`http://127.0.0.1:${port}/readyz`);
  const tail = network.begin(`${path}\n${block("README.md", "sh", "fantail tail orders")}`);
  await until("the tail is connected to the node that is killed", () => subscribers(9090, 1));
  await network.type("echo >kill");
  await network.says(tail, '{"id":2}');
  assert.deepEqual(tail.said.match(/"id":\d/g), ['"id":1', '"id":2']);
  await until("the tail is connected to the other", () => subscribers(9091, 1));
  await network.type(`${path}\n${block("README.md", "sh", "MAXLEN").replace('"id":1', '"id":3')}`);
  await network.says(tail, '{"id":3}');
  await network.type("echo >end");
  await network.says(first, "ended");
});

test("docs/authorization.md: tokens and revocation", async () => {
  await redis();
  network.begin(block("docs/authorization.md", "sh", "--auth jwt"));
  await network.answers(READY);
  const claims = JSON.parse(block("docs/authorization.md", "json", '"subscribe"'));
  claims.exp = Math.floor(Date.now() / 1000) + 3600;
  const token = signed(claims, readFileSync(`${network.folder}/secret`, "utf8").trimEnd());
  const status = (options, channel) =>
    network.type(`curl -s -o answer -w '%{http_code}' ${options} http://127.0.0.1:8080/events/${channel}`);
  assert.equal(await status("-I", "orders"), "401");
  const known = `-I -H 'Cookie: __Host-session=${token}'`;
  const may = ["user.alice.inbox", "news.sport", "user.bob.inbox", "chat.room"];
  assert.deepEqual(await Promise.all(may.map((name) => status(known, name))), ["200", "200", "403", "403"]);
  const says = `-d hello -H 'Authorization: Bearer ${token}'`;
  assert.deepEqual(await Promise.all(["chat.room", "news.sport"].map((name) => status(says, name))), ["201", "403"]);
  const orders = lines(block("docs/authorization.md", "sh", "fantail revoke"));
  for (const line of orders) await network.type(line);
  orders.push(...lines(block("docs/authorization.md", "sh", "join room.7")));
  for (const line of orders.slice(-3)) await network.type(line);
  assert.equal((await network.type("redis-cli XLEN sse:~control")).trim(), String(orders.length));
});

test("docs/authorization.md: users of Redis", async () => {
  await redis();
  const said = await network.type(block("docs/authorization.md", "sh", "ACL SETUSER"));
  assert.doesNotMatch(said, /^(?!ok)\w+ +(redis|follow|clock|rights):/m, said);
  const shop = "redis-cli --no-auth-warning --user shop --pass another XADD";
  assert.match(await network.type(`${shop} sse:orders '*' data 1`), /^\d+-\d+/);
  assert.match(await network.type(`${shop} sse:~control '*' disconnect subject name alice`), /^NOPERM/);
});

test("docs/tls.md: a certificate", async () => {
  const [serve, check] = lines(block("docs/tls.md", "sh", "--listen 0.0.0.0:443"));
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

test("docs/tls.md: a certificate to try it with", async () => {
  const [openssl, serve] = lines(block("docs/tls.md", "sh", "openssl req").replaceAll("\\\n", " "));
  const [publish, subscribe] = lines(block("docs/tls.md", "sh", "fantail publish demo"));
  await network.type(openssl);
  network.begin(serve);
  await network.answers(READY);
  await network.type(publish);
  await network.says(network.begin(subscribe), "data: hello");
});

test("docs/operating.md: the kernel", async () => {
  // Connection tracking is the whole machine's, and there only where a firewall is.
  const [queue, tracking] = lines(block("docs/operating.md", "sh", "somaxconn"));
  assert.match(tracking, /conntrack/);
  assert.match(await network.type(`${queue}\nsysctl -n net.core.somaxconn`), /\n4096\n$/);
});

test("docs/operating.md: a service", async () => {
  const unit = block("docs/operating.md", "ini", "ExecStart");
  const value = (name) => new RegExp(`^${name}=(.*)$`, "m").exec(unit)[1];
  const help = await network.type("fantail serve --help");
  const drain = ["drain-delay", "drain"].map((flag) =>
    Number(new RegExp(`--${flag} <[^]*?\\[default: (\\d+)s\\]`).exec(help)[1]));
  assert.ok(Number(value("TimeoutStopSec")) >= drain[0] + drain[1] + 10, `${drain}`);
  await redis();
  const [program, ...words] = value("ExecStart").split(" ");
  assert.equal(program, "/usr/local/bin/fantail");
  const page = readFileSync(`${ROOT}docs/operating.md`, "utf8");
  const line = /`(FANTAIL_REDIS=\S+)`/.exec(page)[1];
  network.begin(`env ${line} fantail ${words.join(" ")}`);
  await network.answers(READY);
  // Where there is a systemd, it knows all of these words.
  writeFileSync(`${network.folder}/fantail.service`, unit.replace(program, `${network.folder}/fantail`));
  const check = "systemd-analyze verify ./fantail.service 2>&1 || true";
  const found = await network.type(`command -v systemd-analyze >/dev/null || exit 0; ${check}`);
  assert.doesNotMatch(found, /fantail\.service:\d+/);
});

test("docs/troubleshooting.md: where the event is", async () => {
  await redis();
  network.begin("fantail --redis redis://127.0.0.1:6379");
  await network.answers(READY);
  const page = readFileSync(`${ROOT}docs/troubleshooting.md`, "utf8");
  const said = (command) => {
    assert.ok(page.includes(`\`${command}\``), command);
    return network.type(command);
  };
  await network.type("redis-cli XADD sse:orders '*' data 1");
  assert.match(await said("redis-cli XINFO STREAM sse:orders"), /last-generated-id/);
  assert.match(await said("redis-cli TYPE sse:orders"), /^stream$/m);
  const command = "curl -N http://127.0.0.1:8080/events/orders";
  assert.ok(page.includes(`\`${command}\` must show \`retry:\` and \`id:\` at once`));
  const stream = network.begin(command);
  await network.says(stream, "retry: ");
  await network.says(stream, "id: ");
});

test("docs/troubleshooting.md: messages are literal", async () => {
  const page = readFileSync(`${ROOT}docs/troubleshooting.md`, "utf8").replaceAll(/\s+/g, " ");
  const listed = (message) => assert.ok(page.includes(`\`${message}`), message);
  const says = async (command, message) => {
    assert.ok((await network.type(`${command} 2>&1 || true`)).replaceAll(/\s+/g, " ").includes(message), `${command}: ${message}`);
    listed(message);
  };
  const node = network.begin("fantail");
  network.begin("redis-server --port 6379 --save '' --requirepass secret");
  await network.answers(READY);
  await says("fantail", "fantail: --admin-listen 127.0.0.1:9090: Address already in use (os error 98)");
  const admin = "http://127.0.0.1:9090";
  await says(`curl -s -H 'Host: console.example.org' ${admin}/`,
    "this listener does not answer under this name, since a web page could have made it lead here (DNS rebinding)");
  await says(`curl -s -X POST -H 'X-Fantail-Action: 1' '${admin}/api/publish?channel=demo' -d x`,
    "actions are off on this node: --admin-actions allows them");
  await until("Redis answers", () => network.type("redis-cli ping").then((said) => said.includes("NOAUTH"), () => false));
  const check = "fantail check --listen 127.0.0.1:8090 --admin-listen 127.0.0.1:9099 --redis";
  await says(`${check} redis://:wrong@127.0.0.1:6379`, "WRONGPASS invalid username-password pair or user is disabled");
  await says(`${check} redis://127.0.0.1:6379`, "NOAUTH HELLO must be called with the client already authenticated");
  const subscriber = network.begin("curl -sSN http://127.0.0.1:8080/events/demo");
  await network.says(subscriber, "id: ");
  await network.end(node);
  await network.says(subscriber, "(18) transfer closed");
  listed("(18) transfer closed");
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
