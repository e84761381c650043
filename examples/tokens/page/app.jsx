import { useChat } from "@ai-sdk/react";
import { createRoot } from "react-dom/client";
import { AnswerTransport } from "./transport.js";

const transport = new AnswerTransport("/chat");
const STATES = { submitted: "asks…", streaming: "writes…", ready: "done" };
// A chat that was opened again is ready before its answer has been asked for.
const state = (messages, status) => STATES[messages.at(-1)?.role === "user" ? "submitted" : status];
const text = (message) => message.parts.map((part) => part.text ?? "").join("");

// With `resume` a page that is opened again, or a second time, reads the last answer from its beginning.
function Chat({ id, kept }) {
  const { messages, sendMessage, status, error } = useChat({ id, messages: kept, transport, resume: kept.length > 0 });
  const ask = (event) => {
    event.preventDefault();
    sendMessage({ text: new FormData(event.target).get("prompt") });
    event.target.reset();
  };
  return (
    <>
      <div aria-live="polite">
        {messages.map((message) => <p key={message.id} className={message.role}>{text(message)}</p>)}
      </div>
      <p role="status">{error ? error.message : messages.length > 0 && state(messages, status)}</p>
      <form onSubmit={ask}>
        <input name="prompt" aria-label="Question" placeholder="Ask something" required autoFocus />
        <button>Ask</button>
      </form>
    </>
  );
}

// The chat stands in the address, so a reload and a second tab find it.
location.hash ||= crypto.randomUUID();
const id = location.hash.slice(1);
const kept = await (await fetch(`/chat/${id}`)).json();
createRoot(document.getElementById("chat")).render(<Chat id={id} kept={kept} />);
addEventListener("hashchange", () => location.reload());
