#!/usr/bin/env python3
"""Writes the tables of values in README.md, from values.yaml and values.schema.json, in the form of helm-docs.

`list_values.py --check` says whether the page is what it would write. A value is documented by the lines above it that begin
with `# --`; those below such a line belong to it. A line with `## ` begins a table.
"""

import json
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).parent
PAGE = HERE / "README.md"
BEGIN, END = "<!-- Written by list_values.py. -->\n", "<!-- Until here. -->\n"


def about(lines, row):
    """The description above a line, or None."""
    found = []
    while row > 0 and lines[row - 1].lstrip().startswith("#"):
        row -= 1
        words = lines[row].lstrip().removeprefix("#").strip()
        if words.startswith("-- "):
            return " ".join([words.removeprefix("-- "), *reversed(found)])
        found.append(words)
    return None


def section(lines, row):
    """The last heading above a line."""
    return next(line[3:] for line in reversed(lines[:row]) if line.startswith("## "))


def values(node, lines, path=()):
    """Each value that has a description: its path, its row, its description, its default."""
    for key, value in node.value:
        here = (*path, key.value)
        row = key.start_mark.line
        description = about(lines, row)
        if description:
            yield here, row, description, value
        elif isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield from values(value, lines, here)
        else:
            raise SystemExit(f"values.yaml:{row + 1}: {'.'.join(here)} has no description")


def kind(schema, path):
    """The type of a value, as its schema has it."""
    for name in path:
        schema = schema["properties"][name]
    types = [each.get("type", "string") for each in schema.get("oneOf", [schema])]
    short = {"integer": "int", "boolean": "bool", "array": "list"}
    return " or ".join(dict.fromkeys(short.get(each, each) for each in types if each != "null"))


def default(node):
    plain = yaml.safe_load(yaml.serialize(node))
    return json.dumps(plain, ensure_ascii=False)


def documented():
    """Paths and defaults of all values, section by section."""
    text = (HERE / "values.yaml").read_text()
    lines = text.splitlines()
    for path, row, description, node in values(yaml.compose(text), lines):
        yield section(lines, row), path, description, node


def table():
    schema = json.loads((HERE / "values.schema.json").read_text())
    last, written = None, []
    for heading, path, description, node in documented():
        if heading != last:
            written += ["", f"### {heading}", "", "| Key | Type | Default | Description |", "|---|---|---|---|"]
            last = heading
        cells = [".".join(path), kind(schema, path), f"`{default(node)}`", description]
        written.append("| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |")
    return "\n".join([*written[1:], ""])


def text():
    before, rest = PAGE.read_text().split(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == text() else f"{PAGE}: run {sys.argv[0]}")
    PAGE.write_text(text())
