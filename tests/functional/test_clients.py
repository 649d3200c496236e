# SPDX-License-Identifier: Apache-2.0
"""The client libraries that other people's tools stand on: Python's `kubernetes` and Node's
@kubernetes/client-node do the same things and have to see the same."""
import concurrent.futures

from lib import *
from test_streams import python

HERE = os.path.dirname(os.path.abspath(__file__))
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                 "type": "object", "properties": {"spec": {"type": "object", "properties": {
                     "size": {"type": "integer"}}}}}}}]}}


def node_program():
    """The scenarios beside the installed library, in the build directory."""
    place = os.path.join(BUILD, "tests", "functional", "node")
    source = os.path.join(HERE, "node")
    os.makedirs(place, exist_ok=True)
    lock = open(os.path.join(source, "package-lock.json")).read()
    stamp = os.path.join(place, "installed")
    if not os.path.exists(stamp) or open(stamp).read() != lock:
        true(shutil.which("npm"), "npm is not installed")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(source, name), place)
        run(["npm", "ci", "--no-audit", "--no-fund", "--prefix", place], timeout=300)
        with open(stamp, "w") as f:
            f.write(lock)
    shutil.copy(os.path.join(source, "scenarios.mjs"), place)
    return os.path.join(place, "scenarios.mjs")


class Library:
    def __init__(self, c, name, argv):
        self.c, self.name, self.argv = c, name, argv

    def command(self, scenario, *args):
        return ["nsenter", f"--net=/run/netns/{self.c.ns}", *self.argv, self.c.kubeconfig, scenario, *args]

    def __call__(self, scenario, *args, timeout=60):
        """All values that the scenario prints."""
        out = run(self.command(scenario, *args), timeout=timeout).stdout
        return [json.loads(line) for line in out.splitlines()]

    def start(self, scenario, *args):
        return subprocess.Popen(self.command(scenario, *args), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)

    def namespace(self, what):
        ns = f"{self.name}-{what}"
        self.c.coracle("create", "namespace", ns)
        return ns


def cluster():
    with Cluster() as c:
        c.load_image()
        c.apply(WIDGETS)
        c.libraries = [Library(c, "python", [python(), os.path.join(HERE, "scenarios.py")]),
                       Library(c, "node", ["node", node_program()])]
        yield c


def test_crud_and_errors(c):
    for lib in c.libraries:
        ns = lib.namespace("crud")
        got, left = lib("crud", ns)
        equal(got["labelled"], ["c1", "c3"], lib.name)
        equal(got["one"], ["c3"], lib.name)
        equal([n for n in got["pages"] if n != "kube-root-ca.crt"], ["c0", "c1", "c2", "c3", "c4"], lib.name)
        equal(got["replaced"], {"k": "new"}, lib.name)
        equal(got["secret"], {"password": "cA=="}, lib.name)
        equal((got["scale"], got["cluster ip"]), (0, True), lib.name)
        equal(got["conflict"][:2], [409, "Conflict"], lib.name)
        contains(got["conflict"][2], "the object has been modified; please apply your changes", lib.name)
        equal(got["missing"], [404, "NotFound", 'configmaps "c4" not found'], lib.name)
        equal(got["exists"], [409, "AlreadyExists", 'configmaps "c0" already exists'], lib.name)
        equal(got["invalid"][:2], [422, "Invalid"], lib.name)
        contains(got["invalid"][2], 'ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value', lib.name)
        equal([n for n in left if n != "kube-root-ca.crt"], [], lib.name + ": deletecollection")


def test_patches(c):
    """Strategic merge, merge, JSON patch, apply."""
    for lib in c.libraries:
        [got] = lib("patches", lib.namespace("patches"))
        equal(got["strategic"], {"main": IMAGE, "side": "x:1"}, lib.name)
        equal(got["merge"], {"only": "x:2"}, lib.name)
        equal(got["json"], {"only": "x:3"}, lib.name)
        equal(got["test"], [422], lib.name)
        equal(got["apply"], {"only": "x:3", "applied": "x:4"}, lib.name)


