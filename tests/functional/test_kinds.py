# SPDX-License-Identifier: Apache-2.0
"""Workloads, batch, autoscaling, policy, scheduling and storage kinds through kubectl, old and new: create,
get, get -o wide, describe, explain, edit, patch, delete. What bounds others: quotas, limits, disruption."""
import json
import os
import re

from lib import IMAGE, Cluster, contains, deployment, equal, kubectls, pod, true, wait

LONG = True  # begins before the others


def cluster():
    with Cluster() as c:
        c.load_image()
        yield c


TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}}
JOB = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": IMAGE}]}}}
SELECTOR = {"matchLabels": {"a": "b"}}
SCALED = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3}
VOLUME = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "hostPath": {"path": "/v"}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}

# resource, what to make, the columns of `get -o wide`, the row behind the name ("*": anything; the age is one),
# a field to explain and a piece of what is said of it.
KINDS = [
    ("replicationcontroller", "v1", "ReplicationController",
     {"spec": {"replicas": 0, "template": TEMPLATE}},
     "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR", f"0 0 0 * c {IMAGE} a=b", "spec.replicas", "pods"),
    ("podtemplate", "v1", "PodTemplate", {"template": TEMPLATE},
     "NAME CONTAINERS IMAGES POD-LABELS", f"c {IMAGE} a=b", "template", "pods"),
    ("limitrange", "v1", "LimitRange", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "9"}}]}},
     "NAME AGE", "*", "spec.limits", "limit"),
    ("resourcequota", "v1", "ResourceQuota", {"spec": {"hard": {"secrets": "9", "limits.cpu": "99"}}},
     "NAME REQUEST LIMIT AGE", "secrets:-0/9 limits.cpu:-0/99 *", "spec.hard", "most"),
    ("persistentvolumeclaim", "v1", "PersistentVolumeClaim", {"spec": CLAIM},
     "NAME STATUS VOLUME CAPACITY ACCESS-MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE VOLUMEMODE",
     "Pending - - - - <unset> * Filesystem", "spec.accessModes", "mount"),
    ("statefulset", "apps/v1", "StatefulSet",
     {"spec": {"replicas": 0, "serviceName": "s", "selector": SELECTOR, "template": TEMPLATE}},
     "NAME READY AGE CONTAINERS IMAGES", f"0/0 * c {IMAGE}", "spec.serviceName", "service"),
    ("daemonset", "apps/v1", "DaemonSet",
     {"spec": {"selector": SELECTOR, "template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "nodeSelector": {"no": "node"}}}}},
     "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE-SELECTOR AGE CONTAINERS IMAGES SELECTOR",
     f"0 0 0 0 0 no=node * c {IMAGE} a=b", "spec.updateStrategy", "pods"),
    ("controllerrevision", "apps/v1", "ControllerRevision", {"data": {"a": 1}, "revision": 4},
     "NAME CONTROLLER REVISION AGE", "<none> 4 *", "revision", "revision"),
    ("job", "batch/v1", "Job", {"spec": {**JOB, "suspend": True, "completions": 3}},
     "NAME STATUS COMPLETIONS DURATION AGE CONTAINERS IMAGES SELECTOR",
     f"* 0/3 - * c {IMAGE} batch.kubernetes.io/controller-uid=*", "spec.completions", "succeed"),
    ("cronjob", "batch/v1", "CronJob",
     {"spec": {"schedule": "0-4-*-*-*".replace("-", " "), "suspend": True, "jobTemplate": {"spec": JOB}}},
     "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST-SCHEDULE AGE CONTAINERS IMAGES SELECTOR",
     f"0-4-*-*-* <none> True 0 <none> * c {IMAGE} <none>", "spec.schedule", "job"),
    ("hpa", "autoscaling/v2", "HorizontalPodAutoscaler", {"spec": SCALED},
     "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE", "Deployment/d cpu:-<unknown>/80% 1 3 0 *",
     "spec.maxReplicas", "pods"),
    ("pdb", "policy/v1", "PodDisruptionBudget", {"spec": {"minAvailable": "50%", "selector": SELECTOR}},
     "NAME MIN-AVAILABLE MAX-UNAVAILABLE ALLOWED-DISRUPTIONS AGE", "50% N/A 0 *", "spec.minAvailable", "pods"),
]
CLUSTER_KINDS = [
    ("persistentvolume", "v1", "PersistentVolume", {"spec": VOLUME},
     "NAME CAPACITY ACCESS-MODES RECLAIM-POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON AGE VOLUMEMODE",
     "1Gi RWO,ROX Retain * - - <unset> - * Filesystem", "spec.capacity", "volume"),
    ("priorityclass", "scheduling.k8s.io/v1", "PriorityClass", {"value": 12},
     "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY", "12 false * PreemptLowerPriority", "value", "priority"),
]


def columns(text):
    """Rows of a table whose cells may hold blanks (these become dashes); "-" for an empty cell."""
    head, *rows = text.rstrip("\n").split("\n")
    starts = [m.start() for m in re.finditer(r"\S+(?: \S+)*", head)] + [None]
    cells = [[line[a:b].strip().replace(" ", "-") or "-" for a, b in zip(starts, starts[1:])] for line in rows]
    return [h.replace(" ", "-") for h in re.findall(r"\S+(?: \S+)*", head)], cells


def row_is(got, want):
    return len(got) == len(want) and all(
        re.fullmatch(re.escape(w).replace(r"\*", ".*"), g) for g, w in zip(got, want))


def one_kind(c, ns, resource, version, kind, body, head, row, field, said):
    k = lambda *a, **kw: c.kubectl(*ns, *a, **kw).stdout
    manifest = json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **body})
    contains(k("create", "-f", "-", stdin=manifest), "/x created", kind)
    if kind in ("ResourceQuota", "PodDisruptionBudget"):  # counted a moment later
        wait("a status", lambda: json.loads(k("get", resource, "x", "-o", "json")).get("status", {}).get(
            "hard" if kind == "ResourceQuota" else "conditions"))
    got, rows = columns(k("get", resource, "-o", "wide", "--field-selector=metadata.name=x"))
    equal(got, head.split(), f"{kind}: columns")
    true(row_is(rows[0], ["x", *row.split(" ")]), f"{kind}: row {rows[0]} is not x {row}")
    contains(k("describe", resource, "x"), "x", f"describe {kind}")
    contains(k("explain", f"{resource}.{field}").lower(), said.lower(), f"explain {kind}.{field}")
    true("<no description>" not in k("explain", resource).lower(), f"explain {kind} has nothing to say")
    k("patch", resource, "x", "--type=merge", "-p", '{"metadata":{"labels":{"patched":"yes"}}}')
    k("annotate", resource, "x", "note=yes")
    editor = os.path.join(c.disk, "editor")
    with open(editor, "w") as f:
        f.write('#!/bin/sh\nsed -i "s/patched: \\"yes\\"/patched: edited/" "$1"\n')
    os.chmod(editor, 0o755)
    os.environ["KUBE_EDITOR"] = editor
    contains(k("edit", resource, "x"), "edited", f"edit {kind}")
    got = json.loads(k("get", resource, "x", "-o", "json"))
    equal(got["metadata"]["labels"]["patched"], "edited", kind)
    equal(got["apiVersion"], version, kind)
    # The same again changes nothing.
    k("replace", "-f", "-", stdin=json.dumps(got))
    equal(json.loads(k("get", resource, "x", "-o", "json"))["metadata"]["resourceVersion"],
          got["metadata"]["resourceVersion"], f"{kind}: replaced by itself")
    contains(k("delete", resource, "x"), "deleted", kind)


