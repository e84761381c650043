"""What runs in Node, Deno and Bun."""

from case import NOT_TRIED
from client import HERE, NO_STATUS, TELLS, Client, node, over_http2

BIN = HERE / "node" / "node_modules" / ".bin"


def runtime(name, title, version, command, program, **more):
    return Client(name, title, version, [*command, HERE / "node" / program], **more)


CLIENTS = [
    node(
        "fantail", "Fantail's `clients/js/fantail.js`", "file clients/js/package.json", "fantail.mjs",
        differs=TELLS | {
            "too_many": "asks again, tells 429", "unavailable": "asks again, tells 503", "retry_after": "waits as told",
        },
        notes=["[The guide](javascript.md) says what it does in which case."],
    ),
    eventsource := node(
        "eventsource", "npm `eventsource`", "npm eventsource", "eventsource.mjs", differs=TELLS,
        notes=["Its timer for the next attempt does not keep a Node process alive: a script that has nothing else to do ends "
               "instead of connecting again.",
               "To set headers, pass a `fetch` of your own.",
               "Version 4 loses ids of blocks without data: if it is cut off before its first event, it begins anew."],
    ),
    over_http2(eventsource, command=["node", "--import", HERE / "node" / "http2.mjs", *eventsource.command[1:]],
               sets=["`install()` of npm `undici` 8, because Node's own `fetch` speaks HTTP/1.1."]),
    runtime("bun", "npm `eventsource`, in Bun", "npm bun", [BIN / "bun"], "eventsource.mjs", differs=TELLS,
            notes=["Bun has no EventSource of its own."]),
    runtime("deno", "Deno's EventSource", "npm deno", [BIN / "deno", "run", "--quiet", "--allow-net"], "own_eventsource.mjs",
            token="in the URL", differs={"token": "in the URL"},
            notes=["It sets no headers: `?token=` carries the token."]),
    runtime("node", "Node's EventSource", "node", ["node", "--experimental-eventsource", "--no-warnings"],
            "own_eventsource.mjs", token="in the URL", differs={"token": "in the URL", "when_full": "waits as it likes"},
            notes=["It ignores `retry:` in a stream without an event.", "It needs `--experimental-eventsource`, and sets no headers: `?token=` carries the token."]),
    node(
        "eventsource-client", "npm `eventsource-client`", "npm eventsource-client", "eventsource_client.mjs",
        differs=NO_STATUS | {"early": "loses", "retry_after": "waits as it likes"},
        sets=["`hello=1`."],
        notes=["It does not look at the status: at 401, 429 and 503 it reads the problem as a stream, and asks again without an "
               "error. A `fetch` of your own can throw and close.",
               "It does not keep ids of blocks without data."],
    ),
    node(
        "launchdarkly-js", "npm `launchdarkly-eventsource`", "npm launchdarkly-eventsource", "launchdarkly.mjs",
        differs=TELLS | {
            "early": "loses", "compressed": "plain, exact", "unavailable": "asks again, tells 503",
            "retry_after": "waits as it likes", "time_outs": "breaks off without `heartbeat=4s`",
        },
        sets=["`hello=1`.", "`heartbeat=4s`."],
        notes=["Node's own agent calls a connection timed out after five seconds without a byte, and the library breaks it off.",
               "It does not keep an id without data."],
    ),
    node(
        "event-source-plus", "npm `event-source-plus`", "npm event-source-plus", "event_source_plus.mjs",
        differs={
            "lines": "changed", "large": "fails", "larger": NOT_TRIED, "early": "loses", "torn": "shows the half",
            "control_end": "asks again, tells 410", "unauthorized": "asks again, tells 401",
            "too_many": "asks again, tells 429", "unavailable": "asks again, tells 503", "retry_after": "waits as it likes",
            "when_full": "waits as it likes", "finished": "asks again", "retry": "waits as it likes",
        },
        sets=["`hello=1`.", "Data of one line.", "`controller.abort()` in `onResponse` at 204 and 401."],
        notes=["It delivers only the last of several lines of data.",
               "It delivers an event that comes in several reads in parts, so 5 MiB were not tried.",
               "It never stops by itself, and it ignores `retry:`: after a stream that ended it "
               "[asks again at once](#clients-that-ask-again-at-once)."],
    ),
]
