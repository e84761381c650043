// Writes docs/images/console.png, which README.md shows: two nodes with traffic of half a minute. Not a test: run it by hand
// after `tests/run browser`, as `FANTAIL_BIN=target/release/fantail node tests/browser/screenshot.mjs`.
import { fileURLToPath } from "node:url";
import { launch, open, shows } from "./browser.mjs";
import { Node, Place, Redis } from "./servers.mjs";

const FILE = fileURLToPath(new URL("../../docs/images/console.png", import.meta.url));
const SECONDS = 30;
const CHANNELS = ["orders", "lobby", "news", "user.42", "prices"];

const place = new Place();
const browser = await launch();
try {
  const redis = await Redis.start(place);
  const nodes = [await Node.start(place, redis, "--follow", "tracking"), await Node.start(place, redis, "--follow", "tracking")];
  for (let at = 0; at < 24; at++) await nodes[at % 2].subscribe(CHANNELS.slice(at % 4, (at % 4) + 2).join(","));
  const page = await open(browser, nodes[0].url, { colorScheme: "light", viewport: { width: 1360, height: 640 } });
  await shows(page, "#summary", /2 nodes/);
  const end = Date.now() + SECONDS * 1000;
  for (let number = 0; Date.now() < end; number++) {
    redis.add(CHANNELS[number % CHANNELS.length], { event: "created", data: JSON.stringify({ id: number }) });
    // The rate is what the picture shows: fifty a second and less, in waves.
    await new Promise((done) => setTimeout(done, 30 + 25 * Math.sin(number / 60)));
  }
  await page.screenshot({ path: FILE });
} finally {
  await browser.close();
  await place.close();
}
