#!/usr/bin/env bash
# npm eventsource 4.1.1: a block that has only an `id:` is forgotten, and an id does not carry over to the next event.
# Guess: as browsers do (WHATWG HTML 9.2.6), both set the last event ID, which each later event shows.
# Seen: `lastEventId` is empty for an event without an `id:` of its own, also behind a block of nothing but an id.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund eventsource@4.1.1
cat >probe.mjs <<'E'
import { createServer } from "node:http";
import { EventSource } from "eventsource";
const server = createServer((_, answer) => {
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  answer.write("id: 7\n\ndata: after a bare id\n\nid: 8\ndata: with an id\n\ndata: without an id\n\n");
});
server.listen(0, "127.0.0.1", () => {
  let left = 3;
  const source = new EventSource(`http://127.0.0.1:${server.address().port}/`);
  source.onmessage = (event) => {
    console.log(`${event.data}: lastEventId=${JSON.stringify(event.lastEventId)}`);
    if (--left === 0) process.exit(0);
  };
});
E
timeout 30 node probe.mjs | tee seen
diff seen - <<'E'
after a bare id: lastEventId=""
with an id: lastEventId="8"
without an id: lastEventId=""
E
