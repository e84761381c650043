"""What each client makes of answers that are no stream, of heartbeats, and of being told to wait."""

import datetime
import re
import time

import jwt
from case import NOT_TRIED, answers, case, heartbeats_pass, stopped
from session import Ended

# A delay that no client has by itself.
RETRY = 8.0
SECRET = "0123456789abcdef0123456789abcdef"


@case("token", "Answers")
def token(world):
    """In the header where one can be set, else in a cookie, else in the URL."""
    key = world.place.path / "key"
    key.write_text(SECRET)
    world.node("--auth", "jwt", "--jwt-key", key, "--token-cookie", "session",
               "--token-query", "on" if world.client.token == "in the URL" else "off")
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    text = jwt.encode({"sub": "a", "exp": end, "fantail.subscribe": [world.channel]}, SECRET, "HS256")
    session = world.session()
    if world.client.token == "cookie":
        session.start(world.path(), cookie={"name": "session", "value": text})
    elif world.client.token == "in the URL":
        session.start(world.path() + "?token=" + text)
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


@case("401", "Answers")
def unauthorized(world):
    key = world.place.path / "key"
    key.write_text(SECRET)
    world.node("--auth", "jwt", "--jwt-key", key)
    return refused(world, 401)


@case("429", "Answers")
def too_many(world):
    return full(world, 429, "--max-connections-per-address")


@case("503", "Answers")
def unavailable(world):
    return full(world, 503, "--max-connections")


def full(world, status, flag):
    """The only place is taken by another client, which stays."""
    node = world.node(flag, "1")
    with world.taken(node):
        return refused(world, status)


@case("503 with `Retry-After`", "Answers")
def retry_after(world):
    """A full node says five seconds."""
    if world.hidden():
        return NOT_TRIED
    node = world.node("--max-connections", "1")
    with world.taken(node):
        session = world.session().start(world.path())
        asked = world.relay.asked_at
        session.wait(
            "the client gives up, or asks again", lambda: session.since_started("closed") or len(asked()) > 1
        )
        if len(asked()) < 2:
            return "stops"
        between = asked()[1] - asked()[0]
    # Clocks have a grain, and the answer took its time.
    return "waits as told" if between >= 4.8 else "waits as it likes"


@case("full, `--when-full retry`", "Answers")
def when_full(world):
    """An answer tells it to come back after a while; it then does, or sooner, and gets in when there is a place."""
    if world.hidden():
        return NOT_TRIED
    # It says 3.7 to 11.1 seconds, and few clients have such a delay of their own.
    node = world.node("--max-connections", "1", "--when-full", "retry", "--retry", "740ms..740ms")
    session = world.session()
    try:
        with world.taken(node):
            session.start(world.path() + "?since=0-0")
            session.wait("it comes again", lambda: len(world.relay.connections) > 1)
        world.publish(data="1")
        session.wait("the event, when there is a place", session.events)
    except Ended:
        return "ends"
    first, second = world.relay.connections[:2]
    told = re.search(rb"\nretry: (\d+)\n", bytes(first.down))
    assert told, bytes(first.down)
    return "waits as told" if second.since - first.ended >= int(told[1]) / 1000 * 0.9 else "waits as it likes"


@case("204 after the final event", "Answers")
def finished(world):
    world.node()
    session = world.session()
    session.by_hand = world.client.by_hand
    session.start(world.path())
    session.wait_open()
    world.publish(data="0", final="1")
    session.wait("the final event", lambda: session.events())
    session.wait(
        "the client gives up, or asks again after the 204",
        lambda: stopped(session, world) or answers(world, 204) >= 2,
    )
    if answers(world, 204) >= 2 and not world.client.by_hand:
        return "asks again"
    told = any(each.get("status") == 204 for each in session.of("error") + session.of("answer"))
    assert len(session.events()) == 1, session.events()
    return "stops, tells 204" if told and world.client.by_hand else "stops"


@case("closed at a last event", "Answers")
def last_event(world):
    """Where markup says at which event a stream is over: it does not ask again."""
    world.node()
    session = world.session().start(world.path(), types=["done"], close="done")
    session.wait_open()
    world.publish(event="done", data="bye", final="1")
    session.wait("the client gives up, or asks again", lambda: session.since_started("closed") or answers(world, 204))
    return "asks again" if answers(world, 204) else "stops"


@case("heartbeats", "Answers")
def heartbeats(world):
    """Comments are no events, and keep the connection."""
    world.node("--heartbeat", "1s")
    session = world.session().start(world.path())
    session.wait_open()
    heartbeats_pass(world)
    world.publish(data="1")
    session.wait("the event", lambda: session.events())
    shown = [each["data"] for each in session.of("event")]
    assert shown[-1] == "1" and len(session.of("open")) == 1, session.tail()
    return "quiet" if shown == ["1"] else "empty events" if not any(shown[:-1]) else f"shows {shown}"


@case("quiet, its own time-outs", "Answers")
def time_outs(world):
    """Fourteen seconds with nothing but heartbeats of `heartbeat=4s`, and beside it without; its time-outs are as they come."""
    node = world.node("--heartbeat", "1m")
    beside = world.another_relay(node.port)
    sessions = {}
    # The quiet one first, so that it is quiet for all of the other's heartbeats.
    for relay, path in ((beside, ""), (world.relay, "?heartbeat=4s")):
        sessions[path] = world.session(relay).start(world.path() + path, time_outs="its own")
        sessions[path].wait_open()
    heartbeats_pass(world, world.relay, most=4)
    world.publish(data="1")
    sessions["?heartbeat=4s"].wait("the event", sessions["?heartbeat=4s"].events)
    assert not broken_off(sessions["?heartbeat=4s"]), sessions["?heartbeat=4s"].tail()
    return "breaks off without `heartbeat=4s`" if broken_off(sessions[""]) else "stays"


def broken_off(session):
    return len(session.of("open")) > 1 or any(session.of(kind) for kind in ("error", "closed", "ended"))


@case("after `retry:`", "Answers")
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
