# SPDX-License-Identifier: Apache-2.0
"""The daemon as a service: settings, signals, readiness, neighbours, a registry."""
import json
import os
import re
import signal
import socket
import subprocess

from lib import (BUILD, IMAGE, TOP, Cluster, contains, deployment, equal, make_image, pod, run, true, wait)


def ids(c):
    """Pod -> (container, restarts) of all that run."""
    return {p["metadata"]["name"]: (s["containerID"], s["restartCount"]) for p in c.get("pods", ns="default")
            for s in p["status"].get("containerStatuses", []) if "running" in s["state"]}


# ---- settings ------------------------------------------------------------------------------------

def check(path, text=None, *more):
    """--check-config with a configuration file; (exit code, message)."""
    if text is not None:
        with open(path, "w") as f:
            f.write(text)
    p = run([os.path.join(BUILD, "coracled"), "--check-config", "--config", path, *more], check=False)
    return p.returncode, p.stderr


def test_settings_in_a_file():
    """Every option is a setting of coracled.yaml; the command line wins."""
    shipped = os.path.join(TOP, "contrib", "coracled.yaml")
    equal(check(shipped)[0], 0, "the file that we ship")
    options = re.findall(r"^  --([a-z-]+) [A-Z]", run([os.path.join(BUILD, "coracled"), "--help"]).stdout, re.M)
    with open(shipped) as f:
        equal(re.findall(r"^# ([a-z-]+): ", f.read(), re.M), [o for o in options if o != "config"], "it names them all")
    with Cluster() as c:
        c.load_image()
        c.kill()
        path = os.path.join(c.disk, "coracled.yaml")
        c.socket = os.path.join(c.dir, "other.sock")
        settings = {"state-dir": c.state_dir, "run-dir": c.run_dir, "api-socket": c.socket,
                    "api-listen": "127.0.0.1:7443", "pod-cidr": "10.60.0.0/16", "service-cidr": "10.61.0.0/16",
                    "cluster-domain": "boat.test", "bridge": "hull0", "manifest-dir": c.manifest_dir,
                    "image-dir": c.image_dir, "runtime": "crun", "node-name": "from-file",
                    "resolv-conf": "/etc/resolv.conf", "log-level": "debug"}
        equal(sorted(settings), sorted(o for o in options if o != "config"), "all options are tried here")
        equal(check(path, "# all of them\n" + "".join(f"{k}: {v}\n" for k, v in settings.items()))[0], 0, "good")
        c.name = "from-argv"
        c.argv_options = ["--config", path, "--node-name", c.name]
        c.start()
        c.apply(deployment("web", replicas=1))
        ready = c.wait_ready("default", {"app": "web"}, 1)[0]
        true(ready["status"]["podIP"].startswith("10.60."), "pod-cidr")
        ip = c.get("service", "web", "default")["spec"]["clusterIP"]
        true(ip.startswith("10.61."), "service-cidr")
        equal(c.inside(["dig", "+short", "@10.61.0.10", "web.default.svc.boat.test"]).stdout, ip + "\n", "domain")
        contains(c.inside(["ip", "-br", "link", "show", "type", "bridge"]).stdout, "hull0", "bridge")
        contains(c.coracle("kubeconfig").stdout, "https://127.0.0.1:7443", "api-listen")
        contains(c.log(), " debug ", "log-level")


def test_bad_settings():
    with Cluster() as c:
        path = os.path.join(c.disk, "bad.yaml")
        for text, part in (("pod-cidr: 10.0.0.0/33\n", "pod-cidr"), ("nope: 1\n", 'unknown setting "nope"'),
                           ("bridge: a-name-that-is-too-long\n", "bridge"), ("- a\n", "mapping"),
                           ("log-level: loud\n", "log-level"), ("api-listen: here\n", "api-listen"),
                           ("pod-cidr: 10.43.0.0/16\n", "overlap"), ("state-dir: [\n", path),
                           ("state-dir: 5\n", "must be a string"), ("node-name: Not_Good\n", "node-name")):
            code, message = check(path, text)
            equal(code, 2, text)
            contains(message, part, text)
        code, message = check(os.path.join(c.disk, "absent.yaml"))
        equal(code, 2, "a file that was named must be there")
        contains(message, "absent.yaml")
        equal(check(path, "pod-cidr: bad\n", "--pod-cidr", "10.9.0.0/16")[0], 0, "the command line wins")


# ---- signals and supervision ---------------------------------------------------------------------

