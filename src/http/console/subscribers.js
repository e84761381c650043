// Subscribers of the node that serves this page: a list, and one of them.
const AGAIN = 2000; // milliseconds between looks
const WAITS = { live: "the next event", blocked: "room in its full socket", history: "history, which it is behind", held: "channels that have not come" };
const waits = (seen) => WAITS[seen.state] ?? seen.state;
const counted = (n) => n == null ? "–" : number.format(n);
// Looks again and again until another page is shown, or `look` says that there is no more to see.
function keepLooking(look, said) {
  shown = new AbortController();
  const signal = shown.signal;
  let busy = false, timer = 0;
  const once = async () => {
    if (busy) return;
    busy = true;
    try {
      if (await look(signal) === false) clearInterval(timer);
    } catch (error) { if (!signal.aborted) said(error.message); }
    busy = false;
  };
  timer = setInterval(once, AGAIN);
  signal.addEventListener("abort", () => clearInterval(timer));
  once();
}
function link(cell, shown, href) {
  const to = cell.firstElementChild ?? cell.appendChild(make("a"));
  if (to.textContent !== shown) to.textContent = shown;
  if (to.getAttribute("href") !== href) to.setAttribute("href", href);
}
const channelsOf = (seen) => seen.channels.map((each) => each.channel).join(", ")
  + (seen.channel_count > seen.channels.length ? ` and ${seen.channel_count - seen.channels.length} more` : "");
const FIELDS = ["channel", "address", "subject", "state"];
function subscribers(query) {
  const asked = new URLSearchParams(query);
  for (const field of FIELDS) $("s-" + field).value = asked.get(field) ?? "";
  fill($("found"), [], []);
  const note = (text) => { if ($("found-note").textContent !== text) $("found-note").textContent = text; };
  note("…");
  keepLooking(async (signal) => {
    const all = await get("/api/subscribers?" + asked);
    if (signal.aborted) return;
    fill($("found"), all.subscribers, [
      ["", (cell, s) => link(cell, s.address, "#/subscriber/" + s.id)], ["name", text((s) => s.subject ?? "–")],
      ["name", text(channelsOf)], ["n", text((s) => seconds(s.age_seconds))], ["", text(waits)],
      ["n", text((s) => counted(s.behind))], ["n", text((s) => s.leftover_bytes ? bytes(s.leftover_bytes) : "–")],
      ["", text((s) => s.transport)],
    ]);
    const found = all.subscribers.length;
    note(`${found === 0 ? "None" : number.format(found)} of ${number.format(all.connections)} on ${all.name}`
      + (all.more ? "; there may be more: narrow the search." : ".") + " Other nodes show theirs in their own consoles.");
  }, note);
}
let seen = null; // whose page is shown
function subscriber(id) {
  $("seen").replaceChildren();
  fill($("seen-channels"), [], []);
  $("seen-note").textContent = "…";
  $("end-said").textContent = ""; $("end-row").hidden = true; seen = id;
  keepLooking(async (signal) => {
    const answer = await fetch("/api/subscribers/" + encodeURIComponent(id));
    const s = await answer.json();
    if (signal.aborted) return;
    $("seen-note").textContent = answer.ok ? "" : s.detail ?? answer.statusText;
    $("end").hidden = !answer.ok; $("end-row").hidden = !actions;
    if (!answer.ok) return answer.status !== 404;
    const rows = [["address", s.address], ["subject", s.subject ?? "not known"], ["connected for", seconds(s.age_seconds)],
      ["waits for", waits(s)], ["behind", s.behind == null ? "not known" : `${counted(s.behind)} event${s.behind === 1 ? "" : "s"}`],
      ["last write", `${seconds(s.silent_seconds)} ago`], ["left over", bytes(s.leftover_bytes)], ["transport", s.transport],
      ["bytes", s.composed ? "put together for it alone" : "shared with others of its channel"],
      ["channels", number.format(s.channel_count)], ["id", s.id]];
    $("seen").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
    fill($("seen-channels"), s.channels, [
      ["name", (cell, c) => channelLink(cell, c.channel)], ["", text((c) => WAITS[c.state] ?? c.state)],
      ["", text((c) => c.position ?? "–")], ["", text((c) => c.newest ?? "–")], ["n", text((c) => counted(c.behind))],
    ]);
  }, (said) => { $("seen-note").textContent = said; });
}
$("seek").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = FIELDS.map((field) => [field, $("s-" + field).value.trim()]).filter(([, value]) => value);
  location.hash = "#/subscribers?" + new URLSearchParams(wanted);
});
$("end").addEventListener("click", async () => {
  if (!confirm("Disconnect this subscriber? Its client may come back at once, as browsers and libraries do. To keep somebody out, revoke its subject or token.")) return;
  const answer = await act("/api/disconnect?" + new URLSearchParams({ subscriber: seen }), "");
  const said = await answer.json();
  $("end-said").textContent = answer.ok ? "ordered as " + said.id : said.detail;
});
