"""Raw clients of event streams, for what the loadtest does not do."""

import socket


def subscribe(port, channel, last=None, gzip=False, limit=30):
    """A socket that has sent its request; the answer is not read."""
    resume = f"Last-Event-ID: {last}\r\n" if last else ""
    accept = "Accept-Encoding: gzip\r\n" if gzip else ""
    return ask(port, f"/events/{channel}", headers=resume + accept, limit=limit)


def ask(port, path, host="test", headers="", limit=30):
    """The same for any path; `headers` are lines with their ends."""
    client = socket.create_connection(("127.0.0.1", port), timeout=limit)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
    return client


def status(client):
    """The answer's status code."""
    return int(client.recv(4096).split(b" ", 2)[1])


def read_until(client, wanted):
    """What came, up to and with `wanted`."""
    seen = b""
    while wanted not in seen:
        piece = client.recv(65536)
        assert piece, f"ended before {wanted!r} came: {seen[-500:]!r}"
        seen += piece
    return seen
