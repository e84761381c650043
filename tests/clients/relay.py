"""A TCP relay between a client and the nodes. It sees when a client comes and what it asks, can make connections wait, cut
them, and lead the next ones to another node, as a load balancer would. It changes no byte."""

import re
import socket
import threading
import time

# The beginning of a request for events; the port's other requests (a browser's page) are not counted.
REQUEST = re.compile(rb"GET (/events[^ ]*) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.S)
# Of a connection's bytes, so many are kept for looking at.
KEPT = 1 << 20


class Connection:
    def __init__(self, client):
        self.client, self.node, self.since = client, None, time.monotonic()
        self.up, self.down = bytearray(), bytearray()

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
        up = threading.Thread(target=pump, args=(connection.client, connection.node, connection.up), daemon=True)
        up.start()
        pump(connection.node, connection.client, connection.down)
        connection.client.close()
        up.join()
        connection.node.close()


def pump(source, sink, seen):
    try:
        while chunk := source.recv(65536):
            if len(seen) < KEPT:
                seen += chunk
            sink.sendall(chunk)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
