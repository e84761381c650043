#!/usr/bin/env bash
# PyPI aiosseclient 0.1.8 and npm @server-sent-stream/web 1.0.3: characters that JSON may hold as they are end a line.
# Guess: only CR, LF and CRLF end a line of an event stream (WHATWG HTML 9.2.5).
# Seen: U+2028 ends one in both, and U+0085, form feed and U+001C end one in the first (Python's str.splitlines). The rest of
# the value is a line of an unknown field, which is dropped without an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @server-sent-stream/web@1.0.3
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check aiosseclient==0.1.8 aiohttp==3.14.5
cat >probe.mjs <<'E'
import EventSourceStream from "@server-sent-stream/web";
for (const [name, character] of [["U+2028", "\u2028"], ["U+0085", "\u0085"]]) {
  const stream = new EventSourceStream();
  new Response(`data: left${character}right\n\n`).body.pipeThrough(stream);
  for await (const event of stream.readable) console.log("@server-sent-stream/web", name, event.data.split(character).join("+"));
}
E
cat >probe.py <<'E'
import asyncio
from aiohttp import web
from aiosseclient import aiosseclient

CHARACTERS = {"U+2028": "\u2028", "U+0085": "\x85", "U+000C": "\x0c", "U+001C": "\x1c"}

async def stream(request):
    body = f"data: left{CHARACTERS[request.match_info['name']]}right\n\n"
    return web.Response(text=body, content_type="text/event-stream")

async def main():
    app = web.Application()
    app.router.add_get("/{name}", stream)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    for name, character in CHARACTERS.items():
        async for event in aiosseclient(f"http://127.0.0.1:{port}/{name}"):
            print("aiosseclient", name, event.data.replace(character, "+"))
            break

asyncio.run(main())
E
{ timeout 30 node probe.mjs && timeout 30 python/bin/python probe.py 2>/dev/null; } | tee seen
diff seen - <<'E'
@server-sent-stream/web U+2028 left
@server-sent-stream/web U+0085 left+right
aiosseclient U+2028 left
aiosseclient U+0085 left
aiosseclient U+000C left
aiosseclient U+001C left
E
