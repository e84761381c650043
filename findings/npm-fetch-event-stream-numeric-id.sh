#!/usr/bin/env bash
# npm fetch-event-stream 0.1.6: the type of `id` depends on what it says.
# Guess: an id is opaque text.
# Seen: an id that looks like a number in JavaScript's own spelling is a number, every other one a string, so an id such as
# `Infinity` is a number and one with a leading zero is not. A comparison by === with a kept id fails for some of them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund fetch-event-stream@0.1.6
cat >probe.mjs <<'E'
import { events } from "fetch-event-stream";
for (const id of ["1700000000000", "1700000000000-0", "007", "9007199254740991", "9007199254740993", "Infinity"])
  for await (const event of events(new Response(`id: ${id}\ndata: x\n\n`))) console.log(id, typeof event.id);
E
timeout 30 node probe.mjs | tee seen
diff seen - <<'E'
1700000000000 number
1700000000000-0 string
007 string
9007199254740991 number
9007199254740993 string
Infinity number
E
