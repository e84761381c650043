"""Requests and answers, by WHATWG HTML 9.2.3 and Fetch: what is asked, which answers are streams, where redirects lead."""

from cases import case, message

REDIRECTS = (301, 302, 303, 307, 308)
# Redirects that Fetch follows.
REDIRECTS_MAX = 20


@case("request", "what an EventSource asks with", {
    "method": "GET", "accept": "text/event-stream", "cache-control": "no-cache", "last-event-id": None})
def _(play):
    connection = play.begin()
    names = ("accept", "cache-control", "last-event-id")
    return {"method": connection.method} | {name: connection.header(name) for name in names}


@case("request", "headers that are given", ["a b", "2"], needs="headers")
def _(play):
    connection = play.begin(headers={"x-one": "a b", "x-two": "2"})
    return [connection.header("x-one"), connection.header("x-two")]


@case("request", "an id to begin after", "7-é", needs="last-event-id")
def _(play):
    return play.begin(lastEventId="7-é").header("last-event-id")


@case("request", "an id to begin after is that of events without one", [message("one", "7"), message("two", "8")],
      needs="last-event-id")
def _(play):
    play.begin(lastEventId="7").send(b"data: one\n\nid: 8\ndata: two\n\n")
    return play.events()


def content_type(value, expected):
    @case("answer", f"content type {value or 'that is missing'}", expected)
    def _(play):
        connection = play.start().endpoint.next()
        headers = [("Content-Type", value)] if value else []
        if expected == "closed":
            connection.answer(200, headers, b"data: one\n\n")
            return play.error()
        play.last = connection.open(headers).send(b"data: one\n\n")
        return play.events()


for value in ("text/event-stream; charset=utf-8", "TEXT/Event-Stream", "text/event-stream ;charset=latin1",
              "text/event-stream; charset=utf-8; charset=latin1", "text/event-stream;"):
    content_type(value, [message("one")])
for value in ("text/html", "text/event-streams", "application/json; x=text/event-stream", None):
    content_type(value, "closed")


def status(code, differs):
    @case("answer", f"status {code}", "closed", {client: "lost" for client in differs})
    def _(play):
        play.start().endpoint.next().answer(code, [("Content-Type", "text/event-stream")], b"data: one\n\n")
        return play.error()


for code in (201, 204, 205, 206, 300, 304, 400, 401, 403, 404, 407, 410, 418):
    status(code, ())
for code in (429, 500, 502, 503, 504, 599):
    status(code, ("tail",))


@case("answer", "204 to a reconnect", ["lost", "closed"])
def _(play):
    play.begin().send(b"retry: 1\n\n").end()
    lost = play.error()
    play.endpoint.next().answer(204)
    return [lost, play.error()]


@case("answer", "informational ones before it", [message("one")])
def _(play):
    connection = play.start().endpoint.next()
    connection.raw(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    play.last = connection.open().send(b"data: one\n\n")
    return play.events()


@case("answer", "a body without chunks, in pieces", [message("one")])
def _(play):
    play.last = play.start().endpoint.next().head(200, [("Content-Type", "text/event-stream")]).send(b"data: one\n\n", 1)
    return play.events()


@case("answer", "a body of a length", [message("one", "7"), "lost", "7"])
def _(play):
    headers = [("Content-Type", "text/event-stream")]
    play.start().endpoint.next().answer(200, headers, b"retry: 1\nid: 7\ndata: one\n\n")
    return [play.event(), play.error(), play.again().header("last-event-id")]


def redirect(code):
    @case("redirect", f"{code}, and back to the first after it", ["7", [message("one", "8")], "8", [message("two", "9")]])
    def _(play):
        play.start(lastEventId="7").endpoint.next().answer(code, [("Location", play.other.url + "/there?a=b")])
        play.last = play.other.next().open()
        seen = [play.last.header("last-event-id")]
        seen.append(play.last.send(b"retry: 1\nid: 8\ndata: one\n\n") and play.events())
        play.last.end()
        seen.append(play.again().header("last-event-id"))
        return [*seen, play.last.send(b"id: 9\ndata: two\n\n") and play.events()]


for code in REDIRECTS:
    redirect(code)


@case("redirect", "to a place that is relative", ["/there?a=b", [message("one")]])
def _(play):
    play.start().endpoint.next().answer(302, [("Location", f"/{play.other.number}/./x/../there?a=b#c")])
    play.last = play.other.next().open().send(b"data: one\n\n")
    return [play.last.target.removeprefix(f"/{play.other.number}"), play.events()]


@case("redirect", "without a place", "closed")
def _(play):
    play.start().endpoint.next().answer(301)
    return play.error()


@case("redirect", "for ever, which is a loss", ["lost", [False, *[True] * REDIRECTS_MAX, False]])
def _(play):
    play.endpoint.always(REDIRECTS_MAX + 1, 307, [("Location", play.endpoint.url + "/round")])
    lost = play.start().error()
    # The next one asks for the first place again.
    play.endpoint.next()
    return [lost, ["/round" in target for target in play.endpoint.targets]]


@case("redirect", "to an empty place, which is the same for ever", "lost", {"k6": "closed"})
def _(play):
    play.endpoint.always(REDIRECTS_MAX + 1, 307, [("Location", "")])
    return play.start().error()


@case("redirect", f"{REDIRECTS_MAX} of them", [message("one")])
def _(play):
    play.endpoint.always(REDIRECTS_MAX, 308, [("Location", play.endpoint.url)])
    play.begin().send(b"data: one\n\n")
    return play.events()
