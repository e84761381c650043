"""Runs functions as tests and prints their results as `cargo test` does, so that tests/run counts them."""

import sys
import time
import traceback

CASES = []


def case(function):
    """Marks a test. Its name is a sentence; it fails by an exception."""
    CASES.append(function)
    return function


def run(suite, only=(), course=False):
    """Runs the cases, or those named, in their order; exits with 1 when one failed. In a course each needs those before."""
    chosen = [each for each in CASES if not only or each.__name__ in only]
    failed = 0
    for each in chosen:
        name, begin = f"{suite}::{each.__name__}", time.monotonic()
        if course and failed:
            failed += 1
            print(f"test {name} ... FAILED (not reached)")
            continue
        try:
            each()
        except BaseException as error:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print(f"test {name} ... FAILED ({time.monotonic() - begin:.1f} s)", flush=True)
            if isinstance(error, KeyboardInterrupt):
                break
        else:
            print(f"test {name} ... ok ({time.monotonic() - begin:.1f} s)", flush=True)
    word = "FAILED" if failed or not chosen else "ok"
    print(f"test result: {word}. {len(chosen) - failed} passed; {failed} failed", flush=True)
    sys.exit(1 if failed or not chosen else 0)


def eventually(what, question, limit=120.0, every=0.2):
    """Asks until the answer is true, and returns it; fails after `limit` seconds with `what` did not come."""
    end = time.monotonic() + limit
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        time.sleep(every)
