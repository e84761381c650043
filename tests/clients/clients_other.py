"""What runs outside of JavaScript."""

import sys

from case import NOT_TRIED
from client import BUILT, HERE, NO_STATUS, TELLS, Client, go, java, over_http2, python


def rust(name, title, version, **more):
    return Client(name, title, version, [BUILT / "rust" / "debug" / "fantail-clients", name], **more)


def program(name, **more):
    """What writes an answer to its output."""
    command = [sys.executable, HERE / "python" / "program_client.py"]
    return Client(name, name, name, command, by_hand=True, order={"flags": [], "options": [], "program": name}, **more)


BREAKS_OFF = "breaks off without `heartbeat=4s`"

CLIENTS = [
    python(
        "httpx-sse", by_hand=True, 
        differs={"empty": "an event, as for blocks without data", "heartbeats": "empty events", "time_outs": BREAKS_OFF},
        sets=["`timeout=httpx.Timeout(10, read=None)`, or `heartbeat=4s`: httpx ends a response after five seconds without a byte."],
        notes=[
               "Every block becomes an event, even the bare `id:`. Skip those without data."],
    ),
    python(
        "sseclient-py", by_hand=True, differs={"early": "loses", "larger": NOT_TRIED}, sets=["`hello=1`."],
        notes=["It does not report ids of blocks without data.", "5 MiB take minutes and were not tried."],
    ),
    python(
        "aiohttp-sse-client",
        differs=TELLS | {
            "lines": "changed", "large": "fails", "killed": "ends", "early": "ends", "drained": "ends", "several": "ends",
            "gap": "ends",
            "compressed": "gzip, ends", "retry": "ends",
            "larger": "fails", "hello": "ends", "torn": "ends", "control_end": "ends", "when_full": "ends",
        },
        sets=["A loop that makes a new one, with the last id in its headers.", "`ClientTimeout(total=None)`."],
        notes=["It connects again only after a complete stream, as behind a `final` event. Any other end, such as a drain, raises out "
               "of the iteration.",
               "It cuts off leading spaces of each line of data, and line breaks at its end.",
               "A line above 128 KiB raises `Chunk too big`.",
               "aiohttp ends each request after five minutes, unless that is set."],
    ),
    python(
        "requests-sse", differs=TELLS | {"lines": "changed", "larger": NOT_TRIED},
        notes=["It cuts off leading spaces of each line of data.",
               "It reads 512 bytes at a time, and joins all of them again each time: 1 MiB takes seconds, 5 MiB were not tried.",
               "It asks for an answer without a time-out; with `timeout=` below the heartbeat's interval, `heartbeat=4s`."],
    ),
    python(
        "sseclient",
        differs=TELLS | {
            "unicode": "cut or changed", "split": "cut or changed", "lines": "changed",
            "empty": "an event, as for blocks without data", "larger": NOT_TRIED, "compressed": NOT_TRIED,
            "finished": "asks again", "heartbeats": "empty events", "when_full": "waits as it likes",
        },
        sets=["`Accept-Encoding: identity` if nodes compress, because it reads gzip as if it were text.",
              "An end of your own: a last event, after which you leave the loop, because it asks again at 204."],
        notes=["It reads UTF-8 as ISO-8859-1 if no charset is given.", "It ends lines at U+2028 and others.",
               "Every block becomes an event, even a heartbeat. Skip those without data.",
               "5 MiB were not tried: it searches all that it has at each read."],
    ),
    go(
        "launchdarkly-go", "github.com/launchdarkly/eventsource",
        differs=TELLS | {
            "empty": "an event, as for blocks without data", "control_end": "asks again, tells 410", "when_full": "waits as it likes", "finished": "asks again",
            "heartbeats": "empty events",
        },
        sets=["An end of your own: a last event, at which you call `Close()`, because it asks again at 204."],
        notes=["If the first answer is not a stream, that is an error. If a later one is not, it asks again.",
               "Every block becomes an event. Skip those without data."],
    ),
    go(
        "r3labs", "github.com/r3labs/sse/v2",
        differs=NO_STATUS | {
            "empty": "an event, as for blocks without data", "large": "fails", "heartbeats": "empty events",
            "retry": "waits as it likes", "larger": "fails", "torn": "shows the half", "whole": "ends",
            "retry_after": "waits as it likes", "when_full": "waits as it likes",
        },
        sets=["`sse.ClientMaxBufferSize` above the largest event."],
        notes=["A block above 64 KiB breaks the connection, and again after each resume.",
               "It delivers the beginning of a torn event, and then all of it.",
               "A whole end, such as some proxies make of a drain, ends it: subscribe again.",
               "It asks again at any status, after delays of its own. It ignores `retry:`.",
               "Every block with an id becomes an event. Skip those without data."],
    ),
    tmaxmax := go(
        "tmaxmax", "github.com/tmaxmax/go-sse",
        differs=TELLS | {"empty": "an event, as for blocks without data", "large": "fails", "larger": "fails", "heartbeats": "empty events",
                         "when_full": NOT_TRIED, "retry": NOT_TRIED},
        sets=["`Connection.Buffer`, with the size of the largest event."],
        notes=["A block above 64 KiB breaks the connection, and again after each resume.",
               "Every block becomes an event. Skip those without data.",
               "After `retry:` it waits for half to one and a half times that long, so that was not tried."],
    ),
    over_http2(tmaxmax, protocol="HTTP/2.0"),
    okhttp := java("okhttp", "Java OkHttp, `okhttp-sse`", "okhttp-sse", "OkHttpClientAdapter", 
         differs={"early": "loses", "time_outs": BREAKS_OFF},
         sets=["`hello=1`.",
               "`readTimeout(Duration.ZERO)`, or `heartbeat=4s`: OkHttp ends an answer after ten seconds without a byte."],
         notes=["It does not report ids of blocks without data."]),
    over_http2(okhttp),
    java("spring", "Java Spring `WebClient`", "spring-webflux", "SpringAdapter",
         differs={"empty": "an event, as for blocks without data", "large": "fails", "larger": "fails",
                  "heartbeats": "empty events"},
         sets=["`codecs().maxInMemorySize(…)` above the largest line."],
         notes=["A line above 256 KiB raises `DataBufferLimitException`.",
                "Every block becomes an event, even the bare `id:`. Skip those without data."]),
    java("launchdarkly-java", "Java LaunchDarkly `okhttp-eventsource`", "okhttp-eventsource", "LaunchDarklyAdapter", by_hand=False,
         differs={
             "early": "loses", "control_end": "asks again, tells 410", "unauthorized": "asks again, tells 401",
             "too_many": "asks again, tells 429", "unavailable": "asks again, tells 503", "retry_after": "waits as it likes",
             "when_full": NOT_TRIED, "finished": "asks again", "time_outs": BREAKS_OFF, "retry": NOT_TRIED,
         },
         sets=["`hello=1`.", "`heartbeat=4s`, or a `readTimeout` above the heartbeat's interval.",
               "`close()` at a last event of your own, because it asks again at 204."],
         notes=["It does not keep an id without data.", "If an answer is not a stream, it asks again, each time later.",
                "After `retry:` it waits for some part of that time, between half and all, so that was not tried."]),
    java("jersey", "Java Jersey's `SseEventSource`", "jersey-media-sse", "JaxRsAdapter", jars="jersey", by_hand=False,
         differs=TELLS | {
             "lines": "changed", "empty": "an event, as for blocks without data", "compressed": "plain, exact",
             "unavailable": "asks again, tells 503", "retry_after": "waits as told", "when_full": "waits as it likes",
             "finished": "asks again", "heartbeats": "empty events",
         },
         sets=["`close()` at a last event of your own, because it asks again at 204."],
         notes=["It cuts off leading spaces of each line of data.",
                "Every block becomes an event. Skip those without data.",
                "It requests gzip only with the filter `EncodingFilter`."]),
    java("resteasy", "Java RESTEasy's `SseEventSource`", "resteasy-client", "JaxRsAdapter", jars="resteasy", by_hand=False,
         differs=TELLS | {
             "lines": "changed", "empty": "an event, as for blocks without data", "compressed": "plain, exact",
             "unavailable": "asks again, tells 503", "retry_after": "waits as told", "heartbeats": "empty events",
             "when_full": "ends",
         },
         notes=["It cuts off leading spaces of each line of data.",
                "Every block becomes an event. Skip those without data.",
                "A stream that ends without an event ends it for good, as the answer of `--when-full retry` does."]),
    java("ktor", "Kotlin Ktor's plugin `SSE`", "ktor-client-cio-jvm", "KtorAdapterKt", by_hand=False,
         differs=TELLS | {
             "lines": "changed", "empty": "an event, as for blocks without data", "control_end": "asks again",
             "compressed": "plain, exact", "heartbeats": "empty events",
         },
         sets=["`install(SSE) { maxReconnectionAttempts = Int.MAX_VALUE }`."],
         notes=["Lines of data are joined by CRLF.", "Every block becomes an event. Skip those without data.",
                "After a stream has begun, it silently asks again if an answer is not a stream."]),
    rust("launchdarkly-rust", "Rust `eventsource-client`", "cargo eventsource-client",
         differs=TELLS | {
             "early": "loses", "control_end": "asks again, tells 410", "compressed": "plain, exact",
             "when_full": "waits as it likes", "finished": "asks again", "retry": NOT_TRIED,
         },
         sets=["`hello=1`.", "An end of your own: a last event, after which you drop the stream, because it asks again at 204."],
         notes=["It does not keep an id without data.", "It ignores `retry:` in a stream without an event.",
                "After `retry:` it waits for some part of that time, between half and all, so that was not tried.",
                "If the first answer is not a stream, that is an error. If a later one is not, it asks again."]),
    rust("reqwest-eventsource", "Rust `reqwest-eventsource`", "cargo reqwest-eventsource",
         differs=TELLS | {"early": "loses", "compressed": "plain, exact", "when_full": "waits as it likes"},
         sets=["`hello=1`."],
         notes=["It forgets an id that came without data.", "It ignores `retry:` in a stream without an event.",
                "It requests gzip only with reqwest's feature `gzip`."]),
    Client(
        "symfony", "PHP Symfony `EventSourceHttpClient`", "symfony", ["php", HERE / "php" / "symfony.php"],
        differs=TELLS | {
            "control_end": "stops", "lines": "changed", "empty": "an event, as for blocks without data", "whole": "ends",
            "heartbeats": "empty events", "time_outs": BREAKS_OFF,
        },
        sets=["`heartbeat=4s`, or a `reconnectionTime` above the heartbeat's interval: it asks again when it is quiet for that long."],
        notes=["It loses empty lines at the beginning of data.",
               "Every block becomes an event. Skip those without data.",
               "Behind a proxy that ends torn answers whole it ends at a drain: call it again, with the last id."],
    ),
    curl := program("curl", notes=["Without `-N` its output waits in a buffer.", "`--compressed` requests gzip."]),
    over_http2(curl, protocol="HTTP/2"),
    over_http2(curl, protocol="HTTP/2", name="curl-http2-clear", title="curl, HTTP/2 in the clear", scheme="http",
               order={**curl.order, "flags": ["--http2-prior-knowledge"]}, sets=["`--http2-prior-knowledge`."]),
    program("wget", sets=["`--tries=1`, or it asks again for the rest of a file, in the same output."],
            notes=["`-q -O -`.", "`--compression=auto` requests gzip."]),
    program("httpie", differs={"larger": NOT_TRIED}, notes=["Without `--stream` nothing is shown before the end.",
            "A line of 5 MiB takes minutes and was not tried."]),
]
