"""Fewer, larger chunks: a model may write faster than anybody reads."""

import asyncio
from collections.abc import AsyncIterator


async def coalesced(texts: AsyncIterator[str], window: float) -> AsyncIterator[str]:
    """The first text goes out at once, then, at most once in `window` seconds, all that came meanwhile."""
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def read() -> None:
        try:
            async for text in texts:
                queue.put_nowait(text)
        finally:
            queue.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        ended = False
        while not ended:
            some = [await queue.get()]
            while window and not queue.empty():
                some.append(queue.get_nowait())
            ended = some[-1] is None
            if text := "".join(text for text in some if text):
                yield text
            await asyncio.sleep(window)
        await reading  # raises what the model raised
    finally:
        reading.cancel()
