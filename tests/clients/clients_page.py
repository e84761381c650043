"""Browsers and what runs in their pages."""

from case import NOT_TRIED
from client import HIDDEN, NO_STATUS, TELLS, node  # noqa: F401

CHROMIUM = "/usr/bin/chromium"


def in_page(name, title, version, program, **more):
    """A library in Chromium."""
    order = {"program": program, "executable": CHROMIUM, **more.pop("order", {})}
    return node(name, f"{title}, in Chromium", version, "chromium.mjs", order=order, **more)


def browser(name, title, **more):
    """Its own EventSource, which sets no headers."""
    differs = {"token": "cookie", **more.pop("differs", {})}
    program, _, over = name.partition("-")
    if over:
        differs, more["scheme"] = HIDDEN | differs, "https"
    executable = {"chromium": CHROMIUM, "firefox": "/usr/bin/firefox-esr"}[program]
    order = {"program": "eventSource", "executable": executable}
    return node(name, title, program, program + ".mjs", token="cookie", order=order, differs=differs, **more)


AGAIN = {"unauthorized": "asks again", "too_many": "asks again", "unavailable": "asks again"}
FETCH_EVENT_SOURCE = {
    "lines": "changed", "empty": "no event", "torn": "loses", "whole": "ends", "control_end": "asks again, tells 410",
    "unauthorized": "asks again, tells 401", "too_many": "asks again, tells 429", "unavailable": "asks again, tells 503",
    "retry_after": "waits as it likes",
}

CLIENTS = [
    browser(
        "chromium", "Chromium's EventSource, HTTP/1.1", protocol="http/1.1",
        notes=["An EventSource sets no headers: a cookie, or `?token=`, carries the token."],
    ),
    browser("chromium-http2", "Chromium's EventSource, HTTP/2", protocol="h2", notes=["As over HTTP/1.1."]),
    browser(
        "firefox", "Firefox's EventSource, HTTP/1.1", protocol="http/1.1", differs={"early": "loses"},
        sets=["`hello=1`."],
        notes=["It forgets an id that came without data. So a page that is cut off before the first event begins anew."],
    ),
    browser(
        "firefox-http2", "Firefox's EventSource, HTTP/2", protocol="h2", differs={"early": "loses"}, sets=["`hello=1`."],
        notes=["As over HTTP/1.1."],
    ),
    in_page(
        "htmx2", "htmx 2 with its extension `sse`", "npm htmx2", "htmx2", token="cookie",
        differs=AGAIN | {
            "token": "cookie", "control_end": "begins anew", "retry_after": "waits as it likes", "finished": "asks again",
            "last_event": "stops",
        },
        sets=["[`sse-close`](#htmx), or it asks for a finished stream again and again.", "`hello=1` in Firefox."],
        notes=["It opens another EventSource when one has given up, without the last id."],
    ),
    in_page(
        "htmx4", "htmx 4 with its `hx-sse`", "npm htmx4", "htmx4",
        differs={
            "control_end": "asks again, tells 410", "unauthorized": "stops, tells 401", "too_many": "stops, tells 429",
            "unavailable": "stops, tells 503", "when_full": "waits as it likes", "finished": "asks again",
            "last_event": "stops", "retry": NOT_TRIED,
        },
        sets=["[`hx-sse:close`](#htmx), or it asks again half a second after each 204."],
        notes=["If the first answer is not a stream, it does not ask again. If a later one is not, it does.",
               "`retry:` counts only in an event with data.",
               "After `retry:` it waits for 0.7 to 1.3 of that time, by chance, so that was not tried."],
    ),
    in_page(
        "fetch-event-source", "npm `@microsoft/fetch-event-source`", "npm @microsoft/fetch-event-source", "fetchEventSource",
        order={"library": "@microsoft/fetch-event-source"}, differs=FETCH_EVENT_SOURCE,
        notes=["If an answer is not a stream, it asks again every second: throw in `onerror` to stop.",
               "It loses empty lines at the beginning of data.",
               "It also calls `onmessage` for blocks without data, such as the bare `id:` at the beginning of a stream. So you cannot "
               "distinguish them from events with empty data.",
               "It ignores a `retry:` that comes together with the end of the stream.",
               "An id counts before its event is whole, so one that is torn is lost.",
               "Behind a proxy that ends torn answers whole it ends at a drain: call it again, with the last id."],
    ),
    in_page(
        "fortaine", "npm `@fortaine/fetch-event-source`", "npm @fortaine/fetch-event-source", "fetchEventSource",
        order={"library": "@fortaine/fetch-event-source"}, differs=FETCH_EVENT_SOURCE,
        notes=["As `@microsoft/fetch-event-source`."],
    ),
    in_page(
        "event-source-polyfill", "npm `event-source-polyfill`", "npm event-source-polyfill", "polyfill",
        differs=TELLS | {"early": "loses"},
        sets=["`hello=1`."],
        notes=["It asks with the id in the parameter `lastEventId`.", "It does not keep an id without data.",
               "It ignores a `retry:` that comes together with the end of the stream.",
               "It breaks off a stream that is quiet for 45 seconds: `heartbeatTimeout`."],
    ),
    in_page(
        "sse.js", "npm `sse.js`", "npm sse.js", "sseJs",
        differs={
            "control_end": "asks again, tells 410", "unauthorized": "asks again, tells 401",
            "too_many": "asks again, tells 429", "unavailable": "asks again, tells 503", "retry_after": "waits as it likes",
            "when_full": "waits as it likes", "finished": "asks again",
        },
        sets=["`autoReconnect: true`.", "`close()` in `onerror` at 401, and at a last event of your own, because it asks again at 204."],
        notes=["If an answer is not a stream, it asks again forever, every three seconds or as `retry:` said, in an event or beside one."],
    ),
    in_page(
        "reconnecting-eventsource", "npm `reconnecting-eventsource`", "npm reconnecting-eventsource", "reconnecting",
        token="cookie",
        differs=AGAIN | {
            "token": "cookie", "control_end": "asks again", "retry_after": "waits as it likes", "finished": "asks again",
        },
        sets=["`close()` at a last event of your own, because it asks again at 204."],
        notes=["When EventSource gives up, it opens another one, within three seconds (`max_retry_time`)."],
    ),
]