def test_kinds(c):
    for path in kubectls():
        c.kubectl_path = path
        for spec in KINDS:
            one_kind(c, ("-n", "default"), *spec)
        for spec in CLUSTER_KINDS:
            one_kind(c, (), *spec)


# What a controller reports of each kind that has a status.
CONDITION = {"type": "Reported", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"}
STATUS = {
    "ReplicationController": {"replicas": 0, "conditions": [CONDITION]},
    "PersistentVolumeClaim": {"phase": "Pending", "conditions": [CONDITION]},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0, "conditions": [CONDITION]},
    "DaemonSet": {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
                  "conditions": [CONDITION]},
    "Job": {"conditions": [CONDITION]},
    "CronJob": {"lastScheduleTime": "2026-01-02T03:04:05Z"},
    "HorizontalPodAutoscaler": {"currentReplicas": 3, "desiredReplicas": 4, "conditions": [CONDITION]},
    "PodDisruptionBudget": {"observedGeneration": 1, "conditions": [CONDITION]},
    "PersistentVolume": {"phase": "Released", "message": "m", "reason": "R"},
}


def has(got, want, what):
    """Everything of want is in got (what else a controller wrote there may stand beside it)."""
    for key, value in want.items():
        if isinstance(value, list):
            true(all(v in got.get(key, []) for v in value), f"{what}: {key} of {got}")
        else:
            equal(got.get(key), value, f"{what}: {key}")


