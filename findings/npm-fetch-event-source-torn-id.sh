#!/usr/bin/env bash
# npm @microsoft/fetch-event-source 2.0.1: an id counts from its line on, not from the end of its event.
# Guess: where the connection breaks within an event, the id before it is sent in `Last-Event-ID` (WHATWG HTML 9.2.6: the buffer
# becomes the last event id when an event is dispatched).
# Seen: the id of the event that was cut is sent, so a server that resumes behind it never delivers that event.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @microsoft/fetch-event-source@2.0.1
cat >probe.cjs <<'E'
const { createServer } = require("node:http");
const { fetchEventSource } = require("@microsoft/fetch-event-source");
// What it takes of a page.
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = globalThis;
let asked = 0;
const server = createServer((request, answer) => {
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  if (++asked === 1) {
    answer.write("id: 1\ndata: one\n\n");
    answer.write("id: 2\ndata: half of", () => setTimeout(() => answer.destroy(), 500));
    return;
  }
  console.log("asks behind", request.headers["last-event-id"]);
  process.exit(0);
});
server.listen(0, "127.0.0.1", () => {
  fetchEventSource(`http://127.0.0.1:${server.address().port}/`, {
    onmessage: (event) => console.log("event", event.id, event.data),
    onerror: () => 10,
  });
});
E
timeout 60 node probe.cjs | tee seen
diff seen - <<'E'
event 1 one
asks behind 2
E
