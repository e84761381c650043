"""Writes docs/clients.md: what each client did in this run, and what their users have to know."""

import json
import pathlib
import re
import subprocess

from case import NOT_TRIED
from cases import CASES, GROUPS
from client import HERE
from clients import CLIENTS

PAGE = HERE.parents[2] / "docs" / "clients.md"
# Debian's: they change without the tree.
PROGRAMS = {
    "node": ["node", "--version"],
    "chromium": ["chromium", "--version"],
    "firefox": ["firefox-esr", "--version"],
    "curl": ["curl", "--version"],
    "wget": ["wget", "--version"],
    "httpie": ["http", "--version"],
    "symfony": ["dpkg-query", "--show", "php-symfony-http-client"],
}
HEAD = """# Clients

This page says what clients do with a node. `tests/run clients` starts nodes and Redis, takes every client through every case, and writes the
page. If a client behaves differently, the test fails.

* **Bold** marks a difference from the [specification](https://html.spec.whatwg.org/multipage/server-sent-events.html), or from other clients,
  that can harm you. The last table says what to set about it.
* **HTTP/2** is under TLS, unless a row says otherwise. If such a client speaks HTTP/1.1 instead, the test fails.
* **By hand** means that a library reads only one answer. The test asks again with the last id in `Last-Event-ID`, as a user of the library
  must.

"""
MEANING = """
| column | what was tried |
|---|---|
| characters split | the network pauses behind the first byte of each character that has several |
| node killed | `SIGKILL` of the node in the middle of 150 events; another node takes over. *exact*: nothing lost, repeated or out of order |
| cut before its first event | the connection breaks when only the stream's bare `id:` has come. Then two events follow |
| the same with `hello=1` | the stream begins with an event that carries that id |
| ended by a node that drains | the stream ends [incomplete](concepts.md#how-a-stream-ends), as in every upgrade |
| torn within an event | the connection breaks in the middle of an event of 20 KB |
| ended whole by a proxy | the same drain behind a proxy that ends the answer as if it were complete, as HAProxy and Caddy can |
| several channels | three on one connection, which is cut. Each continues exactly |
| gap | the events that it missed were trimmed meanwhile. `fantail.gap` arrives, then the rest |
| gap with `control=end` | the same: the answer is 410. *begins anew*: it asks again without its id, and is told of no loss |
| compressed | nodes with `--compress on`. *gzip*: it requests that by itself, has each event before the next is published, and continues after the node is killed. *plain*: it does not request it |
| token | how the token of `--auth jwt` is carried |
| 401, 429, 503 | a wrong token; no place for this address; no place on the node. *stops*: it gives up for good. *asks again*: it asks until it gets a stream. For clients that stop, `--when-full retry` avoids the 429 and the 503 |
| 503 with `Retry-After` | whether one that asks again waits the five seconds that it is told |
| full, `--when-full retry` | a 200 of nothing but a long `retry:`, which ends [later](#clients-that-ask-again-at-once). *waits as told*: it comes again after that, and gets in once there is a place |
| 204 | the answer after a channel's `final` event |
| closed at a last event | the client is told at which event the stream is over: it closes, and gets no 204 |
| heartbeats | three comments, then an event |
| quiet, its own time-outs | fourteen seconds without an event: with `heartbeat=4s`, where all stay, and without a heartbeat |
| after `retry:` | an event told it to wait eight seconds, then the connection broke |
| – | not tried: the relay of the test cannot look into TLS and HTTP/2, the client does not come back by itself, or the last table says why |
"""
GUIDE = """
## htmx

An EventSource stops at the 204 that follows a `final` event. htmx opens another one, and shows the finished stream again and again. Let
the last event have a type of its own, and close at it:

```html
<div hx-ext="sse" sse-connect="/events/job.42?since=0-0" sse-swap="message" sse-close="done"></div>  <!-- htmx 2 -->
<div hx-sse:connect="/events/job.42?since=0-0" hx-sse:close="done"></div>                            <!-- htmx 4 -->
```

```sh
redis-cli XADD sse:job.42 '*' event done data bye final 1
```

## Readers with short time-outs

Some clients break off a stream that is quiet for five or ten seconds. The node's heartbeat comes every 15 s (`--heartbeat`), so they come
again each time. Ask for a shorter one in the URL, `?heartbeat=4s`, or set the client's time-out as the last table says.

## Clients that ask again at once

Some clients ignore a `retry:` that comes without an event. As long as a node is full, they ask again as soon as the answer of
`--when-full retry` ends, or after a short delay of their own. So the node writes the head and the delay at once, and ends the answer up to
4 s later. Requests of one client in 15 s (unoptimized builds, on a busy machine):

| client | if the answer ends at once | as it is |
|---|---|---|
| npm `event-source-plus` 0.1.15 in Node 20.20, three runs each | 743, 911 and 1,355 | 4, 4 and 4 |
| htmx 4.0.1 with its `hx-sse`, in Chromium 156 | 26 | 4 |

A node with a usual limit of files holds 128 answers so. Beyond that they end at once
(`fantail_turned_away_total{end="at_once"}`). `--subscribe-rate` does not slow such clients down: its answers are the same.

## Clients that loop at 204

Some clients ask again after a 204, forever. Publish a last event with a type of its own (`event done`, with `final 1`), and close the
client when it comes. `event-source-plus` can also be told to stop at the status.

## Clients that forget an id without data

They lose what is published between the stream's beginning and its first event if the connection breaks in that time. `hello=1` gives
them the id with an event, `fantail.opened`. A page that begins at a known position (`since=ID`) does not need it.

## Not tried

* .NET (`SseParser`), Dart, Swift, Kotlin/Native: no package registry that the test uses, nor Debian, brings a runtime.
* 5 MiB, gzip or `retry:` with some clients: the last table says why.
"""
GOOD = {"stays", "yes", "as sent", "an event", "exact", "told", "gzip, exact", "plain, exact", "header", "cookie", "quiet", "waits as told"}


