"""One case with one client: asks the test service for streams by its protocol, and hears what they bring."""

import http.client
import json
import queue
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from streams import PATIENCE

# The data by which a case knows that all has come.
OVER = "over"


class Hearing(ThreadingHTTPServer):
    """Where the service posts what streams bring: /STREAM/NUMBER."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Callback)
        self.lock, self.queues = threading.Lock(), []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def place(self):
        with self.lock:
            self.queues.append(queue.Queue())
            return f"http://127.0.0.1:{self.server_port}/{len(self.queues) - 1}", self.queues[-1]


class Callback(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        _, stream, number = self.path.split("/")
        self.server.queues[int(stream)].put((int(number), message))
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Service:
    """A service that runs."""

    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc
        self.capabilities = json.loads(self.ask("GET", "/")[2])["capabilities"]

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.host, timeout=2 * PATIENCE)
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        found = answer.status, answer.headers, answer.read()
        connection.close()
        return found

    def must(self, method, path, body=None):
        status, headers, text = self.ask(method, path, body)
        assert 200 <= status < 300, f"{method} {path}: {status} {text!r}"
        return headers


class Play:
    """A stream of the service, and the endpoint that it follows."""

    def __init__(self, service, hearing, server, quiet):
        self.service, self.server, self.quiet = service, server, quiet
        self.endpoint, self.other = server.endpoint(), server.endpoint()
        self.callback, self.heard = hearing.place()
        self.number, self.path, self.last = 0, None, None

    def start(self, types=(), url=None, **order):
        """Begins the stream, with as short a delay before reconnects as the client can have; `types` are listened to."""
        order = {"streamUrl": url or self.endpoint.url, "callbackUrl": self.callback, "initialDelayMs": 10, **order}
        location = self.service.must("POST", "/", order)["location"]
        self.path = urllib.parse.urlsplit(location).path
        if "event-type-listeners" in self.service.capabilities:
            for kind in dict.fromkeys(types):
                self.service.must("POST", self.path, {"command": "listen", "listen": {"type": kind}})
        return self

    def begin(self, types=(), **order):
        """Begins, and opens the first connection."""
        self.last = self.start(types, **order).endpoint.next().open()
        return self.last

    def again(self):
        """Opens the next connection."""
        self.last = self.endpoint.next().open()
        return self.last

    def command(self, command):
        self.service.must("POST", self.path, {"command": command})

    def message(self):
        try:
            number, message = self.heard.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"the client says nothing for {PATIENCE} s") from None
        self.number += 1
        assert number == self.number, f"callback {number} came after {self.number - 1}"
        return message

    def event(self):
        """The next event as (type, data, id); losses before it are passed over."""
        while (message := self.message())["kind"] == "error":
            assert not message["error"].startswith("closed"), message
        event = message["event"]
        return event["type"], event["data"], event["id"]

    def events(self):
        """Sends the last event through the connection that is open, and returns those before it."""
        self.last.send(f"data: {OVER}\n\n".encode())
        found = []
        while (event := self.event())[1] != OVER:
            found.append(event)
        # A type that was left over from a block before would show here.
        return found if event[0] == "message" else [*found, event]

    def error(self, after_events=False):
        """`lost` or `closed`: what the next error is, with no event before it. Who has closed must be quiet from then on."""
        message = self.message()
        while after_events and message["kind"] == "event":
            message = self.message()
        assert message["kind"] == "error", message
        word = message["error"].partition(":")[0]
        if word == "closed":
            self.quiet.append((self.endpoint, self.endpoint.requests))
        return word

    def close(self):
        if self.path is not None:
            self.service.must("DELETE", self.path)
