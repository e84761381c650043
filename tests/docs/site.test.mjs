// The site of docs/SUMMARY.md as readers see it, in Debian's Chromium. Pictures are kept beside the console's.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { PICTURES, launch, open, picture } from "../browser/browser.mjs";

let browser, server, site;

before(async () => {
  server = spawn("python3", ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", process.env.FANTAIL_SITE]);
  // Each request is a line of its errors: nobody else reads them.
  server.stderr.resume();
  site = await new Promise((done, fail) => {
    server.once("exit", () => fail(new Error("no server")));
    server.stdout.once("data", (line) => done(/http:[^)]+/.exec(line)[0]));
  });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server.kill();
});

test("the first page shows what this is, and its pictures", async () => {
  const page = await open(browser, site);
  await page.getByRole("heading", { name: "Fantail", level: 1 }).first().waitFor();
  const pictures = await page.locator("main img").evaluateAll((all) => all.map((one) => [one.getAttribute("src"), one.naturalWidth]));
  assert.ok(pictures.length >= 2 && pictures.every(([, width]) => width > 0), JSON.stringify(pictures));
  await picture(page, "site");
  assert.deepEqual(page.noted, []);
});

test("a search finds the page that has the words", async () => {
  const page = await open(browser, site);
  await page.getByRole("heading", { name: "Fantail", level: 1 }).first().waitFor();
  await page.keyboard.press("s");
  await page.locator("#mdbook-searchbar").pressSequentially("lighttpd");
  const found = page.locator("#mdbook-searchresults a");
  await found.filter({ hasText: /prox/i }).first().waitFor();
  await picture(page, "site-search");
  await found.filter({ hasText: /prox/i }).first().click();
  await page.waitForURL(/proxies\.html/);
  assert.deepEqual(page.noted, []);
});

test("wide tables scroll by themselves on a narrow screen", async () => {
  for (const name of ["clients", "proxies", "operating"]) {
    const page = await open(browser, `${site}docs/${name}.html`, { viewport: { width: 390, height: 844 }, colorScheme: "dark" });
    await page.locator("main h1").first().waitFor();
    const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= shown, `${name} is ${wide} pixels wide, of ${shown} shown`);
    await page.screenshot({ path: `${PICTURES}/site-narrow-${name}.png` });
    assert.deepEqual(page.noted, []);
    await page.context().close();
  }
});
