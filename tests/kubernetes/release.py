"""What .ci/release makes, with a file in the binary's place: the parts that need no compiler."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import helm_python
import yaml
from chart_files import ROOT, program
from suite import case, run

TOOLS = pathlib.Path(sys.executable).parent
BASE = "sha256:" + "ab" * 32
NODE = b"\x7fELF, nearly\n"


def made(place):
    """The files of a release."""
    node = place / "node"
    node.write_bytes(NODE)
    settings = {**os.environ, "FANTAIL_CHART_PYTHON": sys.executable, "FANTAIL_BASE_DIGEST": BASE}
    settings["FANTAIL_PAGES"] = "https://git.example.org/fantail"
    found = program(ROOT / ".ci" / "release", "--node", node, "--out", place / "out", env=settings)
    assert found.returncode == 0, found.stderr
    return {path.name: path.read_bytes() for path in (place / "out").iterdir()}


def unpacked(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}


def version():
    return program(ROOT / ".ci" / "version").stdout.strip()


with tempfile.TemporaryDirectory() as folder:
    FILES = made(pathlib.Path(folder))
with tempfile.TemporaryDirectory() as folder:
    AGAIN = made(pathlib.Path(folder))


@case
def a_second_run_gives_the_same_bytes():
    # The bill of materials is the tool's.
    assert {name for name in FILES if FILES[name] != AGAIN[name]} == set()
    assert f"fantail-{version()}-{os.uname().machine}-linux.tar.gz" in FILES


@case
def sums_are_of_the_files():
    lines = FILES["SHA256SUMS"].decode().splitlines()
    assert {line.split("  ")[1] for line in lines} == set(FILES) - {"SHA256SUMS"}
    for line in lines:
        found, name = line.split("  ")
        assert hashlib.sha256(FILES[name]).hexdigest() == found, name


@case
def the_image_is_the_dockerfiles_last_stage():
    files = unpacked(FILES[f"fantail-{version()}-oci.tar"])
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    def blob(about):
        data = files["blobs/" + about["digest"].replace(":", "/")]
        assert len(data) == about["size"] and hashlib.sha256(data).hexdigest() == about["digest"].split(":")[1]
        return data

    (about,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(about))
    config, (layer,) = json.loads(blob(manifest["config"])), manifest["layers"]
    data = blob(layer)
    plain = "sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest()
    assert config["rootfs"]["diff_ids"] == [plain]
    inside = unpacked(data)
    assert inside["fantail"] == NODE and b"BEGIN CERTIFICATE" in inside["etc/ssl/certs/ca-certificates.crt"]
    assert len(inside) == 2, inside.keys()
    own = config["config"]
    assert own["User"] == "65532:65532" and own["Entrypoint"] == ["/fantail"] and own["StopSignal"] == "SIGTERM"
    assert own["Env"] == ["FANTAIL_LISTEN=0.0.0.0:8080", "FANTAIL_ADMIN_LISTEN=0.0.0.0:9090", "MIMALLOC_PURGE_DELAY=0"]
    assert set(own["ExposedPorts"]) == {"8080/tcp", "9090/tcp"}
    assert own["Labels"]["org.opencontainers.image.version"] == version()
    assert own["Labels"]["org.opencontainers.image.revision"] == program("git", "-C", ROOT, "rev-parse", "HEAD").stdout.strip()


@case
def other_tools_take_the_image():
    tool = shutil.which("skopeo") or shutil.which("buildah")
    if not tool:
        print("neither skopeo nor buildah is here")
        return
    with tempfile.TemporaryDirectory() as place:
        path = pathlib.Path(place) / "image.tar"
        path.write_bytes(FILES[f"fantail-{version()}-oci.tar"])
        if tool.endswith("skopeo"):
            found = program(tool, "inspect", "--config", f"oci-archive:{path}")
            assert json.loads(found.stdout)["config"]["User"] == "65532:65532", found.stderr
        else:
            places = ["--storage-driver=vfs", f"--root={place}/root", f"--runroot={place}/run"]
            found = program(tool, *places, "pull", "--quiet", f"oci-archive:{path}")
            assert found.returncode == 0, found.stderr


@case
def the_chart_is_whole_and_says_what_changed():
    name = f"fantail-{version()}.tgz"
    files = unpacked(FILES[name])
    assert "fantail/values.schema.json" in files and "fantail/alerts/rules.yaml" in files
    assert not [each for each in files if "/tests/deliver" not in each and ("/tests/" in each or each.endswith(".py"))]
    about = yaml.safe_load(files["fantail/Chart.yaml"])
    assert about["version"] == version() and about["kubeVersion"] and about["icon"] and about["keywords"]
    changes = yaml.safe_load(about["annotations"]["artifacthub.io/changes"])
    assert changes and all(each["kind"] in ("added", "changed", "fixed") for each in changes), changes
    links = yaml.safe_load(about["annotations"]["artifacthub.io/links"])
    assert all((ROOT / each["url"].removeprefix("https://git.example.org/fantail/")).exists() for each in links)
    chart = helm_python.Chart.load_archive(FILES[name])
    assert chart.render({"redis": {"url": "redis://redis"}}, name="fantail", namespace="events", is_install=True)


@case
def the_base_has_its_digest():
    text = FILES["Dockerfile"].decode()
    assert re.search(rf"^ARG BASE=rust:\S+@{BASE}$", text, re.MULTILINE), text[:400]
    assert text.replace(f"@{BASE}", "") == (ROOT / "Dockerfile").read_text()
    found = program(TOOLS / "hadolint", "-", input=text)
    assert found.returncode == 0, found.stdout


@case
def a_new_version_is_everywhere():
    with tempfile.TemporaryDirectory() as place:
        copy = pathlib.Path(place) / "fantail"
        subprocess.run(["git", "clone", "--quiet", ROOT, copy], check=True, timeout=60)
        before = program("git", "-C", copy, "grep", "-l", "--fixed-strings", version()).stdout.split()
        found = program(copy / ".ci" / "version", "9.8.7")
        assert found.returncode == 0, found.stderr
        assert program(copy / ".ci" / "version").stdout.strip() == "9.8.7"
        about = yaml.safe_load((copy / "helm" / "Chart.yaml").read_text())
        assert about["version"] == about["appVersion"] == "9.8.7" and "fantail:9.8.7" in str(about["annotations"])
        for name in ("Cargo.toml", "loadtest/Cargo.toml", "Dockerfile"):
            assert version() not in (copy / name).read_text() and name in before, name
        lock = re.findall(r'name = "(\w+)"\nversion = "9.8.7"', (copy / "Cargo.lock").read_text())
        assert lock == ["fantail", "loadtest"], lock
        text = (copy / "CHANGELOG.md").read_text()
        assert re.search(r"^## \[Unreleased\]\n\n## \[9\.8\.7\] - \d{4}-\d\d-\d\d\n\n### [A-Z][a-z]+$", text, re.MULTILINE)
    assert program(ROOT / ".ci" / "version", "1.2").returncode != 0


@case
def what_is_left_out_is_named_with_its_reason():
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "node").write_bytes(NODE)
        (place / "python").write_text("#!/bin/sh\nexit 1\n")
        (place / "python").chmod(0o755)
        # Nothing is on the path but what the script itself takes; this Python has no package of Helm.
        tools = place / "bin"
        tools.mkdir()
        for name in ("git", "python3", "env", "timeout"):
            (tools / name).symlink_to(shutil.which(name))
        settings = {"PATH": str(tools), "FANTAIL_CHART_PYTHON": str(place / "python"), "HOME": os.environ["HOME"]}
        command = [sys.executable, ROOT / ".ci" / "release", "--node", place / "node", "--out", place / "out"]
        found = program(*command, env=settings)
        assert found.returncode == 0, found.stderr
        left = re.findall(r"left out: ([^:]+): (.+?)\. (.+)$", found.stderr, re.MULTILINE)
        parts = {part for part, why, remedy in left if why and remedy}
        assert {"chart's package", "bill of materials", "Dockerfile with its base's digest"} < parts, found.stderr
        made = set(re.findall(r"made: (.+)$", found.stderr, re.MULTILINE))
        assert made == {path.name for path in (place / "out").iterdir()} and not [name for name in made if name.endswith(".tgz")]


@case
def notes_are_of_the_version():
    text = FILES["RELEASE_NOTES.md"].decode()
    assert re.match(rf"# Fantail {re.escape(version())}\n\n### [A-Z][a-z]+\n\n- ", text), text[:200]
    assert not re.search(r"^## ", text, re.MULTILINE)


if __name__ == "__main__":
    run("release", sys.argv[1:])
