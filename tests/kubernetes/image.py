"""The pod as it would run: the image of the unmodified Dockerfile, run with the user, mounts, environment, arguments and
limits that the chart renders, against a real Redis that it finds by name.

Usage: image.py FOLDER [CASE...], in a network namespace of its own; FOLDER is image_build.py's.
"""

import json
import pathlib
import subprocess
import sys
import time

import clients
from chart_files import render, the
from containers import FILES, Containers, Names, always
from image_build import NAME
from machinery import Place, Redis, get
from suite import case, eventually, run

FOLDER = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
PLACE = Place()
LARGEST = 30 << 20
SUBSCRIBERS = 200
PASSWORD = "p%40ss-w0rd"
# Short, so that the test is; the sums are the chart's.
SHUTDOWN = {"preStopSeconds": 3, "drainDelaySeconds": 3, "drainSeconds": 10, "marginSeconds": 10}
HOST = "redis.data.svc.cluster.local"


class World:
    """What the cases share."""


def pod_of(kind, values):
    found = the(render(values), kind)
    return found["spec"]["template"]["spec"] if kind == "Deployment" else found["spec"]


def values(**more):
    return {
        "redis": {"existingSecret": {"name": "redis-url"}, "passwordSecret": {"name": "redis-password"}},
        "service": {"port": 8080},
        "shutdown": SHUTDOWN,
        **more,
    }


def ready():
    return get("http://127.0.0.1:9090/readyz")[0] == 200


def sample(name):
    for line in get("http://127.0.0.1:9090/metrics")[1].splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return None


