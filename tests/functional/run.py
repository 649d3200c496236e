#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the functional tests: every function test_* of every test_*.py beside this file.

A module may have a generator `cluster()` that yields what its tests get as argument (made once for
the module); a test whose parameter list is empty gets nothing. --only TEXT takes a subset."""
import argparse
import contextlib
import importlib
import inspect
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))


def tests_of(module, only):
    found = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and inspect.isfunction(f)]
    return [(n, f) for n, f in found if only in f"{module.__name__}.{n}"]


def run_test(name, function, args):
    start = time.monotonic()
    try:
        function(*args)
        print(f"ok: {name} ({time.monotonic() - start:.1f} s)", flush=True)
        return True
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"FAILED: {name} ({time.monotonic() - start:.1f} s)", flush=True)
        return False


def run_module(module, only):
    tests = tests_of(module, only)
    passed = failed = 0
    if not tests:
        return 0, 0
    try:
        with contextlib.ExitStack() as stack:
            shared = stack.enter_context(contextlib.contextmanager(module.cluster)()) \
                if hasattr(module, "cluster") else None
            for name, function in tests:
                args = [shared] if inspect.signature(function).parameters else []
                good = run_test(f"{module.__name__}.{name}", function, args)
                passed, failed = passed + good, failed + (not good)
                if not good and shared is not None and hasattr(shared, "show_log"):
                    shared.show_log()
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"FAILED: {module.__name__}: set-up or clean-up", flush=True)
        failed += 1
    return passed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", help="build directory")
    parser.add_argument("--only", default="", help="tests whose name holds this text")
    parser.add_argument("--result", help="file for the counts")
    options = parser.parse_args()
    if options.build:
        os.environ["CORACLE_BUILD"] = os.path.abspath(options.build)
    sys.path.insert(0, HERE)
    passed = failed = 0
    for file in sorted(os.listdir(HERE)):
        if file.startswith("test_") and file.endswith(".py"):
            p, f = run_module(importlib.import_module(file[:-3]), options.only)
            passed, failed = passed + p, failed + f
    if options.result:
        with open(options.result, "w") as out:
            out.write(f"{passed} {failed}\n")
    print(f"functional tests: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
