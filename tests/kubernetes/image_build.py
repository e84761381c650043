"""Builds the image from the unmodified Dockerfile by buildah, without a registry.

The base is made here, under the name that the Dockerfile gives: this Debian's packages with gcc and the authorities'
certificates, and this machine's Rust mounted into it. So the compiler is this machine's, and all else is as written.

Usage: image_build.py FOLDER; the folder keeps base, image and what cargo built, for the next time. Prints the image's id.
"""

import os
import pathlib
import re
import subprocess
import sys

from chart_files import ROOT

NAME = "localhost/fantail:test"
PACKAGES = "gcc,libc6-dev,ca-certificates"
SOURCES = [pathlib.Path("/etc/apt/sources.list.d/debian.sources"), pathlib.Path("/etc/apt/sources.list")]


def run(*command, **more):
    """A program's output; it must succeed."""
    found = subprocess.run([str(each) for each in command], stdout=subprocess.PIPE, text=True, timeout=9000, **more)
    assert found.returncode == 0, f"{command[0]}: exit code {found.returncode}"
    return found.stdout.strip()


def storage(folder):
    """The arguments that make buildah and podman keep everything in a folder. Overlay where that works."""
    places = ["--root", folder / "storage", "--runroot", folder / "run"]
    note = folder / "driver"
    if not note.exists():
        tried = subprocess.run(["buildah", "--storage-driver=overlay", *places, "from", "scratch"], capture_output=True)
        note.write_text("vfs" if tried.returncode else "overlay")
    return [f"--storage-driver={note.read_text()}", *places]


def base_names():
    """What the Dockerfile begins from, but for `scratch` and its own stages."""
    text = (ROOT / "Dockerfile").read_text()
    for name, value in re.findall(r"^ARG (\S+)=(\S+)$", text.split("\nFROM ")[0], re.M):
        text = text.replace(f"${{{name}}}", value)
    found = re.findall(r"^FROM (\S+)(?: AS (\S+))?", text, re.M)
    stages = {stage for _, stage in found}
    return [name for name, _ in found if name != "scratch" and name not in stages]


def full(name):
    """A short name as buildah looks it up."""
    return name if "." in name.split("/")[0] else f"docker.io/library/{name}"


def make_base(buildah, folder):
    names = [full(name) for name in base_names()]
    have = run(*buildah, "images", "--format", "{{.Name}}:{{.Tag}}").split()
    if set(names) <= set(have):
        return
    archive = folder / "base.tar"
    codename = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M).group(1)
    sources = [path for path in SOURCES if path.exists()]
    run("mmdebstrap", "--quiet", "--variant=apt", f"--include={PACKAGES}", codename, archive, *sources)
    container = run(*buildah, "from", "scratch")
    run(*buildah, "add", "--quiet", container, archive, "/")
    path = "/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    settings = {"PATH": path, "CARGO_HOME": "/usr/local/cargo", "CARGO_NET_OFFLINE": "true"}
    run(*buildah, "config", *(f"--env={name}={value}" for name, value in settings.items()), container)
    for name in names:
        run(*buildah, "commit", "--quiet", container, name)
    run(*buildah, "rm", container)
    archive.unlink()


def build(folder):
    """The image's id."""
    buildah = ["buildah", *storage(folder)]
    make_base(buildah, folder)
    # The build itself has no network.
    run("cargo", "fetch", "--locked", "--quiet", cwd=ROOT)
    cargo = os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo"
    target = folder / "target"
    target.mkdir(exist_ok=True)
    mounts = [
        f"{run('rustc', '--print', 'sysroot', cwd=ROOT)}:/usr/local/rust:ro",
        f"{cargo}:/usr/local/cargo",
        f"{target}:/src/target",
    ]
    # Debian's buildah knows HEALTHCHECK in this format only.
    how = ["--isolation=chroot", "--pull-never", "--format=docker", "--build-arg=REVISION=test"]
    run(*buildah, "bud", *how, *(f"--volume={each}" for each in mounts), "-t", NAME, ".", cwd=ROOT, stderr=None)
    return run(*buildah, "images", "--quiet", NAME)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1]).resolve()
    place.mkdir(parents=True, exist_ok=True)
    print(build(place))
