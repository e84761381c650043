import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { until } from "./cluster.js";
import { Example } from "./example.js";
import { block } from "./snippet.js";

const example = Example.of("frontends");

const run = promisify(execFile);
const folder = new URL("../../examples/frontends/", import.meta.url).pathname;
const lines = (page, framework) => page.$$eval(`#${framework} .line`, (all) => all.map((line) => line.textContent));
const greet = (data) => example.cluster.cli("XADD", "sse:greetings", "*", "data", data);
const shows = async (page, framework, expected) => {
  await until(`${framework}: ${expected}`, async () => (await lines(page, framework)).length >= expected.length);
  assert.deepEqual(await lines(page, framework), expected, framework);
};

test("React, Vue and Angular show a channel beyond a node's death, and leave it", async () => {
  const { address, port: redis } = example.cluster;
  const typed = block("examples/frontends/README.md", "sh", "redis-cli XADD");
  await run("bash", ["-c", typed.replace("redis-cli", `redis-cli -h ${address} -p ${redis}`)]);
  const page = await example.page();
  for (const framework of ["react", "vue", "angular"]) await shows(page, framework, ["hello"]);
  const port = await example.cluster.kill();
  await greet("<b>again</b>");
  for (const framework of ["react", "vue", "angular"]) await shows(page, framework, ["hello", "<b>again</b>"]);
  await example.cluster.begin(port);
  await example.picture(page);
  await page.click("#react button");
  await greet("and on");
  for (const framework of ["vue", "angular"]) await shows(page, framework, ["hello", "<b>again</b>", "and on"]);
  assert.deepEqual(await lines(page, "react"), ["hello", "<b>again</b>"]);
});

test("their own tests pass", async () => {
  const env = { ...process.env, NO_COLOR: "1" };
  const typed = block("examples/frontends/README.md", "sh", "npm test");
  const { stdout } = await run("bash", ["-c", typed], { cwd: folder, env });
  assert.match(stdout, /Tests +1\d passed/, stdout);
});
