# SPDX-License-Identifier: Apache-2.0
"""exec, attach, port forwarding, logs, watches and proxied requests, in every protocol that clients
of Kubernetes speak: SPDY, WebSockets and one in the other."""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

import wsclient
from lib import IMAGE, TOP, Cluster, Failure, contains, equal, kubectls, pod, run, true, wait

VERSIONS = ("1.27", "1.29", "1.30", "1.31", "1.33")


def cluster():
    with Cluster() as c:
        c.load_image()
        c.apply(pod("shell"))
        c.apply(pod("web", command=("/bin/hello", "--http", "8080"), ports=[{"containerPort": 8080}]))
        c.wait_ready("default", {"app": "shell"}, 1)
        c.wait_ready("default", {"app": "web"}, 1)
        yield c


def each_kubectl(c):
    """Every version in turn is the cluster's kubectl."""
    found = kubectls(VERSIONS)
    true(found, "kubectl is not installed")
    was = c.kubectl_path
    try:
        for path in found:
            c.kubectl_path = path
            yield os.path.basename(os.path.realpath(path))
    finally:
        c.kubectl_path = was


def python():
    """A Python that has the Kubernetes client library."""
    for path in (sys.executable, shutil.which("python3", path="/usr/bin")):
        if path and run([path, "-c", "import kubernetes"], check=False).returncode == 0:
            return path
    raise Failure("python3-kubernetes is not installed")


def client(c, *args, **kw):
    """What the client library of Python sees of an operation."""
    out = c.inside([python(), os.path.join(TOP, "tests", "functional", "client.py"), c.kubeconfig, *args], **kw)
    return json.loads(out.stdout)


def upgrades(c):
    """Requests that became streams so far: of WebSockets ("get") and of SPDY ("create")."""
    count = {"get": 0, "create": 0}
    for line in c.coracle("get", "--raw", "/metrics").stdout.splitlines():
        for verb in count:
            if f'verb="{verb}"' in line and 'code="101"' in line:
                count[verb] += int(float(line.split()[-1]))
    return count


def upgrade_used(c, before):
    return [verb for verb, n in upgrades(c).items() if n > before[verb]]


# -- exec


