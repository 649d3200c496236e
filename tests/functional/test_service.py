# SPDX-License-Identifier: Apache-2.0
"""Services of every type from the host and from pods, their names, and what they do while pods die
and change their mind about being ready."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from lib import IMAGE, Cluster, Failure, Load, contains, deployment, equal, pod, run, true, wait

NS = "default"
DNS = "10.43.0.10"
UPSTREAM = "127.0.0.77"

# Answers A questions below example with 192.0.2.7, others there with nothing, over UDP; the host's own
# search domain holds no names.
FAKE_UPSTREAM = r"""
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("%s", 53))
while True:
    q, a = s.recvfrom(4096)
    end = 12
    while q[end]:
        end += q[end] + 1
    end += 5
    here = b"\7example" in q and b"\4host" not in q
    is_a = here and q[end - 4:end - 2] == b"\0\1"
    rr = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\7" if is_a else b""
    s.sendto(q[:2] + b"\x81" + (b"\x80" if here else b"\x83") + b"\0\1" + struct.pack(">HHH", int(is_a), 0, 0) + q[12:end] + rr, a)
""" % UPSTREAM


def cluster():
    with tempfile.TemporaryDirectory() as d:
        conf = os.path.join(d, "resolv.conf")
        with open(conf, "w") as f:
            f.write(f"nameserver {UPSTREAM}\nsearch host.example\n")
        with Cluster(["--resolv-conf", conf]) as c:
            upstream = subprocess.Popen(["nsenter", f"--net=/run/netns/{c.ns}", sys.executable, "-c", FAKE_UPSTREAM])
            try:
                c.load_image()
                for name, n in (("web", 3), ("client", 1)):
                    c.apply(deployment(name, n, args=("--http", "8080", "--udp", "8053")))
                c.wait_ready(NS, {"app": "web"}, 3)
                c.client = c.wait_ready(NS, {"app": "client"}, 1)[0]["metadata"]["name"]
                yield c
            finally:
                upstream.kill()
                upstream.wait()


def service(c, name, ports=({"port": 80, "targetPort": 8080},), selector=None, **spec):
    body = {"ports": list(ports), **spec}
    if selector is not False:
        body["selector"] = selector or {"app": "web"}
    c.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body})
    return c.get("service", name, NS)


def pod_names(c, app="web"):
    return {p["metadata"]["name"] for p in c.get("pods", ns=NS) if p["metadata"]["labels"].get("app") == app}


def who(c, url, n=30):
    """Names of the pods that answer, from the host."""
    text = c.inside(["sh", "-c", f"for i in $(seq {n}); do curl -sS --max-time 5 {url} || echo failed; done"]).stdout
    true("failed" not in text, text)
    return set(re.findall(r"Hello from (\S+)", text))


def who_inside(c, url, n=12):
    text = c.coracle("exec", c.client, "--", "sh", "-c", f"for i in $(seq {n}); do /bin/fetch {url}; done").stdout
    return set(re.findall(r"Hello from (\S+)", text))


def all_answer(c, url, names, look=who):
    wait(f"all of {names} at {url}", lambda: look(c, url) == names, timeout=10)


def udp(c, ip, port):
    code = (f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); "
            f"s.sendto(b'ping', ('{ip}', {port})); print(s.recv(2000).decode())")
    return c.inside([sys.executable, "-c", code]).stdout.strip()


# ---- types -----------------------------------------------------------------------------------------

def test_cluster_ip(c):
    names = pod_names(c)
    s = service(c, "plain", [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "alt", "port": 81,
                                                                                  "targetPort": 8080}])
    ip = s["spec"]["clusterIP"]
    for url in (f"http://{ip}/", f"http://{ip}:81/"):
        all_answer(c, url, names)
    equal(who_inside(c, f"http://{ip}/"), names, "from a pod by address")
    equal(who_inside(c, "http://plain/"), names, "from a pod by name")
    p = c.fetch(f"http://{ip}:82/", check=False)
    equal(p.returncode, 7, "a port that the Service has not is refused")


def test_a_pod_reaches_itself(c):
    service(c, "myself", selector={"app": "client"})
    wait("an answer", lambda: who_inside(c, "http://myself/", 1) == {c.client})


def test_no_endpoints(c):
    s = service(c, "empty", selector={"app": "nobody"})
    p = c.fetch(f"http://{s['spec']['clusterIP']}/", check=False)
    true(p.returncode in (7, 52, 56), f"nobody answers: {p.returncode} {p.stderr}")
    c.kubectl("patch", "service", "empty", "-p", '{"spec":{"selector":{"app":"web"}}}')
    all_answer(c, f"http://{s['spec']['clusterIP']}/", pod_names(c))


def test_another_proxy(c):
    """A Service with one of two labels is left to somebody else."""
    url = f"http://{service(c, 'elsewhere')['spec']['clusterIP']}/"
    for label in ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"):
        all_answer(c, url, pod_names(c))
        c.kubectl("label", "service", "elsewhere", f"{label}=mine")
        wait("it to be refused", lambda: c.fetch(url, check=False).returncode == 7)
        contains(c.coracle("exec", c.client, "--", "nslookup", "elsewhere", check=False).stdout, url[7:-1])
        c.kubectl("label", "service", "elsewhere", f"{label}-")


def test_node_port(c):
    names = pod_names(c)
    s = service(c, "ports", type="NodePort")
    port = s["spec"]["ports"][0]["nodePort"]
    true(30000 <= port <= 32767, f"node port {port}")
    node_ip = [a["address"] for a in c.get("node", c.name)["status"]["addresses"] if a["type"] == "InternalIP"][0]
    for host in ("127.0.0.1", node_ip, s["spec"]["clusterIP"] + ":80"):
        all_answer(c, f"http://{host}/" if ":" in host else f"http://{host}:{port}/", names)
    equal(who_inside(c, f"http://{node_ip}:{port}/"), names, "from a pod")
    p = c.kubectl("create", "service", "nodeport", "same", "--tcp=80:8080", f"--node-port={port}", check=False)
    contains(p.stderr, f"spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated")
    c.kubectl("delete", "service", "ports")
    wait("the port is closed", lambda: c.fetch(f"http://127.0.0.1:{port}/", check=False).returncode == 7)


def test_load_balancer(c):
    service(c, "balancer", [{"port": 8088, "targetPort": 8080}], type="LoadBalancer")
    ip = wait("an address", lambda: c.get("service", "balancer", NS)["status"]["loadBalancer"]
              .get("ingress", [{}])[0].get("ip"))
    all_answer(c, f"http://{ip}:8088/", pod_names(c))
    contains(c.coracle("get", "service", "balancer").stdout, ip, "EXTERNAL-IP")


def test_health_check_port(c):
    names = pod_names(c)
    s = service(c, "local", type="LoadBalancer", externalTrafficPolicy="Local")
    port = s["spec"]["healthCheckNodePort"]

    def endpoints():
        p = c.fetch(f"http://127.0.0.1:{port}/healthz", check=False)
        return json.loads(p.stdout) if p.returncode == 0 else None
    wait("endpoints", lambda: (endpoints() or {}).get("localEndpoints") == len(names))
    equal(endpoints(), {"service": {"namespace": NS, "name": "local"}, "localEndpoints": len(names),
                        "serviceProxyHealthy": True})
    service(c, "local", selector={"app": "nobody"}, type="LoadBalancer", externalTrafficPolicy="Local")
    wait("no endpoints", lambda: "503" in c.inside(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{port}/"]).stdout)
    contains(c.kubectl("describe", "service", "local").stdout, f"HealthCheck NodePort:     {port}")
    contains(c.coracle("describe", "service", "local").stdout, f"HealthCheck NodePort:     {port}")
    service(c, "local", type="ClusterIP")
    wait("the port is closed", lambda: c.fetch(f"http://127.0.0.1:{port}/", check=False).returncode == 7)
    c.kubectl("delete", "service", "local")


def test_external_ips(c):
    c.inside(["ip", "addr", "add", "192.0.2.200/32", "dev", "lo"])
    service(c, "outside", externalIPs=["192.0.2.200"])
    all_answer(c, "http://192.0.2.200/", pod_names(c))


def test_udp(c):
    s = service(c, "echo", [{"name": "u", "port": 5353, "protocol": "UDP", "targetPort": 8053}], type="NodePort")
    ip, port = s["spec"]["clusterIP"], s["spec"]["ports"][0]["nodePort"]
    names = pod_names(c)
    wait("an echo", lambda: udp(c, ip, 5353).endswith(" ping"))
    equal({udp(c, ip, 5353).split()[0] for _ in range(24)}, names, "every pod echoes")
    contains(udp(c, "127.0.0.1", port), " ping", "by node port")


def test_affinity(c):
    s = service(c, "sticky", sessionAffinity="ClientIP")
    ip = s["spec"]["clusterIP"]
    wait("an answer", lambda: c.fetch(f"http://{ip}/", check=False).returncode == 0)
    equal(len(who(c, f"http://{ip}/")), 1, "one client is served by one pod")


def test_manual_endpoints(c):
    """A Service without selector and an Endpoints object made by hand."""
    ip = c.get("pods", ns=NS)[0]["status"]["podIP"]
    c.apply({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "manual"},
             "subsets": [{"addresses": [{"ip": ip}], "ports": [{"port": 8080}]}]})
    s = service(c, "manual", [{"port": 80}], selector=False)
    wait("an answer", lambda: len(who(c, f"http://{s['spec']['clusterIP']}/", 3)) == 1)


def test_publish_not_ready(c):
    c.apply(pod("unready", ["/bin/hello"], readinessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1}))
    s = service(c, "eager", selector={"app": "unready"}, publishNotReadyAddresses=True)
    lazy = service(c, "lazy", selector={"app": "unready"})
    wait("an answer", lambda: who(c, f"http://{s['spec']['clusterIP']}/", 1) == {"unready"})
    wait("notReadyAddresses", lambda: c.get("endpoints", "lazy", NS)["subsets"][0].get("notReadyAddresses"))
    true(c.fetch(f"http://{lazy['spec']['clusterIP']}/", check=False).returncode != 0, "not to an unready pod")


def test_bulk(c):
    ip = service(c, "bulk")["spec"]["clusterIP"]
    wait("an answer", lambda: c.fetch(f"http://{ip}/", check=False).returncode == 0)
    p = c.inside(["sh", "-c", f"curl -sS --max-time 30 'http://{ip}/bytes?n=300000000' | wc -c"])
    equal(p.stdout.strip(), "300000000", "bytes that arrive")
    equal(c.inside(["curl", "-sS", "--max-time", "5", f"http://{ip}/slow?ms=300"]).stdout[:5], "slow ", "slow answer")


def test_api_from_a_pod(c):
    """kubernetes.default leads to the API; its Endpoints address answers too."""
    for host in ("10.43.0.1:443", "10.42.0.1:6443"):
        contains(c.inside(["curl", "-sS", "--max-time", "5", "--cacert", c.state_dir + "/pki/ca.crt", "--resolve",
                           f"kubernetes.default.svc:{host.split(':')[1]}:{host.split(':')[0]}",
                           f"https://kubernetes.default.svc:{host.split(':')[1]}/version"]).stdout, '"gitVersion"', host)
    equal(c.get("endpoints", "kubernetes", NS)["subsets"][0]["addresses"][0]["ip"], "10.42.0.1", "endpoint")
    p = c.coracle("exec", c.client, "--", "sh", "-c", "nc -w 3 kubernetes.default 443 </dev/null && echo open", check=False)
    true("open" in p.stdout or "not found" in p.stderr, "a pod can connect")


# ---- names -----------------------------------------------------------------------------------------

def dig(c, *args):
    return c.inside(["dig", "+time=3", "+tries=2", "@" + DNS, *args]).stdout


def short(c, *args):
    return sorted(dig(c, "+short", *args).split("\n"))[1:]


def test_dns(c):
    ip = service(c, "named", [{"name": "http", "port": 80, "targetPort": "http"}])["spec"]["clusterIP"]
    wait("the name", lambda: short(c, "named.default.svc.cluster.local") == [ip])
    for name in ("named.default", "named.default.svc", "NAMED.Default.svc.Cluster.Local", "named.default.svc.local"):
        for way in ("+notcp", "+tcp"):
            equal(short(c, way, name), [ip], f"{name} {way}")
    equal(short(c, "SRV", "_http._tcp.named.default.svc.cluster.local"), ["0 100 80 named.default.svc.cluster.local."],
          "SRV")
    equal(short(c, "-x", ip), ["named.default.svc.cluster.local."], "PTR")
    text = dig(c, "named.default.svc.cluster.local")
    contains(text, "status: NOERROR")
    true(re.search(r"flags: qr aa", text), "authoritative")
    contains(dig(c, "AAAA", "named.default.svc.cluster.local"), "status: NOERROR", "no address of this kind")
    for name in ("nope.default.svc.cluster.local", "named.nope.svc.cluster.local", "nope.cluster.local"):
        contains(dig(c, name), "status: NXDOMAIN", name)
    contains(dig(c, "AAAA", "nope.default.svc.cluster.local"), "status: NXDOMAIN")
    inside = ["named", "named.default", "named.default.svc", "named.default.svc.cluster.local", "named.default.svc.local"]
    for name in inside:
        equal(who_inside(c, f"http://{name}/", 3) <= pod_names(c), True, name)
        contains(c.coracle("exec", c.client, "--", "nslookup", name, check=False).stdout, ip, f"nslookup {name}")


def test_dns_of_another_namespace(c):
    c.kubectl("create", "namespace", "far")
    c.apply(deployment("away", 1), ns="far")
    c.wait_ready("far", {"app": "away"}, 1)
    for name in ("away.far", "away.far.svc", "away.far.svc.cluster.local"):
        wait(name, lambda: who_inside(c, f"http://{name}/", 1))
    p = c.coracle("exec", c.client, "--", "/bin/fetch", "http://away/", check=False)
    contains(p.stderr, "no such host", "a short name is of the own namespace")


def test_dns_headless(c):
    service(c, "bare", [{"name": "http", "port": 8080, "targetPort": 8080}], clusterIP="None")
    ips = sorted(p["status"]["podIP"] for p in c.get("pods", ns=NS) if p["metadata"]["labels"].get("app") == "web")
    wait("an address each", lambda: short(c, "bare.default.svc.cluster.local") == ips)
    srv = short(c, "SRV", "_http._tcp.bare.default.svc.cluster.local")
    equal(len(srv), 3, "SRV records")
    for line in srv:
        true(re.match(r"\d+ \d+ 8080 \S+\.bare\.default\.svc\.cluster\.local\.$", line), line)
        true(short(c, line.split()[3])[0] in ips, "the name of an SRV record has an address")
    true(dig(c, "-x", ips[0]).count("PTR") >= 1, "PTR of a pod")
    p = pod("member", labels={"app": "member"})
    p["spec"].update(hostname="first", subdomain="group")
    c.apply(p)
    service(c, "group", [{"name": "x", "port": 1}], selector={"app": "member"}, clusterIP="None")
    own = wait("an address", lambda: c.get("pod", "member", NS)["status"].get("podIP"))
    wait("hostname.subdomain", lambda: short(c, "first.group.default.svc.cluster.local") == [own])
    c.coracle("delete", "pod", "member")
    wait("gone", lambda: "NXDOMAIN" in dig(c, "first.group.default.svc.cluster.local"))


def test_dns_external(c):
    service(c, "ext", [], selector=False, type="ExternalName", externalName="www.example.com")
    contains(wait("CNAME", lambda: dig(c, "ext.default.svc.cluster.local")), "CNAME\twww.example.com.")
    wait("its address from outside", lambda: short(c, "ext.default.svc.cluster.local")
         == ["192.0.2.7", "www.example.com."])
    equal(c.get("service", "ext", NS)["spec"].get("clusterIP"), None, "no ClusterIP")


def test_dns_forwards(c):
    contains(c.coracle("exec", c.client, "--", "cat", "/etc/resolv.conf").stdout,
             "search default.svc.cluster.local svc.cluster.local cluster.local host.example\n", "search list")
    equal(short(c, "somewhere.example"), ["192.0.2.7"], "answer of the host's server")
    contains(c.coracle("exec", c.client, "--", "nslookup", "somewhere.example.", check=False).stdout, "192.0.2.7")
    contains(dig(c, "MX", "somewhere.example"), "status: NOERROR")


def test_dns_many_at_once(c):
    out = c.inside(["sh", "-c", f"for i in $(seq 40); do dig +short +time=5 @{DNS} web.default.svc.cluster.local & "
                    f"done; wait"]).stdout.split()
    equal((len(out), len(set(out))), (40, 1), "answers")


# ---- ready, alive ----------------------------------------------------------------------------------

def test_never_to_unready(c):
    """Pods flip between ready and not under load; in no moment in which a pod was not in the Endpoints did a
    request reach it."""
    m = deployment("flip", 3)
    spec = m["items"][0]["spec"]["template"]["spec"]["containers"][0]
    spec["readinessProbe"] = {"exec": {"command": ["test", "!", "-e", "/tmp/down"]}, "periodSeconds": 1,
                              "failureThreshold": 1}
    c.apply(m)
    names = [p["metadata"]["name"] for p in c.wait_ready(NS, {"app": "flip"}, 3)]
    ip = c.get("service", "flip", NS)["spec"]["clusterIP"]
    away = []

    def ready():
        return {a["targetRef"]["name"] for s in c.get("endpoints", "flip", NS).get("subsets", [])
                for a in s.get("addresses", [])}
    wait("endpoints", lambda: len(ready()) == 3)
    with Load(c, ip) as load:
        for down in (names[:1], names[1:3]):
            for name in down:
                c.coracle("exec", name, "--", "touch", "/tmp/down")
            wait("endpoints without it", lambda: not ready() & set(down))
            since = time.monotonic()
            time.sleep(0.5)  # the load goes on meanwhile; this is what is observed
            until = time.monotonic()
            away += [(name, since + 0.05, until) for name in down]
            for name in down:
                c.coracle("exec", name, "--", "rm", "/tmp/down")
            wait("all ready", lambda: len(ready()) == 3)
    equal(load.failures, [], "failures")
    true(len(load.answers) > 200, f"load: {len(load.answers)}")
    for name, since, until in away:
        wrong = [a for a in load.answers if name in a[2] and since < a[0] < until]
        equal(wrong, [], f"requests to {name} while it was not ready")
    for name in names:
        true(any(name in a[2] for a in load.answers), f"{name} took part")
    c.coracle("delete", "deployment", "flip")


def cut(load, kills):
    """What a kill may cost: connections that were open to what died."""
    other = [f for f in load.failures if not any(w in f[2] for w in ("reset", "refused", "answer b''"))]
    equal(other, [], "failures")
    true(len(load.failures) <= 4 * kills, f"at most the open connections: {load.failures}")


def test_kill_container(c):
    ip = c.get("service", "web", NS)["spec"]["clusterIP"]
    victim = c.wait_ready(NS, {"app": "web"}, 3)[0]["metadata"]["name"]
    main = c.get("pod", victim, NS)["status"]["containerStatuses"][0]
    with Load(c, ip) as load:
        pids = run(["sh", "-c", f"cat $(find /sys/fs/cgroup -path '*{main['containerID'].split('//')[1][:12]}*' "
                    f"-name cgroup.procs) | sort -u"]).stdout.split()
        os.kill(int(pids[0]), signal.SIGKILL)
        wait("a restart", lambda: c.get("pod", victim, NS)["status"]["containerStatuses"][0]["restartCount"]
             == main["restartCount"] + 1)
        c.wait_ready(NS, {"app": "web"}, 3)
        all_answer(c, f"http://{ip}/", pod_names(c))
    cut(load, 1)
    last = c.get("pod", victim, NS)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    equal((last["exitCode"], last["reason"]), (137, "Error"), "how it ended")


def test_delete_pod(c):
    ip = c.get("service", "web", NS)["spec"]["clusterIP"]
    victim = sorted(pod_names(c))[0]
    with Load(c, ip) as load:
        c.coracle("delete", "pod", victim)
        wait("another pod", lambda: victim not in pod_names(c))
        c.wait_ready(NS, {"app": "web"}, 3)
        all_answer(c, f"http://{ip}/", pod_names(c))
    equal(load.failures, [], "a pod that is deleted ends its requests first")


def test_kill_sandbox(c):
    ip = c.get("service", "web", NS)["spec"]["clusterIP"]
    c.wait_ready(NS, {"app": "web"}, 3)
    client = c.get("pod", c.client, NS)["metadata"]["uid"]
    before = c.sandboxes()
    for pid in before:
        with open(f"/proc/{pid}/cmdline") as f:
            if client not in f.read():
                victim = pid
    with Load(c, ip) as load:
        os.kill(victim, signal.SIGKILL)
        wait("a new sandbox", lambda: len(c.sandboxes()) == len(before) and victim not in c.sandboxes())
        c.wait_ready(NS, {"app": "web"}, 3)
        all_answer(c, f"http://{ip}/", pod_names(c))
    cut(load, 1)
    wait("the pair of the one before to be gone", lambda: c.inside(["ip", "-o", "link"]).stdout.count(" veth")
         == len(c.sandboxes()))


def test_scale_to_zero_and_back(c):
    ip = c.get("service", "web", NS)["spec"]["clusterIP"]
    c.coracle("scale", "deployment/web", "--replicas=0")
    wait("no pods", lambda: not pod_names(c))
    true(c.fetch(f"http://{ip}/", check=False).returncode != 0, "nobody answers")
    c.coracle("scale", "deployment/web", "--replicas=2")
    c.wait_ready(NS, {"app": "web"}, 2)
    all_answer(c, f"http://{ip}/", pod_names(c))
