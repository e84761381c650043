"""sseclient, which has its module's name in common with sseclient-py; it connects again by itself."""

import importlib.metadata
import importlib.util

import requests
from said import ORDER, event, headers, say

path = importlib.metadata.distribution("sseclient").locate_file("sseclient.py")
found = importlib.util.spec_from_file_location("sseclient_of_its_own", path)
library = importlib.util.module_from_spec(found)
found.loader.exec_module(library)


class Told(library.SSEClient):
    """Says when it is connected, which it does not by itself."""

    def _connect(self):
        super()._connect()
        say("open")


try:
    for each in Told(ORDER["url"], last_id=ORDER["last_event_id"] or None, headers=headers()):
        event(each.event, each.data, each.id)
except requests.HTTPError as error:
    say("error", status=error.response.status_code, text=str(error))
except requests.RequestException as error:
    say("error", status=None, text=repr(error))
say("closed")
