"""What each client goes through. A case returns one word or a few for what the client did, and fails where it did something
that has no name here. What is expected of which client stands in `expected`."""

import datetime
import json
import re
import threading
import time

import jwt
from relay import REQUEST
from servers import LIMIT, Node, eventually
from session import Ended

CASES = {}
# A delay that no client has by itself.
RETRY = 8.0
SECRET = "0123456789abcdef0123456789abcdef"
TEXT = "snö ☃ 𝄞 مرحبا \u00a0|\u0085|\u2028|\u2029|\u000b|\u000c|\u001e| x"
LINES = "first\n  second, indented\n\nfourth: after an empty one\n:fifth\n"


def case(title):
    """Marks a case; `title` heads its column in the table."""

    def mark(function):
        CASES[function.__name__] = (title, function)
        return function

    return mark


@case("connects, gets events")
def connects(world):
    world.node()
    session = world.session().start(world.path())
    session.wait_open()
    world.publish(data="1")
    world.publish(data="2")
    session.wait("two events", lambda: len(session.events()) >= 2)
    shown = [(each["type"], each["data"]) for each in session.events()]
    if session.client.protocol:
        answers = session.wait("the answer's protocol", lambda: session.of("answer"))
        assert answers[0]["protocol"] == session.client.protocol, answers
    return "yes" if shown == [("message", "1"), ("message", "2")] else f"other events: {shown}"


@case("named events")
def named(world):
    world.node()
    session = world.session().start(world.path(), types=["created", "order.paid/v2"])
    session.wait_open()
    world.publish(event="created", data="1")
    world.publish(event="order.paid/v2", data="2")
    world.publish(data="3")
    session.wait("three events", lambda: len(session.events()) >= 3)
    shown = [(each["type"], each["data"]) for each in session.events()]
    return "yes" if shown == [("created", "1"), ("order.paid/v2", "2"), ("message", "3")] else f"other events: {shown}"


def texts(world, *sent, whole=False):
    """What arrives of the data, before that of a last event; None where the client ends before it."""
    world.node()
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(world.path())
    session.wait_open()
    for data in sent:
        world.publish(data=data)
    world.publish(data="end")
    # It may break the connection over what it cannot take, come again, and break it again.
    broken = lambda: len(session.of("error")) >= 3
    try:
        session.wait("the last event", lambda: any(each["data"] == "end" for each in session.events()) or broken())
    except Ended:
        return None
    if broken():
        return None
    shown = session.of("event") if whole else session.events()
    return [each["data"] for each in shown][:-1]


@case("unicode")
def unicode(world):
    shown = texts(world, TEXT)
    return "as sent" if shown == [TEXT] else "cut or changed"


@case("several lines")
def lines(world):
    sent = [LINES, "  two spaces before", "\nbelow an empty line"]
    return "as sent" if texts(world, *sent) == sent else "changed"


@case("empty data")
def empty(world):
    shown = texts(world, "", "x", whole=True)
    if shown and len(shown) > 2 and [each for each in shown if each] == ["x"]:
        return "an event, as for blocks without data"
    return {("", "x"): "an event", ("x",): "no event"}.get(tuple(shown or ()), f"other events: {shown}")


@case("1 MiB of data")
def large(world):
    text = "".join(f"{n:07d} " for n in range(131072))
    shown = texts(world, text)
    return "as sent" if shown == [text] else "fails"


def numbers(session, type_="message"):
    return [int(each["data"]) for each in session.events(type_)]


def judged(got, count):
    if got == list(range(count)):
        return "exact"
    if len(set(got)) < len(got):
        return "repeats"
    return "loses" if got == sorted(got) else "out of order"


@case("node killed")
def killed(world):
    """The node dies under a client that is in the middle of its events; another one takes over."""
    count, first, second = 150, world.node(), world.node()
    world.relay.target = first.port
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(world.path())
    session.wait_open()

    def publish(begin, end):
        for number in range(begin, end):
            world.publish(data=number)
            time.sleep(0.005)

    publish(0, 40)
    session.wait("events before the kill", lambda: len(session.events()) >= 20)
    rest = threading.Thread(target=publish, args=(40, count), daemon=True)
    rest.start()
    first.kill()
    world.relay.target = second.port
    rest.join()
    try:
        session.wait("the last number", lambda: count - 1 in numbers(session))
    except Ended:
        return "ends"
    return judged(numbers(session), count)


def three_heartbeats(world):
    """Waits for them, a second each, at the relay; under TLS it sees records of that size instead."""
    connection, tls = world.relay.connections[-1], world.tls()
    begun = len(connection.down)

    def passed():
        seen = bytes(connection.down)
        return len(seen) >= begun + 200 if tls else len(re.findall(rb"(?<=\n):\n", seen)) >= 3

    eventually("three heartbeats", passed)