def one_status(c, ns, resource, version, kind, body):
    k = lambda *a, **kw: c.kubectl(*ns, *a, **kw).stdout
    read = lambda *a: json.loads(k("get", resource, "s", "-o", "json", *a))
    want = STATUS[kind]
    made = {"apiVersion": version, "kind": kind, "metadata": {"name": "s"}, **body}
    # A status that comes with the object, or through it, is nobody's report.
    k("create", "-f", "-", stdin=json.dumps({**made, "status": want}))
    true(read().get("status", {}) != want, f"{kind}: created with a status")
    generation = read()["metadata"].get("generation")
    k("patch", resource, "s", "--subresource=status", "--type=merge", "-p",
      json.dumps({"metadata": {"annotations": {"by": "status"}}, "status": want, "spec": {"replicas": 7, "suspend": False}}))
    got = read("--subresource=status")
    has(got["status"], want, kind)
    equal(got["metadata"]["annotations"]["by"], "status", kind)
    equal(got["metadata"].get("generation"), generation, f"{kind}: a report is no new generation")
    for field, value in body["spec"].items():
        if field in ("replicas", "suspend"):
            equal(got["spec"][field], value, f"{kind}: {field} written through the status")
    true(any(e.get("subresource") == "status" for e in
             json.loads(k("get", resource, "s", "-o", "json", "--show-managed-fields"))["metadata"]["managedFields"]), kind)
    k("patch", resource, "s", "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}},"status":null}')
    has(read()["status"], want, f"{kind}: status taken away through the object")
    k("delete", resource, "s")


def test_status(c):
    """Status is written by its subresource, and nothing else is."""
    for spec in KINDS:
        if spec[2] in STATUS:
            one_status(c, ("-n", "default"), *spec[:4])
    for spec in CLUSTER_KINDS:
        if spec[2] in STATUS:
            one_status(c, (), *spec[:4])
    # A quota's is counted: what another writes there does not last.
    c.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "s", "namespace": "default"},
             "spec": {"hard": {"secrets": "9"}}})
    got = json.loads(c.kubectl("patch", "quota", "s", "--subresource=status", "--type=merge", "-o", "json", "-p",
                               '{"status":{"hard":{"secrets":"5"},"used":{"secrets":"5"}}}').stdout)
    equal((got["spec"]["hard"], got["status"]["hard"]), ({"secrets": "9"}, {"secrets": "5"}), "ResourceQuota")
    wait("the quota's own count", lambda: c.get("quota", "s", "default")["status"] == {
        "hard": {"secrets": "9"}, "used": {"secrets": "0"}})
    c.kubectl("delete", "quota", "s")


