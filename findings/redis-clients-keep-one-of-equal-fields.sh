#!/usr/bin/env bash
# Of a stream entry that has a field twice, redis-py 8.1.0 and node-redis 6.3.1 give the last one, ioredis 6.0.0 both.
# Guess: a field may stand in an entry more than once (Redis keeps a list of pairs, and XRANGE shows it), so a consumer sees all.
# Seen: the two make a dictionary of the list, and neither says that one was dropped. Redis itself has both.
set -euo pipefail
. "$(dirname "$0")/support/redis.sh"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check redis==8.1.0
npm install --silent --no-audit --no-fund --ignore-scripts redis@6.3.1 ioredis@6.0.0 >/dev/null
cat >fill.py <<'E'
from redis_client import call, connect

answer = call(connect(), "XADD", "stream", "1-0", "tag", "red", "tag", "blue")
print("Redis", call(connect(), "XRANGE", "stream", "-", "+").count(b"tag"))
E
cat >probe.py <<'E'
import redis

[(_, fields)] = redis.Redis(unix_socket_path="socket", decode_responses=True).xrange("stream")
print("redis-py", len(fields), fields["tag"])
E
cat >probe.mjs <<'E'
import { createClient } from 'redis'
import Redis from 'ioredis'

const client = await createClient({ socket: { path: './socket' } }).connect()
const [{ message }] = await client.xRange('stream', '-', '+')
console.log('node-redis', Object.keys(message).length, message.tag)
client.destroy()
const other = new Redis({ path: `${process.cwd()}/socket` })
const [[, fields]] = await other.xrange('stream', '-', '+')
console.log('ioredis', fields.length / 2, fields[1], fields[3])
other.disconnect()
E
{
  timeout 30 python3 fill.py
  timeout 30 python/bin/python probe.py
  timeout 30 node probe.mjs
} | tee seen
diff seen - <<'E'
Redis 2
redis-py 1 blue
node-redis 1 blue
ioredis 2 red blue
E
