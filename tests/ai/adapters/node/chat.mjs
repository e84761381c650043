// What `useChat` is made of, without React.
import { AbstractChat, DefaultChatTransport } from "ai";
import { AnswerTransport } from "../../../../examples/tokens/page/transport.js";
import { order, reading } from "./said.mjs";

class State {
  status = "ready";
  error = undefined;
  #messages = [];
  changed = () => {};
  get messages() {
    return this.#messages;
  }
  set messages(messages) {
    this.#messages = messages;
    this.changed();
  }
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.with(index, structuredClone(message)));
  snapshot = (thing) => structuredClone(thing);
}

class Chat extends AbstractChat {
  constructor(init, state) {
    super({ ...init, state });
  }
}

const state = new State();
const api = `${order.url}/chat`;
const transport = order.transport === "own" ? new AnswerTransport(api) : new DefaultChatTransport({ api });
const chat = new Chat({ id: "c1", transport }, state);
const said = () => state.messages.filter(({ role }) => role === "assistant");
const text = () => said().flatMap(({ parts }) => parts).map((part) => part.text ?? "").join("");

await reading(async ({ times, has }) => {
  state.changed = () => said().length > 0 && has(text());
  if (times === 0 && !order.resume) await chat.sendMessage({ text: "Why?" });
  else {
    if (times === 0) state.messages = [{ id: "u1", role: "user", parts: [{ type: "text", text: "Why?" }] }];
    await chat.resumeStream();
  }
  if (chat.status === "error") throw chat.error;
});
