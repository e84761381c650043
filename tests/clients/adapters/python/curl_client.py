"""curl -N, with the few lines that a reader of its output needs."""

import subprocess
import tempfile

from said import ORDER, event, headers, say

with tempfile.NamedTemporaryFile() as head:
    command = ["curl", "-sN", "-D", head.name, *ORDER["options"], ORDER["url"]]
    for name, value in headers().items():
        command += ["-H", f"{name}: {value}"]
    curl = subprocess.Popen(command, stdout=subprocess.PIPE)
    type_, data, id_, opened = "", [], "", False
    for line in curl.stdout:
        if not opened:
            status = int(open(head.name, "rb").readline().split()[1])
            if status != 200:
                break
            opened = True
            say("open")
        name, _, value = line.decode().rstrip("\n").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            type_ = value
        elif name == "id":
            id_ = value
            say("id", id=id_)
        elif name == "" and value == "":
            if data:
                event(type_, "\n".join(data), id_)
            type_, data = "", []
    curl.wait()
    if not opened:
        line = open(head.name, "rb").readline().split()
        say("error", status=int(line[1]) if line else None, text=f"curl's exit code {curl.returncode}")
say("closed")
