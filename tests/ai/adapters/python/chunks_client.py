"""The generator of examples/tokens."""

import asyncio
import json
import pathlib
import sys

import httpx
from said import ORDER, reading

sys.path.append(str(pathlib.Path(__file__).parents[4] / "examples" / "tokens"))

from chunks import chunks  # noqa: E402


async def answer(piece):
    async with httpx.AsyncClient(follow_redirects=True, timeout=httpx.Timeout(10, read=None)) as client:
        url, asked = ORDER["url"] + "/chat", []

        def ask(last):
            asked.append(last)
            again = {"method": "GET", "url": f"{url}/c1/stream", "params": {"lastEventId": last}}
            return client.stream(**again if len(asked) > 1 else {"method": "POST", "url": url})

        async for data in chunks(ask):
            chunk = json.loads(data)
            if chunk["type"] == "error":
                raise RuntimeError(chunk["errorText"])
            if chunk["type"] == "text-delta":
                piece(chunk["delta"])


reading(lambda piece: asyncio.run(answer(piece)))
