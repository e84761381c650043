const node = `http://${location.hostname}:8080`;
const room = new URLSearchParams(location.search).get("room") ?? "lobby";
const messages = document.getElementById("messages");
const older = document.getElementById("older");
document.getElementById("room").textContent = room;
let name;

function line({ id, event, data }) {
  const { name, text } = JSON.parse(data);
  const item = document.createElement("li");
  item.dataset.id = id;
  item.className = event;
  item.textContent = event === "joined" ? `${name} joined` : `${name}: ${text}`;
  return item;
}

function show(event) {
  messages.append(line(event));
  messages.lastChild.scrollIntoView();
}

async function page(query) {
  const answer = await fetch(`${node}/history/chat.${room}?limit=20${query}`);
  return answer.json();
}

// The newest messages by request, and from the last one of them on by stream: the ids are the same, so nothing is lost
// or shown twice in between.
async function enter() {
  const { events, more } = await page("");
  events.forEach(show);
  older.hidden = !more;
  const source = new EventSource(`${node}/events/chat.${room}?since=${events.at(-1)?.id ?? "earliest"}`);
  for (const type of ["message", "joined"]) {
    source.addEventListener(type, (event) => show({ id: event.lastEventId, event: type, data: event.data }));
  }
  source.addEventListener("fantail.gap", () => location.reload());
}

older.onclick = async () => {
  const { events, more } = await page(`&before=${messages.firstChild.dataset.id}`);
  messages.prepend(...events.map(line));
  older.hidden = !more;
};

function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return fetch(`/rooms/${room}/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
}

document.getElementById("join").onsubmit = async (event) => {
  event.preventDefault();
  name = new FormData(event.target).get("name");
  event.target.hidden = true;
  document.querySelector("main").hidden = false;
  await enter();
  await post("members", { name });
};

document.getElementById("say").onsubmit = async (event) => {
  event.preventDefault();
  const form = event.target;
  const answer = await post("messages", { name, text: new FormData(form).get("text") });
  if (answer.ok) form.reset();
};
