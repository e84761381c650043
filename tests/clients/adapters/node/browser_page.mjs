// What runs in a browser's page: its own EventSource, and libraries that are made for pages. It is no module there: `source` is
// what a driver evaluates.
import { readFile } from "node:fs/promises";

export const source = async (order) => {
  const text = await readFile(new URL(import.meta.url), "utf8");
  return `(async () => { ${text.split("\n// In the page.\n")[1]}
    await ${order.program}(${JSON.stringify(order)}); })()`;
};

// In the page.
function listen(source, order) {
  source.onopen = () => say("open");
  source.onerror = (e) => {
    say("error", { status: e.status ?? e.responseCode ?? null, text: "" });
    if (source.readyState === 2) say("closed");
  };
  for (const type of ["message", ...order.types]) {
    source.addEventListener(type, (e) => say("event", { type: e.type, data: e.data, id: e.lastEventId }));
  }
}

const headers = (order) => ({ ...order.headers, ...(order.last_event_id ? { "Last-Event-ID": order.last_event_id } : {}) });

function script(name) {
  return new Promise((loaded, failed) => {
    const element = document.createElement("script");
    Object.assign(element, { src: "/library/" + name, onload: loaded, onerror: failed });
    document.head.append(element);
  });
}

function eventSource(order) {
  listen(new EventSource(order.url, { withCredentials: true }), order);
}

async function polyfill(order) {
  await script("event-source-polyfill/src/eventsource.js");
  listen(new EventSourcePolyfill(order.url, { headers: headers(order) }), order);
}

async function reconnecting(order) {
  const { default: ReconnectingEventSource } = await import("/library/reconnecting-eventsource/build/esm/reconnecting-eventsource.js");
  listen(new ReconnectingEventSource(order.url, { withCredentials: true }), order);
}

async function sseJs(order) {
  const { SSE } = await import("/library/sse.js/lib/sse.js");
  const source = new SSE(order.url, { headers: headers(order), autoReconnect: true });
  listen(source, order);
  // It is closed between two attempts, too.
  source.onerror = (e) => say("error", { status: e.responseCode || null, text: "" });
}

// @microsoft/fetch-event-source, or the fork that @fortaine keeps.
async function fetchEventSource(order) {
  const library = await import(`/library/${order.library}/lib/esm/index.js`);
  try {
    await library.fetchEventSource(order.url, {
      headers: headers(order),
      openWhenHidden: true,
      // As its README has it, but for the statuses: whatever is not an event stream is told, and left to the library.
      onopen: async (answer) => {
        if (answer.ok && answer.headers.get("content-type")?.startsWith("text/event-stream")) return say("open");
        say("error", { status: answer.status, text: "" });
        throw new Error(`status ${answer.status}`);
      },
      onmessage: (e) => { if (e.event || e.data) say("event", { type: e.event || "message", data: e.data, id: e.id }); },
    });
  } catch (error) {
    say("error", { status: null, text: String(error) });
  }
  say("closed");
}

async function htmx2(order) {
  await script("htmx2/dist/htmx.js");
  await script("htmx-ext-sse/dist/sse.js");
  const on = (name, then) => document.body.addEventListener(name, (e) => then(e.detail));
  on("htmx:sseOpen", () => say("open"));
  on("htmx:sseError", () => say("error", { status: null, text: "" }));
  on("htmx:sseClose", () => say("closed"));
  on("htmx:sseBeforeMessage", (e) => say("event", { type: e.type, data: e.data, id: e.lastEventId }));
  const types = ["message", ...order.types].join(",");
  const close = order.close ? `sse-close="${order.close}"` : "";
  document.body.innerHTML = `<div hx-ext="sse" sse-connect="${order.url.replaceAll("&", "&amp;")}" ${close}><p sse-swap="${types}"></p></div>`;
  htmx.process(document.body);
}

async function htmx4(order) {
  await script("htmx4/dist/htmx.js");
  await script("htmx4/dist/ext/hx-sse.js");
  const on = (name, then) => document.body.addEventListener(name, (e) => then(e.detail));
  on("htmx:sse:after:connection", () => say("open"));
  on("htmx:sse:error", (e) => say("error", { status: e.status ?? null, text: String(e.error ?? "") }));
  on("htmx:response:error", (e) => {
    // The first answer was none, and it does not ask again.
    say("error", { status: e.ctx?.response?.status ?? null, text: "" });
    say("closed");
  });
  on("htmx:sse:close", () => say("closed"));
  on("htmx:sse:before:message", ({ message }) => {
    say("event", { type: message.event || "message", data: message.data, id: message.id });
  });
  const div = document.createElement("div");
  div.setAttribute("hx-sse:connect", order.url);
  div.setAttribute("hx-headers", JSON.stringify(order.headers));
  if (order.close) div.setAttribute("hx-sse:close", order.close);
  document.body.append(div);
  htmx.process(div);
}
