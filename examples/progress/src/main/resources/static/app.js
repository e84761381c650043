const node = `http://${location.hostname}:8080`;
const bar = document.querySelector("progress");
const state = document.getElementById("state");
let events;

// Only how far the job is by now matters, so `tail=1`: the newest event, then live. After an entry with `final`
// EventSource is told not to come back.
function watch(channel) {
  events?.close();
  bar.value = 0;
  events = new EventSource(`${node}/events/${channel}?tail=1`);
  events.onopen = () => (state.textContent = "runs");
  events.onerror = () => (state.textContent = "connects again…");
  events.onmessage = (event) => (bar.value = Number(event.data));
  events.addEventListener("done", (event) => end(100, `done: ${event.data}`));
  events.addEventListener("failed", (event) => end(0, `failed: ${event.data}`));
}

function end(value, how) {
  events.close();
  bar.value = value;
  state.textContent = how;
}

document.querySelector("button").onclick = async () => {
  location.hash = (await (await fetch("/jobs", { method: "POST" })).json()).channel;
};

const follow = () => location.hash && watch(location.hash.slice(1));
addEventListener("hashchange", follow);
follow();
