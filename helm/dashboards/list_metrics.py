#!/usr/bin/env python3
"""Writes docs/metrics.md: every metric of README.md and of the process, with the dashboards and alerts that use it.

`list_metrics.py --check` says whether the page is what it would write.
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "metrics.md"
PROCESS = [
    ("process_cpu_seconds_total", "counter", "CPU time of the process"),
    ("process_resident_memory_bytes", "gauge", "its memory, without the kernel's socket buffers"),
    ("process_virtual_memory_bytes", "gauge", "its address space"),
    ("process_open_fds", "gauge", "its open file descriptors"),
    ("process_max_fds", "gauge", "how many it may have"),
    ("process_threads", "gauge", "its threads"),
    ("process_start_time_seconds", "gauge", "Unix time of its start"),
]


def of_readme():
    """Rows of README.md's table: name with labels, type, meaning."""
    for line in (ROOT / "README.md").read_text().splitlines():
        found = re.match(r"\| `(fantail_[^`]+)` \| (gauge|counter|histogram) \| (.*) \|$", line)
        if found:
            yield found.groups()


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

    lines = [
        "# Metrics",
        "",
        "Every metric of `/metrics`, and where it is looked at. Written by `helm/dashboards/list_metrics.py` from the table in",
        "README.md, the dashboards and `helm/alerts/rules.yaml`.",
        "",
        "| metric | type | meaning | dashboards, rules |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {kind} | {meaning} | {', '.join(where(name)) or '–'} |"
        for name, kind, meaning in [*of_readme(), *PROCESS]
    ]
    return "\n".join(lines) + "\n"


def main():
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text())
    elif not PAGE.exists() or PAGE.read_text() != text():
        sys.exit("docs/metrics.md is not what list_metrics.py writes; run helm/dashboards/list_metrics.py")


if __name__ == "__main__":
    main()
