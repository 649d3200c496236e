# SPDX-License-Identifier: Apache-2.0
"""What test_clients.py does with Python's Kubernetes client library. Usage: scenarios.py KUBECONFIG
SCENARIO NAMESPACE [ARGUMENT...]; prints JSON, one value a line. Its twin is node/scenarios.mjs."""
import json
import select
import sys
import time
from datetime import datetime, timezone

import urllib3
from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

IMAGE = "coracle.local/hello:1"


def say(value):
    print(json.dumps(value), flush=True)


def failure(call, *args, **kw):
    """The Status of a call that has to fail, as [code, reason, message]."""
    try:
        call(*args, **kw)
    except ApiException as e:
        status = json.loads(e.body)
        return [e.status, status["reason"], status["message"]]
    return None


# -- objects of several kinds

def deployment(name):
    labels = {"app": name}
    return client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name, labels=labels),
        spec=client.V1DeploymentSpec(
            replicas=0, selector=client.V1LabelSelector(match_labels=labels),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=labels),
                spec=client.V1PodSpec(containers=[client.V1Container(name="main", image=IMAGE)]))))


def crud(ns):
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    for n in range(5):
        core.create_namespaced_config_map(ns, client.V1ConfigMap(
            metadata=client.V1ObjectMeta(name=f"c{n}", labels={"n": str(n % 2)}), data={"k": str(n)}))
    core.create_namespaced_secret(ns, client.V1Secret(
        metadata=client.V1ObjectMeta(name="s"), string_data={"password": "p"}))
    core.create_namespaced_service(ns, client.V1Service(
        metadata=client.V1ObjectMeta(name="svc"),
        spec=client.V1ServiceSpec(selector={"a": "b"}, ports=[client.V1ServicePort(port=80)])))
    apps.create_namespaced_deployment(ns, deployment("web"))
    labelled = core.list_namespaced_config_map(ns, label_selector="n=1").items
    one = core.list_namespaced_config_map(ns, field_selector="metadata.name=c3").items
    page = core.list_namespaced_config_map(ns, limit=2)
    names = [c.metadata.name for c in page.items]
    while page.metadata._continue:
        page = core.list_namespaced_config_map(ns, limit=2, _continue=page.metadata._continue)
        names += [c.metadata.name for c in page.items]
    c = core.read_namespaced_config_map("c0", ns)
    stale = core.read_namespaced_config_map("c0", ns)
    c.data = {"k": "new"}
    replaced = core.replace_namespaced_config_map("c0", ns, c)
    core.delete_namespaced_config_map("c4", ns)
    scale = apps.read_namespaced_deployment_scale("web", ns)
    say({"labelled": [c.metadata.name for c in labelled], "one": [c.metadata.name for c in one],
         "pages": names, "replaced": replaced.data,
         "conflict": failure(core.replace_namespaced_config_map, "c0", ns, stale),
         "secret": core.read_namespaced_secret("s", ns).data, "scale": scale.spec.replicas,
         "cluster ip": bool(core.read_namespaced_service("svc", ns).spec.cluster_ip),
         "missing": failure(core.read_namespaced_config_map, "c4", ns),
         "exists": failure(core.create_namespaced_config_map, ns,
                           client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c0"))),
         "invalid": failure(core.create_namespaced_config_map, ns,
                            client.V1ConfigMap(metadata=client.V1ObjectMeta(name="Bad_Name")))})
    core.delete_collection_namespaced_config_map(ns, label_selector="n")
    say([c.metadata.name for c in core.list_namespaced_config_map(ns).items])


def patches(ns):
    apps = client.AppsV1Api()
    apps.create_namespaced_deployment(ns, deployment("p"))
    resource = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="apps/v1", kind="Deployment")

    def patch(kind, body, **kw):
        d = resource.patch(body=body, name="p", namespace=ns, content_type=f"application/{kind}", **kw)
        return {c["name"]: c["image"] for c in d.to_dict()["spec"]["template"]["spec"]["containers"]}

    def template(containers):
        return {"spec": {"template": {"spec": {"containers": containers}}}}

    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "p"},
               **template([{"name": "applied", "image": "x:4"}])}
    say({"strategic": patch("strategic-merge-patch+json", template([{"name": "side", "image": "x:1"}])),
         "merge": patch("merge-patch+json", template([{"name": "only", "image": "x:2"}])),
         "json": patch("json-patch+json", [{"op": "replace", "path": "/spec/template/spec/containers/0/image",
                                            "value": "x:3"}]),
         "test": failure(patch, "json-patch+json", [{"op": "test", "path": "/spec/replicas", "value": 7}])[:1],
         "apply": patch("apply-patch+yaml", json.dumps(applied), field_manager="python")})


