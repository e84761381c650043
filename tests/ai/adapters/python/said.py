"""What an adapter says and is told; see tests/ai/README.md."""

import json
import sys

ORDER = json.loads(sys.argv[1])


def say(kind, **fields):
    print(json.dumps({"kind": kind, **fields}), flush=True)


def reading(read):
    """Reads an answer by `read`, which tells each piece of text; once more when told to, where it was no whole one."""
    while True:
        pieces = []

        def piece(text):
            pieces.append(text)
            say("text", length=len("".join(pieces).encode("utf-16-le")) // 2)

        try:
            read(piece)
            return say("end", text="".join(pieces))
        except Exception as error:
            status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
            say("error", text="".join(pieces), status=status, name=type(error).__name__, message=str(error))
            if not sys.stdin.readline():
                return
