"""The chunks of an answer, one after another, whatever breaks in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import httpx

# A node that is full or about to end, and what a proxy says meanwhile: another one may have room.
LATER = {429, 502, 503, 504}


async def chunks(ask: Callable[[str], AbstractAsyncContextManager[httpx.Response]]) -> AsyncIterator[str]:
    """`ask(id)` requests what comes after that id, or all where it is empty. Only an answer that is whole ends well."""
    last = ""
    while True:
        try:
            async with ask(last) as answer:
                if answer.status_code == 204:
                    return
                if answer.status_code not in LATER:
                    answer.raise_for_status()
                    text = ""
                    async for part in answer.aiter_text():
                        *blocks, text = (text + part).split("\n\n")
                        for block in blocks:
                            lines = [line.partition(": ")[::2] for line in block.split("\n")]
                            last = next((value for name, value in lines if name == "id"), last)
                            if data := [value for name, value in lines if name == "data"]:
                                yield "\n".join(data)
                    return
        except httpx.TransportError:
            pass  # an end that is incomplete among them: a node that drains, a token that is over
        await asyncio.sleep(1)
