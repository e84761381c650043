#!/usr/bin/env bash
# npm ai 7.0.173: where a model's stream has an error in it, or ends without its finish, `textStream` ends as if it were whole.
# Guess: the loop over it throws, as it does where the connection breaks.
# Seen: the text until then, and the loop is over. The error is told to `onError` alone, and by a part of `fullStream`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund ai@7.0.173 @ai-sdk/openai-compatible@3.0.92
cat >probe.mjs <<'E'
import { createServer } from "node:http";
import { streamText } from "ai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
const chunk = (content) => ({ id: "1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: { content } }] });
const server = createServer((request, answer) => {
  request.resume();
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  const half = `data: ${JSON.stringify(chunk("half of"))}\n\n`;
  if (request.url.startsWith("/torn")) answer.write(half, () => setTimeout(() => answer.destroy(), 500));
  else if (request.url.startsWith("/error")) answer.end(half + 'data: {"error":{"message":"overloaded"}}\n\n');
  else answer.end(half);
});
server.listen(0, "127.0.0.1", async () => {
  for (const how of ["torn", "short", "error"]) {
    const seen = [];
    const models = createOpenAICompatible({ name: "m", baseURL: `http://127.0.0.1:${server.address().port}/${how}` });
    const onError = () => seen.push("onError");
    const answer = streamText({ model: models("m"), prompt: "?", maxRetries: 0, onError });
    try {
      for await (const text of answer.textStream) seen.push(text);
      seen.push("ends");
    } catch (error) {
      seen.push("throws");
    }
    console.log(how, seen.sort().join(", "));
  }
  process.exit(0);
});
E
timeout 60 node probe.mjs | tee seen
diff seen - <<'E'
torn half of, throws
short ends, half of, onError
error ends, half of, onError
E
