// npm eventsource: the browsers' EventSource for Node, whose fetch may be given, and with it headers.
import { EventSource } from "eventsource";
import { event, order, say } from "./said.mjs";

const headers = { ...order.headers, ...(order.last_event_id ? { "Last-Event-ID": order.last_event_id } : {}) };
const source = new EventSource(order.url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...headers, ...init.headers } }),
});
source.onopen = () => say("open");
source.onerror = (error) => {
  say("error", { status: error.code ?? null, text: error.message ?? "" });
  if (source.readyState === 2) say("closed");
};
for (const type of ["message", ...order.types]) {
  source.addEventListener(type, (each) => event(each.type, each.data, each.lastEventId));
}
// Its timers do not keep a process alive; a server has other things that do.
setInterval(() => {}, 1 << 30);
