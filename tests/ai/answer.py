"""The answer that all readers read, as each provider's own chunks write it: 500 pieces of a text that is not plain."""

import json

COUNT = 500
PIECES = [f"{n} snö ☃ 𝄞\u2028\n" if n % 10 == 0 else f"{n} words, " for n in range(COUNT)]
TEXT = "".join(PIECES)
# The id of the one call of an MCP client: `initialize` is 0.
CALL = 1


def entry(data, **fields):
    return {**fields, "data": data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}


def delta(delta, reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


class OpenAi:
    """Chat completions."""

    opening = [entry(delta({"role": "assistant", "content": ""}))]
    closing = [entry(delta({}, "stop")), entry("[DONE]", final=1)]
    failure = entry({"error": {"message": "the model failed", "type": "server_error", "code": None}}, final=1)

    def piece(self, text):
        return entry(delta({"content": text}))


def typed(type_, final=None, **fields):
    event = entry({"type": type_, **fields}, event=type_)
    return {**event, "final": 1} if final else event


class Anthropic:
    """Messages: each event has its type, in its data as well."""

    message = {
        "id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    opening = [
        typed("message_start", message=message),
        typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ]
    closing = [
        typed("content_block_stop", index=0),
        typed("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 500}),
        typed("message_stop", final=True),
    ]
    failure = typed("error", final=True, error={"type": "api_error", "message": "the model failed"})

    def piece(self, text):
        return typed("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


class UiMessage:
    """The AI SDK's stream of a message's parts."""

    opening = [entry({"type": "start", "messageId": "a1"}), entry({"type": "text-start", "id": "0"})]
    closing = [entry({"type": "text-end", "id": "0"}), entry({"type": "finish"}, final=1)]
    failure = entry({"type": "error", "errorText": "the model failed"}, final=1)

    def piece(self, text):
        return entry({"type": "text-delta", "id": "0", "delta": text})


class Mcp:
    """A tool's call: progress tells the pieces, the result ends it."""

    opening = [entry({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "begins"}})]
    closing = [entry({"jsonrpc": "2.0", "id": CALL, "result": {"content": [{"type": "text", "text": "done"}]}}, final=1)]
    failure = entry({"jsonrpc": "2.0", "id": CALL, "error": {"code": -32000, "message": "the model failed"}}, final=1)

    def __init__(self):
        self.told = 0

    def piece(self, text):
        self.told += 1
        params = {"progressToken": CALL, "progress": self.told, "message": text}
        return entry({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


class Answer:
    """One answer on its channel, written as far as a case wants it to be."""

    def __init__(self, redis, channel, form):
        self.redis, self.key, self.form, self.written = redis.client, "sse:" + channel, form, None

    def write(self, until):
        """The beginning, where nothing is there yet, and the pieces up to `until`."""
        entries = self.form.opening if self.written is None else []
        entries = entries + [self.form.piece(text) for text in PIECES[self.written or 0 : until]]
        self.written = until
        self._append(entries)

    def finish(self):
        self.write(COUNT)
        self._append(self.form.closing)

    def fail(self):
        self._append([self.form.failure])

    def trim(self, kept):
        self.redis.xtrim(self.key, maxlen=kept, approximate=False)

    def _append(self, entries):
        pipeline = self.redis.pipeline(transaction=False)
        for fields in entries:
            pipeline.xadd(self.key, fields)
        pipeline.execute()


def length(pieces):
    """Of the text of so many pieces, as JavaScript counts."""
    return len("".join(PIECES[:pieces]).encode("utf-16-le")) // 2
