"""The chart, the load suite's objects, and the Dockerfiles: what needs no server. Dashboards and alerts: watching.py."""

import collections
import copy
import json
import pathlib
import re
import shlex
import sys

import crds
import helm_python
import kubernetes_validate
import yaml
from chart_files import (
    CHART,
    EXAMPLES,
    MINIMAL,
    ROOT,
    binary,
    environment,
    example,
    merged,
    notes,
    pod_specs,
    program,
    render,
    the,
)
from suite import case, run

TOOLS = pathlib.Path(sys.executable).parent
VERSIONS = ["1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
# Kinds whose schemas are not Kubernetes' own.
FOREIGN = {"HTTPRoute", "ServiceMonitor", "PrometheusRule", "ScaledObject"}
K6 = ROOT / "k6" / "kubernetes"
# Fields of k6-operator's TestRun and of its pods, which have no module to take their definition from.
TEST_RUN = {"parallelism", "script", "arguments", "cleanup", "runner", "starter", "initializer"}
TEST_POD = {"image", "automountServiceAccountToken", "securityContext", "containerSecurityContext", "resources", "env"}


@case
def every_example_renders_and_lints():
    assert len(EXAMPLES) >= 6
    for path in EXAMPLES:
        assert the(render(example(path)), "Deployment"), path.name
        found = helm_python.lint(str(CHART), example(path))
        assert "ERROR" not in json.dumps(found), f"{path.name}: {found}"


PAGES = ("README.md", "docs/quickstart.md", "docs/kubernetes.md", "helm/README.md")


HPA = CHART / "examples" / "hpa-ingress.yaml"


def metric_of(path):
    """What the HPA of an example asks pods for."""
    metrics = the(render(example(path)), "HorizontalPodAutoscaler")["spec"]["metrics"]
    (name,) = [each["pods"]["metric"]["name"] for each in metrics if each["type"] == "Pods"]
    return name


def settings_of(words):
    """The values that `-f` and `--set` of a `helm install` give."""
    values = {}
    for option, what in zip(words, words[1:]):
        if option == "-f":
            values = merged(values, example(ROOT / what))
        elif option == "--set":
            path, value = what.split("=", 1)
            for key in reversed(path.split(".")):
                value = {key: yaml.safe_load(value) if isinstance(value, str) else value}
            values = merged(values, value)
    return values


@case
def what_pages_say_to_install_renders():
    """Each `helm install` of the documentation is of this chart, and with values that it has."""
    commands = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            commands += [each.strip() for line in lines for each in line.split("&&") if "helm install " in each]
    assert len(commands) >= 4, commands
    for command in commands:
        words = shlex.split(command)
        assert words[:4] == ["helm", "install", "fantail", "./helm"], command
        assert the(render(settings_of(words)), "Deployment"), command
    text = (ROOT / "docs/kubernetes.md").read_text()
    named = re.findall(r"kubectl apply -f (\S+)|docker build -t \S+ ([^\s`]+)", text)
    assert len(named) >= 3 and all((ROOT / (file or folder)).exists() for file, folder in named), named
    (rule,) = yaml.safe_load(re.search(r"```yaml\n(.*?seriesQuery.*?)```", text, re.DOTALL).group(1))["rules"]
    assert rule["seriesQuery"].split("{")[0] == rule["name"]["matches"] == metric_of(HPA), rule
    retry = yaml.safe_load(re.search(r"```yaml\n(gateway:.*?)```", text, re.DOTALL).group(1))
    gateway = {"gateway": {"enabled": True, "parentRefs": [{"name": "public"}]}}
    route = the(render(merged(merged(MINIMAL, gateway), retry)), "HTTPRoute")
    assert "retry" in route["spec"]["rules"][0], route
    switches = settings_of(re.search(r"`(--set serviceMonitor.*?)`", text).group(1).split())
    kinds = {each["kind"] for each in render(merged(MINIMAL, switches))}
    assert {"ServiceMonitor", "PrometheusRule", "ConfigMap"} <= kinds, kinds


WRONG = [
    # Refused by the schema: the message names the value.
    ({"replicaCount": 0}, "replicaCount"),
    ({"replicaCont": 3}, "replicaCont"),
    ({"redis": {"url": "http://redis"}}, "redis"),
    ({"settings": {"heartbeet": "15s"}}, "heartbeet"),
    ({"settings": {"heartbeat": "15"}}, "heartbeat"),
    ({"settings": {"whenFull": "wait"}}, "whenFull"),
    ({"settings": {"retry": "5"}}, "retry"),
    ({"settings": {"maxConnections": 10_000_001}}, "maxConnections"),
    ({"service": {"type": "External"}}, "type"),
    ({"ingress": {"controller": "ngnix"}}, "controller"),
    ({"gateway": {"requestTimeout": "forever"}}, "requestTimeout"),
    ({"image": {"digest": "sha256:abc"}}, "digest"),
    ({"autoscaling": {"mode": "both"}}, "mode"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "maxUnavailable"),
    ({"shutdown": {"marginSeconds": 1}}, "marginSeconds"),
    ({"alerts": {"disabled": ["NodeDown"]}}, "disabled"),
    ({"alerts": {"thresholds": {"FantailNodeDown": 1}}}, "FantailNodeDown"),
    ({"redis": {"tls": {"existingSecret": "x", "caKey": "a/b"}}}, "caKey"),
    ({"sidecars": [{"image": "x"}]}, "sidecars"),
    ({"extraVolumeMounts": [{"name": "x", "mountPath": "relative"}]}, "extraVolumeMounts"),
    ({"auth": {"mode": "basic"}}, "mode"),
    ({"trustedProxies": ["proxy.example.org"]}, "trustedProxies"),
    ({"listenAddress": "127.0.0.1"}, "listenAddress"),
    # Refused by templates/_requirements.tpl: a sentence.
    ({"redis": {"url": ""}}, "no Redis: set redis.url"),
    ({"standalone": True}, "a node on Redis does not stand alone"),
    ({"standalone": True, "redis": {"url": ""}}, "replicaCount must be 1 (it is 3)"),
    ({"redis": {"trial": {"enabled": True}}}, "redis.url and redis.trial.enabled exclude each other"),
    ({"redis": {"existingSecret": {"name": "x"}}}, "redis.url and redis.existingSecret.name exclude each other"),
    (
        {"shutdown": {"gracePeriodSeconds": 149}},
        "149 is too short: preStopSeconds 5 + drainDelaySeconds 10 + drainSeconds 120 + marginSeconds 15 = 150",
    ),
    (
        {"autoscaling": {"mode": "hpa", "minReplicas": 5, "maxReplicas": 4}},
        "minReplicas 5 is more than autoscaling.maxReplicas 4",
    ),
    ({"autoscaling": {"mode": "keda"}}, "it needs autoscaling.prometheus.serverAddress"),
    (
        {"autoscaling": {"mode": "keda", "cpuPercent": 70, "prometheus": {"serverAddress": "http://p"}}},
        "only with autoscaling.mode hpa",
    ),
    ({"rollout": {"maxSurge": 0}}, "both 0: no rollout could begin"),
    ({"rollout": {"minReadySeconds": 900}}, "progressDeadlineSeconds 900 must be more than"),
    ({"gateway": {"enabled": True}}, "it needs gateway.parentRefs"),
    ({"ingress": {"enabled": True}}, "it needs ingress.hosts"),
    ({"tls": {"enabled": True}}, "it needs tls.secretName"),
    ({"auth": {"mode": "jwt"}}, "it needs auth.jwt.keysSecret (name and keys) or auth.jwt.jwksUrl"),
    ({"auth": {"jwt": {"jwksUrl": "https://id"}}}, "auth.mode is none, so everybody could read everything"),
    (
        {"auth": {"mode": "jwt", "jwt": {"jwksUrl": "https://id", "keysSecret": {"name": "k", "keys": ["a"]}}}},
        "auth.jwt.keysSecret and auth.jwt.jwksUrl exclude each other",
    ),
    ({"auth": {"mode": "forward"}}, "it needs auth.forward.url"),
    ({"auth": {"forward": {"url": "http://app"}}}, "it needs auth.mode forward (it is none)"),
    ({"auth": {"public": ["news"]}}, "auth.public: it needs auth.mode"),
    ({"extraEnv": [{"name": "FANTAIL_DRAIN", "value": "1s"}]}, "extraEnv: FANTAIL_DRAIN is set by the chart"),
    ({"service": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}, "it needs service.type LoadBalancer (it is ClusterIP)"),
    ({"service": {"externalTrafficPolicy": "Local"}}, "externalTrafficPolicy: it needs service.type NodePort"),
    ({"service": {"nodePort": 30080}}, "service.nodePort: it needs service.type NodePort or LoadBalancer"),
    ({"service": {"loadBalancerClass": "x"}}, "service.loadBalancerClass: it needs service.type LoadBalancer"),
    ({"alerts": {"enabled": True}}, "alerts.enabled: it needs alerts.runbookUrl"),
    ({"settings": {"listen": ["0.0.0.0:1"]}}, "settings.listen: set listenAddress instead"),
    (
        {"settings": {"redisCa": "/mnt/ca"}, "redis": {"url": "rediss://h", "tls": {"existingSecret": "x"}}},
        "settings.redisCa: redis.tls names a Secret for it",
    ),
    ({"redis": {"tls": {"existingSecret": "x"}}}, "redis.url does not speak TLS"),
    (
        {"redis": {"url": "rediss://h", "tls": {"existingSecret": "x", "caKey": ""}}},
        "name at least one of its keys",
    ),
    (
        {"redis": {"url": "rediss://h", "tls": {"existingSecret": "x", "certKey": "a"}}},
        "redis.tls.certKey and redis.tls.keyKey go together",
    ),
    ({"redis": {"tls": {"certKey": "a", "keyKey": "b"}}}, "redis.tls.certKey: it needs redis.tls.existingSecret"),
    (
        {"standalone": True, "replicaCount": 1, "redis": {"url": "", "tls": {"existingSecret": "x"}}},
        "redis.tls.existingSecret: it needs a Redis",
    ),
    (
        {"tls": {"enabled": True, "secretName": "x"}, "extraVolumes": [{"name": "tls", "emptyDir": {}}]},
        "extraVolumes: tls is a volume of the chart's own",
    ),
]


def refusal(change):
    """Helm's message for values that it refuses."""
    try:
        render(merged(MINIMAL, change))
    except helm_python.HelmError as error:
        return str(error)
    raise AssertionError(f"not refused: {change}")


@case
def wrong_values_are_refused_with_a_sentence():
    for change, sentence in WRONG:
        assert sentence in refusal(change), f"{change}: {refusal(change)}"


@case
def every_requirement_has_a_refused_case():
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    sentences = re.findall(r'fail \(?(?:printf )?"([^"]+)"', templates)
    assert len(sentences) == len(re.findall(r"\bfail\b [\"(]", templates)) > 20, len(sentences)
    messages = "\n".join(refusal(change) for change, _ in WRONG)
    for sentence in sentences:
        part = max(re.split(r"%[sd]", sentence), key=len)
        assert part in messages, f"no case for: {sentence}"


@case
def the_grace_period_is_the_sum_and_never_less():
    for shutdown, grace in [
        ({}, 150),
        ({"preStopSeconds": 0, "drainDelaySeconds": 0, "drainSeconds": 20, "marginSeconds": 5}, 25),
        ({"drainSeconds": 540}, 570),
        ({"gracePeriodSeconds": 150}, 150),
        ({"gracePeriodSeconds": 400}, 400),
    ]:
        values = merged(MINIMAL, {"shutdown": shutdown})
        objects = render(values)
        pod = the(objects, "Deployment")["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] == grace, shutdown
        env = environment(objects)
        seconds = [int(env[name].removesuffix("s")) for name in ("FANTAIL_DRAIN_DELAY", "FANTAIL_DRAIN")]
        stop = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        # The node itself takes up to 5 s for its last goodbyes.
        assert stop + sum(seconds) + 5 <= grace, shutdown
    assert "cluster autoscaler" in notes(merged(MINIMAL, {"shutdown": {"drainSeconds": 600}}))
    assert "cluster autoscaler" not in notes(MINIMAL)


@case
def a_rollout_adds_before_it_ends():
    deployment = the(render(MINIMAL), "Deployment")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert deployment["minReadySeconds"] >= 15
    assert the(render(MINIMAL), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


@case
def what_scales_owns_the_count_of_replicas():
    keda = {"autoscaling": {"mode": "keda", "prometheus": {"serverAddress": "http://p"}}}
    for values in (merged(MINIMAL, {"autoscaling": {"mode": "hpa"}}), merged(MINIMAL, keda)):
        assert the(render(values), "Deployment")["spec"]["replicas"] == 3
        upgraded = render(values, is_install=False, is_upgrade=True)
        assert "replicas" not in the(upgraded, "Deployment")["spec"]
    kinds = collections.Counter(each["kind"] for each in render(merged(MINIMAL, keda)))
    assert kinds["ScaledObject"] == 1 and kinds["HorizontalPodAutoscaler"] == 0
    down = the(render(merged(MINIMAL, {"autoscaling": {"mode": "hpa"}})), "HorizontalPodAutoscaler")["spec"][
        "behavior"
    ]["scaleDown"]
    assert (
        down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 150}]
        and down["stabilizationWindowSeconds"] == 600
    )


@case
def every_pod_is_restricted():
    seen = 0
    for path in EXAMPLES:
        for pod in pod_specs(render(example(path))):
            seen += 1
            assert_restricted(pod)
    assert seen > len(EXAMPLES)


def assert_restricted(pod):
    """As Pod Security "restricted" wants it, and with a root that is only read."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"] + pod.get("initContainers", []):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"], container["name"]


@case
def names_are_used_once_and_fit():
    long = "a" * 53
    for path in EXAMPLES:
        objects = render(example(path), name=long)
        names = collections.Counter((each["kind"], each["metadata"]["name"]) for each in objects)
        assert max(names.values()) == 1, names.most_common(1)
        assert all(len(name) <= 63 for _, name in names), path.name
        container = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
        variables = [each["name"] for each in container["env"]]
        assert len(variables) == len(set(variables)), path.name


def settings_schema():
    return json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]


@case
def the_node_takes_what_the_chart_sets():
    known = {"FANTAIL_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper() for name in settings_schema()}
    for path in EXAMPLES:
        env = {name: value for name, value in environment(render(example(path))).items() if value is not None}
        unknown = {name for name in env if name.startswith("FANTAIL_")} - known
        assert not unknown, f"{path.name}: variables that the node does not read: {unknown}"
        # Files of Secrets are not here, and without Redis nobody looks for them.
        env = {name: value for name, value in env.items() if not name.startswith("FANTAIL_REDIS_")}
        # Exit code 2 is a wrong setting; whether Redis answers is not the matter here.
        found = program(binary(), "check", env=env)
        assert found.returncode != 2, f"{path.name}: {found.stderr}"
    refused = program(binary(), "check", env={"FANTAIL_HEARTBEAT": "15"})
    assert refused.returncode == 2 and "FANTAIL_HEARTBEAT" in refused.stderr, refused


def objections(objects, version):
    """What Kubernetes' schemas of a version find wrong."""
    for each in objects:
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{version}: {each['kind']} {each['metadata']['name']}: {error}"


@case
def kubernetes_of_every_version_knows_all_fields():
    objects = [each for path in EXAMPLES for each in render(example(path)) if each["kind"] not in FOREIGN]
    assert {"Deployment", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "StatefulSet"} <= {
        each["kind"] for each in objects
    }
    for version in VERSIONS:
        found = list(objections(objects, version))
        assert not found, found[:3]
    wrong = copy.deepcopy(the(render(MINIMAL), "Deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleeps"] = {"seconds": 5}
    assert list(objections([wrong], VERSIONS[-1])), "an unknown field went through"


@case
def definitions_of_other_projects_know_all_fields():
    objects = [each for path in EXAMPLES for each in render(example(path)) if each["kind"] in FOREIGN]
    assert {each["kind"] for each in objects} == FOREIGN
    for each in objects:
        assert crds.objection(each) is None, crds.objection(each)
    of_kind = {each["kind"]: each for each in objects}
    wrong = copy.deepcopy(of_kind["HTTPRoute"])
    wrong["spec"]["rules"][0]["timeouts"]["requests"] = "1s"
    assert "requests" in crds.objection(wrong)
    gateway = {"enabled": True, "parentRefs": [{"name": "public"}], "retry": {"codes": [503], "attempts": 2}}
    retried = the(render(merged(MINIMAL, {"gateway": gateway})), "HTTPRoute")
    assert crds.objection(retried, crds.EXPERIMENTAL) is None, crds.objection(retried, crds.EXPERIMENTAL)
    assert "retry" in crds.objection(retried), "the standard channel has it, too: say so in values.yaml"
    wrong = copy.deepcopy(of_kind["ServiceMonitor"])
    wrong["spec"]["endpoints"][0]["interval"] = "15 s"
    assert "interval" in crds.objection(wrong)
    wrong = copy.deepcopy(of_kind["ScaledObject"])
    del wrong["spec"]["scaleTargetRef"]["name"]
    assert "name" in crds.objection(wrong)


def runner_of(run, role):
    """The pod that k6-operator makes for a role of a TestRun."""
    pod = run["spec"][role]
    assert set(pod) <= TEST_POD, set(pod) - TEST_POD
    container = {"name": "k6", "image": pod.get("image", "starter"), "securityContext": pod["containerSecurityContext"]}
    container |= {key: pod[key] for key in ("resources", "env") if key in pod}
    spec = {"securityContext": pod["securityContext"], "containers": [container]}
    spec["automountServiceAccountToken"] = pod["automountServiceAccountToken"] == "true"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": role}, "spec": spec}


@case
def the_load_suite_runs_in_a_cluster():
    job = yaml.safe_load((K6 / "job.yaml").read_text())
    run = yaml.safe_load((K6 / "test-run.yaml").read_text())
    assert (run["apiVersion"], run["kind"]) == ("k6.io/v1alpha1", "TestRun") and set(run["spec"]) <= TEST_RUN
    # Without an initializer of its own, k6-operator makes it as it makes runners.
    pods = [runner_of(run, role) for role in ("runner", "starter")]
    for version in VERSIONS:
        assert not list(objections([job, *pods], version)), list(objections([job, *pods], version))[:3]
    for pod in pod_specs([job, *pods]):
        assert_restricted(pod)
    script = pathlib.PurePath(run["spec"]["script"]["localFile"])
    container = job["spec"]["template"]["spec"]["containers"][0]
    for name in (script.name, container["args"][-1]):
        assert (K6.parent / name).exists(), name
    files = (K6.parent / "Dockerfile").read_text()
    assert f"WORKDIR {script.parent}\n" in files and "COPY *.js ./" in files
    share = {each["name"]: each["value"] for each in run["spec"]["runner"]["env"]}
    assert int(share["INSTANCES"]) == run["spec"]["parallelism"]
    for path in (ROOT / "Dockerfile", K6.parent / "Dockerfile"):
        found = program(TOOLS / "hadolint", path)
        assert found.returncode == 0, found.stdout


@case
def the_dockerfile_lints():
    text = (ROOT / "Dockerfile").read_text()
    found = program(TOOLS / "hadolint", "-", input=text)
    assert found.returncode == 0, found.stdout
    found = program(TOOLS / "hadolint", "-", input=text + "RUN apt-get update && apt-get install curl\n")
    assert "DL3008" in found.stdout, "hadolint sees nothing"
    last = text[text.rindex("\nFROM ") :]
    builds = re.findall(r"cargo build [^&\n]*", text)
    assert len(builds) == 2 and all(" --no-default-features " in each for each in builds), builds
    for line in ("FROM scratch", "USER 65532:65532", "STOPSIGNAL SIGTERM", 'CMD ["/fantail", "check", "--live"]'):
        assert line in last, line


if __name__ == "__main__":
    run("chart", sys.argv[1:])
