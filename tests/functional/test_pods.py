# SPDX-License-Identifier: Apache-2.0
"""What a Pod may ask for, seen from inside its containers and in its status."""
import base64
import os
import subprocess
import time

from lib import IMAGE, Cluster, Failure, contains, equal, pod, run, true, wait

NS = "default"


def cluster():
    with Cluster() as c:
        c.load_image()
        yield c


def status(c, name):
    return c.get("pod", name, NS).get("status", {})


def container(c, name, which="main", kind="containerStatuses"):
    for s in status(c, name).get(kind, []):
        if s["name"] == which:
            return s
    return {}


def phase(c, name, want):
    wait(f"{name} to be {want}", lambda: status(c, name).get("phase") == want)


def running(c, name):
    wait(f"{name} to run", lambda: "running" in container(c, name).get("state", {}))


def shown(c, name, text):
    """The STATUS column of kubectl get."""
    def look():
        row = c.coracle("get", "pod", name, "--no-headers").stdout
        if text not in row:
            raise Failure(row)
        return True
    wait(f"{name} to show {text}", look)


def event(c, name, text):
    def look():
        seen = [e for e in c.get("events", ns=NS) if e["involvedObject"]["name"] == name]
        if any(text in e["message"] for e in seen):
            return True
        raise Failure("\n".join(f"{e['reason']}: {e['message']}" for e in seen))
    wait(f"event of {name}: {text}", look)


def sh(c, name, script, which=None, **kw):
    return c.coracle("exec", name, *(["-c", which] if which else []), "--", "sh", "-c", script, **kw).stdout


def logs(c, name, *args):
    return c.coracle("logs", name, *args).stdout


def other(name, command, **more):
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", command], **more}


def remove(c, *names):
    c.coracle("delete", "pod", *names, "--grace-period=0", "--force")


# ---- the order of containers -----------------------------------------------------------------------

def test_init_and_sidecar(c):
    data = [{"name": "data", "mountPath": "/data"}]
    p = pod("order", ["sh", "-c", "echo main >>/data/log; cat /data/log; [ ! -e /data/side-ended ]"], restart="Never",
            volumeMounts=data)
    p["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    p["spec"]["initContainers"] = [
        other("one", "echo one >>/data/log", volumeMounts=data),
        other("side", "echo side >>/data/log; touch /data/up; trap 'exit 0' TERM; while :; do sleep 0.1; done",
              restartPolicy="Always", volumeMounts=data,
              startupProbe={"exec": {"command": ["test", "-e", "/data/up"]}, "periodSeconds": 1}),
        other("two", "echo two >>/data/log", volumeMounts=data)]
    c.apply(p)
    phase(c, "order", "Succeeded")
    equal(logs(c, "order", "-c", "main"), "one\nside\ntwo\nmain\n", "order of the containers")
    shown(c, "order", "Completed")
    side = container(c, "order", "side", "initContainerStatuses")
    equal(side["state"]["terminated"]["exitCode"], 0, "the sidecar got TERM after the main container")
    equal(container(c, "order", "one", "initContainerStatuses")["state"]["terminated"]["reason"], "Completed", "init")


def test_init_failure(c):
    p = pod("init-error", restart="Never")
    p["spec"]["initContainers"] = [other("bad", "exit 3")]
    c.apply(p)
    phase(c, "init-error", "Failed")
    shown(c, "init-error", "Init:Error")
    p = pod("init-loop")
    p["spec"]["initContainers"] = [other("bad", "exit 3"), other("next", "true")]
    c.apply(p)
    shown(c, "init-loop", "Init:CrashLoopBackOff")
    equal(status(c, "init-loop")["phase"], "Pending", "phase")
    contains(c.coracle("get", "pod", "init-loop").stdout, "0/1", "ready")
    for cond in status(c, "init-loop")["conditions"]:
        if cond["type"] == "Initialized":
            equal((cond["status"], cond["reason"]), ("False", "ContainersNotInitialized"), "condition")
            equal(cond["message"], "containers with incomplete status: [bad next]", "message")
    remove(c, "init-loop")