def dynamic_client(ns):
    """A kind that the library has no class for."""
    d = dynamic.DynamicClient(client.ApiClient())
    resource = d.resources.get(api_version="example.com/v1", kind="Widget")
    resource.create(namespace=ns, body={"apiVersion": "example.com/v1", "kind": "Widget",
                                        "metadata": {"name": "w"}, "spec": {"size": 3}})
    got = resource.get(name="w", namespace=ns)
    names = [w.metadata.name for w in resource.get(namespace=ns).items]
    resource.delete(name="w", namespace=ns)
    bad = failure(resource.create, namespace=ns, body={
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "bad"}, "spec": {"size": "large"}})
    say({"size": got.spec.size, "names": names, "invalid": bad[:2]})


# -- streams

def follow(ns, pod):
    """The pod's log to its end."""
    w = watch.Watch()
    for line in w.stream(client.CoreV1Api().read_namespaced_pod_log, pod, ns, follow=True):
        say(line)


def informer(ns):
    """Lists, then watches; goes on after the daemon was away. Ends with its standard input."""
    core, cache = client.CoreV1Api(), {}

    def told(kind, c):
        say([kind, c.metadata.name, (c.data or {}).get("k")])
        cache.pop(c.metadata.name, None) if kind == "DELETED" else cache.update({c.metadata.name: c})

    def list_all():
        got = core.list_namespaced_config_map(ns, label_selector="informer")
        now = {c.metadata.name: c for c in got.items}
        for name in [n for n in cache if n not in now]:
            told("DELETED", cache[name])
        for name, c in now.items():
            if name not in cache or cache[name].metadata.resource_version != c.metadata.resource_version:
                told("MODIFIED" if name in cache else "ADDED", c)
        return got.metadata.resource_version

    version = None
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            version = version or list_all()
            w = watch.Watch()
            for e in w.stream(core.list_namespaced_config_map, ns, label_selector="informer",
                              resource_version=version, timeout_seconds=1, allow_watch_bookmarks=True):
                version = e["raw_object"]["metadata"]["resourceVersion"]
                if e["type"] != "BOOKMARK":
                    told(e["type"], e["object"])
        except ApiException as e:
            if e.status not in (404, 410, 500, 503):
                raise
            version = None
        except (urllib3.exceptions.HTTPError, OSError):
            time.sleep(0.1)


# -- leader election

def micro():
    return datetime.now(timezone.utc)


def try_lead(api, ns, me, release=False):
    """Takes, renews or gives back the Lease; False when it is another's or somebody was quicker."""
    now = micro()
    spec = client.V1LeaseSpec(holder_identity="" if release else me, lease_duration_seconds=2,
                              acquire_time=now, renew_time=now)
    try:
        lease = api.read_namespaced_lease("leader", ns)
    except ApiException as e:
        if e.status != 404:
            raise
        body = client.V1Lease(metadata=client.V1ObjectMeta(name="leader"), spec=spec)
        return failure(api.create_namespaced_lease, ns, body) is None
    old = lease.spec
    if old.holder_identity not in (None, "", me) and \
            (now - old.renew_time).total_seconds() < old.lease_duration_seconds:
        return False
    spec.lease_transitions = (old.lease_transitions or 0) + (old.holder_identity != me)
    lease.spec = spec
    return failure(api.replace_namespaced_lease, "leader", ns, lease) is None


def leader(ns, me, times):
    api, left = client.CoordinationV1Api(), int(times)
    while left:
        if not try_lead(api, ns, me):
            time.sleep(0.02)
            continue
        start = time.time()
        time.sleep(0.1)
        end = time.time()
        if try_lead(api, ns, me, release=True):
            say([me, start, end])
            left -= 1
        time.sleep(0.05)


def main():
    config.load_kube_config(sys.argv[1])
    scenarios = {"crud": crud, "patches": patches, "dynamic": dynamic_client, "follow": follow,
                 "informer": informer, "leader": leader}
    scenarios[sys.argv[2]](*sys.argv[3:])


if __name__ == "__main__":
    main()
