// Results as `cargo test` prints them, so that tests/run counts them.
export default async function* reporter(source) {
  let passed = 0, failed = 0;
  for await (const { type, data } of source) {
    if (type === "test:stdout" || type === "test:stderr") yield data.message;
    if ((type !== "test:pass" && type !== "test:fail") || data.details.type === "suite" || data.nesting > 0) continue;
    const name = "browser::" + data.name.replaceAll(" ", "_");
    if (type === "test:pass") {
      passed += 1;
      yield `test ${name} ... ok\n`;
    } else {
      failed += 1;
      const error = data.details.error.cause ?? data.details.error;
      yield `${error.stack ?? error}\ntest ${name} ... FAILED\n`;
    }
  }
  yield `test result: ${failed || !passed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed\n`;
}
