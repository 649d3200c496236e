# SPDX-License-Identifier: Apache-2.0
"""One application from stock kubectl, old and new: apply, watch, scale, roll, undo, look, delete."""
import json
import os
import signal
import subprocess
import threading
import time

from lib import (IMAGE, Cluster, Failure, contains, deployment, equal, kubectls, pod, run, true, wait)


def cluster():
    with Cluster() as c:
        c.load_image()
        c.load_image("coracle.local/hello:2")
        yield c


class Load:
    """Requests through an address in a loop; every failure is kept."""

    def __init__(self, c, url):
        self.c, self.url = c, url
        self.failures, self.answers, self.stop = [], 0, False
        self.thread = threading.Thread(target=self.loop)

    def loop(self):
        while not self.stop:
            p = self.c.fetch(self.url, check=False)
            if p.returncode or "Hello from" not in p.stdout:
                self.failures.append((p.returncode, p.stdout + p.stderr))
            else:
                self.answers += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop = True
        self.thread.join()


def scenario(c, ns):
    k = lambda *a, **kw: c.kubectl("-n", ns, *a, **kw).stdout
    contains(k("create", "namespace", ns), f"namespace/{ns} created")
    manifest = os.path.join(c.disk, f"{ns}.json")
    with open(manifest, "w") as f:
        json.dump(deployment("web"), f)
    watch = c.popen_kubectl("-n", ns, "get", "pods", "-w", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    equal(k("apply", "-f", manifest), "deployment.apps/web created\nservice/web created\n", "apply")
    contains(k("rollout", "status", "deployment/web", "--timeout=60s"), "successfully rolled out")
    equal(k("apply", "-f", manifest), "deployment.apps/web unchanged\nservice/web unchanged\n", "apply again")
    equal(k("diff", "-f", manifest), "", "diff")

    table = k("get", "deployment", "web").splitlines()
    equal(table[0].split(), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"], "columns")
    equal(table[1].split()[:4], ["web", "3/3", "3", "3"], "row")
    contains(k("get", "pods", "-o", "wide").splitlines()[0], "NOMINATED NODE")
    equal(k("get", "pods", "-l", "app=web", "-o", "name").count("pod/web-"), 3, "label selector")
    equal(k("get", "pods", "--field-selector", "status.phase=Pending", "-o", "name"), "", "field selector")
    equal(k("get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"), "3", "jsonpath")
    contains(k("get", "all"), "replicaset.apps/web-")

    scale_and_roll(c, ns, k)
    look(c, k)
    errors(c, ns, manifest)

    watch.send_signal(signal.SIGTERM)
    seen = watch.communicate(timeout=30)[0]
    for state in ("Pending", "Running", "Terminating"):
        contains(seen, state, "get -w")
    equal(k("delete", "-f", manifest), 'deployment.apps "web" deleted\nservice "web" deleted\n', "delete")
    wait("no pods", lambda: k("get", "pods", "-o", "name") == "")
    contains(k("delete", "namespace", ns), f'namespace "{ns}" deleted')
    contains(c.kubectl("get", "namespace", ns, check=False).stderr, f'namespaces "{ns}" not found')


def scale_and_roll(c, ns, k):
    equal(k("scale", "deployment/web", "--replicas=5"), "deployment.apps/web scaled\n", "scale")
    contains(k("rollout", "status", "deployment/web", "--timeout=60s"), "successfully rolled out")
    ip = k("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    with Load(c, f"http://{ip}/") as load:
        wait("requests", lambda: load.answers > 20)
        equal(k("set", "image", "deployment/web", "main=coracle.local/hello:2"),
              "deployment.apps/web image updated\n", "set image")
        contains(k("rollout", "status", "deployment/web", "--timeout=90s"), "successfully rolled out")
        equal(k("rollout", "undo", "deployment/web"), "deployment.apps/web rolled back\n", "undo")
        contains(k("rollout", "status", "deployment/web", "--timeout=90s"), "successfully rolled out")
    equal(load.failures, [], "requests during the rolling updates")
    images = k("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}").split()
    true(IMAGE in images, "the first image is back")
    history = k("rollout", "history", "deployment/web")
    contains(history, "REVISION  CHANGE-CAUSE")
    contains(history, "3 ")


def look(c, k):
    name = k("get", "pods", "-o", "name").splitlines()[0]
    text = k("describe", name)
    for part in ("Controlled By:  ReplicaSet/web-", "State:          Running", "Ready:          True",
                 "Readiness:", "QoS Class:", "Started container main", "Successfully assigned"):
        contains(text, part, "describe pod")
    contains(k("describe", "deployment", "web"), "RollingUpdateStrategy:  25% max unavailable, 25% max surge")
    contains(k("describe", "service", "web"), "Endpoints:")
    contains(c.kubectl("describe", "node", c.name).stdout, "Container Runtime Version:")
    contains(k("logs", name), "serves port 8080")
    contains(k("logs", "deployment/web", "--tail=1"), "hello")
    equal(k("exec", name, "--", "sh", "-c", "echo out; echo err >&2"), "out\n", "exec")
    equal(c.kubectl("-n", k("get", name, "-o", "jsonpath={.metadata.namespace}"), "exec", name, "--",
                    "sh", "-c", "exit 3", check=False).returncode, 3, "exit code of exec")
    equal(k("exec", "-i", name, "--", "cat", stdin="to stdin\n"), "to stdin\n", "stdin of exec")


def errors(c, ns, manifest):
    def fails(*args, **kw):
        p = c.kubectl("-n", ns, *args, check=False, **kw)
        true(p.returncode != 0, f"{args} should fail")
        return p.stderr
    contains(fails("get", "pod", "nope"), 'Error from server (NotFound): pods "nope" not found')
    contains(fails("create", "-f", manifest), '(AlreadyExists): ')
    bad = pod("Bad_Name")
    contains(fails("create", "-f", "-", stdin=json.dumps(bad)), 'The Pod "Bad_Name" is invalid: metadata.name:')
    bad = pod("good")
    bad["spec"]["containers"][0]["imagee"] = "x"
    contains(fails("create", "-f", "-", stdin=json.dumps(bad)), 'unknown field "spec.containers[0].imagee"')
    contains(fails("patch", "deployment", "web", "-p", '{"spec":{"selector":{"matchLabels":{"a":"b"}}}}'),
             "field is immutable")
    contains(c.kubectl("-n", ns, "create", "-f", "-", "--dry-run=server", stdin=json.dumps(pod("dry"))).stdout,
             "pod/dry created (server dry run)")
    contains(fails("get", "pod", "dry"), "not found")


def versions_test(path):
    def test(c):
        c.kubectl_path = path
        scenario(c, "app-" + os.path.basename(path).replace("kubectl", "k").replace(".", "-"))
    return test


for _path in kubectls():
    globals()["test_" + os.path.basename(_path).replace(".", "_")] = versions_test(_path)


def test_kubectl_is_there():
    true(kubectls(), "kubectl is missing")


# ---- the service ---------------------------------------------------------------------------------

def service_ip(c, name="web", ns="default"):
    return c.get("service", name, ns)["spec"]["clusterIP"]


def test_balancing_and_healing(c):
    c.apply(deployment("web"))
    pods = c.wait_ready("default", {"app": "web"}, 3)
    url = f"http://{service_ip(c)}/"
    names = {p["metadata"]["name"] for p in pods}
    answers = [c.fetch(url).stdout for _ in range(30)]
    equal({n for n in names if any(n in a for a in answers)}, names, "who answered")

    def restarts(name):
        return c.get("pod", name, "default")["status"]["containerStatuses"][0]["restartCount"]
    victim = pods[0]["metadata"]["name"]
    with Load(c, url) as load:
        # A container ends: it is started again.
        c.coracle("exec", victim, "--", "kill", "1")
        wait("a restart", lambda: restarts(victim) == 1)
        c.wait_ready("default", {"app": "web"}, 3)
        # A pod is deleted: another one comes.
        c.coracle("delete", "pod", victim)
        wait("a new pod", lambda: victim not in {p["metadata"]["name"] for p in c.get("pods", ns="default")})
        c.wait_ready("default", {"app": "web"}, 3)
        # A sandbox is killed: its pod gets a new one.
        before = c.sandboxes()
        os.kill(before[0], signal.SIGKILL)
        wait("a new sandbox", lambda: len(c.sandboxes()) == len(before) and c.sandboxes() != before)
        c.wait_ready("default", {"app": "web"}, 3)
        wait("enough answers", lambda: load.answers > 20)
    refused = [f for f in load.failures if f[0] not in (7, 52, 56)]
    equal(refused, [], "failures other than of connections that were cut")
    true(len(load.failures) <= 3, f"one cut connection a kill at most: {load.failures}")


def test_never_to_unready(c):
    """While one pod says that it is not ready, not one request reaches it."""
    manifest = deployment("flip", replicas=2)
    probe = {"exec": {"command": ["test", "!", "-e", "/tmp/down"]}, "periodSeconds": 1, "failureThreshold": 1}
    manifest["items"][0]["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = probe
    c.apply(manifest)
    pods = c.wait_ready("default", {"app": "flip"}, 2)
    down = pods[0]["metadata"]["name"]
    url = f"http://{service_ip(c, 'flip')}/"
    c.coracle("exec", down, "--", "touch", "/tmp/down")
    wait("not ready", lambda: c.condition("pod", down, "Ready", "default") == "False")
    wait("endpoints without it", lambda: len(c.get("endpoints", "flip", "default")["subsets"][0]["addresses"]) == 1)
    for _ in range(40):
        true(down not in c.fetch(url).stdout, "an unready pod was asked")
    c.coracle("exec", down, "--", "rm", "/tmp/down")
    wait("both answer", lambda: len({c.fetch(url).stdout for _ in range(8)}) == 2)


def dig(c, *args):
    return c.inside(["dig", "+time=3", "+tries=2", "@10.43.0.10", *args]).stdout


def test_names(c):
    c.apply(deployment("named", replicas=2))
    c.wait_ready("default", {"app": "named"}, 2)
    headless = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bare"},
                "spec": {"clusterIP": "None", "selector": {"app": "named"},
                         "ports": [{"name": "http", "port": 8080}]}}
    external = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "out"},
                "spec": {"type": "ExternalName", "externalName": "www.example.com"}}
    c.apply(headless)
    c.apply(external)
    ip = service_ip(c, "named")
    for name in ("named.default", "named.default.svc", "named.default.svc.cluster.local", "named.default.svc.local"):
        equal(dig(c, "+short", name), ip + "\n", name)
        equal(dig(c, "+short", "+tcp", name), ip + "\n", name + " over TCP")
    wait("two addresses", lambda: len(dig(c, "+short", "bare.default.svc.cluster.local").split()) == 2)
    contains(dig(c, "+short", "SRV", "_http._tcp.named.default.svc.cluster.local"),
             "80 named.default.svc.cluster.local.")
    equal(dig(c, "+short", "-x", ip), "named.default.svc.cluster.local.\n", "PTR")
    contains(dig(c, "out.default.svc.cluster.local"), "www.example.com.")
    contains(dig(c, "nope.default.svc.cluster.local"), "NXDOMAIN")
    name = c.get("pods", ns="default")[0]["metadata"]["name"]
    for short in ("named", "named.default", "named.default.svc", "named.default.svc.local"):
        contains(c.coracle("exec", name, "--", "/bin/fetch", f"http://{short}/").stdout, "Hello from", short)


def test_kinds_of_service(c):
    c.apply(deployment("kinds", replicas=2, args=("--http", "8080", "--udp", "8080")))
    c.wait_ready("default", {"app": "kinds"}, 2)
    c.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "node-port"},
             "spec": {"type": "NodePort", "selector": {"app": "kinds"},
                      "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}]}})
    wait("the node port", lambda: "Hello from" in c.fetch("http://127.0.0.1:30080/", check=False).stdout)
    c.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "balanced"},
             "spec": {"type": "LoadBalancer", "selector": {"app": "kinds"},
                      "ports": [{"port": 8081, "targetPort": 8080}]}})
    address = wait("an address", lambda: c.get("service", "balanced", "default")["status"]["loadBalancer"]
                   .get("ingress", [{}])[0].get("ip"))
    wait("the load balancer", lambda: "Hello from" in c.fetch(f"http://{address}:8081/", check=False).stdout)
    c.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "datagrams"},
             "spec": {"selector": {"app": "kinds"}, "ports": [{"port": 53, "protocol": "UDP", "targetPort": 8080}]}})
    ip = service_ip(c, "datagrams")
    wait("a UDP echo", lambda: "ping" in c.inside(["sh", "-c", f"echo ping | timeout 2 nc -u -w1 {ip} 53"],
                                                  check=False).stdout)
    c.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sticky"},
             "spec": {"selector": {"app": "kinds"}, "sessionAffinity": "ClientIP",
                      "ports": [{"port": 80, "targetPort": 8080}]}})
    ip = service_ip(c, "sticky")
    wait("sticky", lambda: c.fetch(f"http://{ip}/", check=False).stdout)
    equal(len({c.fetch(f"http://{ip}/").stdout for _ in range(10)}), 1, "one client, one pod")


