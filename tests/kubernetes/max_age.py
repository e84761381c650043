"""Measures how --max-age spreads subscribers after a scale-up: two nodes with all of them, then two more, behind HAProxy.

Writes docs/images/max-age.svg. Not a test: the curve in helm/README.md is its result. Usage: max_age.py [SECONDS]
"""

import sys
import time

from chart_files import ROOT
from crowd import Crowd
from machinery import Balancer, Node, Place, Redis
from pictures import draw

CLIENTS = 1000
AGE = int(sys.argv[1]) if len(sys.argv) > 1 else 60


def measure(place):
    """Seconds since the scale-up, and subscribers of each node."""
    redis = Redis(place)
    env = {"FANTAIL_REDIS": redis.url, "FANTAIL_MAX_AGE": f"{AGE}s"}
    nodes = [Node(place, f"node-{at}", env) for at in range(4)]
    balancer = Balancer(place, 4)
    for node in nodes[:2]:
        balancer.add(node)
    crowd = Crowd(balancer.port, "spread", CLIENTS)
    # As in a cluster that has run for a while: ages are spread already.
    crowd.run(lambda: crowd.open() > 0.8 * CLIENTS, pace=CLIENTS / AGE)
    samples, begin = [], time.monotonic()

    def look():
        now = time.monotonic() - begin
        if not samples or now >= samples[-1][0] + 1:
            samples.append((now, [node.sample("fantail_connections") for node in nodes]))
        if len(balancer.taken) == 2 and now > AGE / 4:
            for node in nodes[2:]:
                balancer.add(node)
        return now > 2 * AGE

    crowd.run(look)
    assert not crowd.faults, crowd.faults[:5]
    return [(at - AGE / 4, counts) for at, counts in samples]


if __name__ == "__main__":
    with Place() as place:
        found = measure(place)
    for at, counts in found:
        print(f"{at:7.1f} s  {counts}")
    (ROOT / "docs" / "images").mkdir(exist_ok=True)
    lines = [(f"node {number}", [(at / AGE, counts[number]) for at, counts in found]) for number in range(4)]
    text = draw(
        "Subscribers of each node", "", lines, "time since the scale-up, in maximum ages", [(0, "two nodes more")]
    )
    (ROOT / "docs" / "images" / "max-age.svg").write_text(text)
