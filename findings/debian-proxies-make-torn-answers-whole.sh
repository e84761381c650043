#!/usr/bin/env bash
# HAProxy 2.6.12 and Caddy 2.6.2 (Debian 12): an answer that the server breaks off can reach a client as a whole one.
# Guess: where chunks end without the last one (RFC 9112 8), a proxy breaks off, too, so that the client knows (RFC 9113 8.1.1).
# Seen: HAProxy does so over HTTP/1.1, and over HTTP/2 ends the stream properly. Caddy ends it properly over both.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(cat "$work"/*.pid 2>/dev/null) 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q haproxy=2.6.12-1+deb12u4 liblua5.3-0 caddy=2.6.2-5 >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu XDG_DATA_HOME=$work XDG_CONFIG_HOME=$work
cat >server.py <<'E'
import os
import socket

server = socket.create_server(("127.0.0.1", 0))
# A free port for each listener of the proxies.
free = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
ports = [server, *free]
with open("ports.new", "w") as file:
    print(*[port.getsockname()[1] for port in ports], file=file)
for port in free:
    port.close()
os.rename("ports.new", "ports")
while True:
    link, _ = server.accept()
    link.recv(65536)
    link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    link.close()
E
python3 server.py &
echo $! >server.pid
until [ -s ports ]; do sleep 0.05; done
read -r server haproxy1 haproxy2 caddy <ports
cat >haproxy.cfg <<E
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend one
  bind 127.0.0.1:$haproxy1
  default_backend server
frontend two
  bind 127.0.0.1:$haproxy2 proto h2
  default_backend server
backend server
  server one 127.0.0.1:$server
E
cat >Caddyfile <<E
{
  admin off
  servers {
    protocols h1 h2c
  }
}
http://127.0.0.1:$caddy {
  reverse_proxy 127.0.0.1:$server
}
E
root/usr/sbin/haproxy -f haproxy.cfg >haproxy.log 2>&1 &
echo $! >haproxy.pid
root/usr/bin/caddy run --config Caddyfile --adapter caddyfile >caddy.log 2>&1 &
echo $! >caddy.pid
ask() {
  local status=0
  curl -s --max-time 5 --retry 20 --retry-delay 1 --retry-connrefused -o body "${@:3}" "http://127.0.0.1:$2/" || status=$?
  echo "$1: $(cat body), $([ "$status" -eq 0 ] && echo whole || echo "broken off")"
}
{
  ask "HAProxy, HTTP/1.1" "$haproxy1" --http1.1
  ask "HAProxy, HTTP/2" "$haproxy2" --http2-prior-knowledge
  ask "Caddy, HTTP/1.1" "$caddy" --http1.1
  ask "Caddy, HTTP/2" "$caddy" --http2-prior-knowledge
} | tee seen
diff seen - <<'E'
HAProxy, HTTP/1.1: half, broken off
HAProxy, HTTP/2: half, whole
Caddy, HTTP/1.1: half, whole
Caddy, HTTP/2: half, whole
E
