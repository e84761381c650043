#!/usr/bin/env bash
# npm undici 5.29.0: a chunked answer without its last chunk ends as if it were whole, if its head says `Connection: close`.
# Guess: without the last chunk the body is incomplete (RFC 9112 8), whatever the head says of the connection.
# Seen: `fetch` reads half an answer without an error behind `Connection: close`, and raises without that line. undici 6.29.1
# raises in both cases. So does the `fetch` of Node 22.23, while that of Node 20.20 (undici 6.24.1) does as 5.29.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund old@npm:undici@5.29.0 new@npm:undici@6.29.1
cat >probe.mjs <<'E'
import { createServer } from "node:net";
// One version a process: both share a global dispatcher.
const { fetch } = await import(process.argv[2]);
const server = createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (head) => {
    const close = head.toString().startsWith("GET /close") ? "Connection: close\r\n" : "";
    socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${close}\r\n4\r\nhalf\r\n`);
  });
});
server.listen(0, "127.0.0.1", async () => {
  for (const path of ["keep", "close"]) {
    const url = `http://127.0.0.1:${server.address().port}/${path}`;
    const seen = await fetch(url).then((answer) => answer.text()).catch((error) => `raised ${error.message}`);
    console.log(process.argv[2], path, seen);
  }
  process.exit(0);
});
E
for version in old new; do timeout 30 node probe.mjs "$version"; done | tee seen
diff seen - <<'E'
old keep raised terminated
old close half
new keep raised terminated
new close raised terminated
E
