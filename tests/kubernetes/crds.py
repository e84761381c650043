"""Definitions of the objects that the chart makes beyond Kubernetes' own, from their projects' Go modules."""

import functools
import json
import pathlib
import subprocess

import jsonschema
import yaml
from chart_files import LOADER, ROOT

MODULES = ROOT / "tests" / "kubernetes" / "tools"
GATEWAY = "sigs.k8s.io/gateway-api@v1.4.1"
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
KEDA = "github.com/kedacore/keda/v2@v2.18.1"
CRDS = [
    (GATEWAY, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    (OPERATOR, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"),
    (OPERATOR, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"),
    (KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
]
# What Gateway API has beside its standard channel.
EXPERIMENTAL = (GATEWAY, "config/crd/experimental/gateway.networking.k8s.io_httproutes.yaml")


@functools.cache
def module(name):
    """The folder of a Go module."""
    found = subprocess.run(
        ["go", "mod", "download", "-json", name], cwd=MODULES, capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return pathlib.Path(json.loads(found.stdout)["Dir"])


def definition(name, path):
    return yaml.load((module(name) / path).read_text(), Loader=LOADER)


def strict(schema):
    """A JSON schema that refuses what the API server would refuse under strict field validation."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items() if key not in ("format", "properties")}
    if "properties" in schema:
        result["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "type" in schema:
            result.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    return result


@functools.cache
def schemas(*files):
    """Schemas by API version and kind."""
    found = {}
    for each in [definition(*file) for file in files]:
        spec = each["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            # What all objects have is left to Kubernetes' own part.
            schema["properties"]["metadata"] = {"type": "object"}
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def objection(thing, *files):
    """What an object's definition finds wrong, or None."""
    schema = schemas(*(files or CRDS))[thing["apiVersion"], thing["kind"]]
    wrong = next(iter(sorted(jsonschema.Draft202012Validator(schema).iter_errors(thing), key=str)), None)
    return f"{thing['kind']} {wrong.json_path}: {wrong.message}" if wrong else None
