import { order, reading } from "./said.mjs";

const { Client } = await import(order.client);
const { StreamableHTTPClientTransport } = await import(order.transport);
const client = new Client({ name: "reader", version: "1" });
// By default it does not follow a redirect to another origin.
await client.connect(new StreamableHTTPClientTransport(new URL(`${order.url}/mcp`), { redirectPolicy: "follow" }));

await reading(async ({ piece }) => {
  const options = { onprogress: ({ message }) => piece(message), timeout: 600_000 };
  const call = { name: "answer", arguments: {} };
  await (order.schema ? client.callTool(call, undefined, options) : client.callTool(call, options));
});
