"""What a client is: how it is run, what it can do, and what is expected of it where that differs from what a client should do."""

import dataclasses
import os
import pathlib
import sys

from case import NOT_TRIED

# What tests/run has built of the adapters that have to be.
BUILT = pathlib.Path(os.environ.get("FANTAIL_CLIENTS_BUILT", ".cache/clients"))
HERE = pathlib.Path(__file__).parent / "adapters"


@dataclasses.dataclass
class Client:
    name: str
    # As a reader knows it, its version included.
    title: str
    version: str
    command: list
    # What its user has to set so that nothing is lost: each a sentence for docs/clients.md.
    sets: list = ()
    # What else one has to know, in the same form.
    notes: list = ()
    # Case → what it does there, where that is not the usual.
    differs: dict = dataclasses.field(default_factory=dict)
    # It does not connect again: the test does, with the last id that it told.
    by_hand: bool = False
    token: str = "header"
    scheme: str = "http"
    # What it says that it speaks, in its own words; empty: not asked.
    protocol: str = ""
    # More for the adapter.
    order: dict = dataclasses.field(default_factory=dict)
    folder: pathlib.Path = HERE

    def expects(self, case):
        usual = USUAL_BY_HAND if self.by_hand else USUAL
        return self.differs.get(case, usual[case])


# What EventSource's specification has, or, where a client says more than that, the better answer.
USUAL = {
    "connects": "yes",
    "named": "yes",
    "unicode": "as sent",
    "lines": "as sent",
    "empty": "an event",
    "large": "as sent",
    "larger": "as sent",
    "split": "as sent",
    "killed": "exact",
    "early": "exact",
    "hello": "exact",
    "drained": "exact",
    "torn": "exact",
    "whole": "exact",
    "several": "exact",
    "gap": "told",
    "control_end": "stops",
    "compressed": "gzip, exact",
    "token": "header",
    "unauthorized": "stops",
    "too_many": "stops",
    "unavailable": "stops",
    "retry_after": "stops",
    "when_full": "waits as told",
    "finished": "stops",
    # htmx can be told so.
    "last_event": NOT_TRIED,
    "heartbeats": "quiet",
    "time_outs": "stays",
    "retry": "waits as told",
}
USUAL_BY_HAND = USUAL | {
    "unauthorized": "stops, tells 401",
    "too_many": "stops, tells 429",
    "unavailable": "stops, tells 503",
    "control_end": "stops, tells 410",
    "when_full": "ends",
    "finished": "stops, tells 204",
    "retry": "ends",
}
TELLS = {
    "unauthorized": "stops, tells 401", "too_many": "stops, tells 429", "unavailable": "stops, tells 503",
    "control_end": "stops, tells 410",
}
# Of the cases that the relay has to see into.
HIDDEN = {"whole": NOT_TRIED, "retry_after": NOT_TRIED, "when_full": NOT_TRIED}


def python(name, **more):
    command = [sys.executable, HERE / "python" / f"{name.replace('-', '_')}_client.py"]
    return Client(name, f"Python `{name}`", f"pip {name}", command, **more)


def node(name, title, version, program, **more):
    return Client(name, title, version, ["node", HERE / "node" / program], **more)


def go(name, module, **more):
    return Client(name, f"Go `{module}`", f"go {module}", [BUILT / "go-clients", name], **more)


def java(name, title, version, program, jars="jars", **more):
    path = f"{BUILT}/java/classes:{BUILT}/java/{jars}/*"
    command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", path, f"fantail.{program}"]
    return Client(name, title, f"maven {version}", command, **{"by_hand": True, **more})


def over_http2(client, protocol="h2", **more):
    """The same client over HTTP/2, under TLS unless `more` says otherwise."""
    usual = {"name": f"{client.name}-http2", "title": f"{client.title}, HTTP/2", "scheme": "https",
             "differs": client.differs | HIDDEN, "notes": ["As over HTTP/1.1."]}
    return dataclasses.replace(client, protocol=protocol, **{**usual, **more})


NO_STATUS = {"unauthorized": "asks again", "too_many": "asks again", "unavailable": "asks again", "control_end": "asks again"}
