"""How each client goes on when a stream ends or breaks."""

import json
import re
import threading
import time

from case import NOT_TRIED, answers, case, heartbeats_pass, judged, numbers, stopped
from relay import REQUEST
from servers import LIMIT
from session import Ended


@case("node killed", "Going on")
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


@case("cut before its first event", "Going on")
def early(world):
    """Its only id is the bare one that a stream begins with. It goes on at a node that knows nothing of the channel yet."""
    return cut_early(world, world.path())


@case("the same with `hello=1`", "Going on")
def hello(world):
    return cut_early(world, world.path() + "?hello=1", types=["fantail.opened"])


def cut_early(world, path, types=()):
    first, second = world.node("--heartbeat", "1s"), world.node()
    world.relay.target = first.port
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(path, types=types)
    session.wait_open()
    # By then it has read what came seconds earlier.
    heartbeats_pass(world)
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
    # The bytes say the same.
    asked = world.relay.requests()
    assert world.hidden() or bool(asked and position(asked[-1])) == (did == "exact"), asked
    return did


def position(request):
    """Whether it says where to go on; some have it in the URL."""
    path, headers = request
    return bool(headers.get("last-event-id") or "lastEventId=" in path)


@case("torn within an event", "Going on")
def torn(world):
    """Of an event of 20 KB the first half arrives, then the connection breaks."""
    world.node()
    sent = ["0", "".join(f"{number:09d} " for number in range(2000)), "2"]
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(world.path())
    session.wait_open()
    world.publish(data=sent[0])
    session.wait("the first event", lambda: session.events())
    before = len(world.relay.connections)
    world.relay.cut_after(10_000)
    world.publish(data=sent[1])
    try:
        session.wait("it comes again", lambda: len(world.relay.connections) > before)
        world.publish(data=sent[2])
        session.wait("the last event", lambda: any(each["data"] == sent[2] for each in session.events()))
    except Ended:
        return "ends"
    got = [each["data"] for each in session.events()]
    if any(data not in sent for data in got):
        return "shows the half"
    return judged([sent.index(data) for data in got], len(sent))


@case("ended whole by a proxy", "Going on")
def whole(world):
    """A node drains, and a proxy ends the answer as if it were complete, as some do."""
    if world.hidden():
        # The relay cannot write into it.
        return NOT_TRIED
    world.relay.completes = True
    return drained(world)


@case("ended by a node that drains", "Going on")
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


@case("several channels", "Going on")
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


@case("gap", "Going on")
def gap(world):
    """What it missed was trimmed while it was away, and the node that it comes back to has none of it in memory."""
    session = world.session()
    try:
        lose(world, session, world.path())
        session.wait("the newest event", lambda: 5 in numbers(session))
    except Ended:
        return "ends"
    told = [json.loads(each["data"]) for each in session.events("fantail.gap")]
    right = len(told) == 1 and told[0]["reason"] == "trimmed" and told[0]["channel"] == world.channel
    return "told" if right and numbers(session) == [0, 5] else f"other: {told}"


@case("gap with `control=end`", "Going on")
def control_end(world):
    """The answer is 410, and no event."""
    session = world.session()
    lose(world, session, world.path() + "?control=end")
    opened = len(session.of("open"))

    def anew():
        # Some say that they are open whatever the status is, so the request tells, where it can be read.
        return len(session.of("open")) > opened if world.hidden() else not all(map(position, world.relay.requests()[1:]))

    session.wait(
        "the client gives up, or asks again after the 410",
        lambda: stopped(session, world) or answers(world, 410) >= 2 or anew(),
    )
    if not world.hidden() and not answers(world, 410):
        return "ends"
    if anew():
        return "begins anew"
    told = any(each.get("status") == 410 for each in session.of("error"))
    again = answers(world, 410) >= 2 and not world.client.by_hand
    return ("asks again" if again else "stops") + (", tells 410" if told else "")


def lose(world, session, path):
    first, second = world.node(), world.node()
    world.relay.target = first.port
    session.by_hand = world.client.by_hand
    session.start(path, types=["fantail.gap"])
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


@case("compressed", "Going on")
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
    """What the streams were coded in, as their heads say, or, where those cannot be read, their size."""
    if world.hidden():
        passed = sum(len(each.down) for each in world.relay.connections)
        told = {each["coding"] for each in session.of("answer") if "coding" in each}
        gzip = passed < len("".join(sent)) / 5
        assert told <= ({"gzip"} if gzip else {""}), f"{passed} bytes of {told}"
        return "gzip" if gzip else "plain"
    streams = [bytes(each.down).lower() for each in world.relay.connections if REQUEST.search(bytes(each.up))]
    found = {b"\r\ncontent-encoding: gzip\r\n" in each for each in streams if each}
    assert len(found) == 1, [each[:500] for each in streams]
    return "gzip" if found.pop() else "plain"
