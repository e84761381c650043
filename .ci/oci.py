"""An image in OCI's layout, of the last stage of the Dockerfile: one layer for each machine, and an index.

Needs no daemon and no registry; the same input gives the same bytes. `skopeo copy oci-archive:FILE docker://NAME` pushes it,
`podman load -i FILE` and `buildah pull oci-archive:FILE` take it.
"""

import datetime
import gzip
import hashlib
import io
import json
import re
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def settings(dockerfile, version, revision):
    """What the last stage says of a container, as an image's configuration has it."""
    stage = dockerfile[dockerfile.rindex("\nFROM ") :].replace("\\\n", " ")
    stage = stage.replace("$VERSION", version).replace("$REVISION", revision)
    found = {"Env": [], "ExposedPorts": {}, "Labels": {}}
    for name, rest in re.findall(r"^([A-Z]+) +(.*)$", stage, re.MULTILINE):
        if name == "USER":
            found["User"] = rest
        elif name == "STOPSIGNAL":
            found["StopSignal"] = rest
        elif name == "ENTRYPOINT":
            found["Entrypoint"] = json.loads(rest)
        elif name == "ENV":
            found["Env"] += rest.split()
        elif name == "EXPOSE":
            found["ExposedPorts"] |= {f"{port}/tcp": {} for port in rest.split()}
        elif name == "LABEL":
            found["Labels"] |= dict(re.findall(r'(\S+)="([^"]*)"', rest))
        elif name not in ("FROM", "ARG", "COPY", "HEALTHCHECK"):
            raise ValueError(f"{name} of the Dockerfile is not known here")
    return found


def layout(dockerfile, images, version, revision, time):
    """The archive: `images` are pairs of a machine's name and its layer, a .tar.gz."""
    blobs, manifests = {}, []

    def add(data, kind, **more):
        blobs[digest(data)] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}

    created = datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = settings(dockerfile, version, revision)
    for machine, layer in images:
        whole = {
            "created": created,
            "architecture": machine,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(gzip.decompress(layer))]},
            "history": [{"created": created, "created_by": ".ci/release"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": add(plain(whole), "application/vnd.oci.image.config.v1+json"),
            "layers": [add(layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
            "annotations": config["Labels"],
        }
        platform = {"architecture": machine, "os": "linux"}
        name = {"org.opencontainers.image.ref.name": version} if len(images) == 1 else {}
        manifests.append(add(plain(manifest), MANIFEST, platform=platform, **({"annotations": name} if name else {})))
    kind = "application/vnd.oci.image.index.v1+json"
    if len(images) > 1:
        inner = plain({"schemaVersion": 2, "mediaType": kind, "manifests": manifests})
        manifests = [add(inner, kind, annotations={"org.opencontainers.image.ref.name": version})]
    files = {"oci-layout": plain({"imageLayoutVersion": "1.0.0"})}
    files["index.json"] = plain({"schemaVersion": 2, "mediaType": kind, "manifests": manifests})
    files |= {f"blobs/sha256/{name.removeprefix('sha256:')}": data for name, data in blobs.items()}
    return archive(files, time)


def plain(thing):
    return json.dumps(thing, separators=(",", ":"), sort_keys=True).encode()


def archive(files, time):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as written:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o644, time
            written.addfile(entry, io.BytesIO(data))
    return out.getvalue()
