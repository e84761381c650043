// Browsers as Debian has them, with tabs: Chromium and Firefox by Puppeteer, WebKit by its WebDriver, which needs a display.
import puppeteer from "puppeteer-core";
import { LIMIT, eventually } from "./servers.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FIREFOX = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
const WEBKIT = process.env.WEBKIT_DRIVER ?? "/usr/bin/WebKitWebDriver";

class Puppets {
  static async start(browser, executablePath, args = []) {
    const limits = { timeout: LIMIT, protocolTimeout: LIMIT };
    const started = await puppeteer.launch({ browser, executablePath, headless: true, args, ...limits });
    return Object.assign(new Puppets(), { browser, started });
  }
  async tab(url) {
    const { browser } = this;
    const page = await this.started.newPage();
    await page.goto(url);
    return {
      run: (code) => page.evaluate(code),
      close: () => page.close(),
      // As when its process dies; Firefox's protocol cannot do that.
      crash: browser === "chrome" && (async () => {
        const session = await page.createCDPSession();
        session.send("Page.crash").catch(() => {});
      }),
    };
  }
  close() {
    return this.started.close();
  }
}

class WebDriver {
  static async start(place) {
    const driver = new WebDriver();
    const screen = place.start("Xvfb", ["-displayfd", "1", "-nolisten", "tcp"]);
    const display = await eventually("a display", () => /^\d+$/m.exec(screen.log()));
    // Its sandbox needs more than a container has; the pages are ours.
    Object.assign(process.env, { DISPLAY: `:${display[0]}`, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1" });
    const port = 20_000 + (process.pid % 10_000);
    place.start(WEBKIT, [`--port=${port}`, "--host=127.0.0.1"]);
    driver.url = `http://127.0.0.1:${port}/session`;
    await eventually("the driver answers", () => fetch(`http://127.0.0.1:${port}/status`).then(({ ok }) => ok, () => false));
    const { sessionId } = await driver.ask("", { capabilities: { alwaysMatch: {} } });
    driver.url += `/${sessionId}`;
    driver.home = await driver.ask("/window", undefined, "GET");
    return driver;
  }
  async ask(path, body, method = "POST") {
    const answer = await fetch(this.url + path, { method, body: method === "POST" ? JSON.stringify(body ?? {}) : undefined });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${path}: ${value.error}: ${value.message}`);
    return value;
  }
  // Commands are for the window that was switched to, so each waits for the one before.
  turn(act) {
    return (this.last = (this.last ?? Promise.resolve()).catch(() => {}).then(act));
  }
  async tab(url) {
    // From the first window, which stays.
    const { handle } = await this.turn(async () => {
      await this.ask("/window", { handle: this.home });
      return this.ask("/window/new", { type: "tab" });
    });
    const there = (act) => this.turn(async () => {
      await this.ask("/window", { handle });
      return act();
    });
    await there(() => this.ask("/url", { url }));
    return {
      run: (code) => there(() => this.ask("/execute/sync", { script: `return (${code})`, args: [] })),
      close: () => there(() => this.ask("/window", undefined, "DELETE")),
    };
  }
  close() {
    return this.ask("", undefined, "DELETE");
  }
}

/** How each is started. */
export const BROWSERS = {
  Chromium: () => Puppets.start("chrome", CHROMIUM, ["--no-sandbox"]),
  Firefox: () => Puppets.start("firefox", FIREFOX),
  WebKit: (place) => WebDriver.start(place),
};