def version(client):
    kind, _, package = client.version.partition(" ")
    if kind == "npm":
        return json.loads((HERE / "node" / "package.json").read_text())["dependencies"][package].rpartition("@")[2]
    if kind == "file":
        return json.loads((PAGE.parents[1] / package).read_text())["version"]
    if kind == "pip":
        return re.search(rf"^{re.escape(package)}==(.*)$", (HERE / "python" / "requirements.txt").read_text(), re.M)[1]
    if kind == "go":
        return re.search(rf"{re.escape(package)} v(.*)", (HERE / "go" / "go.mod").read_text())[1]
    if kind == "maven":
        pom = (HERE / "java" / "pom.xml").read_text()
        return re.search(rf"<artifactId>{re.escape(package)}</artifactId>\s*<version>(.*?)<", pom)[1]
    if kind == "cargo":
        return re.search(rf'^name = "{re.escape(package)}"\nversion = "(.*)"', (HERE / "rust" / "Cargo.lock").read_text(), re.M)[1]
    if kind in PROGRAMS:
        said = subprocess.run(PROGRAMS[kind], capture_output=True, text=True).stdout
        return re.search(r"\d+\.\d+", said)[0]
    return client.version


def cell(client, case, did):
    if did == NOT_TRIED:
        return "–"
    if client.by_hand and did.endswith(("exact", "told")):
        return f"{did}, by hand"
    if did in GOOD or did.startswith("stops") or (client.by_hand and did == "ends"):
        return "–" if did == "ends" else did
    return f"**{did}**"


def table(found, cases):
    titles = [CASES[case][0] for case in cases]
    rows = [["client", *titles], ["---"] * (len(cases) + 1)]
    for client in CLIENTS:
        rows.append([client.title, *(cell(client, case, found[client.name][case]) for case in cases)])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def text(found):
    parts = [HEAD]
    for title in GROUPS:
        parts += [f"## {title}\n\n", table(found, [case for case in CASES if CASES[case][1] == title]), "\n"]
    parts += ["## What was tried\n", MEANING, GUIDE, "\n## What to know of each\n\n"]
    parts += ["| client | version | what to set | what else to know |\n|---|---|---|---|\n"]
    for client in CLIENTS:
        sets, notes = " ".join(client.sets) or "nothing", " ".join(client.notes)
        parts.append(f"| {client.title} | {version(client)} | {sets} | {notes} |\n")
    return "".join(parts)


def masked(page):
    """Without the versions of Debian's programs."""
    rows = [client.title for client in CLIENTS if client.version in PROGRAMS]
    return re.sub(rf"^(\| (?:{'|'.join(map(re.escape, rows))}) \|) \d+\.\d+ \|", r"\1 |", page, flags=re.M)


def write(found):
    """Whether the page was the same."""
    before = PAGE.read_text() if PAGE.exists() else ""
    after = text(found)
    PAGE.write_text(after)
    return masked(before) == masked(after)
