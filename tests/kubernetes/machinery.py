"""Servers for the tests: Redis, nodes, Prometheus, as processes on free ports of loopback."""

import json
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from chart_files import binary
from suite import eventually

TAKEN = set()


def free_port():
    """A port that was free a moment ago and that no other call gave."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in TAKEN:
            TAKEN.add(port)
            return port


def get(url, limit=10):
    """Status and text of an answer; status 0 where none came."""
    try:
        with urllib.request.urlopen(url, timeout=limit) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Place:
    """A folder that goes at the end, and every process that was started in it."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="fantail-"))
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                # A stopped process takes no other signal.
                process.kill()
            process.wait()
        shutil.rmtree(self.path, ignore_errors=True)

    def start(self, name, *command, env=None, **more):
        log = (self.path / f"{name}.log").open("a")
        process = subprocess.Popen(
            [str(each) for each in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, **more
        )
        self.processes.append(process)
        return process

    def log(self, name):
        return (self.path / f"{name}.log").read_text(errors="replace")[-3000:]


class Redis:
    def __init__(self, place, name="redis"):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        folder = place.path / name
        folder.mkdir()
        options = ["--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        self.process = place.start(name, "redis-server", *options)
        eventually("Redis answers", lambda: self.ask("PING") == "PONG")

    def ask(self, *words):
        found = subprocess.run(
            ["redis-cli", "-p", str(self.port), *map(str, words)], capture_output=True, text=True, timeout=60
        )
        return found.stdout.strip()


class Node:
    """A node of the release binary; its settings are environment variables, as in a pod."""

    def __init__(self, place, name, settings, **more):
        self.name, self.place, self.settings, self.more = name, place, dict(settings), more
        self.port, self.admin = free_port(), free_port()
        self.begin()

    def begin(self):
        env = {
            "FANTAIL_LISTEN": f"127.0.0.1:{self.port}",
            "FANTAIL_ADMIN_LISTEN": f"127.0.0.1:{self.admin}",
            **self.settings,
        }
        self.process = self.place.start(self.name, binary(), "serve", env=env, **self.more)
        eventually(f"{self.name} is ready", lambda: self.process.poll() is None and self.ready())

    def ready(self):
        return get(f"http://127.0.0.1:{self.admin}/readyz")[0] == 200

    def metrics(self):
        return get(f"http://127.0.0.1:{self.admin}/metrics")[1]

    def sample(self, name):
        """A sample's value, by its name with labels as they are in the exposition."""
        for line in self.metrics().splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return None

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def end(self, limit):
        """SIGTERM, and its exit code."""
        self.terminate()
        return self.process.wait(timeout=limit)


class Balancer:
    """HAProxy with empty servers, which are given addresses while it runs."""

    def __init__(self, place, slots):
        self.port, self.control, self.taken = free_port(), place.path / "haproxy.sock", {}
        servers = "\n".join(f"  server s{at} 127.0.0.1:1 disabled" for at in range(slots))
        config = place.path / "haproxy.cfg"
        config.write_text(
            f"""
global
  maxconn 8000
  stats socket {self.control} mode 600 level admin
defaults
  mode http
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  option http-no-delay
frontend clients
  bind 127.0.0.1:{self.port}
  default_backend nodes
backend nodes
  balance leastconn
{servers}
"""
        )
        place.start("haproxy", "haproxy", "-db", "-f", config)
        eventually("HAProxy listens", self.control.exists)
        self.free = list(range(slots))

    def tell(self, command):
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.control))
            control.sendall(command.encode() + b"\n")
            return control.makefile().read()

    def add(self, node):
        slot = self.taken[node.name] = self.free.pop(0)
        self.tell(f"set server nodes/s{slot} addr 127.0.0.1 port {node.port}")
        self.tell(f"set server nodes/s{slot} state ready")

    def remove(self, node):
        """No new connections; those that are there stay, as with a terminating endpoint."""
        self.tell(f"set server nodes/s{self.taken.pop(node.name)} state drain")


class Prometheus:
    """Debian's, scraping nodes each second."""

    def __init__(self, place, nodes, rules, *more):
        self.port = free_port()
        folder = place.path / "prometheus"
        folder.mkdir()
        (folder / "rules.yaml").write_text(rules)
        targets = [f"127.0.0.1:{node.admin}" for node in nodes]
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "2s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": "fantail", "static_configs": [{"targets": targets, "labels": {"namespace": "events"}}]}
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        place.start(
            "prometheus-server",
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *more,
        )
        eventually("Prometheus is ready", lambda: get(self.url("/-/ready"))[0] == 200)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def ask(self, path, **parameters):
        query = "&".join(f"{name}={urllib.request.quote(str(value))}" for name, value in parameters.items())
        status, text = get(self.url(f"/api/v1/{path}?{query}"), limit=60)
        assert status == 200, f"{parameters}: {text[:500]}"
        return json.loads(text)["data"]

    def series(self, query, begin, end=None, step=1):
        return self.ask("query_range", query=query, start=begin, end=end or time.time(), step=step)["result"]

    def firing(self):
        """Names of alerts that fire, with their labels."""
        return {
            each["labels"]["alertname"]: each["labels"]
            for each in self.ask("alerts")["alerts"]
            if each["state"] == "firing"
        }
