// Debian's Chromium with a page of the node's own origin; `order.program` says what runs in it.
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { chromium } from "playwright-core";
import { source } from "./browser_page.mjs";
import { order, say } from "./said.mjs";

const libraries = new URL("node_modules/", import.meta.url);
const browser = await chromium.launch({ executablePath: order.executable, args: ["--no-sandbox"], timeout: 150_000 });
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const origin = new URL(order.url).origin;
if (order.cookie) await context.addCookies([{ ...order.cookie, url: origin }]);
const page = await context.newPage();
await page.route(origin + "/page", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
await page.route(origin + "/library/**", async (route) => {
  const name = new URL(route.request().url()).pathname.slice("/library/".length);
  const file = new URL(extname(name) ? name : name + ".js", libraries);
  await route.fulfill({ contentType: "text/javascript", body: await readFile(file) });
});
await page.exposeFunction("say", say);
const network = await context.newCDPSession(page);
await network.send("Network.enable");
network.on("Network.responseReceived", ({ response }) => {
  if (!response.url.includes("/events")) return;
  const coding = Object.entries(response.headers).find(([name]) => name.toLowerCase() === "content-encoding")?.[1] ?? "";
  say("answer", { status: response.status, protocol: response.protocol, coding });
});
await page.goto(origin + "/page", { timeout: 150_000 });
await page.evaluate(await source(order));
