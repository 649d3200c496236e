#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How soon pods run.

1. Pod create -> Running, one at a time: from sending the POST until the watch tells Running.
2. --pods applied at once until all run: `coracle apply -f` against `podman kube play` of the same
   number of one-container pods, in turns, medians of --rounds; prints the ratio.

podman gets the same image (the same archive), the same OCI runtime, a bridge network of its own and
storage on the same disk. It runs in a network namespace of its own and, where the host mounts
cgroup v1 and v2 side by side (crun under podman refuses that), in a mount namespace without the
second. usage: pods.py [--build DIR] [--single 30] [--pods 50] [--rounds 5] [--no-podman]"""
import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time

import bench


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", default=os.environ.get("CORACLE_BUILD", "build"))
    p.add_argument("--single", type=int, default=30, help="pods created one by one")
    p.add_argument("--pods", type=int, default=50, help="pods applied at once")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--no-podman", action="store_true")
    return p.parse_args()


def manifest(path, n, image):
    """kubectl's kind of file: JSON documents are YAML, which podman reads as well."""
    with open(path, "w") as f:
        for i in range(n):
            f.write("---\n" + json.dumps(bench.sleeper(f"p{i}", image)) + "\n")
    return path


# -- coracle


def single(cluster, api, n):
    """Lists of ms: until the answer, until Running."""
    answers, runs = [], []
    watch = bench.Api(cluster.socket).events(bench.PODS)
    for i in range(n):
        name = f"single{i}"
        start = time.monotonic()
        api.call("POST", bench.PODS, bench.sleeper(name, lib.IMAGE))
        answers.append((time.monotonic() - start) * 1e3)
        for kind, pod in watch:
            if pod["metadata"]["name"] == name and bench.is_running(pod):
                break
        runs.append((time.monotonic() - start) * 1e3)
        api.call("DELETE", f"{bench.PODS}/{name}")
        for kind, pod in watch:
            if kind == "DELETED" and pod["metadata"]["name"] == name:
                break
        bench.until(lambda: not cluster.sandboxes())
    return answers, runs


def burst(cluster, api, path, n):
    """Seconds: until apply has ended, until all run."""
    seen = set()
    watch = bench.Api(cluster.socket).events(bench.PODS)
    start = time.monotonic()
    apply = subprocess.Popen([os.path.join(lib.BUILD, "coracle"), "--socket", cluster.socket, "apply", "-f", path],
                             stdout=subprocess.DEVNULL)
    while len(seen) < n:
        _, pod = next(watch)
        if bench.is_running(pod):
            seen.add(pod["metadata"]["name"])
    all_run = time.monotonic() - start
    if apply.wait():
        raise RuntimeError("coracle apply failed")
    bench.empty(cluster, api)
    return all_run


# -- podman


class Podman:
    """podman with storage, configuration and namespaces of its own."""

    def __init__(self, archive):
        self.dir = tempfile.mkdtemp(prefix="podman-bench-", dir="/var/tmp")
        self.ns = f"podman-bench-{os.getpid()}"
        for name in ("storage", "tmp", "networks", "volumes"):
            os.makedirs(os.path.join(self.dir, name))
        self.run_dir = tempfile.mkdtemp(prefix="podman-bench-", dir="/run")
        self.write("storage.conf", f'[storage]\ndriver = "overlay"\nrunroot = "{self.run_dir}"\n'
                   f'graphroot = "{self.dir}/storage"\n')
        self.write("containers.conf", '[containers]\npids_limit = 0\n'
                   'default_ulimits = ["nofile=20000:20000", "nproc=30000:30000"]\n'
                   f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\ninfra_image = ""\n'
                   f'runtime = "crun"\ntmp_dir = "{self.run_dir}/tmp"\nvolume_path = "{self.dir}/volumes"\n'
                   f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{self.dir}/networks"\n')
        self.env = dict(os.environ, CONTAINERS_CONF=f"{self.dir}/containers.conf",
                        CONTAINERS_STORAGE_CONF=f"{self.dir}/storage.conf", XDG_RUNTIME_DIR=self.run_dir)
        lib.run(["ip", "netns", "add", self.ns])
        lib.run(["ip", "-n", self.ns, "link", "set", "lo", "up"])
        # One mount namespace for all calls: podman's overlay mounts live in it.
        self.holder = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.ns}", "unshare", "--mount", "--propagation", "private", "sh", "-c",
             "umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE, text=True)
        self.holder.stdout.readline()
        self.call("load", "-i", archive)

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write(text)

    def argv(self, *args):
        return ["nsenter", "-t", str(self.holder.pid), "--mount", "--net", "podman", *args]

    def call(self, *args, check=True):
        return lib.run(self.argv(*args), env=self.env, timeout=300, check=check)

    def burst(self, path, n):
        start = time.monotonic()
        self.call("kube", "play", path)
        took = time.monotonic() - start
        states = self.call("pod", "ps", "--format", "{{.Status}}").stdout.split()
        if states.count("Running") != n:
            raise RuntimeError(f"podman: {states.count('Running')} of {n} pods run")
        self.clear()
        return took

    def clear(self):
        self.call("pod", "rm", "-fa", "-t", "0", check=False)

    def about(self):
        return self.call("info", "--format", "podman {{.Version.Version}}, {{.Host.OCIRuntime.Name}}, "
                         "{{.Store.GraphDriverName}}, {{.Host.NetworkBackend}}, "
                         "cgroups {{.Host.CgroupsVersion}}").stdout.strip()

    def close(self):
        self.clear()
        self.call("rmi", "-fa", check=False)
        self.holder.kill()
        self.holder.wait()
        lib.run(["ip", "netns", "del", self.ns], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.run_dir, ignore_errors=True)


# -- both


def compare(cluster, api, o, podman, work):
    path = manifest(os.path.join(work, "pods.yaml"), o.pods, lib.IMAGE)
    ours, theirs = [], []
    for r in range(o.rounds):
        ours.append(burst(cluster, api, path, o.pods))
        line = f"round {r + 1}: coracle {ours[-1]:.2f} s"
        if podman:
            theirs.append(podman.burst(path, o.pods))
            line += f", podman {theirs[-1]:.2f} s"
        print(line, flush=True)
    return ours, theirs


def main():
    global lib
    o = options()
    os.environ["CORACLE_BUILD"] = os.path.abspath(o.build)
    import lib
    print(f"machine load before: {bench.machine_load() * 100:.0f} % of {os.cpu_count()} processors")
    podman = None
    with lib.Cluster() as cluster, tempfile.TemporaryDirectory(dir="/var/tmp") as work:
        archive = lib.make_image(work)
        cluster.coracle("image", "load", archive)
        api = bench.Api(cluster.socket)
        try:
            single(cluster, api, 2)
            answers, runs = single(cluster, api, o.single) if o.single else ([0], [0])
            print(f"pod create -> answer:  median {bench.median(answers):.1f} ms, p90 {bench.p90(answers):.1f} ms")
            print(f"pod create -> Running: median {bench.median(runs):.1f} ms, p90 {bench.p90(runs):.1f} ms"
                  f" of {o.single}")
            if not o.no_podman:
                podman = Podman(archive)
                print("against", podman.about())
            ours, theirs = compare(cluster, api, o, podman, work)
            print(f"{o.pods} pods, all running: coracle median {bench.median(ours):.2f} s")
            if theirs:
                print(f"{o.pods} pods, all running: podman  median {bench.median(theirs):.2f} s")
                print(f"ratio: {bench.median(theirs) / bench.median(ours):.1f} times sooner")
        finally:
            if podman:
                podman.close()


if __name__ == "__main__":
    main()
