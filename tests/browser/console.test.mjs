// The console as operators use it: the cluster, channels, the viewer, what may be changed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { launch, open, picture, shows } from "./browser.mjs";
import { eventually, LIMIT, Node, Place, Redis } from "./servers.mjs";

const place = new Place();
let browser, redis, first, second;

before(async () => {
  browser = await launch();
  redis = await Redis.start(place);
  [first, second] = await Promise.all([Node.start(place, redis), Node.start(place, redis)]);
  await first.subscribe("orders,lobby");
  await second.subscribe("orders");
});
after(async () => {
  await browser?.close();
  await place.close();
});

const texts = (page, selector) => page.locator(selector).allTextContents();
/** Data of the viewer's visible events, oldest first. */
const viewed = async (page) => (await texts(page, "#events li:visible pre")).reverse();
const channelPage = async (node, channel, options) => {
  const page = await open(browser, `${node.url}#/channel/${encodeURIComponent(channel)}`, options);
  await shows(page, "#viewer", "live");
  return page;
};

test("the whole cluster is shown and channels are found", async () => {
  const page = await open(browser, first.url);
  await shows(page, "#summary", /2 nodes, 2 of/);
  assert.equal(await page.locator("#nodes tr").count(), 2);
  assert.equal((await texts(page, "#nodes th")).filter((name) => name.includes("(this one)")).length, 1);
  await shows(page, "#channels tr", /orders2/);
  const tiles = await texts(page, "#tiles li");
  assert.ok(tiles.some((tile) => /connections/.test(tile)) && tiles.length === 7, tiles.join());
  await eventually("sparklines", async () => (await page.locator("#tiles polyline").first().getAttribute("points"))?.includes(" "));

  await page.getByLabel("Search").fill("LOB");
  await eventually("what was searched alone", async () => (await texts(page, "#channels th")).join() === "lobby");
  await page.getByLabel("Search").fill("nothing-like-it");
  await eventually("nothing", async () => (await page.locator("#channels tr").count()) === 0);
  await page.getByLabel("Search").fill("");
  await shows(page, "#channels th", "orders");
  await page.getByRole("link", { name: "orders" }).click();
  await shows(page, "#channel-name", "orders");
  assert.equal(await page.title(), "orders – Fantail");
  await shows(page, "#facts", "2 (approximate)");
  await page.goBack();
  await page.getByRole("heading", { name: "Nodes" }).waitFor();
  assert.deepEqual(page.noted, []);
});

test("channels are sorted by subscribers or by rate", async () => {
  const ends = await Promise.all([1, 2, 3].map(() => first.subscribe("crowded")));
  ends.push(await second.subscribe("fast"));
  const publisher = setInterval(() => { for (let n = 0; n < 5; n += 1) redis.add("fast", { data: "x" }); }, 500);
  const page = await open(browser, first.url);
  const [bySubscribers, byRate] = ["subscribers", "events /s"].map((name) => page.getByRole("button", { name, exact: true }));
  const sorted = () => page.locator("th[aria-sort=descending]").allTextContents();
  const head = async () => (await texts(page, "#channels th"))[0];
  try {
    await eventually("the crowded first", async () => (await head()) === "crowded");
    assert.deepEqual(await sorted(), ["subscribers"]);
    await byRate.focus();
    await page.keyboard.press("Enter");
    assert.deepEqual(await sorted(), ["events /s"]);
    await eventually("the fast first", async () => (await head()) === "fast");
    // Updates and a search leave it so.
    await page.evaluate(() => new Promise((done) => updates.addEventListener("nodes", done, { once: true })));
    await eventually("the fast first, again", async () => (await head()) === "fast");
    await page.getByLabel("Search").fill("D"); // crowded, orders
    await eventually("those found alone", async () => (await texts(page, "#channels th")).sort().join() === "crowded,orders");
    await page.getByLabel("Search").fill("A");
    await eventually("by rate", async () => (await head()) === "fast");
    await page.getByLabel("Search").fill("");
    await bySubscribers.focus();
    await page.keyboard.press("Space");
    await eventually("the crowded first, again", async () => (await head()) === "crowded");
    assert.deepEqual(await sorted(), ["subscribers"]);
    assert.deepEqual(page.noted, []);
  } finally {
    clearInterval(publisher);
    ends.forEach((end) => end());
  }
});

test("sparklines begin with what nodes know of the last minutes", async () => {
  const records = async () => (await (await fetch(first.url + "api/nodes")).json()).nodes;
  // Two points of both nodes: twenty seconds, which the page shows as ten beats.
  await eventually("a past", async () => (await records()).filter((node) => node.past.connections.length >= 2).length >= 2);
  const page = await open(browser, first.url);
  // The first update alone, so that nothing else can have filled them.
  const [tiles, rows] = await page.evaluate(() => new Promise((done) => {
    const beats = (line) => (line.getAttribute("points") ?? "").split(" ").length;
    const all = (selector) => [...document.querySelectorAll(selector)].map(beats);
    const look = () => done([all("#tiles polyline"), all("#nodes polyline")]);
    if (nodes.length > 0) look(); else updates.addEventListener("nodes", look, { once: true });
  }));
  assert.equal(tiles.length, 7);
  assert.ok(tiles.every((beats) => beats > 10 && beats <= 150), `of the cluster: ${tiles}`);
  assert.ok(rows.length % 4 === 0 && rows.filter((beats) => beats > 10).length >= 8, `of nodes: ${rows}`);
  await picture(page, "sparklines");
  assert.deepEqual(page.noted, []);
});

test("an hour's line begins with what nodes know of it", async () => {
  // A node of another machine, as the others read of it. It counts for ten seconds.
  const tell = () => redis.ask("HSET", "sse:~nodes", "elsewhere", JSON.stringify({
    name: "elsewhere", at_ms: Date.now(), state: "ok", connections: 7, hour: { connections: Array(30).fill(7000) },
  }));
  tell();
  const telling = setInterval(tell, 2_000);
  try {
    await eventually("it is known", async () => (await (await fetch(first.url + "api/nodes")).json()).nodes.some((n) => n.id === "elsewhere"));
    const page = await open(browser, first.url);
    const slider = page.getByRole("slider", { name: "Time" });
    await page.getByLabel("1 h").check();
    await slider.focus();
    await page.keyboard.press("Home");
    await shows(page, "#at", /^\d.*: 7,000$/);
    await picture(page, "hour");
    assert.deepEqual(page.noted, []);
  } finally {
    clearInterval(telling);
    redis.ask("HDEL", "sse:~nodes", "elsewhere");
  }
});

test("a line has axes, and says its values under the pointer and by keyboard", async () => {
  const page = await open(browser, first.url);
  await page.getByRole("figure", { name: "One number over time" }).waitFor();
  const slider = page.getByRole("slider", { name: "Time" });
  const labels = (axis) => texts(page, `#${axis} span`);
  assert.deepEqual(await page.locator("#line option").count(), 7);
  await eventually("an axis of values", async () => /^[125]0*,[\d.]+,0$/.test((await labels("high")).join()));
  assert.deepEqual(await labels("low"), ["5 min ago", "2.5 min ago", "now"]);
  await eventually("a line", async () => (await page.locator("#plot polyline").getAttribute("points"))?.includes(" "));
  await slider.hover();
  await shows(page, "#at", /^\d.*: \d$/);
  await picture(page, "line");
  await page.mouse.move(0, 0);
  await eventually("nothing is pointed at", async () => (await page.locator("#at").textContent()) === "");

  await slider.focus();
  await page.keyboard.press("Home");
  assert.equal(await slider.getAttribute("aria-valuenow"), "-300");
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  assert.equal(await slider.getAttribute("aria-valuenow"), "-2");
  assert.match(await slider.getAttribute("aria-valuetext"), /^connections, .*: 2$/);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#at").textContent(), "");

  await page.getByLabel("1 h").check();
  assert.deepEqual(await labels("low"), ["60 min ago", "30 min ago", "now"]);
  await page.getByLabel("Line").selectOption("out /s");
  await eventually("bytes", async () => (await labels("high")).some((label) => /KiB|MiB/.test(label)));
  assert.deepEqual(page.noted, []);
});

test("the viewer is an EventSource with filter and pause", async () => {
  for (let n = 0; n < 25; n += 1) redis.add("viewed", { data: `old ${n}` });
  const streams = [];
  const page = await open(browser, first.url);
  page.on("request", (request) => { if (request.url().includes("/live")) streams.push(request.resourceType()); });
  await page.getByLabel("Open a channel").fill("viewed");
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await shows(page, "#viewer", "live");
  assert.deepEqual(streams, ["eventsource"]);
  assert.deepEqual(await viewed(page), Array.from({ length: 20 }, (_, n) => `old ${n + 5}`), "the newest ones");
  redis.add("viewed", { event: "created", data: "a\nb" });
  redis.add("viewed", { event: "updated", data: "second" });
  await shows(page, "#events pre", "second");
  assert.deepEqual((await viewed(page)).slice(-2), ["a\nb", "second"]);

  await page.getByLabel("Only types").fill("created, other");
  assert.deepEqual(await viewed(page), ["a\nb"], "those that are shown, too");
  redis.add("viewed", { event: "updated", data: "hidden" });
  redis.add("viewed", { event: "other", data: "third" });
  await shows(page, "#events pre", "third");
  assert.deepEqual(await viewed(page), ["a\nb", "third"]);
  await page.getByLabel("Only types").fill("");
  assert.deepEqual((await viewed(page)).slice(-2), ["hidden", "third"]);

  const pause = page.getByRole("button", { name: "Pause" });
  await pause.click();
  for (let n = 0; n < 30; n += 1) redis.add("viewed", { data: `held ${n}` });
  await shows(page, "#viewer", "paused, 30 came since");
  assert.ok(!(await viewed(page)).some((data) => data.startsWith("held")));
  await page.getByRole("button", { name: "Go on" }).click();
  await shows(page, "#events pre", "held 29");
  assert.deepEqual((await viewed(page)).slice(-30), Array.from({ length: 30 }, (_, n) => `held ${n}`), "nothing lost");
  assert.deepEqual(page.noted, []);
});

