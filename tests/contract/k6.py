"""The EventSource of `k6/x/eventsource` as a client of the test service: one k6 with one virtual user, whose script (k6.js)
asks here what to do, and says here what its streams bring."""

import json
import os
import pathlib
import queue
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# How long the script waits for an order before it asks again.
ASK_SECONDS = 10
# How long an order may take.
ORDER_SECONDS = 30


class K6:
    name = "k6/x/eventsource"
    capabilities = ["204", "bom", "event-type-listeners", "headers", "last-event-id", "payload-size-stress-testable", "restart"]

    def __init__(self, program):
        self.lock, self.made = threading.Lock(), 0
        self.orders, self.carried_out, self.callbacks = queue.Queue(), {}, {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.server.daemon_threads, self.server.k6 = True, self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        script = pathlib.Path(__file__).with_name("k6.js")
        settings = {name: value for name, value in os.environ.items() if not name.startswith("K6_")}
        settings |= {"K6_AUTO_EXTENSION_RESOLUTION": "false", "SERVICE": f"http://127.0.0.1:{self.server.server_port}"}
        self.process = subprocess.Popen(
            [program, "run", "--no-usage-report", "--quiet", "--summary-mode=disabled", "--address", "", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=settings,
        )

    def open(self, order, callbacks):
        with self.lock:
            self.made += 1
            stream = K6Stream(self, self.made)
            self.callbacks[stream.number] = callbacks
        self.carry_out({"do": "open", "stream": stream.number, "order": order})
        return stream

    def carry_out(self, order):
        """Returns when the script has done it."""
        done = threading.Event()
        with self.lock:
            number = len(self.carried_out)
            self.carried_out[number] = done
        self.orders.put({"number": number, **order})
        if not done.wait(ORDER_SECONDS):
            raise RuntimeError(f"k6 has not done {order['do']}; it {'runs' if self.process.poll() is None else 'has ended'}")

    def said(self, message):
        if "done" in message:
            self.carried_out[message["done"]].set()
            return
        callbacks = self.callbacks[message["stream"]]
        if "event" in message:
            event = message["event"]
            callbacks.event(event["type"], event["data"], event["id"])
        else:
            callbacks.error(message["error"])

    def stop(self):
        self.orders.put({"do": "end"})
        try:
            self.process.wait(ORDER_SECONDS)
        finally:
            self.process.kill()
            self.server.shutdown()


class K6Stream:
    def __init__(self, k6, number):
        self.k6, self.number = k6, number

    def command(self, order):
        if order.get("command") == "listen":
            # Harnesses differ in how they write the member.
            listen = order.get("listen") or order["Listen"]
            self.k6.carry_out({"do": "listen", "stream": self.number, "type": listen["type"]})
        elif order.get("command") == "restart":
            self.k6.carry_out({"do": "cut", "stream": self.number})
        else:
            raise ValueError(f"k6 knows no command {order.get('command')!r}")

    def close(self):
        self.k6.carry_out({"do": "close", "stream": self.number})


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            orders = [self.server.k6.orders.get(timeout=ASK_SECONDS)]
        except queue.Empty:
            orders = []
        self._answer(orders)

    def do_POST(self):
        for message in json.loads(self.rfile.read(int(self.headers["content-length"]))):
            self.server.k6.said(message)
        self._answer([])

    def _answer(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass
