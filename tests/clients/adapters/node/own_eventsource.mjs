// The EventSource that a runtime has of its own: Deno's, or Node's with --experimental-eventsource. It sets no headers.
import { event, order, say } from "./said.mjs";

const source = new EventSource(order.url);
source.onopen = () => say("open");
source.onerror = () => {
  say("error", { status: null, text: "" });
  if (source.readyState === 2) say("closed");
};
for (const type of ["message", ...order.types]) {
  source.addEventListener(type, (each) => event(each.type, each.data, each.lastEventId));
}
setInterval(() => {}, 1 << 20);
