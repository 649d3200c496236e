# SPDX-License-Identifier: Apache-2.0
"""Every kind of the discovery through what Kubernetes' conformance tests do with it: create, get, list (in a
namespace and in all), watch, patch, update, status, delete, deletecollection. Plain HTTP, JSON bodies."""
import json
import re
import socket

from lib import Cluster, contains, equal, kubectls, pod, true, wait

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def cluster():
    with Cluster() as c:
        yield c


# ---- HTTP over the local socket ------------------------------------------------------------------

def exchange(c, method, path, body=None, kind=JSON, accept=JSON):
    """(code, text, head) of one request."""
    data = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n" \
           f"Accept: {accept}\r\nContent-Length: {len(data)}\r\n\r\n"
    got = b""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(c.socket)
        s.sendall(head.encode() + data)
        while chunk := s.recv(65536):
            got += chunk
    top, _, text = got.partition(b"\r\n\r\n")
    if b"chunked" in top.lower():
        text = unchunk(text)
    code = int(re.match(rb"HTTP/1.1 (\d+)", top).group(1))
    return code, text.decode(), top.decode()


def unchunk(data):
    out = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            break
        out += rest[:n]
        data = rest[n + 2:]
    return out


def call(c, method, path, body=None, kind=JSON, want=200):
    code, text, _ = exchange(c, method, path, body, kind)
    true(code == want, f"{method} {path}: {code}, not {want}: {text[:600]}")
    return json.loads(text)


class Watch:
    """A watch whose events are read one by one."""

    def __init__(self, c, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(20)
        self.s.connect(c.socket)
        self.s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {JSON}\r\n\r\n".encode())
        self.f = self.s.makefile("rb")
        status = self.f.readline()
        true(b" 200 " in status, f"watch {path}: {status}")
        while self.f.readline() not in (b"\r\n", b""):
            pass

    def next(self):
        while True:
            size = int(self.f.readline(), 16)
            data = self.f.read(size + 2)[:size]
            if data.strip():
                event = json.loads(data)
                if event["type"] != "BOOKMARK":
                    return event

    def expect(self, kind, name, check=lambda o: True):
        """Skips what the system itself adds meanwhile."""
        for _ in range(50):
            e = self.next()
            if e["type"] == kind and e["object"]["metadata"]["name"] == name and check(e["object"]):
                return e["object"]
        raise AssertionError(f"no {kind} of {name}")

    def close(self):
        self.f.close()
        self.s.close()


# ---- what there is -------------------------------------------------------------------------------

def resources(c):
    """(group, version, APIResource) of everything in the plain discovery."""
    found = [("", "v1", r) for r in call(c, "GET", "/api/v1")["resources"]]
    for g in call(c, "GET", "/apis")["groups"]:
        for v in g["versions"]:
            got = call(c, "GET", f"/apis/{v['groupVersion']}")
            found += [(g["name"], v["version"], r) for r in got["resources"]]
    return found


def base(group, version):
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
SELECTOR = {"matchLabels": {"app": "x"}}
WORKLOAD = {"spec": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}}
HOOK = {"name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/x"}, "failurePolicy": "Ignore",
        "rules": [{"operations": ["CREATE"], "apiGroups": ["none.example.com"], "apiVersions": ["v1"],
                   "resources": ["nothings"], "scope": "*"}]}
RULE = {"operations": ["CREATE"], "apiGroups": ["none.example.com"], "apiVersions": ["v1"], "resources": ["nothings"],
        "scope": "*"}
ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nobody"}
VOLUME = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp"}}

