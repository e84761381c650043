"""The application: it answers each reader's own request with a redirect to the answer's channel on a node."""

import http.server
import json
import threading
import urllib.parse

from answer import CALL


class Application:
    """`location(last_event_id, again)` says where a reader is led; `asked` counts how often one was."""

    def __init__(self, location):
        self.location, self.asked = location, 0
        application = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/mcp":
                    return self.mcp(json.loads(body))
                self.lead()

            def do_GET(self):
                path, _, query = self.path.partition("?")
                last = urllib.parse.parse_qs(query).get("lastEventId", [""])[0] or self.headers.get("Last-Event-ID", "")
                if path == "/mcp" and not last:
                    return self.answer(405)
                self.lead(last, again=True)

            def mcp(self, message):
                if "id" not in message:
                    return self.answer(202)
                if message["method"] == "tools/call":
                    assert message["id"] == CALL, message
                    return self.lead()
                version = message["params"].get("protocolVersion", "2025-11-25")
                result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "a", "version": "1"}}
                body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
                self.answer(200, body, {"Content-Type": "application/json", "Mcp-Session-Id": "s1"})

            def lead(self, last="", again=False):
                application.asked += 1
                self.answer(303, headers={"Location": application.location(last, again)})

            def answer(self, status, body=b"", headers=None):
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
