// launchdarkly-eventsource, for Node.
import { EventSource } from "launchdarkly-eventsource";
import { event, order, say } from "./said.mjs";

const headers = { ...order.headers, ...(order.last_event_id ? { "Last-Event-ID": order.last_event_id } : {}) };
const source = new EventSource(order.url, { headers });
source.onopen = () => say("open");
source.onerror = (error) => {
  say("error", { status: error.status ?? null, text: error.message ?? "" });
  if (source.readyState === 2) say("closed");
};
source.addEventListener("closed", () => say("closed"));
for (const type of ["message", ...order.types]) {
  source.addEventListener(type, (each) => event(each.type, each.data, each.lastEventId));
}
