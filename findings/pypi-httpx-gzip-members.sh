#!/usr/bin/env bash
# PyPI httpx 0.28.1: of an answer of several gzip members only the first one is read.
# Guess: a gzip stream is any number of members, one after the other (RFC 1952 2.2), as for requests 2.34.2, `gzip` and browsers.
# Seen: what the later members hold is lost without an error. A server that compresses event by event loses all but the first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check httpx==0.28.1 requests==2.34.2
cat >probe.py <<'E'
import gzip
import http.server
import threading
import httpx
import requests

class Members(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        body = gzip.compress(b"data: one\n\n") + gzip.compress(b"data: two\n\n")
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Members)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"
print("requests", repr(requests.get(url).text))
print("httpx", repr(httpx.get(url).text))
E
timeout 30 python/bin/python probe.py | tee seen
diff seen - <<'E'
requests 'data: one\n\ndata: two\n\n'
httpx 'data: one\n\n'
E