# ---- pods ----------------------------------------------------------------------------------------

def phase(c, name):
    return c.get("pod", name, "default").get("status", {}).get("phase")


def test_pod_life(c):
    spec = pod("life", ["sh", "-c", "cat /data/x /cfg/key; echo $WHO $NODE; exit 7"], restart="Never")
    s = spec["spec"]
    s["initContainers"] = [{"name": "first", "image": IMAGE, "command": ["sh", "-c", "echo from-init > /data/x"],
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]
    s["volumes"] = [{"name": "data", "emptyDir": {}}, {"name": "cfg", "configMap": {"name": "cfg"}}]
    s["containers"][0].update({
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "cfg", "mountPath": "/cfg"}],
        "env": [{"name": "WHO", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "who"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]})
    c.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cfg"}, "data": {"key": "from-config\n"}})
    c.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sec"}, "stringData": {"who": "secret"}})
    c.apply(spec)
    wait("the end", lambda: phase(c, "life") == "Failed")
    equal(c.coracle("logs", "life").stdout, f"from-init\nfrom-config\nsecret {c.name}\n", "logs")
    end = c.get("pod", "life", "default")["status"]["containerStatuses"][0]["state"]["terminated"]
    equal((end["exitCode"], end["reason"]), (7, "Error"), "how it ended")


