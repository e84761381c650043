import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./cluster.js";
import { Example } from "./example.js";

const example = Example.of("progress");

const value = (page) => page.$eval("progress", (bar) => bar.value);
const reaches = (page, least) => until(`${least} %`, async () => (await value(page)) >= least);
const state = (page, text) =>
  page.waitForFunction((text) => document.getElementById("state").textContent === text, text);

async function begin() {
  const page = await example.page();
  await page.click("button");
  await reaches(page, 5);
  return page;
}

test("the bar survives a node's death, and comes to its end", async () => {
  const page = await begin();
  const port = await example.cluster.kill();
  await state(page, "connects again…");
  const before = await value(page);
  assert.ok(before < 90, `${before} % when the node died`);
  await reaches(page, before + 1);
  await example.picture(page);
  await state(page, "done: 6000 rows");
  assert.equal(await value(page), 100);
  assert.ok(page.streams >= 2);
  await example.cluster.begin(port);
});

test("a reload shows at once how far the job is", async () => {
  const page = await begin();
  await reaches(page, 10);
  const { hash } = new URL(page.url());
  await page.reload();
  await reaches(page, 10);
  await state(page, "done: 6000 rows");
  const entries = await example.cluster.entries(hash.slice(1));
  const percent = Array.from({ length: 100 }, (_, i) => String(i + 1));
  assert.deepEqual(entries.map((entry) => entry.data), [...percent, "6000 rows"]);
  // Who comes when all is over sees the end, and the stream is closed.
  const late = await example.page(`/${hash}`);
  await state(late, "done: 6000 rows");
});
