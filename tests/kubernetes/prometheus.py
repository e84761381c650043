"""Dashboards and alerts on real metrics: a Prometheus scrapes nodes under the loadtest, then under faults.

One course of events, in the order of the cases: load, questions, faults.
"""

import os
import re
import signal
import sys
import time
import urllib.request

import clients
import yaml
from chart_files import RULES, binary, dashboards, panels, queries, rules
from machinery import Node, Place, Prometheus, Redis
from pictures import draw
from suite import case, eventually, run

PLACE = Place()
# Scraped each second, so that a rate needs no more.
INTERVAL = "30s"


class World:
    """What the cases share."""


def quick(text):
    """The rules with short waits: what an alert says is tested here, how long it waits by promtool."""
    text = re.sub(r"for: \w+", "for: 2s", text)
    text = re.sub(r"interval: \w+", "interval: 2s", text)
    return text.replace(":15s]", ":2s]").replace("+ 45", "+ 4")


def plain(query):
    return re.sub(r"\$(namespace|job|instance)", ".*", query).replace("$__rate_interval", INTERVAL)


@case
def nodes_under_load_are_scraped():
    World.redis = Redis(PLACE)
    common = {
        "FANTAIL_REDIS": World.redis.url,
        "FANTAIL_DRAIN": "300s",
        "FANTAIL_PUBLISH": "on",
        "FANTAIL_COMPRESS": "on",
    }
    World.nodes = [Node(PLACE, name, common) for name in ("a", "b", "c")]
    World.full = Node(PLACE, "full", {**common, "FANTAIL_MAX_CONNECTIONS": "10"})
    World.begin, World.marks = time.time(), []
    World.names = {f"127.0.0.1:{node.admin}": node.name for node in (*World.nodes, World.full)}
    World.prometheus = Prometheus(PLACE, [*World.nodes, World.full], quick(RULES.read_text()))
    eventually("four nodes are scraped", lambda: len(World.prometheus.ask("query", query="up == 1")["result"]) == 4)

    loadtest = binary().removesuffix("fantail") + "loadtest"
    options = [
        "--without-floor",
        "--no-pin",
        "-n",
        "500",
        "--rate",
        "40",
        "--seconds",
        "20",
        "--redis",
        World.redis.url,
    ]
    load = PLACE.start("load", loadtest, "fanout", "--url", f"http://127.0.0.1:{World.nodes[0].port}", *options)
    # Meanwhile: publishing over HTTP, resumes from memory, and a client that asks for too much.
    port = World.nodes[1].port
    reader = clients.subscribe(port, "news")
    clients.read_until(reader, b"id: ")
    World.compressed = clients.subscribe(port, "news", gzip=True)
    clients.read_until(World.compressed, b"gzip")
    for at in range(5):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/events/news", data=b"hello %d" % at, method="POST")
        answer = urllib.request.urlopen(request, timeout=30).read().decode()
    last = re.search(r"(\d+-\d+)", answer).group(1)
    clients.read_until(reader, b"hello 4")
    for _ in range(3):
        clients.read_until(clients.subscribe(port, "news", last=last), b"id: ")
    assert clients.status(clients.subscribe(port, "a%20b")) == 400
    assert load.wait(timeout=180) == 0, PLACE.log("load")


@case
def an_alert_does_not_fire_without_a_cause():
    # Two evaluations after the load, with everything well.
    first = World.prometheus.ask("query", query="job:fantail_connections:sum")["result"]
    assert first, "no rule was evaluated"
    assert not World.prometheus.firing(), World.prometheus.firing()


@case
def a_full_node_refuses_and_says_so():
    World.crowd = [clients.subscribe(World.full.port, "news") for _ in range(10)]
    for each in World.crowd:
        clients.read_until(each, b"id: ")
    eventually("near the limit", lambda: "FantailNearLimit" in World.prometheus.firing())
    end = time.monotonic() + 120
    while "FantailRefusals" not in World.prometheus.firing():
        assert time.monotonic() < end, "refusals do not show"
        for _ in range(10):
            assert clients.status(clients.subscribe(World.full.port, "news")) == 503
        time.sleep(0.5)
    assert World.prometheus.firing()["FantailRefusals"]["reason"] == "node_full"


@case
def a_gap_shows():
    first = World.redis.ask("XADD", "sse:old", "*", "data", "0")
    for at in range(20):
        World.redis.ask("XADD", "sse:old", "*", "data", at)
    World.redis.ask("XTRIM", "sse:old", "MAXLEN", 1)
    client = clients.subscribe(World.nodes[1].port, "old", last=first)
    assert b"trimmed" in clients.read_until(client, b"fantail.gap") + client.recv(4096)
    eventually("the gap's alert", lambda: World.prometheus.firing().get("FantailGaps", {}).get("reason") == "trimmed")


@case
def a_storm_shows():
    World.marks.append((time.time() - World.begin, "storm"))
    # 20 arrivals per second over two minutes are 2,400.
    end = time.monotonic() + 240
    while "FantailReconnectStorm" not in World.prometheus.firing():
        assert time.monotonic() < end, "the storm does not show"
        for _ in range(300):
            client = clients.subscribe(World.nodes[1].port, "news")
            clients.status(client)
            client.close()


@case
def a_lost_redis_shows_and_comes_back():
    World.marks.append((time.time() - World.begin, "Redis stops"))
    World.redis.process.send_signal(signal.SIGSTOP)
    eventually("Redis is missed", lambda: "FantailRedisUnreachable" in World.prometheus.firing())
    World.redis.process.send_signal(signal.SIGCONT)
    eventually("Redis is back", lambda: "FantailRedisUnreachable" not in World.prometheus.firing())


