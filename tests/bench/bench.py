# SPDX-License-Identifier: Apache-2.0
"""Shared by the measurements: a cluster of the functional tests, an HTTP client on its socket, and
what the kernel tells of processes."""
import glob
import http.client
import json
import os
import re
import socket
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "functional"))
IDLE = 10  # seconds after which a kept connection may have been closed by the server
PODS = "/api/v1/namespaces/default/pods"


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


class Api(http.client.HTTPConnection):
    """JSON over the daemon's local socket; one kept connection."""

    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path
        self.used = 0

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def call(self, method, path, body=None, content="application/json"):
        if time.monotonic() - self.used > IDLE:
            self.close()
        self.used = time.monotonic()
        self.request(method, path, json.dumps(body) if body is not None else None,
                     {"Content-Type": content})
        answer = self.getresponse()
        value = json.loads(answer.read() or b"{}")
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {value.get('message')}")
        return value

    def events(self, path):
        """Watch events from now on, as (type, object)."""
        rev = self.call("GET", path)["metadata"]["resourceVersion"]
        self.request("GET", f"{path}?watch=1&resourceVersion={rev}")
        answer = self.getresponse()
        while line := answer.readline():
            event = json.loads(line)
            yield event["type"], event["object"]


def sleeper(name, image):
    """A pod of one container that sleeps: what there is to do is starting it, nothing else."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "bench"}},
            "spec": {"terminationGracePeriodSeconds": 0,
                     "containers": [{"name": "main", "image": image, "command": ["/bin/sleep", "33333"]}]}}


def is_running(pod):
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return pod.get("status", {}).get("phase") == "Running" and all("running" in s["state"] for s in statuses)


def running(api):
    return sum(is_running(p) for p in api.call("GET", PODS)["items"])


def until(condition, timeout=120, every=0.005):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {timeout} s in vain")
        time.sleep(every)


def empty(cluster, api):
    """Deletes every pod of the default namespace and waits for the last to go."""
    api.call("DELETE", PODS)
    until(lambda: not api.call("GET", PODS)["items"] and not cluster.sandboxes(), every=0.05)


# -- figures of processes


def memory(pid):
    """kB of a process: Rss, Pss, Anonymous."""
    text = read(f"/proc/{pid}/smaps_rollup")
    return {k: int((re.search(rf"^{k}:\s+(\d+)", text, re.M) or [0, 0])[1]) for k in ("Rss", "Pss", "Anonymous")}


def activity(pid):
    """(voluntary switches = wake-ups, CPU ms) of all threads so far."""
    wakes = cpu = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", read(task + "/status"), re.M)
        stat = read(task + "/schedstat").split()
        wakes += int(match[1]) if match else 0
        cpu += int(stat[0]) / 1e6 if stat else 0
    return wakes, cpu


def written(pid):
    """Bytes that a process has caused to go to a disk (tmpfs does not count)."""
    match = re.search(r"^write_bytes: (\d+)", read(f"/proc/{pid}/io"), re.M)
    return int(match[1]) if match else 0


def tree_state(root):
    """Every file's size, times and inode: what a write of any kind changes."""
    found = {}
    for folder, _, files in os.walk(root):
        for name in [""] + files:
            path = os.path.join(folder, name)
            try:
                st = os.lstat(path)
                found[path] = (st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_blocks)
            except OSError:
                found[path] = None
    return found


def machine_load():
    """Share of all processors that was busy in the last second."""
    def snap():
        v = [int(x) for x in read("/proc/stat").split("\n")[0].split()[1:9]]
        return sum(v), v[3] + v[4]
    a = snap()
    time.sleep(1)
    b = snap()
    return 1 - (b[1] - a[1]) / max(1, b[0] - a[0])


def p90(values):
    return sorted(values)[max(0, -(-len(values) * 9 // 10) - 1)]


def median(values):
    return statistics.median(values)
