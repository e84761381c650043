// The format of the HTML standard, section 9.2.6.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Parser } from "../fantail.js";
import { chance } from "./world.js";

function read(pieces, most) {
  const told = [];
  const parser = new Parser((block) => told.push(block), most);
  for (const piece of pieces) parser.push(piece);
  return { told, parser };
}
const of = (...pieces) => read(pieces).told;
const message = (data, id = "") => ({ type: "message", data, id });

test("lines end with LF, CR or CRLF, wherever the pieces are cut", () => {
  const expected = [message("a\nb", "1"), { type: "x", data: "c", id: "2" }];
  for (const end of ["\n", "\r", "\r\n"]) {
    const text = ["id: 1", "data: a", "data: b", "", "id:2", "event: x", "data: c", "", ""].join(end);
    for (let cut = 0; cut <= text.length; cut++) assert.deepEqual(of(text.slice(0, cut), text.slice(cut)), expected, `${end} ${cut}`);
    assert.deepEqual(of(...text), expected);
  }
});

test("a block whose last line ends with CR is told before anything else comes", () => {
  assert.deepEqual(of("data: a\r\r"), [message("a")]);
  assert.deepEqual(of("data: a\r\n\r", "\ndata: b\r\n\r\n"), [message("a"), message("b")]);
});

test("one space behind the colon goes, no other", () => {
  assert.deepEqual(of("data:  a \n\n"), [message(" a ")]);
  assert.deepEqual(of("data:a:b\n\n"), [message("a:b")]);
  assert.deepEqual(of(":comment\n: more\ndata\n\n"), [message("")]);
});

test("data may be empty or have empty lines, and what is none is no event", () => {
  assert.deepEqual(of("data\n\n"), [message("")]);
  assert.deepEqual(of("data:\ndata:\n\n"), [message("\n")]);
  assert.deepEqual(of("event: x\n\ndata: a\n\n"), [{ type: "x", data: undefined, id: "" }, message("a")]);
});

test("an id stays, is told without data, and can be taken back; with NUL it is none", () => {
  assert.deepEqual(of("id: 1\n\ndata: a\n\nid: 2\0\ndata: b\n\nid\ndata: c\n\n"), [
    message(undefined, "1"), message("a", "1"), message("b", "1"), message("c"),
  ]);
});

test("an empty type is none", () => {
  assert.deepEqual(of("event: x\nevent:\ndata: a\n\n"), [message("a")]);
});

test("a block that was torn is not told, nor its id", () => {
  assert.deepEqual(of("data: a\n\nid: 9\ndata: b\n"), [message("a")]);
});

test("retry is digits alone", () => {
  assert.equal(read(["retry: 12\nretry: 1x\nretry:\nretry: -1\n"]).parser.retry, 12);
});

test("unknown fields, and U+2028 within a line, mean nothing", () => {
  assert.deepEqual(of("Data: a\n data: b\nfoo\ndata: c\u2028\u0085d\n\n"), [message("c\u2028\u0085d")]);
});

test("an event above the limit is a gap with its id, and nothing else suffers", () => {
  const gap = (id) => ({ channel: null, reason: "too_large", resume_from: null, continues_at: id, lost: 1 });
  for (const large of [`data: ${"x".repeat(50)}\n`, "data: 0123456789\n".repeat(5)]) {
    const text = `id: 1\n${large}id: 2\ndata: more\n\nid: 3\ndata: b\n\n`;
    for (const pieces of [[text], [...text], text.match(/[^]{1,7}/g)]) {
      const { told } = read(pieces, 20);
      assert.deepEqual(told.map(({ type, id }) => [type, id]), [["fantail.gap", "2"], ["message", "3"]]);
      assert.deepEqual(JSON.parse(told[0].data), gap("2"));
    }
  }
  const most = "data: 0123456789\ndata: 01234567\n\n";
  for (const pieces of [[most], [...most]]) assert.equal(read(pieces, 20).told[0].data, "0123456789\n01234567");
});

test("what comes does not depend on how it is cut", () => {
  const random = chance(7);
  const words = ["data", "event", "id", "retry", ":", ": ", "\n", "\r", "\r\n", "\n\n", "x", "ü", "", "1"];
  for (let round = 0; round < 2000; round++) {
    const text = Array.from({ length: random.below(30) }, () => random.of(words)).join("");
    const pieces = [];
    for (let rest = text; rest; ) {
      const cut = 1 + random.below(5);
      pieces.push(rest.slice(0, cut));
      rest = rest.slice(cut);
    }
    assert.deepEqual(of(...pieces), of(text), JSON.stringify(pieces));
  }
});
