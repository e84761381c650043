import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./cluster.js";
import { Example } from "./example.js";

const example = Example.of("tokens");

const read = (page) => page.textContent("#answer");
const length = (page, least) => until(`${least} characters`, async () => (await read(page)).length >= least);
const done = (page) => page.waitForFunction(() => document.getElementById("state").textContent === "done");

async function ask(page, prompt) {
  await page.fill("[name=prompt]", prompt);
  await page.click("button");
  await length(page, 20);
  return (await page.evaluate(() => location.hash)).slice(1);
}

// What the model wrote, as Redis has it.
async function written(channel) {
  const entries = await example.cluster.entries(channel);
  assert.equal(entries.at(-1).final, "1");
  return entries.slice(0, -1).map((entry) => entry.data).join("");
}

test("a reload in the middle and a second tab get every token once", async () => {
  const page = await example.page();
  const channel = await ask(page, "Why <b>streams</b>?");
  await length(page, 100);
  await page.reload();
  const second = await example.page(`/#${channel}`);
  await length(page, 150);
  assert.equal(await page.textContent("#state"), "writes…", "the reload was to be in the middle");
  await example.picture(page);
  await Promise.all([done(page), done(second)]);
  const text = await written(channel);
  assert.match(text, /\n {2}1\. the log/, "spaces and line breaks are tokens, too");
  assert.equal(await read(page), text);
  assert.equal(await read(second), text);
});

test("a node that is killed in the middle costs no token", async () => {
  const page = await example.page();
  const channel = await ask(page, "And without the node?");
  await length(page, 80);
  const streams = page.streams;
  const port = await example.cluster.kill();
  await done(page);
  assert.equal(await read(page), await written(channel));
  assert.ok(page.streams > streams, "the page had to come back");
  await example.cluster.begin(port);
});

test("an answer that is finished is read again from its beginning, and asked for no more", async () => {
  const page = await example.page();
  const channel = await ask(page, "Once more");
  await done(page);
  const late = await example.page(`/#${channel}`);
  await done(late);
  assert.equal(await read(late), await written(channel));
  assert.equal(late.streams, 1);
});
