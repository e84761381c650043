"""What a case has: nodes, the relay before them, the application, an answer, and readers of one client."""

import datetime
import re
import sys
import threading
import pathlib

import jwt

sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from answer import TEXT, Answer  # noqa: E402
from application import Application  # noqa: E402
from reader import Reader  # noqa: E402
from relay import Relay  # noqa: E402
from servers import Node, eventually  # noqa: E402

SECRET = "0123456789abcdef0123456789abcdef"
# Seconds: long enough to read the first half of an answer in.
SHORT = 4


class World:
    """Of one case and one client; at its end goes what it started."""

    names, lock = 0, threading.Lock()

    def __init__(self, place, redis, binary, client):
        self.place, self.redis, self.binary, self.client = place, redis, binary, client
        with World.lock:
            World.names += 1
            self.channel = f"answer.{World.names}"
        self.relay, self.nodes, self.readers, self.tokens, self.absent = Relay(None), [], [], None, False
        self.application = Application(self.location)
        self.answer = Answer(redis, self.channel, client.form())

    def node(self, *flags):
        """A node, to which the relay leads."""
        node = Node(self.place, self.binary, self.redis, "--retry", "200ms..200ms", *flags)
        self.nodes.append(node)
        self.relay.target = node.port
        return node

    def node_with_tokens(self):
        key = self.place.path / "key"
        key.write_text(SECRET)
        self.tokens = 0
        return self.node("--auth", "jwt", "--jwt-key", key)

    def location(self, last, again):
        """The whole answer, and an error or an incomplete end wherever that cannot be had."""
        parameters = "since=0-0&control=end"
        if last:
            parameters += f"&lastEventId={last}"
        elif again or self.absent:
            parameters += "&absent=204"
        if self.tokens is not None:
            parameters += f"&token={self.token()}"
        return f"http://127.0.0.1:{self.relay.port}/events/{self.channel}?{parameters}"

    def token(self):
        """The first one ends soon."""
        self.tokens += 1
        left = datetime.timedelta(seconds=SHORT if self.tokens == 1 else 3600)
        end = datetime.datetime.now(datetime.timezone.utc) + left
        return jwt.encode({"sub": "a", "exp": end, "fantail.subscribe": [self.channel]}, SECRET, "HS256")

    def read(self, **order):
        reader = Reader(self.place, self.client, {"url": self.application.url, **order})
        self.readers.append(reader)
        return reader

    def reading(self, pieces, **order):
        """A reader that has come so far; the answer is written further than that."""
        reader, asked = None, self.application.asked
        if self.answer.written is None:
            self.answer.write(1)
        reader = self.read(**order)
        reader.wait("it asks", lambda: self.application.asked > asked)
        self.answer.write(max(self.answer.written, 2 * pieces))
        reader.wait(f"{pieces} pieces", lambda: reader.has(pieces))
        return reader

    def heartbeats(self, count):
        connection = self.relay.connections[-1]
        begun = len(connection.down)
        seen = lambda: len(re.findall(rb"(?<=\n):\n", bytes(connection.down[begun:]))) >= count
        eventually(f"{count} heartbeats", seen)

    def judged(self, reader, times=1):
        """What it has of an answer that is written to its end."""
        over = reader.wait("its end", lambda: len(reader.over()) >= times and reader.over()[-1])
        if over["kind"] == "error":
            return f"raises: {over}"
        return "whole" if over["text"] == TEXT else difference(over["text"])

    def close(self):
        for reader in self.readers:
            reader.end()
        self.application.close()
        self.relay.close()
        for node in self.nodes:
            node.kill()


def difference(text):
    if TEXT.startswith(text):
        return f"takes {len(text)} of {len(TEXT)} for the whole"
    at = next(n for n, (one, other) in enumerate(zip(text + "\0", TEXT)) if one != other)
    return f"differs at {at}: {text[max(0, at - 20) : at + 40]!r}"
