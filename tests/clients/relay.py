"""A TCP relay between a client and the nodes. It sees when a client comes and what it asks, can make connections wait, cut
them, and lead the next ones to another node, as a load balancer would. It changes no byte, unless it is told to end answers as
if they were whole."""

import re
import socket
import threading
import time

# The beginning of a request for events; the port's other requests (a browser's page) are not counted.
REQUEST = re.compile(rb"GET (/events[^ ]*) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.S)
# Of a connection's bytes, so many are kept for looking at.
KEPT = 1 << 20
# Between the first byte of a character and the others, where it splits.
PAUSE = 0.02
LAST_CHUNK = b"0\r\n\r\n"


class Connection:
    def __init__(self, client):
        self.client, self.node, self.since, self.ended = client, None, time.monotonic(), None
        self.up, self.down = bytearray(), bytearray()
        # When how much had been asked.
        self.asked = []
        # How much more may come down.
        self.left = None

    def cut(self):
        """Both ends at once. Not by a reset, which would take back what the client has not read yet."""
        for end in (self.client, self.node):
            if end is not None:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Relay:
    def __init__(self, target):
        self.target, self.connections, self.gate = target, [], threading.Event()
        # It pauses within characters; it ends what nodes end.
        self.splits, self.completes = False, False
        self.gate.set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def requests(self):
        """What was asked for events, in order: path, headers by their names in lower case."""
        found = []
        for connection in list(self.connections):
            for match in REQUEST.finditer(bytes(connection.up)):
                lines = match[2].decode("latin-1").split("\r\n")
                headers = dict((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
                found.append((match[1].decode(), headers))
        return found

    def asked_at(self):
        """When requests for events were there, in order."""
        found = []
        for connection in list(self.connections):
            ends = [match.end() for match in REQUEST.finditer(bytes(connection.up))]
            found += [next(when for when, length in connection.asked if length >= end) for end in ends]
        return found

    def cut_after(self, count):
        """Cuts each connection when so many bytes more have come down."""
        for connection in list(self.connections):
            connection.left = count

    def hold(self):
        """Connections that come from now on wait."""
        self.gate.clear()

    def release(self):
        self.gate.set()

    def cut(self):
        for connection in list(self.connections):
            connection.cut()

    def close(self):
        self.listener.close()
        self.gate.set()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client)
            self.connections.append(connection)
            threading.Thread(target=self._lead, args=(connection,), daemon=True).start()

    def _lead(self, connection):
        self.gate.wait()
        try:
            connection.node = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            connection.node.settimeout(None)
        except OSError:
            connection.client.close()
            return
        up = threading.Thread(target=self._up, args=(connection,), daemon=True)
        up.start()
        self._down(connection)
        connection.client.close()
        up.join()
        connection.node.close()

    def _up(self, connection):
        for chunk in pieces(connection.client):
            connection.up += chunk[: KEPT - len(connection.up)]
            connection.asked.append((time.monotonic(), len(connection.up)))
            if not sent(connection.node, chunk):
                break
        connection.cut()

    def _down(self, connection):
        for chunk in pieces(connection.node):
            connection.down += chunk[: KEPT - len(connection.down)]
            torn = connection.left is not None and len(chunk) > connection.left
            if connection.left is not None:
                chunk = chunk[: connection.left]
                connection.left -= len(chunk)
            if not all(sent(connection.client, piece) for piece in (within(chunk) if self.splits else [chunk])) or torn:
                break
        else:
            if self.completes and b"\r\ntransfer-encoding: chunked\r\n" in bytes(connection.down).lower():
                sent(connection.client, LAST_CHUNK)
        connection.ended = time.monotonic()
        connection.cut()


def pieces(source):
    """What comes, until the end or a break."""
    while True:
        try:
            chunk = source.recv(65536)
        except OSError:
            return
        if not chunk:
            return
        yield chunk


def sent(sink, chunk):
    try:
        sink.sendall(chunk)
    except OSError:
        return False
    return True


def within(chunk):
    """Split behind the first byte of each character that has several, with a pause there."""
    begin = 0
    for index, byte in enumerate(chunk):
        if byte >= 0xC0:
            yield chunk[begin : index + 1]
            time.sleep(PAUSE)
            begin = index + 1
    yield chunk[begin:]
