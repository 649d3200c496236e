#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What large objects cost everybody else.

A connection through a Service's address says something and gets it back, all the time, while
objects of three forms are created, read, listed as tables, updated, patched in every way, applied,
watched by --watchers and deleted: 1 MB in one value, 20,000 small keys, a custom resource of 3 MB
with 185,000 nested values. A small one is written meanwhile, every 10 ms: its parsed form pushes the
large one's out of the cache. Printed for each: round trips (p50, p99, longest) and the longest turn
of the daemon's loop in processor time, which a busy machine does not make longer.

The goal is a longest turn of 5 ms: --check makes anything longer an error.
usage: stalls.py [--build DIR] [--seconds 3] [--watchers 100] [--only TEXT] [--check]"""
import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time

import bench

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
BOATS = "/apis/bench.example.com/v1/namespaces/default/boats"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
GOAL_US = 5000


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", default=os.environ.get("CORACLE_BUILD", "build"))
    p.add_argument("--seconds", type=float, default=3, help="of each load")
    p.add_argument("--watchers", type=int, default=100)
    p.add_argument("--only", default="", help="loads whose name holds this")
    p.add_argument("--check", action="store_true")
    return p.parse_args()


# -- the objects


def definition():
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    hold = {"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 64}, "size": {"type": "integer", "minimum": 0},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "rows": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}}}
    spec = {"type": "object", "properties": {"holds": {"type": "array", "items": hold}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": anything}}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "boats.bench.example.com"},
            "spec": {"group": "bench.example.com", "scope": "Namespaced",
                     "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema,
                                   "subresources": {"status": {}}}]}}


def config_map(data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": data}


def boat(holds):
    return {"apiVersion": "bench.example.com/v1", "kind": "Boat", "metadata": {"name": "big"},
            "spec": {"holds": [{"name": f"hold number {i}", "size": i,
                                "labels": {f"example.com/label-{k}": f"value-{i}-{k} " + "x" * 50 for k in range(10)},
                                "rows": [list(range(r, r + 10)) for r in range(8)]} for i in range(holds)]}}


LABEL = ("metadata", "labels")
# name: (path, object, the path of one value in it)
OBJECTS = {
    "1 MB value": (CONFIGMAPS, config_map({"v": "x" * 1000000, "k0": "0"}), ("data", "k0")),
    "20,000 keys": (CONFIGMAPS, config_map({f"k{i}": f"value {i}" for i in range(20000)}), ("data", "k0")),
    "3 MB custom": (BOATS, boat(1800), LABEL),
}


# -- the loads: each is called again and again with a connection, the object and a number


def name_of(path, obj):
    return f"{path}/{obj['metadata']['name']}"


def change(keys, n):
    """A merge patch of one value. Custom objects have a label changed: their schema is strict."""
    if keys == LABEL:
        return {"metadata": {"labels": {"n": str(n)}}}
    return {keys[0]: {keys[1]: str(n)}}


def labelled(obj, n):
    return dict(obj, metadata=dict(obj["metadata"], labels={"n": str(n)}))


def load_create(c, path, obj, keys, n):
    c.call("POST", path, obj)
    c.call("DELETE", name_of(path, obj))


def load_put(c, path, obj, keys, n):
    put = labelled(obj, n)
    if path == BOATS:  # may not be updated blindly
        put["metadata"]["resourceVersion"] = c.call("GET", name_of(path, obj))["metadata"]["resourceVersion"]
    c.call("PUT", name_of(path, obj), put)


def load_merge(c, path, obj, keys, n):
    c.call("PATCH", name_of(path, obj), change(keys, n), "application/merge-patch+json")


def load_json(c, path, obj, keys, n):
    ops = [{"op": "add", "path": "/metadata/annotations", "value": {"n": str(n)}}]
    c.call("PATCH", name_of(path, obj), ops, "application/json-patch+json")


def load_strategic(c, path, obj, keys, n):
    c.call("PATCH", name_of(path, obj), change(keys, n), "application/strategic-merge-patch+json")


def load_large_merge(c, path, obj, keys, n):
    c.call("PATCH", name_of(path, obj), dict(obj, metadata={"labels": {"n": str(n)}}), "application/merge-patch+json")


def load_apply(c, path, obj, keys, n):
    c.call("PATCH", name_of(path, obj) + "?fieldManager=bench&force=true", labelled(obj, n), "application/apply-patch+yaml")


def load_get(c, path, obj, keys, n):
    c.call("GET", name_of(path, obj))


def load_table(c, path, obj, keys, n):
    c.request("GET", path, headers={"Accept": TABLE})
    assert c.getresponse().read().startswith(b"{")


def load_get_table(c, path, obj, keys, n):
    c.request("GET", name_of(path, obj), headers={"Accept": TABLE})
    assert c.getresponse().read().startswith(b"{")


def load_yaml(c, path, obj, keys, n):
    c.request("GET", name_of(path, obj), headers={"Accept": "application/yaml"})
    c.getresponse().read()


def load_selected(c, path, obj, keys, n):
    c.call("GET", path + "?labelSelector=n%3D7")


LOADS = {name[5:]: fn for name, fn in list(globals().items()) if name.startswith("load_")}


def watchers(c, path, socket_path, n, accept):
    found = []
    for _ in range(n):
        w = bench.Api(socket_path)
        w.request("GET", f"{path}?watch=1&sendInitialEvents=false", headers={"Accept": accept} if accept else {})
        found.append(w)
    return found


def work(o):
    """The load's own process: argv is its name, the object's and the socket."""
    what, form, socket_path = o
    path, obj, keys = OBJECTS[form]
    c = bench.Api(socket_path)
    accept = TABLE if what == "watch-table" else None
    fn = LOADS.get(what, load_merge)
    if fn is not load_create:
        c.call("POST", path, obj)
    threading.Thread(target=write_small, args=(socket_path,), daemon=True).start()
    held = []
    if what in ("watch", "watch-table"):
        held = watchers(c, path, socket_path, int(os.environ["WATCHERS"]), accept)
        for w in held:
            threading.Thread(target=drain, args=(w,), daemon=True).start()
    if what == "slow-watch":
        held = watchers(c, path, socket_path, 1, None)
    print("ready", flush=True)
    n = 0
    while os.getppid() == PARENT:
        n += 1
        fn(c, path, obj, keys, n)
        print(n, flush=True)


def write_small(socket_path):
    c = bench.Api(socket_path)
    n = 0
    while True:
        n += 1
        c.call("PATCH", f"{CONFIGMAPS}/small", {"data": {"n": str(n)}}, "application/merge-patch+json")
        time.sleep(0.01)


def drain(w):
    w.sock.settimeout(None)
    while w.sock.recv(1 << 20):
        pass


PARENT = os.getppid()


# -- what is measured


class Echo:
    """A kept connection through a Service to something that sends back what it gets."""

    def __init__(self, sock):
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fetch(self):
        self.sock.sendall(b"ping")
        assert self.sock.recv(16) == b"ping"


SERVER = """
import socket, threading
def pump(peer):
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := peer.recv(4096):
        peer.sendall(data)
