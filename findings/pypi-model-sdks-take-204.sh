#!/usr/bin/env bash
# PyPI openai 3.57.0 and anthropic 2.14.0: a 204 in place of a stream is an answer without any chunk.
# Guess: an answer that is no event stream is an error.
# Seen: the loop over it ends at once and nothing is raised, so an application shows an empty answer as a finished one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check openai==3.57.0 anthropic==2.14.0
cat >probe.py <<'E'
import http.server
import threading

import anthropic
import openai


class NoContent(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NoContent)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
asked = [{"role": "user", "content": "?"}]
client = openai.OpenAI(api_key="none", base_url=url, max_retries=0)
print("openai", list(client.chat.completions.create(model="m", messages=asked, stream=True)))
client = anthropic.Anthropic(api_key="none", base_url=url, max_retries=0)
print("anthropic", list(client.messages.create(model="m", max_tokens=9, messages=asked, stream=True)))
E
timeout 300 python/bin/python probe.py | tee seen
diff seen - <<'E'
openai []
anthropic []
E