def test_restart_policy(c):
    c.apply(pod("never", ["sh", "-c", "exit 0"], restart="Never"))
    c.apply(pod("fails", ["sh", "-c", "echo broken >&2; exit 4"], restart="Never"))
    again = pod("again", ["sh", "-c", "echo try; [ -e /data/x ] || { touch /data/x; exit 5; }"], restart="OnFailure",
                volumeMounts=[{"name": "data", "mountPath": "/data"}])
    again["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    c.apply(again)
    c.apply(pod("always", ["sh", "-c", "echo run; exit 0"]))
    phase(c, "never", "Succeeded")
    shown(c, "never", "Completed")
    phase(c, "fails", "Failed")
    shown(c, "fails", "Error")
    phase(c, "again", "Succeeded")
    equal(container(c, "again")["restartCount"], 1, "restarts")
    equal(container(c, "again")["lastState"]["terminated"]["exitCode"], 5, "last state")
    equal(logs(c, "again", "-p"), "try\n", "logs -p")
    shown(c, "always", "CrashLoopBackOff")
    waiting = container(c, "always")["state"]["waiting"]
    contains(waiting["message"], "back-off 10s restarting failed container=main pod=always_default(", "message")
    text = c.coracle("describe", "pod", "always").stdout
    for part in ("Reason:       CrashLoopBackOff", "Last State:     Terminated", "Reason:       Completed"):
        contains(text, part, "describe")
    event(c, "always", "Back-off restarting failed container main in pod always_default(")
    remove(c, "always")


def test_deadline(c):
    p = pod("late")
    p["spec"]["activeDeadlineSeconds"] = 1
    c.apply(p)
    phase(c, "late", "Failed")
    equal(status(c, "late")["reason"], "DeadlineExceeded", "reason")


def test_sysctls(c):
    """A pod may set what is its own, and nothing of the host."""
    def wants(name, sysctl, value, **spec):
        p = pod(name, ["cat", "/proc/sys/" + sysctl.replace(".", "/")], restart="Never")
        p["spec"].update(securityContext={"sysctls": [{"name": sysctl, "value": value}]}, **spec)
        c.apply(p)

    wants("safe", "net.ipv4.ip_local_port_range", "20000 20100")
    wants("slashes", "net/ipv4/ip_local_port_range", "20000 20100")
    for name in ("safe", "slashes"):
        phase(c, name, "Succeeded")
        equal(logs(c, name).split(), ["20000", "20100"], name)
    with open("/proc/sys/kernel/msgmax") as f:
        before = f.read()
    wants("unsafe", "kernel.msgmax", "4096")
    wants("of-host", "net.ipv4.tcp_syncookies", "0", hostNetwork=True)
    for name, why in (("unsafe", '"kernel.msgmax" not allowlisted'),
                      ("of-host", '"net.ipv4.tcp_syncookies" not allowed with host net enabled')):
        phase(c, name, "Failed")
        got = status(c, name)
        equal((got["reason"], got["message"]), ("SysctlForbidden", "Pod was rejected: forbidden sysctl: " + why), name)
        event(c, name, "forbidden sysctl: " + why)
    with open("/proc/sys/kernel/msgmax") as f:
        equal(f.read(), before, "the host's")


# ---- probes ----------------------------------------------------------------------------------------

def test_probes(c):
    http = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    c.apply(pod("good", ["/bin/hello"], readinessProbe=http, livenessProbe=http))
    c.apply(pod("bad-http", ["/bin/hello"], livenessProbe={**http, "httpGet": {"path": "/nope", "port": 8080}}))
    c.apply(pod("tcp", ["/bin/hello"], readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}))
    c.apply(pod("tcp-bad", ["/bin/hello"], readinessProbe={"tcpSocket": {"port": 81}, "periodSeconds": 1}))
    c.apply(pod("starts", ["sh", "-c", "sleep 2; touch /tmp/up; sleep 3600"],
                startupProbe={"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 20},
                livenessProbe={"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1,
                               "failureThreshold": 1}))
    c.apply(pod("never-starts", startupProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}))
    wait("ready by http", lambda: c.condition("pod", "good", "Ready", NS) == "True")
    wait("ready by tcp", lambda: c.condition("pod", "tcp", "Ready", NS) == "True")
    wait("a restart", lambda: container(c, "bad-http").get("restartCount", 0) >= 1)
    event(c, "bad-http", "Liveness probe failed: HTTP probe failed with statuscode: 404")
    event(c, "bad-http", "Container main failed liveness probe, will be restarted")
    event(c, "tcp-bad", "Readiness probe failed: dial tcp ")
    equal(c.condition("pod", "tcp-bad", "Ready", NS), "False", "tcp")
    wait("started", lambda: container(c, "starts").get("started") is True)
    wait("ready", lambda: c.condition("pod", "starts", "Ready", NS) == "True")
    equal(container(c, "starts")["restartCount"], 0, "liveness waits for the startup probe")
    wait("a restart of what never starts", lambda: container(c, "never-starts").get("restartCount", 0) >= 1)
    event(c, "never-starts", "Container main failed startup probe, will be restarted")
    remove(c, "good", "bad-http", "tcp", "tcp-bad", "starts", "never-starts")


