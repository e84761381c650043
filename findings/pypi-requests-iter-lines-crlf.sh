#!/usr/bin/env bash
# PyPI requests 2.34.2: `iter_lines` makes two line ends of a CRLF that lies on a chunk's edge.
# Guess: the lines of a body do not depend on how it is cut into pieces.
# Seen: with `chunk_size=1`, as event streams are often read so that nothing waits, an empty line follows each line. An empty
# line ends an event, so the event's type and its data become two events.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check requests==2.34.2
cat >probe.py <<'E'
import http.server
import threading
import requests

class Stream(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"event: note\r\ndata: text\r\n\r\n")

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
threading.Thread(target=server.serve_forever, daemon=True).start()
for size in (512, 1):
    answer = requests.get(f"http://127.0.0.1:{server.server_port}/", stream=True)
    print(size, [line.decode() for line in answer.iter_lines(chunk_size=size)])
E
timeout 30 python/bin/python probe.py | tee seen
diff seen - <<'E'
512 ['event: note', 'data: text', '']
1 ['event: note', '', 'data: text', '', '', '']
E
