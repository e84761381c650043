"""The table of docs/ai.md: what each reader did."""

import json
import pathlib
import re

from clients import CLIENTS, HERE

PAGE = HERE.parents[2] / "docs" / "ai.md"
# A column, and the cases that it tells of.
COLUMNS = {
    "read, again, by two, after its end": ["whole", "reload", "second", "ended"],
    "node killed": ["killed"],
    "node drained": ["drained"],
    "token ends": ["token"],
    "model failed": ["failed"],
    "beginning trimmed": ["trimmed"],
    "no such answer": ["absent"],
}
HEAD = ["reader", "version", *COLUMNS]


def version(client):
    kind, _, package = client.package.partition(" ")
    if kind == "npm":
        return json.loads((HERE / "node" / "package.json").read_text())["dependencies"][package]
    if kind == "pip":
        return re.search(rf"^{re.escape(package)}==(\S+)", (HERE / "python" / "requirements.txt").read_text(), re.M)[1]
    return "–"


def row(client, found):
    cells = [client.title, version(client)]
    for cases in COLUMNS.values():
        did = {found[case] for case in cases}
        cells.append(did.pop() if len(did) == 1 else ", ".join(f"{case}: {found[case]}" for case in cases))
    return cells


def line(cells):
    return "| " + " | ".join(cells) + " |\n"


def table(found):
    rows = [HEAD, ["---"] * len(HEAD), *(row(client, found[client.name]) for client in CLIENTS)]
    notes = [["reader", "what to know"], ["---"] * 2]
    notes += [[client.title, " ".join(client.notes)] for client in CLIENTS if client.notes]
    return "".join(map(line, rows)) + "\n" + "".join(map(line, notes))


def write(found):
    """Writes both tables anew, whatever they say; whether they were the same."""
    before = PAGE.read_text()
    old = re.search(r"^\| reader \|.*?\n\n\| reader \|.*?\n(?=\n|\Z)", before, re.S | re.M)
    after = before[: old.start()] + table(found) + before[old.end() :]
    PAGE.write_text(after)
    return before == after