def test_term_leaves_containers():
    with Cluster() as c:
        c.load_image()
        c.apply(deployment("web", replicas=2))
        c.wait_ready("default", {"app": "web"}, 2)
        before, boxes = ids(c), c.sandboxes()
        equal(c.kill(signal.SIGTERM), 0, "exit code of an orderly end")
        equal(c.sandboxes(), boxes, "sandboxes after SIGTERM")
        true(not os.path.exists(c.socket) or c.coracle("get", "pods", check=False).returncode != 0, "nobody answers")
        c.start()
        c.wait_ready("default", {"app": "web"}, 2)
        equal(ids(c), before, "containers after the next start")
        equal(c.sandboxes(), boxes, "sandboxes after the next start")
        p = run([*c.argv(), "--stop-pods"], timeout=90)
        equal((p.stdout, p.stderr), ("", ""), "--stop-pods says nothing")
        equal(c.daemon.wait(timeout=60), 0, "--stop-pods ends the daemon")
        equal(c.sandboxes(), [], "--stop-pods ends the sandboxes")
        equal(run([*c.argv(), "--stop-pods"], check=False).returncode, 1, "there is no daemon to stop")


def test_dump_and_log_level():
    with Cluster() as c:
        c.daemon.send_signal(signal.SIGUSR1)
        wait("the dump", lambda: "Inserted events:" in c.log() and re.search(r"\d+ turns, \d+ events", c.log()))
        c.daemon.send_signal(signal.SIGUSR2)
        wait("debug logging", lambda: " debug " in c.log() or c.coracle("get", "pods") and " debug " in c.log())
        for table in ("pods", "sandboxes", "listeners", "proxy", "sessions", "dns", "timers", "watches", "memory"):
            true(c.coracle("show", table).returncode == 0, table)


