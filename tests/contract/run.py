#!/usr/bin/env python3
"""Takes a client through the cases of this folder, by the test service; prints results as `cargo test` does.
Usage: run.py tail FANTAIL [PART OF A TITLE], or run.py k6 K6 [PART]; run.py --list names the cases."""

import concurrent.futures
import pathlib
import re
import subprocess
import sys
import threading
import traceback

import answers  # noqa: F401 its cases
import parsing  # noqa: F401 its cases
import reconnection  # noqa: F401 its cases
from cases import CASES
from play import Hearing, Play, Service
from streams import Server

HERE = pathlib.Path(__file__).parent
# Cases at once; most of their time is waiting.
AT_ONCE = 8
# Of what was seen and what was expected, so much is shown.
SHOWN = 400


class Run:
    def __init__(self, client, service):
        self.client, self.service = client, service
        self.hearing, self.server = Hearing(), Server()
        self.lock, self.quiet, self.passed, self.failed = threading.Lock(), [], 0, 0

    def play(self, case):
        play = Play(self.service, self.hearing, self.server, self.quiet)
        try:
            seen, expected = case.play(play), case.expects(self.client)
            problem = "" if seen == expected else f"seen:     {short(seen)}\nexpected: {short(expected)}"
        except Exception:
            problem = traceback.format_exc()
        try:
            # Who has given up is left alone until all is over: a request of his would be seen.
            if play.endpoint not in [endpoint for endpoint, _ in self.quiet]:
                play.close()
        except Exception:
            problem += traceback.format_exc()
        self.result(case.title, problem)

    def result(self, title, problem):
        with self.lock:
            if problem:
                print(problem)
                self.failed += 1
            else:
                self.passed += 1
            print(f"test contract::{self.client}::{title} ... {'FAILED' if problem else 'ok'}", flush=True)

    def nobody_came_again(self):
        came = [f"{endpoint.url}: {endpoint.requests} requests, expected {then}"
                for endpoint, then in self.quiet if endpoint.requests != then]
        self.result("who has given up does not come again", "\n".join(came))


def short(value):
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def table():
    """README.md's rows of differences: (client, title)."""
    text = (HERE / "README.md").read_text().partition("\n## Differences by intent\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {(client, title) for titles, clients, *_ in rows
            for title in re.findall("`([^`]+)`", titles) for client in clients.split(", ")}


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(case.title for case in CASES))
        return 0
    client, program, *part = sys.argv[1:]
    process = subprocess.Popen([sys.executable, HERE / "service.py", client, program], stdout=subprocess.PIPE, text=True)
    try:
        service = Service(process.stdout.readline().split()[-1])
        run = Run(client, service)
        wanted = [case for case in CASES
                  if case.needs in (None, *service.capabilities) and all(text in case.title for text in part)]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as plays:
            list(plays.map(run.play, wanted))
        run.nobody_came_again()
        coded = {(name, case.title) for case in CASES for name in case.differs}
        wrong = coded ^ table()
        run.result("README.md lists what differs", "".join(f"{client}: {title}\n" for client, title in sorted(wrong)))
        service.ask("DELETE", "/")
        process.wait(30)
    finally:
        process.kill()
    print(f"test result: {'FAILED' if run.failed else 'ok'}. {run.passed} passed; {run.failed} failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
