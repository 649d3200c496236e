# SPDX-License-Identifier: Apache-2.0
"""What must survive: the daemon's death under load, power cuts, a full disk, bad input."""
import contextlib
import glob
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

from lib import BUILD, IMAGE, Cluster, Failure, Load, contains, deployment, equal, pod, run, true, wait


def request(c, method, path, body=None, kind="application/json"):
    """One exchange over the local socket; (code, text). Code 0: the daemon is away."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n" \
           f"Content-Length: {len(data)}\r\n\r\n"
    got = b""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(c.socket)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(head.encode() + data)
            while chunk := s.recv(65536):
                got += chunk
    except OSError:
        pass
    match = re.match(rb"HTTP/1.1 (\d+)", got)
    return (int(match.group(1)) if match else 0), got.partition(b"\r\n\r\n")[2].decode(errors="replace")


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


MAPS = "/api/v1/namespaces/default/configmaps"


# ---- kill -9 of the daemon -----------------------------------------------------------------------

def container_ids(c, ns="default"):
    return {p["metadata"]["name"]: (p["status"]["containerStatuses"][0]["containerID"],
                                    p["status"]["containerStatuses"][0]["restartCount"])
            for p in c.get("pods", ns=ns) if p["status"].get("containerStatuses")}


def log_lines(c, name):
    """What the container of a pod has written so far, read past the daemon."""
    text = ""
    for path in glob.glob(os.path.join(c.state_dir, "logs", f"default_{name}_*", "main", "0.log")):
        with open(path) as f:
            text += f.read()
    return [line.split(" ", 3)[3] for line in text.splitlines()]


def runs(argument):
    """Whether a process with this in its arguments is there."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as f:
            if argument in f.read():
                return True
    return False


def wait_more_lines(c, name, n):
    before = len(log_lines(c, name))
    wait(f"{n} more lines", lambda: len(log_lines(c, name)) >= before + n)


