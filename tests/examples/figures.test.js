// The figures that the documentation quotes are those of loadtest/RESULTS.md: other results want other words.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ROOT } from "./snippet.js";

// Machines are not equal, not even one to itself an hour later.
const FACTOR = 1.4;

const cells = (line) => line.split("|").slice(1, -1).map((cell) => cell.trim());

// Medians by the beginning of a scenario's heading, the figure and the server.
function measured(scenario, figure, server) {
  const text = readFileSync(`${ROOT}loadtest/RESULTS.md`, "utf8");
  const section = text.split("\n## ").find((section) => section.startsWith(scenario));
  assert.ok(section, `RESULTS.md has no ${scenario}`);
  const rows = section.split("\n").filter((line) => line.startsWith("|")).map(cells);
  const column = rows[0].indexOf(server);
  const row = rows.find(([name]) => name === figure);
  assert.ok(column > 0 && row, `RESULTS.md, ${scenario}: ${figure} of ${server}`);
  // `least/median (ratio)`, or one value.
  return Number(row[column].split(" ")[0].split("/").at(-1));
}

// The first number in each cell of the row of a page's table.
function quoted(page, name) {
  const rows = readFileSync(ROOT + page, "utf8").split("\n").filter((line) => line.startsWith(`| ${name}`)).map(cells);
  assert.equal(rows.length, 1, `${page}: rows of ${name}`);
  return rows[0].slice(1).map((cell) => Number(/[\d.,]+/.exec(cell)[0].replaceAll(",", "")));
}

function agree(page, name, expected) {
  const found = quoted(page, name);
  assert.equal(found.length, expected.length, `${page}, ${name}`);
  expected.forEach((value, i) => {
    const off = Math.max(found[i] / value, value / found[i]);
    assert.ok(off <= FACTOR, `${page}, ${name}: says ${found[i]}, measured ${value}`);
  });
}

const OPERATING = "docs/operating.md";
const WAYS = ["fantail", "fantail TLS", "fantail HTTP/2", "fantail HTTP/2 TLS"];

test("docs/operating.md: what a subscriber takes", () => {
  const of = (figure, servers) => servers.map((server) => measured("ways", figure, server));
  // A few subscribers share what a node allocates ahead, so memory is that of many.
  const memory = [measured("hold", "memory_storm_kib", "fantail"), ...of("memory_kib", WAYS.slice(1))];
  agree(OPERATING, "memory of the node, KiB", memory);
  agree(OPERATING, "CPU per event delivered", of("cpu_us", WAYS));
  agree(OPERATING, "CPU to join", of("join_us", WAYS));
});

test("docs/operating.md: what Redis takes", () => {
  const streams = ["1", "100", "1,000", "10,000", "100,000"];
  const of = (figure) => streams.map((count) => measured(`follow: ${count} channels`, figure, "fantail"));
  agree(OPERATING, "Redis' CPU per event", of("redis_us"));
  agree(OPERATING, "commands per event", of("redis_commands"));
});

test("docs/comparison.md: measured beside", () => {
  const servers = ["fantail", "nchan", "hyper-body"];
  const of = (scenario, figure) => servers.map((server) => measured(scenario, figure, server));
  const fanout = "fanout: 10,000 subscribers";
  agree("docs/comparison.md", "CPU per delivery", of(fanout, "cpu_us"));
  agree("docs/comparison.md", "memory per subscriber", of(fanout, "memory_kib"));
  agree("docs/comparison.md", "CPU per join", of(fanout, "join_us"));
  agree("docs/comparison.md", "back after", of("storm: shared", "joins_per_s"));
});