s = socket.create_server(("192.0.2.7", 7007))
print("ready", flush=True)
while True:
    threading.Thread(target=pump, args=(s.accept()[0],), daemon=True).start()
"""


def echo(cluster, api):
    """A Service without selector, with an address of the cluster's own network namespace."""
    cluster.inside(["ip", "address", "add", "192.0.2.7/32", "dev", "lo"])
    server = subprocess.Popen(["nsenter", f"--net=/run/netns/{cluster.ns}", sys.executable, "-c", SERVER],
                              stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    made = api.call("POST", "/api/v1/namespaces/default/services", {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"},
        "spec": {"ports": [{"port": 7, "targetPort": 7007}]}})
    api.call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "echo-1", "labels": {"kubernetes.io/service-name": "echo"}},
        "ports": [{"port": 7007}], "endpoints": [{"addresses": ["192.0.2.7"]}]})
    address = made["spec"]["clusterIP"]
    from api import socket_in

    def connected():
        sock = socket_in(cluster.ns)
        sock.settimeout(10)
        try:
            sock.connect((address, 7))
            e = Echo(sock)
            e.fetch()
            return e
        except (OSError, AssertionError):
            return None
    end = time.monotonic() + 20
    while not (found := connected()):
        if time.monotonic() > end:
            raise RuntimeError("the service does not answer")
        time.sleep(0.05)
    return server, found


def turns(api):
    """Longest turn since this was asked last, and how many were longer than the goal."""
    row = api.call("GET", "/coracle/v1/show/loop")[1]
    return row["longest us"], row["<=10ms"] + row["<=20ms"] + row["<=50ms"] + row["longer"]


def spread(values):
    v = sorted(values)
    return f"p50 {v[len(v) // 2]:.2f}, p99 {v[int(len(v) * 0.99)]:.2f}, longest {v[-1]:.2f} ms"


def measure(ping, seconds):
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        ping.fetch()
        took.append((time.monotonic() - start) * 1e3)
    return took


def one(o, cluster, api, ping, form, what):
    turns(api)
    load = subprocess.Popen([sys.executable, __file__, "--work", what, form, cluster.socket],
                            stdout=subprocess.PIPE, text=True, env=dict(os.environ, WATCHERS=str(o.watchers)))
    if load.stdout.readline() != "ready\n":
        raise RuntimeError(f"{form}, {what}: the load has not begun")
    times = measure(ping, o.seconds)
    longest, over = turns(api)
    ended = load.poll() is not None
    load.kill()
    done = len(load.stdout.readlines())
    load.wait()
    if ended or not done:
        raise RuntimeError(f"{form}, {what}: the load has ended early, or did nothing ({done})")
    path, obj, _ = OBJECTS[form]
    # What the killed client had begun goes on.
    bench.until(lambda: len(api.call("GET", "/coracle/v1/show/requests")) == 1)
    try:
        api.call("DELETE", name_of(path, obj))
    except RuntimeError:
        pass
    print(f"{form:12} {what:12} {done / o.seconds:7.1f}/s  round trip {spread(times)}; "
          f"longest turn {longest / 1e3:.2f} ms, {over} over 5 ms", flush=True)
    return longest


def main():
    o = options()
    os.environ["CORACLE_BUILD"] = os.path.abspath(o.build)
    import lib
    worst = 0
    with lib.Cluster() as cluster:
        api = bench.Api(cluster.socket)
        server, ping = echo(cluster, api)
        try:
            api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition())
            lib.wait("the kind", lambda: cluster.coracle("get", "boats", check=False).returncode == 0)
            api.call("POST", CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "small"}})
            turns(api)
            print("nothing else to do:", spread(measure(ping, o.seconds)), flush=True)
            for form in OBJECTS:
                for what in [*LOADS, "watch", "watch-table", "slow-watch"]:
                    if (form == "3 MB custom" and what == "strategic") or o.only not in f"{form}, {what}":
                        continue
                    worst = max(worst, one(o, cluster, api, ping, form, what))
        finally:
            server.kill()
            server.wait()
    print(f"longest turn of all: {worst / 1e3:.2f} ms")
    return 1 if o.check and worst > GOAL_US else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2:])
    else:
        sys.exit(main())