# What objects of a kind must have at the least.
BODIES = {
    "Service": {"spec": {"ports": [{"port": 80}]}},
    "Endpoints": {"subsets": [{"addresses": [{"ip": "10.9.8.7"}], "ports": [{"port": 80}]}]},
    "PersistentVolume": {"spec": VOLUME},
    "PersistentVolumeClaim": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    "PodTemplate": {"template": TEMPLATE},
    "ReplicationController": {"spec": {"replicas": 0, "selector": {"app": "x"}, "template": TEMPLATE}},
    "LimitRange": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}},
    "ResourceQuota": {"spec": {"hard": {"pods": "10"}}},
    "Deployment": WORKLOAD, "ReplicaSet": WORKLOAD,
    "StatefulSet": {"spec": {**WORKLOAD["spec"], "serviceName": "x"}},
    "DaemonSet": {"spec": {"selector": SELECTOR, "template": {
        **TEMPLATE, "spec": {**TEMPLATE["spec"], "nodeSelector": {"none": "such"}}}}},
    "ControllerRevision": {"revision": 1, "data": {"a": "b"}},
    "Job": {"spec": {"suspend": True, "template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}},
    "CronJob": {"spec": {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {
        "spec": {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}}}},
    "HorizontalPodAutoscaler": {"spec": {"maxReplicas": 3, "scaleTargetRef": {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}}},
    "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": SELECTOR}},
    "PriorityClass": {"value": 7},
    "Ingress": {"spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}},
    "IngressClass": {"spec": {"controller": "example.com/controller"}},
    "NetworkPolicy": {"spec": {"podSelector": {}}},
    "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.9.8.7"]}], "ports": [{"port": 80}]},
    "Lease": {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 30}},
    "StorageClass": {"provisioner": "example.com/none"},
    "CSINode": {"spec": {"drivers": []}},
    "CSIStorageCapacity": {"storageClassName": "fast", "capacity": "1Gi"},
    "VolumeAttachment": {"spec": {"attacher": "csi.example.com", "nodeName": "far", "source": {
        "persistentVolumeName": "pv1"}}},
    "RuntimeClass": {"handler": "crun"},
    "MutatingWebhookConfiguration": {"webhooks": [HOOK]},
    "ValidatingWebhookConfiguration": {"webhooks": [HOOK]},
    "ValidatingAdmissionPolicy": {"spec": {"matchConstraints": {"resourceRules": [RULE]},
                                           "validations": [{"expression": "true"}]}},
    "ValidatingAdmissionPolicyBinding": {"spec": {"policyName": "p", "validationActions": ["Deny"]}},
    "FlowSchema": {"spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 9000}},
    "PriorityLevelConfiguration": {"spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}},
    "Role": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "ClusterRole": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "RoleBinding": {"roleRef": ROLE_REF, "subjects": []},
    "ClusterRoleBinding": {"roleRef": ROLE_REF, "subjects": []},
    "Pod": {"spec": {**TEMPLATE["spec"], "nodeSelector": {"none": "such"}}},
    "CSIDriver": {"spec": {}},
}
# Kinds whose names are not free.
NAMES = {
    "IPAddress": lambda i: f"10.98.7.{i}",
    "ServiceCIDR": lambda i: f"range-{i}",
    "APIService": lambda i: f"v1.group{i}.example.com",
    "CustomResourceDefinition": lambda i: f"things.group{i}.example.com",
}


def body(kind, group, version, ns, i, label):
    """The i-th object of a kind."""
    name = NAMES.get(kind, lambda i: f"test-{i}")(i)
    obj = {"apiVersion": f"{group}/{version}" if group else version, "kind": kind,
           "metadata": {"name": name, "labels": {"test": label}}, **json.loads(json.dumps(BODIES.get(kind, {})))}
    if ns:
        obj["metadata"]["namespace"] = ns
    if kind == "Event":
        return event(obj, group, ns)
    if kind == "IPAddress":
        obj["spec"] = {"parentRef": {"resource": "services", "namespace": "default", "name": "none"}}
    if kind == "ServiceCIDR":
        obj["spec"] = {"cidrs": [f"10.97.{i}.0/24"]}
    if kind == "APIService":
        # of a port where nobody listens
        obj["spec"] = {"group": f"group{i}.example.com", "version": "v1", "groupPriorityMinimum": 100,
                       "versionPriority": 10, "service": {"namespace": "default", "name": "none"},
                       "insecureSkipTLSVerify": True}
    if kind == "CustomResourceDefinition":
        obj["spec"] = {"group": f"group{i}.example.com", "scope": "Namespaced",
                       "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                       "versions": [{"name": "v1", "served": True, "storage": True,
                                     "schema": {"openAPIV3Schema": {"type": "object"}}}]}
    return obj


def event(obj, group, ns):
    about = {"apiVersion": "v1", "kind": "Pod", "namespace": ns, "name": "x"}
    if group:
        return {**obj, "regarding": about, "eventTime": "2026-01-02T03:04:05.000006Z", "reason": "Testing",
                "action": "Do", "type": "Normal", "note": "a test", "reportingController": "example.com/test",
                "reportingInstance": "test-1"}
    return {**obj, "involvedObject": about, "reason": "Testing", "type": "Normal", "message": "a test",
            "source": {"component": "test"}}


# Their life is more than the API's (controllers act on them), or creating them needs more than a body; other tests.
ELSEWHERE = {"Namespace", "Node", "CertificateSigningRequest"}
CONDITION = {"type": "Tested", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z", "reason": "Test",
             "message": "a test"}
# Status to write; of others a condition.
STATUS = {
    "Ingress": {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}},
    "VolumeAttachment": {"attached": True},
    "Service": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
    "ResourceQuota": {"hard": {"pods": "10"}},
    "PersistentVolume": {"phase": "Available"},
    "CronJob": {"lastScheduleTime": "2026-01-02T03:04:05Z"},
    "HorizontalPodAutoscaler": {"currentReplicas": 1, "desiredReplicas": 2},
}


# ---- the flow ------------------------------------------------------------------------------------

