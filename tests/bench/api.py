#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the API does, beside etcd (Debian's etcd-server) in the same run.

1. Durable creates a second of 2 kB objects by 1 and 64 connections (wrk over TLS with the same
   certificate on both sides; etcd through its HTTP gateway), and the bytes each puts to disk.
2. A list of --objects objects of 1 kB, and the daemon's memory with them.
3. One change told to --watchers watchers: until the last has it.
4. GET of one object while --pods pods start: p50, p99, longest.
5. A request through a Service's address while 3 MB objects are written and read, everything is
   listed and a watcher does not read: p50, p99, longest, against the same with nothing else to do.

etcd runs in a network namespace of its own, its data on the same disk. Medians of --rounds.
usage: api.py [--build DIR] [--rounds 3] [--seconds 4] [--only create,list,watch,get,proxy]"""
import argparse
import base64
import contextlib
import ctypes
import http.client
import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import bench

LIBC = ctypes.CDLL(None, use_errno=True)
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", default=os.environ.get("CORACLE_BUILD", "build"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=4, help="of each load")
    p.add_argument("--objects", type=int, default=5000)
    p.add_argument("--watchers", type=int, default=100)
    p.add_argument("--pods", type=int, default=50)
    p.add_argument("--only", default="create,list,watch,get,proxy")
    return p.parse_args()


def b64(text):
    return base64.b64encode(text.encode()).decode()


def config_map(name, size):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": "x" * size}}


# -- the two servers


class Coracle:
    name = "coracle"

    def __init__(self, cluster):
        self.cluster, self.pid = cluster, cluster.daemon.pid
        with open(os.path.join(cluster.state_dir, "pki", "token")) as f:
            token = f.read().strip()
        self.headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
        self.netns, self.url, self.create_path = cluster.ns, "https://127.0.0.1:6443", CONFIGMAPS

    def connection(self):
        return bench.Api(self.cluster.socket)

    def create_body(self, name, size):
        return json.dumps(config_map(name, size))

    def put(self, c, name, size):
        c.call("POST", CONFIGMAPS, config_map(name, size))

    def change(self, c, name, value):
        c.call("PATCH", f"{CONFIGMAPS}/{name}", {"data": {"value": value}}, "application/merge-patch+json")

    def list_request(self, prefix):
        return "GET", CONFIGMAPS, None

    def watch_request(self, name):
        return "GET", f"{CONFIGMAPS}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3D{name}", None


class Etcd:
    name = "etcd"

    def __init__(self, cluster):
        self.dir = tempfile.mkdtemp(prefix="etcd-bench-", dir="/var/tmp")
        self.run_dir = tempfile.mkdtemp(prefix="eb-", dir="/run")
        self.netns = f"etcd-bench-{os.getpid()}"
        lib.run(["ip", "netns", "add", self.netns])
        lib.run(["ip", "-n", self.netns, "link", "set", "lo", "up"])
        pki = os.path.join(cluster.state_dir, "pki")
        self.socket = os.path.join(self.run_dir, "plain")
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.netns}", "etcd", "--data-dir", self.dir,
             "--listen-client-urls", "https://127.0.0.1:2379,http://127.0.0.1:2381",
             "--advertise-client-urls", "https://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380",
             "--cert-file", f"{pki}/server.crt", "--key-file", f"{pki}/server.key", "--log-level", "error",
             "--quota-backend-bytes", str(8 << 30)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        self.headers, self.url, self.create_path = {}, "https://127.0.0.1:2379", "/v3/kv/put"
        bench.until(lambda: lib.run(["nsenter", f"--net=/run/netns/{self.netns}", "curl", "-sf",
                                     "http://127.0.0.1:2381/health"], check=False).returncode == 0, every=0.1)

    def connection(self):
        return TcpApi(self.netns, 2381)

    def create_body(self, name, size):
        return json.dumps({"key": b64(name), "value": b64("x" * size)})

    def put(self, c, name, size):
        c.call("POST", "/v3/kv/put", {"key": b64(name), "value": b64("x" * size)})

    def change(self, c, name, value):
        c.call("POST", "/v3/kv/put", {"key": b64(name), "value": b64(value)})

    def list_request(self, prefix):
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return "POST", "/v3/kv/range", {"key": b64(prefix), "range_end": b64(end), "limit": 0}

    def watch_request(self, name):
        return "POST", "/v3/watch", {"create_request": {"key": b64(name)}}

    def close(self):
        self.process.kill()
        self.process.wait()
        lib.run(["ip", "netns", "del", self.netns], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.run_dir, ignore_errors=True)


class TcpApi(bench.Api):
    """The same client over TCP inside a network namespace."""

    def __init__(self, netns, port):
        super().__init__(None)
        self.netns, self.tcp_port = netns, port

    def connect(self):
        self.sock = socket_in(self.netns)
        self.sock.settimeout(self.timeout)
        self.sock.connect(("127.0.0.1", self.tcp_port))


def socket_in(netns):
    """A TCP socket of another network namespace: made by a thread that goes there and ends."""
    made = []

    def make():
        with open(f"/run/netns/{netns}") as f:
            if LIBC.setns(f.fileno(), 0x40000000):  # CLONE_NEWNET, of this thread alone
                raise OSError("setns")
        made.append(socket.socket())
        made[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    t = threading.Thread(target=make)
    t.start()
    t.join()
    return made[0]


# -- 1. creates


LUA = """
local n, run = 0, "%(run)s"
request = function()
  n = n + 1
  return wrk.format("POST", "%(path)s", %(headers)s, (string.gsub([==[%(body)s]==], "%(key)s", %(name)s)))
