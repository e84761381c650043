"""Takes each reader through each case, on real nodes and Redis; holds the tables of docs/ai.md against what it saw, and runs the
page's blocks. Prints results as `cargo test` does.
Usage: run.py BINARY [--only READER | --only READER:CASE | --only :CASE]... [--jobs N]; run.py --list names the readers."""

import argparse
import concurrent.futures
import os
import pathlib
import sys
import threading
import traceback

import world as _  # noqa: F401 (it finds tests/clients)
import blocks
import page
from cases import CASES
from clients import CLIENTS
from servers import Place, Redis
from world import World

LOCK = threading.Lock()


def tell(name, problem):
    with LOCK:
        if problem:
            print(problem)
        print(f"test ai::{name} ... {'FAILED' if problem else 'ok'}", flush=True)
    return not problem


def one(client, case, place, redis, binary):
    """What the reader did, and whether that was expected."""
    world = World(place, redis, binary, client)
    try:
        did, problem = CASES[case](world), ""
        if did != client.expects(case):
            problem = f"does: {did}; expected: {client.expects(case)}"
    except Exception:
        did, problem = "fails", traceback.format_exc()
    finally:
        world.close()
    return did, tell(f"{client.name}::{case}", problem)


def wanted(only):
    """Pairs of reader and case."""
    for client in CLIENTS:
        for case in CASES:
            if not only or {client.name, f":{case}", f"{client.name}:{case}"} & set(only):
                yield client, case


def the_page(run):
    try:
        problem = "" if run() else "docs/ai.md says something else; it is written anew"
    except Exception:
        problem = traceback.format_exc()
    return problem


def main():
    if sys.argv[1:] == ["--list"]:
        print(*(client.name for client in CLIENTS), sep="\n")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=max(2, os.cpu_count()))
    options = parser.parse_args()
    found, right = {client.name: {} for client in CLIENTS}, []
    with Place() as place:
        redis, binary = Redis(place), options.binary.resolve()
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            pairs = list(wanted(options.only))
            runs = [pool.submit(one, client, case, place, redis, binary) for client, case in pairs]
            for (client, case), run in zip(pairs, runs):
                found[client.name][case], well = run.result()
                right.append(well)
        if not options.only:
            for name, run in blocks.tests(place, redis, binary):
                right.append(tell(f"docs::{name}", the_page(run)))
            right.append(tell("docs::table", the_page(lambda: page.write(found))))
    failed = right.count(False)
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(right) - failed} passed; {failed} failed", flush=True)
    sys.exit(1 if failed or not right else 0)


if __name__ == "__main__":
    main()
