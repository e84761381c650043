"""The server of the cases: it shows each request of a client, and answers byte by byte as a case says. It knows HTTP/1.1
only as far as that takes, so that it can also send what a proper server would not."""

import queue
import re
import socket
import struct
import threading
import time

from kernel import queues

# How long anything may take that has to come.
PATIENCE = 30
# A request's head is no longer.
HEAD_BYTES_MAX = 64 << 10
# How often it is asked whether the client has read.
LOOK_SECONDS = 0.0005

EVENT_STREAM = [("Content-Type", "text/event-stream")]


class Server:
    """Endpoints by the first part of the path; a request goes to the one that it names."""

    def __init__(self):
        self.lock, self.endpoints = threading.Lock(), []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        with socket.create_connection(self.listener.getsockname()) as own:
            assert queues(own.getsockname(), own.getpeername()), "this kernel does not tell of sockets (inet_diag)"
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def endpoint(self):
        with self.lock:
            self.endpoints.append(Endpoint(self, len(self.endpoints)))
            return self.endpoints[-1]

    def late(self):
        """An endpoint whose port refuses connections until it is opened."""
        endpoint = self.endpoint()
        endpoint.closed = socket.socket()
        endpoint.closed.bind(("127.0.0.1", 0))
        endpoint.port = endpoint.closed.getsockname()[1]
        return endpoint

    def listen(self, closed):
        closed.listen(64)
        threading.Thread(target=self._accept, args=(closed,), daemon=True).start()

    def _accept(self, listener):
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client):
        head = bytearray()
        while b"\r\n\r\n" not in head:
            piece = client.recv(HEAD_BYTES_MAX)
            head += piece
            if not piece or len(head) > HEAD_BYTES_MAX:
                return client.close()
        connection = Connection(client, bytes(head))
        self.endpoints[int(re.match("/([0-9]+)", connection.target)[1])].came(connection)


class Endpoint:
    def __init__(self, server, number):
        self.server, self.number, self.port, self.closed = server, number, server.port, None
        self.connections, self.targets, self.answers = queue.Queue(), [], (0, None, None)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/{self.number}"

    @property
    def requests(self):
        return len(self.targets)

    def open(self):
        self.server.listen(self.closed)

    def always(self, times, status, headers):
        """So many requests get this answer, and no case sees them."""
        self.answers = times, status, headers

    def came(self, connection):
        self.targets.append(connection.target)
        times, status, headers = self.answers
        if self.requests <= times:
            return connection.answer(status, headers)
        self.connections.put(connection)

    def next(self):
        """The next connection, with its request."""
        try:
            return self.connections.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no request came within {PATIENCE} s") from None


class Connection:
    """One request, and the answer to it. What is sent when the client has gone is dropped."""

    def __init__(self, client, head):
        self.client, self.at, self.chunked = client, time.monotonic(), False
        request, *lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
        self.method, self.target, _ = request.decode("latin-1").split(" ")
        self.headers = [(name.strip().lower().decode(), value.strip()) for name, _, value in (x.partition(b":") for x in lines)]

    def header(self, name):
        """Its bytes as UTF-8; `None`: there is none."""
        found = [value.decode() for key, value in self.headers if key == name]
        return ", ".join(found) if found else None

    def raw(self, data):
        try:
            self.client.sendall(data)
        except OSError:
            pass
        return self

    def head(self, status, headers):
        lines = [f"HTTP/1.1 {status} Some-Reason", "Connection: close", *(f"{name}: {value}" for name, value in headers)]
        return self.raw(("\r\n".join(lines) + "\r\n\r\n").encode())

    def open(self, headers=EVENT_STREAM):
        """Answers with a stream, which has no end yet."""
        self.chunked = True
        return self.head(200, [*headers, ("Transfer-Encoding", "chunked")])

    def answer(self, status, headers=(), body=b""):
        """Answers whole, and hangs up."""
        length = [] if status in (204, 304) else [("Content-Length", len(body))]
        self.head(status, [*headers, *length]).raw(body).hang_up()

    def send(self, data, size=None):
        """Sends a piece of the stream; with `size` in pieces of so many bytes, each when the client has read the last."""
        for at in range(0, len(data), size or len(data)):
            piece = data[at : at + (size or len(data))]
            self.raw(b"%x\r\n%s\r\n" % (len(piece), piece) if self.chunked else piece)
            if size:
                self.await_read()
        return self

    def end(self):
        """The stream is over, as HTTP says it."""
        self.raw(b"0\r\n\r\n").hang_up()

    def hang_up(self):
        """No further byte, whatever the head has promised."""
        try:
            self.client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        """As when the server's machine is gone; what the client has not read is lost with it."""
        self.await_read()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    def await_gone(self):
        """Returns when the client has hung up."""
        self.client.settimeout(PATIENCE)
        try:
            return self.client.recv(1) == b""
        except ConnectionError:
            return True

    def await_read(self):
        """Returns when the client's process has read all that was sent, by what the kernel says of both ends."""
        ours, theirs = self.client.getsockname(), self.client.getpeername()
        deadline = time.monotonic() + PATIENCE
        while any(waiting := (queues(ours, theirs) or (0, 0))[1:] + (queues(theirs, ours) or (0, 0))[:1]):
            assert time.monotonic() < deadline, f"the client has not read within {PATIENCE} s: {waiting}"
            time.sleep(LOOK_SECONDS)
