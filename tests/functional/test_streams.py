# SPDX-License-Identifier: Apache-2.0
"""exec, attach, port forwarding, logs, watches and proxied requests, in every protocol that clients
of Kubernetes speak: SPDY, WebSockets and one in the other."""
import base64
import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys

import wsclient
from lib import IMAGE, TOP, Cluster, Failure, contains, equal, kubectls, pod, run, true, wait

VERSIONS = ("1.27", "1.29", "1.30", "1.31", "1.33")

LONG = True  # begins before the others


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


# -- exec


def test_exec_exit_codes_and_streams(c):
    for version in each_kubectl(c):
        got = c.kubectl("-v=4", "exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
        equal((got.returncode, got.stdout), (3, "out\n"), version)
        contains(got.stderr, "err\n", version)
        contains(got.stderr, "command terminated with exit code 3", version)
        # It would go on with SPDY, and only say so.
        true("allback" not in got.stderr, version + got.stderr)


def test_exec_stdin_ends(c):
    text = "".join(f"line {n}\n" for n in range(20000))
    for version in each_kubectl(c):
        got = c.kubectl("exec", "-i", "shell", "--", "cat", stdin=text)
        true(got.stdout == text, f"{version}: {len(got.stdout)} of {len(text)} characters came back")
        got = c.kubectl("exec", "-i", "shell", "--", "sh", "-c", "exec <&-; sleep 0.2; echo done", stdin=text)
        equal(got.stdout, "done\n", version)


def test_exec_stdin_not_read(c):
    """A client whose input nobody takes gets pongs although its pings are not read."""
    query = "stdin=1&stdout=1&stderr=1"
    with exec_socket(c, ["v5.channel.k8s.io"], "sleep", "60", query=query, timeout=20) as s:
        s.s.setblocking(False)
        data, sent = b"\0" + bytes(65535), 0
        with contextlib.suppress(BlockingIOError):
            while sent < 64 << 20:
                head = b"\x82\xff" + len(data).to_bytes(8, "big") + bytes(4)
                sent += s.s.send(head + data)
        true(sent < 64 << 20, "the client is stopped")
        s.s.settimeout(20)
        wait("pongs", lambda: s.receive()[0] == wsclient.PONG)


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
        c.kubectl("attach", "-i", "talk", stdin="bye\n")  # comes back though the container reads on
        wait("what was said", lambda: "got bye\n" in c.kubectl("logs", "talk").stdout)
        equal(c.get("pod", "talk", "default")["status"]["phase"], "Running", version)
        c.kubectl("delete", "pod", "talk", "--force", "--grace-period=0")


def test_run_attached(c):
    for version in each_kubectl(c):
        got = c.kubectl("run", "once", f"--image={IMAGE}", "-i", "--rm", "--restart=Never", "--image-pull-policy=Never",
                        "--command", "--", "sh", "-c", "read l; echo got $l", stdin="hello\n")
        contains(got.stdout, "got hello\n", version)
        contains(got.stdout, 'pod "once" deleted', version)


def on_terminal(c, *args, stdin=""):
    """kubectl on a terminal of 43 columns, by script(1)."""
    words = " ".join(shlex.quote(a) for a in (c.kubectl_path, "--kubeconfig", c.kubeconfig, *args))
    env = dict(os.environ, HOME=c.disk)
    return c.inside(["script", "-qec", f"stty cols 43 rows 21; {words}", "/dev/null"], stdin=stdin, env=env, check=False)


def test_terminals(c):
    # The size comes when it comes.
    ask = ("sh", "-c", 'read l; until [ "$(stty size)" = "21 43" ]; do sleep 0.1; done; stty size; tty; echo got $l')
    for version in each_kubectl(c):
        got = on_terminal(c, "run", "ask", f"--image={IMAGE}", "-it", "--rm", "--restart=Never",
                          "--image-pull-policy=Never", "--command", "--", *ask, stdin="hello\n").stdout
        for part in ("21 43", "/dev/pts/", "got hello", 'pod "ask" deleted'):
            contains(got, part, version)
        name = "tty-" + version.replace(".", "-")
        got = on_terminal(c, "debug", "web", f"--image={IMAGE}", "--image-pull-policy=Never", f"--container={name}",
                          "-it", "--", *ask, stdin="hello\n").stdout
        for part in ("21 43", "got hello"):
            contains(got, part, version)
        c.apply(pod("talk", command=("sh", "-c", "while read l; do echo got $l; [ $l != end ] || exit; done"),
                    stdin=True, tty=True, restart="Never"))
        c.wait_ready("default", {"app": "talk"}, 1)
        contains(on_terminal(c, "attach", "-it", "talk", stdin="hello\nend\n").stdout, "got end", version)
        c.kubectl("delete", "pod", "talk", "--force", "--grace-period=0")


# -- port forwarding


@contextlib.contextmanager
def forwarded(c, *args):
    """kubectl port-forward; yields the local port."""
    p = c.popen_kubectl("port-forward", *args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        line = ""
        while "Forwarding from 127.0.0.1:" not in line:
            line = p.stdout.readline()
            true(line and "allback" not in line, "port-forward: " + line)
        yield int(line.split("127.0.0.1:")[1].split()[0]), p
    finally:
        p.kill()
        p.communicate()


def test_port_forward(c):
    for version in each_kubectl(c):
        with forwarded(c, "-v=4", "pod/web", ":8080") as (port, p):
            for _ in range(5):
                contains(c.fetch(f"http://127.0.0.1:{port}/").stdout, "Hello from web", version)
            p.terminate()
            true("allback" not in p.stdout.read(), version)


def test_port_forward_much(c):
    c.apply(pod("bulk", command=("sh", "-c", "while true; do dd if=/dev/zero bs=1M count=5 | nc -l -p 9000; done")))
    c.wait_ready("default", {"app": "bulk"}, 1)
    for version in each_kubectl(c):
        with forwarded(c, "pod/bulk", ":9000") as (port, _):
            # Between two clients nobody listens for a moment.
            wait(version, lambda: c.inside(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}; wc -c <&3"])
                 .stdout.strip() == str(5 * 1024 * 1024))


def test_port_forward_nobody_listens(c):
    for version in each_kubectl(c):
        with forwarded(c, "pod/web", ":81") as (port, p):
            c.fetch(f"http://127.0.0.1:{port}/", check=False)
            text = ""
            while "error forwarding port 81 to pod" not in text:
                line = p.stdout.readline()
                true(line, f"{version}: {text}")
                text += line
            contains(text.lower(), "connection refused", version)


def test_port_forward_from_python(c):
    got = client(c, "port-forward", "web", "8080", "GET / HTTP/1.0\r\n\r\n")
    contains(got["answer"], "Hello from web")
    equal(got["error"], None)
    contains(client(c, "port-forward", "web", "81", "x")["error"], "error forwarding port 81 to pod default/web: ")


def test_port_forward_channels(c):
    path = "/api/v1/namespaces/default/pods/web/portforward"
    with wsclient.WebSocket(c.socket, path + "?ports=8080,81", ["v4.channel.k8s.io"]) as s:
        s.send(wsclient.BINARY, b"\0GET / HTTP/1.0\r\n\r\n")
        *messages, code = s.all()
    data = [m[1] for m in messages]
    equal(data[:4], [b"\0\x90\x1f", b"\1\x90\x1f", b"\2\x51\0", b"\3\x51\0"])
    contains(joined(messages[4:], b"\0").decode(), "Hello from web")
    contains(joined(messages[4:], b"\3").decode(), "error forwarding port 81 to pod")
    equal(code, 1000)
    for query in ("", "?ports=x", "?ports=0"):
        try:
            wsclient.WebSocket(c.socket, path + query, ["v4.channel.k8s.io"])
            raise Failure("was not refused")
        except wsclient.Refused as e:
            equal(e.code, 400, query)


# -- logs and watches


def test_log_over_websocket(c):
    c.apply(pod("talker", command=("sh", "-c", "echo one; echo two; exec sleep 3600")))
    c.wait_ready("default", {"app": "talker"}, 1)
    wait("the log", lambda: "two" in c.coracle("logs", "talker").stdout)
    path = "/api/v1/namespaces/default/pods/talker/log"
    for offered in (["binary.k8s.io"], []):
        with wsclient.WebSocket(c.socket, path, offered) as s:
            *messages, code = s.all()
        equal((b"".join(m[1] for m in messages), code), (b"one\ntwo\n", 1000))
        equal({m[0] for m in messages}, {wsclient.BINARY})
    with wsclient.WebSocket(c.socket, path + "?tailLines=1", ["base64.binary.k8s.io"]) as s:
        equal(s.all(), [(wsclient.TEXT, b"dHdvCg=="), 1000])
    with wsclient.WebSocket(c.socket, path + "?follow=true", ["binary.k8s.io"]) as s:
        s.send(wsclient.PING, b"x")
        seen = [s.receive() for _ in range(2)]
        true((wsclient.PONG, b"x") in seen, seen)
        s.send(wsclient.CLOSE, b"\x03\xe8")
        while seen[-1][0] != wsclient.CLOSE:
            seen.append(s.receive())


def test_watch_over_websocket(c):
    path = "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Dwatched"
    c.kubectl("create", "configmap", "watched")
    with wsclient.WebSocket(c.socket, path) as s:
        opcode, data = s.receive()
        event = json.loads(data)
        equal((opcode, event["type"], event["object"]["metadata"]["name"]), (wsclient.TEXT, "ADDED", "watched"))
        c.kubectl("label", "configmap", "watched", "a=b")
        equal(json.loads(s.receive()[1])["type"], "MODIFIED")
        # One that is large is one message, too.
        c.kubectl("patch", "configmap", "watched", "-p", json.dumps({"data": {"big": "x" * 100000}}))
        event = json.loads(s.receive()[1])
        equal(len(event["object"]["data"]["big"]), 100000)
        c.kubectl("delete", "configmap", "watched")
        equal(json.loads(s.receive()[1])["type"], "DELETED")
    with wsclient.WebSocket(c.socket, path + "&timeoutSeconds=1") as s:
        equal(s.all(), [1000])


def test_token_of_a_browser(c):
    """It comes as a sub-protocol; over TCP, where nobody is known by his socket."""
    with open(os.path.join(c.state_dir, "pki", "token")) as f:
        token = f.read().strip()

    def head(token):
        coded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
        headers = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                   f"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.{coded}, base64.binary.k8s.io"]
        got = c.inside(["curl", "-skN", "--http1.1", "--max-time", "2", "-D", "-", "-o", "/dev/null",
                        *(word for h in headers for word in ("-H", h)),
                        "https://127.0.0.1:6443/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1"], check=False)
        return got.stdout
    good = head(token)
    contains(good, "HTTP/1.1 101 ")
    contains(good, "Sec-WebSocket-Protocol: base64.binary.k8s.io")
    contains(head(token + "x"), "HTTP/1.1 401 ")


# -- the proxy subresource

PODS, SERVICES = "/api/v1/namespaces/default/pods/", "/api/v1/namespaces/default/services/"


@contextlib.contextmanager
def backend(c, port, *tls):
    """backend.py on the bridge's address, and a Service that leads to it."""
    address = c.inside(["ip", "-4", "-o", "addr", "show", "dev", "coracle0"]).stdout.split()[3].split("/")[0]
    name = f"backend-{port}"
    meta = {"name": name}
    c.apply({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta,
         "spec": {"ports": [{"name": "api", "port": 80, "targetPort": port}]}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta,
         "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": "api", "port": port}]}]}]})
    p = subprocess.Popen(["nsenter", f"--net=/run/netns/{c.ns}", sys.executable,
                          os.path.join(TOP, "tests", "functional", "backend.py"), address, str(port), *tls],
                         stderr=subprocess.DEVNULL)  # it complains of clients that leave
    try:
        wait("the backend", lambda: c.inside(["bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]).returncode == 0)
        yield f"{SERVICES}{name}"
    finally:
        p.kill()
        p.wait()
        c.coracle("delete", "service", name)
        c.coracle("delete", "endpoints", name, check=False)


def curl(c, path, *args, **kw):
    return run(["curl", "-sS", "--max-time", "30", "--unix-socket", c.socket, *args, "http://localhost" + path], **kw)


def test_proxy_to_pods_and_services(c):
    c.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
             "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
    wait("endpoints", lambda: c.get("endpoints", "web", "default").get("subsets"))
    for version in each_kubectl(c):
        for path in (PODS + "web", PODS + "web:8080", PODS + "http:web:8080", SERVICES + "web:http", SERVICES + "web:80",
                     SERVICES + "http:web:http"):
            contains(c.kubectl("get", "--raw", path + "/proxy/").stdout, "Hello from web", version + path)
        for path, want in ((PODS + "web:81", "error trying to reach service: dial tcp 10."),
                           (PODS + "web:81", ":81: connect: connection refused"),
                           (SERVICES + "web:99", 'no service port 99 found for service "web"'),
                           (SERVICES + "web:no", 'no endpoints available for service "web:no"'),
                           (SERVICES + "nobody", 'services "nobody" not found'),
                           (PODS + "nobody:80", 'pods "nobody" not found'),
                           (PODS + "ftp:web:80", 'invalid pod request "ftp:web:80"')):
            got = c.kubectl("get", "--raw", path + "/proxy/", check=False)
            equal(got.returncode, 1, version + path)
            contains(got.stderr, want, version)
    got = json.loads(curl(c, PODS + "web:81/proxy/").stdout)
    equal((got["kind"], got["code"], got["reason"]), ("Status", 503, "ServiceUnavailable"))


def test_kubectl_proxy(c):
    for version in each_kubectl(c):
        p = c.popen_kubectl("proxy", "--port=0", stdout=subprocess.PIPE)
        try:
            port = int(p.stdout.readline().rsplit(":", 1)[1])
            base = f"http://127.0.0.1:{port}"
            contains(c.fetch(f"{base}{PODS}web:8080/proxy/").stdout, "Hello from web", version)
            contains(c.fetch(f"{base}/api/v1/namespaces/default/pods/web").stdout, '"kind":"Pod"', version)
        finally:
            p.kill()
            p.communicate()


def test_proxy_passes_requests_on(c):
    with backend(c, 9101) as service:
        path = "/a%2Fb/../c//d"
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            data = [] if method in ("GET", "OPTIONS") else ["-d", "a body"]
            got = curl(c, f"{service}:api/proxy{path}?x=1&y=%20", "-i", "-X", method, "--path-as-is", *data, "-H",
                       "Authorization: Bearer secret", "-H", "X-Mine: 1", "-H", "Connection: close, X-Hop", "-H",
                       "X-Hop: 1")
            head, body = got.stdout.replace("\r", "").split("\n\n", 1)
            told = json.loads(body)
            equal((told["method"], told["path"]), (method, path + "?x=1&y=%20"))
            equal(told["body"], "a body" if data else "")
            headers = {k.lower(): v for k, v in told["headers"].items()}
            equal((headers["x-mine"], headers["x-forwarded-uri"]), ("1", f"{service}:api/proxy{path}"))
            equal([h for h in ("authorization", "x-hop") if h in headers], [], method)
            contains(head.lower(), "x-backend: yes")
            true("keep-alive:" not in head.lower() and "access-control" not in head.lower(), head)
        contains(curl(c, service + ":api/proxy/x", "-I").stdout.lower(), "content-length: ")
        contains(curl(c, service + ":api/proxy/empty", "-i").stdout, "HTTP/1.1 204 ")
        true(curl(c, service + ":api/proxy/cut", check=False).returncode != 0, "half an answer passed for a whole one")


def test_proxy_redirects(c):
    with backend(c, 9102) as service:
        proxy = service + ":api/proxy"
        location = lambda path: curl(c, path, "-o", "/dev/null", "-D", "-").stdout.split("Location: ")[1].split("\n")[0]
        equal(location(proxy + "?a=b"), proxy + "/?a=b")
        for to, want in (("/there/", proxy + "/there/"), ("there", "there"), ("//other/x", "//other/x"),
                         ("http://other/x", "http://other/x"), (proxy + "/x", proxy + "/x"),
                         ("http://localhost/x?y", f"http://localhost{proxy}/x?y")):
            equal(location(f"{proxy}/redirect?to={to}"), want, to)


def test_proxy_leads_links_back(c):
    """Links of a page lead through the proxy, too."""
    with backend(c, 9107) as service:
        proxy = service + ":api/proxy"
        got = curl(c, proxy + "/page", "-i", "-H", "Accept: text/html", "-H", "Accept-Encoding: gzip").stdout
        contains(got, f'<a href="{proxy}/one?a=1&amp;b=2">x</a>')
        contains(got, """<script>"<a href='/no'>"</script><img src=two><!-- <a href="/">--><form action=%s/three>""" % proxy)
        contains(got, "X-Encodings: \n", "a page comes so that it can be read")
        contains(curl(c, proxy + "/page", "-I").stdout, "Content-Length: 1", "HEAD says what the page has")


def test_proxy_streams_bodies(c):
    big = os.path.join(c.disk, "big")
    with open(big, "wb") as f:
        f.truncate(20 << 20)
    with backend(c, 9103) as service:
        for extra in ([], ["-H", "Transfer-Encoding: chunked"]):
            got = json.loads(curl(c, service + ":api/proxy/", "-X", "POST", "-T", big, *extra).stdout)
            equal((got["method"], got["length"]), ("POST", 20 << 20))
        got = curl(c, service + ":api/proxy/stream?pieces=320", "-o", "/dev/null", "-w", "%{size_download}")
        equal(got.stdout, str(320 * 65536))


def test_proxy_upgrades(c):
    with backend(c, 9104) as service, socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(c.socket)
        s.sendall(f"GET {service}:api/proxy/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n"
                  "Sec-WebSocket-Protocol: loud, base64url.bearer.authorization.k8s.io.c2VjcmV0\r\n\r\n"
                  "early\n".encode())
        f = s.makefile("rb")
        equal(f.readline(), b"HTTP/1.1 101 Switching Protocols\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += f.readline()
        contains(head.decode(), "X-Backend: yes")
        contains(head.decode(), "X-Protocol: loud\r\n", "the token stays here")
        equal(f.readline(), b"EARLY\n")
        s.sendall(b"late\n")
        equal(f.readline(), b"LATE\n")
        s.shutdown(socket.SHUT_WR)
        equal(f.read(), b"end")


def test_proxy_to_tls(c):
    key, cert = os.path.join(c.disk, "tls.key"), os.path.join(c.disk, "tls.crt")
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj",
         "/CN=pod"])
    with backend(c, 9105, cert, key) as service:
        name = service.rsplit("/", 1)[1]
        got = json.loads(curl(c, f"{SERVICES}https:{name}:api/proxy/secret").stdout)
        equal(got["path"], "/secret")


def test_proxy_to_the_node(c):
    node = f"/api/v1/nodes/{c.name}/proxy"
    get = lambda path: c.kubectl("get", "--raw", node + path).stdout
    equal(get("/healthz"), "ok")
    true({"web", "shell"} <= {p["metadata"]["name"] for p in json.loads(get("/pods/"))["items"]}, "the pods")
    contains(get("/metrics"), "container_cpu_usage_seconds_total")

    def usage():
        summary = json.loads(get("/stats/summary"))
        pods = {p["podRef"]["name"]: p["containers"] for p in summary["pods"]}
        return summary["node"].get("memory") and pods.get("web", [{}])[0].get("memory")
    true(wait("figures", usage)["workingSetBytes"] > 0, "memory of the container")
    equal(curl(c, node + "/no").stdout, "404 page not found\n")
    for name in (c.name + ":10250", f"https:{c.name}:10250"):
        pods = json.loads(c.kubectl("get", "--raw", f"/api/v1/nodes/{name}/proxy/pods").stdout)["items"]
        true({"web", "shell"} <= {p["metadata"]["name"] for p in pods}, "the pods, by the port")
    contains(c.kubectl("get", "--raw", f"/api/v1/nodes/{c.name}:9/proxy/", check=False).stderr,
             ":9: connect: connection refused")


# -- ephemeral containers, copies


def debug_status(c, name, ctr):
    return next((s for s in c.get("pod", name, "default")["status"].get("ephemeralContainerStatuses", [])
                 if s["name"] == ctr), {})


def test_debug_containers(c):
    c.apply(pod("patient", command=("sh", "-c", "exec sleep 3599")))
    c.wait_ready("default", {"app": "patient"}, 1)
    for n, version in enumerate(each_kubectl(c)):
        look, slow = f"look-{n}", f"slow-{n}"
        got = c.kubectl("debug", "patient", f"--image={IMAGE}", "--image-pull-policy=Never", f"--container={look}",
                        "--target=main", "-i", "--", "sh", "-c", "read l; echo got $l; ps | grep -c 'sleep 35[9]9'; exit 3",
                        stdin="hello\n", check=False)
        contains(got.stdout, "got hello\n1\n", version + got.stderr)
        ended = wait(version, lambda: debug_status(c, "patient", look).get("state", {}).get("terminated"))
        equal(ended["exitCode"], 3, version)
        contains(c.kubectl("logs", "patient", "-c", look).stdout, "got hello\n", version)
        c.kubectl("debug", "patient", f"--image={IMAGE}", "--image-pull-policy=Never", f"--container={slow}", "--", "sleep",
                  "3598")
        wait(version, lambda: "running" in debug_status(c, "patient", slow).get("state", {}))
        # Not of the target's process namespace: nothing but its own.
        got = c.kubectl("exec", "patient", "-c", slow, "--", "ps").stdout
        true("3598" in got and "3599" not in got, version + got)
        contains(c.kubectl("describe", "pod", "patient").stdout, f"Ephemeral Containers:\n", version)
    equal(c.get("pod", "patient", "default")["status"]["phase"], "Running")
    equal(c.get("pod", "patient", "default")["status"]["containerStatuses"][0]["restartCount"], 0)


def test_debug_containers_survive_the_daemon(c):
    before = c.get("pod", "patient", "default")["status"]["ephemeralContainerStatuses"]
    c.restart()
    after = wait("the statuses", lambda: c.get("pod", "patient", "default")["status"].get("ephemeralContainerStatuses"))
    wait("the same statuses", lambda: [(s["name"], s["state"]) for s in before] == [
        (s["name"], s["state"]) for s in c.get("pod", "patient", "default")["status"]["ephemeralContainerStatuses"]])
    equal([s["containerID"] for s in after], [s["containerID"] for s in before])
    c.kubectl("delete", "pod", "patient")


def test_debug_container_rules(c):
    c.apply(pod("strict"))
    c.wait_ready("default", {"app": "strict"}, 1)

    def patch(change, sub="ephemeralcontainers"):
        got = curl(c, f"{PODS}strict/{sub}" if sub else f"{PODS}strict", "-X", "PATCH", "-H",
                   "Content-Type: application/strategic-merge-patch+json", "-d", json.dumps({"spec": change}))
        return json.loads(got.stdout)
    one = {"name": "one", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "3600"]}
    for more, want in (({"ports": [{"containerPort": 1}]}, "spec.ephemeralContainers[0].ports: Forbidden: "
                        "cannot be set for an Ephemeral Container"),
                       ({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}, "spec.ephemeralContainers[0].lifecycle"),
                       ({"resources": {"limits": {"cpu": "1"}}}, "spec.ephemeralContainers[0].resources"),
                       ({"targetContainerName": "no"}, 'targetContainerName: Not found: "no"'),
                       ({"name": "shell-main", "image": ""}, "image: Required value")):
        contains(patch({"ephemeralContainers": [{**one, **more}]})["message"], want)
    equal(patch({"ephemeralContainers": [one]})["spec"]["ephemeralContainers"][0]["name"], "one")
    contains(patch({"ephemeralContainers": [{"name": "one", "command": ["true"]}]})["message"],
             'existing ephemeral containers "one" may not be changed')
    contains(patch({"ephemeralContainers": [{"name": "one", "$patch": "delete"}]})["message"],
             'existing ephemeral containers "one" may not be removed')
    # The pod itself does not take them.
    equal(len(patch({"ephemeralContainers": [{**one, "name": "two"}]}, sub="")["spec"]["ephemeralContainers"]), 1)
    bad = pod("bad")
    bad["spec"]["ephemeralContainers"] = [one]
    contains(c.kubectl("create", "-f", "-", stdin=json.dumps(bad), check=False).stderr,
             "spec.ephemeralContainers: Forbidden: cannot be set on create")
    got = json.loads(curl(c, PODS + "strict/ephemeralcontainers").stdout)
    equal((got["kind"], got["spec"]["ephemeralContainers"][0]["name"]), ("Pod", "one"))


def test_copy_there_and_back(c):
    source = os.path.join(c.disk, "source")
    os.makedirs(os.path.join(source, "deep"), exist_ok=True)
    data = os.urandom(3 << 20)
    for name in ("file", "deep/er"):
        with open(os.path.join(source, name), "wb") as f:
            f.write(data)
    for version in each_kubectl(c):
        back = os.path.join(c.disk, "back-" + version)
        c.kubectl("cp", source, f"shell:/tmp/{version}")
        equal(c.kubectl("exec", "shell", "--", "ls", f"/tmp/{version}/deep").stdout, "er\n", version)
        c.kubectl("cp", f"shell:/tmp/{version}", back)
        for name in ("file", "deep/er"):
            with open(os.path.join(back, name), "rb") as f:
                true(f.read() == data, f"{version}: {name} came back changed")
        c.kubectl("exec", "shell", "--", "rm", "-rf", f"/tmp/{version}")


def test_streams_are_counted(c):
    path = "/api/v1/namespaces/default/pods?watch=true"
    open_ones = []
    try:
        while len(open_ones) < 1000:
            open_ones.append(wsclient.WebSocket(c.socket, path))
        raise Failure("a thousand streams were taken")
    except wsclient.Refused as e:
        equal((e.code, json.loads(e.body)["reason"]), (429, "TooManyRequests"))
    finally:
        for s in open_ones:
            s.s.close()
    true(len(open_ones) >= 500, f"{len(open_ones)} streams were taken")
    got = wait("room", lambda: c.kubectl("exec", "shell", "--", "echo", "room", check=False).stdout)
    equal(got, "room\n")


# -- clients that do not read


def memory_kib(c):
    with open(f"/proc/{c.daemon.pid}/status") as f:
        return int(next(line.split()[1] for line in f if line.startswith("VmRSS:")))


def allowance(c, kib):
    """Sanitizers keep what is freed for a while."""
    with open(f"/proc/{c.daemon.pid}/maps") as f:
        return kib * 8 if "libasan" in f.read() else kib


def cpu_ticks(c):
    with open(f"/proc/{c.daemon.pid}/stat") as f:
        return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))


