// Fantail's own client for pages, which runs in Node, too.
import { EventStream } from "../../../../clients/js/fantail.js";
import { event, order, say } from "./said.mjs";

const token = order.headers.Authorization?.replace(/^Bearer /, "");
const source = new EventStream(order.url, { ...(token ? { token } : {}), lastEventId: order.last_event_id || undefined });
source.addEventListener("open", () => say("open"));
source.addEventListener("error", (error) => {
  say("error", { status: error.status ?? null, text: error.detail ?? "" });
  if (source.readyState === 2) say("closed");
});
for (const type of ["message", ...order.types]) {
  source.addEventListener(type, (each) => event(each.type, each.data, each.lastEventId));
}
setInterval(() => {}, 1 << 30);
