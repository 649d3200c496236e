# SPDX-License-Identifier: Apache-2.0
"""Manifests as they are found in the wild (manifests/): applied, they show no difference, applied
again they are unchanged, deleted they leave nothing. Their images cannot be pulled: it is the API that
is looked at, and what controllers write into the objects meanwhile."""
from lib import *

HERE = os.path.dirname(os.path.abspath(__file__))
# In this order: later ones stand on kinds of earlier ones.
MANIFESTS = ("guestbook", "wordpress", "prometheus", "ingress-controller", "cert-manager", "certificates", "chart")


def cluster():
    with Cluster() as c:
        yield c


def manifest(c, ns, name):
    """The file for this namespace, which bindings and webhooks name."""
    with open(os.path.join(HERE, "manifests", name + ".yaml")) as f:
        text = f.read().replace("NAMESPACE", ns)
    path = os.path.join(c.disk, f"{ns}-{name}.yaml")
    with open(path, "w") as f:
        f.write(text)
    return path


# kubectl sends the selector of a budget every time: its patch strategy is to replace it.
ALWAYS_SENT = "poddisruptionbudget.policy/"


def lines(p):
    return [line for line in p.stdout.splitlines() if line]


def all_end(p, word, what):
    found = lines(p)
    true(found, what)
    for line in found:
        true(line.endswith(" " + word) or line.startswith(ALWAYS_SENT), f"{what}: {line}")
    return {line.rsplit(" ", 1)[0] for line in found}


def check_diff(c, path, *how):
    """No difference, which is exit code 0."""
    p = c.kubectl("diff", "-f", path, *how, check=False)
    equal((p.returncode, p.stdout), (0, ""), f"diff {how} of {path}: {p.stderr}")


def check_client_side(c, ns, name):
    path = manifest(c, ns, name)
    made = all_end(c.kubectl("apply", "-n", ns, "-f", path), "created", name)
    check_diff(c, path, "-n", ns)
    equal(all_end(c.kubectl("apply", "-n", ns, "-f", path), "unchanged", name), made, name)
    return path


def check_server_side(c, ns, name):
    path = manifest(c, ns, name)
    how = ["-n", ns, "--server-side"]
    c.kubectl("apply", *how, "-f", path)
    check_diff(c, path, *how)
    before = versions(c, path, ns)
    all_end(c.kubectl("apply", *how, "-f", path), "serverside-applied", name)
    after = versions(c, path, ns)
    for key, generation in before.items():
        equal(after[key], generation, f"{name}: applied again, {key}")
    return path


def versions(c, path, ns):
    """What a change of spec or of managed fields would be seen by. The versions of objects change by
    themselves: controllers write their status."""
    items = json.loads(c.kubectl("get", "-n", ns, "-f", path, "-o", "json", "--show-managed-fields").stdout)["items"]
    return {(i["kind"], i["metadata"]["name"]):
            (i["metadata"].get("generation"),
             [f for f in i["metadata"].get("managedFields", []) if f["operation"] == "Apply"]) for i in items}


def check_deleted(c, ns, paths):
    """Everything the files made is gone, and what controllers made for it, too."""
    for path in reversed(paths):
        c.kubectl("delete", "-n", ns, "-f", path, "--ignore-not-found", "--wait=false")
    kinds = c.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").stdout.split()
    kinds = [k for k in kinds if not k.startswith(("events", "serviceaccounts", "configmaps")) and "metrics" not in k]

    def left():
        """Claims of a StatefulSet stay, as they do in Kubernetes."""
        found = c.kubectl("get", "-n", ns, ",".join(kinds), "-o", "name", "--ignore-not-found").stdout.split()
        return [f for f in found if not f.startswith("persistentvolumeclaim/data-prometheus-")]
    wait(f"nothing left in {ns}", lambda: not left() or Failure(left()) is None, timeout=60, every=0.5)
    for kind in ("clusterrole", "clusterrolebinding", "ingressclass", "priorityclass", "crd",
                 "validatingwebhookconfiguration"):
        names = c.kubectl("get", kind, "-o", "name").stdout
        true("manifest-" not in names and "certs.example.com" not in names, f"left of {kind}: {names}")


def test_client_side_apply(c):
    """With the oldest and the newest kubectl."""
    for c.kubectl_path in kubectls():
        ns = "client-" + os.path.basename(c.kubectl_path).replace(".", "-")
        c.kubectl("create", "namespace", ns)
        check_deleted(c, ns, [check_client_side(c, ns, name) for name in MANIFESTS])


def test_server_side_apply(c):
    ns = "server"
    c.kubectl_path = kubectls()[-1]
    c.kubectl("create", "namespace", ns)
    check_deleted(c, ns, [check_server_side(c, ns, name) for name in MANIFESTS])


def test_from_client_side_to_server_side(c):
    """Objects that were applied by the client go over to server-side apply without a conflict."""
    ns = "moved"
    c.kubectl("create", "namespace", ns)
    for name in ("guestbook", "chart"):
        path = manifest(c, ns, name)
        c.kubectl("apply", "-n", ns, "-f", path)
        all_end(c.kubectl("apply", "-n", ns, "--server-side", "-f", path), "serverside-applied", name)
        check_diff(c, path, "-n", ns, "--server-side")
    c.kubectl("delete", "namespace", ns)


def test_refused_pods_are_tried_with_pauses(c):
    """A Deployment that came before its PriorityClass: the pods are refused, and not asked for all the
    time."""
    c.apply(deployment("early", probe=False, priorityClassName="manifest-late"))
    wait("the failure", lambda: c.condition("deployment", "early", "ReplicaFailure", "default") == "True")
    revision = lambda: int(next(line.split()[1] for line in c.coracle("get", "--raw", "/metrics").stdout.splitlines()
                                if line.startswith("coracle_store_revision ")))
    before = revision()
    time.sleep(1)
    true(revision() - before < 40, f"{revision() - before} changes in a second")
    c.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "manifest-late"},
             "value": 10})
    wait("pods", lambda: len(c.get("pods", ns="default")) == 3, timeout=60)
    c.coracle("delete", "deployment,service", "early")
    c.coracle("delete", "priorityclass", "manifest-late")
