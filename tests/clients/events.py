"""What arrives of what is published."""

from case import case
from session import Ended

TEXT = "snö ☃ 𝄞 مرحبا \u00a0|\u0085|\u2028|\u2029|\u000b|\u000c|\u001e| x"
LINES = "first\n  second, indented\n\nfourth: after an empty one\n:fifth\n"


@case("connects, gets events", "Events")
def connects(world):
    world.node()
    session = world.session().start(world.path())
    session.wait_open()
    world.publish(data="1")
    world.publish(data="2")
    session.wait("two events", lambda: len(session.events()) >= 2)
    shown = [(each["type"], each["data"]) for each in session.events()]
    return "yes" if shown == [("message", "1"), ("message", "2")] else f"other events: {shown}"


@case("named events", "Events")
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


@case("unicode", "Events")
def unicode(world):
    shown = texts(world, TEXT)
    return "as sent" if shown == [TEXT] else "cut or changed"


@case("several lines", "Events")
def lines(world):
    sent = [LINES, "  two spaces before", "\nbelow an empty line"]
    return "as sent" if texts(world, *sent) == sent else "changed"


@case("empty data", "Events")
def empty(world):
    shown = texts(world, "", "x", whole=True)
    if shown and len(shown) > 2 and [each for each in shown if each] == ["x"]:
        return "an event, as for blocks without data"
    return {("", "x"): "an event", ("x",): "no event"}.get(tuple(shown or ()), f"other events: {shown}")


@case("1 MiB of data", "Events")
def large(world):
    return sized(world, 1 << 20)


@case("5 MiB of data", "Events")
def larger(world):
    return sized(world, 5 << 20)


def sized(world, size):
    text = "".join(f"{n:07d} " for n in range(size // 8))
    return "as sent" if texts(world, text) == [text] else "fails"


@case("characters split", "Events")
def split(world):
    """Behind the first byte of each character that has several, the network pauses."""
    world.relay.splits = True
    shown = texts(world, TEXT)
    return "as sent" if shown == [TEXT] else "cut or changed"