@case("cut before its first event")
def early(world):
    """Its only id is the bare one that a stream begins with. It goes on at a node that knows nothing of the channel yet."""
    first, second = world.node("--heartbeat", "1s"), world.node()
    world.relay.target = first.port
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(world.path())
    session.wait_open()
    # By then it has read what came seconds earlier.
    three_heartbeats(world)
    world.relay.hold()
    world.relay.target = second.port
    before = len(world.relay.connections)
    world.relay.cut()
    try:
        # It waits at the relay, or has ended.
        session.wait("it comes again", lambda: len(world.relay.connections) > before)
        world.publish(data="0")
        world.relay.release()
        session.wait("another connection", lambda: len(session.of("open")) >= 2)
    except Ended:
        return "ends"
    world.publish(data="1")
    session.wait("an event", lambda: 1 in numbers(session))
    did = judged(numbers(session), 2)
    asked = world.relay.requests()
    # The bytes say the same.
    assert world.tls() or bool(asked[-1][1].get("last-event-id")) == (did == "exact"), asked
    return did


@case("ended by a node that drains")
def drained(world):
    """The stream ends incomplete, as in every drain; another node goes on."""
    first, second = world.node("--drain", "0s"), world.node()
    world.relay.target = first.port
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(world.path())
    session.wait_open()
    world.publish(data="0")
    session.wait("the first event", lambda: len(session.events()) >= 1)
    world.relay.target = second.port
    first.terminate()
    first.process.wait(timeout=LIMIT)
    world.publish(data="1")
    try:
        session.wait("the second event", lambda: len(session.events()) >= 2)
    except Ended:
        return "ends"
    return judged(numbers(session), 2)


@case("several channels")
def several(world):
    """Each of three channels goes on exactly after a cut."""
    world.node()
    channels = [world.channel, world.channel + ".b", world.channel + ".c"]
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start("/events?channels=" + ",".join(channels), types=["a", "b", "c"])
    session.wait_open()
    for number in range(30):
        for channel, type_ in zip(channels, "abc"):
            world.publish(channel, event=type_, data=number)
        if number == 10:
            session.wait("events before the cut", lambda: all(numbers(session, t) for t in "abc"))
            world.relay.cut()
    try:
        session.wait("the last of each", lambda: all(29 in numbers(session, type_) for type_ in "abc"))
    except Ended:
        return "ends"
    found = {judged(numbers(session, type_), 30) for type_ in "abc"}
    return found.pop() if len(found) == 1 else "loses"


@case("gap")
def gap(world):
    """What it missed was trimmed while it was away, and the node that it comes back to has none of it in memory."""
    first, second = world.node(), world.node()
    world.relay.target = first.port
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(world.path(), types=["fantail.gap"])
    session.wait_open()
    world.publish(data="0")
    session.wait("the first event", lambda: session.events("message"))
    world.relay.hold()
    world.relay.target = second.port
    world.relay.cut()
    for number in range(1, 6):
        world.publish(data=number)
    world.redis.client.xtrim("sse:" + world.channel, maxlen=1, approximate=False)
    world.relay.release()
    try:
        session.wait("the newest event", lambda: 5 in numbers(session))
    except Ended:
        return "ends"
    told = [json.loads(each["data"]) for each in session.events("fantail.gap")]
    right = len(told) == 1 and told[0]["reason"] == "trimmed" and told[0]["channel"] == world.channel
    return "told" if right and numbers(session) == [0, 5] else f"other: {told}"


@case("compressed")
def compressed(world):
    """Nodes with `--compress on`: whether it asks for gzip, has each event before the next is there, and goes on after a kill."""
    count, first, second = 20, world.node("--compress", "on"), world.node("--compress", "on")
    world.relay.target = first.port
    session = world.session()
    session.by_hand = world.client.by_hand
    # The option is curl's; the others ask by themselves, or not at all.
    session.start(world.path(), options=["--compressed"])
    session.wait_open()
    # Large ones become smaller; small ones are only wrapped, and may be what a decoder sits on.
    sent = [f"{number}" + " again and again" * 1000 * (number % 2) for number in range(count)]
    got = lambda: [each["data"] for each in session.events()]
    for data in sent[:10]:
        world.publish(data=data)
        session.wait("an event of a stream that goes on", lambda: data in got())
    world.relay.hold()
    world.relay.target = second.port
    first.kill()
    world.relay.cut()
    for data in sent[10:]:
        world.publish(data=data)
    world.relay.release()
    try:
        session.wait("the last event", lambda: sent[-1] in got())
    except Ended:
        return f"{coding(world, session, sent)}, ends"
    assert all(data in sent for data in got()), "data is changed"
    return f"{coding(world, session, sent)}, {judged([sent.index(data) for data in got()], count)}"


