#!/usr/bin/env bash
# Varnish 7.1.1 (Debian 12): a 204 without Cache-Control is kept for two minutes, and given to who asks with other headers.
# Guess: an answer of nothing, to a request with a Last-Event-ID of its own, goes through to the server each time.
# Seen: a 204 may be kept by a cache's own judgement (RFC 9110 15.3.5), and the default configuration does so. The second client
# gets the first one's 204, though the server has an event for it. EventSource stops for good at a 204.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(cat "$work"/*.pid 2>/dev/null) 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q varnish=7.1.1-2+deb12u1 libvarnishapi3=7.1.1-2+deb12u1  >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu:$work/root/usr/lib/x86_64-linux-gnu/varnish
cat >server.py <<'E'
import http.server
import os

class Events(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        done = self.headers.get("Last-Event-ID") == "2"
        self.send_response(204 if done else 200)
        if not done:
            self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if not done:
            self.wfile.write(b"id: 2\ndata: the last event\n\n")

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Events)
with open("server.new", "w") as port:
    port.write(str(server.server_port))
os.rename("server.new", "server.port")
server.serve_forever()
E
python3 server.py &
echo $! >server.pid
until [ -s server.port ]; do sleep 0.05; done
root/usr/sbin/varnishd -F -j none -n "$work/state" -a "$work/varnish.sock" -b "127.0.0.1:$(cat server.port)" -s malloc,8m \
  -p cc_command='exec gcc -g -O2 -fpic -shared -Wl,-x -o %o %s -Iroot/usr/include' >varnish.log 2>&1 &
echo $! >varnish.pid
for _ in {1..200}; do [ -S varnish.sock ] && break; sleep 0.05; done
ask() { curl -s --max-time 10 --retry 20 --retry-delay 1 --retry-all-errors -o body -w '%{http_code}' --unix-socket varnish.sock -H "Last-Event-ID: $1" http://host/events; }
echo "who has event 2: $(ask 2)" | tee seen
echo "who has event 1: $(ask 1)" | tee -a seen
diff seen - <<'E'
who has event 2: 204
who has event 1: 204
E
