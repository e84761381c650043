"""Thousands of EventSources in one thread, each with its own account of what it got. Shares no code with the node."""

import selectors
import socket
import time


class Client:
    """One EventSource: what it saw, and where it stands."""

    __slots__ = ("socket", "buffer", "head", "last", "retry", "next", "opened")

    def __init__(self):
        self.socket = None
        self.buffer = b""
        self.head = False
        self.last = None
        self.retry = 3.0
        # The number that the next event must have; None before the first.
        self.next = None
        self.opened = 0


class Crowd:
    """Clients of one channel whose events' data are consecutive numbers."""

    def __init__(self, port, channel, count):
        self.port, self.channel = port, channel
        self.clients = [Client() for _ in range(count)]
        self.selector = selectors.DefaultSelector()
        # Who has not come yet, and who comes back when.
        self.fresh = list(self.clients)
        self.waiting = []
        self.faults = []
        # When streams were ended by the server, of which client.
        self.ended = []
        self.reconnects = 0
        self.highest = None

    def connect(self, client):
        client.buffer, client.head = b"", False
        client.socket = socket.socket()
        client.socket.setblocking(False)
        client.socket.connect_ex(("127.0.0.1", self.port))
        self.selector.register(client.socket, selectors.EVENT_WRITE, client)

    def run(self, until, limit=600, pace=400):
        """Serves everybody until `until()` is true; new ones come at `pace` per second."""
        end, next_look = time.monotonic() + limit, 0
        started = time.monotonic()
        begun = 0
        while True:
            now = time.monotonic()
            while self.fresh and begun < (now - started) * pace:
                self.connect(self.fresh.pop())
                begun += 1
            while self.waiting and self.waiting[0][0] <= now:
                self.connect(self.waiting.pop(0)[1])
            if now >= next_look:
                next_look = now + 0.1
                if not self.fresh and until():
                    return
                assert now < end, f"not within {limit} s; faults: {self.faults[:5]}"
            for key, _ in self.selector.select(0.05):
                self.ready(key.data, key.events)

    def ready(self, client, events):
        if events & selectors.EVENT_WRITE:
            error = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                return self.fault(client, f"connect: error {error}")
            resume = f"Last-Event-ID: {client.last}\r\n" if client.last else ""
            client.socket.send(f"GET /events/{self.channel} HTTP/1.0\r\nHost: test\r\n{resume}\r\n".encode())
            self.selector.modify(client.socket, selectors.EVENT_READ, client)
            return None
        try:
            piece = client.socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError as error:
            return self.gone(client, str(error))
        if not piece:
            return self.gone(client, None)
        client.buffer += piece
        return self.read(client)

    def read(self, client):
        if not client.head:
            head, found, rest = client.buffer.partition(b"\r\n\r\n")
            if not found:
                return None
            code = head.split(b" ", 2)[1]
            if code != b"200":
                return self.fault(client, f"refused: {head[:200]!r}")
            client.head, client.buffer = True, rest
            client.opened += 1
        *blocks, client.buffer = client.buffer.split(b"\n\n")
        for block in blocks:
            self.block(client, block)
        return None

    def block(self, client, block):
        event = data = None
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"id":
                client.last = value.decode()
            elif name == b"data":
                data = value
            elif name == b"event":
                event = value
            elif name == b"retry":
                client.retry = int(value) / 1000
        if event:
            self.faults.append(f"event {event!r}: {data!r}")
        elif data is not None:
            number = int(data)
            if client.next is not None and number != client.next:
                self.faults.append(f"{number} came, {client.next} was due")
            client.next = number + 1

    def gone(self, client, error):
        """Its stream ended; it comes back after its own delay, as EventSource does."""
        if not client.head or error:
            return self.fault(client, f"ended before the head, or broken: {error}")
        now = time.monotonic()
        self.drop(client)
        self.ended.append(now)
        self.reconnects += 1
        self.waiting.append((now + client.retry, client))
        self.waiting.sort(key=lambda each: each[0])
        return None

    def fault(self, client, what):
        self.faults.append(what)
        self.drop(client)
        self.waiting.append((time.monotonic() + client.retry, client))
        self.waiting.sort(key=lambda each: each[0])

    def drop(self, client):
        self.selector.unregister(client.socket)
        client.socket.close()
        client.socket = None

    def open(self):
        return sum(client.head and client.socket is not None for client in self.clients)

    def all_have(self, number):
        return all(client.next is not None and client.next > number for client in self.clients)

    def close(self):
        for client in self.clients:
            if client.socket:
                client.socket.close()