end
"""


def wrk(server, connections, seconds, run):
    """(writes a second, bytes to disk a write)."""
    if server.name == "etcd":
        # What stands for the key is base64 itself: whole groups of four characters (12 + 24).
        body = server.create_body("KEY", 2048).replace(b64("KEY"), "KEY")
        name = 'run .. string.format("%012d", n)'
        run = "benches" + run * 2 + "keyed"
    else:
        body, name = server.create_body("KEY", 2048), 'run .. "-" .. n'
        run = "bench-" + run
    headers = "{" + ",".join(f'["{k}"]="{v}"' for k, v in server.headers.items()) + "}"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as f:
        f.write(LUA % {"run": run, "path": server.create_path, "headers": headers, "body": body, "key": "KEY",
                       "name": name})
        f.flush()
        before = bench.written(server.pid)
        p = lib.run(["nsenter", f"--net=/run/netns/{server.netns}", "wrk", "-t1", f"-c{connections}",
                     f"-d{seconds}s", "-s", f.name, server.url], timeout=seconds + 60)
    done = int(re.search(r"(\d+) requests in", p.stdout)[1])
    if bad := re.search(r"Non-2xx or 3xx responses: (\d+)", p.stdout):
        raise RuntimeError(f"{server.name}: {bad[0]} of {done}")
    time.sleep(1.5)  # what is written behind the answer (checkpoints) counts as well
    took = float(re.search(r"requests in ([\d.]+)s", p.stdout)[1])
    return done / took, (bench.written(server.pid) - before) / done


def creates(o, *servers):
    for connections in (1, 64):
        figures = {s.name: [] for s in servers}
        for r in range(o.rounds):
            for s in servers:
                figures[s.name].append(wrk(s, connections, o.seconds, f"{connections}r{r}".zfill(6)))
        rate = {k: bench.median([a for a, _ in v]) for k, v in figures.items()}
        size = {k: bench.median([b for _, b in v]) for k, v in figures.items()}
        print(f"durable creates, {connections:2d} connections: coracle {rate['coracle']:.0f}/s "
              f"({size['coracle'] / 1e3:.1f} kB to disk each), etcd {rate['etcd']:.0f}/s "
              f"({size['etcd'] / 1e3:.1f} kB): ratio {rate['coracle'] / rate['etcd']:.2f}", flush=True)


# -- 2. lists


def timed_list(server, c):
    method, path, body = server.list_request("list-")
    start = time.monotonic()
    c.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = c.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(text[:200])
    return (time.monotonic() - start) * 1e3, len(text)


def lists(o, *servers):
    took = {}
    for s in servers:
        c = s.connection()
        for i in range(o.objects):
            s.put(c, f"list-{i:05d}", 1024)
    for r in range(2 * o.rounds + 1):
        for s in servers:
            took.setdefault(s.name, []).append(timed_list(s, s.connection()))
    for s in servers:
        ms = bench.median([a for a, _ in took[s.name]])
        print(f"list of {o.objects} objects of 1 kB: {s.name} {ms:.0f} ms, {took[s.name][0][1] / 1e6:.1f} MB")
    a, b = (bench.median([x for x, _ in took[s.name]]) for s in servers)
    mem = {s.name: bench.memory(s.pid) for s in servers}
    print(f"list: ratio {b / a:.2f}")
    time.sleep(8)
    print(f"memory with {o.objects} objects: coracle {bench.memory(servers[0].pid)['Rss'] / 1e3:.1f} MB resident "
          f"({mem['coracle']['Rss'] / 1e3:.1f} MB right after the lists), etcd {mem['etcd']['Rss'] / 1e3:.1f} MB",
          flush=True)


# -- 3. watches


class Watchers:
    def __init__(self, server, n, name):
        self.poll, self.n = selectors.DefaultSelector(), n
        self.connections = [server.connection() for _ in range(n)]
        method, path, body = server.watch_request(name)
        for c in self.connections:
            c.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
            self.poll.register(c.sock, selectors.EVENT_READ)
        self.drain(quiet=1.0)

    def drain(self, quiet):
        while events := self.poll.select(quiet):
            for key, _ in events:
                key.fileobj.recv(65536)

    def until_all(self, text):
        """Waits until every watcher has read the text."""
        missing, tails = {c.sock for c in self.connections}, {}
        while missing:
            for key, _ in self.poll.select(10):
                tails[key.fileobj] = tails.get(key.fileobj, b"")[-64:] + key.fileobj.recv(65536)
                if text in tails[key.fileobj]:
                    missing.discard(key.fileobj)

    def close(self):
        for c in self.connections:
            c.close()


def watches(o, *servers):
    took = {}
    for s in servers:
        c = s.connection()
        s.put(c, "watched", 16)
        w = Watchers(s, o.watchers, "watched")
        for i in range(10 * o.rounds):
            value = f"value-{i:06d}"
            start = time.monotonic()
            s.change(c, "watched", value)
            w.until_all((b64(value) if s.name == "etcd" else value).encode())
            took.setdefault(s.name, []).append((time.monotonic() - start) * 1e3)
        w.close()
    a, b = (bench.median(took[s.name]) for s in servers)
    print(f"one change, durable, to {o.watchers} watchers: coracle {a:.2f} ms, etcd {b:.2f} ms: ratio {b / a:.2f}",
          flush=True)


# -- 4. and 5. latency while other things happen


def spread(values):
    v = sorted(values)
    return f"p50 {v[len(v) // 2]:.2f}, p99 {v[int(len(v) * 0.99)]:.2f}, longest {v[-1]:.2f} ms of {len(v)}"


def measure(fn, seconds):
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        fn()
        took.append((time.monotonic() - start) * 1e3)
    return took


def gets(o, server):
    c = server.connection()
    server.put(c, "got", 1024)
    path = f"{CONFIGMAPS}/got"
    print("GET, nothing else to do:", spread(measure(lambda: c.call("GET", path), o.seconds)))
    other = server.connection()
    took = []
    for r in range(o.rounds):
        for i in range(o.pods):
            other.call("POST", bench.PODS, bench.sleeper(f"g{r}-{i}", lib.IMAGE))
        while bench.running(other) < o.pods:
            took += measure(lambda: c.call("GET", path), 0.2)
        bench.empty(server.cluster, other)
    print(f"GET while {o.pods} pods start:", spread(took), flush=True)


def service(cluster):
    cluster.apply(lib.deployment("echo", replicas=1))
    cluster.wait_ready("default", {"app": "echo"}, 1)
    return cluster.get("service", "echo", "default")["spec"]["clusterIP"]


class Curl(http.client.HTTPConnection):
    """A kept connection to a Service's address."""

    def __init__(self, cluster, address):
        super().__init__(address, 80, timeout=30)
        self.cluster = cluster

    def connect(self):
        self.sock = socket_in(self.cluster.ns)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))

    def fetch(self):
        self.request("GET", "/")
        answer = self.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(answer.status)