test("the viewer keeps a bounded number of events", async () => {
  const page = await channelPage(first, "many");
  redis.ask("EVAL", "for n = 1, 700 do redis.call('XADD', 'sse:many', '*', 'data', n) end", "0");
  await shows(page, "#events li:first-child pre", "700");
  assert.deepEqual(await viewed(page), Array.from({ length: 200 }, (_, n) => `${n + 501}`));
});

test("a gap is shown", async () => {
  redis.add("gaps", { data: "1" });
  const page = await channelPage(first, "gaps");
  redis.ask("DEL", "sse:gaps");
  await shows(page, "#events li.gap", "missing");
  await page.getByLabel("Only types").fill("none");
  assert.equal(await page.locator("#events li.gap:visible").count(), 1, "whatever the filter");
  redis.add("gaps", { event: "fantail.gap", data: "pretended" });
  await page.getByLabel("Only types").fill("");
  await shows(page, "#events li", "_fantail.gap");
  assert.equal(await page.locator("#events li.gap").count(), 1, "a producer's is none");
});

test("the viewer goes on where it was when the node comes back", async () => {
  const node = await Node.start(place, redis);
  redis.add("again", { data: "1" });
  const page = await channelPage(node, "again");
  redis.add("again", { data: "2" });
  await shows(page, "#events pre", "2");
  node.process.kill("SIGKILL");
  await node.process.ended;
  await shows(page, "#viewer", "reconnecting");
  redis.add("again", { data: "3" });
  await node.begin();
  await shows(page, "#events pre", "3");
  assert.deepEqual(await viewed(page), ["1", "2", "3"]);
  await shows(page, "#viewer", "live");
  node.process.kill("SIGKILL");
});

test("copy as curl gives a command that a shell takes as it is meant", async () => {
  const page = await channelPage(first, "user.42", { permissions: ["clipboard-read", "clipboard-write"] });
  await page.getByLabel("Only types").fill("it's,b");
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await shows(page, "#viewer", "copied");
  const line = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(line, `curl -N 'http://${first.clients}/events/user.42?events=it'\\''s%2Cb'`);

  // A shell gets events with it; the final one ends the command.
  await page.getByLabel("Only types").fill("");
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await shows(page, "#viewer", "user.42'");
  redis.add("user.42", { data: "x", final: "1" });
  const command = (await page.evaluate(() => navigator.clipboard.readText())).replace(/'$/, "?since=earliest'");
  const got = execFileSync("sh", ["-c", command], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: LIMIT });
  assert.match(got, /\ndata: x\n/);
  assert.deepEqual(page.noted, []);
});

test("copy as curl has the address that clients use, and says who has to show what", async () => {
  const copied = async (url) => {
    const page = await open(browser, `${url}#/channel/a`, { permissions: ["clipboard-read", "clipboard-write"] });
    await shows(page, "#viewer", "live");
    await page.getByRole("button", { name: "Copy as curl" }).click();
    await shows(page, "#viewer", "copied");
    return page.evaluate(() => navigator.clipboard.readText());
  };
  const everywhere = await Node.start(place, redis, "--listen", "0.0.0.0:0");
  assert.equal(await copied(everywhere.url), `curl -N 'http://127.0.0.1:${everywhere.clients.split(":")[1]}/events/a'`);
  writeFileSync(`${place.folder}/key`, "0123456789abcdef0123456789abcdef");
  const known = await Node.start(place, redis, "--public-url", "https://events.example.org/sse/",
    "--auth", "jwt", "--jwt-key", `${place.folder}/key`);
  assert.equal(await copied(known.url), "curl -N -H 'Authorization: Bearer TOKEN' 'https://events.example.org/sse/events/a'");
});

