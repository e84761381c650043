#!/usr/bin/env bash
# npm event-source-plus 0.1.15: of an event of several `data:` lines only the last one is delivered, and spaces are cut off.
# Guess: the lines are joined by line feeds, and a single space behind the colon is removed (WHATWG HTML 9.2.6).
# Seen: JSON that is printed over several lines arrives as its last line; blanks at both ends of a value are lost.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund event-source-plus@0.1.15
cat >probe.mjs <<'E'
import { createServer } from "node:http";
import { EventSourcePlus } from "event-source-plus";
const server = createServer((_, answer) => {
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  answer.write('data: {"a": 1,\ndata: "b": 2}\n\ndata:   indented \n\n');
});
server.listen(0, "127.0.0.1", () => {
  let left = 2;
  new EventSourcePlus(`http://127.0.0.1:${server.address().port}/`).listen({
    onMessage(event) {
      console.log(JSON.stringify(event.data));
      if (--left === 0) process.exit(0);
    },
  });
});
E
timeout 30 node probe.mjs | tee seen
diff seen - <<'E'
"\"b\": 2}"
"indented"
E
