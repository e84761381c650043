// What docs/javascript.md shows works, and the package is what it says there.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Server } from "./server.js";
import { World } from "./world.js";

const at = (path) => new URL(path, import.meta.url);
const read = (path) => readFileSync(at(path), "utf8");
const blocks = [...read("../../../docs/javascript.md").matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code);
const having = (text) => blocks.find((code) => code.includes(text));

/** Runs a block in a page; what it shows and reloads. */
function run(code) {
  const world = new World();
  const server = new Server(world);
  const shown = [];
  const tab = world.tab();
  const page = { EventStream: tab.EventStream, show: (what) => shown.push(what), reload: (what) => shown.push(`reload ${what}`) };
  page.fetch = async (url) => ({ text: async () => url });
  const body = `return (async () => { ${code.replace(/^import .*/m, "")} })()`;
  const done = new Function(...Object.keys(page), body)(...Object.values(page));
  return { world, server, shown, done };
}
const tell = (server, text) => {
  for (const stream of server.streams) stream.say(text);
};

test("the first block shows events, gaps and the end", async () => {
  const { world, server, shown } = run(having('new EventStream("https:'));
  await world.run(100);
  const [{ url, token }] = server.asked;
  assert.deepEqual([new URL(url).searchParams.get("channels"), token], ["orders,user.42", "/token?why=first"]);
  server.publish("orders");
  await world.run(100);
  tell(server, 'event: created\ndata: {"id":1}\n\nevent: fantail.gap\ndata: {"channel":"orders","reason":"trimmed"}\n\n');
  await world.run(100);
  server.answer = () => ({ status: 204 });
  server.cut();
  await world.run(5_000);
  assert.deepEqual(shown, ['{"channel":"orders","n":1}', { id: 1 }, "reload orders", "finished"]);
});

test("the loop shows events and ends", async () => {
  const { world, server, shown, done } = run(having("for await"));
  await world.run(100);
  server.publish("answer.7");
  await world.run(100);
  server.answer = () => ({ status: 204 });
  server.cut();
  await world.run(5_000);
  await done;
  assert.equal(shown.length, 1);
});

test("the file is 6 KB packed, needs nothing, and is in the package with its types", () => {
  const text = read("../fantail.js");
  assert.ok(gzipSync(text).length <= 6 * 1024, String(gzipSync(text).length));
  assert.doesNotMatch(text, /\bimport\b|\brequire\b/);
  const { exports, files } = JSON.parse(read("../package.json"));
  for (const file of [...Object.values(exports["."]), ...files]) assert.ok(existsSync(at(`../${file}`)), file);
});
