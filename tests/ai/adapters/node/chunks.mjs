// The generator of examples/tokens.
import { chunks } from "../../../../examples/tokens/page/chunks.js";
import { order, reading } from "./said.mjs";

await reading(async ({ piece }) => {
  let first = await fetch(`${order.url}/chat`, { method: "POST" });
  const ask = async (id) => {
    if (!first) return fetch(`${order.url}/chat/c1/stream?lastEventId=${id}`);
    const answer = first;
    first = undefined;
    return answer;
  };
  for await (const data of chunks(ask)) {
    const chunk = JSON.parse(data);
    if (chunk.type === "error") throw new Error(chunk.errorText);
    if (chunk.type === "text-delta") piece(chunk.delta);
  }
});
