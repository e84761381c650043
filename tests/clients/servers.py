"""Real servers for the cases: one Redis for all, and nodes with the settings that a case needs, on ports of loopback."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time

import redis

# A machine may be busy with other things: what comes at all comes within this.
LIMIT = 180.0


def eventually(what, question, limit=LIMIT):
    """Asks until the answer is true, and returns it; fails with `what` did not come."""
    end = time.monotonic() + limit
    while not (answer := question()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        time.sleep(0.02)
    return answer


class Place:
    """A folder that goes at the end, with what was started in it."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="fantail-clients-"))
        self.processes, self.lock = [], threading.Lock()
        # What makes a program trust the certificate.
        self.trusting = {}

    def start(self, command, log, **more):
        with (self.path / log).open("ab") as file:
            process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=more.pop("stdout", file), stderr=file,
                start_new_session=True, **more,
                env={**os.environ, **self.trusting, "TMPDIR": str(self.path)},
            )
        with self.lock:
            self.processes.append(process)
        return process

    def end_gently(self, process):
        """By SIGTERM first, so that an adapter can end its browser, which is in a group of its own."""
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            pass
        self.end(process)

    def end(self, process):
        """A process and all of its group."""
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            self.end(process)
        shutil.rmtree(self.path, ignore_errors=True)


class Redis:
    def __init__(self, place):
        self.socket = place.path / "redis.sock"
        place.start(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", place.path], "redis.log"
        )
        eventually("Redis listens", self.socket.exists)
        self.client = redis.Redis(unix_socket_path=str(self.socket))
        eventually("Redis answers", self.client.ping)
        self.url = f"unix:{self.socket}"


class Node:
    """A node on a Redis; `flags` are those of the command line."""

    count, lock = 0, threading.Lock()

    def __init__(self, place, binary, backend, *flags):
        with Node.lock:
            Node.count += 1
            log = f"node-{Node.count}.log"
        self.place, self.log = place, place.path / log
        self.process = place.start(
            [binary, "serve", "--redis", backend.url, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", *flags],
            log,
        )
        self.port = int(eventually(f"{log} says where it listens", self._address))

    def _address(self):
        text = self.log.read_text(errors="replace")
        assert self.process.poll() is None, f"the node ended: {text}"
        found = re.search(r"^ *clients +https?://127\.0\.0\.1:(\d+)/", text, re.M)
        return found and "the node has started" in text and found[1]

    def kill(self):
        self.place.end(self.process)

    def terminate(self):
        self.process.terminate()