class Flow:
    """One kind through all verbs."""

    def __init__(self, c, group, version, resource, subs):
        self.c, self.group, self.version, self.r, self.subs = c, group, version, resource, subs
        self.kind = resource["kind"]
        self.ns = "default" if resource["namespaced"] else None
        top = base(group, version)
        self.all = f"{top}/{resource['name']}"
        self.path = f"{top}/namespaces/{self.ns}/{resource['name']}" if self.ns else self.all
        self.select = "labelSelector=test%3Done"

    def make(self, i, label="one"):
        return call(self.c, "POST", self.path, body(self.kind, self.group, self.version, self.ns, i, label), want=201)

    def run(self):
        start = call(self.c, "GET", f"{self.path}?limit=1")["metadata"]["resourceVersion"]
        made = self.make(1)
        self.check_made(made)
        self.check_lists(made)
        w = Watch(self.c, f"{self.path}?watch=true&resourceVersion={start}&{self.select}")
        try:
            name = made["metadata"]["name"]
            w.expect("ADDED", name)
            self.check_patch(name, w)
            self.check_update(name, w)
            self.check_status(name)
            self.check_delete(name, w)
        finally:
            w.close()
        self.check_collection()

    def check_made(self, made):
        meta = made["metadata"]
        equal((made["kind"], made["apiVersion"]),
              (self.kind, f"{self.group}/{self.version}" if self.group else self.version), "type")
        for key in ("uid", "creationTimestamp", "resourceVersion"):
            true(meta.get(key), f"metadata.{key}")
        got = call(self.c, "GET", f"{self.path}/{meta['name']}")
        equal(got["metadata"]["uid"], meta["uid"], "uid")
        again = exchange(self.c, "POST", self.path, body(self.kind, self.group, self.version, self.ns, 1, "one"))
        equal(again[0], 409, "creating twice")
        equal(json.loads(again[1])["reason"], "AlreadyExists", "creating twice")

    def check_lists(self, made):
        for path in {self.path, self.all}:
            got = call(self.c, "GET", f"{path}?{self.select}")
            equal(got["kind"], self.kind + "List", "kind of the list")
            equal([o["metadata"]["uid"] for o in got["items"]], [made["metadata"]["uid"]], f"list {path}")

    def check_patch(self, name, w):
        patch = {"metadata": {"annotations": {"patched": "true"}}}
        for i, kind in enumerate((MERGE, STRATEGIC)):
            patch["metadata"]["annotations"]["kind"] = str(i)
            got = call(self.c, "PATCH", f"{self.path}/{name}", patch, kind)
            equal(got["metadata"]["annotations"]["kind"], str(i), kind)
        w.expect("MODIFIED", name, lambda o: o["metadata"].get("annotations", {}).get("kind") == "1")

    def check_update(self, name, w):
        def update():
            obj = call(self.c, "GET", f"{self.path}/{name}")
            obj["metadata"].setdefault("annotations", {})["updated"] = "true"
            code, text, _ = exchange(self.c, "PUT", f"{self.path}/{name}", obj)
            true(code in (200, 409), f"PUT: {code} {text}")
            return json.loads(text) if code == 200 else None
        got = wait("an update without conflict", update)
        equal(got["metadata"]["annotations"]["updated"], "true", "PUT")
        w.expect("MODIFIED", name, lambda o: o["metadata"]["annotations"].get("updated") == "true")
        stale = {**got, "metadata": {**got["metadata"], "resourceVersion": "1"}}
        equal(exchange(self.c, "PUT", f"{self.path}/{name}", stale)[0], 409, "PUT of an old version")

    def check_status(self, name):
        if "status" not in self.subs:
            return
        status = STATUS.get(self.kind, {"conditions": [CONDITION]})
        path = f"{self.path}/{name}/status"
        before = call(self.c, "GET", path)
        code, text, _ = exchange(self.c, "PATCH", path, {"metadata": {"annotations": {"patchedstatus": "true"}},
                                                         "status": status}, MERGE)
        equal(code, 200, f"PATCH status: {text}")
        equal(json.loads(text)["metadata"]["annotations"].get("patchedstatus"), "true", "annotation by /status")
        for key, value in status.items():
            got = json.loads(text)["status"].get(key)
            same = {k: v for k, v in got[0].items() if k in CONDITION} == {k: v for k, v in CONDITION.items()
                                                                           if k in got[0]} \
                if key == "conditions" else got == value
            true(same, f"PATCH status: {key} is {got}")

        def update():
            obj = call(self.c, "GET", path)
            obj["metadata"]["annotations"]["putstatus"] = "true"
            code, text, _ = exchange(self.c, "PUT", path, obj)
            true(code in (200, 409), f"PUT status: {code} {text}")
            return json.loads(text) if code == 200 else None
        after = wait("a status update without conflict", update)
        equal(after["metadata"].get("generation"), before["metadata"].get("generation"), "generation")
        # the main resource does not touch it
        obj = call(self.c, "PATCH", f"{self.path}/{name}", {"status": {"conditions": None}}, MERGE)
        equal(set(status) - set(obj["status"]), set(), "status after a patch of the main resource")

    def check_delete(self, name, w):
        call(self.c, "DELETE", f"{self.path}/{name}")
        w.expect("DELETED", name)
        gone = exchange(self.c, "GET", f"{self.path}/{name}")
        equal((gone[0], json.loads(gone[1])["reason"]), (404, "NotFound"), "get after delete")
        contains(gone[1], f"\\\"{name}\\\" not found", "message")

    def check_collection(self):
        for i in range(2, 5):
            self.make(i, "collection")
        self.make(5, "other")
        call(self.c, "DELETE", f"{self.path}?labelSelector=test%3Dcollection")
        wait("an empty collection", lambda: call(
            self.c, "GET", f"{self.path}?labelSelector=test%3Dcollection")["items"] == [])
        left = call(self.c, "GET", f"{self.path}?labelSelector=test%3Dother")["items"]
        equal(len(left), 1, "what deletecollection leaves")
        call(self.c, "DELETE", f"{self.path}/{left[0]['metadata']['name']}")


def test_every_kind(c):
    found = resources(c)
    subs = {}
    for group, version, r in found:
        plural, _, sub = r["name"].partition("/")
        subs.setdefault((group, version, plural), set()).add(sub)
    failed = []
    n = 0
    for group, version, r in found:
        if "/" in r["name"] or not {"create", "get", "watch"} <= set(r["verbs"]) or r["kind"] in ELSEWHERE:
            continue
        n += 1
        try:
            Flow(c, group, version, r, subs[group, version, r["name"]]).run()
        except AssertionError as e:
            failed.append(f"{group}/{version} {r['kind']}: {e}")
    true(not failed, "\n".join([f"{len(failed)} of {n} kinds:"] + failed))
    true(n > 40, f"only {n} kinds")


# ---- kubectl: columns, describe, explain ---------------------------------------------------------

