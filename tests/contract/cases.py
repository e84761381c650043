"""What a case is: what is tried, what the standard has happen, and where one of the clients differs by intent."""

import dataclasses
import typing


@dataclasses.dataclass
class Case:
    group: str
    name: str
    play: typing.Callable
    expected: object
    # Client → what it does instead. README.md says why.
    differs: dict
    # A capability that the client must have, or `None`.
    needs: str | None

    @property
    def title(self):
        return f"{self.group}: {self.name}"

    def expects(self, client):
        return self.differs.get(client, self.expected)


CASES = []


def case(group, name, expected, differs=None, needs=None):
    """The decorated function gets a Play, and returns what it saw."""

    def add(play):
        CASES.append(Case(group, name, play, expected, differs or {}, needs))
        return play

    return add


def stream(group, name, text, expected, types=(), size=None, differs=None):
    """A case of one connection: this text, in pieces of `size` bytes if it is given, brings these events."""

    def play(play):
        play.begin({kind for kind, _, _ in expected} - {"message"} | set(types)).send(text, size)
        return play.events()

    case(group, name, expected, differs)(play)


def message(data, id=""):
    return "message", data, id
