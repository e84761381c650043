#!/usr/bin/env bash
# npm @sanity/eventsource 5.0.4: a line `id` without a value does not take the last event ID back.
# Guess: it sets the ID to the empty string (WHATWG HTML 9.2.6), so that a reconnect sends none and begins afresh.
# Seen: the ID of the event before stays. An event of a bare line `data`, whose data is empty, is not dispatched either.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @sanity/eventsource@5.0.4
cat >probe.mjs <<'E'
import { createServer } from "node:http";
import EventSource from "@sanity/eventsource";
const server = createServer((_, answer) => {
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  answer.write("id: 1\ndata: first\n\ndata\n\nid\ndata: second\n\n");
});
server.listen(0, "127.0.0.1", () => {
  const source = new EventSource(`http://127.0.0.1:${server.address().port}/`);
  source.onmessage = (event) => {
    console.log(JSON.stringify([event.data, event.lastEventId]));
    if (event.data === "second") process.exit(0);
  };
});
E
timeout 30 node probe.mjs | tee seen
diff seen - <<'E'
["first","1"]
["second","1"]
E
