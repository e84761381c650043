"""`fantail tail --json` as a client of the test service: a process for each stream."""

import json
import os
import select
import subprocess
import threading

# The smallest `--stall-timeout`, in milliseconds.
STALL_LEAST = 1000
# What `tail` says of a connection that is lost, and of none besides.
LOST = "; going on at "
PIECE_BYTES = 1 << 16
# A process that was told to end has to do so within this time.
END_SECONDS = 20


class Tail:
    name = "fantail tail"
    capabilities = ["204", "bom", "last-event-id", "payload-size-stress-testable", "read-timeout"]

    def __init__(self, program):
        self.program = program

    def open(self, order, callbacks):
        return TailStream(self.program, order, callbacks)

    def stop(self):
        pass


class TailStream:
    def __init__(self, program, order, callbacks):
        arguments = ["--json", "--url", order["streamUrl"]]
        if order.get("lastEventId"):
            arguments += ["--last-event-id", order["lastEventId"]]
        if order.get("readTimeoutMs"):
            arguments += ["--stall-timeout", f"{max(order['readTimeoutMs'], STALL_LEAST)}ms"]
        settings = {name: value for name, value in os.environ.items() if not name.startswith("FANTAIL_")}
        self.process = subprocess.Popen(
            [program, "tail", "contract", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=settings,
        )
        self.callbacks, self.closing, self.last = callbacks, False, ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def command(self, order):
        raise ValueError(f"tail knows no command {order.get('command')!r}")

    def close(self):
        self.closing = True
        self.process.terminate()
        self.process.wait(END_SECONDS)
        self.reader.join(END_SECONDS)

    def _read(self):
        out, err = Lines(self.process.stdout), Lines(self.process.stderr)
        open_pipes = [out, err]
        while open_pipes:
            select.select([lines.pipe for lines in open_pipes], [], [])
            # States first: what was printed before one of them is in the other pipe by now.
            states, events = err.come(), out.come()
            for line in events:
                event = json.loads(line)
                self.callbacks.event(event["event"], event["data"], event["id"])
            for line in states:
                self.last = line.decode()
                if LOST in self.last:
                    self.callbacks.error(f"lost: {self.last}")
            open_pipes = [lines for lines in open_pipes if not lines.over]
        code = self.process.wait()
        if not self.closing:
            self.callbacks.error(f"closed: {self.last} (exit code {code})")


class Lines:
    """A pipe's lines as they come."""

    def __init__(self, pipe):
        self.pipe, self.rest, self.over = pipe, [], False
        os.set_blocking(pipe.fileno(), False)

    def come(self):
        """Whole lines that are there."""
        while not self.over:
            try:
                piece = os.read(self.pipe.fileno(), PIECE_BYTES)
            except BlockingIOError:
                break
            self.rest.append(piece)
            self.over = not piece
        *lines, rest = b"".join(self.rest).split(b"\n")
        self.rest = [rest]
        return lines
