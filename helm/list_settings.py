#!/usr/bin/env python3
"""Writes `settings` in values.schema.json: every flag of `fantail serve`, with the values that the node takes.

`list_settings.py NODE` writes, `list_settings.py NODE --check` says whether the file is what it would write. NODE is the
binary. Names come from its help, bounds from its own refusals.
"""

import json
import pathlib
import re
import subprocess
import sys

SCHEMA = pathlib.Path(__file__).parent / "values.schema.json"
SPAN = r"[0-9]+(\.[0-9]+)?(ms|s|m|min|h|day|days|d)([0-9]+(ms|s|m|h))*"
# What no flag takes, so that the node answers with what it does.
TOO_LARGE = "99999999999999"
# Patterns of texts that are more than text.
TEXTS = {
    "ADDRESS": r"^.+:[0-9]+$",
    "CIDR": r"^[0-9a-fA-F.:]+(/[0-9]+)?$",
    "ORIGIN": r"^(\*|https?://.+)$",
    "PATH": r"^/.+$",
    "RATIO": r"^(0(\.[0-9]+)?|1(\.0+)?)$",
    "URL": r"^[a-z-]+:(//)?.+$",
}


def flags(node):
    """What the help says of each flag: name, name of its value, and the paragraphs below."""
    text = subprocess.run([node, "serve", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    for part in re.split(r"\n(?= {2,}(?:-\w, )?--)", text)[1:]:
        head, _, rest = part.strip().partition("\n")
        found = re.fullmatch(r"--([a-z0-9-]+)(?: <(.+)>)?", head.strip())
        if found:
            yield found.group(1), found.group(2), " ".join(rest.split())


def refusal(node, flag, value):
    """What the node says of a value that it does not take, or None."""
    variable = "FANTAIL_" + flag.upper().replace("-", "_")
    found = subprocess.run(
        [node, "check", "--live"],
        # Where nobody answers, should the value be taken.
        env={"FANTAIL_ADMIN_LISTEN": "127.0.0.1:1", variable: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    lead = f"fantail: {variable} "
    said = found.stderr.splitlines()[0] if found.stderr else ""
    return said.removeprefix(lead) if said.startswith(lead) else None


def bounds(node, flag):
    """Least and greatest, as the node writes them."""
    for value in (TOO_LARGE, "99999d", "1B"):
        found = re.search(r"outside (\S+) to (\S+)$", refusal(node, flag, value) or "")
        if found:
            return found.groups()
    return None


def in_bytes(text):
    """The number of bytes that a text such as 64KiB says."""
    number, unit = re.fullmatch(r"([0-9]+)([KMG]iB|B)?", text).groups()
    return int(number) * {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[unit]


def schema_of(node, flag, value, about):
    """The JSON schema of a flag's value."""
    choice = re.search(r"use one of (.+)$", refusal(node, flag, "\x01") or "")
    if value is None:
        return {"type": "boolean"}
    if value == "N":
        least, most = bounds(node, flag) or ("0", "100000000")
        return {"type": "integer", "minimum": int(least), "maximum": int(most)}
    if value == "BYTES":
        least, most = bounds(node, flag)
        number = {"type": "integer", "minimum": in_bytes(least), "maximum": in_bytes(most)}
        return {"oneOf": [number, {"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$"}]}
    if value == "DURATION":
        span = {"type": "string", "pattern": f"^{SPAN}$"}
        never = refusal(node, flag, "never") is None
        return {"oneOf": [span, {"const": "never"}]} if never else span
    if value == "FROM..TO":
        return {"type": "string", "pattern": rf"^{SPAN}(\.\.{SPAN})?$"}
    if value == "RATIO":
        return {"oneOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": TEXTS[value]}]}
    if choice and re.fullmatch(r"[A-Za-z0-9-]+(, [A-Za-z0-9-]+)+", choice.group(1)):
        return {"type": "string", "enum": choice.group(1).split(", ")}
    text = {"type": "string"} if value == "TEXT" else {"type": "string", "minLength": 1}
    if value in TEXTS:
        text = {"type": "string", "pattern": TEXTS[value]}
    return {"type": "array", "items": text} if "separated by commas" in about else text


def camel(flag):
    first, *rest = flag.split("-")
    return first + "".join(part.capitalize() for part in rest)


def settings(node):
    """The schema of `settings`."""
    found = {}
    for flag, value, about in flags(node):
        if flag != "help":
            found[camel(flag)] = {"description": f"--{flag}", **schema_of(node, flag, value, about)}
    assert len(found) > 60, f"{node} serve --help was not understood"
    return {
        "type": "object",
        "additionalProperties": False,
        "description": "Flags of fantail serve in camelCase. Written by list_settings.py.",
        # By name, so that another order of the help is no change.
        "properties": dict(sorted(found.items())),
    }


def text(node):
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["settings"] = settings(node)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    written = text(sys.argv[1])
    if "--check" in sys.argv:
        sys.exit(0 if SCHEMA.read_text() == written else f"{SCHEMA}: run {sys.argv[0]}")
    SCHEMA.write_text(written)
