// Debian's Firefox, driven over WebDriver BiDi.
import puppeteer from "puppeteer-core";
import { source } from "./browser_page.mjs";
import { order, say } from "./said.mjs";

const browser = await puppeteer.launch({
  browser: "firefox", executablePath: order.executable, headless: true, acceptInsecureCerts: true, timeout: 150_000, protocolTimeout: 150_000,
});
browser.connection.on("network.responseStarted", ({ response }) => {
  if (response.url.includes("/events")) say("answer", { protocol: response.protocol });
});
const page = await browser.newPage();
const origin = new URL(order.url).origin;
await page.setRequestInterception(true);
const answer = (request) => request.respond({ contentType: "text/html", body: "<!doctype html>" });
page.on("request", answer);
await page.goto(origin + "/page");
page.off("request", answer);
await page.setRequestInterception(false);
if (order.cookie) await page.setCookie({ ...order.cookie, url: origin });
await page.exposeFunction("say", say);
await page.evaluate(await source(order));
