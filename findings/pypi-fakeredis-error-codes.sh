#!/usr/bin/env bash
# PyPI fakeredis 2.41.0, its TCP server: every error reply has the code ERR.
# Guess: an error begins with its code, `WRONGTYPE …`, by which clients tell what went wrong (Redis docs, RESP, simple errors).
# Seen: `ERR` stands before or instead of the code that Redis sends (WRONGTYPE, NOGROUP), so whoever looks at the first word
# takes the other branch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check fakeredis==2.41.0 redis==8.1.0
cat >probe.py <<'E'
import socket
import threading
from fakeredis import TcpFakeServer

def call(link, *words):
    link.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words))
    return link.recv(4096).decode().strip()

server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
threading.Thread(target=server.serve_forever, daemon=True).start()
link = socket.create_connection(server.server_address)
call(link, "SET", "key", "value")
for words in (["XLEN", "key"], ["XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "none", ">"]):
    print(words[0], " ".join(call(link, *words).split()[:2]))
E
timeout 30 python/bin/python probe.py 2>/dev/null | tee seen
diff seen - <<'E'
XLEN -ERR WRONGTYPE
XREADGROUP -ERR The
E