def rest(c):
    """Waits until the daemon does no work: everything is held up by whoever does not read."""
    seen = []

    def still():
        seen.append(cpu_ticks(c))
        return len(seen) > 10 and seen[-1] - seen[-10] <= 1
    wait("the daemon to rest", still, timeout=60, every=0.1)


@contextlib.contextmanager
def unread(c, n, start):
    """n clients made by start(); what the daemon's memory has grown by for each of them, in KiB, is bounded."""
    rest(c)
    before = memory_kib(c)
    clients = []
    try:
        for _ in range(n):
            clients.append(start())
        rest(c)
        grown = memory_kib(c) - before
        true(grown < allowance(c, n * 1024 + 2048), f"{n} clients cost {grown} KiB")
        true(all(client.poll() is None for client in clients if hasattr(client, "poll")), "a client has ended")
        # And whoever does read is served.
        equal(c.coracle("get", "--raw", "/readyz", timeout=10).stdout, "ok")
        yield clients
    finally:
        for client in clients:
            client.close() if hasattr(client, "close") else (client.kill(), client.communicate())


def test_unread_exec(c):
    for version in each_kubectl(c):
        with unread(c, 4, lambda: c.popen_kubectl("exec", "shell", "--", "busybox", "yes", stdout=subprocess.PIPE)):
            pass
    wait("the commands to end", lambda: "yes" not in c.kubectl("exec", "shell", "--", "ps").stdout)