# ---- environment -----------------------------------------------------------------------------------

def field(path):
    return {"fieldRef": {"fieldPath": path}}


def test_env(c):
    c.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": "1", "b": "2"}})
    c.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"pw": "s3cret"}})
    env = [{"name": "PLAIN", "value": "x"}, {"name": "REF", "value": "$(PLAIN)-$$(PLAIN)-$(NOPE)"},
           {"name": "CM", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}},
           {"name": "OPT", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a", "optional": True}}},
           {"name": "SEC", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "pw"}}}]
    env += [{"name": n, "valueFrom": field(p)} for n, p in (
        ("NAME", "metadata.name"), ("NS", "metadata.namespace"), ("UID", "metadata.uid"), ("IP", "status.podIP"),
        ("HOST", "status.hostIP"), ("NODE", "spec.nodeName"), ("SA", "spec.serviceAccountName"),
        ("LABEL", "metadata.labels['app']"), ("NOTE", "metadata.annotations['n/x']"))]
    env += [{"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}}]
    p = pod("env", ["sh", "-c", "env; echo ARG=$0", "$(PLAIN)/$(CM)"], restart="Never", env=env,
            envFrom=[{"configMapRef": {"name": "conf"}, "prefix": "P_"}, {"secretRef": {"name": "hidden"}}],
            resources={"limits": {"memory": "32Mi"}, "requests": {"cpu": "20m"}})
    p["metadata"]["annotations"] = {"n/x": "note"}
    c.apply(p)
    phase(c, "env", "Succeeded")
    got = dict(line.split("=", 1) for line in logs(c, "env").splitlines())
    obj = c.get("pod", "env", NS)
    want = {"PLAIN": "x", "REF": "x-$(PLAIN)-$(NOPE)", "CM": "1", "SEC": "s3cret", "NAME": "env", "NS": NS,
            "UID": obj["metadata"]["uid"], "IP": obj["status"]["podIP"], "HOST": obj["status"]["hostIP"],
            "NODE": c.name, "SA": "default", "LABEL": "env", "NOTE": "note", "MEM": "32", "CPU": "20",
            "P_a": "1", "P_b": "2", "pw": "s3cret", "ARG": "x/1", "HOSTNAME": "env",
            "KUBERNETES_SERVICE_HOST": "10.43.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    equal({k: got.get(k) for k in want}, want, "environment")
    true("OPT" not in got, "an optional reference to nothing leaves the variable out")


def test_env_of_what_comes_later(c):
    c.apply(pod("waits", env=[{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "k"}}}]))
    shown(c, "waits", "CreateContainerConfigError")
    event(c, "waits", 'configmap "later" not found')
    c.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later"}, "data": {"k": "v"}})
    running(c, "waits")
    equal(sh(c, "waits", "echo $X"), "v\n", "value")


# ---- volumes ---------------------------------------------------------------------------------------

def test_volumes(c):
    host = os.path.join(c.disk, "hostpath")
    os.makedirs(host)
    with open(os.path.join(host, "file"), "w") as f:
        f.write("from host\n")
    c.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"},
             "data": {"a": "one", "b": "two"}, "binaryData": {"bin": base64.b64encode(b"\0\1\2").decode()}})
    c.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"key": "secret"}})
    mounts = [{"name": n, "mountPath": "/" + n} for n in ("shared", "ram", "host", "made", "files", "some", "keys")]
    mounts += [{"name": "files", "mountPath": "/single", "subPath": "a"},
               {"name": "shared", "mountPath": "/ro", "readOnly": True},
               {"name": "shared", "mountPath": "/sub", "subPath": "deep/er"}]
    p = pod("volumes", volumeMounts=mounts)
    p["spec"]["containers"].append(other("second", "sleep 3600", volumeMounts=[{"name": "shared", "mountPath": "/s"}]))
    p["spec"]["volumes"] = [
        {"name": "shared", "emptyDir": {}}, {"name": "ram", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
        {"name": "host", "hostPath": {"path": host, "type": "Directory"}},
        {"name": "made", "hostPath": {"path": host + "-new", "type": "DirectoryOrCreate"}},
        {"name": "files", "configMap": {"name": "files"}},
        {"name": "some", "configMap": {"name": "files", "items": [{"key": "b", "path": "dir/name", "mode": 0o440}]}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}}]
    c.apply(p)
    running(c, "volumes")
    wait("both containers", lambda: c.condition("pod", "volumes", "Ready", NS) == "True")
    sh(c, "volumes", "echo hi >/shared/x; mkdir -p /shared/deep; echo deep >/sub/y; echo m >/made/z")
    equal(sh(c, "volumes", "cat /s/x /s/deep/er/y", "second"), "hi\ndeep\n", "emptyDir is shared")
    contains(sh(c, "volumes", "grep ' /ram ' /proc/mounts"), "tmpfs", "memory medium")
    equal(sh(c, "volumes", "cat /host/file"), "from host\n", "hostPath")
    true(os.path.exists(host + "-new/z"), "a hostPath is made")
    equal(sh(c, "volumes", "cat /files/a /files/b /single /some/dir/name /keys/key"), "onetwoonetwosecret", "files")
    equal(sh(c, "volumes", "wc -c </files/bin"), "3\n", "binaryData")
    equal(sh(c, "volumes", "ls /some"), "dir\n", "items")
    equal(sh(c, "volumes", "stat -L -c %a /files/a /some/dir/name /keys/key"), "644\n440\n400\n", "modes")
    true("Read-only" in c.coracle("exec", "volumes", "--", "touch", "/ro/x", check=False).stderr, "readOnly")
    true("Read-only" in c.coracle("exec", "volumes", "--", "touch", "/files/x", check=False).stderr, "config files")
    c.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "NEW", "c": "3"}})
    wait("the update", lambda: sh(c, "volumes", "cat /files/a /files/c; ls /files") == "NEW3a\nc\n")
    equal(sh(c, "volumes", "cat /single"), "one", "a subPath keeps what it was")
    remove(c, "volumes")


