"""What CHANGELOG.md says of a version: release notes, and the chart's own changes as Artifact Hub has them."""

import json
import os
import re

KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def section(text, version):
    """The text of a version; what is unreleased, where there is none yet."""
    for name in (re.escape(f"[{version}]") + r"(?: - \S+)?", re.escape("[Unreleased]")):
        found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        if found and found.group(1).strip():
            return found.group(1).strip()
    raise SystemExit(f"CHANGELOG.md says nothing of {version}")


def entries(text):
    """Pairs of a kind and one entry, on one line."""
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        kind, _, rest = part.partition("\n")
        rest = re.sub(r"^####.*\n", "", rest, flags=re.MULTILINE)
        for entry in re.split(r"^- ", rest, flags=re.MULTILINE)[1:]:
            yield kind.strip(), " ".join(entry.split())


def notes(path, version):
    return f"# Fantail {version}\n\n{section(path.read_text(), version)}\n"


def annotations(path, version):
    """Further annotations of Chart.yaml, which ends with its annotations."""
    found = [
        {"kind": kind.lower(), "description": entry.removeprefix("Chart: ")}
        for kind, entry in entries(section(path.read_text(), version))
        if entry.startswith("Chart: ") and kind in KINDS
    ]
    lines = ["  artifacthub.io/changes: |"] + [f"    - {json.dumps(each, ensure_ascii=False)}" for each in found]
    place = os.environ.get("FANTAIL_PAGES")
    if place:
        pages = {"Kubernetes": "docs/kubernetes.md", "Values": "helm/README.md", "Changes": "CHANGELOG.md"}
        lines += ["  artifacthub.io/links: |"]
        lines += [f"    - {json.dumps({'name': name, 'url': f'{place}/{page}'})}" for name, page in pages.items()]
    return "\n".join(lines) + "\n"