# The load runs in a process of its own: threads of one Python would disturb what is measured.
LOAD = """
import json, os, sys
sys.path.insert(0, %(here)r)
import bench
c = bench.Api(%(socket)r)
what = sys.argv[1]
path = "/api/v1/namespaces/default/configmaps"
big = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"big-{os.getpid()}"}, "data": {"v": "x" * 1000000}}
print("ready", flush=True)
slow = bench.Api(%(socket)r)
if what == "slow watcher":
    slow.request("GET", path + "?watch=1")
while True:
    if what == "list of everything":
        c.request("GET", path)
        c.getresponse().read()
    else:
        c.call("POST", path, big)
        c.call("GET", path + "/" + big["metadata"]["name"])
        c.call("DELETE", path + "/" + big["metadata"]["name"])
"""


def proxied(o, server):
    cluster, c = server.cluster, server.connection()
    address = service(cluster)
    for i in range(o.objects):
        server.put(c, f"fill-{i:05d}", 1024)
    web = Curl(cluster, address)
    seconds = o.rounds * o.seconds
    quiet = measure(web.fetch, seconds)
    print("request through a Service, nothing else to do:", spread(quiet))
    for what in ("list of everything", "1 MB objects", "slow watcher"):
        text = LOAD % {"here": bench.HERE, "socket": cluster.socket}
        load = subprocess.Popen([sys.executable, "-c", text, what], stdout=subprocess.PIPE, text=True)
        load.stdout.readline()
        busy = measure(web.fetch, seconds)
        if load.poll() is not None:
            raise RuntimeError("the load has ended early")
        load.kill()
        load.wait()
        print(f"request through a Service while: {what}:", spread(busy), flush=True)
    with_loop_stalls(cluster)


def with_loop_stalls(cluster):
    """What the daemon itself has seen of its loop, if it tells."""
    p = cluster.coracle("show", "loop", check=False)
    if p.returncode == 0:
        print(p.stdout.strip())


def main():
    global lib
    o = options()
    os.environ["CORACLE_BUILD"] = os.path.abspath(o.build)
    import lib
    print(f"machine load before: {bench.machine_load() * 100:.0f} % of {os.cpu_count()} processors")
    parts = {"create": creates, "list": lists, "watch": watches, "get": gets, "proxy": proxied}
    for part in o.only.split(","):
        with lib.Cluster() as cluster, contextlib.ExitStack() as stack:
            cluster.load_image()
            servers = [Coracle(cluster)]
            if part in ("create", "list", "watch"):
                servers.append(stack.enter_context(contextlib.closing(Etcd(cluster))))
            parts[part](o, *servers)


if __name__ == "__main__":
    main()
