"""nghttp2's own programs, which are no readers of events: nghttp keeps its output back and tells the status behind it, and h2load only
counts. So they read a stream that is over, in the clear and under TLS. Both speak nothing but HTTP/2, or say that they do not."""

import subprocess
import traceback

from client import Client
from world import World

# So long that a client's windows of 64 KiB are not enough.
EVENTS, DATA = 100, "0123456789abcdef" * 64
REQUESTS = 1000


def nghttp(url, whole):
    said = output("nghttp", url)
    assert said == whole, f"{len(said)} bytes, not {len(whole)}"


def h2load(url, whole):
    said = output("h2load", "-n", REQUESTS, "-c", 20, "-m", 10, "-w", 16, "-W", 18, url).decode()
    for line in (
        f"Application protocol: {'h2' if url.startswith('https') else 'h2c'}\n",
        f"requests: {REQUESTS} total, {REQUESTS} started, {REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout\n",
        f"status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx\n",
        f"({REQUESTS * len(whole)}) data\n",
    ):
        assert line in said, f"not there: {line}{said}"


def output(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=180).stdout


PROGRAMS = {"nghttp": nghttp, "h2load": h2load}


def run(names, place, redis, binary):
    """Whether each of these did as it should, in the clear and under TLS."""
    return [passes(name, scheme, place, redis, binary) for name in names for scheme in ("http", "https")]


def passes(name, scheme, place, redis, binary):
    world, problem = World(place, redis, binary, Client(name, name, "", [], scheme=scheme)), ""
    try:
        port = world.node().port
        ids = [world.publish(data=DATA) for _ in range(EVENTS)] + [world.publish(data="bye", final="1")]
        events = [f"id: {id_.decode()}\ndata: {data}\n\n" for id_, data in zip(ids, [DATA] * EVENTS + ["bye"])]
        whole = "".join(["retry: 200\n", *events]).encode()
        PROGRAMS[name](f"{scheme}://127.0.0.1:{port}{world.path()}?since=0-0", whole)
    except Exception:
        problem = traceback.format_exc()
        print(problem)
    finally:
        world.close()
    print(f"test clients::{name}::reads_a_whole_stream_by_{scheme} ... {'FAILED' if problem else 'ok'}", flush=True)
    return not problem
