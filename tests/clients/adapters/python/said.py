"""What an adapter says, a JSON object a line; see tests/clients/README.md."""

import json
import sys

ORDER = json.loads(sys.argv[1])


def say(kind, **fields):
    print(json.dumps({"kind": kind, **fields}), flush=True)


def event(type_, data, id_):
    say("event", type=type_ or "message", data=data, id=id_ or "")


def headers():
    found = dict(ORDER["headers"])
    if ORDER["last_event_id"]:
        found["Last-Event-ID"] = ORDER["last_event_id"]
    return found
