// No code block of the documentation goes untested unnoticed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { BLOCKS } from "./blocks.js";
import { ROOT } from "./snippet.js";

// What the examples' own tools install and build.
const FOREIGN = /(^|\/)(node_modules|\.venv|target|dist)\//;

function below(...folders) {
  const all = folders.flatMap((folder) => readdirSync(ROOT + folder, { recursive: true }).map((name) => `${folder}/${name}`));
  return all.filter((name) => name.endsWith(".md") && !FOREIGN.test(name));
}

const pages = () => ["README.md", ...below("docs", "examples")];

// Those that link to headings, too.
function everything() {
  const more = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
  return [...pages(), ...more, ...below("clients", "findings", "helm", "k6", "loadtest", "tests")];
}

// All fenced blocks; what has no language is `text`.
function fenced(page) {
  const found = readFileSync(ROOT + page, "utf8").matchAll(/^ *```(\w*)\n([^]*?)\n *```$/gm);
  return [...found].map(([, language, code]) => ({ language: language || "text", code }));
}

// As `block` of snippet.js finds it.
const fits = ([language, having], block, all) =>
  language === block.language &&
  (all.some(({ code }) => code === having) ? block.code === having : block.code.includes(having));

test("each block of README.md, docs/ and examples/ is run by one test, or says why not", () => {
  const all = pages();
  assert.ok(all.length > 30, String(all));
  let count = 0;
  for (const page of all) {
    const known = BLOCKS[page] ?? [];
    const blocks = fenced(page);
    for (const block of blocks) {
      if (block.language === "text") {
        // Diagrams and what a stream says; what is typed has its language.
        const typed = /^\s*(cargo|curl|docker|fantail|go|helm|kubectl|npm|python3|redis-cli|redis-server) /m;
        assert.doesNotMatch(block.code, typed, page);
        continue;
      }
      const by = known.filter((entry) => fits(entry, block, blocks));
      assert.equal(by.length, 1, `${page}: ${by.length} tests in blocks.js of\n${block.code}`);
      count += 1;
    }
    for (const entry of known) {
      assert.equal(blocks.filter((block) => fits(entry, block, blocks)).length, 1, `${page} has not: ${entry}`);
    }
  }
  assert.ok(count > 50, `${count} blocks`);
  assert.deepEqual(Object.keys(BLOCKS).filter((page) => !all.includes(page)), []);
});

test("the tests that blocks.js names are of those blocks", () => {
  for (const [page, entries] of Object.entries(BLOCKS)) {
    for (const [, having, where] of entries) {
      if (where.startsWith("not run: ")) continue;
      const source = readFileSync(ROOT + where, "utf8");
      const [, name] = /^examples\/(\w+)\/README\.md$/.exec(page) ?? [];
      // An example is started by its README's first block.
      const starts = name && source.includes(`Example.of("${name}"`) && entries[0][1] === having;
      const named = source.includes(page) && (!where.endsWith(".js") || source.includes(having));
      assert.ok(starts || named || source.includes(`shell_blocks("${page}")`), `${where}: ${page}, ${having}`);
    }
  }
});

// As repositories are shown: words of a heading with `-` between them.
const slug = (heading) => heading.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");
const anchors = (text) => [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading));

test("links to headings lead to them", () => {
  let count = 0;
  for (const page of everything()) {
    const prose = readFileSync(ROOT + page, "utf8").replace(/^ *```[^]*?^ *```$/gm, "");
    for (const [, file, anchor] of prose.matchAll(/\]\(([\w./-]*)#([\w-]+)\)/g)) {
      const target = file ? join(dirname(page), file) : page;
      assert.ok(anchors(readFileSync(ROOT + target, "utf8")).includes(anchor), `${page}: ${file}#${anchor}`);
      count += 1;
    }
  }
  assert.ok(count > 80, `${count} links`);
});

test("README.md is read in a few minutes", () => {
  const lines = readFileSync(`${ROOT}README.md`, "utf8").trimEnd().split("\n");
  assert.ok(lines.length <= 150, `${lines.length} lines: tables belong into docs/reference`);
});

// Of cargo, curl, helm, httpie, kubectl, loadtest, Node, python3, redis-cli, redis-server, tests/run and wget.
const OTHERS = `--against --bind --build --cacert --cluster --compressed --compression --connect-to --connections --data-urlencode --dry-run
  --experimental-eventsource --from-literal --http2-prior-knowledge --latency --list --logs --no-default-features --port --previous
  --release --replicas --save --set --stream --timeout --tries --users --volumes --wait`.split(/\s+/);

test("flags that pages name exist", () => {
  const flags = (text) => text.match(/(?<![\w-])--[a-z][a-z0-9-]+/g) ?? [];
  const commands = [["serve"], ["publish"], ["tail"], ["top"], ["check"], ["revoke"], ["revoke", "subject"], ["token"]];
  const help = commands.map((words) => String(execFileSync(process.env.FANTAIL_BIN, [...words, "--help"])));
  const known = new Set([...OTHERS, ...help.flatMap(flags)]);
  assert.ok(known.size > 80, String(known.size));
  for (const page of [...pages(), "SECURITY.md", "ARCHITECTURE.md"]) {
    const unknown = flags(readFileSync(ROOT + page, "utf8")).filter((flag) => !known.has(flag));
    assert.deepEqual(unknown, [], page);
  }
});
