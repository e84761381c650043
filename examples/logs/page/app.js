const node = `http://${location.hostname}:8080`;
const MOST = 5000; // lines in the page, or waiting while it is paused; the oldest go
const lines = document.getElementById("lines");
const search = document.getElementById("search");
const pause = document.getElementById("pause");
const state = document.getElementById("state");
let waiting = [];

const paused = () => pause.getAttribute("aria-pressed") === "true";
const matches = (text) => text.toLowerCase().includes(search.value.toLowerCase());

function take(text, kind = "line") {
  waiting.push([text, kind]);
  waiting.splice(0, waiting.length - MOST);
  if (paused()) state.textContent = `${waiting.length} new`;
  else if (waiting.length === 1) requestAnimationFrame(show);
}

// All that came since the last frame at once: a busy file has more lines than a screen has frames.
function show() {
  if (paused()) return;
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  lines.append(...waiting.map(([text, kind]) => {
    const item = document.createElement("li");
    item.textContent = text;
    item.className = kind;
    item.classList.toggle("other", !matches(text));
    return item;
  }));
  waiting = [];
  while (lines.childElementCount > MOST) lines.firstChild.remove();
  if (atEnd) lines.scrollTop = lines.scrollHeight;
  state.textContent = `${lines.childElementCount} lines`;
}

search.oninput = () => {
  for (const item of lines.children) item.classList.toggle("other", !matches(item.textContent));
};
pause.onclick = () => {
  pause.setAttribute("aria-pressed", String(!paused()));
  show();
};

// The last 100 lines, then live. `tail` stays in the URL when EventSource reconnects: its last id wins.
const events = new EventSource(`${node}/events/logs?tail=100`);
events.onmessage = (event) => take(event.data);
events.addEventListener("fantail.gap", (event) => {
  const { lost } = JSON.parse(event.data);
  take(`— ${lost ?? "some"} lines are missing here —`, "gap");
});
