"""The chart's files and what Helm makes of them, for the tests."""

import copy
import functools
import json
import os
import pathlib
import subprocess

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
RULES = CHART / "alerts" / "rules.yaml"
# The one in C, where PyYAML has it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MINIMAL = {"redis": {"url": "redis://redis:6379"}}


def binary():
    """The release binary that the tiers build."""
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return os.environ.get("FANTAIL_BINARY") or str(pathlib.Path(target) / "release" / "fantail")


def example(path):
    return yaml.safe_load(path.read_text()) or {}


@functools.cache
def loaded():
    return helm_python.Chart.load(str(CHART))


def render(values, **how):
    """The objects that the chart makes of these values; raises `helm_python.HelmError` with Helm's message."""
    how = {"name": "fantail", "namespace": "events", "is_install": True, **how}
    objects = []
    loaded().validate_schema(values)
    for path, text in loaded().render(values, **how).items():
        if path.endswith((".yaml", ".yml")):
            objects += [each for each in yaml.load_all(text, Loader=LOADER) if each]
    return objects


def notes(values):
    return loaded().render(values, name="fantail", namespace="events", is_install=True)["fantail/templates/NOTES.txt"]


def the(objects, kind, name=None):
    """The one object of a kind."""
    found = [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind} {name or ''}"
    return found[0]


def pod_specs(objects):
    """Every pod that the objects make."""
    for each in objects:
        if each["kind"] == "Pod":
            yield each["spec"]
        elif "template" in each.get("spec", {}):
            yield each["spec"]["template"]["spec"]


def environment(objects):
    """Variables of the node's container."""
    container = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each.get("value") for each in container["env"]}


def rules():
    """Alerts and recording rules, in their order."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboards():
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard):
    """Pairs of what asks and its query: panels and annotations."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]


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
