"""httpx-sse: a parser over an httpx response; connecting again is the caller's."""

import httpx
import httpx_sse
from said import ORDER, event, headers, say

# httpx gives up after five seconds without a byte unless told otherwise.
own = ORDER.get("time_outs") == "its own"
with httpx.Client(**({} if own else {"timeout": httpx.Timeout(10, read=None)})) as client:
    try:
        with httpx_sse.connect_sse(client, "GET", ORDER["url"], headers=headers()) as source:
            if source.response.status_code != 200:
                say("error", status=source.response.status_code, text="")
            else:
                say("open")
                for each in source.iter_sse():
                    event(each.event, each.data, each.id)
    except (httpx.HTTPError, httpx_sse.SSEError) as error:
        say("error", status=None, text=repr(error))
say("closed")
