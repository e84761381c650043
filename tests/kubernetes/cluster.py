"""The chart on a real control plane: etcd, kube-apiserver, controller-manager and scheduler from their Go modules, with
machines and pods that kwok plays. Containers, probes and the network are not there; `image` and `rollout` have those.

Usage: cluster.py FOLDER [CASE...]; FOLDER has the programs.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import yaml
from chart_files import CHART, EXAMPLES, ROOT
from crds import CRDS, module
from machinery import Place, free_port
from suite import case, eventually, run

BIN = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
PLACE = Place()
MACHINES = 4
# A node that is played is ready at once; how long real ones are watched is no matter here.
SOON = ["--set", "rollout.minReadySeconds=1"]


class World:
    """What the cases share."""


def ok(*command, fails=False, **more):
    """Runs a program; its output. It must succeed, or fail where that is wanted."""
    env = {**os.environ, "KUBECONFIG": str(World.kubeconfig), "HOME": str(PLACE.path)}
    found = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, timeout=400, env=env, **more
    )
    text = found.stdout + found.stderr
    assert (found.returncode != 0) == fails, f"{' '.join(map(str, command))}: {found.returncode}\n{text[-3000:]}"
    return text


def kubectl(*words, **more):
    return ok(BIN / "kubectl", *words, **more)


def helm(*words, **more):
    return ok(BIN / "helm", *words, **more)


def objects(kind, *words):
    return json.loads(kubectl("get", kind, "-o", "json", *words))["items"]


def apply(*documents, **more):
    return kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(documents), **more)


STAGES = [
    "kustomize/stage/node/fast/node-initialize.yaml",
    "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "kustomize/stage/pod/fast/pod-ready.yaml",
    "kustomize/stage/pod/fast/pod-complete.yaml",
    "kustomize/stage/pod/fast/pod-delete.yaml",
]
# A test pod that runs has done its work.
TESTED = {
    "apiVersion": "kwok.x-k8s.io/v1alpha1",
    "kind": "Stage",
    "metadata": {"name": "helm-test-complete"},
    "spec": {
        "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
        "selector": {
            "matchExpressions": [
                {"key": '.metadata.annotations["helm.sh/hook"]', "operator": "In", "values": ["test"]},
                {"key": ".status.phase", "operator": "In", "values": ["Running"]},
            ]
        },
        "next": {"statusTemplate": "phase: Succeeded\n"},
    },
}


def start_etcd():
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    PLACE.start(
        "etcd",
        BIN / "etcd",
        "--data-dir",
        PLACE.path / "etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    )
    return client


def start_api_server(etcd):
    key, tokens, port = PLACE.path / "sa.key", PLACE.path / "tokens.csv", free_port()
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    tokens.write_text("token,admin,admin,system:masters\n")
    certificates = PLACE.path / "certificates"
    PLACE.start(
        "kube-apiserver",
        BIN / "kube-apiserver",
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={certificates}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",
    )
    World.kubeconfig = PLACE.path / "kubeconfig"
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(certificates / "apiserver.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": "token"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
        "current-context": "here",
    }
    World.kubeconfig.write_text(yaml.safe_dump(config))
    eventually("the API server is ready", lambda: ready(), limit=300)
    return key, certificates


def ready():
    found = subprocess.run(
        [BIN / "kubectl", "--kubeconfig", World.kubeconfig, "get", "--raw", "/readyz"], capture_output=True, text=True
    )
    return found.stdout == "ok"


def start_controllers(key, certificates):
    common = [f"--kubeconfig={World.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1"]
    PLACE.start(
        "kube-controller-manager",
        BIN / "kube-controller-manager",
        *common,
        f"--service-account-private-key-file={key}",
        f"--root-ca-file={certificates / 'apiserver.crt'}",
        f"--secure-port={free_port()}",
        f"--cert-dir={PLACE.path / 'controller'}",
        "--controllers=*,-node-ipam-controller",
    )
    PLACE.start(
        "kube-scheduler",
        BIN / "kube-scheduler",
        *common,
        f"--authentication-kubeconfig={World.kubeconfig}",
        f"--authorization-kubeconfig={World.kubeconfig}",
        f"--secure-port={free_port()}",
        f"--cert-dir={PLACE.path / 'scheduler'}",
    )


def start_machines():
    kwok = module("sigs.k8s.io/kwok@v0.8.0")
    stages = "\n---\n".join([(kwok / path).read_text() for path in STAGES] + [yaml.safe_dump(TESTED)])
    (PLACE.path / "stages.yaml").write_text(stages)
    PLACE.start(
        "kwok",
        BIN / "kwok",
        f"--kubeconfig={World.kubeconfig}",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        f"--config={PLACE.path / 'stages.yaml'}",
    )
    room = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    for number in range(MACHINES):
        name = f"machine-{number}"
        labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number % 2}"}
        apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        status = json.dumps({"status": {"allocatable": room, "capacity": room}})
        kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", status)
    # A disk for the Redis to try out: nothing makes one here.
    disk = {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/disk"}}
    apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": disk})
    eventually("machines are ready", lambda: all(is_ready(each) for each in objects("nodes")))


def is_ready(thing):
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in thing.get("status", {}).get("conditions", [])
    )


def namespace(name):
    """A new namespace, in which only restricted pods may be, with the Secrets that examples name."""
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": enforced}})
    eventually("its account", lambda: objects("serviceaccounts", "-n", name))
    for secret in ("fantail-redis-url", "fantail-redis-password", "redis-ca", "events-tls", "fantail-test-token"):
        data = {"url": "redis://redis", "password": "p", "ca.crt": "c", "tls.crt": "c", "tls.key": "k", "token": "t"}
        apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": name}, "stringData": data}
        )
    return name


def endpoints(here, service):
    """The addresses to which that Service sends clients."""
    pieces = objects("endpointslices", "-n", here, "-l", f"app.kubernetes.io/component={service}")
    found = [each for piece in pieces for each in piece.get("endpoints") or []]
    return {address for each in found if each["conditions"].get("ready") for address in each["addresses"]}


@case
def a_control_plane_starts():
    key, certificates = start_api_server(start_etcd())
    start_controllers(key, certificates)
    start_machines()
    for name, path in CRDS:
        kubectl("apply", "--server-side", "-f", module(name) / path)
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
    print(kubectl("version").strip().splitlines()[-1])


@case
def every_example_is_installed_tested_upgraded_rolled_back_and_removed():
    assert len(EXAMPLES) >= 7
    for path in EXAMPLES:
        here = namespace(f"example-{path.stem}")
        # No field that this API server does not know; Helm itself would let one pass.
        rendered = helm("template", "fantail", str(CHART), "-n", here, "-f", path)
        strict = ["--server-side", "--dry-run=server", "--validate=strict", "-n", here, "-f", "-"]
        assert "deployment.apps/fantail" in kubectl("apply", *strict, input=rendered)
        wrong = rendered.replace("seccompProfile", "seccomp")
        assert "not declared in schema" in kubectl("apply", *strict, input=wrong, fails=True)
        common = ["fantail", str(CHART), "-n", here, "-f", path, *SOON, "--wait", "--timeout=5m"]
        helm("install", *common)
        pods = objects("pods", "-n", here, "-l", "app.kubernetes.io/component=node")
        wanted = objects("deployments", "-n", here)[0]["spec"]["replicas"]
        assert len(pods) == wanted and all(is_ready(pod) for pod in pods), path.name
        # Helm waits for pods; the controller that lists them follows.
        for service in ("clients", "admin"):
            eventually(f"{path.name}: each node at {service}", lambda: len(endpoints(here, service)) == wanted)
        assert "Succeeded" in helm("test", "fantail", "-n", here, "--timeout=3m"), path.name
        template = lambda: objects("deployments", "-n", here)[0]["spec"]["template"]
        before = template()
        helm("upgrade", *common, "--set", "settings.heartbeat=20s")
        assert "20s" in json.dumps(template()), path.name
        helm("rollback", "fantail", "1", "-n", here, "--wait", "--timeout=5m")
        assert template() == before, path.name
        helm("uninstall", "fantail", "-n", here, "--wait", "--timeout=5m")
        left = kubectl(
            "get",
            "all,configmaps,secrets,networkpolicies,ingresses,pdb,hpa",
            "-n",
            here,
            "-l",
            "app.kubernetes.io/instance=fantail",
            "-o",
            "name",
        )
        # Helm leaves the test's pod, with its log.
        assert left.split() == ["pod/fantail-test"], left


@case
def an_upgrade_leaves_the_count_to_the_autoscaler():
    here = namespace("scaled")
    common = [
        "fantail",
        str(CHART),
        "-n",
        here,
        "-f",
        CHART / "examples" / "hpa-ingress.yaml",
        *SOON,
        "--wait",
        "--timeout=5m",
    ]
    helm("install", *common)
    kubectl("scale", "deployment/fantail", "--replicas=5", "-n", here)
    kubectl("rollout", "status", "deployment/fantail", "-n", here, "--timeout=120s")
    helm("upgrade", *common, "--set", "settings.heartbeat=20s")
    assert objects("deployments", "-n", here)[0]["spec"]["replicas"] == 5
    zones = {pod["spec"]["nodeName"] for pod in objects("pods", "-n", here, "-l", "app.kubernetes.io/component=node")}
    assert len(zones) == MACHINES, f"spread over {zones}"


@case
def evictions_keep_to_the_budget():
    here = "scaled"
    pods = [pod["metadata"]["name"] for pod in objects("pods", "-n", here, "-l", "app.kubernetes.io/component=node")]

    def evict(name, **more):
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": here}}
        path = f"/api/v1/namespaces/{here}/pods/{name}/eviction"
        return kubectl("create", "--raw", path, "-f", "-", input=json.dumps(body), **more)

    # Nothing that goes comes back ready, so the budget of one stays used up.
    for machine in objects("nodes"):
        kubectl("cordon", machine["metadata"]["name"])
    eventually("the budget is known", lambda: objects("pdb", "-n", here)[0]["status"].get("disruptionsAllowed") == 1)
    evict(pods[0])
    eventually("the budget is used up", lambda: objects("pdb", "-n", here)[0]["status"]["disruptionsAllowed"] == 0)
    assert "disruption budget" in evict(pods[1], fails=True)
    for machine in objects("nodes"):
        kubectl("uncordon", machine["metadata"]["name"])
    eventually("the budget is back", lambda: objects("pdb", "-n", here)[0]["status"]["disruptionsAllowed"] == 1)
    evict(pods[1])


@case
def a_rollout_keeps_all_nodes_ready():
    here = "scaled"
    kubectl("rollout", "restart", "deployment/fantail", "-n", here)
    fewest, end = 99, time.monotonic() + 300
    while True:
        status = objects("deployments", "-n", here)[0]["status"]
        fewest = min(fewest, status.get("readyReplicas", 0))
        done = status.get("updatedReplicas") == 5 and status["replicas"] == 5 and status.get("availableReplicas") == 5
        if done and status["observedGeneration"] >= 2:
            break
        assert time.monotonic() < end, status
    assert fewest >= 5, f"down to {fewest} ready nodes"


@case
def the_load_suite_runs_as_a_job():
    here = namespace("load")
    kubectl("apply", "--server-side", "-n", here, "-f", ROOT / "k6" / "kubernetes" / "job.yaml")
    kubectl("wait", "--for=condition=complete", "job/fantail-k6", "-n", here, "--timeout=120s")


@case
def wrong_objects_are_refused():
    here = namespace("wrong")
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": here}}
    bare["spec"] = {"containers": [{"name": "c", "image": "i"}]}
    assert "restricted" in apply(bare, fails=True)
    refused = helm("install", "fantail", str(CHART), "-n", here, "--set", "replicaCount=0", fails=True)
    assert "replicaCount" in refused and not objects("deployments", "-n", here)
    minimal = ["-n", here, "--set", "redis.url=redis://r"]
    refused = helm("install", "fantail", str(CHART), *minimal, "--set", "shutdown.gracePeriodSeconds=10", fails=True)
    assert "is too short" in refused
    # CEL rules and strict fields of the CRDs.
    route = yaml.safe_load(
        helm(
            "template",
            "fantail",
            str(CHART),
            *minimal,
            "-s",
            "templates/http-route.yaml",
            "--set",
            "gateway.enabled=true",
            "--set",
            "gateway.parentRefs[0].name=g",
        )
    )
    dry = ["--dry-run=server", "--validate=strict"]
    kubectl("create", *dry, "-f", "-", input=yaml.safe_dump(route))
    route["spec"]["rules"][0]["timeouts"] = {"request": "1s", "backendRequest": "2s"}
    assert "backendRequest" in kubectl("create", *dry, "-f", "-", input=yaml.safe_dump(route), fails=True)
    route["spec"]["rules"][0]["timeouts"] = {"requests": "1s"}
    assert "unknown field" in kubectl("create", *dry, "-f", "-", input=yaml.safe_dump(route), fails=True)
    twice = ["--set-json", 'extraEnv=[{"name":"A","value":"1"},{"name":"A","value":"2"}]']
    assert helm("install", "fantail", str(CHART), *minimal, *twice, fails=True)


if __name__ == "__main__":
    with PLACE:
        run("kubernetes", sys.argv[2:], course=True)
