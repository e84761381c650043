#!/usr/bin/env bash
# npm eventsource-parser 3.1.1: where lines end with a single CR, the newest event stays in the parser.
# Guess: CR alone ends a line (WHATWG HTML 9.2.5), so an empty line made of it ends the event at once.
# Seen: the parser keeps the last CR until another byte comes, to see whether that is an LF. An event is one event late, and
# the last one of a stream never comes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund eventsource-parser@3.1.1
cat >probe.mjs <<'E'
import { createParser } from "eventsource-parser";
const feed = (name, pieces) => {
  const seen = [];
  const parser = createParser({ onEvent: (event) => seen.push(event.data) });
  console.log(name, pieces.map((piece) => (parser.feed(piece), seen.join("+"))).join(" | "));
};
feed("LF:", ["data: one\n\n", "data: two\n\n"]);
feed("CRLF:", ["data: one\r\n\r\n", "data: two\r\n\r\n"]);
feed("CR:", ["data: one\r\r", "data: two\r\r"]);
E
timeout 30 node probe.mjs | tee seen
diff seen - <<'E'
LF: one | one+two
CRLF: one | one+two
CR:  | one
E
