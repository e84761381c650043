"""The chart, its dashboards and alerts, and the Dockerfile: everything that needs no server."""

import collections
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import promql_parser
import yaml
from chart_files import (
    CHART,
    EXAMPLES,
    MINIMAL,
    ROOT,
    RULES,
    binary,
    dashboards,
    environment,
    example,
    notes,
    panels,
    pod_specs,
    queries,
)
from chart_files import render, rules, the
from suite import case, run

TOOLS = pathlib.Path(sys.executable).parent
VERSIONS = ["1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
# Kinds whose schemas are not Kubernetes' own; the tier `kubernetes` has their CRDs.
FOREIGN = {"HTTPRoute", "ServiceMonitor", "PrometheusRule", "ScaledObject"}


def program(*arguments, **more):
    return subprocess.run([str(each) for each in arguments], capture_output=True, text=True, timeout=300, **more)


def merged(base, change):
    """A copy of nested values with a change laid over it."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        result[key] = (
            merged(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        )
    return result


@case
def every_example_renders_and_lints():
    assert len(EXAMPLES) >= 6
    for path in EXAMPLES:
        assert the(render(example(path)), "Deployment"), path.name
        found = helm_python.lint(str(CHART), example(path))
        assert "ERROR" not in json.dumps(found), f"{path.name}: {found}"


WRONG = [
    # Refused by the schema: the message names the value.
    ({"replicaCount": 0}, "replicaCount"),
    ({"replicaCont": 3}, "replicaCont"),
    ({"redis": {"url": "http://redis"}}, "redis"),
    ({"settings": {"heartbeet": "15s"}}, "heartbeet"),
    ({"settings": {"heartbeat": "15"}}, "heartbeat"),
    ({"settings": {"whenFull": "wait"}}, "whenFull"),
    ({"settings": {"retry": "5s"}}, "retry"),
    ({"service": {"type": "External"}}, "type"),
    ({"ingress": {"controller": "ngnix"}}, "controller"),
    ({"gateway": {"requestTimeout": "forever"}}, "requestTimeout"),
    ({"image": {"digest": "sha256:abc"}}, "digest"),
    ({"autoscaling": {"mode": "both"}}, "mode"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "maxUnavailable"),
    ({"shutdown": {"marginSeconds": 1}}, "marginSeconds"),
    ({"alerts": {"disabled": ["NodeDown"]}}, "disabled"),
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
    ({"service": {"externalTrafficPolicy": "Local"}}, "it needs service.type NodePort or LoadBalancer"),
]


@case
def wrong_values_are_refused_with_a_sentence():
    for change, sentence in WRONG:
        try:
            render(merged(MINIMAL, change))
        except helm_python.HelmError as error:
            assert sentence in str(error), f"{change}: {error}"
        else:
            raise AssertionError(f"not refused: {change}")


@case
def every_requirement_has_a_refused_case():
    templates = "".join(path.read_text() for path in (CHART / "templates").glob("_*.tpl"))
    count = templates.count("fail ")
    sentences = sum(" " in sentence for _, sentence in WRONG)
    assert sentences >= count, f"{count} requirements, {sentences} cases"


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
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            for container in pod["containers"] + pod.get("initContainers", []):
                security = container["securityContext"]
                assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
                assert security["capabilities"] == {"drop": ["ALL"]}
                assert container["resources"]["limits"]["memory"], container["name"]
    assert seen > len(EXAMPLES)


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


def known_variables():
    text = program(binary(), "serve", "--help").stdout
    variables = set(re.findall(r"\[env: (FANTAIL_[A-Z0-9_]+)", text))
    assert len(variables) > 25, text[:400]
    return variables


@case
def every_setting_is_the_nodes_own():
    known = known_variables()
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    snake = {name: "FANTAIL_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper() for name in schema}
    unknown = {name for name, variable in snake.items() if variable not in known}
    assert not unknown, f"settings that no flag has: {unknown}"
    rendered = set().union(*(environment(render(example(path))) for path in EXAMPLES))
    unknown = {name for name in rendered if name.startswith("FANTAIL_") and name not in known} - LATER
    assert not unknown, f"variables that the node does not read: {unknown}"
    known -= set(snake.values()) | rendered | PLACED_ELSEWHERE
    covered = {
        name
        for name in known
        if name.startswith(("FANTAIL_JWT_", "FANTAIL_CLAIM_", "FANTAIL_TOKEN_", "FANTAIL_FORWARD"))
    }
    print("flags that only extraEnv reaches:", ", ".join(sorted(known - covered)) or "none")


# Values of the chart that become variables in no example.
PLACED_ELSEWHERE = {"FANTAIL_REDIS_PASSWORD_FILE", "FANTAIL_AUTH_CA", "FANTAIL_JWT_KEY", "FANTAIL_FORWARD_URL"}
# Settings whose flags come with other work.
LATER = set()


@case
def the_node_takes_what_the_chart_sets():
    for path in EXAMPLES:
        env = {
            name: value
            for name, value in environment(render(example(path))).items()
            if value is not None and name not in LATER
        }
        env.pop("FANTAIL_REDIS_PASSWORD_FILE", None)
        if example(path).get("settings", {}).get("follow"):
            env["FANTAIL_REDIS"] = "redis://127.0.0.1:1"
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
def the_dockerfile_lints():
    text = (ROOT / "Dockerfile").read_text()
    found = program(TOOLS / "hadolint", "-", input=text)
    assert found.returncode == 0, found.stdout
    found = program(TOOLS / "hadolint", "-", input=text + "RUN apt-get update && apt-get install curl\n")
    assert "DL3008" in found.stdout, "hadolint sees nothing"
    last = text[text.rindex("\nFROM ") :]
    for line in ("FROM scratch", "USER 65532:65532", "STOPSIGNAL SIGTERM", 'CMD ["/fantail", "check", "--live"]'):
        assert line in last, line


@case
def the_dashboards_are_what_the_generator_writes():
    found = program(sys.executable, CHART / "dashboards" / "generate.py", "--check")
    assert found.returncode == 0, found.stderr
    found = program(sys.executable, CHART / "dashboards" / "list_metrics.py", "--check")
    assert found.returncode == 0, found.stderr


@case
def every_panel_says_what_it_shows():
    boards = dashboards()
    assert set(boards) == {"overview", "delivery", "resume", "redis", "node", "rollouts", "access"}
    for name, board in boards.items():
        variables = [each["name"] for each in board["templating"]["list"]]
        assert variables == ["datasource", "namespace", "job", "instance"], name
        assert board["editable"] is False and board["uid"] == f"fantail-{name}"
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]), f"{name}: an id twice"
        for panel in panels(board):
            where = f"{name}: {panel['title']}"
            assert panel["title"] and len(panel["description"]) > 12, where
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults.get("unit") or panel["options"]["yAxis"]["unit"], f"{where} has no unit"
            assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"], where
        for title, query in queries(board):
            where = f"{name}: {title}"
            assert re.search(r'job=~"\$job"', query) and re.search(r'namespace=~"\$namespace"', query), where
            assert "[5m]" not in query or "increase" in query, f"{where}: a rate over a fixed time"
            for counter in re.findall(r"(\w+_total)\{", query):
                ok = re.search(r"(rate|increase)\(" + counter, query) or "* 0" in query
                assert ok, f"{where}: {counter} without rate"
            promql_parser.parse(plain(query))


def plain(query):
    """A query with Grafana's variables replaced."""
    return re.sub(r"\$(namespace|job|instance)", ".*", query).replace("$__rate_interval", "1m")


@case
def a_wrong_query_is_found():
    for wrong in ("sum(rate(x[1m])", "rate(x)", "x[1m] + 1"):
        try:
            promql_parser.parse(wrong)
        except Exception:
            continue
        raise AssertionError(f"parsed: {wrong}")


def lost(before, after, path=""):
    """Keys of a JSON value that another one lacks."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{path}.{key}"
            else:
                yield from lost(value, after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{path}: {len(before)} and {len(after)} items"
        for at, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}[{at}]")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


@case
def grafanas_own_models_know_every_key():
    from grafana_foundation_sdk.cog import encoder, plugins
    from grafana_foundation_sdk.models import dashboard as models

    plugins.register_default_plugins()

    def through(board):
        model = models.Dashboard.from_json(copy.deepcopy(board))
        return json.loads(json.dumps(model, cls=encoder.JSONEncoder))

    for name, board in dashboards().items():
        gone = list(lost(board, through(board)))
        assert not gone, f"{name}: {gone[:10]}"
    wrong = copy.deepcopy(dashboards()["overview"])
    panels(wrong)[6]["fieldConfig"]["defaults"]["custom"]["lineWidht"] = 1
    assert list(lost(wrong, through(wrong))), "an unknown key came through"


@case
def rules_are_valid_alone_and_in_the_chart():
    found = program("promtool", "check", "rules", "--lint=all", RULES)
    assert found.returncode == 0, found.stdout + found.stderr
    values = merged(MINIMAL, {"alerts": {"enabled": True, "disabled": ["FantailUneven"], "labels": {"release": "p"}}})
    rule = the(render(values), "PrometheusRule")
    text = yaml.safe_dump(rule["spec"])
    assert 'job="fantail"' not in text and "RUNBOOKS" not in text and "FantailUneven" not in text
    assert 'namespace="events",job="fantail-admin"' in text and rule["metadata"]["labels"]["release"] == "p"
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        found = program("promtool", "check", "rules", "--lint=all", file.name)
        assert found.returncode == 0, found.stdout + found.stderr
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text.replace("sum by (", "sum by ((", 1))
        file.flush()
        assert program("promtool", "check", "rules", file.name).returncode != 0, "a broken rule went through"


@case
def each_alert_fires_and_stays_silent():
    tests = ROOT / "tests" / "kubernetes" / "alerts.test.yaml"
    found = program("promtool", "test", "rules", tests)
    assert found.returncode == 0, found.stdout + found.stderr
    seen = collections.defaultdict(set)
    for test in yaml.safe_load(tests.read_text())["tests"]:
        for each in test["alert_rule_test"]:
            seen[each["alertname"]].add(bool(each["exp_alerts"]))
    for rule in rules():
        if "alert" in rule:
            assert seen[rule["alert"]] == {True, False}, f"{rule['alert']}: a firing and a silent case"


@case
def each_alert_has_its_runbook():
    pages = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README"}
    named = set()
    for rule in rules():
        if "alert" not in rule:
            continue
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        notes = rule["annotations"]
        assert notes["summary"] and notes["description"]
        page = pathlib.PurePath(notes["runbook_url"])
        assert str(page.parent) == "RUNBOOKS", rule["alert"]
        named.add(page.stem)
        text = (ROOT / "docs" / "runbooks" / page.name).read_text()
        assert text.startswith(f"# {rule['alert']}\n"), f"{page.name} is another alert's"
    assert pages == named, f"pages without an alert, or alerts without a page: {pages ^ named}"


if __name__ == "__main__":
    run("chart", sys.argv[1:])