AGE = r"\d+s"
# kind: (what is unlike BODIES, columns, the row's cells behind the name)
ROWS = [
    ("ingresses", "Ingress", {"spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["a.example.com"]}], "rules": [
        {"host": f"{h}.example.com"} for h in "abcd"]}}, "NAME CLASS HOSTS ADDRESS PORTS AGE",
     ["nginx", r"a\.example\.com,b\.example\.com,c\.example\.com \+ 1 more\.\.\.", "", "80, 443", AGE]),
    ("ingressclasses", "IngressClass", {"spec": {"controller": "example.com/c", "parameters": {
        "apiGroup": "example.com", "kind": "Settings", "name": "s"}}}, "NAME CONTROLLER PARAMETERS AGE",
     ["example.com/c", "Settings.example.com/s", AGE]),
    ("networkpolicies", "NetworkPolicy", {"spec": {"podSelector": {"matchLabels": {"app": "x"}}}},
     "NAME POD-SELECTOR AGE", ["app=x", AGE]),
    ("servicecidrs", "ServiceCIDR", {}, "NAME CIDRS AGE", [r"10\.97\.1\.0/24", AGE]),
    ("ipaddresses", "IPAddress", {}, "NAME PARENTREF", ["services/default/none"]),
    ("leases", "Lease", {}, "NAME HOLDER AGE", ["me", AGE]),
    ("storageclasses", "StorageClass", {"metadata": {"annotations": {
        "storageclass.kubernetes.io/is-default-class": "true"}}},
     "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE",
     ["example.com/none", "Delete", "Immediate", "false", AGE]),
    ("csidrivers", "CSIDriver", {"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "b"}]}},
     "NAME ATTACHREQUIRED PODINFOONMOUNT STORAGECAPACITY TOKENREQUESTS REQUIRESREPUBLISH MODES AGE",
     ["true", "false", "false", "a,b", "false", "Persistent", AGE]),
    ("csinodes", "CSINode", {}, "NAME DRIVERS AGE", ["0", AGE]),
    ("csistoragecapacities", "CSIStorageCapacity", {}, "NAME STORAGECLASSNAME CAPACITY", ["fast", "1Gi"]),
    ("volumeattachments", "VolumeAttachment", {}, "NAME ATTACHER PV NODE ATTACHED AGE",
     [r"csi\.example\.com", "pv1", "far", "false", AGE]),
    ("runtimeclasses", "RuntimeClass", {}, "NAME HANDLER AGE", ["crun", AGE]),
    ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", {}, "NAME WEBHOOKS AGE", ["1", AGE]),
    ("validatingadmissionpolicies", "ValidatingAdmissionPolicy", {}, "NAME VALIDATIONS PARAMKIND AGE",
     ["1", "<unset>", AGE]),
    ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", {"spec": {
        "policyName": "p", "validationActions": ["Deny"], "paramRef": {
            "name": "a", "namespace": "b", "parameterNotFoundAction": "Deny"}}},
     "NAME POLICYNAME PARAMREF AGE", ["p", "b/a", AGE]),
    ("flowschemas", "FlowSchema", {}, "NAME PRIORITYLEVEL MATCHINGPRECEDENCE DISTINGUISHERMETHOD AGE MISSINGPL",
     ["exempt", "9000", "<none>", AGE, r"\?|False"]),
    ("prioritylevelconfigurations", "PriorityLevelConfiguration", {"spec": {"type": "Limited", "limited": {
        "limitResponse": {"type": "Queue", "queuing": {}}}}},
     "NAME TYPE NOMINALCONCURRENCYSHARES QUEUES HANDSIZE QUEUELENGTHLIMIT AGE", ["Limited", "30", "64", "8", "50", AGE]),
    ("apiservices", "APIService", {}, "NAME SERVICE AVAILABLE AGE", ["default/none", r".*", AGE]),
]


def test_columns(c):
    found = {r["kind"]: (group, version, r) for group, version, r in resources(c) if "/" not in r["name"]}
    for plural, kind, more, columns, cells in ROWS:
        group, version, r = found[kind]
        ns = "default" if r["namespaced"] else None
        obj = body(kind, group, version, ns, 1, "columns")
        obj["metadata"].update(more.get("metadata", {}))
        obj.update({k: v for k, v in more.items() if k != "metadata"})
        path = base(group, version) + (f"/namespaces/{ns}" if ns else "") + f"/{r['name']}"
        call(c, "POST", path, obj, want=201)
        for kubectl in kubectls():
            c.kubectl_path = kubectl
            out = c.kubectl("get", f"{plural}.{group}", "-l", "test=columns", "-o", "wide").stdout.splitlines()
            equal(out[0].split(), columns.split(), f"columns of {kind}")
            name = obj["metadata"]["name"] + (r" \(default\)" if kind == "StorageClass" else "")
            row = r"\s+".join([name] + [f"({x})" for x in cells if x])
            true(re.fullmatch(row, out[1].strip()), f"{kind}: {out[1]!r} is not {row!r}")
        described = c.kubectl("describe", f"{plural}.{group}", obj["metadata"]["name"]).stdout
        contains(described, "Name:", kind)
        call(c, "DELETE", f"{path}/{obj['metadata']['name']}")


