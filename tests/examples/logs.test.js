import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync } from "node:fs";
import { after, test } from "node:test";
import { until } from "./cluster.js";
import { Example } from "./example.js";

const folder = mkdtempSync("/tmp/fantail-logs-");
const file = `${folder}/app.log`;
after(() => rmSync(folder, { recursive: true }));
// Each line has its number, and half of them a word to search for.
const written = [];
function write(count) {
  const from = written.length;
  for (let i = from; i < from + count; i++) written.push(`line ${i} ${i % 2 ? "warn: <b>slow</b>" : "info: fine"}`);
  appendFileSync(file, written.slice(from).join("\n") + "\n");
}
write(250);
const example = Example.of("logs", { change: (command) => command.replace("/var/log/dpkg.log", file) });

const shown = (page) => page.$$eval("#lines li:not(.other)", (items) => items.map((item) => item.textContent));
const all = (page) => page.$$eval("#lines li", (items) => items.map((item) => item.textContent));
const sees = (page, text) => until(text, async () => (await all(page)).includes(text));

test("the last 100 lines, then live, through rotation, truncation and a node's death", async () => {
  await until("the file is in the channel", async () => (await example.cluster.cli("XLEN", "sse:logs")) === 250);
  const page = await example.page();
  await sees(page, written.at(-1));
  assert.deepEqual(await all(page), written.slice(-100));
  write(3);
  await sees(page, written.at(-1));
  renameSync(file, `${file}.1`);
  // Long, since a truncated file that has grown beyond its old length again looks as if it had not been truncated.
  write(2000);
  await sees(page, written.at(-1));
  const port = await example.cluster.kill();
  truncateSync(file);
  write(5);
  await sees(page, written.at(-1));
  await example.picture(page);
  assert.deepEqual(await all(page), written.slice(150));
  await example.cluster.begin(port);
});

test("search hides other lines, pause holds new ones back", async () => {
  const page = await example.page();
  await sees(page, written.at(-1));
  await page.fill("#search", "WARN");
  const found = written.slice(-100).filter((line) => line.includes("warn"));
  assert.deepEqual(await shown(page), found);
  await page.click("#pause");
  write(10);
  await page.waitForFunction(() => document.getElementById("state").textContent === "10 new");
  assert.deepEqual(await shown(page), found);
  await page.click("#pause");
  assert.deepEqual(await shown(page), [...found, ...written.slice(-10).filter((line) => line.includes("warn"))]);
  await page.fill("#search", "");
  assert.deepEqual(await all(page), written.slice(-110));
});

test("a tail that is started again goes on where it was", async () => {
  const page = await example.page();
  await sees(page, written.at(-1));
  await example.end();
  write(5);
  await example.begin();
  await sees(page, written.at(-1));
  assert.deepEqual((await example.cluster.entries("logs")).map((entry) => entry.data), written);
});
