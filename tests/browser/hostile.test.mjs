// Nothing that events, channels, nodes or other sites say runs script in the console, and nobody else's page acts through it.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch, open, picture, shows } from "./browser.mjs";
import { eventually, Node, Place, Redis } from "./servers.mjs";

const RUN = "window.ran=(window.ran||0)+1";
const PAYLOADS = [
  `<script>${RUN}</script>`,
  `</script><script>${RUN}</script>`,
  `</pre></li></ol><img src=x onerror="${RUN}">`,
  `<svg onload="${RUN}"></svg>`,
  `<svg><animate onbegin="${RUN}" attributeName=x dur=1s>`,
  `<math><mtext></form><form><mglyph><style></math><img src onerror="${RUN}">`,
  `<iframe srcdoc="<script>parent.${RUN}</script>"></iframe>`,
  `<iframe src="javascript:parent.${RUN}"></iframe>`,
  `<a href="javascript:${RUN}">x</a>`,
  `"><details open ontoggle="${RUN}">`,
  `' autofocus onfocus='${RUN}`,
  `<body onpageshow="${RUN}">`,
  `<style>@import 'http://evil.example/x';*{background:url(http://evil.example/y)}</style>`,
  `<link rel=stylesheet href=http://evil.example/z>`,
  `<meta http-equiv=refresh content="0;url=http://evil.example/">`,
  `<base href="http://evil.example/">`,
  `<form action=http://evil.example/><button autofocus>`,
  `<object data="data:text/html,<script>${RUN}</script>"></object>`,
  "javascript:" + RUN,
  "${" + RUN + "}{{constructor.constructor('" + RUN + "')()}}",
  `\u2028${RUN}//\u2029`,
  `{"__proto__":{"ran":1},"constructor":{"prototype":{"ran":1}}}`,
  `data: x\n\nevent: nodes\ndata: {"nodes":"<img src=x onerror=${RUN}>"}\n\n`,
  "\u202e\u0007\u001b[31m\u0000".replace("\u0000", ""),
];

const place = new Place();
let browser, redis, node;

before(async () => {
  browser = await launch();
  redis = await Redis.start(place);
  node = await Node.start(place, redis, "--admin-actions");
});
after(async () => {
  await browser?.close();
  await place.close();
});

/** That nothing ran, nothing was loaded, and no element is there that the page does not make itself. */
async function unharmed(page, allowed = []) {
  assert.equal(await page.evaluate(() => window.ran ?? ({}).ran), undefined, "script ran");
  const strange = await page.evaluate(() => {
    const own = "A,B,BODY,BUTTON,DD,DL,DT,FIELDSET,FIGCAPTION,FIGURE,FORM,H1,H2,HEAD,HEADER,HTML,INPUT,LABEL,LEGEND,LI,MAIN,META,NOSCRIPT,OL,"
      + "OPTION,P,PATH,POLYLINE,PRE,SCRIPT,SECTION,SELECT,SPAN,STYLE,SVG,TABLE,TBODY,TD,TEXTAREA,TH,THEAD,TITLE,TR,UL,DIV";
    const attributes = [...document.querySelectorAll("*")].flatMap((each) =>
      [...each.attributes].filter((a) => /^on/i.test(a.name)
        || (!/^data-/.test(a.name) && /^\s*(javascript|data):/i.test(a.value))).map((a) => a.name));
    const elements = [...document.querySelectorAll("*")].map((each) => each.tagName.toUpperCase()).filter((n) => !own.split(",").includes(n));
    return [...attributes, ...elements, document.scripts.length, document.querySelectorAll("style").length];
  });
  assert.deepEqual(strange, [1, 1]);
  assert.deepEqual(page.noted.filter((each) => !allowed.some((one) => each.includes(one))), []);
}

test("hostile events run nothing", async () => {
  for (const payload of PAYLOADS) redis.add("h", { event: payload, data: payload });
  redis.ask("XADD", "sse:h", "*", ...PAYLOADS.slice(0, 12).flatMap((payload) => [payload, payload]));
  const page = await open(browser, `${node.url}#/channel/h`);
  await shows(page, "#viewer", "live");
  for (const payload of PAYLOADS) redis.add("h", { event: payload, data: payload });
  redis.add("h", { data: "the last one" });
  await shows(page, "#events pre", "the last one");
  const shown = await page.locator("#events pre").allTextContents();
  for (const payload of PAYLOADS) assert.ok(shown.includes(payload.replaceAll("\r\n", "\n")), `as text: ${payload}`);
  for (const payload of PAYLOADS) await page.getByLabel("Only types").fill(payload.replaceAll("\n", " "));
  await picture(page, "hostile-events");
  await unharmed(page);
});

test("hostile names of channels run nothing", async () => {
  const page = await open(browser, node.url);
  await shows(page, "#summary", /node/);
  for (const payload of PAYLOADS) {
    await page.goto(`${node.url}#/channel/${encodeURIComponent(payload)}`);
    await eventually("a refusal", async () => (await page.locator("#viewer").textContent()).includes("channel"));
    assert.equal(await page.locator("#channel-name").textContent(), payload);
    await page.goto(`${node.url}#/channel/${payload.replaceAll("%", "")}`);
  }
  await page.goto(node.url);
  await page.getByLabel("Search").fill(PAYLOADS[2]);
  await page.getByLabel("Open a channel").fill(PAYLOADS[2]);
  await page.getByLabel("Open a channel").press("Enter");
  await shows(page, "#channel-name", "onerror");
  // A name that is none is refused by the node, which the browser notes.
  await unharmed(page, ["400 (Bad Request)"]);
});