def test_sub_path_expression(c):
    """A subPathExpr takes variables; one without a value, or that leads out, holds the container back."""
    annotation = {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['where']"}}}
    p = pod("expression", env=[annotation],
            volumeMounts=[{"name": "shared", "mountPath": "/sub", "subPathExpr": "$(WHERE)"}])
    p["spec"]["volumes"] = [{"name": "shared", "emptyDir": {}}]
    c.apply(p)

    def waiting():
        state = c.get("pod", "expression", NS).get("status", {}).get("containerStatuses", [{}])[0].get("state", {})
        return state.get("waiting", {}).get("message")
    for where, message in ((None, "missing value for WHERE"),
                           ("/tmp", "error SubPath `/tmp` must not be an absolute path"),
                           ("a/..", "unable to provision SubPath `a/..`: must not contain '..'")):
        if where:
            c.kubectl("annotate", "pod", "-n", NS, "--overwrite", "expression", f"where={where}")
        wait(message, lambda: waiting() == message, timeout=30)
    c.kubectl("annotate", "pod", "-n", NS, "--overwrite", "expression", "where=deep/er")
    running(c, "expression")
    contains(sh(c, "expression", "grep ' /sub ' /proc/mounts || ls -d /sub"), "/sub", "the mount")
    remove(c, "expression")


def test_volumes_that_are_not_there(c):
    p = pod("no-volume", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    p["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "not-yet"}}]
    c.apply(p)
    event(c, "no-volume", 'secret "not-yet" not found')
    shown(c, "no-volume", "ContainerCreating")
    c.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "not-yet"}, "stringData": {"x": "y"}})
    running(c, "no-volume")
    p = pod("no-dir", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    p["spec"]["volumes"] = [{"name": "v", "hostPath": {"path": c.disk + "/absent", "type": "Directory"}}]
    c.apply(p)
    event(c, "no-dir", "hostPath type check failed")
    remove(c, "no-volume", "no-dir")


# ---- limits and rights -----------------------------------------------------------------------------

def cgroup_file(c, name, *files):
    cid = container(c, name)["containerID"].split("//")[1]
    found = run(["find", "/sys/fs/cgroup", "-path", f"*{cid[:12]}*", "(", *sum([["-o", "-name", f] for f in files], [])[1:],
                 ")"], check=False).stdout.split()
    true(found, f"a cgroup file of {files}")
    with open(found[0]) as f:
        return f.read().strip()


def test_resources(c):
    c.apply(pod("limited", resources={"limits": {"memory": "24Mi", "cpu": "250m"}, "requests": {"cpu": "100m"}}))
    c.apply(pod("hungry", ["tail", "-c", "90000000", "/dev/zero"], restart="Never",
                resources={"limits": {"memory": "16Mi"}}))
    running(c, "limited")
    equal(status(c, "limited")["qosClass"], "Burstable", "QoS")
    equal(cgroup_file(c, "limited", "memory.limit_in_bytes", "memory.max"), str(24 << 20), "memory")
    cpu = cgroup_file(c, "limited", "cpu.cfs_quota_us", "cpu.max")
    true(cpu.split()[0] == "25000", f"cpu quota {cpu}")
    equal(cgroup_file(c, "limited", "cpu.shares", "cpu.weight") in ("102", "4"), True, "cpu shares")
    wait("the end of the hungry one", lambda: "terminated" in container(c, "hungry").get("state", {}))
    end = container(c, "hungry")["state"]["terminated"]
    equal(end["reason"], "OOMKilled", f"reason ({end})")
    shown(c, "hungry", "OOMKilled")
    remove(c, "limited")


def test_security(c):
    p = pod("user", securityContext={"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                                     "capabilities": {"drop": ["ALL"]}}, volumeMounts=[{"name": "d", "mountPath": "/d"}])
    p["spec"]["securityContext"] = {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [4000],
                                    "seccompProfile": {"type": "RuntimeDefault"}}
    p["spec"]["volumes"] = [{"name": "d", "emptyDir": {}}]
    c.apply(p)
    c.apply(pod("admin", securityContext={"privileged": True}))
    c.apply(pod("caps", securityContext={"capabilities": {"add": ["NET_ADMIN"], "drop": ["CHOWN"]}}))
    c.apply(pod("root", securityContext={"runAsNonRoot": True}))
    own = pod("own", securityContext={"runAsUser": 1001})
    own["spec"]["initContainers"] = [{**own["spec"]["containers"][0], "name": "first", "command": ["/bin/true"]}]
    c.apply(own)
    for name in ("user", "admin", "caps"):
        running(c, name)
    equal(sh(c, "user", "id -u; id -g; id -G").split(), ["1000", "3000", "3000", "2000", "4000"], "ids")
    true("Read-only" in c.coracle("exec", "user", "--", "touch", "/x", check=False).stderr, "read-only root")
    equal(sh(c, "user", "touch /d/x; stat -c %g /d/x"), "2000\n", "fsGroup")
    token = "stat -Lc '%a %u %g' /var/run/secrets/kubernetes.io/serviceaccount/token"
    for name, want in (("user", "640 1000 2000"), ("own", "600 1001 0"), ("admin", "644 0 0")):
        equal(sh(c, name, token).strip(), want, f"whose token it is in {name}")
    proc = dict(line.split(":\t") for line in sh(c, "user", "cat /proc/1/status").splitlines() if ":\t" in line)
    equal((proc["CapEff"], proc["CapBnd"], proc["NoNewPrivs"], proc["Seccomp"]), ("0" * 16, "0" * 16, "1", "2"), "status")
    full = int(sh(c, "admin", "grep CapEff /proc/1/status").split()[1], 16)
    caps = int(sh(c, "caps", "grep CapEff /proc/1/status").split()[1], 16)
    true(full & 1 << 21 and not caps & 1 << 21, "CAP_SYS_ADMIN only with privileged")
    true(caps & 1 << 12 and not caps & 1, "added NET_ADMIN, dropped CHOWN")
    shown(c, "root", "CreateContainerConfigError")
    event(c, "root", "container has runAsNonRoot and image will run as root")
    remove(c, "user", "admin", "caps", "root", "own")


# ---- the end ---------------------------------------------------------------------------------------

def test_termination(c):
    host = os.path.join(c.disk, "ended")
    os.makedirs(host)
    p = pod("polite", ["sh", "-c", "trap 'echo TERM >>/h/log; exit 9' TERM; echo up >>/h/log; while :; do sleep 0.05; done"],
            volumeMounts=[{"name": "h", "mountPath": "/h"}],
            lifecycle={"postStart": {"exec": {"command": ["sh", "-c", "echo postStart >>/h/start"]}},
                       "preStop": {"exec": {"command": ["sh", "-c", "echo preStop >>/h/log; sleep 0.3"]}}})
    p["metadata"]["finalizers"] = ["test.example/hold"]
    p["spec"]["volumes"] = [{"name": "h", "hostPath": {"path": host}}]
    p["spec"]["terminationGracePeriodSeconds"] = 20
    deaf = pod("deaf", ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    deaf["metadata"]["finalizers"] = ["test.example/hold"]
    deaf["spec"]["terminationGracePeriodSeconds"] = 1
    c.apply(p)
    c.apply(deaf)
    wait("start", lambda: os.path.exists(host + "/log") and os.path.exists(host + "/start"))
    running(c, "polite")
    running(c, "deaf")
    start = time.monotonic()
    c.coracle("delete", "pod", "polite", "deaf", "--wait=false")
    contains(c.coracle("get", "pod", "polite").stdout, "Terminating")
    for name, code in (("polite", 9), ("deaf", 137)):
        end = wait(f"the end of {name}", lambda: container(c, name)["state"].get("terminated"))
        equal((end["exitCode"], end["reason"]), (code, "Error"), name)
    true(1 <= time.monotonic() - start < 10, "after the grace period, not long after")
    with open(host + "/log") as f:
        equal(f.read(), "up\npreStop\nTERM\n", "preStop, then TERM")
    event(c, "polite", "Stopping container main")
    for name in ("polite", "deaf"):
        c.kubectl("patch", "pod", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        wait("gone", lambda: c.coracle("get", "pod", name, check=False).returncode == 1)


def test_termination_message(c):
    c.apply(pod("tells", ["sh", "-c", "echo -n farewell >/dev/termination-log; exit 1"], restart="Never"))
    c.apply(pod("tells-logs", ["sh", "-c", "echo last words; exit 1"], restart="Never",
                terminationMessagePolicy="FallbackToLogsOnError"))
    phase(c, "tells", "Failed")
    phase(c, "tells-logs", "Failed")
    equal(container(c, "tells")["state"]["terminated"]["message"], "farewell", "message")
    equal(container(c, "tells-logs")["state"]["terminated"]["message"], "last words\n", "message from the log")


# ---- images ----------------------------------------------------------------------------------------

def test_images(c):
    c.apply(pod("never-pull", image="coracle.local/absent:1", imagePullPolicy="Never"))
    c.apply(pod("bad-name", image="Not//An:Image:"))
    c.apply(pod("no-registry", image="127.0.0.1:1/none:1"))
    c.apply(pod("no-command", ["/bin/absent"]))
    shown(c, "never-pull", "ErrImageNeverPull")
    event(c, "never-pull", 'Container image "coracle.local/absent:1" is not present with pull policy of Never')
    shown(c, "bad-name", "InvalidImageName")
    shown(c, "no-registry", "ImagePullBackOff")
    event(c, "no-registry", 'Failed to pull image "127.0.0.1:1/none:1"')
    event(c, "no-registry", 'Back-off pulling image "127.0.0.1:1/none:1"')
    wait("an error of the start", lambda: any(t in c.coracle("get", "pod", "no-command").stdout for t in
                                              ("RunContainerError", "CrashLoopBackOff", "StartError")))
    c.kubectl("set", "image", "pod/no-registry", "main=" + IMAGE)
    running(c, "no-registry")
    remove(c, "never-pull", "bad-name", "no-registry", "no-command")


def test_new_image(c):
    """A container that gets another image and comes up again was never seen without being ready; what
    keeps it from coming up is told."""
    c.load_image("coracle.local/hello:2")
    c.apply(pod("renewed", ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"], imagePullPolicy="Never"))
    running(c, "renewed")
    watch = c.popen_kubectl("get", "pod", "renewed", "-w", "-o",
                            "jsonpath={.status.containerStatuses[0].restartCount} "
                            "{.status.conditions[?(@.type=='Ready')].status}{'\\n'}",
                            stdout=subprocess.PIPE)
    try:
        for restarts in range(1, 4):
            c.kubectl("set", "image", "pod/renewed", f"main=coracle.local/hello:{restarts % 2 + 1}")
            seen = "-"
            while not seen.startswith(f"{restarts} "):
                seen = watch.stdout.readline()
                true(seen.endswith(" True\n"), f"seen in between: {seen!r}")
        equal(container(c, "renewed")["lastState"]["terminated"]["reason"], "Completed", "the one before")
        c.kubectl("set", "image", "pod/renewed", "main=coracle.local/absent:1")
        while " False" not in seen:
            seen = watch.stdout.readline()
            true(seen.startswith("3 "), f"a container without an image: {seen!r}")
    finally:
        watch.kill()
        watch.wait()
    shown(c, "renewed", "ErrImageNeverPull")
    remove(c, "renewed")


# ---- the node --------------------------------------------------------------------------------------

def test_scheduling(c):
    p = pod("picky")
    p["spec"]["nodeSelector"] = {"disk": "fast"}
    c.apply(p)
    c.apply(pod("giant", resources={"requests": {"memory": "1000Gi"}}))
    event(c, "picky", "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")
    event(c, "giant", "0/1 nodes are available: 1 Insufficient memory.")
    cond = [x for x in status(c, "giant")["conditions"] if x["type"] == "PodScheduled"][0]
    equal((cond["status"], cond["reason"]), ("False", "Unschedulable"), "condition")
    c.kubectl("label", "node", c.name, "disk=fast")
    running(c, "picky")
    c.kubectl("label", "node", c.name, "disk-")
    c.kubectl("cordon", c.name)
    contains(c.coracle("get", "nodes").stdout, "Ready,SchedulingDisabled")
    c.apply(pod("cordoned"))
    event(c, "cordoned", "1 node(s) were unschedulable")
    c.kubectl("uncordon", c.name)
    running(c, "cordoned")
    c.kubectl("taint", "node", c.name, "only=me:NoSchedule")
    c.apply(pod("tainted"))
    event(c, "tainted", "1 node(s) had untolerated taint {only: me}")
    c.kubectl("taint", "node", c.name, "only-")
    running(c, "tainted")
    remove(c, "picky", "giant", "cordoned", "tainted")


def test_advertised_resources(c):
    """What somebody says the node has besides, pods may ask for; of more priority they get it from others."""
    c.kubectl("patch", "node", c.name, "--subresource=status", "-p",
              '{"status":{"capacity":{"example.com/device":"2"},"conditions":[{"type":"DiskWorn","status":"False"}]}}')
    wait("it to be allocatable", lambda: c.get("node", c.name)["status"]["allocatable"].get("example.com/device") == "2")
    c.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "first"}, "value": 10})
    for name in ("elder", "younger", "urgent"):
        p = pod(name, resources={"limits": {"example.com/device": "1"}})
        if name == "urgent":
            p["spec"]["priorityClassName"] = "first"
        c.apply(p)
        running(c, name)
        time.sleep(1.1 if name == "elder" else 0)
    event(c, "younger", "Preempted by pod ")
    wait("the later one to go", lambda: not c.kubectl("get", "pod", "younger", check=False).stdout)
    equal(status(c, "elder")["phase"], "Running", "phase")
    remove(c, "elder", "urgent")
    c.kubectl("patch", "node", c.name, "--subresource=status", "-p", '{"status":{"capacity":{"example.com/device":null}}}')
    wait("it to be gone", lambda: "example.com/device" not in c.get("node", c.name)["status"]["allocatable"])
    equal(c.condition("node", c.name, "DiskWorn"), "False", "condition of somebody else")


def test_host_network_and_ports(c):
    p = pod("hostnet", ["/bin/hello", "--http", "18080"], ports=[{"containerPort": 18080}])
    p["spec"].update(hostNetwork=True)
    c.apply(p)
    c.apply(pod("hostport", ["/bin/hello"], ports=[{"containerPort": 8080, "hostPort": 18081}]))
    running(c, "hostnet")
    running(c, "hostport")
    st = status(c, "hostnet")
    equal(st["podIP"], st["hostIP"], "address of the host")
    contains(wait("host network", lambda: c.fetch("http://127.0.0.1:18080/").stdout), "Hello from")
    contains(wait("host port", lambda: c.fetch("http://127.0.0.1:18081/").stdout), "Hello from hostport")
    contains(c.fetch(f"http://{st['hostIP']}:18081/").stdout, "Hello from hostport")
    c.apply(pod("clash", ["/bin/hello"], ports=[{"containerPort": 8080, "hostPort": 18081}]))
    event(c, "clash", "1 node(s) didn't have free ports for the requested pod ports")
    remove(c, "hostport")
    running(c, "clash")
    remove(c, "hostnet", "clash")


def test_names_inside(c):
    p = pod("named")
    p["spec"].update(hostname="boat", subdomain="crew", dnsPolicy="None",
                     dnsConfig={"nameservers": ["10.43.0.10"], "searches": ["a.example"],
                                "options": [{"name": "ndots", "value": "3"}]},
                     hostAliases=[{"ip": "10.1.2.3", "hostnames": ["far", "away"]}])
    c.apply(p)
    running(c, "named")
    equal(sh(c, "named", "hostname"), "boat\n", "hostname")
    hosts = sh(c, "named", "cat /etc/hosts")
    contains(hosts, "boat.crew.default.svc.cluster.local\tboat")
    contains(hosts, "10.1.2.3\tfar\taway")
    equal(sh(c, "named", "cat /etc/resolv.conf"), "search a.example\nnameserver 10.43.0.10\noptions ndots:3\n", "resolv.conf")
    remove(c, "named")


def test_ephemeral_facts(c):
    """Two containers of one pod see one network, each its own processes, and /dev/shm is theirs."""
    p = pod("pair", ["/bin/hello"])
    p["spec"]["containers"].append(other("second", "sleep 3600"))
    c.apply(p)
    wait("both", lambda: c.condition("pod", "pair", "Ready", NS) == "True")
    contains(wait("localhost", lambda: sh(c, "pair", "/bin/fetch http://127.0.0.1:8080/", "second")), "Hello from pair")
    true("hello" not in sh(c, "pair", "ps", "second"), "processes are apart")
    p = pod("together", ["/bin/hello"])
    p["spec"]["shareProcessNamespace"] = True
    p["spec"]["containers"].append(other("second", "sleep 3600"))
    c.apply(p)
    wait("both", lambda: c.condition("pod", "together", "Ready", NS) == "True")
    contains(sh(c, "together", "ps", "second"), "hello", "processes are shared")
    remove(c, "pair", "together")
