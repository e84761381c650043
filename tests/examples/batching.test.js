import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./cluster.js";
import { Example } from "./example.js";

const example = Example.of("batching");

const number = async (page, id) => Number(await page.textContent(`#${id}`));
const grow = (page, least) => until(`${least} measurements`, async () => (await number(page, "measurements")) >= least);

test("thousands of measurements arrive in a few events, none missing, over a node's death", async () => {
  const page = await example.page();
  await grow(page, 2000);
  const port = await example.cluster.kill();
  await until("the page has come back", () => page.streams >= 2);
  await grow(page, (await number(page, "measurements")) + 3000);
  await example.picture(page);
  const [measurements, events] = await Promise.all(["measurements", "events"].map((id) => number(page, id)));
  assert.ok(measurements / events > 20, `${measurements} in ${events}`);
  assert.equal(await page.getAttribute("body", "data-missing"), "0");
  await example.cluster.begin(port);
});