def test_back_off(c):
    c.apply(pod("crash", ["sh", "-c", "exit 1"]))
    wait("CrashLoopBackOff", lambda: "CrashLoopBackOff" in c.coracle("get", "pod", "crash").stdout)
    contains(c.coracle("describe", "pod", "crash").stdout, "Back-off restarting failed container main in pod crash")
    equal(phase(c, "crash"), "Running", "phase")
    c.apply(pod("absent", image="127.0.0.1:1/none:1"))
    wait("ImagePullBackOff", lambda: "ImagePullBackOff" in c.coracle("get", "pod", "absent").stdout)
    contains(c.coracle("describe", "pod", "absent").stdout, "Failed to pull image")
    c.apply(pod("huge", resources={"requests": {"cpu": "1000"}}))
    wait("the event", lambda: "Insufficient cpu" in c.coracle("describe", "pod", "huge").stdout)
    equal(phase(c, "huge"), "Pending", "phase")


def test_grace(c):
    spec = pod("stubborn", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    spec["spec"]["terminationGracePeriodSeconds"] = 1
    c.apply(spec)
    wait("running", lambda: phase(c, "stubborn") == "Running")
    start = time.monotonic()
    c.coracle("delete", "pod", "stubborn")
    true(0.9 < time.monotonic() - start < 15, "TERM was ignored, KILL came after the grace period")


def test_liveness(c):
    c.apply(pod("sick", ["sh", "-c", "touch /tmp/ok; sleep 3600"],
                livenessProbe={"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1,
                               "failureThreshold": 1}))
    wait("running", lambda: phase(c, "sick") == "Running")
    c.coracle("exec", "sick", "--", "rm", "/tmp/ok")
    wait("a restart", lambda: c.get("pod", "sick", "default")["status"]["containerStatuses"][0]["restartCount"] == 1)
    contains(c.coracle("describe", "pod", "sick").stdout, "Container main failed liveness probe, will be restarted")


def test_resources(c):
    c.apply(pod("small", resources={"limits": {"memory": "32Mi", "cpu": "500m"}}))
    wait("running", lambda: phase(c, "small") == "Running")
    status = c.get("pod", "small", "default")["status"]
    equal(status["qosClass"], "Guaranteed", "QoS")
    cid = status["containerStatuses"][0]["containerID"].split("//")[1]
    limits = run(["sh", "-c", f"cat $(find /sys/fs/cgroup -path '*{cid[:12]}*' -name 'memory.limit_in_bytes' "
                  f"-o -path '*{cid[:12]}*' -name memory.max) | head -n 1"]).stdout
    equal(limits.strip(), str(32 << 20), "memory limit in the cgroup")
