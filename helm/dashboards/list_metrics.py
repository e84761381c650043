#!/usr/bin/env python3
"""Writes the last column of docs/reference/metrics.md: the dashboards and alerts that use each metric.

`list_metrics.py --check` says whether the page is what it would write.
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"\| `((?:fantail|process)_[^`]+)` \| (gauge|counter|histogram) \| (.*?) \|(?: [^|]* \|)?$")


def uses():
    """Where each metric's name occurs: dashboards and alerts, by title."""
    places = []
    for path in sorted(HERE.glob("*.json")):
        board = json.loads(path.read_text())
        texts = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        texts += [each["expr"] for each in board["annotations"]["list"]]
        places.append((board["title"].removeprefix("Fantail / "), " ".join(texts)))
    alert = None
    for line in (HERE.parent / "alerts" / "rules.yaml").read_text().splitlines():
        found = re.match(r"\s+- (alert|record): (\S+)", line)
        if found:
            alert = found.group(2)
            places.append((alert, ""))
        elif alert:
            places[-1] = (alert, places[-1][1] + line)
    return places


def text():
    places = uses()

    def where(name):
        name = name.split("{")[0]
        pattern = re.compile(rf"\b{name}(_bucket|_sum|_count)?\b")
        # Annotations are on every dashboard; one is enough to name.
        return list(dict.fromkeys(title for title, queries in places if pattern.search(queries)))

    def written(line):
        row = ROW.match(line)
        if not row:
            return line
        name, kind, meaning = row.groups()
        return f"| `{name}` | {kind} | {meaning} | {', '.join(where(name)) or '–'} |"

    return "\n".join(map(written, PAGE.read_text().splitlines())) + "\n"


def main():
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text())
    elif PAGE.read_text() != text():
        sys.exit("docs/reference/metrics.md is not what list_metrics.py writes; run helm/dashboards/list_metrics.py")


if __name__ == "__main__":
    main()
