#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an idle node costs: memory, wake-ups, processor time, and bytes written.

--pods pods of the demo image (half of them with a readiness and a liveness probe of Kubernetes'
default period, 10 s), then nothing for --seconds. With --load the same again after work: 50 pods up
and down, 500 requests, a watching client that goes. Exit code 1 when a goal is missed.
usage: idle.py [--build DIR] [--pods 10] [--seconds 600] [--load]"""
import argparse
import os
import sys
import time

import bench

SETTLE = 60  # seconds of rest before a measurement
GOALS = {"daemon RSS kB": 10240, "daemon PSS kB": 10240, "sandbox RSS kB, largest": 800,
         "sandbox anonymous kB, largest": 150, "bytes written": 0, "files of the state directory changed": 0,
         "wake-ups per second": 1}


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", default=os.environ.get("CORACLE_BUILD", "build"))
    p.add_argument("--pods", type=int, default=10)
    p.add_argument("--seconds", type=int, default=600)
    p.add_argument("--load", action="store_true")
    return p.parse_args()


def server(name, probes):
    pod = bench.sleeper(name, lib.IMAGE)
    main = pod["spec"]["containers"][0]
    main.update(args=["--http", "8080"], ports=[{"name": "http", "containerPort": 8080}])
    del main["command"]
    if probes:
        check = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10}
        main.update(readinessProbe=check, livenessProbe=check)
    return pod


def ready(api):
    return sum(c["type"] == "Ready" and c["status"] == "True" for p in api.call("GET", bench.PODS)["items"]
               for c in p.get("status", {}).get("conditions", []))


def measure(cluster, seconds):
    """Figures of `seconds` of rest, in the order they are printed."""
    pid = cluster.daemon.pid
    boxes = cluster.sandboxes()
    files, bytes_before = bench.tree_state(cluster.state_dir), bench.written(pid)
    (wakes, cpu), box_wakes = bench.activity(pid), sum(bench.activity(b)[0] for b in boxes)
    start = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - start
    (wakes2, cpu2), box_wakes2 = bench.activity(pid), sum(bench.activity(b)[0] for b in boxes)
    after = bench.tree_state(cluster.state_dir)
    changed = [p for p in set(files) | set(after) if files.get(p) != after.get(p)]
    memory, box = bench.memory(pid), [bench.memory(b) for b in boxes]
    figures = {
        "daemon RSS kB": memory["Rss"], "daemon PSS kB": memory["Pss"], "daemon anonymous kB": memory["Anonymous"],
        "sandboxes": len(boxes),
        "sandbox RSS kB, largest": max((b["Rss"] for b in box), default=0),
        "sandbox PSS kB, mean": round(sum(b["Pss"] for b in box) / max(1, len(box))),
        "sandbox anonymous kB, largest": max((b["Anonymous"] for b in box), default=0),
        "bytes written": bench.written(pid) - bytes_before,
        "files of the state directory changed": len(changed),
        "wake-ups per second": round((wakes2 - wakes) / took, 3),
        "wake-ups per second, all sandboxes": round((box_wakes2 - box_wakes) / took, 3),
        "CPU ms per minute": round((cpu2 - cpu) * 60 / took, 2),
    }
    for path in sorted(changed):
        print("changed:", path)
    return figures


def report(title, figures):
    """Prints; returns whether every goal is met."""
    print(f"-- {title}")
    good = True
    for name, value in figures.items():
        goal = GOALS.get(name)
        met = goal is None or (value < goal if goal == 1 else value <= goal)
        good &= met
        text = "" if goal is None else f"  (goal {'<' if goal == 1 else '≤'} {goal}{'' if met else ': MISSED'})"
        print(f"{name:40} {value:>10}{text}")
    sys.stdout.flush()
    return good


def rest():
    time.sleep(SETTLE)


def work(cluster, api):
    """A burst of what a busy day brings."""
    watcher = bench.Api(cluster.socket)
    next_event = watcher.events(bench.PODS)
    for i in range(50):
        api.call("POST", bench.PODS, bench.sleeper(f"load{i}", lib.IMAGE))
    next(next_event)
    for i in range(500):
        api.call("GET", bench.PODS)
    names = [f"load{i}" for i in range(50)]
    bench.until(lambda: sum(bench.is_running(p) and p["metadata"]["name"] in names
                            for p in api.call("GET", bench.PODS)["items"]) == 50, every=0.1)
    for name in names:
        api.call("DELETE", f"{bench.PODS}/{name}")
    bench.until(lambda: not any(p["metadata"]["name"] in names for p in api.call("GET", bench.PODS)["items"]),
                every=0.1)
    watcher.close()


def main():
    global lib
    o = options()
    os.environ["CORACLE_BUILD"] = os.path.abspath(o.build)
    import lib
    with lib.Cluster() as cluster:
        cluster.load_image()
        api = bench.Api(cluster.socket)
        for i in range(o.pods):
            api.call("POST", bench.PODS, server(f"idle{i}", i % 2 == 0))
        bench.until(lambda: ready(api) == o.pods, every=0.1)
        api.close()
        rest()
        good = report(f"idle with {o.pods} pods, {o.seconds} s", measure(cluster, o.seconds))
        if o.load:
            work(cluster, api)
            api.close()
            rest()
            good &= report("idle again after 50 pods up and down and 500 requests", measure(cluster, o.seconds))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
