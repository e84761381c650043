#!/usr/bin/env python3
"""Writes the dashboards beside this file. `generate.py --check` says whether they are what it would write.

Each dashboard is a function that names its panels (traffic.py, machines.py, load.py); board.py lays them out. Nothing
but Python's own library.
"""

import json
import pathlib
import sys

import load
import machines
import traffic

HERE = pathlib.Path(__file__).parent
BOARDS = [
    traffic.overview,
    traffic.delivery,
    traffic.resume,
    machines.redis,
    machines.node,
    machines.rollouts,
    machines.access,
    load.k6,
]


def main():
    stale = []
    for make in BOARDS:
        board = make()
        path = HERE / f"{board.name}.json"
        text = json.dumps(board.text(), indent=2) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"not what generate.py writes: {', '.join(stale)}; run helm/dashboards/generate.py")


if __name__ == "__main__":
    main()