def test_apply(c):
    """What is applied again is unchanged, and diff finds nothing; by both ways of applying."""
    found = {r["kind"]: (group, version, r) for group, version, r in resources(c) if "/" not in r["name"]}
    objects = []
    for _, kind, more, _, _ in ROWS:
        group, version, r = found[kind]
        obj = body(kind, group, version, "default" if r["namespaced"] else None, 3, "applied")
        obj.update({k: v for k, v in more.items() if k != "metadata"})
        objects.append(obj)
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    for kubectl in kubectls():
        c.kubectl_path = kubectl
        for how in ([], ["--server-side"]):
            c.kubectl("apply", *how, "-f", "-", stdin=manifest)
            out = c.kubectl("apply", *how, "-f", "-", stdin=manifest).stdout.splitlines()
            equal([x for x in out if not x.endswith("serverside-applied" if how else " unchanged")], [], f"apply {how}")
            equal(c.kubectl("diff", *how, "-f", "-", stdin=manifest).stdout, "", "diff")
            c.kubectl("delete", "-f", "-", stdin=manifest)
        c.kubectl("create", "ingress", "quick", "--class=nginx", "--rule=a.example.com/b*=web:80,tls=cert")
        rule = c.get("ingress", "quick")["spec"]["rules"][0]
        equal(rule["http"]["paths"][0]["pathType"], "Prefix", "an Ingress made by kubectl")
        contains(c.kubectl("describe", "ingress", "quick").stdout, "web:80")
        c.kubectl("delete", "ingress", "quick")


GROUPS = ["networking.k8s.io", "discovery.k8s.io", "coordination.k8s.io", "events.k8s.io", "storage.k8s.io",
          "node.k8s.io", "admissionregistration.k8s.io", "apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io"]


def test_explain(c):
    """kubectl explain has a line about every field of these groups."""
    for group in GROUPS:
        document = call(c, "GET", f"/openapi/v3/apis/{group}/v1")
        for name, schema in document["components"]["schemas"].items():
            if group.split(".")[0] not in name.split("."):
                continue
            mute = [f for f, s in schema.get("properties", {}).items() if not s.get("description")]
            equal(mute, [], f"fields of {name} without a description")
            true(schema.get("description") or "properties" not in schema or name.endswith("List"),
                 f"{name} without a description")
    for kubectl in kubectls():
        c.kubectl_path = kubectl
        contains(c.kubectl("explain", "ingress.spec.tls.secretName").stdout, "kubernetes.io/tls")
        contains(c.kubectl("explain", "networkpolicy.spec.egress.to.ipBlock").stdout, "must lie strictly inside it")


# ---- events --------------------------------------------------------------------------------------

CORE_EVENTS = "/api/v1/namespaces/default/events"
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


def test_event_versions(c):
    """An Event of one group is the same object in the other."""
    made = call(c, "POST", NEW_EVENTS, body("Event", "events.k8s.io", "v1", "default", 1, "versions"), want=201)
    equal((made["regarding"]["name"], made["note"], made["reportingController"]), ("x", "a test", "example.com/test"))
    seen = call(c, "GET", f"{CORE_EVENTS}/test-1")
    equal(seen["metadata"], made["metadata"], "metadata")
    equal((seen["involvedObject"], seen["message"], seen["reportingComponent"], seen["eventTime"], seen["action"]),
          (made["regarding"], made["note"], made["reportingController"], made["eventTime"], made["action"]))
    w = Watch(c, f"{NEW_EVENTS}?watch=true&resourceVersion={made['metadata']['resourceVersion']}"
                 "&fieldSelector=regarding.name%3Dx,reportingController%3Dexample.com/test")
    series = {"count": 2, "lastObservedTime": "2026-01-02T03:05:00.000001Z"}
    call(c, "PATCH", f"{CORE_EVENTS}/test-1", {"series": series}, MERGE)
    equal(w.expect("MODIFIED", "test-1")["series"], series)
    w.close()
    for selector, n in (("regarding.kind%3DPod", 1), ("type%3DNormal,reason%3DTesting", 1), ("regarding.name%3Dy", 0)):
        got = call(c, "GET", f"{NEW_EVENTS}?labelSelector=test%3Dversions&fieldSelector={selector}")
        equal(len(got["items"]), n, selector)
    code, text, _ = exchange(c, "GET", f"{NEW_EVENTS}?fieldSelector=involvedObject.name%3Dx")
    equal((code, json.loads(text)["message"]), (400, "field label not supported: involvedObject.name"))
    got = call(c, "GET", f"{CORE_EVENTS}?fieldSelector=involvedObject.name%3Dx,source%3Dexample.com/test")
    equal(len(got["items"]), 1, "source of the core version")

    # what only the older version has is refused by the newer one; what it says can be changed through both
    bad = {**body("Event", "events.k8s.io", "v1", "default", 2, "versions"), "deprecatedCount": 3, "type": "Loud"}
    del bad["eventTime"]
    code, text, _ = exchange(c, "POST", NEW_EVENTS, bad)
    causes = json.loads(text)["details"]["causes"]
    equal((code, json.loads(text)["message"].split(":")[0]), (422, 'Event "test-2" is invalid'))
    equal([(x["field"], x["message"]) for x in causes],
          [("eventTime", "Required value"), ("type", 'Invalid value: "": has invalid value: Loud'),
           ("count", 'Invalid value: "": needs to be unset')])
    call(c, "PATCH", f"{NEW_EVENTS}/test-1", {"note": "first"}, MERGE)
    equal(call(c, "GET", f"{CORE_EVENTS}/test-1")["message"], "first")
    call(c, "PATCH", f"{CORE_EVENTS}/test-1", {"message": "other"}, MERGE)
    equal(call(c, "GET", f"{NEW_EVENTS}/test-1")["note"], "other")

    for kubectl in kubectls():
        c.kubectl_path = kubectl
        for what in ("events", "events.events.k8s.io"):
            out = c.kubectl("get", what, "-l", "test=versions", "-o", "wide").stdout.splitlines()
            equal(out[0].split("  ")[0], "LAST SEEN")
            true(re.search(r"Normal +Testing +pod/x +example.com/test, test-1 +other .* 2 +test-1", out[1]), out[1])
        contains(c.kubectl("events", "--for", "pod/x").stdout, "other")
    call(c, "DELETE", f"{NEW_EVENTS}/test-1")
    equal(exchange(c, "GET", f"{CORE_EVENTS}/test-1")[0], 404, "deleted in both")


