// eventsource-client: a client for Node and browsers with callbacks.
import { createEventSource } from "eventsource-client";
import { event, order, say } from "./said.mjs";

const source = createEventSource({
  url: order.url,
  headers: order.headers,
  initialLastEventId: order.last_event_id || undefined,
  // Called for every answer, whatever its status; the status is not told.
  onConnect: () => say("open"),
  onMessage: (each) => event(each.event, each.data, each.id),
  onDisconnect: () => {
    say("error", { status: null, text: "" });
    // After a 204 it closes itself, right after this call.
    setTimeout(() => { if (source.readyState === "closed") say("closed"); });
  },
});
