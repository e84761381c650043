"""What a case is, and words for what a client did that several cases share."""

import re

from servers import eventually

CASES = {}
# Where a case cannot be had: under TLS and over HTTP/2 the relay reads no answers.
NOT_TRIED = "not tried"
# A comment, over HTTP/2 in a frame of its own, or where a client asks for that, an event.
HEARTBEAT = rb"(?<=\n):\n|\x00\x00\x02\x00\x00.{4}:\n|\nevent: fantail.heartbeat\n"


def case(title, group):
    """Marks a case; `title` heads its column in the table of its `group`."""

    def mark(function):
        CASES[function.__name__] = (title, group, function)
        return function

    return mark


def numbers(session, type_="message"):
    return [int(each["data"]) for each in session.events(type_)]


def judged(got, count):
    if got == list(range(count)):
        return "exact"
    if len(set(got)) < len(got):
        return "repeats"
    return "loses" if got == sorted(got) else "out of order"


def heartbeats_pass(world, relay=None, most=3):
    """Waits for so many at the relay; under TLS it sees records of that size instead."""
    relay, tls = relay or world.relay, world.tls()
    connection = relay.connections[-1]
    begun = len(connection.down)

    def passed():
        seen = bytes(connection.down)
        return len(seen) >= begun + 66 * most if tls else len(re.findall(HEARTBEAT, seen)) >= most

    eventually(f"{most} heartbeats", passed)


def stopped(session, world):
    """The client says that it is over, by itself or, where it has to be started again, after another answer."""
    if not world.client.by_hand:
        return session.since_started("closed")
    return len(session.of("started")) >= 2 and session.since_started("closed")


def answers(world, status):
    """How many of that status have passed."""
    line = f"HTTP/1.1 {status} ".encode()
    return sum(bytes(each.down).count(line) for each in world.relay.connections)