def test_exec_exit_codes_and_streams(c):
    for version in each_kubectl(c):
        before = upgrades(c)
        got = c.kubectl("exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
        equal((got.returncode, got.stdout), (3, "out\n"), version)
        contains(got.stderr, "err\n", version)
        contains(got.stderr, "command terminated with exit code 3", version)
        equal(upgrade_used(c, before), ["create"] if version < "kubectl.1.30" else ["get"], version)


def test_exec_stdin_ends(c):
    text = "".join(f"line {n}\n" for n in range(20000))
    for version in each_kubectl(c):
        got = c.kubectl("exec", "-i", "shell", "--", "cat", stdin=text)
        true(got.stdout == text, f"{version}: {len(got.stdout)} of {len(text)} characters came back")
        got = c.kubectl("exec", "-i", "shell", "--", "sh", "-c", "exec <&-; sleep 0.2; echo done", stdin=text)
        equal(got.stdout, "done\n", version)


def test_exec_much_output(c):
    for version in each_kubectl(c):
        got = c.kubectl("exec", "shell", "--", "seq", "300000")
        equal(len(got.stdout), 1988895, version)


def test_exec_on_a_terminal(c):
    for version in each_kubectl(c):
        # script(1) gives kubectl a terminal of its own, 43 columns wide.
        command = (f"stty cols 43 rows 21; {c.kubectl_path} --kubeconfig {c.kubeconfig} exec -it shell -- "
                   "sh -c 'tty; sleep 0.5; stty size; exit 4'")
        got = c.inside(["script", "-qec", command, "/dev/null"], check=False)
        equal(got.returncode, 4, version + got.stdout)
        contains(got.stdout, "/dev/pts/", version)
        contains(got.stdout, "21 43", version)


def test_exec_errors_before_the_upgrade(c):
    for version in each_kubectl(c):
        for args, want in ((["shell", "-c", "no"], "container no is not valid for pod shell"),
                           (["nobody"], 'pods "nobody" not found')):
            got = c.kubectl("exec", *args, "--", "true", check=False)
            equal(got.returncode, 1, version)
            contains(got.stderr, want, version)
        got = c.kubectl("exec", "shell", "--", "/no/such/program", check=False)
        true(got.returncode != 0 and got.stderr, version)


def test_exec_from_python(c):
    equal(client(c, "exec", "shell", "sh", "-c", "echo out; echo err >&2; exit 5"),
          {"stdout": "out\n", "stderr": "err\n", "code": 5})
    equal(client(c, "exec", "shell", "true"), {"stdout": "", "stderr": "", "code": 0})
    equal(client(c, "exec-stdin", "shell", "first line\nsecond: gr\u00fc\u00dfe\n"),
          {"stdout": "first line\nsecond: gr\u00fc\u00dfe\n"})


def exec_socket(c, protocols, *command, query="stdout=1&stderr=1", **kw):
    path = "/api/v1/namespaces/default/pods/shell/exec?" + "&".join([query, *(f"command={w}" for w in command)])
    return wsclient.WebSocket(c.socket, path, protocols, **kw)


def joined(messages, channel):
    return b"".join(data[1:] for _, data in messages if data[:1] == channel)


FAIL = ("sh", "-c", "echo+out;echo+err+%3E%262;exit+3")


def test_exec_in_old_protocols(c):
    """Binary and base64 without a Status: only failures are told, in words."""
    for offered in (["channel.k8s.io"], []):
        with exec_socket(c, offered, *FAIL) as s:
            equal(s.protocol, offered[0] if offered else None)
            *messages, code = s.all()
        equal(messages[0], (wsclient.BINARY, b"\1"), "the first message")
        equal((joined(messages, b"\1"), joined(messages, b"\2"), code), (b"out\n", b"err\n", 1000))
        equal(joined(messages, b"\3"), b"command terminated with exit code 3")
        with exec_socket(c, offered, "true") as s:
            equal(s.all(), [(wsclient.BINARY, b"\1"), 1000])
    with exec_socket(c, ["other", "base64.channel.k8s.io"], "head", "-n1", query="stdin=1&stdout=1") as s:
        s.send(wsclient.TEXT, b"0aGVsbG8g", fin=False)
        s.send(0, b"ZHUg", fin=False)
        s.send(0, b"ZGEK")
        *messages, code = s.all()
    equal([m for m in messages if m[1] != b"1"], [(wsclient.TEXT, b"1aGVsbG8gZHUgZGEK")])


def test_exec_protocols_are_negotiated(c):
    with exec_socket(c, ["x", "v5.channel.k8s.io", "v4.channel.k8s.io"], "cat", query="stdin=1&stdout=1") as s:
        equal(s.protocol, "v5.channel.k8s.io")
        s.send(wsclient.PING, b"alive?")
        s.send(wsclient.BINARY, b"\0abc")
        s.send(wsclient.BINARY, b"\xff\0")
        *messages, code = s.all()
    true((wsclient.PONG, b"alive?") in messages, "a pong")
    equal(joined([m for m in messages if m[0] == wsclient.BINARY], b"\1"), b"abc")
    equal(json.loads(joined(messages, b"\3")), {"metadata": {}, "status": "Success"})
    equal(code, 1000)
    for protocols, query, want in ((["x"], "stdout=1", 403), (["v4.channel.k8s.io"], "", 400)):
        try:
            exec_socket(c, protocols, "true", query=query)
            raise Failure("was not refused")
        except wsclient.Refused as e:
            equal((e.code, json.loads(e.body)["kind"]), (want, "Status"))


# -- attach


def test_attach(c):
    for version in each_kubectl(c):
        c.apply(pod("talk", command=("sh", "-c", "while read l; do echo got $l; done"), stdin=True))
        c.wait_ready("default", {"app": "talk"}, 1)
        p = c.popen_kubectl("attach", "-i", "talk", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
        try:
            p.stdin.write("hello\n")
            p.stdin.flush()
            equal(p.stdout.readline(), "got hello\n", version)
        finally:
            p.kill()
            p.communicate()
        c.kubectl("delete", "pod", "talk", "--force", "--grace-period=0")


def test_run_attached(c):
    for version in each_kubectl(c):
        got = c.kubectl("run", "once", f"--image={IMAGE}", "-i", "--rm", "--restart=Never", "--image-pull-policy=Never",
                        "--command", "--", "sh", "-c", "read l; echo got $l", stdin="hello\n")
        contains(got.stdout, "got hello\n", version)
        contains(got.stdout, 'pod "once" deleted', version)
