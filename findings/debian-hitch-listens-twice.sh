#!/usr/bin/env bash
# hitch 1.7.2 (Debian 12): it listens, stops listening, reads its certificates, and listens again.
# Guess: once a connection is accepted, the proxy has started; a script that waits for the port may go on.
# Seen: the first socket is only a trial of the address. Who connects to it before it is closed is reset, and who connects until the
# second one is refused.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(cat "$work/pid" 2>/dev/null) 2>/dev/null; rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get download -q hitch=1.7.2-1+b1 libev4=1:4.33-1 strace=6.1-0.1 >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -subj /CN=localhost 2>/dev/null
cat key.pem certificate.pem >both.pem
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
user=$([ "$(id -u)" -ne 0 ] || echo --user=nobody)
root/usr/bin/strace -f -qq -e trace=bind,listen,close -o calls root/usr/sbin/hitch --frontend="[127.0.0.1]:$port" \
  --backend='[127.0.0.1]:9' --workers=1 $user both.pem >log 2>&1 &
echo $! >pid
for _ in {1..200}; do [ "$(cat calls 2>/dev/null | grep -c ' listen(')" -ge 2 ] && break; sleep 0.05; done
awk -v port="htons($port)" '
  { sub(/^[0-9]+ +/, "") }
  /^bind\(/ && index($0, port) { split($0, part, /[(,]/); ours = part[2]; print "bind" }
  /^listen\(/ { split($0, part, /[(,]/); if (part[2] == ours) print "listen" }
  /^close\(/ { split($0, part, /[()]/); if (part[2] == ours) { print "close"; ours = "" } }
' calls | tee seen
diff seen - <<'E'
bind
listen
close
bind
listen
E