def test_unread_stdin(c):
    for version in each_kubectl(c):
        with open("/dev/zero") as zero:
            with unread(c, 4, lambda: c.popen_kubectl("exec", "-i", "shell", "--", "sleep", "3597", stdin=zero)):
                pass


def test_unread_log(c):
    c.apply(pod("gush", command=("sh", "-c", "seq 300000; exec sleep 3600")))
    wait("the log", lambda: "300000" in c.coracle("logs", "gush", "--tail=1").stdout)
    for version in each_kubectl(c):
        with unread(c, 4, lambda: c.popen_kubectl("logs", "-f", "gush", stdout=subprocess.PIPE)):
            pass
    path = PODS + "gush/log?follow=true"
    with unread(c, 4, lambda: wsclient.WebSocket(c.socket, path, ["binary.k8s.io"]).s):
        pass
    c.kubectl("delete", "pod", "gush", "--force", "--grace-period=0")


def test_unread_watch(c):
    c.kubectl("create", "configmap", "large")

    def change(n):
        for i in range(n):
            curl(c, "/api/v1/namespaces/default/configmaps/large", "-X", "PATCH", "-H",
                 "Content-Type: application/merge-patch+json", "-d", "@-", stdin=json.dumps({"data": {"x": str(i) * 200000}}))
    change(40)  # what the history of changes takes is not the watches'
    path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=" + \
        c.get("configmap", "large", "default")["metadata"]["resourceVersion"]

    def watch():
        s = socket.socket(socket.AF_UNIX)
        s.connect(c.socket)
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return s
    rest(c)
    before = memory_kib(c)
    clients = [watch() for _ in range(4)] + [wsclient.WebSocket(c.socket, path).s for _ in range(4)]
    try:
        change(40)
        rest(c)
        grown = memory_kib(c) - before
        # A megabyte and an event for each, and once more as much for what the history holds longer.
        true(grown < allowance(c, 8 * 2048 + 8 * 1024), f"8 watches cost {grown} KiB")
    finally:
        for s in clients:
            s.close()
    c.kubectl("delete", "configmap", "large")


def test_unread_proxy_and_port_forward(c):
    with backend(c, 9106) as service:
        def fetch():
            s = socket.socket(socket.AF_UNIX)
            s.connect(c.socket)
            s.sendall(f"GET {service}:api/proxy/stream?pieces=100000 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return s
        with unread(c, 8, fetch):
            pass
    c.apply(pod("flood", command=("sh", "-c", "while true; do yes | nc -l -p 9000; done")))
    c.wait_ready("default", {"app": "flood"}, 1)
    for protocol in ("v4.channel.k8s.io", "base64.channel.k8s.io"):
        def forward():
            ws = wsclient.WebSocket(c.socket, PODS + "flood/portforward?ports=9000", [protocol])
            true([ws.receive() for _ in range(3)][2][1][:1] in (b"\0", b"0"), "data of the pod")
            return ws.s
        with unread(c, 1, forward):
            pass
    c.kubectl("delete", "pod", "flood", "--force", "--grace-period=0")