def coding(world, session, sent):
    """What the streams were coded in, as their heads say, or, under TLS, their size."""
    if world.tls():
        passed = sum(len(each.down) for each in world.relay.connections)
        told = {each["coding"] for each in session.of("answer")}
        gzip = passed < len("".join(sent)) / 5
        assert told <= ({"gzip"} if gzip else {""}), f"{passed} bytes of {told}"
        return "gzip" if gzip else "plain"
    streams = [bytes(each.down).lower() for each in world.relay.connections if REQUEST.search(bytes(each.up))]
    found = {b"\r\ncontent-encoding: gzip\r\n" in each for each in streams if each}
    assert len(found) == 1, [each[:500] for each in streams]
    return "gzip" if found.pop() else "plain"


@case("token")
def token(world):
    """In the header where one can be set, else in a cookie."""
    key = world.place.path / "key"
    key.write_text(SECRET)
    world.node("--auth", "jwt", "--jwt-key", key, "--token-cookie", "session", "--token-query", "off")
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    text = jwt.encode({"sub": "a", "exp": end, "fantail.subscribe": [world.channel]}, SECRET, "HS256")
    session = world.session()
    if world.client.token == "cookie":
        session.start(world.path(), cookie={"name": "session", "value": text})
    else:
        session.start(world.path(), headers={"Authorization": f"Bearer {text}"})
    session.wait_open()
    world.publish(data="1")
    session.wait("the event", lambda: session.events())
    return world.client.token


def refused(world, status):
    """Whether it gives up or asks again after an answer that is no stream, and whether it tells the status."""
    session = world.session().start(world.path())
    asked = len(world.relay.requests())
    session.wait(
        "the client gives up, or asks again",
        lambda: session.since_started("closed") or len(world.relay.requests()) > asked + 1,
    )
    told = any(each.get("status") == status for each in session.of("error"))
    return ("stops" if session.since_started("closed") else "asks again") + (f", tells {status}" if told else "")


@case("401")
def unauthorized(world):
    key = world.place.path / "key"
    key.write_text(SECRET)
    world.node("--auth", "jwt", "--jwt-key", key)
    return refused(world, 401)


@case("429")
def too_many(world):
    return full(world, 429, "--max-connections-per-address")


@case("503")
def unavailable(world):
    return full(world, 503, "--max-connections")


def full(world, status, flag):
    """The only place is taken by another client, which stays."""
    node = world.node(flag, "1")
    with world.taken(node):
        return refused(world, status)


@case("204 after the final event")
def finished(world):
    world.node()
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(world.path())
    session.wait_open()
    world.publish(data="0", final="1")
    session.wait("the final event", lambda: session.events())
    no_content = lambda: sum(bytes(each.down).count(b"HTTP/1.1 204") for each in world.relay.connections)
    session.wait(
        "the client gives up, or asks again after the 204",
        lambda: stopped(session, world) or no_content() >= 2,
    )
    if no_content() >= 2 and not world.client.by_hand:
        return "asks again"
    told = any(each.get("status") == 204 for each in session.of("error") + session.of("answer"))
    assert len(session.events()) == 1, session.events()
    return "stops, tells 204" if told and world.client.by_hand else "stops"


def stopped(session, world):
    """The client says that it is over, by itself or, where it has to be started again, after the 204."""
    if not world.client.by_hand:
        return session.since_started("closed")
    return len(session.of("started")) >= 2 and session.since_started("closed")


@case("heartbeats")
def heartbeats(world):
    """Comments are no events, and keep the connection."""
    world.node("--heartbeat", "1s")
    session = world.session().start(world.path())
    session.wait_open()
    three_heartbeats(world)
    world.publish(data="1")
    session.wait("the event", lambda: session.events())
    shown = [each["data"] for each in session.of("event")]
    assert shown[-1] == "1" and len(session.of("open")) == 1, session.tail()
    return "quiet" if shown == ["1"] else "empty events" if not any(shown[:-1]) else f"shows {shown}"


@case("after `retry:`")
def retry(world):
    """A producer's event tells it how long to wait; it then does, or not."""
    world.node()
    session = world.session().start(world.path())
    session.wait_open()
    world.publish(data="1", retry=int(RETRY * 1000))
    session.wait("the event", lambda: session.events())
    before = len(world.relay.connections)
    cut = time.monotonic()
    world.relay.cut()
    try:
        session.wait("it comes again", lambda: len(world.relay.connections) > before)
    except Ended:
        return "ends"
    # Chromium and others count from when they see the end, and clocks have a grain.
    return "waits as told" if world.relay.connections[before].since - cut >= RETRY * 0.9 else "waits as it likes"
