// Debian's Chromium, pages that note everything suspicious, and their pictures.
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { LIMIT } from "./servers.mjs";

/** Where screenshots are kept. */
export const PICTURES = resolve(process.env.FANTAIL_PICTURES ?? "target/browser");
mkdirSync(PICTURES, { recursive: true });

export const launch = (...args) =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", ...args] });

/** A page in a context of its own. `noted` collects errors, console errors, dialogs, and requests that leave the origin. */
export async function open(browser, url, { actions = () => false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  page.noted = [];
  page.on("pageerror", (error) => page.noted.push(`error: ${error.message}`));
  page.on("console", (message) => { if (message.type() === "error") page.noted.push(`console: ${message.text()}`); });
  page.on("dialog", async (dialog) => {
    page.noted.push(`dialog: ${dialog.message()}`);
    await (actions(dialog) ? dialog.accept() : dialog.dismiss());
  });
  const origin = new URL(url).origin;
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) page.noted.push(`request: ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

export const picture = (page, name) => page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });

/** Until a locator has a text. */
export const shows = (page, locator, text) => page.locator(locator, { hasText: text }).first().waitFor();
