"""Containers of a pod as a kubelet would start them, by podman, and the names that they resolve."""

import json
import pathlib
import re
import resource
import socket
import subprocess
import tempfile
import threading

from image_build import NAME, storage

# What a container runtime gives, containerd 1 at least: few files until the node asks for more.
FILES = 1024
# Podman's own default is more than a process may have on some machines.
PROCESSES = 1024
SEARCH = ["events.svc.cluster.local", "svc.cluster.local", "cluster.local"]


class Names(threading.Thread):
    """A DNS server on port 53 of loopback: some names are this machine, and no others are."""

    def __init__(self, known):
        super().__init__(daemon=True)
        self.known, self.asked = set(known), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.start()

    def run(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            self.socket.sendto(self.answer(query), client)

    def answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question, kind = query[12 : at + 5], int.from_bytes(query[at + 1 : at + 3], "big")
        name = ".".join(labels)
        self.asked.append(name)
        found = name in self.known
        record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01" if found and kind == 1 else b""
        # RFC 1035, section 4.1.1: an answer, recursion available, NXDOMAIN where there is no such name.
        flags = b"\x81\x80" if found else b"\x81\x83"
        return query[:2] + flags + b"\x00\x01" + bytes([0, bool(record)]) + b"\x00\x00\x00\x00" + question + record


def always():
    """What every container is run with: no more than this process may itself, and no timer of systemd's."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [f"--ulimit=nofile={FILES}:{files}", f"--ulimit=nproc={PROCESSES}:{PROCESSES}"]
    return ["--pull=never", "--no-healthcheck", "--network=host", *limits]


class Containers:
    """Runs containers from pod specifications, with Secrets that are dictionaries of file names and texts."""

    def __init__(self, folder, secrets):
        self.podman = ["podman", *storage(pathlib.Path(folder)), "--runtime=runc", "--cgroup-manager=cgroupfs"]
        self.podman.append("--log-level=error")
        self.secrets, self.place = secrets, pathlib.Path(tempfile.mkdtemp(prefix="fantail-pod-"))
        self.place.chmod(0o755)

    def ask(self, *words, code=0, limit=180):
        found = subprocess.run(
            [*map(str, self.podman), *map(str, words)], capture_output=True, text=True, timeout=limit
        )
        assert found.returncode == code, f"podman {words[0]}: {found.returncode}\n{found.stdout}{found.stderr}"
        return (found.stdout + found.stderr).strip()

    def variables(self, container):
        found = {}
        for each in container["env"]:
            origin = each.get("valueFrom", {})
            if "secretKeyRef" in origin:
                found[each["name"]] = self.secrets[origin["secretKeyRef"]["name"]][origin["secretKeyRef"]["key"]]
            elif "fieldRef" in origin:
                found[each["name"]] = "0b0b0b0b-0000-4000-8000-000000000000"
            else:
                found[each["name"]] = each["value"]
        return found

    def mount(self, pod, volume):
        """A Secret as files, of root and the pod's group."""
        source = next(each for each in pod["volumes"] if each["name"] == volume["name"])["secret"]
        folder = self.place / volume["name"]
        folder.mkdir(exist_ok=True)
        data = self.secrets[source["secretName"]]
        items = source.get("items") or [{"key": key, "path": key} for key in data]
        for item in items:
            file = folder / item["path"]
            file.write_text(data[item["key"]])
            file.chmod(source["defaultMode"])
            subprocess.run(["chown", f"0:{pod['securityContext']['fsGroup']}", file], check=True)
        return f"--volume={folder}:{volume['mountPath']}:ro"

    def arguments(self, pod, container):
        """What podman is told for a container of a pod; raises where the pod does not ask for what it must."""
        user, security = pod["securityContext"], container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]} and user["seccompProfile"] == {"type": "RuntimeDefault"}
        env = self.variables(container)
        words = re.sub(r"\$\((\w+)\)", lambda found: env[found.group(1)], json.dumps(container["args"]))
        return [
            *always(),
            "--no-hosts",
            "--dns=127.0.0.1",
            *(f"--dns-search={each}" for each in SEARCH),
            "--dns-option=ndots:5",
            f"--user={user['runAsUser']}:{user['runAsGroup']}",
            f"--group-add={user['fsGroup']}",
            "--read-only",
            "--read-only-tmpfs=false",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
            f"--memory={container['resources']['limits']['memory'].replace('Mi', 'm').replace('Gi', 'g')}",
            *(self.mount(pod, each) for each in container.get("volumeMounts", [])),
            *(f"--env={name}={value}" for name, value in env.items()),
            NAME,
            *json.loads(words),
        ]

    def begin(self, pod):
        """Starts the pod's container; its id."""
        return self.ask("run", "--detach", *self.arguments(pod, pod["containers"][0])).splitlines()[-1]

    def finish(self, pod, container, code=0):
        """Runs a container to its end; what it wrote."""
        return self.ask("run", "--rm", *self.arguments(pod, container), code=code)
