// What the documentation shows of back ends runs, and its event comes to a subscriber of a node.
import assert from "node:assert/strict";
import { after as finally_, before, test } from "node:test";
import { Cluster } from "./cluster.js";
import { Runner, after, block } from "./snippet.js";

const PRODUCING = "docs/producing.md";
let cluster;
let runner;
before(async () => {
  cluster = await Cluster.start();
  runner = new Runner(cluster);
});
finally_(async () => {
  runner?.end();
  await cluster?.stop();
});

// What a subscriber of the channel gets while `act` runs: the first `count` events, as [type, data].
async function gets(channel, count, act) {
  const end = new AbortController();
  const answer = await fetch(`${cluster.node}/events/${channel}`, { signal: end.signal });
  const events = [];
  const reading = (async () => {
    let text = "";
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      const whole = (text += part).split("\n\n");
      text = whole.pop();
      for (const lines of whole.map((event) => event.split("\n"))) {
        if (!lines.some((line) => line.startsWith("data:"))) continue;
        const value = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        events.push([value("event"), value("data")]);
      }
      if (events.length >= count) return;
    }
  })();
  const late = setTimeout(() => end.abort(new Error(`${channel}: only ${JSON.stringify(events)}`)), 1_200_000);
  try {
    await act();
    const soon = setTimeout(() => end.abort(new Error(`${channel}: only ${JSON.stringify(events)}`)), 60_000);
    await reading.finally(() => clearTimeout(soon));
  } finally {
    clearTimeout(late);
    end.abort();
    reading.catch(() => {});
  }
  return events;
}

const created = [["created", '{"id":1}']];
const moved = [[undefined, "moved"]];

for (const page of [PRODUCING, "README.md"]) {
  test(`${page}: Python`, async () => {
    assert.deepEqual(await gets("orders", 1, () => runner.python(block(page, "python", "import redis"))), created);
  });
  test(`${page}: Node`, async () => {
    const code = block(page, "js", "xAdd");
    const closed = code.includes("close()") ? code : `${code}\nawait client.close();`;
    assert.deepEqual(await gets("orders", 1, () => runner.node(closed)), created);
  });
}

test("docs/producing.md: Go", async () => {
  assert.deepEqual(await gets("orders", 1, () => runner.go(block(PRODUCING, "go", "XAdd"))), created);
});

test("docs/producing.md: Java", async () => {
  assert.deepEqual(await gets("orders", 1, () => runner.jedis(block(PRODUCING, "java", "xadd"))), created);
});

test("docs/producing.md: Rust", async () => {
  assert.deepEqual(await gets("orders", 1, () => runner.rust(block(PRODUCING, "rust", "xadd_maxlen"))), created);
});

test("docs/producing.md: a transaction", async () => {
  const code = `import redis\nr = redis.Redis()\n${block(PRODUCING, "python", "transaction=True")}`;
  assert.deepEqual(await gets("orders", 1, () => runner.python(code)), [["paid", '{"id":1}']]);
  assert.equal(await cluster.cli("HGET", "order:1", "state"), "paid");
});

test("docs/producing.md: the outbox", async () => {
  const code = `
import redis, sqlite3
database = sqlite3.connect(":memory:", isolation_level=None)
database.executescript("""
  CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT);
  INSERT INTO orders VALUES (1, 'new');
  CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT, event TEXT, data TEXT);
""")
transaction = """${block(PRODUCING, "sql", "outbox")}"""
database.executescript(transaction)
database.executescript(transaction.replace("COMMIT", "ROLLBACK"))
database.executescript(transaction.replace("'paid'", "'shipped'"))
${block(PRODUCING, "python", "def move(")}
move(database, redis.Redis())
assert database.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
assert database.execute("SELECT state FROM orders").fetchone() == ("shipped",)
`;
  const expected = [["paid", '{"id":1}'], ["shipped", '{"id":1}']];
  assert.deepEqual(await gets("orders", 2, () => runner.python(code)), expected);
});

test("docs/moving.md: Express", async () => {
  const code = `import { createClient } from "redis";
const client = await createClient().connect();
const data = "moved";
${after("Express")};
await client.close();`;
  assert.deepEqual(await gets("orders", 1, () => runner.node(code)), moved);
});

test("docs/moving.md: Flask", async () => {
  const code = `import redis\nr, data = redis.Redis(), "moved"\n${after("Flask")}`;
  assert.deepEqual(await gets("orders", 1, () => runner.python(code)), moved);
});

test("docs/moving.md: FastAPI", async () => {
  const code = `import asyncio
from redis import asyncio as redis

async def main():
    r, data = redis.Redis(), "moved"
    ${after("FastAPI")}
    await r.aclose()

asyncio.run(main())`;
  assert.deepEqual(await gets("orders", 1, () => runner.python(code)), moved);
});

test("docs/moving.md: Gin", async () => {
  const code = `client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379"})\ndata := "moved"\n${after("Gin")}`;
  assert.deepEqual(await gets("orders", 1, () => runner.go(code)), moved);
});

test("docs/moving.md: Spring", async () => {
  assert.deepEqual(await gets("orders", 1, () => runner.spring(after("Spring"))), moved);
});
