"""Writes docs/clients.md: what each client did in this run, and what their users have to know."""

import json
import pathlib
import re
import subprocess

from cases import CASES
from clients import CLIENTS, HERE

PAGE = HERE.parents[2] / "docs" / "clients.md"
# Debian's: they change without the tree.
PROGRAMS = {
    "chromium": ["chromium", "--version"],
    "firefox": ["firefox-esr", "--version"],
    "curl": ["curl", "--version"],
}
HEAD = """# Clients

This page says what clients do with a node. `tests/run clients` starts nodes and Redis, takes every client through every case, and writes the
page. If a client behaves differently, the test fails.

* **Bold** marks a difference from the [specification](https://html.spec.whatwg.org/multipage/server-sent-events.html), or from other clients,
  that can harm you. The last table says what to do about it.
* **By hand** means that a library reads only one answer. The test asks again with the last id in `Last-Event-ID`, as a user of the library
  must.

"""
MEANING = """
| column | what was tried |
|---|---|
| node killed | `SIGKILL` of the node in the middle of 150 events; another node takes over. *exact*: nothing lost, repeated or out of order |
| cut before its first event | the connection breaks when only the stream's bare `id:` has come. Then two events follow. With `hello=1` an event carries that id |
| ended by a node that drains | the stream ends [incomplete](concepts.md#how-a-stream-ends), as in every upgrade |
| several channels | three on one connection, which is cut. Each continues exactly |
| gap | the events that it missed were trimmed meanwhile. `fantail.gap` arrives, then the rest |
| compressed | nodes with `--compress on`. *gzip*: it requests that by itself, has each event before the next is published, and continues after the node is killed. *plain*: it does not request it |
| token | how the token of `--auth jwt` is carried |
| 401, 429, 503 | a wrong token; no place for this address; no place on the node. *stops*: it gives up for good. *asks again*: it asks until it gets a stream. For clients that stop, `--when-full retry` avoids the 429 and the 503 |
| 204 | the answer after a channel's `final` event |
| heartbeats | three comments, then an event |
| after `retry:` | an event told it to wait eight seconds, then the connection broke |
"""
GOOD = {"yes", "as sent", "an event", "exact", "told", "gzip, exact", "plain, exact", "header", "cookie", "quiet", "waits as told"}


def version(client):
    kind, _, package = client.version.partition(" ")
    if kind == "npm":
        return json.loads((HERE / "node" / "package.json").read_text())["dependencies"][package]
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
    cases = list(CASES)
    parts = [HEAD]
    for title, some in {
        "Events": cases[:6],
        "Going on": cases[6:12],
        "Answers": cases[12:],
    }.items():
        parts += [f"## {title}\n\n", table(found, some), "\n"]
    parts += ["## What was tried\n", MEANING, "\n## What to know of each\n\n", "| client | version | |\n|---|---|---|\n"]
    for client in CLIENTS:
        parts.append(f"| {client.title} | {version(client)} | {' '.join(client.notes) or 'nothing'} |\n")
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
