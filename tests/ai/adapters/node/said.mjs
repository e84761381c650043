// What an adapter says and is told; see tests/ai/README.md.
import { createInterface } from "node:readline";

export const order = JSON.parse(process.argv[2]);
const say = (kind, fields = {}) => process.stdout.write(JSON.stringify({ kind, ...fields }) + "\n");
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// Reads an answer by `read`, which tells the text that it has; once more when told to, where it was no whole one.
export async function reading(read) {
  for (let times = 0; ; times += 1) {
    let text = "";
    const has = (whole) => say("text", { length: (text = whole).length });
    try {
      await read({ times, has, piece: (piece) => has(text + piece) });
      say("end", { text });
      process.exit(0);
    } catch (error) {
      const status = [error.status, error.statusCode, error.code].find(Number.isInteger) ?? null;
      say("error", { text, status, name: error.name, message: error.message });
      if ((await told.next()).done) process.exit(1);
    }
  }
}
