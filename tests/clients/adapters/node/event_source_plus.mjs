// event-source-plus, for pages and Node.
import { EventSourcePlus } from "event-source-plus";
import { event, order, say } from "./said.mjs";

const headers = { ...order.headers, ...(order.last_event_id ? { "Last-Event-ID": order.last_event_id } : {}) };
const controller = new EventSourcePlus(order.url, { headers }).listen({
  onResponse: ({ response }) => { if (response.status === 200) say("open"); },
  onMessage: (each) => event(each.event, each.data, each.id),
  onRequestError: ({ error }) => say("error", { status: null, text: String(error) }),
  onResponseError: ({ response }) => say("error", { status: response.status, text: "" }),
});
controller.onAbort(() => say("closed"));
setInterval(() => {}, 1 << 30);
