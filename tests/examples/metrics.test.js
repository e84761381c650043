import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./cluster.js";
import { Example } from "./example.js";

const example = Example.of("metrics");

const points = (page) => page.$$eval("canvas", (canvases) => canvases.map((canvas) => canvas.points));
const grow = (page, least) => until(`${least} points`, async () => {
  const all = await points(page);
  return all.length === 12 && all.every((chart) => chart.length >= least);
});

test("all charts go on after a node's death, on one connection, with no point lost or twice", async () => {
  const page = await example.page();
  await grow(page, 3);
  assert.equal(page.streams, 1);
  const port = await example.cluster.kill();
  const [{ length }] = await points(page);
  await grow(page, length + 5);
  assert.equal(page.streams, 2);
  const drawn = await page.$$eval("canvas", (canvases) => canvases.map((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((byte) => byte !== 0);
  }));
  assert.deepEqual(drawn, Array(12).fill(true));
  await example.picture(page);
  const figures = await (await fetch(`${example.app}/channels`)).json();
  const shown = await points(page);
  for (const [i, { channel }] of figures.entries()) {
    const entries = (await example.cluster.entries(channel)).map((entry) => Number(entry.data));
    assert.deepEqual(shown[i], entries.slice(0, shown[i].length), channel);
  }
  await example.cluster.begin(port);
});

test("a chart begins with what there was", async () => {
  const first = await (await fetch(`${example.app}/channels`)).json();
  const before = await example.cluster.cli("XLEN", `sse:${first[0].channel}`);
  const page = await example.page();
  await grow(page, Math.min(before, 120));
});
