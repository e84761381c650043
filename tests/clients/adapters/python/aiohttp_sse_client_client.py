"""aiohttp-sse-client: an EventSource for asyncio that connects again by itself."""

import asyncio
import re

import aiohttp
from aiohttp_sse_client import client as sse
from said import ORDER, event, headers, say


async def main():
    # aiohttp ends every request after five minutes unless told otherwise.
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        opened = {"on_open": lambda: say("open"), "on_error": lambda: say("error", status=None, text="")}
        async with sse.EventSource(ORDER["url"], session=session, headers=headers(), **opened) as source:
            async for each in source:
                event(each.type, each.data, each.last_event_id)


try:
    asyncio.run(main())
except Exception as error:
    status = re.search(r"(?:failed: |status: )(\d{3})", str(error))
    say("error", status=status and int(status[1]), text=repr(error))
say("closed")
