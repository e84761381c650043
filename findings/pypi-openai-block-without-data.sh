#!/usr/bin/env bash
# PyPI openai 3.57.0: a block of an event stream that has no data is read as JSON.
# Guess: a block of nothing but `retry:` or `id:` sets that, and is no event (WHATWG HTML 9.2.6).
# Seen: the reader makes an event with empty data of it and raises JSONDecodeError; a comment alone is passed over.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check openai==3.57.0
cat >probe.py <<'E'
import http.server
import threading
import openai

CHUNK = (b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
         b'"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\ndata: [DONE]\n\n')
FIRST = {"comment": b": ping\n\n", "retry": b"retry: 3000\n\n", "id": b"id: 7\n\n"}

class Stream(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(FIRST[self.path.split("/")[1]] + CHUNK)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name in FIRST:
    client = openai.OpenAI(api_key="none", base_url=f"http://127.0.0.1:{server.server_port}/{name}", max_retries=0)
    try:
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=True)
        print(name, "".join(chunk.choices[0].delta.content for chunk in answer))
    except Exception as error:
        print(name, "raised", type(error).__name__)
E
timeout 60 python/bin/python probe.py | tee seen
diff seen - <<'E'
comment hello
retry raised JSONDecodeError
id raised JSONDecodeError
E
