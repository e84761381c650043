const node = `http://${location.hostname}:8080`;
const answer = document.getElementById("answer");
const state = document.getElementById("state");
let events;

// The channel stands in the address, so a reload and a second tab find it. `since=earliest` begins with the first token;
// where the connection breaks, EventSource goes on after the last one by itself.
function read(channel) {
  events?.close();
  answer.textContent = "";
  state.textContent = "writes…";
  events = new EventSource(`${node}/events/${channel}?since=earliest`);
  events.onmessage = (event) => answer.append(event.data);
  events.addEventListener("done", () => end("done"));
  events.addEventListener("failed", (event) => end(`the model failed: ${event.data}`));
  events.addEventListener("fantail.gap", () => end("this answer is not kept any more"));
}

function end(how) {
  events.close();
  state.textContent = how;
}

document.querySelector("form").onsubmit = async (event) => {
  event.preventDefault();
  const prompt = new FormData(event.target).get("prompt");
  const headers = { "Content-Type": "application/json" };
  const asked = await fetch("/ask", { method: "POST", headers, body: JSON.stringify({ prompt }) });
  location.hash = (await asked.json()).channel;
};

const follow = () => location.hash && read(location.hash.slice(1));
addEventListener("hashchange", follow);
follow();
