#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a Service and a DNS answer cost, beside haproxy and dnsmasq in the same run.

The system under test has processor 0 for itself, load and backend (a pod of the demo image) share
the others. Every round runs all systems in turn; medians. The robust figure is `CPU`: processor time
of the system under test for a unit of work. `direct` has no proxy: the pod's own address.
usage: traffic.py [--build DIR] [--rounds 5] [--seconds 3] [--only http,conns,bulk,idle,dns]"""
import argparse
import glob
import os
import re
import resource
import socket
import subprocess
import sys
import time

import bench

HAPROXY = """global
  nbthread 1
  maxconn 5000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:8100
  server one {pod}:8080
"""
NAMES = 1000
SESSIONS = 2000


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", default=os.environ.get("CORACLE_BUILD", "build"))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--only", default="http,conns,bulk,idle,dns")
    return p.parse_args()


def pin(pid, cpus):
    for task in glob.glob(f"/proc/{pid}/task/*"):
        os.sched_setaffinity(int(os.path.basename(task)), cpus)


class System:
    """Something under test: a process (None: nobody, direct) behind host:port."""

    def __init__(self, name, pid, host, port):
        self.name, self.pid, self.host, self.port = name, pid, host, port

    def cpu(self):
        return bench.activity(self.pid)[1] / 1e3 if self.pid else 0.0


def wrk(cluster, system, seconds, *headers):
    out = cluster.inside(["wrk", "-t1", "-c64", f"-d{seconds}s", *headers,
                          f"http://{system.host}:{system.port}/healthz"]).stdout
    if re.search(r"Non-2xx|Socket errors", out):
        print(f"{system.name}: {out}")
    return int(re.search(r"(\d+) requests in", out)[1]), float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])


def http(cluster, system, seconds, *headers):
    """Requests a second, CPU seconds for 100,000."""
    before = system.cpu()
    n, rate = wrk(cluster, system, seconds, *headers)
    return rate, (system.cpu() - before) * 1e5 / max(1, n)


def conns(cluster, system, seconds):
    return http(cluster, system, seconds, "-H", "Connection: close")


def bulk(cluster, system, seconds):
    """Gbit/s, CPU seconds for a GB."""
    size = 2_000_000_000
    before, start = system.cpu(), time.monotonic()
    cluster.inside(["curl", "-sS", "-o", "/dev/null", f"http://{system.host}:{system.port}/bytes?n={size}"])
    took = time.monotonic() - start
    return size * 8e-9 / took, (system.cpu() - before) * 1e9 / size


HOLD = """import socket, sys
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(int(sys.argv[3]))]
print("held", flush=True)
sys.stdin.read()"""


def idle(cluster, system, seconds):
    """Bytes of its own for an open session."""
    if not system.pid:
        return 0, 0
    before = bench.memory(system.pid)["Anonymous"]
    p = subprocess.Popen(["nsenter", f"--net=/run/netns/{cluster.ns}", sys.executable, "-c", HOLD, system.host,
                          str(system.port), str(SESSIONS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdout.readline()
    time.sleep(1)  # until the last connection to the backend is there
    after = bench.memory(system.pid)["Anonymous"]
    p.communicate()
    time.sleep(1)
    return (after - before) * 1024 / SESSIONS, after


def dns(cluster, system, seconds):
    """Answers a second, CPU seconds for 100,000."""
    before = system.cpu()
    out = cluster.inside([os.path.join(lib.BUILD, "tests", "bench", "dns_load"), system.host, str(system.port),
                          "default.svc.cluster.local", str(NAMES), str(seconds)]).stdout.split()
    if int(out[2]):
        raise RuntimeError(f"{system.name}: {out[2]} wrong answers")
    return int(out[0]) / float(out[1]), (system.cpu() - before) * 1e5 / int(out[0])


TITLES = {"http": ("64 connections", "requests/s", "CPU s/100k"), "conns": ("new connections", "1/s", "CPU s/100k"),
          "bulk": ("one stream", "Gbit/s", "CPU s/GB"), "idle": ("open sessions", "bytes each", "anonymous kB"),
          "dns": (f"DNS, {NAMES} names", "answers/s", "CPU s/100k")}


def compare(cluster, what, systems, o):
    results = {s.name: [] for s in systems}
    # Memory that ended sessions have left is used again: only the first round tells.
    for _ in range(1 if what == "idle" else o.rounds):
        for s in systems:
            results[s.name].append(globals()[what](cluster, s, o.seconds))
    title, first, second = TITLES[what]
    print(f"-- {title}\n{'':12} {first:>14} {second:>14}")
    for name, values in results.items():
        a, b = (bench.median(v) for v in zip(*values))
        print(f"{name:12} {a:14,.2f} {b:14.3f}")
    sys.stdout.flush()


def services(cluster, api):
    for i in range(NAMES):
        api.call("POST", "/api/v1/namespaces/default/services",
                 {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{i}"},
                  "spec": {"selector": {"app": "none"}, "ports": [{"port": 80}]}})


def start(cluster, *argv):
    p = subprocess.Popen(["nsenter", f"--net=/run/netns/{cluster.ns}", *argv], stdout=subprocess.DEVNULL)
    pin(p.pid, {0})
    return p


def dnsmasq(cluster, api):
    path = os.path.join(cluster.disk, "names")
    with open(path, "w") as f:
        for s in api.call("GET", "/api/v1/namespaces/default/services")["items"]:
            f.write(f"{s['spec']['clusterIP']} {s['metadata']['name']}.default.svc.cluster.local\n")
    return start(cluster, "dnsmasq", "--keep-in-foreground", "--user=root", "--no-resolv", "--no-hosts",
                 "--conf-file=/dev/null", f"--addn-hosts={path}", "--port=5354", "--listen-address=127.0.0.1",
                 "--bind-interfaces", "--cache-size=10000", "--pid-file=", "--local=/cluster.local/")


def haproxy(cluster, pod):
    path = os.path.join(cluster.disk, "haproxy.cfg")
    with open(path, "w") as f:
        f.write(HAPROXY.format(pod=pod))
    return start(cluster, "haproxy", "-db", "-f", path)


def backend(cluster):
    """The pod's address and the Service's."""
    cluster.load_image()
    cluster.apply(lib.deployment("web", 1, probe=False))
    pod = cluster.wait_ready("default", {"app": "web"}, 1)[0]
    # Ended connections would use up the ports of all: none is remembered, for anybody.
    for pid in [cluster.daemon.pid, *cluster.sandboxes()]:
        lib.run(["nsenter", "-t", str(pid), "--net", "sh", "-c",
                 "echo 0 >/proc/sys/net/ipv4/tcp_max_tw_buckets; echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range"])
    return pod["status"]["podIP"], cluster.get("service", "web", "default")["spec"]["clusterIP"]


def main():
    global lib
    o = options()
    os.environ["CORACLE_BUILD"] = os.path.abspath(o.build)
    import lib
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"machine load before: {bench.machine_load() * 100:.0f} % of {os.cpu_count()} processors")
    others = set(range(1, os.cpu_count())) or {0}
    os.sched_setaffinity(0, others)
    peers = []
    with lib.Cluster() as cluster:
        try:
            pod, service = backend(cluster)
            pin(cluster.daemon.pid, {0})
            api = bench.Api(cluster.socket)
            peers.append(haproxy(cluster, pod))
            systems = [System("direct", None, pod, 8080), System("coracle", cluster.daemon.pid, service, 80),
                       System("haproxy", peers[0].pid, "127.0.0.1", 8100)]
            bench.until(lambda: cluster.fetch("http://127.0.0.1:8100/", check=False).returncode == 0, every=0.1)
            for what in ("http", "conns", "bulk", "idle"):
                if what in o.only.split(","):
                    compare(cluster, what, systems, o)
            if "dns" in o.only.split(","):
                services(cluster, api)
                peers.append(dnsmasq(cluster, api))
                bench.until(lambda: "10.43" in cluster.inside(
                    ["dig", "+short", "-p", "5354", "@127.0.0.1", "s1.default.svc.cluster.local"]).stdout, every=0.1)
                compare(cluster, "dns", [System("coracle", cluster.daemon.pid, "10.43.0.10", 53),
                                         System("dnsmasq", peers[1].pid, "127.0.0.1", 5354)], o)
                print("daemon with 1,000 Services:", bench.memory(cluster.daemon.pid))
        finally:
            for p in peers:
                p.kill()
                p.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
