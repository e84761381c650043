"""One client in one case: its processes, what they said, and the relay that it goes through."""

import json
import subprocess
import threading
import time

from servers import LIMIT


class Session:
    """Starts an adapter with an order and reads its lines. A client that does not connect again by itself is started again
    with the last id that it told, as its user would have to, as long as `by_hand` says so."""

    def __init__(self, place, client, relay):
        self.place, self.client, self.relay = place, client, relay
        self.said, self.changed = [], threading.Condition()
        self.by_hand, self.order, self.process, self.run = False, None, None, 0

    def start(self, path, types=(), last_event_id="", **more):
        origin = f"{self.client.scheme}://127.0.0.1:{self.relay.port}"
        self.order = {
            "url": origin + path, "types": list(types), "last_event_id": last_event_id,
            "headers": {}, "cookie": None, **self.client.order, **more,
        }
        self._begin()
        return self

    def _begin(self):
        with self.changed:
            self.run += 1
            self.said.append({"kind": "started", "run": self.run})
        command = [*self.client.command, json.dumps(self.order)]
        # Only the process reads the pipe's other end, so that it ends with it.
        process = self.process = self.place.start(
            command, f"{self.client.name}.log", stdout=subprocess.PIPE, cwd=self.client.folder
        )
        threading.Thread(target=self._read, args=(process, self.run), daemon=True).start()

    def _read(self, process, run):
        for line in process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                said = {"kind": "noise", "text": line.decode(errors="replace")}
            with self.changed:
                self.said.append({**said, "run": run})
                self.changed.notify_all()
        process.wait()
        with self.changed:
            self.said.append({"kind": "ended", "code": process.returncode, "run": run})
            self.changed.notify_all()

    def of(self, kind):
        with self.changed:
            return [each for each in self.said if each["kind"] == kind]

    def since_started(self, kind):
        """What the present process has said of a kind."""
        with self.changed:
            return [each for each in self.said if each["kind"] == kind and each["run"] == self.run]

    def events(self, type_=None):
        """Those with data: some clients make an event of every block."""
        return [each for each in self.of("event") if each["data"] and type_ in (None, each["type"])]

    def wait(self, what, question, limit=LIMIT):
        """Until `question` has a true answer, which it returns."""
        end = time.monotonic() + limit
        while True:
            if answer := question():
                return answer
            if self.since_started("ended") or self.since_started("closed"):
                if answer := question():
                    return answer
                if not self.by_hand:
                    raise Ended(f"{what}: the client has ended: {self.tail()}")
                self._again()
            with self.changed:
                self.changed.wait(0.05)
            if time.monotonic() > end:
                raise AssertionError(f"not within {limit:.0f} s: {what}: {self.tail()}")

    def wait_open(self):
        self.wait("the client is connected", lambda: self.since_started("open"))
        if self.client.protocol:
            told = self.wait("the answer's protocol", lambda: self.since_started("answer"))
            assert all(each["protocol"] == self.client.protocol for each in told), told

    def last_id(self):
        ids = [each["id"] for each in self.said if each["kind"] in ("event", "id") and each["id"]]
        return ids[-1] if ids else ""

    def _again(self):
        self.place.end_gently(self.process)
        self.order["last_event_id"] = self.last_id() or self.order["last_event_id"]
        self._begin()

    def tail(self):
        return json.dumps(self.said[-6:])[:1500]

    def end(self):
        self.by_hand = False
        if self.process:
            self.place.end_gently(self.process)


class Ended(AssertionError):
    """The client is gone while something was waited for."""
