"""One reader's process, and what it said."""

import json
import os
import subprocess
import threading
import time

from answer import length
from servers import LIMIT


class Reader:
    """An adapter that was given an order; it reads again when it is told to."""

    def __init__(self, place, client, order):
        self.place, self.said, self.changed = place, [], threading.Condition()
        with (place.path / f"{client.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*map(str, client.command), json.dumps({**client.order, **order})], start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "TMPDIR": str(place.path)},
            )
        with place.lock:
            place.processes.append(self.process)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._note(json.loads(line))
        self._note({"kind": "gone", "code": self.process.wait()})

    def _note(self, said):
        with self.changed:
            self.said.append(said)
            self.changed.notify_all()

    def of(self, *kinds):
        with self.changed:
            return [each for each in self.said if each["kind"] in kinds]

    def has(self, pieces):
        """Whether the text of so many pieces has come, since it was told to read last."""
        return any(each["length"] >= length(pieces) for each in self.of("text")[-1:])

    def over(self):
        """How it ended, of as many times as it was told to read."""
        return self.of("end", "error")

    def again(self):
        self.process.stdin.write(b"again\n")
        self.process.stdin.flush()

    def wait(self, what, question):
        end = time.monotonic() + LIMIT
        while not (answer := question()):
            assert not self.of("gone") or question(), f"{what}: it is gone: {self.tail()}"
            assert time.monotonic() < end, f"not within {LIMIT:.0f} s: {what}: {self.tail()}"
            with self.changed:
                self.changed.wait(0.02)
        return answer

    def tail(self):
        return json.dumps(self.said[-3:])[:1500]

    def end(self):
        self.place.end(self.process)
