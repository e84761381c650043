"""What each reader goes through. A case returns a word or two for what the reader did, and fails where it did something that
has no name here. What is expected of which reader stands in `clients.py`."""

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def whole(world):
    """500 chunks, with heartbeats among them."""
    world.node("--heartbeat", "1s")
    reader = world.reading(100)
    world.heartbeats(2)
    world.answer.finish()
    return world.judged(reader)


@case
def reload(world):
    """The reader is gone in the middle; a new one has all of it."""
    world.node()
    world.reading(100).end()
    world.answer.write(300)
    reader = world.read(resume=True)
    reader.wait("what there is", lambda: reader.has(300))
    world.answer.finish()
    return world.judged(reader)


@case
def second(world):
    """Another one joins in the middle."""
    world.node()
    first = world.reading(100)
    other = world.reading(200, resume=True)
    world.answer.finish()
    found = {world.judged(first), world.judged(other)}
    return found.pop() if len(found) == 1 else f"each other: {found}"


def broken(world, act):
    """A connection that breaks in the middle: whether the reader goes on, or says so and has the whole when it asks again."""
    reader = world.reading(100)
    asked = world.application.asked
    act()
    reader.wait("it notices", lambda: reader.over() or world.application.asked > asked)
    over = reader.over()
    if over and over[0]["kind"] == "end":
        return f"takes {len(over[0]['text'])} characters for the whole"
    world.answer.finish()
    if over:
        reader.again()
    found = world.judged(reader, len(over) + 1)
    return {"whole": "raises, then whole" if over else "resumes"}.get(found, found)


@case
def killed(world):
    """SIGKILL of the node; another one takes over."""
    first, second = world.node(), world.node()
    world.relay.target = first.port

    def act():
        world.relay.hold()
        first.kill()
        world.relay.target = second.port
        world.relay.release()

    return broken(world, act)


@case
def drained(world):
    """SIGTERM, as in an upgrade; another one takes over."""
    first, second = world.node("--drain", "0s"), world.node()
    world.relay.target = first.port

    def act():
        world.relay.target = second.port
        first.terminate()

    return broken(world, act)


@case
def token(world):
    """It ends in the middle of the answer; the application gives another one to who asks again."""
    world.node_with_tokens()
    return broken(world, lambda: None)


@case
def ended(world):
    """An answer that was written before anybody asked."""
    world.node()
    world.answer.finish()
    return world.judged(world.read(resume=True))


@case
def failed(world):
    """The model fails in the middle, and its error ends the channel."""
    world.node()
    reader = world.reading(100)
    world.answer.fail()
    return raised(reader)


@case
def trimmed(world):
    """The beginning is not kept any more."""
    world.node()
    world.answer.finish()
    world.answer.trim(100)
    return raised(world.read(resume=True))


@case
def absent(world):
    """There is no such answer."""
    world.node()
    world.absent = True
    return raised(world.read(resume=True))


def raised(reader):
    over = reader.wait("its end", reader.over)[-1]
    if over["kind"] == "end":
        return "ends empty" if not over["text"] else f"takes {len(over['text'])} characters for the whole"
    return f"raises {over['status']}" if (over["status"] or 0) >= 400 else "raises"
