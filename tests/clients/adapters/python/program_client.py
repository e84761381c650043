"""Programs that write an answer to their output, with the few lines that a reader of it needs; `order["program"]` says which."""

import subprocess
import tempfile

from said import ORDER, event, headers, say


def curl(head):
    command = ["curl", "-sN", "-D", head, *ORDER["flags"], *ORDER["options"], ORDER["url"]]
    for name, value in headers().items():
        command += ["-H", f"{name}: {value}"]
    return command


def wget(head):
    # It would ask again by itself, for the rest of a file, in the same output.
    command = ["wget", "-q", "-O", "-", "--server-response", "-o", head, "--tries=1", ORDER["url"]]
    command += ["--compression=auto"] if "--compressed" in ORDER["options"] else []
    command += [f"--header={name}: {value}" for name, value in headers().items()]
    return command


def httpie(head):
    """It writes the head to the same output; a reader of that has no need of `head`."""
    command = ["http", "--ignore-stdin", "--stream", "--print=hb", "--pretty=none", ORDER["url"]]
    return command + [f"{name}:{value}" for name, value in headers().items()]


def status_of(name):
    """The answer's, as the program wrote it; tells the protocol."""
    for line in open(name, errors="replace"):
        if line.strip().startswith("HTTP/"):
            say("answer", protocol=line.split()[0])
            return int(line.split()[1])
    return None


def read(lines, opened):
    """What a reader of event streams makes of lines."""
    type_, data, id_ = "", [], ""
    for line in lines:
        opened()
        name, _, value = line.decode().rstrip("\n").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            type_ = value
        elif name == "id":
            id_ = value
        elif name == "" and value == "":
            # Only now: what breaks off within an event has not had it.
            say("id", id=id_)
            if data:
                event(type_, "\n".join(data), id_)
            type_, data = "", []


with tempfile.NamedTemporaryFile() as head:
    command = globals()[ORDER["program"]](head.name)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    status, told = None, False
    lines = iter(process.stdout)
    if ORDER["program"] == "httpie":
        for line in lines:
            if line.startswith(b"HTTP/"):
                status = int(line.split()[1])
            if not line.strip():
                break

    def opened():
        global status, told
        if not told:
            status, told = status or status_of(head.name), True
            if status == 200:
                say("open")

    if status in (None, 200):
        read(lines, opened)
    process.wait()
    status = status or status_of(head.name)
    if not told or status != 200:
        say("error", status=status, text=f"exit code {process.returncode}")
say("closed")