# ---- what is there at start ----------------------------------------------------------------------

def test_builtin_objects(c):
    cidr = call(c, "GET", "/apis/networking.k8s.io/v1/servicecidrs/kubernetes")
    equal(cidr["spec"]["cidrs"], ["10.43.0.0/16"])
    equal(cidr["metadata"]["finalizers"], ["networking.k8s.io/service-cidr-finalizer"])
    equal([(x["type"], x["status"]) for x in cidr["status"]["conditions"]], [("Ready", "True")])
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        call(c, "GET", f"/api/v1/namespaces/{name}")

    levels = {o["metadata"]["name"]: o for o in call(
        c, "GET", "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations")["items"]}
    equal((levels["exempt"]["spec"]["type"], levels["catch-all"]["spec"]["limited"]["limitResponse"]["type"]),
          ("Exempt", "Reject"))
    schemas = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
    for name in ("exempt", "catch-all"):
        wait("the condition", lambda: call(c, "GET", f"{schemas}/{name}")["status"]["conditions"][0]["status"] == "False")
    code, text, _ = exchange(c, "PATCH", f"{schemas}/exempt", {"spec": {"matchingPrecedence": 2}}, MERGE)
    equal(code, 422, text)
    contains(text, "spec of 'exempt' must equal the fixed value")
    levels = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
    for path in (f"{schemas}/exempt", f"{levels}/catch-all"):
        call(c, "DELETE", path)
        wait("it is back", lambda: exchange(c, "GET", path)[0] == 200)

    for ns, name in (("default", "kubernetes"), ("kube-system", "kube-dns")):
        path = f"/api/v1/namespaces/{ns}/services/{name}"
        was = call(c, "GET", path)
        call(c, "DELETE", path)
        wait("it is back", lambda: exchange(c, "GET", path)[0] == 200)
        now = call(c, "GET", path)
        equal(now["spec"]["clusterIP"], was["spec"]["clusterIP"])
        true(now["metadata"]["uid"] != was["metadata"]["uid"], "another one")
    endpoints = "/api/v1/namespaces/default/endpoints/kubernetes"
    wait("where the API is", lambda: json.loads(exchange(c, "GET", endpoints)[1]).get("subsets", [{"ports": [{}]}])[0]["ports"][0].get("name") == "https")
    code, text, _ = exchange(c, "DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical")
    equal(code, 403, text)
    contains(text, "this is a system priority class and cannot be deleted")

    services = {o["metadata"]["name"]: o for o in call(c, "GET", "/apis/apiregistration.k8s.io/v1/apiservices")["items"]}
    for group in call(c, "GET", "/apis")["groups"]:
        for v in group["versions"]:
            name = f"{v['version']}.{group['name']}"
            if group["name"] != "apiregistration.k8s.io":
                equal(services[name]["status"]["conditions"][0]["status"], "True", name)
    equal(services["v1."]["spec"], {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1})
    contains(c.kubectl("get", "apiservice", "v1.apps").stdout, "Local")

    node = c.get("node", c.name)
    csinode = wait("the CSINode", lambda: call(c, "GET", f"/apis/storage.k8s.io/v1/csinodes/{c.name}"))
    equal(csinode["metadata"]["ownerReferences"][0]["uid"], node["metadata"]["uid"])
    contains(c.kubectl("describe", "node", c.name).stdout, "HolderIdentity:")


def test_service_addresses(c):
    """Every address of a service has an IPAddress object, as long as the service has it."""
    addresses = "/apis/networking.k8s.io/v1/ipaddresses"
    api = call(c, "GET", "/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"]
    got = wait("that of the API", lambda: call(c, "GET", f"{addresses}/{api}"))
    equal(got["spec"]["parentRef"], {"resource": "services", "namespace": "default", "name": "kubernetes"})
    svc = call(c, "POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "addressed"}, "spec": {
        "ports": [{"port": 80}]}}, want=201)
    path = f"{addresses}/{svc['spec']['clusterIP']}"
    wait("its address", lambda: exchange(c, "GET", path)[0] == 200)
    contains(c.kubectl("get", "ip", svc["spec"]["clusterIP"]).stdout, "services/default/addressed")
    call(c, "DELETE", path)
    wait("its address once more", lambda: exchange(c, "GET", path)[0] == 200)
    call(c, "DELETE", "/api/v1/namespaces/default/services/addressed")
    wait("its end", lambda: exchange(c, "GET", path)[0] == 404)



def test_node_lease(c):
    """Renewed for those who look, and while somebody watches; else nothing moves."""
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    first = call(c, "GET", f"{path}/{c.name}")
    equal((first["spec"]["holderIdentity"], first["spec"]["leaseDurationSeconds"]), (c.name, 40))
    equal(first["metadata"]["ownerReferences"][0]["kind"], "Node")
    w = Watch(c, f"{path}?watch=true&resourceVersion={first['metadata']['resourceVersion']}")
    e = w.expect("MODIFIED", c.name)
    w.close()
    true(e["spec"]["renewTime"] > first["spec"]["renewTime"], "renewed while watched")


