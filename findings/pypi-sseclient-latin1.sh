#!/usr/bin/env bash
# PyPI sseclient 0.0.27: an event stream without `charset` is read as ISO-8859-1.
# Guess: event streams are UTF-8, always (WHATWG HTML 9.2.5), so their Content-Type needs no charset, and browsers look at none.
# Seen: it decodes as requests guesses for any `text/*`, so that each letter beyond ASCII becomes two; with a charset it is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check sseclient==0.0.27 requests==2.34.2
cat >probe.py <<'E'
import http.server
import threading
import sseclient

class Stream(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" + ("; charset=utf-8" if "charset" in self.path else ""))
        self.end_headers()
        self.wfile.write("data: grün\n\n".encode())

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
threading.Thread(target=server.serve_forever, daemon=True).start()
for path in ("plain", "charset"):
    event = next(sseclient.SSEClient(f"http://127.0.0.1:{server.server_port}/{path}"))
    print(path, ascii(event.data))
E
timeout 30 python/bin/python probe.py | tee seen
diff seen - <<'E'
plain 'gr\xc3\xbcn'
charset 'gr\xfcn'
E