def certificate():
    """A certificate of the name events.example.org and its authority, which is itself no server's."""
    folder = PLACE.path / "tls"
    folder.mkdir()
    ask = lambda *words: subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ask("req", "-x509", *new, "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
    ask("req", *new, "-subj", "/CN=events", "-keyout", "tls.key", "-out", "tls.csr")
    (folder / "names").write_text("subjectAltName=DNS:events.example.org\n")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    ask("x509", "-req", "-in", "tls.csr", *signed, "-out", "tls.crt")
    return {file: (folder / file).read_text() for file in ("ca.crt", "tls.crt", "tls.key")}


@case
def the_image_has_the_binary_and_certificates_and_nothing_else():
    World.redis = Redis(PLACE)
    World.redis.ask("CONFIG", "SET", "requirepass", PASSWORD)
    World.names = Names([HOST, "fantail.events.svc.cluster.local"])
    tls = certificate()
    secrets = {
        "redis-url": {"url": f"redis://redis.data:{World.redis.port}"},
        "redis-password": {"password": PASSWORD + "\n"},
        "events-tls": tls,
    }
    World.containers = Containers(FOLDER, secrets)
    image = json.loads(World.containers.ask("image", "inspect", NAME))[0]
    config = image["Config"]
    print(f"{image['Size'] / 1e6:.1f} MB")
    assert image["Size"] < LARGEST, image["Size"]
    assert config["User"] == "65532:65532" and config["StopSignal"] == "SIGTERM", config
    assert config["Entrypoint"] == ["/fantail"] and "org.opencontainers.image.version" in config["Labels"], config
    assert image["Healthcheck"]["Test"] == ["CMD", "/fantail", "check", "--live"], image["Healthcheck"]
    archive = PLACE.path / "image.tar"
    container = World.containers.ask("create", "--pull=never", NAME)
    World.containers.ask("export", "-o", archive, container)
    World.containers.ask("rm", container)
    listed = subprocess.run(["tar", "tf", archive], check=True, capture_output=True, text=True).stdout.split()
    assert {each for each in listed if not each.endswith("/")} == {"fantail", "etc/ssl/certs/ca-certificates.crt"}, (
        listed
    )
    assert (
        "no such file" in World.containers.ask("run", "--rm", *always(), "--entrypoint=/bin/sh", NAME, code=127).lower()
    )


@case
def the_pod_becomes_ready_as_the_chart_runs_it():
    World.pod = pod_of("Deployment", values())
    World.node = World.containers.begin(World.pod)
    eventually("the node is ready", ready)
    # A node is ready before it has found Redis.
    eventually("Redis is found by its name", lambda: sample("fantail_backplane_up") == 1)
    assert HOST in World.names.asked and "redis.data.events.svc.cluster.local" in World.names.asked, World.names.asked
    pid = World.containers.ask("inspect", "--format={{.State.Pid}}", World.node)
    process = pathlib.Path("/proc", pid)
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65532"] * 4 and status["Gid"].split() == ["65532"] * 4, status
    assert int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0, status
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2", status
    root = next(line.split() for line in (process / "mountinfo").read_text().splitlines() if line.split()[4] == "/")
    assert "ro" in root[5].split(","), root
    # The few files that the runtime gives are raised to what it allows.
    limits = (process / "limits").read_text()
    assert f"Max open files            {FILES} " not in limits, limits
    assert sample("fantail_connection_limit") > 2 * FILES, sample("fantail_connection_limit")


@case
def events_come_in_and_go_out_by_the_charts_own_test():
    test = pod_of("Pod", values())
    for attempt in test["initContainers"]:
        World.containers.finish(test, attempt)
    assert "it works" in World.containers.finish(test, test["containers"][0])
    World.redis.ask("-a", PASSWORD, "--no-auth-warning", "XADD", "sse:news", "*", "data", "hello")
    reader = clients.subscribe(8080, "news?since=earliest")
    assert b"hello" in clients.read_until(reader, b"hello")
    # A node that is not there fails it.
    wrong = json.loads(json.dumps(test))
    for each in wrong["initContainers"][0]["env"]:
        if each["name"] == "FANTAIL_REDIS":
            each.update(value="redis://redis.nowhere:1")
            each.pop("valueFrom")
    World.containers.finish(wrong, wrong["initContainers"][0], code=1)


@case
def the_binary_is_its_own_health_check():
    assert "ok" in World.containers.ask("exec", World.node, "/fantail", "check", "--live")
    World.containers.ask("pause", World.node)
    try:
        # Of a paused container nothing can be run, so another one asks in its place.
        World.containers.ask("run", "--rm", *always(), NAME, "check", "--live", code=1)
    finally:
        World.containers.ask("unpause", World.node)


@case
def it_drains_within_the_grace_period_and_ends_with_0():
    crowd = [clients.subscribe(8080, "quiet") for _ in range(SUBSCRIBERS)]
    for each in crowd:
        clients.read_until(each, b"id: ")
    eventually("all are counted", lambda: (sample("fantail_connections") or 0) >= SUBSCRIBERS)
    # What the kubelet does: preStop, SIGTERM, and the kill when the grace period, which counts from the start, is over.
    begin, grace = time.monotonic(), World.pod["terminationGracePeriodSeconds"]
    assert grace == sum(SHUTDOWN.values())
    time.sleep(World.pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"])
    assert ready(), "preStop itself changes nothing"
    World.containers.ask("kill", "--signal=TERM", World.node)
    eventually("not ready", lambda: not ready())
    late = clients.subscribe(8080, "quiet")
    assert clients.status(late) == 200, "what balancers still send is taken"
    ended = []
    for each in crowd:
        each.settimeout(grace)
        while each.recv(65536):
            pass
        ended.append(time.monotonic())
    assert World.containers.ask("wait", World.node) == "0", World.containers.ask("logs", World.node)
    took = time.monotonic() - begin
    print(f"drained within {took:.1f} s of {grace} s, {SUBSCRIBERS} subscribers over {ended[-1] - ended[0]:.1f} s")
    assert took < grace, took
    World.containers.ask("rm", World.node)


@case
def the_charts_test_works_where_nodes_speak_tls():
    secured = values(
        tls={"enabled": True, "secretName": "events-tls"},
        test={"serverName": "events.example.org", "caSecret": {"name": "events-tls"}},
    )
    pod, test = pod_of("Deployment", secured), pod_of("Pod", secured)
    node = World.containers.begin(pod)
    eventually("the node is ready", ready)
    World.containers.finish(test, test["initContainers"][0])
    assert "it works" in World.containers.finish(test, test["containers"][0])
    World.containers.ask("kill", "--signal=TERM", node)
    assert World.containers.ask("wait", node) == "0"
    World.containers.ask("rm", node)


@case
def a_pod_that_asks_for_less_is_not_run():
    pod = json.loads(json.dumps(World.pod))
    pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False
    try:
        World.containers.arguments(pod, pod["containers"][0])
    except AssertionError:
        return
    raise AssertionError("a writable root was accepted")


if __name__ == "__main__":
    with PLACE:
        try:
            run("image", sys.argv[2:], course=True)
        finally:
            if hasattr(World, "containers"):
                World.containers.ask("rm", "--all", "--force", "--time=0")