def test_runtime_class(c):
    def bad(obj, text):
        code, got, _ = exchange(c, "POST", "/api/v1/namespaces/default/pods", obj)
        equal((code, json.loads(got)["message"]), (403, f'pods "classy" is forbidden: {text}'))

    def classy(**spec):
        return {"metadata": {"name": "classy"}, "spec": {**BODIES["Pod"]["spec"], **spec}}
    classes = "/apis/node.k8s.io/v1/runtimeclasses"
    call(c, "POST", classes, {"metadata": {"name": "heavy"}, "handler": "crun", "overhead": {"podFixed": {
        "cpu": "10m", "memory": "1Mi"}}, "scheduling": {"nodeSelector": {"class": "heavy"}, "tolerations": [
            {"key": "heavy", "operator": "Exists"}]}}, want=201)
    bad(classy(runtimeClassName="none"), 'pod rejected: RuntimeClass "none" not found')
    bad(classy(runtimeClassName="heavy", overhead={"cpu": "1"}),
        "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
    bad(classy(overhead={"cpu": "1"}),
        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
    bad(classy(runtimeClassName="heavy", nodeSelector={"class": "light"}),
        "conflict: runtimeClass.scheduling.nodeSelector[class] = heavy; pod.spec.nodeSelector[class] = light")
    made = call(c, "POST", "/api/v1/namespaces/default/pods", classy(runtimeClassName="heavy"), want=201)
    equal(made["spec"]["overhead"], {"cpu": "10m", "memory": "1Mi"})
    equal(made["spec"]["nodeSelector"], {"none": "such", "class": "heavy"})
    true({"key": "heavy", "operator": "Exists"} in made["spec"]["tolerations"], "tolerations")
    call(c, "DELETE", "/api/v1/namespaces/default/pods/classy")
    call(c, "DELETE", f"{classes}/heavy")


def test_runtime_handlers(c):
    """Pods run when their class names the runtime there is, and wait with an event when it does not."""
    name = c.get("node", c.name)["status"]["nodeInfo"]["containerRuntimeVersion"].partition(":")[0]
    c.load_image()
    for handler in (name, "other"):
        c.apply({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": f"class-{handler}"},
                 "handler": handler})
        p = pod(f"on-{handler}", ["sleep", "60"])
        p["spec"]["runtimeClassName"] = f"class-{handler}"
        c.apply(p)
    wait("the good one", lambda: c.get("pod", f"on-{name}")["status"]["phase"] == "Running")
    wait("the event", lambda: 'Failed to create pod sandbox: no runtime for "other" is configured' in
         c.kubectl("describe", "pod", "on-other").stdout)
    equal(c.get("pod", "on-other")["status"]["phase"], "Pending")
    c.kubectl("delete", "pod", f"on-{name}", "on-other", "--now")
    c.kubectl("delete", "runtimeclass", f"class-{name}", "class-other")


# ---- what single conformance tests ask for -------------------------------------------------------

def test_lease_times(c):
    """MicroTimes of the first year, and a put that creates."""
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/old"
    spec = {"holderIdentity": "h", "leaseDurationSeconds": 30, "acquireTime": "0001-01-01T00:00:02.000000Z",
            "renewTime": "0001-01-01T00:00:05.000000Z", "leaseTransitions": 0}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "old"}, "spec": spec}
    made = call(c, "PUT", path, lease, want=201)
    equal(call(c, "GET", path)["spec"], spec)
    made["spec"]["renewTime"] = "0001-01-01T00:00:07.5Z"
    call(c, "PUT", path, made)
    contains(c.kubectl("get", "lease", "old").stdout, "h")
    contains(c.kubectl("describe", "lease", "old").stdout, "Holder Identity")
    code, text, _ = exchange(c, "PUT", path, lease)
    equal((code, json.loads(text)["details"]["causes"][0]["field"]), (422, "metadata.resourceVersion"))
    call(c, "DELETE", path)


def test_node_objects(c):
    """A Node that somebody else registers: made, patched, updated, its status, deleted."""
    path = "/api/v1/nodes/far"
    call(c, "POST", "/api/v1/nodes", {"metadata": {"name": "far"}, "spec": {"unschedulable": True}, "status": {
        "phase": "Running", "addresses": [{"type": "InternalIP", "address": "10.9.9.9"}]}}, want=201)
    call(c, "PATCH", path, {"metadata": {"labels": {"far": "patched"}}}, STRATEGIC)
    listed = call(c, "GET", "/api/v1/nodes?labelSelector=far%3Dpatched")["items"]
    equal([n["metadata"]["name"] for n in listed], ["far"])

    def update():
        node = call(c, "GET", path)
        node["metadata"]["labels"]["far"] = "updated"
        return exchange(c, "PUT", path, node)[0] == 200
    wait("the update", update)
    status = {"status": {"conditions": [{"type": "Tested", "status": "True"}]}}
    got = call(c, "PATCH", path + "/status", status, STRATEGIC)
    equal([x["type"] for x in got["status"]["conditions"] if x["type"] == "Tested"], ["Tested"])
    equal(got["metadata"]["labels"]["far"], "updated")
    call(c, "DELETE", path)
    equal(exchange(c, "GET", path)[0], 404)