def test_notify():
    """READY once the API answers, a STATUS that tells where, the watchdog in half its time."""
    with Cluster() as c:
        c.kill()
        path = os.path.join(c.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(30)
            os.environ.update(NOTIFY_SOCKET=path, WATCHDOG_USEC="400000")
            try:
                c.spawn()
            finally:
                del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
            first = s.recv(4096).decode()
            contains(first, "READY=1")
            contains(first, "STATUS=")
            equal(c.coracle("get", "--raw", "/livez").stdout, "ok", "ready means that it answers")
            for _ in range(3):
                equal(s.recv(4096).decode(), "WATCHDOG=1", "the watchdog is fed")
            c.daemon.send_signal(signal.SIGTERM)
            last = "WATCHDOG=1"
            while last == "WATCHDOG=1":
                last = s.recv(4096).decode()
            contains(last, "STOPPING=1")
            c.daemon.wait(timeout=60)


def test_side_by_side():
    """Two daemons with the same networks in their own namespaces do not meet."""
    with Cluster() as a, Cluster() as b:
        for c in (a, b):
            c.load_image()
            c.apply(deployment("web", replicas=2))
        for c in (a, b):
            c.wait_ready("default", {"app": "web"}, 2)
        before = ids(b)
        names = {c: {p["metadata"]["name"] for p in c.get("pods", ns="default")} for c in (a, b)}
        for c in (a, b):
            ip = c.get("service", "web", "default")["spec"]["clusterIP"]
            wait("both answer", lambda: {c.fetch(f"http://{ip}/").stdout.split()[2].rstrip(",") for _ in range(8)}
                 == names[c])
        a.stop_pods()
        equal(a.sandboxes(), [], "one is stopped")
        equal(ids(b), before, "the other goes on")
        true("Hello from" in b.fetch(f"http://{b.get('service', 'web', 'default')['spec']['clusterIP']}/").stdout,
             "the other answers")


def test_node_stop_leaves_nothing():
    with Cluster() as c:
        c.load_image()
        p = pod("mounts", volumeMounts=[{"name": "ram", "mountPath": "/ram"}])
        p["spec"]["volumes"] = [{"name": "ram", "emptyDir": {"medium": "Memory"}}]
        c.apply(p)
        c.apply(deployment("web", replicas=2))
        c.wait_ready("default", {"app": "web"}, 2)
        wait("the pod", lambda: "mounts" in ids(c))
        uids = [p["metadata"]["uid"] for p in c.get("pods", ns="default")]
        c.stop_pods()
        equal(c.sandboxes(), [], "sandboxes")
        equal(c.inside(["ip", "-br", "link"]).stdout.split()[::3][:1], ["lo"], "interfaces")
        true(c.run_dir not in run(["cat", "/proc/mounts"]).stdout, "mounts")
        left = run(["find", "/sys/fs/cgroup", "-type", "d", "(", "-name", f"*{uids[0]}*", "-o", "-name",
                    f"*{uids[1]}*", ")"], check=False).stdout
        equal(left, "", "cgroups")
        c.start()
        wait("all run again", lambda: len(ids(c)) == 3)


# ---- images from outside -------------------------------------------------------------------------

REGISTRY = """version: 0.1
storage:
  filesystem: {rootdirectory: %s}
http: {addr: "127.0.0.1:5000"}
log: {accesslog: {disabled: true}}
"""


def push(c, layout, name):
    """An OCI layout into the registry on loopback."""
    base = f"http://127.0.0.1:5000/v2/{name}"
    blobs = os.path.join(layout, "blobs", "sha256")
    curl = ["curl", "-sSf", "--max-time", "20", "-o", "/dev/null"]
    for digest in os.listdir(blobs):
        head = c.inside(["curl", "-sSf", "--max-time", "20", "-X", "POST", "-D-", "-o", "/dev/null",
                         f"{base}/blobs/uploads/"]).stdout
        where = re.search(r"^Location: (\S+)", head, re.M)[1]
        c.inside([*curl, "-X", "PUT", "-H", "Content-Type: application/octet-stream", "--data-binary",
                  f"@{blobs}/{digest}", f"{where}&digest=sha256:{digest}"])
    with open(os.path.join(layout, "index.json")) as f:
        manifest = json.load(f)["manifests"][0]
    c.inside([*curl, "-X", "PUT", "-H", "Content-Type: " + manifest["mediaType"], "--data-binary",
              f"@{blobs}/{manifest['digest'].split(':')[1]}", f"{base}/manifests/1"])
    return manifest["digest"]


def test_pull():
    """A pod whose image is in a registry: by tag, by digest, and when the registry comes later."""
    with Cluster() as c:
        layout = os.path.join(c.disk, "layout")
        os.makedirs(layout)
        tar = make_image(os.path.join(c.disk, "image"), IMAGE)
        run(["tar", "-C", layout, "-xf", tar])
        conf = os.path.join(c.disk, "registry.yml")
        with open(conf, "w") as f:
            f.write(REGISTRY % os.path.join(c.disk, "registry"))
        c.apply(pod("early", image="127.0.0.1:5000/demo/hello:1"))
        wait("the back-off", lambda: "ImagePullBackOff" in c.coracle("get", "pod", "early").stdout)
        contains(c.coracle("describe", "pod", "early").stdout, "127.0.0.1:5000")
        with open(os.path.join(c.disk, "registry.log"), "w") as log:
            registry = subprocess.Popen(["nsenter", f"--net=/run/netns/{c.ns}", "docker-registry", "serve", conf],
                                        stdout=log, stderr=log)
        try:
            wait("the registry", lambda: c.fetch("http://127.0.0.1:5000/v2/"))
            digest = push(c, layout, "demo/hello")
            c.apply(pod("by-tag", image="127.0.0.1:5000/demo/hello:1", imagePullPolicy="Always"))
            c.apply(pod("by-digest", image=f"127.0.0.1:5000/demo/hello@{digest}"))
            c.apply(pod("absent", image="127.0.0.1:5000/demo/nope:1"))
            wait("all run", lambda: {"early", "by-tag", "by-digest"} <= set(ids(c)), timeout=90)
            contains(c.get("pod", "by-tag", "default")["status"]["containerStatuses"][0]["imageID"], digest)
            contains(c.coracle("describe", "pod", "by-tag").stdout, "Successfully pulled image")
            wait("an error", lambda: "not found" in c.coracle("describe", "pod", "absent").stdout)
            c.coracle("image", "pull", "127.0.0.1:5000/demo/hello:1")
            contains(c.coracle("image", "ls").stdout, "127.0.0.1:5000/demo/hello")
        finally:
            registry.kill()
            registry.wait()


def test_preload():
    """Archives of the image directory are there when the daemon is up, and imported once."""
    with Cluster() as c:
        c.kill()
        tar = make_image(os.path.join(c.disk, "image"), IMAGE)
        os.rename(tar, os.path.join(c.image_dir, "hello.tar"))
        with open(os.path.join(c.image_dir, "broken.tar"), "w") as f:
            f.write("no archive")
        c.start()
        c.apply(pod("preloaded", imagePullPolicy="Never"))
        wait("it runs", lambda: "preloaded" in ids(c))
        contains(c.log(), "broken.tar")
        imported = c.log().count("hello.tar")
        c.restart()
        equal(c.log().count("hello.tar"), imported, "imported once")
