"""The chart's values: what is written from the node and from values.yaml is up to date, and no value is without effect."""

import base64
import json
import re
import subprocess
import sys

import helm_python
import yaml
from chart_files import CHART, MINIMAL, ROOT, binary, merged, pod_specs, program, render, rules, the
from suite import case, run

sys.path.insert(0, str(CHART))
import list_settings  # noqa: E402 beside the chart, not beside this file
import list_values  # noqa: E402

RUNBOOKS = {"enabled": True, "runbookUrl": "https://git.example.org/runbooks"}


@case
def settings_are_the_nodes_flags():
    found = program(sys.executable, CHART / "list_settings.py", binary(), "--check")
    assert found.returncode == 0, found.stderr


@case
def a_flag_that_the_schema_lacks_is_noticed():
    schema = json.loads(list_settings.text(binary()))["properties"]["settings"]["properties"]
    for name in ("publicUrl", "adminHost", "redisUsername", "maxChannelsPerQuery", "redisCa"):
        assert name in schema, name
    assert schema["maxConnections"]["maximum"] == 10_000_000 and schema["couriers"]["maximum"] == 64
    assert schema["whenFull"]["enum"] == ["reject", "retry"]
    assert schema["tailBytes"]["oneOf"][0]["minimum"] == 1 << 20
    assert {"const": "never"} in schema["unreadyAfter"]["oneOf"] and schema["demo"]["type"] == "boolean"


@case
def the_tables_of_values_are_up_to_date():
    found = program(sys.executable, CHART / "list_values.py", "--check")
    assert found.returncode == 0, found.stderr


@case
def values_are_those_of_the_schema():
    def paths(schema, plain, path=()):
        own = schema.get("properties", {})
        if not own or path == ("settings",):
            yield path
        else:
            assert isinstance(plain, dict), path
            for name in sorted({*own, *plain} - ({"global"} if not path else set())):
                assert name in own and name in plain, f"{'.'.join((*path, name))}: values.yaml and schema differ"
                yield from paths(own[name], plain[name], (*path, name))

    schema = json.loads((CHART / "values.schema.json").read_text())
    # Parts of a container's resources, of a resolver's and of a retry's settings are there only where given.
    free = {"resources", "dnsConfig"}
    for name in free:
        schema["properties"][name] = {}
    schema["properties"]["gateway"]["properties"]["retry"] = {}
    schema["properties"]["redis"]["properties"]["trial"]["properties"]["resources"] = {}
    plain = yaml.safe_load((CHART / "values.yaml").read_text())
    assert len(list(paths(schema, plain))) > 150