def test_kill_9():
    """Under load: nothing is restarted, no line and no exit code is lost, the proxy goes on."""
    counting = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"
    ending = "while [ ! -e /tmp/go ]; do sleep 0.05; done; sleep 0.5; exit 42"
    with Cluster() as c:
        c.load_image()
        c.apply(deployment("web"))
        c.apply(pod("count", ["sh", "-c", counting]))
        c.apply(pod("ends", ["sh", "-c", ending, "the-one-that-ends"], restart="Never"))
        c.wait_ready("default", {"app": "web"}, 3)
        wait("all run", lambda: len(container_ids(c)) == 5)
        before = container_ids(c)
        ip = c.get("service", "web", "default")["spec"]["clusterIP"]
        wait_more_lines(c, "count", 10)
        watch = subprocess.Popen(["nsenter", f"--net=/run/netns/{c.ns}", os.path.join(BUILD, "coracle"), "--socket",
                                  c.socket, "get", "pods", "-w"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with Load(c, ip) as load:
            c.coracle("exec", "ends", "--", "touch", "/tmp/go")
            c.kill(signal.SIGKILL)
            killed = time.monotonic()
            watch.wait(timeout=30)
            wait_more_lines(c, "count", 30)
            wait("the end of the container meanwhile", lambda: not runs("the-one-that-ends"))
            c.start()
            wait("proxying", lambda: "Hello from" in c.fetch(f"http://{ip}/", check=False).stdout)
            back = time.monotonic()
            wait_more_lines(c, "count", 30)
        wait("the exit code", lambda: c.get("pod", "ends", "default")["status"]["phase"] == "Failed")
        equal(c.get("pod", "ends", "default")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
              42, "exit code of what ended meanwhile")
        after = container_ids(c)
        equal({k: v for k, v in after.items() if k != "ends"}, {k: v for k, v in before.items() if k != "ends"},
              "containers that went on")
        lines = c.coracle("logs", "count").stdout.splitlines()
        equal(lines, [f"line {i + 1}" for i in range(len(lines))], "no line is lost")
        true(any(a[0] < killed for a in load.answers), "answers before the kill")
        true(any(a[0] > back for a in load.answers), "answers after the start")
        equal([f for f in load.failures if f[0] > back], [], "failures once the daemon is back")


def test_kill_9_again_and_again():
    """Killed at random moments while pods come and go, all ends as it was wished."""
    rng = random.Random(1)
    with Cluster() as c:
        c.load_image()
        for _ in range(8):
            for i in range(3):
                replicas = rng.randrange(4)
                spec = deployment(f"d{i}", replicas=replicas, probe=False)
                spec["items"][0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
                with contextlib.suppress(Failure):
                    c.apply(spec)
            time.sleep(rng.random() * 0.2)  # the moment is random; nothing is waited for
            c.restart(signal.SIGKILL)
        wanted = {}
        for d in c.get("deployments", ns="default"):
            wanted[d["metadata"]["name"]] = d["spec"]["replicas"]
        for name, n in wanted.items():
            c.wait_ready("default", {"app": name}, n)
        pods = wait("no pod more", lambda: (lambda p: p if len(p) == sum(wanted.values()) else None)(
            c.get("pods", ns="default")))
        ips = [p["status"]["podIP"] for p in pods]
        equal(len(ips), len(set(ips)), "addresses are unique")
        wait("a sandbox a pod", lambda: len(c.sandboxes()) == len(pods))
        def ports():
            return c.inside(["ip", "-br", "link", "show", "master", "coracle0"]).stdout.splitlines()
        wait("an interface a pod", lambda: len(ports()) == len(pods))


def test_reboot():
    with Cluster() as c:
        c.load_image()
        c.apply(deployment("web", replicas=2))
        c.wait_ready("default", {"app": "web"}, 2)
        c.kill(signal.SIGKILL)
        c.kill_sandboxes()
        wait("no sandbox", lambda: not c.sandboxes())
        run(["rm", "-rf", c.run_dir])
        run(["nsenter", f"--net=/run/netns/{c.ns}", "ip", "link", "del", "coracle0"])
        c.start()
        c.wait_ready("default", {"app": "web"}, 2)


def test_stop_in_parallel():
    with Cluster() as c:
        c.load_image()
        for i in range(6):
            spec = pod(f"slow{i}", ["sh", "-c", "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.1; done"])
            spec["spec"]["terminationGracePeriodSeconds"] = 10
            c.apply(spec)
        wait("all run", lambda: len([p for p in c.get("pods", ns="default") if p["status"].get("phase") == "Running"]) == 6)
        start = time.monotonic()
        c.stop_pods()
        true(time.monotonic() - start < 9, "six pods of two seconds each ended side by side")
        equal(c.sandboxes(), [], "sandboxes")
        contains(run(["nsenter", f"--net=/run/netns/{c.ns}", "ip", "-br", "link"]).stdout, "lo")
        true("coracle0" not in run(["nsenter", f"--net=/run/netns/{c.ns}", "ip", "-br", "link"]).stdout, "no bridge")


# ---- power cuts ----------------------------------------------------------------------------------

def write_until_cut(c, acknowledged, stop):
    n = 0
    while not stop.is_set():
        name = f"m{n % 40}"
        value = str(n)
        code, _ = request(c, "PUT", f"{MAPS}/{name}", config_map(name, v=value))
        if code == 404:
            code, _ = request(c, "POST", MAPS, config_map(name, v=value))
        if code in (200, 201):
            acknowledged[name] = n
        elif code == 0:
            return
        n += 1


def test_power_cut():
    rng = random.Random(2)
    with Cluster() as c:
        for cut in range(8):
            acknowledged, stop = {}, threading.Event()
            writer = threading.Thread(target=write_until_cut, args=(c, acknowledged, stop))
            writer.start()
            wait("writes", lambda: len(acknowledged) > 3)
            time.sleep(rng.random() * 0.15)  # the moment of the cut is random
            c.kill(signal.SIGKILL)
            stop.set()
            writer.join()
            tear(os.path.join(c.state_dir, "store"), rng)
            run(["rm", "-rf", os.path.join(c.run_dir, "store")])  # tmpfs is gone, too
            c.start()
            for name, n in acknowledged.items():
                code, text = request(c, "GET", f"{MAPS}/{name}")
                equal(code, 200, f"{name} after cut {cut}")
                true(int(json.loads(text)["data"]["v"]) >= n, f"{name} is older than what was acknowledged")


def tear(directory, rng):
    """What a torn write leaves: garbage behind the end of the write-ahead log."""
    for name in os.listdir(directory):
        if name.endswith("-wal"):
            with open(os.path.join(directory, name), "ab") as f:
                f.write(rng.randbytes(rng.randrange(1, 5000)))


# ---- bad input -----------------------------------------------------------------------------------

def test_bad_requests():
    long = "x" * (4 << 20)
    deep = b"[" * 100000
    cases = [
        ("POST", MAPS, b"{", 400, "BadRequest"),
        ("POST", MAPS, b"", 400, "BadRequest"),
        ("POST", MAPS, deep, 400, "BadRequest"),
        ("POST", MAPS, config_map("Not_Valid"), 422, "Invalid"),
        ("POST", MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": 5}}, 400, "BadRequest"),
        ("POST", MAPS, config_map("x", v=long), 413, "RequestEntityTooLarge"),
        ("POST", MAPS + "?fieldValidation=Strict", dict(config_map("x"), extra=1), 400, "BadRequest"),
        ("POST", MAPS, dict(config_map("x"), kind="Secret"), 400, "BadRequest"),
        ("POST", "/api/v1/namespaces/none/configmaps", config_map("x"), 404, "NotFound"),
        ("GET", MAPS + "/absent", None, 404, "NotFound"),
        ("GET", MAPS + "?labelSelector=a%20b%20c", None, 400, "BadRequest"),
        ("GET", "/api/v1/pods?fieldSelector=nope%3D1", None, 400, "BadRequest"),
        ("DELETE", MAPS + "/absent", None, 404, "NotFound"),
        ("PATCH", MAPS + "/absent", b"{}", 415, "UnsupportedMediaType"),
    ]
    with Cluster() as c:
        for method, path, body, code, reason in cases:
            got, text = request(c, method, path, body)
            equal(got, code, f"{method} {path} {str(body)[:60]}: {text[:200]}")
            equal(json.loads(text)["reason"], reason, path)
        equal(request(c, "POST", MAPS, b"kind: ConfigMap\nmetadata: {name: [", "application/yaml")[0], 400, "bad YAML")
        equal(request(c, "POST", MAPS, config_map("x"), "text/plain")[0], 415, "media type")
        for garbage in (b"\0" * 100, b"GET\r\n\r\n", b"A" * 100000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50000):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20)
                s.connect(c.socket)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    s.sendall(garbage)
                    s.shutdown(socket.SHUT_WR)
                    s.recv(1000)
        c.alive()
        equal(request(c, "GET", MAPS)[0], 200, "the daemon goes on")


def test_strangers():
    """Over TLS without credentials 403, with a wrong token 401; the socket is for root and its group."""
    with Cluster() as c:
        curl = ["curl", "-sk", "--max-time", "10", "https://127.0.0.1:6443/api/v1/pods"]
        nobody = json.loads(c.inside(curl).stdout)
        equal(nobody["code"], 403, "no credentials")
        contains(nobody["message"], 'User "system:anonymous" cannot list resource "pods"')
        equal(json.loads(c.inside(curl + ["-H", "Authorization: Bearer wrong"]).stdout)["code"], 401, "wrong token")
        equal(c.inside(["curl", "-sk", "--max-time", "10", "https://127.0.0.1:6443/livez"]).stdout, "ok", "livez")
        mode = os.stat(c.socket).st_mode & 0o777
        true(mode in (0o600, 0o660), f"mode of the socket {mode:o}")


def test_hostile_and_missing_images():
    with Cluster() as c:
        bad = os.path.join(c.disk, "bad.tar")
        with open(bad, "wb") as f:
            f.write(os.urandom(10000))
        p = c.coracle("image", "load", bad, check=False)
        true(p.returncode != 0 and p.stderr, "garbage is no image")
        p = c.coracle("image", "pull", "127.0.0.1:1/none:1", check=False)
        true(p.returncode != 0, "nobody listens there")
        contains(p.stderr, "127.0.0.1:1")
        c.alive()


def test_port_conflict():
    with Cluster() as c:
        holder = subprocess.Popen(["nsenter", f"--net=/run/netns/{c.ns}", "nc", "-l", "-k", "-p", "30099"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait("the holder", lambda: "30099" in c.inside(["ss", "-ltn"]).stdout)
            c.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken"},
                     "spec": {"type": "NodePort", "selector": {"app": "x"},
                              "ports": [{"port": 80, "nodePort": 30099}]}})
            wait("the event", lambda: "Address already in use" in c.coracle("describe", "service", "taken").stdout)
        finally:
            holder.kill()
            holder.wait()


def test_full_disk():
    with Cluster() as c:
        c.kill()
        os.makedirs(c.state_dir, exist_ok=True)
        run(["rm", "-rf", c.state_dir])
        os.makedirs(c.state_dir)
        run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", c.state_dir])
        try:
            c.start()
            equal(request(c, "POST", MAPS, config_map("before", v="1"))[0], 201, "with room")
            filler = os.path.join(c.state_dir, "filler")
            with contextlib.suppress(OSError), open(filler, "wb") as f:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
            code = text = None
            for i in range(60):
                code, text = request(c, "POST", MAPS, config_map(f"full{i}", v="y" * 100000))
                if code != 201:
                    break
            equal(code, 507, text)
            contains(text, "No space left")
            equal(request(c, "GET", MAPS + "/before")[0], 200, "reads go on")
            equal(request(c, "GET", f"{MAPS}/full{i}")[0], 404, "what was refused is not there")
            os.unlink(filler)
            wait("writes again", lambda: request(c, "POST", MAPS, config_map("after"))[0] in (201, 409))
            c.restart(signal.SIGKILL)
            for name in ["before", "after"] + [f"full{k}" for k in range(i)]:
                equal(request(c, "GET", f"{MAPS}/{name}")[0], 200, f"{name} is still there")
        finally:
            c.kill(signal.SIGKILL)
            run(["umount", "-l", c.state_dir])


def test_start_refused():
    def code_of(*options):
        p = run([os.path.join(BUILD, "coracled"), *options], check=False)
        return p.returncode, p.stderr
    equal(code_of("--bogus")[0], 2, "unknown option")
    code, text = code_of("--check-config", "--pod-cidr", "10.0.0.0")
    equal(code, 2, "bad network")
    contains(text, "pod-cidr")
    equal(code_of("--check-config")[0], 0, "the defaults are good")
    with Cluster() as c:
        p = run(c.argv(), check=False, env=dict(os.environ, CORACLE_LIBEXECDIR=BUILD))
        equal(p.returncode, 1, "a second daemon")
        contains(p.stderr, "another coracled runs")
        with open(os.path.join(c.manifest_dir, "a-bad.yaml"), "w") as f:
            f.write("kind: [")
        with open(os.path.join(c.manifest_dir, "b-good.yaml"), "w") as f:
            f.write("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-file}\n")
        wait("the manifest", lambda: request(c, "GET", MAPS + "/from-file")[0] == 200)
        contains(c.log(), "a-bad.yaml")
        # What is refused waits for better times, or an edit.
        for name, refused in (("Not_A_Name", True), ("a-name", False)):
            with open(os.path.join(c.manifest_dir, "c-refused.yaml"), "w") as f:
                f.write(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
            if refused:
                wait("the refusal", lambda: "c-refused.yaml: ConfigMap Not_A_Name" in c.log())
        wait("what was mended", lambda: request(c, "GET", MAPS + "/a-name")[0] == 200, timeout=5)
        equal(c.log().count("c-refused.yaml: ConfigMap Not_A_Name"), 1, "times that it was tried")