test("subscribers are found, and one is looked at until it goes", async () => {
  const ends = [await first.subscribe("seen.a,seen.b"), await first.subscribe("seen.a")];
  const page = await open(browser, first.url);
  await page.getByRole("link", { name: "Subscribers of this node" }).first().click();
  await shows(page, "#found-note", /^\d+ of \d+ on .*\. Other nodes/);
  await page.getByLabel("Channel", { exact: true }).fill("seen.b");
  await page.keyboard.press("Enter");
  await eventually("the one alone", async () => (await texts(page, "#found tr")).length === 1);
  assert.match(new URL(page.url()).hash, /channel=seen\.b/);
  const [row] = await page.locator("#found tr").evaluateAll((rows) => rows.map((each) => [...each.cells].map((cell) => cell.textContent)));
  assert.deepEqual([row[0], row[1], row[2], row[4], row[5], row[6], row[7]],
    ["127.0.0.1", "–", "seen.a, seen.b", "the next event", "0", "–", "HTTP/1"]);
  // A reload has the same search.
  await page.reload();
  await eventually("the one alone, again", async () => (await texts(page, "#found tr")).length === 1);
  assert.equal(await page.getByLabel("Channel", { exact: true }).inputValue(), "seen.b");

  await page.getByRole("link", { name: "127.0.0.1" }).click();
  await shows(page, "#seen", "the next event");
  assert.deepEqual((await texts(page, "#seen-channels th")).sort(), ["seen.a", "seen.b"]);
  const id = redis.add("seen.a", { data: "1" });
  await eventually("its place", async () => (await texts(page, "#seen-channels tr")).some((text) => text.split(id).length === 3));
  assert.deepEqual(page.noted, []);
  ends[0]();
  await shows(page, "#seen-note", "any more");
  await page.goto(`${first.url}#/channel/seen.a`);
  await page.getByRole("link", { name: "Its subscribers on this node" }).click();
  await eventually("the other one", async () => (await texts(page, "#found tr")).length === 1);
  await page.getByLabel("Address").fill("nowhere");
  await page.keyboard.press("Enter");
  await shows(page, "#found-note", "not an address");
  ends[1]();
});

test("a subscriber is disconnected where that is allowed and confirmed", async () => {
  const page = await open(browser, first.url + "#/subscribers");
  await page.getByRole("link", { name: "127.0.0.1" }).first().click();
  await shows(page, "#seen", "connected for");
  assert.equal(await page.getByRole("button", { name: "Disconnect" }).count(), 0);

  const node = await Node.start(place, redis, "--admin-actions");
  await node.subscribe("stays");
  await node.subscribe("ended");
  let answer = false;
  const allowed = await open(browser, node.url + "#/subscribers?channel=ended", { actions: () => answer });
  await allowed.getByRole("link", { name: "127.0.0.1" }).click();
  const button = allowed.getByRole("button", { name: "Disconnect" });
  await button.click();
  assert.match(allowed.noted.at(-1), /^dialog: Disconnect this subscriber\? Its client may come back/);
  await picture(allowed, "disconnect");
  assert.equal(redis.ask("EXISTS", "sse:~control"), "0", "not confirmed");
  answer = true;
  await button.click();
  await shows(allowed, "#end-said", /ordered as \d+-\d+/);
  await shows(allowed, "#seen-note", "any more");
  await allowed.getByRole("link", { name: "Subscribers of this node" }).last().click();
  await eventually("the other one alone", async () => (await texts(allowed, "#found tr")).length === 1);
  assert.match((await texts(allowed, "#found tr"))[0], /stays/);
});

test("publishing and draining are for nodes that allow it", async () => {
  const page = await open(browser, `${first.url}#/channel/p`);
  await shows(page, "#viewer", "live");
  assert.equal(await page.locator("#publish").isVisible(), false);
  await page.goto(first.url);
  await shows(page, "#summary", /nodes/);
  assert.equal(await page.getByRole("button", { name: "Drain" }).count(), 0);

  const node = await Node.start(place, redis, "--admin-actions", "--drain", "0s");
  let answer = false;
  const allowed = await open(browser, `${node.url}#/channel/p`, { actions: () => answer });
  await shows(allowed, "#viewer", "live");
  await allowed.getByLabel("Type", { exact: true }).fill("note");
  await allowed.getByLabel("Data").fill("two\nlines <b>");
  await allowed.getByRole("button", { name: "Publish" }).click();
  await shows(allowed, "#p-said", /published as \d+-\d+/);
  await shows(allowed, "#events li", "note");
  assert.deepEqual(await viewed(allowed), ["two\nlines <b>"]);
  await picture(allowed, "channel-with-publish-form");
  await allowed.getByLabel("Type", { exact: true }).fill("fantail.gap");
  await allowed.getByRole("button", { name: "Publish" }).click();
  await eventually("a refusal", async () => /fantail/.test(await allowed.locator("#p-said").textContent()));

  await allowed.goto(node.url);
  const drain = allowed.getByRole("button", { name: "Drain this node" });
  await drain.click();
  assert.match(allowed.noted.at(-1), /^dialog: Drain this node\?/);
  assert.equal(node.process.exitCode, null, "not confirmed");
  answer = true;
  await drain.click();
  assert.equal(await node.process.ended, 0);
});
