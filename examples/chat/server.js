// A chat room: what the application has to do is to check a message and append it to the room's stream.
import express from "express";
import { createClient } from "redis";

const redis = await createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" })
  .on("error", (error) => console.error(`redis: ${error.message}`))
  .connect();
const app = express();
app.use(express.json(), express.static("page"));

app.post("/rooms/:room/messages", async (request, response) => {
  const { room } = request.params;
  const { name, text } = request.body ?? {};
  if (!/^\w{1,40}$/.test(room) || !isText(name, 40) || !isText(text, 2000)) return response.sendStatus(400);
  response.json({ id: await say(room, "message", { name, text }) });
});

app.post("/rooms/:room/members", async (request, response) => {
  const { room } = request.params;
  const { name } = request.body ?? {};
  if (!/^\w{1,40}$/.test(room) || !isText(name, 40)) return response.sendStatus(400);
  response.json({ id: await say(room, "joined", { name }) });
});

const isText = (value, most) => typeof value === "string" && value.trim() !== "" && value.length <= most;

// A room remembers about 10,000 entries.
const say = (room, event, data) => redis.xAdd(`sse:chat.${room}`, "*", { event, data: JSON.stringify(data) }, {
  TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 10_000 },
});

app.listen(3000, process.env.HOST ?? "127.0.0.1", () => console.log("http://127.0.0.1:3000"));
