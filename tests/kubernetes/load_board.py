"""The load suite's dashboard on real metrics: k6 writes its own to a Prometheus that scrapes the node under its load.

Needs k6 built (`k6/run --build`), redis-server and Debian's prometheus.
"""

import os
import re
import subprocess
import sys
import time

from chart_files import ROOT, dashboards, queries
from machinery import Node, Place, Prometheus, Redis
from suite import case, eventually, run

PLACE = Place()
RUN = "board"


class World:
    """What the cases share."""


@case
def k6_writes_its_metrics_beside_the_nodes():
    redis = Redis(PLACE)
    node = Node(PLACE, "node", {"FANTAIL_REDIS": redis.url})
    World.prometheus = Prometheus(PLACE, [node], "groups: []\n", "--web.enable-remote-write-receiver")
    World.begin = time.time()
    settings = {
        "FANTAIL_URL": f"http://127.0.0.1:{node.port}",
        "REDIS_URL": redis.url,
        "RESULTS": str(PLACE.path / "results"),
        "PROFILE": "smoke",
        "SLACK": "60",
        "K6_PROMETHEUS_RW_SERVER_URL": World.prometheus.url("/api/v1/write"),
        "K6_PROMETHEUS_RW_TREND_STATS": "p(50),p(95),p(99),max",
        "K6_PROMETHEUS_RW_PUSH_INTERVAL": "1s",
    }
    # As k6/README.md says. Each stream is cut once, so that reconnects and resumes are there.
    command = [ROOT / "k6" / "run", "storm.js", "--out", "experimental-prometheus-rw", "--tag", f"testid={RUN}"]
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env={**os.environ, **settings}
    )
    assert found.returncode == 0, f"{found.returncode}: {found.stdout[-2000:]}{found.stderr[-2000:]}"
    assert "remote write" not in found.stderr.lower(), found.stderr[-2000:]


def plain(query):
    return re.sub(r"\$(namespace|job|instance)", ".*", query).replace("$testid", RUN).replace("$__rate_interval", "10s")


@case
def every_query_of_the_dashboard_has_samples():
    board, empty = dashboards()["k6"], []
    for title, query in queries(board):
        if "annotation" not in title and not World.prometheus.series(plain(query), World.begin):
            empty.append(f"{title}: {plain(query)}")
    # A drain and a lost Redis are not of this run; prometheus.py has those.
    assert not empty, "\n".join(empty)
    other = plain(queries_of("Streams")[0]).replace(RUN, "another")
    assert not World.prometheus.series(other, World.begin), "another run's name finds this one"


def queries_of(title):
    return [query for name, query in queries(dashboards()["k6"]) if name == title]


@case
def both_sides_saw_the_same_crowd():
    most = lambda query: max(float(value) for _, value in World.prometheus.series(query, World.begin)[0]["values"])
    k6, nodes = (most(plain(query)) for query in queries_of("Streams"))
    print(f"{k6:.0f} streams of k6, {nodes:.0f} subscribers of the node")
    assert k6 == 100 and 0 < nodes <= k6, (k6, nodes)
    # 20 events a second for 15 s to each, and the one that says the end.
    due = 100 * (20 * 15 + 1)
    eventually("k6 has written all", lambda: most(f'sum(k6_sse_events_total{{testid="{RUN}"}})') == due)
    eventually("all deliveries are scraped", lambda: most("sum(fantail_events_delivered_total)") >= due)
    lost = most(plain(queries_of("Lost, repeated, out of order")[0]))
    assert lost == 0, lost


if __name__ == "__main__":
    with PLACE:
        run("k6_board", sys.argv[1:], course=True)
