"""Stands for the model: put the client of yours here. It yields tokens as models do, spaces and line breaks included."""

import asyncio
import re
from collections.abc import AsyncIterator

ANSWER = """You asked: “{prompt}”.

A stream is a log, and a reader is a place in it. Whoever was away tells where they were:
  1. the log is still there,
  2. the place is still there,
  3. so nothing is lost, and nothing comes twice. 🙂

That is why you can reload this page now, in the middle of a sentence, or open its address in a second tab, \
and both will read on to the same end. The model does not know how many are reading, nor does it care; it writes each \
token once, and the nodes do the rest. Even where one of them ends in the midst of a word, the next one goes on with \
the syllable that follows."""


async def generate(prompt: str) -> AsyncIterator[str]:
    for token in re.findall(r"\s+|\S{1,4}", ANSWER.format(prompt=prompt)):
        await asyncio.sleep(0.04)
        yield token
