// How `useChat` gets its answers: the application redirects to the answer's channel on a node, and where that breaks off the
// application is asked where to go on.
import { chunks } from "./chunks.js";

export class AnswerTransport {
  // A reload begins with the first chunk.
  resumeStreamIsReplay = true;

  constructor(api) {
    this.api = api;
  }

  async sendMessages({ chatId, messages, abortSignal: signal }) {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ id: chatId, messages });
    return this.#read(chatId, signal, await fetch(this.api, { method: "POST", headers, body, signal }));
  }

  async reconnectToStream({ chatId, abortSignal: signal }) {
    const first = await this.#ask(chatId, signal, "");
    return first.status === 204 ? null : this.#read(chatId, signal, first);
  }

  #ask(chatId, signal, id) {
    return fetch(`${this.api}/${chatId}/stream?lastEventId=${encodeURIComponent(id)}`, { signal });
  }

  #read(chatId, signal, first) {
    const ask = (id) => {
      const answer = first ?? this.#ask(chatId, signal, id);
      first = undefined;
      return answer;
    };
    const all = chunks(ask);
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await all.next();
        if (done) controller.close();
        else controller.enqueue(JSON.parse(value));
      },
      cancel: () => all.return(),
    });
  }
}
