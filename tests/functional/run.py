#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the functional tests: every function test_* of every test_*.py beside this file.

A module may have a generator `cluster()` that yields what its tests get as argument (made once for
the module); a test whose parameter list is empty gets nothing. --only TEXT takes a subset. Modules
share nothing and run --jobs at a time, each in a process of its own. In a build with sanitizers every
report of any program is a failure."""
import argparse
import concurrent.futures
import contextlib
import glob
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
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


def modules(only):
    """Names of the modules that have a test to run; those with LONG = True begin."""
    names = sorted(f[:-3] for f in os.listdir(HERE) if f.startswith("test_") and f.endswith(".py"))
    found = [m for m in map(importlib.import_module, names) if tests_of(m, only)]
    return [m.__name__ for m in sorted(found, key=lambda m: not getattr(m, "LONG", False))]


def run_apart(name, only):
    """One module in a process of its own; (passed, failed) and prints what it printed, in one piece."""
    with tempfile.NamedTemporaryFile("r") as result:
        p = subprocess.run([sys.executable, os.path.abspath(__file__), "--module", name, "--only", only,
                            "--result", result.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        counts = [int(n) for n in result.read().split()]
    print(p.stdout, end="", flush=True)
    if len(counts) != 2:
        print(f"FAILED: {name}: ended with {p.returncode}", flush=True)
    return counts if len(counts) == 2 else (0, 1)


def run_all(only, jobs):
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for p, f in pool.map(lambda name: run_apart(name, only), modules(only)):
            passed, failed = passed + p, failed + f
    return passed, failed


@contextlib.contextmanager
def sanitizer_reports():
    """Reports of all programs that are started in the block go to files; yields their pattern."""
    folder = tempfile.mkdtemp(prefix="coracle-reports-", dir="/var/tmp")
    for name, options in (("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1"),
                          ("UBSAN_OPTIONS", "print_stacktrace=1")):
        os.environ[name] = f"{options}:log_path={folder}/report"
    try:
        yield folder + "/report*"
    finally:
        shutil.rmtree(folder)


def is_finding(report):
    """False when all it says is that LeakSanitizer lost a process that a test killed while it was looking."""
    return not re.fullmatch(r"(==\d+==Unable to get registers from thread \d+\.\s*)+", report)


def count_reports(pattern):
    findings = 0
    for path in glob.glob(pattern):
        with open(path, errors="replace") as f:
            report = f.read(8000)
        if is_finding(report):
            findings += 1
            print(f"FAILED: a sanitizer reports\n{report}")
    return findings


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", help="build directory")
    parser.add_argument("--only", default="", help="tests whose name holds this text")
    parser.add_argument("--result", help="file for the counts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() + 1, help="modules at a time")
    parser.add_argument("--module", help="this module, here and now")
    options = parser.parse_args()
    if options.build:
        os.environ["CORACLE_BUILD"] = os.path.abspath(options.build)
    sys.path.insert(0, HERE)
    if options.module:
        passed, failed = run_module(importlib.import_module(options.module), options.only)
    else:
        with sanitizer_reports() as reports:
            passed, failed = run_all(options.only, options.jobs)
            failed += count_reports(reports)
        print(f"functional tests: {passed} passed, {failed} failed")
    if options.result:
        with open(options.result, "w") as out:
            out.write(f"{passed} {failed}\n")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
