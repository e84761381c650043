// What runs in a browser's page: its own EventSource, or @microsoft/fetch-event-source, which is made for pages.
export function eventSource(order) {
  const source = new EventSource(order.url, { withCredentials: true });
  source.onopen = () => say("open");
  source.onerror = () => {
    say("error", { status: null, text: "" });
    if (source.readyState === 2) say("closed");
  };
  for (const type of ["message", ...order.types]) {
    source.addEventListener(type, (e) => say("event", { type: e.type, data: e.data, id: e.lastEventId }));
  }
}

export async function fetchEventSource(order) {
  const library = await import("/library/index.js");
  const headers = { ...order.headers, ...(order.last_event_id ? { "Last-Event-ID": order.last_event_id } : {}) };
  class Fatal extends Error {}
  try {
    await library.fetchEventSource(order.url, {
      headers,
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