def test_protected_in_use(c):
    """Claims that pods use and volumes that claims use outlive their deletion, ranges their addresses."""
    claims, volumes = "/api/v1/namespaces/default/persistentvolumeclaims", "/api/v1/persistentvolumes"
    made = call(c, "POST", claims, {"metadata": {"name": "used"}, **BODIES["PersistentVolumeClaim"]}, want=201)
    equal(made["metadata"]["finalizers"], ["kubernetes.io/pvc-protection"])
    user = {"metadata": {"name": "user"}, "spec": {**BODIES["Pod"]["spec"], "schedulerName": "none", "nodeName": "elsewhere",
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "used"}}]}}
    call(c, "POST", "/api/v1/namespaces/default/pods", user, want=201)
    call(c, "DELETE", f"{claims}/used")
    true("deletionTimestamp" in call(c, "GET", f"{claims}/used")["metadata"], "a claim in use")
    call(c, "DELETE", "/api/v1/namespaces/default/pods/user", {"gracePeriodSeconds": 0})
    wait("the claim to go", lambda: exchange(c, "GET", f"{claims}/used")[0] == 404)

    made = call(c, "POST", volumes, {"metadata": {"name": "used"}, **BODIES["PersistentVolume"]}, want=201)
    equal(made["metadata"]["finalizers"], ["kubernetes.io/pv-protection"])
    call(c, "PATCH", f"{volumes}/used/status", {"status": {"phase": "Bound"}}, kind=MERGE)
    call(c, "DELETE", f"{volumes}/used")
    call(c, "GET", f"{volumes}/used")
    call(c, "PATCH", f"{volumes}/used/status", {"status": {"phase": "Released"}}, kind=MERGE)
    wait("the volume to go", lambda: exchange(c, "GET", f"{volumes}/used")[0] == 404)

    ranges = "/apis/networking.k8s.io/v1/servicecidrs"
    call(c, "POST", ranges, {"metadata": {"name": "mine"}, "spec": {"cidrs": ["10.98.0.0/20", "fd98::/64"]}}, want=201)
    mine = wait("it is ready", lambda: [o for o in [call(c, "GET", f"{ranges}/mine")] if o.get("status")])[0]
    equal((mine["metadata"]["finalizers"], mine["status"]["conditions"][0]["status"]),
          (["networking.k8s.io/service-cidr-finalizer"], "True"))
    address = "/apis/networking.k8s.io/v1/ipaddresses"
    call(c, "POST", address, {"metadata": {"name": "fd98::1"}, "spec": {"parentRef": {
        "resource": "services", "namespace": "none", "name": "none"}}}, want=201)
    call(c, "DELETE", f"{ranges}/mine")
    wait("it waits", lambda: call(c, "GET", f"{ranges}/mine")["status"]["conditions"][0]["reason"] == "ServiceCIDRTerminating")
    call(c, "DELETE", f"{address}/fd98::1")
    wait("the range to go", lambda: exchange(c, "GET", f"{ranges}/mine")[0] == 404)


def test_components_and_bindings(c):
    items = call(c, "GET", "/api/v1/componentstatuses")["items"]
    equal([o["metadata"]["name"] for o in items], ["controller-manager", "scheduler", "etcd-0"])
    got = c.kubectl("get", "cs", "etcd-0")
    contains(got.stdout, "Healthy")
    contains(got.stderr, "Warning: v1 ComponentStatus is deprecated in v1.19+")
    equal(exchange(c, "GET", "/api/v1/componentstatuses/none")[0], 404)

    pods = "/api/v1/namespaces/default/pods"
    call(c, "POST", pods, {"metadata": {"name": "bound"}, "spec": {**BODIES["Pod"]["spec"], "schedulerName": "mine"}},
         want=201)
    order = {"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "elsewhere"}}
    order["metadata"]["annotations"] = {"why": "it is near"}
    for wrong, want in (({"target": {"kind": "Node"}}, (500, "target.name: Required value")),
                        ({"metadata": {"name": "other"}}, (400, "name in URL does not match name in Binding object"))):
        code, answer = exchange(c, "POST", f"{pods}/bound/binding", {**order, **wrong})[:2]
        equal((code, json.loads(answer)["message"]), want)
    call(c, "POST", f"{pods}/bound/binding?dryRun=All", order, want=201)
    equal(call(c, "GET", f"{pods}/bound")["spec"].get("nodeName"), None, "dry run")
    call(c, "POST", "/api/v1/namespaces/default/bindings", order, want=201)
    bound = call(c, "GET", f"{pods}/bound")
    equal((bound["spec"]["nodeName"], bound["metadata"]["annotations"]), ("elsewhere", {"why": "it is near"}))
    equal([(e["type"], e["status"]) for e in bound["status"]["conditions"]], [("PodScheduled", "True")])
    code, again = exchange(c, "POST", "/api/v1/namespaces/default/bindings", order)[:2]
    equal((code, json.loads(again)["message"]), (409, 'Operation cannot be fulfilled on pods/binding "bound": pod bound is already '
                                    'assigned to node "elsewhere"'), "bound twice")
    order["metadata"]["name"] = "none"
    equal(exchange(c, "POST", "/api/v1/namespaces/default/bindings", order)[0], 404, "no such pod")
    call(c, "DELETE", f"{pods}/bound", {"gracePeriodSeconds": 0})


def test_custom_group_is_listed(c):
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    call(c, "POST", crds, body("CustomResourceDefinition", "apiextensions.k8s.io", "v1", None, 7, "listed"), want=201)
    path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.group7.example.com"
    got = json.loads(wait("the APIService", lambda: (lambda x: x[1] if x[0] == 200 else None)(exchange(c, "GET", path))))
    equal(got["metadata"]["labels"], {"kube-aggregator.kubernetes.io/automanaged": "true"})
    call(c, "DELETE", f"{crds}/things.group7.example.com")
    wait("its end", lambda: exchange(c, "GET", path)[0] == 404)
