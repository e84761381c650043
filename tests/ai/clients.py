"""The readers: how each is run, and what is expected of it where that is not the usual."""

import dataclasses
import pathlib
import sys

from answer import PIECES, Anthropic, Mcp, OpenAi, UiMessage

HERE = pathlib.Path(__file__).parent / "adapters"
ASKS_AGAIN = "raises, then whole"
# What a reader of one answer should do.
USUAL = {
    "whole": "whole", "reload": "whole", "second": "whole", "ended": "whole",
    "killed": ASKS_AGAIN, "drained": ASKS_AGAIN, "token": ASKS_AGAIN,
    "failed": "raises", "trimmed": "raises 410", "absent": "raises",
}
RESUMES = {"killed": "resumes", "drained": "resumes", "token": "resumes"}
# An answer without a chunk, or, where it only asks whether one is running, that none is.
EMPTY = {"absent": "ends empty"}
# The model fails behind so many pieces (`cases.py`); counted as Python does.
HALF = len("".join(PIECES[:200]))


@dataclasses.dataclass
class Client:
    name: str
    title: str
    # Where its version stands: a package of npm or PyPI, or none for what is in this repository.
    package: str
    command: list
    form: type
    differs: dict = dataclasses.field(default_factory=dict)
    # A sentence each for docs/ai.md.
    notes: list = ()
    order: dict = dataclasses.field(default_factory=dict)

    def expects(self, case):
        return self.differs.get(case, USUAL[case])


def node(name, title, package, program, form, **more):
    return Client(name, title, f"npm {package}" if package else "", ["node", HERE / "node" / program], form, **more)


def python(name, title, package, program, form, **more):
    return Client(name, title, f"pip {package}" if package else "", [sys.executable, HERE / "python" / program], form, **more)


CLIENTS = [
    python("openai-python", "PyPI `openai`", "openai", "openai_client.py", OpenAi, differs=EMPTY,
           notes=["Its chunks have only data, so it takes any event of the node for a chunk. Hence `control=end`."]),
    python("anthropic-python", "PyPI `anthropic`", "anthropic", "anthropic_client.py", Anthropic, differs=EMPTY),
    node("openai-node", "npm `openai`", "openai", "openai.mjs", OpenAi),
    node("anthropic-node", "npm `@anthropic-ai/sdk`", "@anthropic-ai/sdk", "anthropic.mjs", Anthropic,
         notes=["Here and in Python `event` must be the chunk's `type`. It skips events without one."]),
    node("stream-text", "npm `ai`, `streamText`", "ai", "stream_text.mjs", OpenAi,
         notes=["`fullStream` has an `error` part for every error."]),
    node("text-stream", "the same, `textStream`", "ai", "stream_text.mjs", OpenAi, order={"only": "text"},
         differs={"failed": f"takes {HALF} characters for the whole", "trimmed": "ends empty", "absent": "ends empty"},
         notes=["It ends without an error if the model failed, and at a 410. Only `onError` is called. Read `fullStream`."]),
    node("chat", "npm `ai`, `useChat`", "ai", "chat.mjs", UiMessage, differs=EMPTY,
         notes=["With its own `DefaultChatTransport` a break is the status `error`. `resumeStream()` asks the application, which redirects. "
                "The answer then replaces the half, from its beginning. Any chunk of another shape ends it with an error."]),
    node("chat-own", "the same with examples/tokens' transport", "ai", "chat.mjs", UiMessage, differs=RESUMES | EMPTY,
         order={"transport": "own"},
         notes=["The user does not see a break. After a reload, `resume: true` asks, as with any transport."]),
    node("mcp", "npm `@modelcontextprotocol/sdk`", "@modelcontextprotocol/sdk", "mcp.mjs", Mcp, differs=RESUMES,
         order={"client": "@modelcontextprotocol/sdk/client/index.js", "schema": True,
                "transport": "@modelcontextprotocol/sdk/client/streamableHttp.js"},
         notes=["It follows a redirect to another origin only with `redirectPolicy: \"follow\"`.",
                "It continues by a `GET` to the application with `Last-Event-ID`. That request names at most its `Mcp-Session-Id`, not its call. "
                "So allow one call per session at a time, or put the channel's name into the id, as two channels on one stream do.",
                "After `maxRetries` (2) failed attempts it gives up, and the call waits for its time-out."]),
    node("mcp-client", "npm `@modelcontextprotocol/client`", "@modelcontextprotocol/client", "mcp.mjs", Mcp, differs=RESUMES,
         order={"client": "@modelcontextprotocol/client", "transport": "@modelcontextprotocol/client"}),
    node("chunks-node", "examples/tokens' `chunks.js`", "", "chunks.mjs", UiMessage, differs=RESUMES | EMPTY),
    python("chunks-python", "examples/tokens' `chunks.py`", "", "chunks_client.py", UiMessage, differs=RESUMES | EMPTY),
]
