#!/usr/bin/env python3
"""A test service in front of one client, by the protocol of LaunchDarkly's SSE contract tests: a harness asks for streams by
HTTP, and each stream's events and errors are posted to where it says. README.md has the protocol.
Usage: service.py tail FANTAIL [PORT], or service.py k6 K6 [PORT]"""

import http.client
import json
import queue
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from k6 import K6
from tail import Tail

CLIENTS = {"tail": Tail, "k6": K6}
# A callback that a harness does not take within this time is an error of the harness.
CALLBACK_SECONDS = 30
# Messages of one stream that wait to be posted; a client that says more waits.
MESSAGES_MAX = 10_000


class Callbacks:
    """What one stream says, posted in order to CALLBACK/1, CALLBACK/2, …"""

    def __init__(self, url):
        self.url = urllib.parse.urlsplit(url)
        self.waiting = queue.Queue(MESSAGES_MAX)
        self.thread = threading.Thread(target=self._post_all, daemon=True)
        self.thread.start()

    def event(self, kind, data, id):
        self.waiting.put({"kind": "event", "event": {"type": kind, "data": data, "id": id}})

    def error(self, text):
        self.waiting.put({"kind": "error", "error": text})

    def end(self):
        """Returns when all is posted."""
        self.waiting.put(None)
        self.thread.join(CALLBACK_SECONDS)

    def _post_all(self):
        connection = http.client.HTTPConnection(self.url.netloc, timeout=CALLBACK_SECONDS)
        number, lost = 0, False
        while (message := self.waiting.get()) is not None:
            number += 1
            if lost:
                continue
            try:
                connection.request("POST", f"{self.url.path}/{number}", json.dumps(message), {"content-type": "application/json"})
                connection.getresponse().read()
            except OSError as error:
                # The harness is done with this stream; what comes further is taken and dropped.
                lost = True
                print(f"callback {number} of {self.url.geturl()}: {error}", file=sys.stderr)
        connection.close()


class Service(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, client, program, port=0):
        super().__init__(("127.0.0.1", port), Requests)
        self.lock, self.streams, self.made = threading.Lock(), {}, 0
        self.client = CLIENTS[client](program)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def create(self, order):
        callbacks = Callbacks(order["callbackUrl"])
        stream = self.client.open(order, callbacks)
        with self.lock:
            self.made += 1
            self.streams[f"/streams/{self.made}"] = stream, callbacks
            return f"/streams/{self.made}"

    def delete(self, path):
        with self.lock:
            stream, callbacks = self.streams.pop(path)
        stream.close()
        callbacks.end()

    def stop(self):
        for path in list(self.streams):
            self.delete(path)
        self.client.stop()
        threading.Thread(target=self.shutdown).start()


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path != "/":
            return self._answer(404)
        client = self.server.client
        return self._answer(200, {"name": client.name, "capabilities": client.capabilities})

    def do_POST(self):
        try:
            order = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
            if self.path == "/":
                return self._answer(201, location=self.server.url + self.server.create(order))
            if self.path not in self.server.streams:
                return self._answer(404)
            stream, _ = self.server.streams[self.path]
            stream.command(order)
            return self._answer(202)
        except (ValueError, KeyError) as error:
            return self._answer(400, {"error": repr(error)})

    def do_DELETE(self):
        if self.path == "/":
            self._answer(204)
            return self.server.stop()
        if self.path not in self.server.streams:
            return self._answer(404)
        self.server.delete(self.path)
        return self._answer(204)

    def _answer(self, status, body=None, location=None):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if location:
            self.send_header("location", location)
        if status != 204:
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    client, program, *port = sys.argv[1:]
    service = Service(client, program, int(port[0]) if port else 0)
    print(f"{service.client.name} at {service.url}", flush=True)
    try:
        service.serve_forever()
    except KeyboardInterrupt:
        service.client.stop()


if __name__ == "__main__":
    main()
