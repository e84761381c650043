"""sseclient-py: a parser over any iterable of bytes, here of requests; connecting again is the caller's."""

import requests
import sseclient
from said import ORDER, event, headers, say

try:
    with requests.get(ORDER["url"], headers=headers(), stream=True) as answer:
        if answer.status_code != 200:
            say("error", status=answer.status_code, text=answer.text)
        else:
            say("open")
            for each in sseclient.SSEClient(answer).events():
                event(each.event, each.data, each.id)
except requests.RequestException as error:
    say("error", status=None, text=repr(error))
say("closed")
