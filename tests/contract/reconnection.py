"""What a client does when a connection ends, by WHATWG HTML 9.2.3: it comes again after a delay, with the last id."""

import time

from cases import case, message


def end(name, how):
    @case("reconnection", f"after {name}", [[message("one", "7")], "lost", "7", [message("two", "8")]])
    def _(play):
        connection = play.begin().send(b"retry: 1\nid: 7\ndata: one\n\n")
        seen = [play.events()]
        how(connection)
        seen += [play.error(), play.again().header("last-event-id")]
        play.last.send(b"id: 8\ndata: two\n\n")
        return [*seen, play.events()]


end("a stream that is over", lambda connection: connection.end())
end("a stream that breaks off", lambda connection: connection.hang_up())
end("a reset", lambda connection: connection.reset())


@case("reconnection", "after a connection without an answer", ["lost", [message("one")]])
def _(play):
    play.start().endpoint.next().hang_up()
    seen = [play.error()]
    play.again().send(b"data: one\n\n")
    return [*seen, play.events()]


@case("reconnection", "while nobody listens", ["lost", [message("one")]])
def _(play):
    play.endpoint = play.server.late()
    play.start()
    seen = [play.error()]
    play.endpoint.open()
    play.again().send(b"data: one\n\n")
    return [*seen, play.events()]


def last_id(name, text, expected, differs=None):
    """What a reconnect sends after a connection on which this came."""

    @case("last id", name, expected, differs)
    def _(play):
        play.begin().send(b"retry: 1\n" + text, 64).hang_up()
        play.error(after_events=True)
        return play.endpoint.next().header("last-event-id")


last_id("of an event", b"id: 7\ndata: one\n\n", "7")
last_id("stays with later events", b"id: 7\ndata: one\n\ndata: two\n\n", "7")
last_id("of a block without data", b"id: 7\ndata: one\n\nid: 8\n\n", "8")
last_id("not of a block that is cut off", b"id: 7\ndata: one\n\nid: 8\ndata: two\n", "7")
last_id("not of a line that is cut off", b"id: 7\ndata: one\n\nid: 8", "7")
last_id("none", b"data: one\n\n", None)
last_id("empty, so none is sent", b"id: 7\ndata: one\n\nid:\ndata: two\n\n", None)
last_id("one with NUL is passed over", b"id: 7\ndata: one\n\nid: 8\0\ndata: two\n\n", "7")
last_id("of any text", "id: a: é€😀, b\ndata: one\n\n".encode(), "a: é€😀, b")
last_id("of 4,000 bytes", b"id: " + b"7" * 4000 + b"\ndata: one\n\n", "7" * 4000)


@case("last id", "with control characters", ["a\x01b", False], {client: [None, True] for client in ("tail", "k6")})
def _(play):
    play.begin().send(b"retry: 1\nid: a\x01b\ndata: one\n\n").end()
    play.error(after_events=True)
    connection = play.endpoint.next()
    return [connection.header("last-event-id"), "lastEventId=a%01b" in connection.target]


@case("last id", "over two reconnects, the second without an event", ["7", "7"])
def _(play):
    play.begin().send(b"retry: 1\nid: 7\ndata: one\n\n").end()
    first = play.again()
    first.end()
    return [first.header("last-event-id"), play.endpoint.next().header("last-event-id")]


@case("last id", "over an answer that never came", ["7", "7"])
def _(play):
    play.begin().send(b"retry: 1\nid: 7\ndata: one\n\n").end()
    first = play.endpoint.next()
    first.hang_up()
    return [first.header("last-event-id"), play.endpoint.next().header("last-event-id")]


@case("last id", "of an event without one after a reconnect", [message("two")],
      {client: [message("two", "7")] for client in ("tail", "k6")})
def _(play):
    play.begin().send(b"retry: 1\nid: 7\ndata: one\n\n").end()
    play.event()
    play.again().send(b"data: two\n\n")
    return play.events()


def afresh(name, before, after, expected, types=()):
    """What the next connection brings after one that was cut off in the middle of this."""

    @case("next connection", name, expected)
    def _(play):
        play.begin(types).send(b"retry: 1\ndata: first\n\n" + before, 64).hang_up()
        assert play.event() == message("first")
        play.again().send(after)
        return play.events()


afresh("a block that was cut off is forgotten", b"data: cut\n", b"data: two\n\n", [message("two")])
afresh("a line that was cut off is forgotten", b"data: cut", b"data: two\n\n", [message("two")])
afresh("an end of line that was cut off is forgotten", b"data: cut\r", b"\ndata: two\n\n", [message("two")])
afresh("a type that was cut off is forgotten", b"event: made\n", b"data: two\n\n", [message("two")], ["made"])
afresh("an id that was cut off is forgotten", b"id: 8\ndata: cut\n", b"data: two\n\n", [message("two")])
afresh("half a character that was cut off is forgotten", b"data: \xe2\x82", b"\xac\ndata: two\n\n", [message("two")])
afresh("a byte order mark", b"", b"\xef\xbb\xbfdata: two\n\n", [message("two")])


def soon(name, text):
    """After this text the delay is a millisecond, not a day."""

    @case("delay", name, "lost")
    def _(play):
        play.begin().send(text, 64).hang_up()
        lost = play.error()
        play.endpoint.next()
        return lost


LONG = 86_400_000
soon("the last counts", b"retry: %d\nretry: 1\n\n" % LONG)
soon("as soon as its line is over", b"retry: %d\n\nretry: 1\n" % LONG)
soon("not of a line that is cut off", b"retry: 1\n\nretry: %d" % LONG)
soon("with zeros before it", b"retry: 00000000000000000000000000001\n\n")
for value in (b"%d ms" % LONG, b"-%d" % LONG, b"+%d" % LONG, b" %d" % LONG, b"1e8", b"8.64e7", b"%d\0" % LONG,
              "٨٦٤٠٠٠٠٠".encode(), b""):
    soon(f"{value.decode()!r} is none", b"retry: 1\nretry: " + value + b"\n\n")


@case("delay", "is kept", True)
def _(play):
    play.begin().send(b"retry: 400\n\n").end()
    play.error()
    before = time.monotonic()
    # The server hears of the loss before the client does.
    return play.again().at - before > 0.3


@case("delay", "holds for later connections", True)
def _(play):
    play.begin().send(b"retry: 400\n\n").end()
    play.again().end()
    before = time.monotonic()
    return play.again().at - before > 0.39


@case("restart", "by the caller", [[message("one", "7")], "7", [message("two", "8")]], needs="restart")
def _(play):
    first = play.begin().send(b"retry: 1\nid: 7\ndata: one\n\n")
    seen = [play.events()]
    play.command("restart")
    assert first.await_gone()
    seen.append(play.again().header("last-event-id"))
    play.last.send(b"id: 8\ndata: two\n\n")
    return [*seen, play.events()]


@case("silence", "is a loss after its time", [[message("one", "7")], "lost", "7"], needs="read-timeout")
def _(play):
    first = play.begin(readTimeoutMs=1000).send(b"retry: 1\nid: 7\ndata: one\n\n")
    seen = [play.events(), play.error()]
    assert first.await_gone()
    return [*seen, play.again().header("last-event-id")]


@case("end", "by the caller closes the connection", True)
def _(play):
    first = play.begin()
    play.close()
    play.path = None
    return first.await_gone()
