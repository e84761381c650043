#!/usr/bin/env bash
# npm @anthropic-ai/sdk 1.14.0: an event without `event:` is passed over, whatever its data.
# Guess: the data says what it is by its member `type`, and an event without a type is a `message` (WHATWG HTML 9.2.6).
# Seen: the same data with `event:` before it is delivered, without it it is not, and nothing is raised.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @anthropic-ai/sdk@1.14.0
cat >probe.mjs <<'E'
import { createServer } from "node:http";
import Anthropic from "@anthropic-ai/sdk";
const delta = (text) => JSON.stringify({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } });
const server = createServer((request, answer) => {
  request.resume();
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  answer.end(`data: ${delta("without")}\n\nevent: content_block_delta\ndata: ${delta("with")}\n\n`);
});
server.listen(0, "127.0.0.1", async () => {
  const client = new Anthropic({ apiKey: "none", baseURL: `http://127.0.0.1:${server.address().port}`, maxRetries: 0 });
  const asked = { model: "m", max_tokens: 9, messages: [{ role: "user", content: "?" }], stream: true };
  for await (const event of await client.messages.create(asked)) console.log(event.delta.text);
  process.exit(0);
});
E
timeout 60 node probe.mjs | tee seen
diff seen - <<'E'
with
E