def test_dynamic_client(c):
    """A custom resource through what the libraries have for kinds that they do not know."""
    wait("the kind", lambda: "widgets" in c.kubectl("api-resources", "--api-group=example.com").stdout)
    for lib in c.libraries:
        [got] = lib("dynamic", lib.namespace("dynamic"))
        equal(got, {"size": 3, "names": ["w"], "invalid": [422, "Invalid"]}, lib.name)


def test_streams(c):
    """exec with standard input and exit code, a log to its end, a forwarded port."""
    c.apply(pod("shell"))
    c.apply(pod("web", ["/bin/hello", "--http", "8080"]))
    c.wait_ready("default", {"app": "shell"}, 1)
    c.wait_ready("default", {"app": "web"}, 1)
    node = c.libraries[1]
    [got] = node("exec", "default", "shell")
    equal(got, {"stdout": "through stdin\n", "stderr": "err\n", "status": "Failure", "code": "3"}, "exec")
    [got] = node("forward", "default", "web", "8080")
    equal(got["status"], 200, "port-forward")
    contains(got["text"], "Hello from web", "port-forward")
    for lib in c.libraries:
        name = "log-" + lib.name
        c.apply(pod(name, ["sh", "-c", "for i in $(seq 20); do echo line $i; sleep 0.05; done"], restart="Never"))
        c.wait_ready("default", {"app": name}, 1)
        equal(lib("follow", "default", name), [f"line {n}" for n in range(1, 21)], lib.name)


def configmap(name, value):
    return {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"informer": "yes"}}, "data": {"k": value}}


def replay(events):
    """The cache that the events make, and the names that were ever in it."""
    cache, seen = {}, set()
    for kind, name, value in events:
        seen.add(name)
        cache.pop(name, None)
        if kind != "DELETED":
            cache[name] = value
    return cache, seen


def test_informers_across_restarts(c):
    """Nothing is missed: neither what changed while the daemon was away by SIGTERM nor by SIGKILL."""
    watchers = []
    for lib in c.libraries:
        ns = lib.namespace("informer")
        c.apply(configmap("before", "1"), ns)
        watchers.append((lib.name, ns, lib.start("informer", ns)))
    for _, _, p in watchers:
        equal(json.loads(p.stdout.readline()), ["ADDED", "before", "1"], "first")
    for i, signo in enumerate((signal.SIGTERM, signal.SIGKILL)):
        for _, ns, _ in watchers:
            c.apply(configmap(f"early-{i}", "1"), ns)
        c.restart(signo)
        for _, ns, _ in watchers:
            c.apply(configmap(f"late-{i}", "1"), ns)
            c.apply(configmap("before", f"changed {i}"), ns)
            c.coracle("delete", "configmap", f"early-{i}", "-n", ns)
    for _, ns, _ in watchers:
        c.apply(configmap("last", "1"), ns)
    want = {"before": "changed 1", "late-0": "1", "late-1": "1", "last": "1"}
    for name, _, p in watchers:
        events = [["ADDED", "before", "1"]]
        while replay(events)[0] != want:
            line = p.stdout.readline()
            true(line, f"{name} ended: {events}")
            events.append(json.loads(line))
        contains(replay(events)[1], "early-0", f"{name} saw what came and went")
        p.stdin.close()
        p.wait(timeout=20)


def test_leader_election(c):
    """Two of each library compete for one Lease: all lead in turn, and never two at a time."""
    ns = c.libraries[0].namespace("leader")
    jobs = [(lib, f"{lib.name}-{n}") for lib in c.libraries for n in range(2)]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        terms = sorted((t for found in pool.map(lambda j: j[0]("leader", ns, j[1], "3"), jobs) for t in found),
                       key=lambda t: t[1])
    equal(sorted(t[0] for t in terms), sorted(me for _, me in jobs for _ in range(3)), "terms")
    for (one, _, end), (two, start, _) in zip(terms, terms[1:]):
        true(end <= start, f"{one} led until {end}, {two} from {start}")
    lease = c.get("lease", "leader", ns)
    true(lease["spec"]["leaseTransitions"] >= 11, f"transitions of {lease}")
