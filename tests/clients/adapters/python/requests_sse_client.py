"""requests-sse: an EventSource over requests, which connects again by itself."""

import requests
from requests_sse import EventSource, InvalidContentTypeError, InvalidStatusCodeError
from said import ORDER, event, headers, say

try:
    opened = {"on_open": lambda: say("open"), "on_error": lambda: say("error", status=None, text="")}
    with EventSource(ORDER["url"], headers=headers(), **opened) as source:
        for each in source:
            event(each.type, each.data, each.last_event_id)
except InvalidStatusCodeError as error:
    say("error", status=error.status_code, text=str(error))
except (requests.RequestException, InvalidContentTypeError, StopIteration) as error:
    say("error", status=None, text=repr(error))
say("closed")
