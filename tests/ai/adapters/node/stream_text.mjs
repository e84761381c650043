import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import { order, reading } from "./said.mjs";

const provider = createOpenAICompatible({ name: "own", apiKey: "key", baseURL: `${order.url}/v1` });

await reading(async ({ piece }) => {
  const { fullStream, textStream } = streamText({ model: provider("m"), prompt: "Why?", onError() {} });
  if (order.only === "text") for await (const text of textStream) piece(text);
  else for await (const part of fullStream) {
    if (part.type === "text-delta") piece(part.text);
    if (part.type === "error") throw part.error;
  }
});
