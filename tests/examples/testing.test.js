// docs/testing.md: nodes in memory for an application's tests, by the test tools themselves.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { ROOT, block } from "./snippet.js";

const PAGE = "docs/testing.md";
const execute = promisify(execFile);
let folder;
before(() => {
  folder = mkdtempSync("/tmp/fantail-testing-");
  mkdirSync(`${folder}/bin`);
  symlinkSync(process.env.FANTAIL_BIN, `${folder}/bin/fantail`);
});
after(() => rmSync(folder, { recursive: true }));

// Runs a program where its files are, with `fantail` in the PATH; what it said.
async function run(name, files, ...commands) {
  const cwd = `${folder}/${name}`;
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(`${cwd}/${file}`.replace(/\/[^/]*$/, ""), { recursive: true });
    writeFileSync(`${cwd}/${file}`, text);
  }
  const env = { ...process.env, PATH: `${folder}/bin:${process.env.PATH}`, NODE_OPTIONS: "", NODE_TEST_CONTEXT: "" };
  let said = "";
  for (const [command, ...args] of commands) {
    const done = await execute(command, args, { cwd, env, timeout: 600_000, maxBuffer: 1e8 }).catch((error) => {
      throw new Error(`${command}: ${error.message}\n${error.stdout}`);
    });
    said = done.stdout + done.stderr;
  }
  return said;
}

// Neither a node that was left over, nor one that answers nobody, passes.
async function ended() {
  const { stdout } = await execute("ps", ["-eo", "args"]);
  assert.ok(!stdout.includes(`${folder}/bin/fantail`), "a node is left");
}

test("pytest", async () => {
  const application = `import json, requests, urllib.request
def create_order(number, events):
    urllib.request.urlopen(f"{events}/events/orders?event=created", json.dumps({"id": number}).encode()).read()
`;
  const files = {
    "conftest.py": block(PAGE, "python", "fixture"),
    "test_orders.py": `${application}\n${block(PAGE, "python", "def test_")}\n`,
  };
  const said = await run("pytest", files, ["python3", "-m", "venv", "venv"],
    ["venv/bin/pip", "install", "-q", "pytest==9.2.0", "requests==2.34.2"], ["venv/bin/pytest", "-q"]);
  assert.match(said, /1 passed/);
  await ended();
});

test("Jest", async () => {
  const code = `${block(PAGE, "js", "beforeAll")}
test("an order is announced", async () => {
  await fetch(fantail + "/events/orders?event=created", { method: "POST", body: '{"id":1}' });
  const { events } = await (await fetch(fantail + "/history/orders")).json();
  expect(events).toMatchObject([{ event: "created", data: '{"id":1}' }]);
});
`;
  cpSync(`${ROOT}tests/examples/testing`, `${folder}/jest`, { recursive: true });
  const said = await run("jest", { "orders.test.js": code }, ["npm", "ci", "--silent"], ["npx", "jest"]);
  assert.match(said, /1 passed, 1 total/);
  await ended();
});

test("JUnit", async () => {
  const code = `import static org.junit.jupiter.api.Assertions.assertTrue;
import java.io.IOException;
import java.net.URI;
import java.net.http.*;
import java.util.List;
import org.junit.jupiter.api.*;

class OrdersTest {
${block(PAGE, "java", "@BeforeAll")}

  @Test
  void anOrderIsAnnounced() throws Exception {
    var client = HttpClient.newHttpClient();
    var body = HttpRequest.BodyPublishers.ofString("{}");
    var publish = HttpRequest.newBuilder(URI.create(fantail + "/events/orders?event=created")).POST(body).build();
    client.send(publish, HttpResponse.BodyHandlers.discarding());
    var history = HttpRequest.newBuilder(URI.create(fantail + "/history/orders")).build();
    var events = client.send(history, HttpResponse.BodyHandlers.ofString()).body();
    assertTrue(events.contains("\\"event\\":\\"created\\""), events);
  }
}
`;
  cpSync(`${ROOT}tests/examples/testing`, `${folder}/junit`, { recursive: true });
  const said = await run("junit", { "src/test/java/OrdersTest.java": code }, ["mvn", "-B", "test"]);
  assert.match(said, /Tests run: 1, Failures: 0, Errors: 0/);
  await ended();
});
