import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./cluster.js";
import { Example } from "./example.js";

const example = Example.of("tokens");

const read = (page) => page.locator(".assistant").allTextContents().then((all) => all.at(-1) ?? "");
const length = (page, least) => until(`${least} characters`, async () => (await read(page)).length >= least);
const state = (page) => page.textContent("[role=status]");
const done = (page) => page.waitForFunction(() => document.querySelector("[role=status]")?.textContent === "done");

// The chat's id.
async function ask(page, prompt) {
  await page.fill("[name=prompt]", prompt);
  await page.click("button");
  await length(page, 20);
  return (await page.evaluate(() => location.hash)).slice(1);
}

// The chunks of a chat's last answer, as Redis has them.
async function chunks(chat) {
  const { channel } = JSON.parse(await example.cluster.cli("GET", `chat:${chat}`));
  const entries = await example.cluster.entries(channel);
  assert.equal(entries.at(-1).final, "1");
  return entries.map((entry) => JSON.parse(entry.data)).filter((chunk) => chunk.type === "text-delta");
}
const written = async (chat) => (await chunks(chat)).map((chunk) => chunk.delta).join("");

test("a reload in the middle and a second tab get every token once", async () => {
  const page = await example.page();
  const chat = await ask(page, "Why <b>streams</b>?");
  await length(page, 100);
  await page.reload();
  const second = await example.page(`/#${chat}`);
  await length(page, 150);
  assert.equal(await state(page), "writes…", "the reload was to be in the middle");
  await example.picture(page);
  await Promise.all([done(page), done(second)]);
  const text = await written(chat);
  assert.match(text, /\n {2}1\. the log/, "spaces and line breaks are tokens, too");
  assert.equal(await read(page), text);
  assert.equal(await read(second), text);
});

test("a node that is killed in the middle costs no token", async () => {
  const page = await example.page();
  const chat = await ask(page, "And without the node?");
  await length(page, 80);
  const streams = page.streams;
  const port = await example.cluster.kill();
  await done(page);
  assert.equal(await read(page), await written(chat));
  assert.ok(page.streams > streams, "the page had to come back");
  await example.cluster.begin(port);
});

test("an answer that is finished is read again from its beginning, and asked for no more", async () => {
  const page = await example.page();
  const chat = await ask(page, "Once more");
  await done(page);
  const late = await example.page(`/#${chat}`);
  await done(late);
  assert.equal(await read(late), await written(chat));
  assert.equal(late.streams, 1);
});

test("a second question has an answer of its own", async () => {
  const page = await example.page();
  const chat = await ask(page, "The first");
  await done(page);
  const first = await read(page);
  await page.fill("[name=prompt]", "The second");
  await page.click("button");
  await until("the second answer", async () => (await page.locator(".assistant").count()) === 2);
  await done(page);
  assert.equal(await read(page), await written(chat));
  await page.reload();
  await until("both are there again", async () => (await page.locator(".assistant").count()) === 2);
  await done(page);
  assert.deepEqual(await page.locator(".assistant").allTextContents(), [first, await written(chat)]);
});

test("with COALESCE_MS fewer chunks carry the text", async () => {
  const page = await example.page();
  const many = (await chunks(await ask(page, "How many?").then((chat) => done(page).then(() => chat)))).length;
  await example.end();
  example.env = { COALESCE_MS: "400" };
  await example.begin();
  const other = await example.page();
  const chat = await ask(other, "How many?");
  await done(other);
  const few = await chunks(chat);
  assert.ok(few.length < many / 4, `${few.length} of ${many}`);
  assert.match(await read(other), /^You asked: “How many\?”\.[^]*syllable that follows\.$/);
});