@case
def what_the_operators_listener_and_redis_refuse_shows():
    grows = lambda name: World.prometheus.ask("query", query=f"sum(rate({name}[{INTERVAL}])) > 0")["result"]
    # A name that a web page may have given to this address.
    stranger = clients.ask(World.nodes[0].admin, "/status", host="console.example.com")
    assert clients.status(stranger) == 403
    eventually("refusals of the operators' listener", lambda: grows("fantail_admin_refused_total"))
    World.redis.ask("CONFIG", "SET", "maxmemory", 1)
    eventually("refusals of Redis", lambda: grows("fantail_backplane_refused_total"))
    World.redis.ask("CONFIG", "SET", "maxmemory", 0)


@case
def a_drain_that_is_cut_short_shows():
    node = World.nodes[2]
    World.crowd += [clients.subscribe(node.port, "news") for _ in range(400)]
    eventually("all are there", lambda: node.sample("fantail_connections") == 400)
    node.terminate()
    seen = f'fantail_drain_end_timestamp_seconds{{instance="127.0.0.1:{node.admin}"}} > 0'
    eventually("the drain is scraped", lambda: World.prometheus.ask("query", query=seen)["result"])
    World.marks.append((time.time() - World.begin, "c is killed"))
    node.process.kill()
    instance = f"127.0.0.1:{node.admin}"
    shown = lambda name: World.prometheus.firing().get(name, {}).get("instance") == instance
    eventually("the node is missed", lambda: shown("FantailNodeDown"))
    eventually("its drain was cut short", lambda: shown("FantailDrainCutShort"))


@case
def every_query_of_every_panel_has_samples():
    empty = []
    for name, board in dashboards().items():
        for title, query in queries(board):
            # Of a run of k6, which is not here: load_board.py.
            if "testid" not in query and not World.prometheus.series(plain(query), World.begin):
                empty.append(f"{name}: {title}: {plain(query)}")
    assert not empty, "\n".join(empty)


# Rules whose queries have no samples on these nodes, and why.
WITHOUT_SAMPLES = {
    "FantailAbsent": "it has one only where no node is scraped",
    "FantailShardDown": "this Redis is no Cluster",
    "FantailFollowerStalled": "it takes a Redis that answers the probe and no reads",
    "FantailDeliveryLag": "nothing was that slow",
    "FantailHistoryShort": "every followed stream has its history",
    "FantailEvictions": "every reader reads",
    "FantailUneven": "it takes five hundred subscribers more on one node",
    "FantailCertificateEnds": "these nodes speak no TLS",
}


@case
def every_rule_has_samples_or_a_reason():
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        query = yaml.safe_load(quick(yaml.safe_dump(rule)))["expr"]
        if not World.prometheus.series(query, World.begin):
            assert name in WITHOUT_SAMPLES, f"{name}: {query}"
            # Without its comparisons it must have some: the metrics exist, and the labels meet.
            bare = re.split(
                r" (?:>|<|==) ", query.removeprefix("absent(").removesuffix(")") if name == "FantailAbsent" else query
            )[0]
            bare = bare.removeprefix("(") if bare.count("(") > bare.count(")") else bare
            assert World.prometheus.series(bare, World.begin), f"{name}: {bare}"


@case
def every_metric_is_known_and_listed():
    names = set(World.prometheus.ask("label/__name__/values"))
    base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if name.startswith(("fantail_", "process_"))}
    listed = set(re.findall(r"^\| `([a-z0-9_]+)", (RULES.parents[2] / "docs" / "reference" / "metrics.md").read_text(), re.M))
    assert len(base) > 30, base
    assert base == listed, f"exported and not listed: {base - listed}; listed and not exported: {listed - base}"
    used = set()
    for board in dashboards().values():
        for _, query in queries(board):
            used |= set(re.findall(r"\b((?:fantail|process)_[a-z0-9_]+)\{", query))
    for rule in rules():
        used |= set(re.findall(r"\b((?:fantail|process)_[a-z0-9_]+)\{", rule["expr"]))
    unknown = {name for name in used if name not in names}
    assert len(used) > 30 and not unknown, f"used and not exported: {unknown}"


# Panels that docs/kubernetes.md shows: dashboard, title, file, unit.
SHOWN = [
    ("overview", "Subscribers by node", "subscribers", ""),
    ("overview", "Deliveries by node", "deliveries", "/s"),
    ("overview", "Delivery lag", "delivery-lag", " s"),
    ("redis", "Follower without an answer", "follower", " s"),
]


@case
def pictures_of_main_panels_can_be_drawn():
    for name, title, file, unit in SHOWN:
        panel = next(panel for panel in panels(dashboards()[name]) if panel["title"] == title)
        lines = []
        for target in panel["targets"]:
            for series in World.prometheus.series(plain(target["expr"]), World.begin):
                points = [
                    (float(at) - World.begin, float(value))
                    for at, value in series["values"]
                    if value not in ("NaN", "+Inf")
                ]
                legend = re.sub(
                    r"{{(\w+)}}", lambda found: series["metric"].get(found.group(1), ""), target["legendFormat"]
                )
                lines.append((World.names.get(legend, legend), points))
        text = draw(f"{title}", unit, [line for line in lines if len(line[1]) > 1], "seconds of the test", World.marks)
        assert text.count("<polyline") >= 1, title
        if os.environ.get("FANTAIL_TEST_PICTURES"):
            (RULES.parents[2] / "docs" / "images" / f"{file}.svg").write_text(text)


if __name__ == "__main__":
    with PLACE:
        run("prometheus", sys.argv[1:], course=True)
