#!/usr/bin/env bash
# npm @heroku/eventsource 1.0.7: a character whose bytes come in two packets becomes U+FFFD.
# Guess: text is the same however the network cuts it, as a reader of UTF-8 keeps the bytes of a character that has begun.
# Seen: a two-byte character is read as two replacement characters where its bytes lie in two pieces, and whole otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @heroku/eventsource@1.0.7
cat >probe.cjs <<'E'
const { createServer } = require("node:http");
const EventSource = require("@heroku/eventsource");
const bytes = Buffer.from("data: gr\u00fcn\n\n");
const server = createServer((_, answer) => {
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  answer.write(bytes);
  // Within the bytes of the one character that has two.
  setTimeout(() => answer.write(bytes.subarray(0, 9)), 300);
  setTimeout(() => answer.write(bytes.subarray(9)), 600);
});
server.listen(0, "127.0.0.1", () => {
  let left = 2;
  const source = new EventSource(`http://127.0.0.1:${server.address().port}/`);
  source.onmessage = ({ data }) => {
    console.log([...data].map((letter) => letter.codePointAt(0).toString(16)).join(" "));
    if (--left === 0) process.exit(0);
  };
});
E
timeout 30 node probe.cjs | tee seen
diff seen - <<'E'
67 72 fc 6e
67 72 fffd fffd 6e
E
