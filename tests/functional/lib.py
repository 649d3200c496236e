# SPDX-License-Identifier: Apache-2.0
"""Functional tests: a real coracled in a network and mount namespace of its own, with private
directories, driven from outside. Conditions are waited for, nothing sleeps for a fixed time."""
import contextlib
import functools
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("CORACLE_BUILD", os.path.join(TOP, "build", "test"))
IMAGE = "coracle.local/hello:1"


class Failure(AssertionError):
    pass


def run(argv, check=True, timeout=120, stdin=None, env=None):
    """Runs a command to its end; returns CompletedProcess with text output."""
    p = subprocess.run(argv, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, env=env)
    if check and p.returncode:
        raise Failure(f"{' '.join(argv)}: exit code {p.returncode}\n{p.stdout}{p.stderr}")
    return p


def wait(what, condition, timeout=60, every=0.05):
    """Until condition() is truthy; returns its value. Exceptions of commands count as not yet."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (Failure, json.JSONDecodeError, subprocess.TimeoutExpired) as e:
            last = e
        if time.monotonic() > end:
            raise Failure(f"waited {timeout} s for {what}; last: {last}")
        time.sleep(every)


def equal(got, want, what=""):
    if got != want:
        raise Failure(f"{what}: got {got!r}, want {want!r}")


def contains(text, part, what=""):
    if part not in text:
        raise Failure(f"{what}: {part!r} is not in:\n{text}")


def true(value, what):
    if not value:
        raise Failure(what)


@functools.cache
def sanitized():
    """Whether the build has sanitizers: it is right in everything but time and memory."""
    with open(os.path.join(BUILD, "coracle-sandbox"), "rb") as f:
        return b"__asan_init" in f.read()


def kubectls(versions=("1.27", "1.33")):
    """The kubectl programs to test with: all versions found, else the one in PATH."""
    found = []
    for version in versions:
        path = shutil.which("kubectl." + version)
        plain = shutil.which("kubectl")
        if not path and plain:
            beside = os.path.join(os.path.dirname(os.path.realpath(plain)), "kubectl." + version)
            path = beside if os.access(beside, os.X_OK) else None
        if path:
            found.append(path)
    plain = shutil.which("kubectl")
    return found or ([plain] if plain else [])


class Cluster:
    """One coracled with everything of its own. Use as a context manager."""
    count = 0

    def __init__(self, options=(), name=None):
        Cluster.count += 1
        self.name = name or f"node{Cluster.count}"
        self.ns = f"cor-{os.getpid()}-{Cluster.count}"
        # /run is a tmpfs and keeps socket paths short.
        self.dir = tempfile.mkdtemp(prefix="ct-", dir="/run")
        self.disk = tempfile.mkdtemp(prefix="coracle-test-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.run_dir = os.path.join(self.dir, "run")
        self.state_dir = os.path.join(self.disk, "state")
        self.image_dir = os.path.join(self.disk, "preload")
        self.manifest_dir = os.path.join(self.disk, "manifests")
        self.socket = os.path.join(self.run_dir, "api.sock")
        self.kubeconfig = os.path.join(self.disk, "kubeconfig")
        self.log_path = os.path.join(self.disk, "coracled.log")
        self.options = list(options)
        self.argv_options = None  # instead of those of this cluster's directories
        self.daemon = None
        self.kubectl_path = (kubectls() or [None])[-1]
        os.makedirs(self.image_dir)
        os.makedirs(self.manifest_dir)

    # -- life

    def __enter__(self):
        run(["ip", "netns", "add", self.ns])
        try:
            self.inside(["ip", "link", "set", "lo", "up"])
            self.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *exc):
        if exc[0] is not None:
            self.show_log()
        with contextlib.suppress(Exception):
            self.stop_pods()
        self.kill(signal.SIGKILL)
        self.kill_sandboxes()
        self.remove_cgroups()
        run(["ip", "netns", "del", self.ns], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.disk, ignore_errors=True)

    def show_log(self):
        print("---- log of", self.name)
        with open(self.log_path, errors="replace") as f:
            print("".join(f.readlines()[-60:]))

    def argv(self):
        """Network namespace by nsenter, not `ip netns exec`, which would hide the cgroup mounts."""
        return ["nsenter", f"--net=/run/netns/{self.ns}", "unshare", "--mount", "--propagation", "slave",
                os.path.join(BUILD, "coracled"), *(self.argv_options or [
                    "--state-dir", self.state_dir, "--run-dir", self.run_dir, "--image-dir", self.image_dir,
                    "--manifest-dir", self.manifest_dir, "--node-name", self.name]), *self.options]

    def libexec(self):
        """Where the daemon finds its helpers. It starts them with an environment of its own: wrappers
        hand the sanitizers' options on, in builds that have them."""
        if not sanitized():
            return BUILD
        folder = os.path.join(self.disk, "libexec")
        os.makedirs(folder, exist_ok=True)
        for program in ("coracle-sandbox", "coracle-image"):
            with open(os.path.join(folder, program), "w") as f:
                f.write("#!/bin/sh\n" + "".join(f"export {n}='{os.environ.get(n, '')}'\n" for n in
                                                ("ASAN_OPTIONS", "UBSAN_OPTIONS"))
                        + f'exec {BUILD}/{program} "$@"\n')
                os.fchmod(f.fileno(), 0o755)
        return folder

    def spawn(self):
        env = dict(os.environ, CORACLE_LIBEXECDIR=self.libexec())
        with open(self.log_path, "a") as log:
            self.daemon = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           env=env, start_new_session=True)

    def start(self):
        self.spawn()
        wait("the API", lambda: self.alive() and self.coracle("get", "--raw", "/readyz").stdout == "ok", timeout=30)
        wait("a ready node", lambda: self.condition("node", self.name, "Ready") == "True", timeout=30)
        with open(self.kubeconfig, "w") as f:
            f.write(self.coracle("kubeconfig").stdout)

    def alive(self):
        if self.daemon.poll() is not None:
            raise RuntimeError(f"coracled ended with {self.daemon.returncode}")
        return True

    def kill(self, signo=signal.SIGTERM):
        """Ends the daemon (nsenter and unshare exec, so that the pid is the daemon's); returns its code."""
        if not self.daemon or self.daemon.poll() is not None:
            return None
        self.daemon.send_signal(signo)
        return self.daemon.wait(timeout=60)

    def restart(self, signo=signal.SIGTERM):
        self.kill(signo)
        self.start()

    def stop_pods(self):
        self.coracle("node", "stop", timeout=90)
        if self.daemon:
            self.daemon.wait(timeout=60)

    def sandboxes(self):
        """Pids of this cluster's sandboxes."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    argv = f.read().decode(errors="replace").split("\0")
                if argv[0].endswith("coracle-sandbox") and any(self.run_dir in a for a in argv):
                    found.append(int(pid))
        return found

    def kill_sandboxes(self):
        for pid in self.sandboxes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def remove_cgroups(self):
        """What a daemon that was killed, and its sandboxes, leave."""
        name = "coracle-" + hashlib.sha256(self.run_dir.encode()).hexdigest()[:12]
        for top in glob.glob(f"/sys/fs/cgroup/{name}") + glob.glob(f"/sys/fs/cgroup/*/{name}"):
            for path, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)

    # -- commands

    def inside(self, argv, **kw):
        """Runs a command in the cluster's network namespace."""
        return run(["nsenter", f"--net=/run/netns/{self.ns}", *argv], **kw)

    def coracle(self, *args, **kw):
        return self.inside([os.path.join(BUILD, "coracle"), "--socket", self.socket, *args], **kw)

    def kubectl(self, *args, **kw):
        true(self.kubectl_path, "kubectl is not installed")
        env = dict(os.environ, HOME=self.disk)
        return self.inside([self.kubectl_path, "--kubeconfig", self.kubeconfig, *args], env=env, **kw)

    def popen_kubectl(self, *args, **kw):
        env = dict(os.environ, HOME=self.disk)
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{self.ns}", self.kubectl_path,
                                 "--kubeconfig", self.kubeconfig, *args], env=env, text=True, **kw)

    def get(self, kind, name=None, ns=None):
        """An object (or the items of a list) as Python values."""
        args = ["get", kind] + ([name] if name else []) + (["-n", ns] if ns else []) + ["-o", "json"]
        got = json.loads(self.coracle(*args).stdout)
        return got if name else got["items"]

    def condition(self, kind, name, ctype, ns=None):
        for c in self.get(kind, name, ns).get("status", {}).get("conditions", []):
            if c["type"] == ctype:
                return c["status"]
        return None

    def apply(self, manifest, ns=None):
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.coracle("apply", "-f", "-", *(["-n", ns] if ns else []), stdin=text)

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    # -- the demo application

    def load_image(self, ref=IMAGE):
        with tempfile.TemporaryDirectory(dir=self.disk) as root:
            tar = make_image(root, ref)
            self.coracle("image", "load", tar)

    def wait_ready(self, ns, selector, n, timeout=60):
        def ready():
            pods = [p for p in self.get("pods", ns=ns)
                    if all(p["metadata"].get("labels", {}).get(k) == v for k, v in selector.items())
                    and "deletionTimestamp" not in p["metadata"]]
            good = [p for p in pods if any(c["type"] == "Ready" and c["status"] == "True"
                                           for c in p.get("status", {}).get("conditions", []))]
            return (good or True) if len(good) == n and len(pods) == n else None
        return wait(f"{n} ready pods {selector} in {ns}", ready, timeout)

    def fetch(self, url, check=True):
        """HTTP GET from the host's side of the cluster's network namespace."""
        return self.inside(["curl", "-sS", "--max-time", "10", url], check=check)


