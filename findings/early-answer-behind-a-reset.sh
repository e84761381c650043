#!/usr/bin/env bash
# PyPI requests 2.34.2, httpx 0.28.1, aiohttp 3.14.3 and Python's own urllib: an answer that comes before the body is sent.
# Guess: where a server answers 413 and closes while the client still sends, the reset takes the answer along (RFC 9112 9.6).
# Seen: on Linux the answer stays readable behind the failed write. The three packages read it, and tell 413; urllib stops at the write,
# and raises. A server that goes on reading for a while before it closes is understood by all four.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check requests==2.34.2 httpx==0.28.1 aiohttp==3.14.3
cat >probe.py <<'E'
import asyncio
import collections
import socket
import threading
import urllib.error
import urllib.request
import aiohttp
import httpx
import requests

ANSWER = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BODY = b"x" * (8 << 20)

def answer(client, goes_on_reading):
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    client.sendall(ANSWER)
    if goes_on_reading:
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 16):
            pass
    client.close()

def serve(listener, goes_on_reading):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=answer, args=(client, goes_on_reading), daemon=True).start()

async def by_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.post(url, data=BODY) as answer:
        return answer.status

def by_urllib(url):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, data=BODY)).status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError as error:
        return type(error.reason).__mro__[1].__name__

CLIENTS = {
    "requests": lambda url: requests.post(url, data=BODY).status_code,
    "httpx": lambda url: httpx.post(url, content=BODY).status_code,
    "aiohttp": lambda url: asyncio.run(by_aiohttp(url)),
    "urllib": by_urllib,
}
for goes_on_reading in (False, True):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, goes_on_reading), daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    for name, post in CLIENTS.items():
        seen = collections.Counter(post(url) for _ in range(10))
        print("reads on" if goes_on_reading else "closes", name, dict(seen))
E
timeout 60 python/bin/python -W ignore probe.py 2>/dev/null | tee seen
diff seen - <<'E'
closes requests {413: 10}
closes httpx {413: 10}
closes aiohttp {413: 10}
closes urllib {'ConnectionError': 10}
reads on requests {413: 10}
reads on httpx {413: 10}
reads on aiohttp {413: 10}
reads on urllib {413: 10}
E
