"""The clients: how each is run, what it can do, and what is expected of it where that differs from what a client should do."""

import dataclasses
import os
import pathlib
import sys

# What tests/run has built of the adapters that have to be.
BUILT = pathlib.Path(os.environ.get("FANTAIL_CLIENTS_BUILT", ".cache/clients"))
HERE = pathlib.Path(__file__).parent / "adapters"


@dataclasses.dataclass
class Client:
    name: str
    # As a reader knows it, its version included.
    title: str
    version: str
    command: list
    # What the user of the library has to know: each a sentence for docs/clients.md.
    notes: list = ()
    # Case → what it does there, where that is not the usual.
    differs: dict = dataclasses.field(default_factory=dict)
    # It does not connect again: the test does, with the last id that it told.
    by_hand: bool = False
    token: str = "header"
    scheme: str = "http"
    # What a browser says that it speaks.
    protocol: str = ""
    # More for the adapter.
    order: dict = dataclasses.field(default_factory=dict)
    folder: pathlib.Path = HERE

    def expects(self, case):
        usual = USUAL_BY_HAND if self.by_hand else USUAL
        return self.differs.get(case, usual[case])


# What EventSource's specification has, or, where a client says more than that, the better answer.
USUAL = {
    "connects": "yes",
    "named": "yes",
    "unicode": "as sent",
    "lines": "as sent",
    "empty": "an event",
    "large": "as sent",
    "killed": "exact",
    "early": "exact",
    "drained": "exact",
    "several": "exact",
    "gap": "told",
    "compressed": "gzip, exact",
    "token": "header",
    "unauthorized": "stops",
    "too_many": "stops",
    "unavailable": "stops",
    "finished": "stops",
    "heartbeats": "quiet",
    "retry": "waits as told",
}
USUAL_BY_HAND = USUAL | {
    "unauthorized": "stops, tells 401",
    "too_many": "stops, tells 429",
    "unavailable": "stops, tells 503",
    "finished": "stops, tells 204",
    "retry": "ends",
}
TELLS = {"unauthorized": "stops, tells 401", "too_many": "stops, tells 429", "unavailable": "stops, tells 503"}


def python(name, **more):
    command = [sys.executable, HERE / "python" / f"{name.replace('-', '_')}_client.py"]
    version = name if name == "curl" else f"pip {name}"
    return Client(name, name if name == "curl" else f"Python `{name}`", version, command, **more)


def node(name, title, version, program, **more):
    return Client(name, title, version, ["node", HERE / "node" / program], **more)


def go(name, module, **more):
    return Client(name, f"Go `{module}`", f"go {module}", [BUILT / "go-clients", name], **more)


def java(name, title, version, program, **more):
    command = ["java", "-XX:+UseSerialGC", "-cp", f"{BUILT}/java/classes:{BUILT}/java/jars/*", f"fantail.{program}"]
    return Client(name, title, f"maven {version}", command, by_hand=True, **more)


NO_STATUS = {"unauthorized": "asks again", "too_many": "asks again", "unavailable": "asks again"}

