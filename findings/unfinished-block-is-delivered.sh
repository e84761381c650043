#!/usr/bin/env bash
# npm parse-sse 0.1.0 and PyPI sseclient-py 1.9.0: what follows the last empty line of a stream is delivered as an event.
# Guess: an event that is not ended by an empty line is discarded (WHATWG HTML 9.2.6), since the answer was cut in it.
# Seen: both hand over the beginning of an event as if it were whole, so half a JSON text can come out of a server's restart.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund parse-sse@0.1.0
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check sseclient-py==1.9.0
cat >probe.mjs <<'E'
import { parseServerSentEvents } from "parse-sse";
const answer = new Response("data: whole\n\ndata: {\"text\": \"the first ha", {
  headers: { "Content-Type": "text/event-stream" },
});
for await (const event of parseServerSentEvents(answer)) console.log("parse-sse", event.data);
E
cat >probe.py <<'E'
import sseclient
for event in sseclient.SSEClient(iter([b"data: whole\n\n", b'data: {"text": "the first ha'])).events():
    print("sseclient-py", event.data)
E
{ timeout 30 node probe.mjs && timeout 30 python/bin/python probe.py; } | tee seen
diff seen - <<'E'
parse-sse whole
parse-sse {"text": "the first ha
sseclient-py whole
sseclient-py {"text": "the first ha
E
