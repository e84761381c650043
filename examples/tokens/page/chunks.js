// The chunks of an answer, one after another, whatever breaks in between. For pages and for Node.

// A node that is full or about to end, and what a proxy says meanwhile: another one may have room.
const LATER = [429, 502, 503, 504];

// `ask(id)` requests what comes after that id, or all where it is empty. Only an answer that is whole ends well.
export async function* chunks(ask) {
  for (let id = "", wait = 0; ; wait = 1000) {
    await new Promise((go) => setTimeout(go, wait));
    try {
      const answer = await ask(id);
      if (answer.status === 204) return;
      if (LATER.includes(answer.status)) continue;
      if (!answer.ok) throw Object.assign(new Error(await answer.text()), { status: answer.status });
      for await (const block of blocks(answer.body)) {
        const field = (name) => block.split("\n").filter((line) => line.startsWith(name)).map((line) => line.slice(name.length));
        id = field("id: ").pop() ?? id;
        const data = field("data: ");
        if (data.length > 0) yield data.join("\n");
      }
      return;
    } catch (error) {
      // What breaks off is a TypeError, an end that is incomplete as well: a node that drains, a token that is over.
      if (!(error instanceof TypeError)) throw error;
    }
  }
}

async function* blocks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (text + value).split("\n\n");
      text = whole.pop();
      yield* whole;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
