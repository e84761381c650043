import Anthropic from "@anthropic-ai/sdk";
import { order, reading } from "./said.mjs";

const client = new Anthropic({ apiKey: "key", baseURL: order.url });

await reading(async ({ piece }) => {
  const messages = [{ role: "user", content: "Why?" }];
  const answer = await client.messages.create({ model: "m", max_tokens: 1000, messages, stream: true });
  for await (const event of answer) if (event.type === "content_block_delta") piece(event.delta.text);
});
