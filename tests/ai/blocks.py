"""The blocks of docs/ai.md: each asks a provider, which is played, writes its chunks to a channel, and a reader has them all."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading

from answer import PIECES, TEXT, Anthropic, OpenAi
from clients import CLIENTS, HERE
from world import World

PAGE = HERE.parents[2] / "docs" / "ai.md"


class Provider:
    """Answers each POST with the chunks of a form, as its provider does; `fails`: breaks off in the middle."""

    def __init__(self, form, fails):
        entries = [*form.opening, *map(form.piece, PIECES[:250] if fails else PIECES), *([] if fails else form.closing)]
        blocks = [(f"event: {each['event']}\n" if "event" in each else "") + f"data: {each['data']}\n\n" for each in entries]

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for block in map(str.encode, blocks):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
                self.wfile.write(b"" if fails else b"0\r\n\r\n")
                self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)\n```$", PAGE.read_text(), re.S | re.M)
    return found


def python(world):
    socket = f"Redis(unix_socket_path={str(world.redis.socket)!r})"
    code = block("python").replace("Redis()", socket) + f"\n\nimport asyncio\nasyncio.run(answer({world.channel!r}, 'Why?'))\n"
    return [sys.executable, "-c", code]


def node(world):
    socket = f"createClient({{ socket: {{ path: {json.dumps(str(world.redis.socket))} }} }})"
    code = block("js").replace("createClient()", socket) + f"\nawait answer({json.dumps(world.channel)}, 'Why?').finally(() => redis.close());\n"
    modules, file = world.place.path / "node_modules", world.place.path / f"{world.channel}.mjs"
    if not modules.exists():
        modules.symlink_to(HERE / "node" / "node_modules")
    file.write_text(code)
    return ["node", file]


def run(program, form, reader, fails, place, redis, binary):
    world = World(place, redis, binary, next(client for client in CLIENTS if client.name == reader))
    provider = Provider(form(), fails)
    try:
        urls = {"OPENAI_BASE_URL": provider.url + "/v1", "ANTHROPIC_BASE_URL": provider.url}
        keys = {"OPENAI_API_KEY": "key", "ANTHROPIC_API_KEY": "key"}
        done = subprocess.run(
            list(map(str, program(world))), env={**os.environ, **urls, **keys}, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode != 0) == fails, done.stderr
        assert 3000 < redis.client.ttl(world.answer.key) <= 3600
        world.node()
        reader = world.read()
        over = reader.wait("its end", reader.over)[0]
        if fails:
            # What was read but not taken when a body broke off is gone in Node.
            assert over["kind"] == "error" and over["text"] and TEXT.startswith(over["text"]), over
        else:
            assert over["kind"] == "end" and over["text"] == TEXT, over
        return True
    finally:
        provider.server.shutdown()
        world.close()


def tests(place, redis, binary):
    """Pairs of a name and what to run, which is true where all is well."""
    for name, program, form, reader in (("python", python, OpenAi, "openai-python"), ("node", node, Anthropic, "anthropic-node")):
        for fails in (False, True):
            title = f"{name}_{'fails' if fails else 'writes'}"
            yield title, lambda p=program, f=form, r=reader, b=fails: run(p, f, r, b, place, redis, binary)