test("hostile records of nodes run nothing", async () => {
  const page = await open(browser, node.url);
  await shows(page, "#summary", /1 node/);
  const own = JSON.parse(redis.ask("HVALS", "sse:~nodes").split("\n")[0]);
  const evil = (value) => {
    if (Array.isArray(value)) return value.map(evil);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).flatMap(([key, each]) => [[key, evil(each)], [PAYLOADS[2] + key, 1]]));
    }
    return typeof value === "string" ? PAYLOADS[2] + value : value;
  };
  redis.ask("HSET", "sse:~nodes", "broken", "{\"id\":");
  const foreign = () => page.locator("#nodes th").allTextContents();
  await eventually("the record as text", async () => {
    const top = PAYLOADS.map((channel) => ({ channel, subscribers: 9, rate: 1 }));
    const refused = Object.fromEntries(PAYLOADS.map((reason) => [reason, 3]));
    const record = { ...evil(own), id: "evil", name: PAYLOADS[2], top, refused, at_ms: Date.now() };
    redis.ask("HSET", "sse:~nodes", "evil", JSON.stringify(record));
    return (await foreign()).some((name) => name.includes("onerror"));
  });
  await shows(page, "#channels a", "onerror");
  await shows(page, "#reasons td", "onerror");
  await picture(page, "hostile-records");
  await unharmed(page);
});

test("the policy stops script that is there all the same", async () => {
  const page = await open(browser, node.url);
  const outcome = await page.evaluate(async (run) => {
    const made = document.createElement("script");
    const tried = {};
    try { made.textContent = run; document.body.append(made); tried.script = "put in"; } catch { tried.script = "refused"; }
    try { document.body.innerHTML = "<img src=x onerror=" + run + ">"; tried.markup = "put in"; } catch { tried.markup = "refused"; }
    try { setTimeout(run, 0); tried.timer = "taken"; } catch { tried.timer = "refused"; }
    tried.elsewhere = await fetch("http://evil.example/").then(() => "sent", () => "refused");
    const image = new Image();
    tried.image = await new Promise((done) => { image.onload = () => done("loaded"); image.onerror = () => done("refused"); image.src = "/x.png"; });
    await new Promise((done) => setTimeout(done, 200));
    return { ...tried, ran: window.ran ?? 0 };
  }, RUN);
  assert.deepEqual(outcome, { ...outcome, markup: "refused", timer: "refused", elsewhere: "refused", image: "refused", ran: 0 });
});

/** A page of another origin, which an operator visits. */
async function site() {
  const server = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html><title>other</title>"));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

test("a page of another site reads nothing and does nothing", async () => {
  const server = await site();
  const page = await open(browser, `http://localhost:${server.address().port}/`);
  const said = await page.evaluate(async (url) => {
    const tried = {};
    const attempt = async (name, ...args) => { tried[name] = await fetch(...args).then((a) => a.type === "opaque" ? "opaque" : a.status, () => "blocked"); };
    await attempt("read", url + "api/nodes");
    await attempt("drain", url + "api/drain", { method: "POST", headers: { "X-Fantail-Action": "1" } });
    await attempt("plain", url + "api/drain", { method: "POST", mode: "no-cors" });
    await attempt("publish", url + "api/publish?channel=x", { method: "POST", mode: "no-cors", body: "x" });
    const source = new EventSource(url + "api/updates");
    tried.stream = await new Promise((done) => { source.onopen = () => done("open"); source.onerror = () => done("blocked"); });
    const frame = document.createElement("iframe");
    frame.src = url;
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; });
    tried.frame = frame.contentDocument === null ? "closed" : "open";
    return tried;
  }, node.url);
  assert.deepEqual({ ...said, plain: 0, publish: 0 },
    { read: "blocked", drain: "blocked", plain: 0, publish: 0, stream: "blocked", frame: "closed" });
  assert.equal(redis.ask("EXISTS", "sse:x"), "0");
  assert.equal(node.process.exitCode, null);
  server.close();
});

test("a name that is made to lead here is refused", async () => {
  // DNS rebinding, as seen by the browser: the page's own name has become this address.
  const rebound = await launch("--host-resolver-rules=MAP evil.example 127.0.0.1");
  const port = new URL(node.url).port;
  const page = await open(rebound, `http://evil.example:${port}/livez`);
  const said = await page.evaluate(async () => {
    const ask = async (...args) => { const answer = await fetch(...args); return [answer.status, (await answer.json()).code]; };
    return [
      await ask("/api/nodes"), await ask("/"), await ask("/api/channels/a"),
      await ask("/api/drain", { method: "POST", headers: { "X-Fantail-Action": "1" } }),
      await ask("/api/publish?channel=x", { method: "POST", body: "x", headers: { "X-Fantail-Action": "1" } }),
    ];
  });
  await rebound.close();
  assert.deepEqual(said, Array(5).fill([403, "forbidden"]));
  assert.equal(redis.ask("EXISTS", "sse:x"), "0");
  assert.equal(node.process.exitCode, null);
});
