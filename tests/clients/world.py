"""What a case has: nodes, a relay, a channel of its own and the client."""

import contextlib
import ssl
import threading
import urllib.request

from relay import Relay
from servers import Node
from session import Session


class World:
    """Of one case and one client; at its end goes what it started."""

    names, lock = 0, threading.Lock()

    def __init__(self, place, redis, binary, client):
        self.place, self.redis, self.binary, self.client = place, redis, binary, client
        with World.lock:
            World.names += 1
            self.channel = f"c{World.names}"
        self.relay, self.nodes, self.sessions = Relay(None), [], []
        self.relays = [self.relay]

    def tls(self):
        return self.client.scheme == "https"

    def hidden(self):
        """Whether the relay can read no heads."""
        return self.tls() or self.client.protocol not in ("", "http/1.1")

    def node(self, *flags):
        """A node, to which the relay leads; a client is told to come again soon."""
        common = ["--cors-origin", "https://elsewhere.example.org"]
        common += [] if "--retry" in flags else ["--retry", "200ms..200ms"]
        if self.tls():
            common += ["--tls-cert", self.place.path / "cert.pem", "--tls-key", self.place.path / "key.pem"]
        node = Node(self.place, self.binary, self.redis, *common, *flags)
        self.nodes.append(node)
        self.relay.target = node.port
        return node

    def another_relay(self, target):
        """For a second client."""
        relay = Relay(target)
        self.relays.append(relay)
        return relay

    def session(self, relay=None):
        session = Session(self.place, self.client, relay or self.relay)
        self.sessions.append(session)
        return session

    def path(self):
        return "/events/" + self.channel

    def publish(self, channel=None, **fields):
        return self.redis.client.xadd("sse:" + (channel or self.channel), fields)

    @contextlib.contextmanager
    def taken(self, node):
        """Somebody else has a place on the node meanwhile."""
        other = urllib.request.urlopen(f"{self.client.scheme}://127.0.0.1:{node.port}/events/other", context=self.lax())
        try:
            yield
        finally:
            other.close()

    def lax(self):
        if not self.tls():
            return None
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def close(self):
        for session in self.sessions:
            session.end()
        for relay in self.relays:
            relay.close()
        for node in self.nodes:
            node.kill()
