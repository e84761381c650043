"""A rolling restart as the chart would make it, with the chart's own environment and arithmetic: four nodes behind HAProxy,
whose servers change as Kubernetes' endpoints do, under 5,000 clients with a checker."""

import os
import socket
import sys
import threading
import time

from chart_files import environment, render, the
from crowd import Crowd
from machinery import Balancer, Node, Place, Redis
from suite import case, run

PLACE = Place()
CLIENTS = int(os.environ.get("FANTAIL_TEST_CLIENTS", "5000"))
NODES = 4
# Short, so that the test is; the sums are the chart's.
SHUTDOWN = {"preStopSeconds": 3, "drainDelaySeconds": 3, "drainSeconds": 20, "marginSeconds": 10}
# What endpoints take to reach the balancer.
PROPAGATION = 1.5


class World:
    """What the cases share."""


class Publisher(threading.Thread):
    """Numbers from 0 on, one each half second, by a plain XADD."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.redis, self.count, self.stop = redis, 0, threading.Event()

    def run(self):
        with socket.create_connection(("127.0.0.1", self.redis.port)) as connection:
            answers = connection.makefile("rb")
            while not self.stop.wait(0.5):
                words = [b"XADD", b"sse:rollout", b"*", b"data", str(self.count).encode()]
                connection.sendall(
                    b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
                )
                assert answers.readline().startswith(b"$")
                answers.readline()
                self.count += 1


def meanwhile(action, limit=600):
    """Serves the clients while `action` runs in a thread; its result."""
    result = []

    def body():
        try:
            result.append((True, action()))
        except BaseException as error:
            result.append((False, error))

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    World.crowd.run(lambda: bool(result), limit)
    good, value = result[0]
    if not good:
        raise value
    return value


def new_node(number):
    objects = render({"redis": {"url": "redis://redis"}, "shutdown": SHUTDOWN, "replicaCount": NODES})
    env = environment(objects)
    pod = the(objects, "Deployment")["spec"]["template"]["spec"]
    World.grace = pod["terminationGracePeriodSeconds"]
    World.pre_stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    env["FANTAIL_REDIS"] = World.redis.url
    del env["FANTAIL_LISTEN"], env["FANTAIL_ADMIN_LISTEN"]
    return Node(PLACE, f"node-{number}", env)


@case
def five_thousand_clients_connect():
    World.redis = Redis(PLACE)
    World.nodes = [new_node(number) for number in range(NODES)]
    World.balancer = Balancer(PLACE, 2 * NODES)
    for node in World.nodes:
        World.balancer.add(node)
    World.publisher = Publisher(World.redis)
    World.publisher.start()
    World.crowd = Crowd(World.balancer.port, "rollout", CLIENTS)
    World.crowd.run(lambda: World.crowd.open() == CLIENTS)
    counts = [node.sample("fantail_connections") for node in World.nodes]
    assert sum(counts) == CLIENTS and min(counts) > CLIENTS / NODES / 2, counts
    assert not World.crowd.faults, World.crowd.faults[:5]


def replace(old, number):
    """One step of a rollout: a new node first, then the old one's end. Returns the new one and the drain's times."""
    fresh = new_node(number)
    time.sleep(PROPAGATION)
    World.balancer.add(fresh)
    begin = time.monotonic()
    # Deletion: kubelet begins preStop at once, the balancer learns of it a little later.
    threading.Timer(PROPAGATION, World.balancer.remove, [old]).start()
    time.sleep(World.pre_stop)
    old.terminate()
    told = time.monotonic()
    code = old.process.wait(timeout=World.grace + 120)
    took = time.monotonic() - begin
    print(f"{old.name}: exit code {code} after {took:.1f} s of {World.grace} s", flush=True)
    assert code == 0, PLACE.log(old.name)
    assert took < World.grace, f"kubelet would have killed it: {took:.1f} s"
    return fresh, told + SHUTDOWN["drainDelaySeconds"]


@case
def a_rolling_restart_ends_every_node_in_time():
    World.windows = []
    for number in range(NODES):
        old = World.nodes[number]
        fresh, window = meanwhile(lambda: replace(old, NODES + number))
        World.windows.append(window)
        World.nodes[number] = fresh


@case
def nothing_was_lost_and_nobody_refused():
    World.publisher.stop.set()
    World.publisher.join()
    last = World.publisher.count - 1
    World.crowd.run(lambda: World.crowd.open() == CLIENTS and World.crowd.all_have(last), limit=120)
    print(f"{last + 1} events to {CLIENTS} clients, {World.crowd.reconnects} reconnects", flush=True)
    assert not World.crowd.faults, f"{len(World.crowd.faults)}: {World.crowd.faults[:5]}"
    assert World.crowd.reconnects >= CLIENTS, "everybody was on an old node"
    counts = [node.sample("fantail_connections") for node in World.nodes]
    assert sum(counts) == CLIENTS, counts


@case
def reconnects_are_spread_evenly_over_each_window():
    assert len(World.windows) == NODES
    length = SHUTDOWN["drainSeconds"]
    last = World.windows[-1] + length + SHUTDOWN["marginSeconds"]
    for begin, after in zip(World.windows, [*World.windows[1:], last]):
        # Up to the next node's window, so that none of its subscribers are counted here.
        ended = sorted(at for at in World.crowd.ended if begin - 1 < at < after - 1)
        # Without the first and last hundredth: a straggler says nothing of the pace.
        ended = ended[len(ended) // 100 : -len(ended) // 100]
        first, span = ended[0], ended[-1] - ended[0]
        # How far from a straight line, as a share of all: a machine that stands still for seconds makes it less even, and
        # an end of everybody at once is 1.
        off = max(abs(place / len(ended) - (at - first) / span) for place, at in enumerate(ended))
        print(f"{len(ended)} ended within {span:.1f} s, at most {off:.2f} of all off a straight line", flush=True)
        assert len(ended) > CLIENTS / NODES / 2 and span > length / 2, (len(ended), span)
        assert off < 0.3, off


@case
def the_checker_sees_a_lost_event():
    World.redis.ask("XADD", "sse:rollout", "*", "data", World.publisher.count + 1)
    World.crowd.run(lambda: World.crowd.faults, limit=60)
    assert "was due" in World.crowd.faults[0]
    World.crowd.close()


if __name__ == "__main__":
    with PLACE:
        run("rollout", sys.argv[1:], course=True)
