// Light, dark, narrow; keyboard; accessibility by axe.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { launch, open, picture, shows } from "./browser.mjs";
import { eventually, Node, Place, Redis } from "./servers.mjs";

const place = new Place();
const axe = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");
let browser, redis, node;

before(async () => {
  browser = await launch();
  redis = await Redis.start(place);
  node = await Node.start(place, redis, "--admin-actions");
  const other = await Node.start(place, redis);
  for (const channels of ["orders,lobby", "orders", "user.42", "news"]) await node.subscribe(channels);
  await other.subscribe("orders");
  redis.add("orders", { event: "created", data: JSON.stringify({ id: 1, text: "a rather long text ".repeat(20) }) });
});
after(async () => {
  await browser?.close();
  await place.close();
});

/** What axe finds, by every rule of WCAG 2.2 A and AA and its best practices. It is put in by the debugger, past the CSP. */
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations", "incomplete"] }));
  const told = (all) => all.map((each) => `${each.id}: ${each.nodes.map((n) => `${n.html} ${n.failureSummary}`).join("; ")}`);
  return [...told(found.violations), ...told(found.incomplete.filter((each) => each.id === "color-contrast"))];
}

async function overview(options) {
  const page = await open(browser, node.url, options);
  await shows(page, "#summary", /2 nodes/);
  await shows(page, "#channels tr", "orders");
  return page;
}
async function channel(options) {
  redis.ask("DEL", "sse:seen");
  redis.add("seen", { event: "created", data: "{\"id\":1}" });
  const page = await open(browser, `${node.url}#/channel/seen`, options);
  await shows(page, "#viewer", "live");
  await page.locator("#publish").waitFor();
  redis.ask("DEL", "sse:seen");
  await shows(page, "#events li.gap", "missing");
  redis.add("seen", { event: "updated", data: "x" });
  await shows(page, "#events li", "updated");
  return page;
}
async function subscribers(options) {
  const page = await open(browser, `${node.url}#/subscribers`, options);
  await shows(page, "#found tr", "orders, lobby");
  return page;
}
async function subscriber(options) {
  const page = await subscribers(options);
  await page.getByRole("row", { name: "orders, lobby" }).getByRole("link").click();
  await shows(page, "#seen-channels tr", "lobby");
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  return page;
}

for (const colorScheme of ["light", "dark"]) {
  for (const [name, made] of Object.entries({ overview, channel, subscribers, subscriber })) {
    test(`axe finds nothing in the ${name} page when ${colorScheme}`, async () => {
      const page = await made({ colorScheme });
      await picture(page, `${name}-${colorScheme}`);
      assert.deepEqual(await violations(page), []);
      const dark = await page.evaluate(() => {
        const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
        return r + g + b < 3 * 128;
      });
      assert.equal(dark, colorScheme === "dark");
    });
  }
}

test("signing in is a form without a script", async () => {
  const file = join(place.folder, "token");
  writeFileSync(file, "a-token-of-the-operators\n");
  const guarded = await Node.start(place, null, "--admin-token-file", file);
  for (const colorScheme of ["light", "dark"]) {
    const page = await open(browser, guarded.url, { colorScheme, javaScriptEnabled: true, viewport: { width: 390, height: 844 } });
    assert.equal(new URL(page.url()).pathname, "/sign-in");
    await picture(page, `sign-in-${colorScheme}`);
    assert.deepEqual(await violations(page), []);
  }
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(guarded.url);
  await page.getByLabel("Token of the operators").fill("not-one-of-the-tokens");
  await page.keyboard.press("Enter");
  await page.getByText("That is not a token of the file.").waitFor();
  await page.getByLabel("Token of the operators").fill("a-token-of-the-operators");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(guarded.url);
  assert.ok((await page.content()).includes("/api/nodes"), "the console");
  // With its script, by the same cookie.
  const state = await context.storageState();
  const seen = await open(browser, guarded.url, { storageState: state });
  await shows(seen, "#summary", /nodes?,/);
  await seen.goto(guarded.url + "sign-in");
  await seen.getByRole("button", { name: "Sign out" }).click();
  await seen.waitForURL(/sign-in$/);
  await seen.goto(guarded.url);
  assert.equal(new URL(seen.url()).pathname, "/sign-in");
  assert.deepEqual(seen.noted, []);
});

test("on a telephone nothing is wider than the screen", async () => {
  for (const [name, made] of Object.entries({ overview, channel, subscribers, subscriber })) {
    const page = await made({ viewport: { width: 360, height: 740 } });
    await picture(page, `${name}-narrow`);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), name);
  }
});

test("the keyboard reaches everything and focus is seen and stays", async () => {
  const page = await overview();
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "To the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  const reached = [];
  for (let n = 0; n < 30 && reached.at(-1) !== "orders"; n += 1) {
    await page.keyboard.press("Tab");
    reached.push(await focused());
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", `no focus ring: ${reached.at(-1)}`);
  }
  for (const each of ["drain", "search", "open", "Open", "by-subscribers", "by-rate", "orders"]) assert.ok(reached.includes(each), `${each}: ${reached}`);
  // Rows are refreshed twice in the meantime.
  const updates = await page.evaluate(() => new Promise((done) => {
    let seen = 0;
    updates.addEventListener("nodes", () => { seen += 1; if (seen === 2) done(seen); });
  }));
  assert.deepEqual([updates, await focused()], [2, "orders"]);
  await page.keyboard.press("Enter");
  await shows(page, "#channel-name", "orders");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  const names = [];
  for (let n = 0; n < 20 && !names.includes("p-data"); n += 1) {
    await page.keyboard.press("Tab");
    names.push(await focused());
  }
  for (const each of ["types", "pause", "curl", "events", "p-type", "p-data"]) assert.ok(names.includes(each), `${each}: ${names}`);
  await page.locator("#pause").focus();
  await page.keyboard.press("Space");
  assert.equal(await page.locator("#pause").getAttribute("aria-pressed"), "true");
});

test("a subscriber is reached by the keyboard, and focus stays", async () => {
  const page = await subscribers();
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  assert.equal(await focused(), "main");
  const reached = [];
  for (let n = 0; n < 20 && reached.at(-1) !== "127.0.0.1"; n += 1) {
    await page.keyboard.press("Tab");
    reached.push(await focused());
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none", reached.at(-1));
  }
  for (const each of ["s-channel", "s-address", "s-subject", "s-state", "Find", "127.0.0.1"]) assert.ok(reached.includes(each), `${each}: ${reached}`);
  // The rows are filled again meanwhile.
  const ages = () => page.locator("#found td.n:nth-child(4)").allTextContents();
  const before = (await ages()).join();
  await eventually("later ages", async () => (await ages()).join() !== before);
  assert.equal(await focused(), "127.0.0.1");
  await page.keyboard.press("Enter");
  await shows(page, "#seen", "connected for");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
});

test("a screen reader is told what changes", async () => {
  const page = await channel();
  const roles = await page.locator("[role=status]").evaluateAll((all) => all.map((each) => each.id));
  assert.deepEqual(roles.sort(), ["end-said", "found-note", "p-said", "seen-note", "state", "viewer"]);
  await eventually("headings in order", async () =>
    (await page.getByRole("heading").evaluateAll((all) => all.map((each) => each.tagName).join())) === "H1,H2,H2");
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
});