def nested(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


# What has to be turned on for a value to have an effect, by the beginning of its path.
TURNED_ON = {
    "redis.url": {"redis": {"url": ""}},
    "redis.existingSecret": {"redis": {"url": ""}},
    "redis.sentinelPasswordSecret": {"redis": {"sentinelPasswordSecret": {"name": "x"}}},
    "redis.tls": {"redis": {"url": "rediss://redis", "tls": {"existingSecret": "x", "certKey": "c", "keyKey": "k"}}},
    "redis.trial": {"redis": {"url": "", "trial": {"enabled": True}}},
    "standalone": {"redis": {"url": ""}, "replicaCount": 1},
    "service": {"service": {"type": "LoadBalancer"}},
    "gateway": {"gateway": {"enabled": True, "parentRefs": [{"name": "public"}]}},
    "ingress": {"ingress": {"enabled": True, "hosts": ["a"]}},
    "networkPolicy": {"networkPolicy": {"enabled": True}},
    "autoscaling": {"autoscaling": {"mode": "hpa"}},
    "autoscaling.prometheus": {"autoscaling": {"mode": "keda", "prometheus": {"serverAddress": "http://p"}}},
    "tls": {"tls": {"enabled": True, "secretName": "y"}},
    "auth": {"auth": {"mode": "jwt", "jwt": {"jwksUrl": "https://id"}}},
    "auth.jwt.keysSecret": {"auth": {"mode": "jwt", "jwt": {"keysSecret": {"name": "y", "keys": ["a"]}}}},
    "auth.forward": {"auth": {"mode": "forward", "forward": {"url": "http://app"}}},
    "serviceMonitor": {"serviceMonitor": {"enabled": True}},
    "alerts": {"alerts": RUNBOOKS},
    "dashboards": {"dashboards": {"enabled": True}},
    "test.caSecret": {"tls": {"enabled": True, "secretName": "y"}},
    "test.serverName": {"tls": {"enabled": True, "secretName": "y"}},
}
# Another value than the default, where the type alone does not give one.
OTHERWISE = {
    "alerts.disabled": ["FantailUneven"],
    "alerts.for": {"FantailDeliveryLag": "10m"},
    "alerts.runbookUrl": "https://other.example.org",
    "auth.jwt.jwksUrl": "https://other",
    "auth.jwt.keysSecret": {"name": "other", "keys": ["a"]},
    "auth.forward.url": "http://other",
    "auth.mode": "none",
    "autoscaling.mode": "none",
    "autoscaling.prometheus.serverAddress": "http://other",
    "dnsConfig": {"searches": ["a"]},
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraEnvFrom": [{"configMapRef": {"name": "a"}}],
    "extraObjects": [{"kind": "A", "metadata": {"name": "a"}}],
    "extraVolumeMounts": [{"name": "a", "mountPath": "/a"}],
    "gateway.filters": [{"type": "URLRewrite"}],
    "gateway.hostnames": ["a.example.org"],
    "gateway.parentRefs": [{"name": "other"}],
    "gateway.paths": ["/"],
    "gateway.requestTimeout": "5s",
    "gateway.retry": {"codes": [503]},
    "image.digest": "sha256:" + "0" * 64,
    "ingress.paths": ["/"],
    "ingress.tls": [{"hosts": ["a"], "secretName": "b"}],
    "networkPolicy.redisPorts": [1],
    "podDisruptionBudget.minAvailable": 2,
    "redis.trial.storage": "2Gi",
    "redis.url": "redis://other",
    "replicaCount": 4,
    "rollout.maxSurge": 2,
    "rollout.maxUnavailable": 2,
    "service.nodePort": 30080,
    "serviceMonitor.interval": "1m",
    "serviceMonitor.scrapeTimeout": "5s",
    "settings": {"log": "debug"},
    "shutdown.gracePeriodSeconds": 500,
    "sysctls": [{"name": "a", "value": "b"}],
    "tolerations": [{"key": "a"}],
    "tracing.endpoint": "http://other",
    "trustedProxies": ["10.0.0.0/8"],
}
# What another value has to be, so that this one may be otherwise.
ALONG = {"auth.mode": {"auth": {"jwt": {"jwksUrl": ""}}}}


def schema_at(path):
    schema = json.loads((CHART / "values.schema.json").read_text())
    for name in path:
        schema = schema["properties"][name]
    return schema


def otherwise(path, default):
    """Another value than the default."""
    name, schema = ".".join(path), schema_at(path)
    if name in OTHERWISE:
        return OTHERWISE[name]
    if path[-1] == "resources":
        return {"limits": {"memory": "7Gi"}}
    if path[0] == "probes":
        return {**default, "periodSeconds": 7}
    if isinstance(default, bool):
        return not default
    if isinstance(default, (int, float)):
        return default + 1
    if "enum" in schema:
        return next(each for each in schema["enum"] if each not in (default, ""))
    if isinstance(default, str):
        return "other"
    if isinstance(default, list):
        return [{"name": "other"}] if schema["items"]["type"] == "object" else ["other"]
    return {**default, "name": "other"} if "name" in default else {**default, "a": "b"}


def rendered(name, values):
    try:
        return render(values)
    except helm_python.HelmError as error:
        raise AssertionError(f"{name}: {error}") from error


@case
def no_value_is_without_effect():
    seen = 0
    for _, path, _, node in list_values.documented():
        name, default = ".".join(path), yaml.safe_load(yaml.serialize(node))
        starts = [each for each in TURNED_ON if name == each or name.startswith(f"{each}.")]
        base = merged(MINIMAL, TURNED_ON[max(starts, key=len)] if starts else {})
        if name.endswith(".enabled") and name != "podDisruptionBudget.enabled":
            base = merged(base, nested(path, False))
            changed = merged(base, nested(path, True))
        else:
            value = otherwise(path, default)
            changed = merged(merged(base, ALONG.get(name, {})), nested(path, value))
        if name in ("redis.url", "redis.existingSecret", "redis.trial.enabled", "standalone"):
            base = merged(MINIMAL, {"redis": {"url": "redis://before"}})
        assert rendered(name, changed) != rendered(name, base), f"{name}: no object tells the difference"
        seen += 1
    assert seen > 150, seen


@case
def thresholds_are_those_of_the_rules():
    def expressions(thresholds):
        alerts = {**RUNBOOKS, "thresholds": thresholds}
        groups = the(render(merged(MINIMAL, {"alerts": alerts})), "PrometheusRule")["spec"]["groups"]
        return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"] if "alert" in rule}

    scope = 'namespace="events",job="fantail-admin"'
    plain = {rule["alert"]: rule["expr"].replace('job="fantail"', scope) for rule in rules() if "alert" in rule}
    assert expressions({}) == plain, "by default the rules are what promtool tests"
    names = yaml.safe_load((CHART / "values.yaml").read_text())["alerts"]["thresholds"]
    for name in names:
        changed = expressions({name: 321})
        assert {each for each in plain if plain[each] != changed[each]} == {name}, name
        assert re.search(r"[<>] 321\b", changed[name]), changed[name]


@case
def flags_that_other_values_set_are_told_where():
    template = (CHART / "templates" / "_requirements.tpl").read_text()
    block = re.search(r'define "fantail.elsewhere" -}}\n(.*?){{- end }}', template, re.DOTALL).group(1)
    plain = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = schema_at(("settings",))["properties"]
    for flag, places in yaml.safe_load(block).items():
        assert flag in schema, flag
        for place in places.split(" or "):
            value = plain
            for part in place.split("."):
                assert part in value, f"{flag}: there is no {place}"
                value = value[part]


@case
def the_chart_says_what_it_runs():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    icon = base64.b64decode(chart["icon"].removeprefix("data:image/svg+xml;base64,"))
    assert icon == (ROOT / "docs" / "images" / "fantail.svg").read_bytes()
    listed = {each["image"] for each in yaml.safe_load(chart["annotations"]["artifacthub.io/images"])}
    trial = {"redis": {"url": "", "trial": {"enabled": True}}}
    pods = list(pod_specs(render(merged(MINIMAL, trial))))
    assert listed == {each["image"] for pod in pods for each in pod["containers"]}


@case
def the_version_is_written_once():
    """Cargo.toml has it; the chart and the image's default say the same."""
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version
    assert f"ARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text()
    found = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.split()[1] == version


if __name__ == "__main__":
    run("values", sys.argv[1:])