class Load:
    """Requests through an address in a process of their own, a new connection each (load.py);
    after the block `answers` and `failures` hold what came of them, with times."""

    def __init__(self, c, host, port=80, threads=4, path="/"):
        self.argv = ["nsenter", f"--net=/run/netns/{c.ns}", sys.executable,
                     os.path.join(TOP, "tests", "functional", "load.py"), host, str(port), str(threads), path]
        self.answers = self.failures = ()

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()  # the load is on
        return self

    def __exit__(self, *exc):
        result = json.loads(self.process.communicate(timeout=60)[0])
        self.answers, self.failures = result["answers"], result["failures"]


def make_image(work, ref=IMAGE, entrypoint='["/bin/hello"]', env=("PATH=/bin",)):
    """An OCI archive of the demo server and busybox; returns its path."""
    root = os.path.join(work, "root")
    for d in ("bin", "tmp", "etc"):
        os.makedirs(os.path.join(root, d), exist_ok=True)
    for program in ("hello", "fetch"):
        shutil.copy(os.path.join(BUILD, "contrib", "demo", program), os.path.join(root, "bin"))
    shutil.copy("/bin/busybox", os.path.join(root, "bin", "busybox"))
    for applet in ("sh", "ls", "cat", "ps", "sleep", "kill", "nslookup", "echo", "true", "false", "env",
                   "id", "mkdir", "rm", "touch", "seq", "head", "tail", "wget", "test", "mount", "stat",
                   "dd", "hostname", "ip", "date", "grep", "wc", "printf", "tty", "stty", "chmod", "readlink", "tar"):
        link = os.path.join(root, "bin", applet)
        if not os.path.lexists(link):
            os.symlink("busybox", link)
    tar = os.path.join(work, "image.tar")
    run([os.path.join(TOP, "contrib", "mkimage.sh"), tar, ref, root, entrypoint, *env])
    return tar


def deployment(name, replicas=3, image=IMAGE, args=("--http", "8080"), probe=True, **pod_spec):
    """A Deployment of the demo server and its Service, as a List."""
    labels = {"app": name}
    container = {"name": "main", "image": image, "args": list(args),
                 "ports": [{"name": "http", "containerPort": 8080}]}
    if probe:
        container["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}
    return {"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
         "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                  "template": {"metadata": {"labels": labels},
                               "spec": {"containers": [container], **pod_spec}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
         "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}]}


def pod(name, command=("sleep", "3600"), image=IMAGE, restart="Always", labels=None, **container):
    """A Pod of one container that runs a busybox command."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}},
            "spec": {"restartPolicy": restart, "terminationGracePeriodSeconds": 2,
                     "containers": [{"name": "main", "image": image, "command": list(command), **container}]}}
