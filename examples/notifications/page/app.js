const node = `http://${location.hostname}:8080`;
const list = document.getElementById("notifications");
const unread = document.getElementById("unread");
let newest = "";

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  return answer.ok ? answer.json() : Promise.reject(new Error(`${path}: ${answer.status}`));
}

// Two types of event make the state: a notification, and that all up to an id is read.
function take({ id, event, data }) {
  const { text, upto } = JSON.parse(data);
  if (event === "notification") {
    const item = document.createElement("li");
    item.className = "unread";
    item.dataset.id = id;
    item.textContent = text;
    list.prepend(item);
    newest = id;
  } else if (event === "read") {
    for (const item of list.querySelectorAll(".unread")) item.classList.toggle("unread", isAfter(item.dataset.id, upto));
  }
  unread.dataset.count = list.querySelectorAll(".unread").length;
  unread.textContent = `${unread.dataset.count} unread`;
}

// Ids are `<milliseconds>-<number>`.
function isAfter(id, other) {
  const [ms, number] = id.split("-").map(Number);
  const [otherMs, otherNumber] = other.split("-").map(Number);
  return ms > otherMs || (ms === otherMs && number > otherNumber);
}

async function enter(user) {
  document.getElementById("login").hidden = true;
  document.querySelector("main").hidden = false;
  document.getElementById("user").textContent = user;
  const past = await fetch(`${node}/history/user.${user}?limit=200`, { credentials: "include" });
  const { events } = await past.json();
  events.forEach(take);
  const since = events.at(-1)?.id ?? "earliest";
  const source = new EventSource(`${node}/events/user.${user}?since=${since}`, { withCredentials: true });
  for (const type of ["notification", "read"]) {
    source.addEventListener(type, (event) => take({ id: event.lastEventId, event: type, data: event.data }));
  }
  // The stream ends with its token; EventSource comes back by itself, with the new cookie, and goes on where it was.
  source.addEventListener("fantail.expiring", () => post("/renew"));
  source.addEventListener("fantail.gap", () => location.reload());
}

document.getElementById("login").onsubmit = async (event) => {
  event.preventDefault();
  enter((await post("/login", Object.fromEntries(new FormData(event.target)))).user);
};
document.getElementById("read").onclick = () => newest && post("/read", { upto: newest });
document.getElementById("notify").onsubmit = async (event) => {
  event.preventDefault();
  const { reached } = await post("/notify", Object.fromEntries(new FormData(event.target)));
  document.getElementById("reached").textContent = `${reached} reached`;
};

// Who has a session already, as after a reload.
post("/renew").then(({ user }) => enter(user), () => {});