def test_two_versions(c):
    """autoscaling/v1 and v2 are one object."""
    for path in kubectls():
        c.kubectl_path = path
        k = lambda *a, **kw: c.kubectl(*a, **kw).stdout
        c.apply(deployment("scaled", replicas=0))
        k("autoscale", "deployment", "scaled", "--min=1", "--max=4", "--cpu-percent=70")
        old = json.loads(k("get", "horizontalpodautoscalers.v1.autoscaling", "scaled", "-o", "json"))
        new = json.loads(k("get", "horizontalpodautoscalers.v2.autoscaling", "scaled", "-o", "json"))
        equal(old["spec"]["targetCPUUtilizationPercentage"], 70, "v1")
        equal(new["spec"]["metrics"][0]["resource"]["target"], {"type": "Utilization", "averageUtilization": 70}, "v2")
        equal(old["metadata"]["uid"], new["metadata"]["uid"], "one object")
        k("patch", "horizontalpodautoscalers.v1.autoscaling", "scaled", "-p", '{"spec":{"targetCPUUtilizationPercentage":55}}')
        new = json.loads(k("get", "horizontalpodautoscalers.v2.autoscaling", "scaled", "-o", "json"))
        equal(new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 55, "patched as v1")
        k("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "scaled", "namespace": "default"}, "spec": {
                "maxReplicas": 6, "scaleTargetRef": old["spec"]["scaleTargetRef"]}}))
        equal(json.loads(k("get", "hpa", "scaled", "-o", "json"))["spec"]["maxReplicas"], 6, "applied as v1")
        k("delete", "hpa", "scaled")
        k("delete", "deployment", "scaled")


def test_quota_and_limits(c):
    c.kubectl("create", "namespace", "bounded")
    k = lambda *a, **kw: c.kubectl("-n", "bounded", *a, **kw)
    k("create", "quota", "q", "--hard=pods=1,requests.cpu=1")
    denied = k("run", "a", f"--image={IMAGE}", check=False)
    true(denied.returncode != 0, "a pod that does not say what it needs is refused")
    contains(denied.stderr, 'pods "a" is forbidden: failed quota: q: must specify requests.cpu for: a')
    k("apply", "-f", "-", stdin=json.dumps({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"},
        "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "500m"},
                             "default": {"cpu": "200m"}}]}}))
    k("run", "a", f"--image={IMAGE}")
    got = c.get("pod", "a", "bounded")
    equal(got["spec"]["containers"][0]["resources"], {"limits": {"cpu": "200m"}, "requests": {"cpu": "100m"}})
    wait("the quota's status", lambda: c.get("resourcequota", "q", "bounded")["status"]["used"] == {
        "pods": "1", "requests.cpu": "100m"})
    contains(k("describe", "quota", "q").stdout, "requests.cpu  100m  1")
    contains(k("describe", "ns", "bounded").stdout, "requests.cpu  100m  1")
    contains(k("run", "b", f"--image={IMAGE}", check=False).stderr,
             "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1")
    k("delete", "pod", "a", "--now")
    wait("the quota's status", lambda: c.get("resourcequota", "q", "bounded")["status"]["used"]["pods"] == "0")
    k("run", "b", f"--image={IMAGE}")
    c.kubectl("delete", "namespace", "bounded", timeout=120)


def test_drain(c):
    """cordon, taint, drain by evictions that a budget holds up, uncordon."""
    node, k = c.name, lambda *a, **kw: c.kubectl(*a, **kw)
    c.apply(deployment("web", replicas=2))
    c.wait_ready("default", {"app": "web"}, 2)
    c.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "default"},
             "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}})
    wait("a counted budget", lambda: c.get("pdb", "web", "default").get("status", {}).get("currentHealthy") == 2)
    equal(c.get("pdb", "web", "default")["status"]["disruptionsAllowed"], 0, "none may go")
    stuck = k("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=3s", check=False)
    true(stuck.returncode != 0, "the budget holds the drain up")
    contains(stuck.stdout + stuck.stderr, "Cannot evict pod as it would violate the pod's disruption budget.")
    contains(k("get", "node", node).stdout, "SchedulingDisabled")
    equal(len([p for p in c.get("pods", ns="default") if "deletionTimestamp" not in p["metadata"]]), 2, "all pods are there")
    k("patch", "pdb", "web", "--type=merge", "-p", '{"spec":{"minAvailable":0}}')
    wait("a counted budget", lambda: c.get("pdb", "web", "default")["status"]["disruptionsAllowed"] == 2)
    contains(k("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s").stdout, "drained")
    k("uncordon", node)
    c.wait_ready("default", {"app": "web"}, 2)
    k("delete", "pdb", "web")
    k("taint", "node", node, "a=b:NoSchedule")
    equal(c.get("node", node)["spec"]["taints"], [{"key": "a", "value": "b", "effect": "NoSchedule"}], "taint")
    k("taint", "node", node, "a-")
    k("delete", "deployment", "web")
