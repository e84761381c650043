"""Runs each client through each case, against real nodes, and writes docs/clients.md. Prints results as `cargo test` does.
Usage: run.py BINARY [--only CLIENT | --only CLIENT:CASE | --only :CASE]... [--jobs N]; run.py --list names the clients."""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import threading
import traceback

import nghttp2
import page
from case import NOT_TRIED
from cases import CASES
from clients import CLIENTS
from servers import Place, Redis
from world import World

LOCK = threading.Lock()


def course(client, cases, place, redis, binary):
    """The client through its cases, one after another: case → what it did."""
    found = {}
    for name in cases:
        if client.expects(name) == NOT_TRIED:
            found[name] = NOT_TRIED
            continue
        world = World(place, redis, binary, client)
        try:
            found[name] = CASES[name][2](world)
            problem = "" if found[name] == client.expects(name) else f"does: {found[name]}; expected: {client.expects(name)}"
        except Exception:
            found[name], problem = "fails", traceback.format_exc()
        finally:
            world.close()
        with LOCK:
            if problem:
                print(problem)
            print(f"test clients::{client.name}::{name} ... {'FAILED' if problem else 'ok'}", flush=True)
    return found


def certificate(place):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", place.path / "key.pem", "-out", place.path / "cert.pem"],
        check=True, capture_output=True,
    )
    subprocess.run(
        ["keytool", "-importcert", "-noprompt", "-file", place.path / "cert.pem", "-keystore", place.path / "trusted.p12",
         "-storepass", "password"],
        check=True, capture_output=True,
    )
    place.trusting = {
        "SSL_CERT_FILE": place.path / "cert.pem",
        "CURL_CA_BUNDLE": place.path / "cert.pem",
        "NODE_EXTRA_CA_CERTS": place.path / "cert.pem",
        "JDK_JAVA_OPTIONS": f"-Djavax.net.ssl.trustStore={place.path}/trusted.p12 -Djavax.net.ssl.trustStorePassword=password",
    }


def main():
    if sys.argv[1:] == ["--list"]:
        print(*(client.name for client in CLIENTS), *nghttp2.PROGRAMS, sep="\n")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=max(2, os.cpu_count()))
    options = parser.parse_args()
    wanted = {}
    for client in CLIENTS:
        only = [each.partition(":")[2] for each in options.only if each.partition(":")[0] in (client.name, "")]
        if not options.only or only:
            named = [case for case in only if case]
            wanted[client.name] = (client, named or list(CASES))
    programs = [name for name in nghttp2.PROGRAMS if not options.only or name in options.only]
    with Place() as place:
        redis = Redis(place)
        certificate(place)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            runs = {
                name: pool.submit(course, client, cases, place, redis, options.binary.resolve())
                for name, (client, cases) in wanted.items()
            }
            found = {name: run.result() for name, run in runs.items()}
        right = nghttp2.run(programs, place, redis, options.binary.resolve())
    right += [did == wanted[name][0].expects(case) for name, cases in found.items() for case, did in cases.items()]
    # Written anew whatever it says, so that a difference can be looked at. What was not tried is as expected.
    expected = {client.name: {case: client.expects(case) for case in CASES} for client in CLIENTS}
    same = page.write({name: expected[name] | found.get(name, {}) for name in expected})
    print(f"test clients::page_is_as_in_the_tree ... {'ok' if same else 'FAILED'}")
    right.append(same)
    failed = right.count(False)
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(right) - failed} passed; {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
