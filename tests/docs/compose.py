#!/usr/bin/env python3
"""Checks examples/compose.yaml, which examples/README.md says to start. Usage: compose.py NODE

podman-compose reads it. No image is pulled: its nodes, its Redis and its HAProxy run as programs of this machine, in a network
namespace, with the environment and the configuration that the file gives them; a node is killed while a client reads.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "examples" / "compose.yaml"
PORTS = {"one": (8081, 9091), "two": (8082, 9092)}
ORIGIN = "http://127.0.0.1:3000"


def read(place):
    """The file as podman-compose understands it, which wants to know podman's version first."""
    stub = place / "podman"
    stub.write_text("#!/bin/sh\necho podman version 5.4.0\n")
    stub.chmod(0o755)
    command = [sys.executable, "-m", "podman_compose", "--podman-path", stub, "-f", FILE, "config"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    return yaml.safe_load(found.stdout)["services"]


def paths_exist(services):
    assert set(services) == {"redis", "one", "two", "haproxy", "chat"}, set(services)
    for service in services.values():
        build = service.get("build")
        if build:
            assert (FILE.parent / build["context"] / "Dockerfile").exists(), build
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (FILE.parent / source).exists(), volume
    page = (ROOT / "examples" / "chat" / "page" / "app.js").read_text()
    assert "location.hostname}:8080" in page and services["haproxy"]["ports"] == ["127.0.0.1:8080:8080"]
    assert services["chat"]["ports"] == ["127.0.0.1:3000:3000"]
    assert "node_modules" in (ROOT / "examples" / "chat" / ".dockerignore").read_text()


def until(what, condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, f"not within 30 s: {what}"
        time.sleep(0.05)


def get(url, **headers):
    """An answer, even one that refuses; None where nobody listens."""
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20)
    except urllib.error.HTTPError as refused:
        return refused
    except OSError:
        return None


def status(url):
    answer = get(url)
    return answer and answer.status


def events(answer):
    """Ids and data of an event stream, one at a time."""
    last = None
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            last = value
        elif name == "data":
            yield last, value


def started(services, node, place, children):
    """Begins what the file describes, with addresses of this machine; returns the nodes by name."""

    def begin(*command, env=None):
        child = subprocess.Popen([str(each) for each in command], cwd=place, env=env, stdout=subprocess.DEVNULL)
        children.append(child)
        return child

    begin(*services["redis"]["command"], "--dir", place)
    until("Redis answers", lambda: redis("ping").strip() == "PONG")
    nodes = {}
    for name, (port, admin) in PORTS.items():
        own = {key: str(value).replace("//redis:", "//127.0.0.1:") for key, value in services[name]["environment"].items()}
        own |= {"FANTAIL_LISTEN": f"127.0.0.1:{port}", "FANTAIL_ADMIN_LISTEN": f"127.0.0.1:{admin}"}
        nodes[name] = begin(node, env={"PATH": os.environ["PATH"], **own})
    config = (FILE.parent / "compose" / "haproxy.cfg").read_text()
    for name, (port, admin) in PORTS.items():
        config, count = re.subn(rf"(server {name}) {name}:8080", rf"\1 127.0.0.1:{port} port {admin}", config)
        assert count == 1, name
    (place / "haproxy.cfg").write_text(config)
    begin("haproxy", "-f", place / "haproxy.cfg")
    for _, admin in PORTS.values():
        until("a node is ready", lambda: status(f"http://127.0.0.1:{admin}/readyz") == 200)
    until("HAProxy has a node", lambda: status("http://127.0.0.1:8080/history/chat.lobby") == 200)
    return nodes


def redis(*words):
    found = subprocess.run(["redis-cli", *words], capture_output=True, text=True, timeout=20)
    return found.stdout


def subscribers(admin):
    answer = get(f"http://127.0.0.1:{admin}/metrics")
    return answer and re.search(r"^fantail_connections (\d+)", answer.read().decode(), re.M)[1]


def away(answer):
    if answer is None or answer.status != 200:
        return False
    return answer.headers["Access-Control-Allow-Origin"] == ORIGIN and answer.read() == b"retry: 3000\n\n"


def a_node_may_die(nodes):
    """A client reads through HAProxy; its node is killed; it resumes by its last id at the same address. Without any node, too, an
    EventSource is told to come back."""
    url = "http://127.0.0.1:8080/events/chat.lobby"
    answer = get(url, Origin=ORIGIN)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN, answer.headers
    reading = events(answer)
    redis("XADD", "sse:chat.lobby", "*", "data", "1")
    last, data = next(reading)
    assert data == "1"
    until("its node knows it", lambda: "1" in [subscribers(admin) for _, admin in PORTS.values()])
    (name,) = [name for name, (_, admin) in PORTS.items() if subscribers(admin) == "1"]
    nodes[name].kill()
    nodes[name].wait()
    for number in ("2", "3"):
        redis("XADD", "sse:chat.lobby", "*", "data", number)
    answer = get(url, **{"Last-Event-ID": last})
    assert answer and answer.status == 200, answer
    again = events(answer)
    assert [next(again)[1] for _ in range(2)] == ["2", "3"]
    assert status("http://127.0.0.1:8080/metrics") == 404
    for node in nodes.values():
        node.kill()
        node.wait()
    until("HAProxy knows that no node is left", lambda: away(get(url, Origin=ORIGIN)))


def main():
    children, results = [], {}
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        services = read(place)
        checks = {
            "compose_is_whole": lambda: paths_exist(services),
            "compose_survives_a_node": lambda: a_node_may_die(started(services, sys.argv[1], place, children)),
        }
        for name, check in checks.items():
            try:
                check()
                results[name] = True
            except (AssertionError, OSError) as error:
                print(f"{name}: {error}")
                results[name] = False
            print(f"test docs::{name} ... {'ok' if results[name] else 'FAILED'}")
        for child in children:
            child.kill()
            child.wait()
    failed = list(results.values()).count(False)
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(results) - failed} passed; {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
