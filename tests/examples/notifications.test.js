import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { until } from "./cluster.js";
import { Example } from "./example.js";
import { block } from "./snippet.js";

const run = promisify(execFile);
const folder = mkdtempSync("/tmp/fantail-notifications-");
const secret = `${folder}/secret.txt`;
writeFileSync(secret, `${randomBytes(64).toString("hex")}\n`);
after(() => rmSync(folder, { recursive: true }));
// Tokens of the pages live for 40 s, and are renewed 20 s before their end.
const token = ["--auth", "jwt", "--jwt-key", secret, "--token-cookie", "session", "--jwt-leeway", "0s"];
const example = Example.of("notifications", {
  flags: [...token, "--token-expiring", "20s", "--publish", "on"],
  env: { TOKEN_SECONDS: "40", JWT_KEY: secret },
});

const unread = async (page) => Number(await page.getAttribute("#unread", "data-count"));
const shows = (page, count) => until(`${count} unread`, async () => (await unread(page)) === count);
const notify = (user, text) => example.post("/notify", { user, text });
// As of the records that nodes write of themselves every two seconds.
const reaches = (user, count) =>
  until(`${count} reached`, async () => (await notify(user, "ping")).reached === count);

async function signIn(user) {
  const page = await example.page();
  await page.fill("#login [name=user]", user);
  await page.click("#login button");
  await page.waitForSelector("main:not([hidden])");
  return page;
}

test("who notifies is told how many were reached", async () => {
  assert.equal((await notify("nobody", "anybody here?")).reached, 0);
  const typed = block("examples/notifications/README.md", "sh", "/notify");
  const here = typed.replace("curl", "curl -sf").replace("127.0.0.1", example.cluster.address);
  const { stdout } = await run("bash", ["-c", here]);
  assert.equal(JSON.parse(stdout).reached, 0);
  const page = await signIn("ann");
  await reaches("ann", 1);
  await example.page("/", page.context());
  await reaches("ann", 2);
  await page.fill("#notify [name=user]", "nobody");
  await page.fill("#notify [name=text]", "hello");
  await page.click("#notify button");
  await page.waitForFunction(() => document.getElementById("reached").textContent === "0 reached");
});

test("the unread count is kept across reloads, a node's death and devices", async () => {
  const page = await signIn("ben");
  await notify("ben", "one");
  await shows(page, 1);
  await page.reload();
  await shows(page, 1);
  const port = await example.cluster.kill();
  await notify("ben", "<i>two</i>");
  await notify("ben", "three");
  await shows(page, 3);
  await example.cluster.begin(port);
  const phone = await signIn("ben");
  await shows(phone, 3);
  await example.picture(phone);
  const texts = await phone.$$eval("li", (items) => items.map((item) => item.textContent));
  assert.deepEqual(texts, ["three", "<i>two</i>", "one"]);
  await phone.click("#read");
  await Promise.all([shows(phone, 0), shows(page, 0)]);
  await notify("ben", "four");
  await Promise.all([shows(phone, 1), shows(page, 1)]);
  await page.reload();
  await shows(page, 1);
});

test("nobody gets what is another's", async () => {
  const page = await signIn("cid");
  await notify("dora", "for Dora alone");
  const status = await page.evaluate(async (node) => {
    const of = async (path) => (await fetch(node + path, { credentials: "include" })).status;
    return [await of("/events/user.dora"), await of("/history/user.dora"), await of("/history/user.cid")];
  }, example.cluster.node);
  assert.deepEqual(status, [403, 403, 200]);
  assert.equal(await unread(page), 0);
});

test("a page outlives its token", async () => {
  const page = await signIn("eve");
  const first = await page.context().cookies();
  await until("a stream that begins after the first token's end", async () => page.streams > 1, 180);
  const now = (await page.context().cookies())[0];
  assert.notEqual(now.value, first[0].value);
  await notify("eve", "still here?");
  await shows(page, 1);
});
