#!/usr/bin/env bash
# Apache httpd 2.4.71 (Debian 12), mod_http2: a connection that may have a hundred streams has six answers at once.
# Guess: SETTINGS_MAX_CONCURRENT_STREAMS of 100 means that a hundred requests of a connection are worked on (RFC 9113 5.1.2).
# Seen: six long answers are passed on. Two more requests wait without a word until one of the six ends.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(cat "$work"/*.pid 2>/dev/null) 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q apache2-bin=2.4.71-1~deb12u1 libapr1 libaprutil1 libnghttp2-14 >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu
cat >probe.js <<'E'
// A server whose answers do not end, and a client that asks for eight of them on one connection.
const http = require("node:http"), http2 = require("node:http2"), fs = require("node:fs");
const answers = [];
const server = http.createServer((request, answer) => (answer.write("x"), answers.push(answer))).listen(0, "127.0.0.1");
server.once("listening", () => fs.writeFileSync("server", String(server.address().port)));
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
(async () => {
  while (!fs.existsSync("front")) await wait(50);
  const client = http2.connect(`http://127.0.0.1:${fs.readFileSync("front", "utf8").trim()}`);
  const [settings] = await Promise.all([new Promise((got) => client.once("remoteSettings", got))]);
  console.log("may have at once", settings.maxConcurrentStreams);
  let begun = 0;
  for (let number = 0; number < 8; number++) client.request({ ":path": `/${number}` }).on("response", () => begun++);
  for (let before = -1; before < begun || begun < 6; await wait(3000)) before = begun;
  console.log("asked for 8, answered", begun);
  answers[0].end();
  for (const until = Date.now() + 20_000; begun < 8 && Date.now() < until; ) await wait(100);
  console.log("one ends, answered", begun);
  process.exit();
})();
E
node probe.js >seen &
echo $! >probe.pid
until [ -s server ]; do sleep 0.05; done
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
modules=$work/root/usr/lib/apache2/modules
{
  echo "ServerRoot $work
PidFile $work/apache.pid
ErrorLog $work/error.log
ServerName localhost
Listen 127.0.0.1:$port
Protocols h2c
ProxyPass / http://127.0.0.1:$(cat server)/"
  for module in mpm_event authz_core http2 proxy proxy_http; do echo "LoadModule ${module}_module $modules/mod_$module.so"; done
} | sort -s -k1,1.4r >httpd.conf
root/usr/sbin/apache2 -D FOREGROUND -f "$work/httpd.conf" &
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done
echo "$port" >front.new
mv front.new front
timeout 60 tail --pid "$(cat probe.pid)" -f /dev/null
cat seen
diff seen - <<'E'
may have at once 100
asked for 8, answered 6
one ends, answered 8
E