CLIENTS = [
    node(
        "chromium", "Chromium's EventSource, HTTP/1.1", "chromium", "chromium.mjs", token="cookie", protocol="http/1.1",
        order={"program": "eventSource", "executable": "/usr/bin/chromium"}, differs={"token": "cookie"},
        notes=["An EventSource sets no headers: a cookie, or `?token=`, carries the token."],
    ),
    node(
        "chromium-http2", "Chromium's EventSource, HTTP/2", "chromium", "chromium.mjs", token="cookie", protocol="h2",
        scheme="https", order={"program": "eventSource", "executable": "/usr/bin/chromium"}, differs={"token": "cookie"},
        notes=["As over HTTP/1.1."],
    ),
    node(
        "firefox", "Firefox's EventSource, HTTP/1.1", "firefox", "firefox.mjs", token="cookie",
        order={"program": "eventSource", "executable": "/usr/bin/firefox-esr"}, differs={"token": "cookie", "early": "loses"},
        notes=["It forgets an id that came without data. So a page that is cut off before the first event begins anew. If that matters, "
               "begin at a position: `since=` with an id, as from the [history](reference/history.md)."],
    ),
    node(
        "firefox-http2", "Firefox's EventSource, HTTP/2", "firefox", "firefox.mjs", token="cookie", scheme="https",
        order={"program": "eventSource", "executable": "/usr/bin/firefox-esr"}, differs={"token": "cookie", "early": "loses"},
        notes=["As over HTTP/1.1."],
    ),
    node(
        "eventsource", "npm `eventsource`", "npm eventsource", "eventsource.mjs", differs=TELLS,
        notes=["Its timer for the next attempt does not keep a Node process alive: a script that has nothing else to do ends "
               "instead of connecting again.",
               "To set headers, pass a `fetch` of your own.",
               "Version 4 loses ids of blocks without data: if it is cut off before its first event, it begins anew."],
    ),
    node(
        "fetch-event-source", "npm `@microsoft/fetch-event-source`, in Chromium", "npm @microsoft/fetch-event-source",
        "chromium.mjs", order={"program": "fetchEventSource", "executable": "/usr/bin/chromium"},
        differs={
            "lines": "changed",
            "empty": "no event",
            "unauthorized": "asks again, tells 401",
            "too_many": "asks again, tells 429",
            "unavailable": "asks again, tells 503",
        },
        notes=["If an answer is not a stream, it asks again every second: throw in `onerror` to stop.",
               "It loses empty lines at the beginning of data.",
               "It also calls `onmessage` for blocks without data, such as the bare `id:` at the beginning of a stream. So you cannot "
               "distinguish them from events with empty data."],
    ),
    node(
        "eventsource-client", "npm `eventsource-client`", "npm eventsource-client", "eventsource_client.mjs",
        differs=NO_STATUS | {"early": "loses"},
        notes=["It does not look at the status: at 401, 429 and 503 it reads the problem as a stream, and asks again without an error. "
               "A `fetch` of your own can throw and close.",
               "It does not keep ids of blocks without data. If it is cut off before the first event, it does not know its position: "
               "give `initialLastEventId`, or begin with `since=`."],
    ),
    python(
        "httpx-sse", by_hand=True, differs={"empty": "an event, as for blocks without data", "heartbeats": "empty events"},
        notes=["httpx ends a response after five seconds without a byte: set `timeout=httpx.Timeout(10, read=None)`.",
               "Every block becomes an event, even the bare `id:`. Skip those without data."],
    ),
    python(
        "sseclient-py", by_hand=True, differs={"early": "loses"},
        notes=["It does not report ids of blocks without data. If it is cut off before the first event, its user does not know the position: "
               "begin with `since=` and an id, as from the [history](reference/history.md)."],
    ),
    python(
        "aiohttp-sse-client",
        differs=TELLS | {
            "lines": "changed", "large": "fails", "killed": "ends", "early": "ends", "drained": "ends", "several": "ends",
            "gap": "ends",
            "compressed": "gzip, ends", "retry": "ends",
        },
        notes=["It connects again only after a complete stream, as behind a `final` event. Any other end, such as a drain, raises out of the "
               "iteration. Make a new one, with the last id in its headers.",
               "It cuts off leading spaces of each line of data, and line breaks at its end.",
               "A line above 128 KiB raises `Chunk too big`.",
               "aiohttp ends each request after five minutes: set `ClientTimeout(total=None)`."],
    ),
    go(
        "r3labs", "github.com/r3labs/sse/v2",
        differs=NO_STATUS | {
            "empty": "an event, as for blocks without data", "large": "fails", "heartbeats": "empty events",
            "retry": "waits as it likes",
        },
        notes=["A block above 64 KiB breaks the connection, and again after each resume: set `sse.ClientMaxBufferSize`.",
               "It asks again at any status, after delays of its own. It ignores `retry:`.",
               "Every block with an id becomes an event. Skip those without data."],
    ),
    go(
        "tmaxmax", "github.com/tmaxmax/go-sse",
        differs=TELLS | {"empty": "an event, as for blocks without data", "large": "fails", "heartbeats": "empty events"},
        notes=["A block above 64 KiB breaks the connection, and again after each resume: set `Connection.Buffer`.",
               "Every block becomes an event. Skip those without data."],
    ),
    java("okhttp", "Java OkHttp, `okhttp-sse`", "okhttp-sse", "OkHttpClientAdapter", differs={"early": "loses"},
         notes=["It does not report ids of blocks without data. If it is cut off before the first event, its user does not know the "
                "position: begin with `since=` and an id.",
                "OkHttp ends an answer after ten seconds without a byte: set `readTimeout(Duration.ZERO)`."]),
    java("spring", "Java Spring `WebClient`", "spring-webflux", "SpringAdapter",
         differs={"empty": "an event, as for blocks without data", "large": "fails", "heartbeats": "empty events"},
         notes=["A line above 256 KiB raises `DataBufferLimitException`: set `codecs().maxInMemorySize(…)`.",
                "Every block becomes an event, even the bare `id:`. Skip those without data."]),
    Client("reqwest-eventsource", "Rust `reqwest-eventsource`", "cargo reqwest-eventsource",
           [BUILT / "rust" / "debug" / "fantail-clients"], differs=TELLS | {"early": "loses", "compressed": "plain, exact"},
           notes=["It forgets an id that came without data: begin with `since=` and an id.",
                  "It requests gzip only with reqwest's feature `gzip`."]),
    python("curl", by_hand=True, order={"options": []}, notes=["Without `-N` its output waits in a buffer.", "`--compressed` requests gzip."]),
]
