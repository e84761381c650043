import OpenAI from "openai";
import { order, reading } from "./said.mjs";

const client = new OpenAI({ apiKey: "key", baseURL: `${order.url}/v1` });

await reading(async ({ piece }) => {
  const messages = [{ role: "user", content: "Why?" }];
  const answer = await client.chat.completions.create({ model: "m", messages, stream: true });
  for await (const chunk of answer) piece(chunk.choices[0]?.delta?.content ?? "");
});
