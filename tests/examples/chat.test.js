import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./cluster.js";
import { Example } from "./example.js";

const example = Example.of("chat");

const lines = (page) => page.$$eval("#messages li", (items) => items.map((item) => item.textContent));
const sees = (page, text) => until(text, async () => (await lines(page)).includes(text));

async function join(name, room) {
  const page = await example.page(`/?room=${room}`);
  await page.fill("[name=name]", name);
  await page.click("#join button");
  await sees(page, `${name} joined`);
  return page;
}

async function say(page, text) {
  await page.fill("[name=text]", text);
  await page.press("[name=text]", "Enter");
  await page.waitForFunction(() => document.querySelector("[name=text]").value === "");
}

// The room as Redis has it, as the page would show it.
async function said(room) {
  return (await example.cluster.entries(`chat.${room}`)).map(({ event, data }) => {
    const { name, text } = JSON.parse(data);
    return event === "joined" ? `${name} joined` : `${name}: ${text}`;
  });
}

test("two browsers see each other, and what was said before", async () => {
  const ann = await join("Ann", "hall");
  await say(ann, "first");
  const ben = await join("Ben", "hall");
  assert.deepEqual(await lines(ben), ["Ann joined", "Ann: first", "Ben joined"]);
  await sees(ann, "Ben joined");
  await say(ben, "<img src=x onerror=alert(1)>");
  await say(ann, "grüß dich 🙂");
  await sees(ben, "Ann: grüß dich 🙂");
  await sees(ann, "Ben: <img src=x onerror=alert(1)>");
  await example.picture(ann);
  assert.deepEqual(await lines(ann), await said("hall"));
  assert.deepEqual(await lines(ben), await said("hall"));
  assert.equal(await ann.$("#messages img"), null);
});

test("what is said while a node dies comes to all, once and in order", async () => {
  const pages = [await join("Ann", "storm"), await join("Ben", "storm"), await join("Cid", "storm")];
  const port = await example.cluster.kill();
  for (let i = 0; i < 5; i++) await say(pages[i % 3], `message ${i}`);
  for (const page of pages) {
    await sees(page, "Ben: message 4");
    assert.deepEqual(await lines(page), await said("storm"));
  }
  await example.cluster.begin(port);
});

test("older messages come page by page", async () => {
  for (let i = 0; i < 47; i++) await example.post("/rooms/attic/messages", { name: "Ann", text: `old ${i}` });
  const page = await join("Ben", "attic");
  assert.equal((await lines(page)).length, 21);
  for (const shown of [41, 48]) {
    await page.click("#older");
    await until(`${shown} lines`, async () => (await lines(page)).length === shown);
  }
  await page.waitForSelector("#older", { state: "hidden" });
  assert.deepEqual(await lines(page), await said("attic"));
});

test("what is no message is refused", async () => {
  for (const body of [{ name: "Ann" }, { name: "Ann", text: " " }, { name: 7, text: "x" }, undefined]) {
    await assert.rejects(example.post("/rooms/hall/messages", body), /400/);
  }
  await assert.rejects(example.post("/rooms/a~b/messages", { name: "Ann", text: "x" }), /400/);
});
