# SPDX-License-Identifier: Apache-2.0
"""What is generic over kinds: watches, lists, applied fields, deletion, as clients see it over HTTP."""
import base64
import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

from lib import Cluster, contains, equal, kubectls, true, wait

NS = "/api/v1/namespaces/default"
CMS = NS + "/configmaps"
JSON, YAML = "application/json", "application/yaml"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class Connection(http.client.HTTPConnection):
    """HTTP over the daemon's socket."""

    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.socket_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)


class Answer:
    def __init__(self, response):
        self.code = response.status
        self.warnings = response.headers.get_all("Warning") or []
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


def ask(c, method, path, body=None, ctype=None, accept=None, want=None, **query):
    """One request; query values become the query string."""
    connection = Connection(c.socket)
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": ctype or JSON} if body is not None else {}
    if accept:
        headers["Accept"] = accept
    if query:
        path += "?" + urllib.parse.urlencode(query, doseq=True)
    with contextlib.closing(connection):
        connection.request(method, path, text, headers)
        answer = Answer(connection.getresponse())
    if want is not None and answer.code != want:
        true(False, f"{method} {path}: {answer.code} instead of {want}: {answer.text}")
    return answer


class Watch(threading.Thread):
    """Reads a watch to its end in a thread of its own."""

    def __init__(self, c, path, accept=None, **query):
        super().__init__(daemon=True)
        self.connection = Connection(c.socket)
        self.events, self.ended = [], False
        path += "?" + urllib.parse.urlencode({"watch": "1", **query})
        self.connection.request("GET", path, headers={"Accept": accept} if accept else {})
        self.response = self.connection.getresponse()
        self.code = self.response.status
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
            for line in self.response:
                self.events.append(json.loads(line))
        self.ended = True

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        with contextlib.suppress(OSError):
            self.connection.sock and self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(10)

    def wait(self, n, what="events"):
        wait(f"{n} {what}", lambda: len(self.events) >= n or self.ended, timeout=20)
        true(len(self.events) >= n, f"{what}: the watch ended after {self.events}")
        return self.events

    def kinds(self):
        return [(e["type"], e["object"]["metadata"].get("name")) for e in self.events]


def config_map(name, labels=None, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def cluster():
    with Cluster() as c:
        yield c


# ---- watches


def test_watch_transitions(c):
    rev = ask(c, "GET", CMS).json["metadata"]["resourceVersion"]
    sel = dict(resourceVersion=rev, labelSelector="watch=yes")
    with Watch(c, CMS, **sel) as w, Watch(c, CMS, **sel) as second, \
            Watch(c, CMS + "/w1", resourceVersion=rev) as named:
        ask(c, "POST", CMS, config_map("w1", {"watch": "yes"}), want=201)
        ask(c, "POST", CMS, config_map("w2"), want=201)
        ask(c, "PATCH", CMS + "/w1", {"data": {"a": "1"}}, MERGE, want=200)
        ask(c, "PATCH", CMS + "/w1", {"metadata": {"labels": {"watch": "no"}}}, MERGE, want=200)
        back = ask(c, "PATCH", CMS + "/w1", {"metadata": {"labels": {"watch": "yes"}}}, MERGE, want=200).json
        gone = ask(c, "DELETE", CMS + "/w1", want=200)
        equal(gone.json["details"]["kind"], "configmaps")
        w.wait(5)
        equal([t for t, _ in w.kinds()], ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"], "transitions")
        revs = [int(e["object"]["metadata"]["resourceVersion"]) for e in w.events]
        equal(revs, sorted(set(revs)), "revisions grow")
        true(revs[4] > int(back["metadata"]["resourceVersion"]), "a deletion has a revision of its own")
        second.wait(5)
        equal(second.events, w.events, "two watchers")
        named.wait(5)
        equal(named.kinds(), [("ADDED", "w1"), ("MODIFIED", "w1"), ("MODIFIED", "w1"), ("MODIFIED", "w1"),
                              ("DELETED", "w1")], "watch of one name")
    # From the middle on.
    with Watch(c, CMS, resourceVersion=revs[1], labelSelector="watch=yes") as w:
        w.wait(3)
        equal([t for t, _ in w.kinds()], ["DELETED", "ADDED", "DELETED"], "resumed")
    ask(c, "DELETE", CMS + "/w2", want=200)


def test_watch_initial_events_and_bookmarks(c):
    ask(c, "POST", CMS, config_map("b1"), want=201)
    initial = dict(sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true")
    with Watch(c, CMS, timeoutSeconds=2, **initial) as w:
        wait("the end of the initial events", lambda: any(
            e["object"]["metadata"].get("annotations", {}).get("k8s.io/initial-events-end") == "true"
            for e in w.events))
        true(("ADDED", "b1") in w.kinds(), "initial object")
        ask(c, "POST", NS + "/secrets", {"metadata": {"name": "unseen"}}, want=201)
        wait("the end", lambda: w.ended)
        last = w.events[-1]
        equal(last["type"], "BOOKMARK", "before the end")
        equal(sorted(last["object"]), ["apiVersion", "kind", "metadata"], "a bookmark holds nothing else")
        equal(last["object"]["metadata"].get("annotations"), None, "annotations of a plain bookmark")
    with Watch(c, CMS, accept=TABLE, timeoutSeconds=1, **initial) as w:
        wait("the end", lambda: w.ended)
        equal({e["object"]["kind"] for e in w.events}, {"Table"}, "table events")
        true(w.events[0]["object"]["columnDefinitions"], "columns first")
        equal(len(w.events[0]["object"]["rows"]), 1)
    with Watch(c, CMS, accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
               resourceVersion=0, timeoutSeconds=1) as w:
        w.wait(1)
        equal(w.events[0]["object"]["kind"], "PartialObjectMetadata")
    equal(ask(c, "GET", CMS, watch=1, sendInitialEvents="true").code, 422)
    future = int(ask(c, "GET", CMS).json["metadata"]["resourceVersion"]) + 3
    with Watch(c, CMS, resourceVersion=future) as w:
        for i in range(4):
            ask(c, "PATCH", CMS + "/b1", {"data": {"n": str(i)}}, MERGE, want=200)
        w.wait(1)
        equal(w.events[0]["object"]["data"]["n"], "3", "what lies behind a future revision")
    equal(ask(c, "GET", CMS, resourceVersion=future + 1000).code, 504)
    with Watch(c, "/api/v1/watch/namespaces/default/configmaps/b1", resourceVersion=0) as w:
        w.wait(1)
        equal(w.kinds(), [("ADDED", "b1")], "the old path")


def test_watch_over_restart(c):
    ask(c, "POST", CMS, config_map("r1"), want=201)
    old = ask(c, "GET", CMS).json["metadata"]["resourceVersion"]
    ask(c, "PATCH", CMS + "/r1", {"data": {"a": "1"}}, MERGE, want=200)
    c.restart()
    expired = ask(c, "GET", CMS, watch=1, resourceVersion=old)
    equal((expired.code, expired.json["reason"]), (410, "Expired"))
    contains(expired.json["message"], f"too old resource version: {old} (")
    new = ask(c, "GET", CMS).json["metadata"]["resourceVersion"]
    true(int(new) > int(old), "revisions go on")
    with Watch(c, CMS, resourceVersion=new) as w:
        ask(c, "DELETE", CMS + "/r1", want=200)
        w.wait(1)
        equal(w.kinds(), [("DELETED", "r1")])


def test_watch_that_is_not_read(c):
    """Whoever falls behind the history is told so, and everybody else goes on."""
    ask(c, "POST", CMS, config_map("slow"), want=201)
    rev = ask(c, "GET", CMS).json["metadata"]["resourceVersion"]
    connection = Connection(c.socket)
    connection.request("GET", f"{CMS}?watch=1&resourceVersion={rev}")
    response = connection.getresponse()
    for i in range(20):
        ask(c, "PATCH", CMS + "/slow", {"data": {"big": str(i % 10) * 900_000}}, MERGE, want=200)
    with Watch(c, CMS, resourceVersion=0, fieldSelector="metadata.name=slow") as w:
        w.wait(1)
    events = [json.loads(line) for line in response]
    last = events[-1]
    equal(last["type"], "ERROR", "the end")
    equal((last["object"]["kind"], last["object"]["reason"], last["object"]["code"]), ("Status", "Expired", 410))
    contains(last["object"]["message"], "too old resource version: ")
    equal({e["type"] for e in events[:-1]}, {"MODIFIED"})
    ask(c, "DELETE", CMS + "/slow", want=200)


# ---- lists


def test_pages_show_one_state(c):
    for i in range(7):
        ask(c, "POST", CMS, config_map(f"page{i}", {"page": "x"}), want=201)
    # Without a selector the server knows how many are left.
    first = ask(c, "GET", "/api/v1/configmaps", limit=2).json["metadata"]
    total = len(ask(c, "GET", "/api/v1/configmaps").json["items"])
    equal(first["remainingItemCount"], total - 2)
    page = ask(c, "GET", CMS, limit=3, labelSelector="page").json
    rev, names, values = page["metadata"]["resourceVersion"], [], []
    ask(c, "DELETE", CMS + "/page5", want=200)
    ask(c, "PATCH", CMS + "/page6", {"data": {"a": "new"}}, MERGE, want=200)
    ask(c, "POST", CMS, config_map("page4a", {"page": "x"}), want=201)
    while True:
        names += [o["metadata"]["name"] for o in page["items"]]
        values += [o.get("data") for o in page["items"]]
        equal(page["metadata"]["resourceVersion"], rev)
        token = page["metadata"].get("continue")
        if not token:
            break
        page = ask(c, "GET", CMS, limit=3, labelSelector="page", **{"continue": token}, want=200).json
    equal(names, [f"page{i}" for i in range(7)], "the state of the first page")
    equal([v for v in values if v], [], "old values")
    exact = ask(c, "GET", CMS, labelSelector="page", resourceVersion=rev, resourceVersionMatch="Exact", want=200)
    equal([o["metadata"]["name"] for o in exact.json["items"]], names)
    newer = ask(c, "GET", CMS, labelSelector="page", resourceVersion=rev, resourceVersionMatch="NotOlderThan")
    true("page4a" in newer.text, "not older than")
    for query in ({"resourceVersionMatch": "Exact"}, {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
                  {"resourceVersionMatch": "Other", "resourceVersion": "1"}, {"sendInitialEvents": "true"},
                  {"resourceVersion": rev, "resourceVersionMatch": "NotOlderThan", "continue": "x"}):
        equal(ask(c, "GET", CMS, **query).code, 422, query)
    equal(ask(c, "GET", CMS, **{"continue": "x", "resourceVersion": rev}).code, 400)
    too_new = ask(c, "GET", CMS, resourceVersion="99999999").json
    equal(too_new["details"]["causes"][0]["reason"], "ResourceVersionTooLarge")
    equal(ask(c, "GET", CMS + "/page4a", resourceVersion="99999999").code, 504)
    equal(ask(c, "GET", CMS + "/page4a", resourceVersion=rev).code, 200)
    # A token that is too old is refused even if nothing has been written since; the revision goes on.
    first = ask(c, "GET", CMS, limit=1, labelSelector="page").json["metadata"]
    token = json.loads(base64.urlsafe_b64decode(first["continue"] + "==="))
    old = base64.urlsafe_b64encode(json.dumps({**token, "t": token["t"] - 301}).encode()).decode().rstrip("=")
    expired = ask(c, "GET", CMS, limit=1, labelSelector="page", **{"continue": old})
    equal((expired.code, expired.json["reason"]), (410, "Expired"))
    rest = ask(c, "GET", CMS, limit=1, labelSelector="page", want=200,
               **{"continue": expired.json["metadata"]["continue"]}).json
    equal([o["metadata"]["name"] for o in rest["items"]], ["page1"])
    true(int(rest["metadata"]["resourceVersion"]) > int(first["resourceVersion"]), "another state")
    equal(ask(c, "DELETE", CMS, labelSelector="page").code, 200)


# ---- fields and their owners


def entries(obj):
    """{(manager, operation, subresource): fields} of an object."""
    return {(e["manager"], e["operation"], e.get("subresource", "")): e["fieldsV1"]
            for e in obj["metadata"].get("managedFields", [])}


def put_map(cluster, manager, want=200, name="fields", force=None, dry=None, meta=None, **data):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta or {}, "data": data}
    query = {"fieldManager": manager}
    if force:
        query["force"] = "true"
    if dry:
        query["dryRun"] = "All"
    return ask(cluster, "PATCH", f"{CMS}/{name}", body, APPLY, want=want, **query).json


def test_apply_owners_and_conflicts(c):
    path = CMS + "/fields"
    equal(entries(put_map(c, "me", 201, a="1", b="1")), {("me", "Apply", ""): {"f:data": {"f:a": {}, "f:b": {}}}})
    before = ask(c, "GET", path).json
    equal(put_map(c, "me", a="1", b="1"), before, "applying twice changes nothing")
    equal(entries(put_map(c, "you", 200, b="1"))[("you", "Apply", "")], {"f:data": {"f:b": {}}}, "shared field")
    clash = put_map(c, "them", 409, a="2", b="2", c="2")
    equal(clash["message"], 'Apply failed with 3 conflicts: conflicts with "me":\n- .data.a\n- .data.b\n'
                            'conflicts with "you":\n- .data.b')
    equal(clash["details"]["causes"][0],
          {"reason": "FieldManagerConflict", "message": 'conflict with "me"', "field": ".data.a"})
    dry = put_map(c, "them", force=True, dry=True, a="2")
    equal(dry["data"]["a"], "2")
    equal(ask(c, "GET", path).json["data"]["a"], "1", "a dry run stores nothing")
    forced = put_map(c, "them", force=True, a="2")
    equal(entries(forced)[("me", "Apply", "")], {"f:data": {"f:b": {}}}, "taken by force")
    put_map(c, "me")
    equal(ask(c, "GET", path).json["data"], {"a": "2", "b": "1"}, "b is still yours")
    put_map(c, "you")
    equal(ask(c, "GET", path).json["data"], {"a": "2"})
    # Updates are noted under the client's name.
    ask(c, "PATCH", path, {"data": {"u": "1"}}, MERGE, want=200, fieldManager="editor")
    obj = ask(c, "GET", path).json
    equal(entries(obj)[("editor", "Update", "")], {"f:data": {"f:u": {}}})
    clash = put_map(c, "me", 409, u="2")
    equal(clash["message"], 'Apply failed with 1 conflict: conflict with "editor" using v1: .data.u')
    put_map(c, "me", u="1")
    obj["data"]["u"] = "3"
    del obj["metadata"]["resourceVersion"], obj["metadata"]["managedFields"]
    ask(c, "PUT", path, obj, want=200, fieldManager="other")
    now = entries(ask(c, "GET", path).json)
    equal(now[("other", "Update", "")], {"f:data": {"f:u": {}}})
    true(("me", "Apply", "") not in now and ("editor", "Update", "") not in now, "a changed value is its last writer's")
    # Tracking can be reset; the next apply takes what is there for older than itself.
    for nothing in ([{}], []):
        reset = ask(c, "PATCH", path, {"metadata": {"managedFields": nothing}}, MERGE, want=200).json
        equal(reset["metadata"].get("managedFields"), None)
        again = entries(put_map(c, "me", u="3"))
        equal(again[("before-first-apply", "Update", "")]["f:data"], {".": {}, "f:a": {}, "f:u": {}})
    equal(again[("me", "Apply", "")], {"f:data": {"f:u": {}}})
    for i in range(13):
        ask(c, "PATCH", path, {"data": {f"k{i}": "1"}}, MERGE, want=200, fieldManager=f"m{i}")
    now = entries(ask(c, "GET", path).json)
    equal(sum(op == "Update" for _, op, _ in now), 10, "entries of updates")
    true(("ancient-changes", "Update", "") in now, "the oldest are merged")
    equal(ask(c, "PATCH", path, {"apiVersion": "v1", "kind": "ConfigMap"}, APPLY).code, 422, "no manager")
    equal(ask(c, "PATCH", path, {"data": {}}, MERGE, fieldManager="x" * 129).code, 422)
    equal(put_map(c, "me", 400, meta={"managedFields": [{"manager": "x"}]})["message"], "metadata.managedFields must be nil")
    equal(put_map(c, "me", 409, name="absent", meta={"uid": "x"})["reason"], "Conflict")
    ask(c, "DELETE", path, want=200)


def test_apply_zeros(c):
    """What is sent is owned, though it looks the same as nothing when it is stored."""
    path = "/apis/apps/v1/namespaces/default/deployments/zeros"

    def body(spec=None, **container):
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "zeros"},
                "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "zeros"}}, **(spec or {}),
                         "template": {"metadata": {"labels": {"app": "zeros"}, "creationTimestamp": None},
                                      "spec": {"containers": [{"name": "c", "image": "none:1", **container}]}}}}

    def apply(manager, *args, want=200, force=(), **kw):
        return ask(c, "PATCH", path, body(*args, **kw), APPLY, want=want, fieldManager=manager, **dict(force)).json
    made = apply("me", {"paused": False, "minReadySeconds": 0}, tty=False, workingDir="", command=[], resources={},
                 env=[], want=201)
    true("paused" not in made["spec"] and "tty" not in made["spec"]["template"]["spec"]["containers"][0], made["spec"])
    mine = {"f:spec": {
        "f:minReadySeconds": {}, "f:paused": {}, "f:replicas": {}, "f:selector": {}, "f:template": {
            "f:metadata": {"f:creationTimestamp": {}, "f:labels": {"f:app": {}}},
            "f:spec": {"f:containers": {'k:{"name":"c"}': {
                ".": {}, "f:command": {}, "f:image": {}, "f:name": {}, "f:resources": {}, "f:tty": {},
                "f:workingDir": {}}}}}}}
    equal(entries(made)[("me", "Apply", "")], mine)
    wait("a settled status", lambda: len(ask(c, "GET", path).json["status"].get("conditions", [])) == 2)
    settled = ask(c, "GET", path).json
    again = apply("me", {"paused": False, "minReadySeconds": 0}, tty=False, workingDir="", command=[], resources={}, env=[])
    equal(again, settled, "applying twice changes nothing")
    equal(apply("you", {"paused": True}, want=409)["message"],
          'Apply failed with 1 conflict: conflict with "me": .spec.paused')
    equal(apply("you", {"paused": True}, force={"force": "true"}.items())["spec"]["paused"], True)
    true("f:paused" not in entries(ask(c, "GET", path).json)[("me", "Apply", "")]["f:spec"], "it is yours")
    equal(apply("me", {"paused": False}, want=409)["message"],
          'Apply failed with 1 conflict: conflict with "you": .spec.paused')
    taken = apply("me", {"paused": None}, force={"force": "true"}.items())
    true("paused" not in taken["spec"], "nothing is a value, too")
    true("f:paused" in entries(taken)[("me", "Apply", "")]["f:spec"], "and has an owner")
    ask(c, "DELETE", path, want=200)


def test_status_and_scale_owners(c):
    deploys = "/apis/apps/v1/namespaces/default/deployments"
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "owned"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "owned"}},
                     "template": {"metadata": {"labels": {"app": "owned"}},
                                  "spec": {"containers": [{"name": "c", "image": "none:1"}]}}}}
    ask(c, "PATCH", deploys + "/owned", body, APPLY, want=201, fieldManager="me")
    ask(c, "PATCH", deploys + "/owned/scale", {"spec": {"replicas": 0}}, MERGE, want=200, fieldManager="scaler")
    ask(c, "PATCH", deploys + "/owned/scale", {"spec": {"replicas": 1}}, MERGE, want=200, fieldManager="scaler")
    status = {"apiVersion": "apps/v1", "kind": "Deployment",
              "status": {"conditions": [{"type": "Mine", "status": "True"}]}}
    ask(c, "PATCH", deploys + "/owned/status", status, APPLY, want=200, fieldManager="me")
    obj = ask(c, "GET", deploys + "/owned").json
    owners = entries(obj)
    equal(owners[("scaler", "Update", "scale")], {"f:spec": {"f:replicas": {}}})
    equal(owners[("me", "Apply", "status")],
          {"f:status": {"f:conditions": {'k:{"type":"Mine"}': {".": {}, "f:type": {}, "f:status": {}}}}})
    true("f:replicas" not in owners[("me", "Apply", "")]["f:spec"], "replicas are the scaler's")
    clash = ask(c, "PATCH", deploys + "/owned", body, APPLY, want=409, fieldManager="me").json
    contains(clash["message"], 'conflict with "scaler" with subresource "scale" using apps/v1: .spec.replicas')
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 2}}
    clash = ask(c, "PATCH", deploys + "/owned/scale", scale, APPLY, want=409, fieldManager="hpa").json
    contains(clash["message"], 'conflict with "scaler" with subresource "scale"')
    applied = ask(c, "PATCH", deploys + "/owned/scale", scale, APPLY, want=200, fieldManager="hpa", force="true").json
    equal((applied["kind"], applied["spec"]["replicas"]), ("Scale", 2))
    equal(entries(ask(c, "GET", deploys + "/owned").json)[("hpa", "Apply", "scale")], {"f:spec": {"f:replicas": {}}})
    ask(c, "PATCH", deploys + "/owned/scale", {"spec": {"replicas": 1}}, MERGE, want=200, fieldManager="scaler")
    bad = {**body, "spec": {**body["spec"], "replicass": 1}}
    equal(ask(c, "PATCH", deploys + "/owned", bad, APPLY, want=500, fieldManager="me").json["message"],
          "failed to create typed patch object (default/owned; apps/v1, Kind=Deployment): .spec.replicass: "
          "field not declared in schema")
    del body["spec"]["replicas"]
    equal(ask(c, "PATCH", deploys + "/owned", body, APPLY, want=200, fieldManager="me").json["spec"]["replicas"], 1)
    ask(c, "DELETE", deploys + "/owned", want=200)


def test_owners_of_what_controllers_make(c):
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "made"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "made"}},
                     "template": {"metadata": {"labels": {"app": "made"}},
                                  "spec": {"containers": [{"name": "c", "image": "none:1"}]}}}}
    ask(c, "POST", "/apis/apps/v1/namespaces/default/deployments", body, want=201, fieldManager="me")
    pods = NS + "/pods?labelSelector=app%3Dmade"
    name = wait("a pod", lambda: ask(c, "GET", pods).json["items"])[0]["metadata"]["name"]
    path = f"{NS}/pods/{name}"
    wait("its status", lambda: ask(c, "GET", path).json["status"].get("containerStatuses"))
    equal(entries(ask(c, "GET", path).json), {}, "nobody has asked yet")
    applied = {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"app": "mine", "own": "1"}}}
    clash = ask(c, "PATCH", path, applied, APPLY, want=409, fieldManager="you").json
    equal(clash["message"],
          'Apply failed with 1 conflict: conflict with "kube-controller-manager" using v1: .metadata.labels.app')
    ask(c, "PATCH", path, {"metadata": {"labels": {"own": "1"}}}, MERGE, want=200, fieldManager="labeller")
    owners = entries(ask(c, "GET", path).json)
    equal(set(owners), {("kube-controller-manager", "Update", ""), ("kubelet", "Update", "status"),
                        ("labeller", "Update", "")})
    equal(owners[("labeller", "Update", "")], {"f:metadata": {"f:labels": {"f:own": {}}}})
    true("f:phase" in owners[("kubelet", "Update", "status")]["f:status"], "status is the kubelet's")
    spec = owners[("kube-controller-manager", "Update", "")]["f:spec"]
    true("f:image" in spec["f:containers"]['k:{"name":"c"}'], "the rest its controller's")
    # Who wants no record gets none.
    ask(c, "PATCH", path, {"metadata": {"managedFields": [{}]}}, MERGE, want=200, fieldManager="labeller")
    equal(entries(ask(c, "GET", path).json), {})
    deployment = ask(c, "GET", "/apis/apps/v1/namespaces/default/deployments/made").json
    equal(set(entries(deployment)), {("me", "Update", ""), ("kube-controller-manager", "Update", "")})
    ask(c, "DELETE", "/apis/apps/v1/namespaces/default/deployments/made", want=200)


def test_owners_in_versions(c):
    """Who set what is told in the version that he wrote, and holds in all of them."""
    def path(version):
        return f"/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers"

    def owners(obj):
        return {(e["manager"], e["apiVersion"]): e["fieldsV1"] for e in obj["metadata"]["managedFields"]}
    body = {"metadata": {"name": "h"}, "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3,
        "targetCPUUtilizationPercentage": 70}}
    made = ask(c, "POST", path("v1"), body, want=201, fieldManager="old").json
    old = {"f:spec": {"f:maxReplicas": {}, "f:minReplicas": {}, "f:scaleTargetRef": {},
                      "f:targetCPUUtilizationPercentage": {}}}
    equal(owners(made), {("old", "autoscaling/v1"): old})
    equal(owners(ask(c, "GET", path("v2") + "/h").json), owners(made))
    ask(c, "PATCH", path("v1") + "/h", {"spec": {"maxReplicas": 4}}, MERGE, want=200, fieldManager="more")
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    applied = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"metrics": [metric]}}
    clash = ask(c, "PATCH", path("v2") + "/h", applied, APPLY, want=409, fieldManager="new").json
    equal(clash["message"], 'Apply failed with 1 conflict: conflict with "old" using autoscaling/v1: '
                            '.spec.targetCPUUtilizationPercentage')
    ask(c, "PATCH", path("v2") + "/h", applied, APPLY, want=200, fieldManager="new", force="true")
    now = ask(c, "GET", path("v1") + "/h").json
    equal(now["spec"]["targetCPUUtilizationPercentage"], 50)
    equal(owners(now), {("old", "autoscaling/v1"): {"f:spec": {"f:minReplicas": {}, "f:scaleTargetRef": {}}},
                        ("more", "autoscaling/v1"): {"f:spec": {"f:maxReplicas": {}}},
                        ("new", "autoscaling/v2"): {"f:spec": {"f:metrics": {}}}})
    status = {"status": {"currentReplicas": 2, "desiredReplicas": 2}}
    ask(c, "PATCH", path("v1") + "/h/status", status, MERGE, want=200, fieldManager="scaler")
    true(("scaler", "autoscaling/v1") in owners(ask(c, "GET", path("v1") + "/h").json), "status, too")
    ask(c, "DELETE", path("v1") + "/h", want=200)


def test_kubectl_server_side(c):
    path = f"{c.disk}/ssa.yaml"

    def manifest(replicas, ports):
        labels = {"app": "ssa"}
        with open(path, "w") as f:
            json.dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ssa", "labels": labels},
                       "spec": {**({} if replicas is None else {"replicas": replicas}),
                                "selector": {"matchLabels": labels},
                                "template": {"metadata": {"labels": labels},
                                             "spec": {"containers": [{"name": "c", "image": "none:1",
                                                                      "ports": ports}]}}}}, f)

    tcp, udp = {"containerPort": 53, "name": "t"}, {"containerPort": 53, "name": "u", "protocol": "UDP"}
    for kubectl in kubectls():
        c.kubectl_path = kubectl
        k = lambda *a, **kw: c.kubectl(*a, **kw)
        ssa = lambda *a, **kw: k("apply", "--server-side", "-f", path, *a, **kw)
        manifest(0, [tcp, udp])
        equal(ssa().stdout, "deployment.apps/ssa serverside-applied\n")
        k("scale", "deployment/ssa", "--replicas=1")
        p = ssa(check=False)
        equal(p.returncode, 1, "conflict")
        contains(p.stderr, f'Apply failed with 1 conflict: conflict with "{os.path.basename(kubectl)}" with '
                           'subresource "scale" using apps/v1: .spec.replicas')
        contains(p.stderr, "--force-conflicts")
        ssa("--force-conflicts")
        equal(k("get", "deployment", "ssa", "-o", "jsonpath={.spec.replicas}").stdout, "0")
        manifest(None, [udp])
        diff = k("diff", "--server-side", "-f", path, check=False)
        equal(diff.returncode, 1, "diff")
        contains(diff.stdout, "-  replicas: 0")
        ssa()
        got = json.loads(k("get", "deployment", "ssa", "-o", "json", "--show-managed-fields").stdout)
        equal(got["spec"]["replicas"], 1, "what is not applied any more falls back to its default")
        equal([p["protocol"] for p in got["spec"]["template"]["spec"]["containers"][0]["ports"]], ["UDP"])
        true(got["metadata"]["managedFields"], "--show-managed-fields")
        k("delete", "deployment", "ssa")
        # From client-side apply to server-side apply and back.
        manifest(0, [tcp])
        k("apply", "-f", path)
        manifest(2, [tcp])
        equal(ssa().stdout, "deployment.apps/ssa serverside-applied\n", "no conflict with oneself")
        contains(k("apply", "view-last-applied", "deployment/ssa").stdout, "replicas: 2")
        owners = entries(json.loads(k("get", "deployment", "ssa", "-o", "json", "--show-managed-fields").stdout))
        true(("kubectl", "Apply", "") in owners and "f:spec" not in owners.get(
            ("kubectl-client-side-apply", "Update", ""), {}), f"owners after the change: {sorted(owners)}")
        contains(k("apply", "-f", path).stdout, "deployment.apps/ssa")
        k("delete", "deployment", "ssa")
    wait("no pods", lambda: not c.get("pods"))


# ---- deletion


def gone(c, path):
    return wait(f"{path} to go", lambda: ask(c, "GET", path).code == 404, timeout=10)


def owner(obj, **more):
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"],
            "uid": obj["metadata"]["uid"], **more}


def make(c, name, ns="default", want=201, **meta):
    return ask(c, "POST", f"/api/v1/namespaces/{ns}/configmaps",
               {"metadata": {"name": name, **meta}}, want=want).json


def test_names_and_finalizers(c):
    name = ask(c, "POST", CMS, {"metadata": {"generateName": "x" * 70}}, want=201).json["metadata"]["name"]
    equal((len(name), name[:58]), (63, "x" * 58))
    ask(c, "DELETE", f"{CMS}/{name}", want=200)
    obj = make(c, "fin", finalizers=["x.y/z"])
    held = ask(c, "DELETE", CMS + "/fin", want=200).json
    equal(held["kind"], "ConfigMap", "what stays is answered as it is")
    true(held["metadata"]["deletionTimestamp"], "marked")
    more = ask(c, "PATCH", CMS + "/fin", {"metadata": {"finalizers": ["x.y/z", "a/b"]}}, MERGE, want=422)
    contains(more.json["message"], 'Forbidden: no new finalizers can be added if the object is being deleted, '
                                   'found new finalizers []string{"a/b"}')
    with Watch(c, CMS, resourceVersion=held["metadata"]["resourceVersion"]) as w:
        last = ask(c, "PATCH", CMS + "/fin", {"metadata": {"finalizers": None}}, MERGE, want=200).json
        equal(last["metadata"].get("finalizers"), None, "the writer is answered what he wrote")
        w.wait(1)
        equal(w.kinds(), [("DELETED", "fin")])
    gone(c, CMS + "/fin")
    obj = make(c, "pre")
    for wrong in ({"uid": "x"}, {"resourceVersion": "1"}):
        equal(ask(c, "DELETE", CMS + "/pre", {"preconditions": wrong}).json["reason"], "Conflict")
    for bad in ({"propagationPolicy": "Never"}, {"propagationPolicy": "Orphan", "orphanDependents": True},
                {"dryRun": ["Some"]}):
        equal(ask(c, "DELETE", CMS + "/pre", bad).code, 422, bad)
    equal(ask(c, "DELETE", CMS + "/pre", {"dryRun": ["All"]}, want=200).json["status"], "Success")
    done = ask(c, "DELETE", CMS + "/pre", {"preconditions": {
        "uid": obj["metadata"]["uid"], "resourceVersion": obj["metadata"]["resourceVersion"]}}, want=200).json
    equal(done["details"], {"name": "pre", "kind": "configmaps", "uid": obj["metadata"]["uid"]})


def test_uid_and_version(c):
    """Of a PUT they are preconditions, of a patch the uid is a change."""
    uid = make(c, "uid")["metadata"]["uid"]
    path, other = CMS + "/uid", {"metadata": {"name": "uid", "uid": "other"}}
    contains(ask(c, "PUT", path, other, want=409).json["message"],
             f"Precondition failed: UID in precondition: other, UID in object meta: {uid}")
    replace = [{"op": "replace", "path": "/metadata/uid", "value": "other"}]
    applied = {"apiVersion": "v1", "kind": "ConfigMap", **other}
    for body, ctype, query in ((other, MERGE, {}), (replace, "application/json-patch+json", {}),
                               (other, "application/strategic-merge-patch+json", {}),
                               (applied, APPLY, {"fieldManager": "me"})):
        answer = ask(c, "PATCH", path, body, ctype, want=422, **query).json
        equal(answer["message"], 'ConfigMap "uid" is invalid: metadata.uid: Invalid value: "other": field is immutable')
        equal(answer["details"]["causes"][0]["field"], "metadata.uid")
    stale = {"metadata": {"uid": "other", "resourceVersion": "1"}}
    contains(ask(c, "PATCH", path, stale, MERGE, want=409).json["message"], "the object has been modified")
    ask(c, "PATCH", path, {"metadata": {"uid": None}}, MERGE, want=200)
    ask(c, "DELETE", path, want=200)
    # What is made has no version yet, so that one that is given says nothing.
    applied["metadata"] = {"name": "uid", "resourceVersion": "1"}
    ask(c, "PATCH", path, applied, APPLY, want=201, fieldManager="me")
    contains(ask(c, "PATCH", path, applied, APPLY, want=409, fieldManager="me").json["message"],
             "the object has been modified")
    ask(c, "DELETE", path, want=200)


def test_garbage(c):
    a = make(c, "a")
    make(c, "a1", ownerReferences=[owner(a, blockOwnerDeletion=True)])
    make(c, "a2", ownerReferences=[owner(a, blockOwnerDeletion=True)], finalizers=["x.y/z"])
    equal(ask(c, "DELETE", CMS + "/a", {"propagationPolicy": "Foreground"}, want=200).json["metadata"]["finalizers"],
          ["foregroundDeletion"])
    gone(c, CMS + "/a1")
    equal(ask(c, "GET", CMS + "/a").code, 200, "waits for what blocks it")
    ask(c, "PATCH", CMS + "/a2", {"metadata": {"finalizers": None}}, MERGE, want=200)
    gone(c, CMS + "/a2")
    gone(c, CMS + "/a")
    b = make(c, "bb")
    make(c, "bb1", ownerReferences=[owner(b)])
    ask(c, "DELETE", CMS + "/bb", {"orphanDependents": True}, want=200)
    gone(c, CMS + "/bb")
    equal(ask(c, "GET", CMS + "/bb1", want=200).json["metadata"].get("ownerReferences"), None)
    # Owners that do not exist, are called otherwise, or live elsewhere.
    ask(c, "POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}}, want=201)
    b1 = ask(c, "GET", CMS + "/bb1").json
    make(c, "g1", ownerReferences=[{**owner(b1), "uid": "7e7e7e7e-0000-4000-8000-000000000000"}])
    make(c, "g2", ownerReferences=[{**owner(b1), "name": "other"}])
    make(c, "g3", "elsewhere", ownerReferences=[owner(b1)])
    two = make(c, "g4", ownerReferences=[owner(b1), {**owner(b1), "name": "other", "uid": "7"}])
    equal(len(two["metadata"]["ownerReferences"]), 2)
    for path in (CMS + "/g1", CMS + "/g2", "/api/v1/namespaces/elsewhere/configmaps/g3"):
        gone(c, path)
    wait("the dangling reference to go", lambda: len(
        ask(c, "GET", CMS + "/g4").json["metadata"]["ownerReferences"]) == 1)
    events = ask(c, "GET", "/api/v1/namespaces/elsewhere/events").json["items"]
    equal([e["reason"] for e in events], ["OwnerRefInvalidNamespace"])
    # A circle can still be deleted, though each of it blocks the next.
    x = make(c, "x")
    y = make(c, "y", ownerReferences=[owner(x, blockOwnerDeletion=True)])
    z = make(c, "z", ownerReferences=[owner(y, blockOwnerDeletion=True)])
    ask(c, "PATCH", CMS + "/x", {"metadata": {"ownerReferences": [owner(z, blockOwnerDeletion=True)]}}, MERGE, want=200)
    ask(c, "DELETE", CMS + "/x", {"propagationPolicy": "Foreground"}, want=200)
    for name in "xyz":
        gone(c, f"{CMS}/{name}")
    # Who has another owner stays when one goes in the foreground.
    p, q = make(c, "p"), make(c, "q")
    make(c, "both", ownerReferences=[owner(p, blockOwnerDeletion=True), owner(q)])
    make(c, "only", ownerReferences=[owner(p, blockOwnerDeletion=True)])
    ask(c, "DELETE", CMS + "/p", {"propagationPolicy": "Foreground"}, want=200)
    gone(c, CMS + "/only")
    gone(c, CMS + "/p")
    equal(ask(c, "GET", CMS + "/both", want=200).json["metadata"]["ownerReferences"], [owner(q)])
    ask(c, "DELETE", CMS + "/q", want=200)
    gone(c, CMS + "/both")
    ask(c, "DELETE", CMS + "/bb1", want=200)
    gone(c, CMS + "/g4")


def test_deletecollection(c):
    for i in range(6):
        make(c, f"c{i}", labels={"coll": "x"})
    equal(len(ask(c, "DELETE", CMS, labelSelector="coll", dryRun="All", want=200).json["items"]), 6)
    first = ask(c, "DELETE", CMS, labelSelector="coll", limit=2, want=200).json
    equal((first["kind"], len(first["items"])), ("ConfigMapList", 2))
    true(first["metadata"]["continue"], "more is left")
    equal(len(ask(c, "GET", CMS, labelSelector="coll").json["items"]), 4)
    equal(len(ask(c, "DELETE", CMS, labelSelector="coll", fieldSelector="metadata.name=c5").json["items"]), 1)
    equal(len(ask(c, "DELETE", CMS, labelSelector="coll", want=200).json["items"]), 3)
    equal(ask(c, "DELETE", CMS, labelSelector="coll", resourceVersionMatch="Exact").code, 422)
    equal(ask(c, "DELETE", "/api/v1/configmaps", labelSelector="coll").code, 405, "in all namespaces")
    equal(len(ask(c, "DELETE", CMS, labelSelector="coll").json["items"]), 0)


def test_namespaces_go(c):
    ask(c, "POST", "/api/v1/namespaces", {"metadata": {"name": "going"}}, want=201)
    make(c, "held", "going", finalizers=["x.y/z"])
    make(c, "free", "going")
    answer = ask(c, "DELETE", "/api/v1/namespaces/going", want=200).json
    equal((answer["kind"], answer["status"]["phase"]), ("Namespace", "Terminating"))

    def conditions():
        status = ask(c, "GET", "/api/v1/namespaces/going").json["status"]
        return {x["type"]: (x["status"], x["message"]) for x in status.get("conditions", [])}

    wait("conditions", lambda: conditions().get("NamespaceFinalizersRemaining", ("",))[0] == "True")
    equal(conditions()["NamespaceContentRemaining"],
          ("True", "Some resources are remaining: configmaps. has 1 resource instances"))
    equal(conditions()["NamespaceFinalizersRemaining"],
          ("True", "Some content in the namespace has finalizers remaining: x.y/z in 1 resource instances"))
    refused = make(c, "late", "going", want=403)
    contains(refused["message"], "unable to create new content in namespace going because it is being terminated")
    equal(refused["details"]["causes"][0]["reason"], "NamespaceTerminating")
    ask(c, "PATCH", "/api/v1/namespaces/going/configmaps/held", {"metadata": {"finalizers": None}}, MERGE, want=200)
    gone(c, "/api/v1/namespaces/going")
    # A finalizer of somebody else's, taken out by PUT .../finalize.
    ask(c, "POST", "/api/v1/namespaces", {"metadata": {"name": "kept"}, "spec": {"finalizers": ["a.b/c"]}}, want=201)
    ask(c, "DELETE", "/api/v1/namespaces/kept", want=200)
    obj = wait("the content to go", lambda: [o for o in [ask(c, "GET", "/api/v1/namespaces/kept").json]
                                             if o["spec"]["finalizers"] == ["a.b/c"]])[0]
    obj["spec"]["finalizers"] = []
    ask(c, "PUT", "/api/v1/namespaces/kept/finalize", obj, want=200)
    gone(c, "/api/v1/namespaces/kept")


def test_orphans_by_default(c):
    """Jobs and ReplicationControllers keep their pods unless told otherwise, and Jobs say so."""
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    job = {"metadata": {"name": "j"}, "spec": {"suspend": True, "template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none:1"}]}}}}
    made = ask(c, "POST", jobs, job, want=201).json
    make(c, "child", ownerReferences=[owner(made)])
    answer = ask(c, "DELETE", jobs + "/j", want=200)
    contains("".join(answer.warnings), "child pods are preserved by default when jobs are deleted")
    gone(c, jobs + "/j")
    equal(ask(c, "GET", CMS + "/child", want=200).json["metadata"].get("ownerReferences"), None)
    made = ask(c, "POST", jobs, job, want=201).json
    equal(ask(c, "DELETE", jobs + "/j", {"propagationPolicy": "Background"}, want=200).warnings, [])
    ask(c, "DELETE", CMS + "/child", want=200)


# ---- what bodies may hold

DEPLOYS = "/apis/apps/v1/namespaces/default/deployments"
BAD = """{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"},
 "spec": {"unknown1": "x", "unknownDupe": "x", "unknownDupe": "y", "paused": true, "paused": false, "replicas": 0,
  "selector": {"matchLabels": {"app": "bad"}}, "template": {"metadata": {"labels": {"app": "bad"}},
  "spec": {"containers": [{"name": "c", "image": "none:1", "unknownNested": "x",
    "imagePullPolicy": "Always", "imagePullPolicy": "Never"}]}}}}"""
BAD_YAML = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: bad
spec:
  unknown1: x
  paused: true
  paused: false
  replicas: 0
  selector: {matchLabels: {app: bad}}
  template:
    metadata: {labels: {app: bad}}
    spec:
      containers:
      - name: c
        image: none:1
        unknownNested: x
"""
IN_ORDER = ['unknown field "spec.unknown1"', 'unknown field "spec.unknownDupe"', 'duplicate field "spec.paused"',
            'unknown field "spec.template.spec.containers[0].unknownNested"',
            'duplicate field "spec.template.spec.containers[0].imagePullPolicy"']
IN_PATCH = ['duplicate field "spec.unknownDupe"', IN_ORDER[2], IN_ORDER[4], IN_ORDER[3], IN_ORDER[0], IN_ORDER[1]]
FROM_YAML = ['line 8: key "paused" already set in map', IN_ORDER[3], IN_ORDER[0]]


def warnings(answer):
    return [w.split(" - ", 1)[1][1:-1].replace('\\"', '"') for w in answer.warnings]


def test_field_validation(c):
    def strict(*args, want=400):
        return ask(c, *args, want=want, fieldValidation="Strict").json["message"]

    smp, ops = "application/strategic-merge-patch+json", "application/json-patch+json"
    front = 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
    equal(strict("POST", DEPLOYS, BAD, JSON), front + ", ".join(IN_ORDER))
    equal(strict("POST", DEPLOYS, BAD_YAML, YAML),
          front + "yaml: unmarshal errors:\n  " + ", ".join(FROM_YAML))
    equal(warnings(ask(c, "POST", DEPLOYS, BAD_YAML, YAML, want=201)), FROM_YAML, "Warn is the default")
    ask(c, "DELETE", DEPLOYS + "/bad", want=200)
    equal(warnings(ask(c, "POST", DEPLOYS, BAD, JSON, want=201, fieldValidation="Warn")), IN_ORDER)
    equal(ask(c, "PUT", DEPLOYS + "/bad", BAD, JSON, want=200, fieldValidation="Ignore").warnings, [])
    for kind in (MERGE, smp):
        message = strict("PATCH", DEPLOYS + "/bad", BAD, kind, want=422)
        contains(message, ' "" is invalid: patch: Invalid value: ')
        true(message.endswith(": strict decoding error: " + ", ".join(IN_PATCH)), message)
        equal(warnings(ask(c, "PATCH", DEPLOYS + "/bad", BAD, kind, want=200)), IN_PATCH, kind)
    patch = '[{"op":"add","path":"/spec/unknown1","path":"/spec/unknown1","value":1,"foo":2}]'
    found = ['json patch duplicate field "[0].path"', 'json patch unknown field "[0].foo"', IN_ORDER[0]]
    true(strict("PATCH", DEPLOYS + "/bad", patch, ops, want=422).endswith(", ".join(found)), "operations")
    equal(warnings(ask(c, "PATCH", DEPLOYS + "/bad", patch, ops, want=200)), found)
    wrong = ask(c, "PATCH", DEPLOYS + "/bad", {"spec": {"replicas": "x"}}, MERGE, want=422).json
    equal([x["field"] for x in wrong["details"]["causes"]], ["patch"])
    true("kind" not in wrong["details"], "it is the request that is invalid")
    contains(wrong["message"], "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas")
    # Apply never lets unknown fields through; duplicates follow fieldValidation.
    known = BAD_YAML.replace("  unknown1: x\n", "").replace("        unknownNested: x\n", "")
    apply = dict(fieldManager="me", force="true")
    contains(ask(c, "PATCH", DEPLOYS + "/bad", BAD_YAML, APPLY, want=500, fieldValidation="Ignore", **apply).text,
             '.spec.template.spec.containers[name=\\"c\\"].unknownNested: field not declared in schema')
    equal(ask(c, "PATCH", DEPLOYS + "/bad", known, APPLY, want=400, fieldValidation="Strict", **apply).json["message"],
          "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
          '  line 7: key "paused" already set in map')
    equal(warnings(ask(c, "PATCH", DEPLOYS + "/bad", known, APPLY, want=200, **apply)),
          ['line 7: key "paused" already set in map'])
    contains(ask(c, "POST", DEPLOYS, BAD, JSON, want=422, fieldValidation="Most").json["message"],
             'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Most"')
    ask(c, "DELETE", DEPLOYS + "/bad", want=200)


def test_dry_run(c):
    services = NS + "/services"
    before = ask(c, "GET", "/api/v1/configmaps").json["metadata"]["resourceVersion"]
    made = ask(c, "POST", services, {"metadata": {"name": "dry"}, "spec": {"ports": [{"port": 80}]}},
               want=201, dryRun="All").json
    true(made["metadata"]["uid"] and made["spec"]["clusterIP"], "as if it were stored")
    ask(c, "POST", "/api/v1/namespaces", {"metadata": {"name": "dry"}}, want=201, dryRun="All")
    ask(c, "PATCH", CMS + "/kube-root-ca.crt", {"data": {"x": "y"}}, MERGE, want=200, dryRun="All")
    ask(c, "DELETE", CMS + "/kube-root-ca.crt", want=200, dryRun="All")
    ask(c, "DELETE", "/api/v1/namespaces/kube-node-lease", want=200, dryRun="All")
    ask(c, "PATCH", "/api/v1/nodes/" + c.name, {"metadata": {"labels": {"a": "b"}}}, MERGE, want=200, dryRun="All")
    equal(ask(c, "GET", "/api/v1/configmaps").json["metadata"]["resourceVersion"], before, "nothing was written")
    contains(ask(c, "POST", services, {}, want=422, dryRun="Some").text, "CreateOptions")


# ---- forms of answers


def test_accept(c):
    kinds = {"PartialObjectMetadata": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
             "Table": TABLE, "ConfigMap": "application/vnd.kubernetes.protobuf, */*"}
    for kind, accept in kinds.items():
        made = ask(c, "POST", CMS, config_map("form"), JSON, accept, want=201).json
        equal(made["kind"], kind, "POST")
        equal(ask(c, "PATCH", CMS + "/form", {"data": {"a": "b"}}, MERGE, accept, want=200).json["kind"], kind, "PATCH")
        equal(ask(c, "PUT", CMS + "/form", config_map("form"), JSON, accept, want=200).json["kind"], kind, "PUT")
        equal(ask(c, "GET", CMS + "/form", accept=accept, want=200).json["kind"], kind, "GET")
        equal(ask(c, "DELETE", CMS + "/form", accept=accept, want=200).json["kind"], "Status", "DELETE")
    equal(ask(c, "GET", CMS, accept=PARTIAL, want=200).json["items"][0]["kind"], "PartialObjectMetadata")
    contains(ask(c, "GET", CMS, accept=kinds["PartialObjectMetadata"], want=406).text, "is a list")
    contains(ask(c, "GET", CMS + "/kube-root-ca.crt", accept=PARTIAL, want=406).text, "is not a list")
    # What could not be answered is not done.
    ask(c, "POST", CMS, config_map("form"), JSON, "text/html", want=406)
    ask(c, "DELETE", CMS + "/kube-root-ca.crt", accept="application/json;as=Table;v=v9;g=meta.k8s.io", want=406)
    ask(c, "GET", CMS + "/form", want=404)
    ask(c, "GET", CMS + "/kube-root-ca.crt", want=200)
    equal(ask(c, "GET", CMS, accept="application/vnd.kubernetes.protobuf", want=406).json["message"],
          "only the following media types are accepted: application/json, application/yaml", "what is there")
    ask(c, "GET", CMS, accept="application/vnd.kubernetes.protobuf, */*", want=200)
    equal(ask(c, "GET", CMS, accept="application/yaml;q=0.5, application/json;q=0.9").text[:1], "{", "quality")
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    equal(ask(c, "POST", reviews, review, JSON, TABLE, want=406).json["reason"], "NotAcceptable")
    ask(c, "POST", reviews, review, JSON, TABLE + "," + JSON, want=201)


def test_discovery_and_documents(c):
    for path in ("/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1", "/version", "/openapi/v3"):
        equal(ask(c, "GET", path, want=200).json, ask(c, "GET", path + "/", want=200).json, path)
    true("/apis/apps/v1" in ask(c, "GET", "/", want=200).json["paths"], "paths")
    version = ask(c, "GET", "/version").json
    true(re.fullmatch(r"[0-9a-f]{40}|", version["gitCommit"]), version)
    true(version["gitTreeState"] in ("clean", "dirty", "archive", ""), version)
    true(time.strptime(version["buildDate"], "%Y-%m-%dT%H:%M:%SZ"), version)
    equal(ask(c, "GET", "/readyz?verbose", want=200).text, "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]shutdown ok\n"
                                                          "readyz check passed\n")
    resources = ask(c, "GET", "/apis/apps/v1").json["resources"]
    equal({r["name"]: r.get("storageVersionHash") for r in resources if r["name"].startswith("deployments")},
          {"deployments": "8aSe+NMegvE=", "deployments/scale": None, "deployments/status": None})
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = ask(c, "GET", "/apis", accept=accept, want=200)
    equal(groups.headers["Content-Type"], accept)
    equal(again(c, "/apis", groups, Accept=accept), 304)
    url = ask(c, "GET", "/openapi/v3").json["paths"]["apis/apps/v1"]["serverRelativeURL"]
    document = ask(c, "GET", url, want=200)
    equal(document.headers.get_all("Cache-Control"), ["public, immutable"])
    equal(document.headers["ETag"], '"' + url.split("hash=")[1] + '"')
    equal(again(c, url, document), 304)
    moved = ask(c, "GET", url.split("hash=")[0] + "hash=OLD", want=301)
    equal(moved.headers["Location"], url)
    equal(ask(c, "GET", "/openapi/v3/apis/apps/v1/", want=200).text, document.text)
    equal(again(c, "/openapi/v2", ask(c, "GET", "/openapi/v2", want=200)), 304)


def again(c, path, answer, **headers):
    connection = Connection(c.socket)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"If-None-Match": answer.headers["ETag"], **headers})
        got = connection.getresponse()
        # Clients put its headers over those that they have.
        true(got.headers["Content-Type"] in (None, answer.headers["Content-Type"]), f"type of a 304 of {path}")
        return got.status


# ---- many objects, many watchers


PACE = """
import socket, sys, time, select
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
worst = n = 0
while True:
    start = time.monotonic()
    s.sendall(b"GET /livez HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    s.recv(4096)
    worst, n = max(worst, time.monotonic() - start), n + 1
    if select.select([sys.stdin], [], [], 0.0005)[0]:
        if not sys.stdin.readline():
            break
        print(worst * 1000, n, flush=True)
        worst = n = 0
"""


class Pace:
    """Asks /livez over and over in a process of its own; worst() is the longest wait in milliseconds
    since it was last asked."""

    def __init__(self, c):
        self.process = subprocess.Popen([sys.executable, "-c", PACE, c.socket], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def worst(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[0])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.wait(10)


def rss(c):
    with open(f"/proc/{c.daemon.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_many_objects(c):
    n = 5000
    small = rss(c) < 30_000  # not so with sanitizers
    connection = Connection(c.socket)
    for i in range(n):
        connection.request("POST", CMS, json.dumps(config_map(f"many{i:04}", {"many": "x", "half": str(i % 2)},
                                                              data="v" * 800)), {"Content-Type": JSON})
        equal(connection.getresponse().read()[:1], b"{")
    print("   RSS with 5,000 objects:", rss(c), "kB")
    true(rss(c) < 40_000 or not small, "memory of 5,000 objects")
    with Pace(c) as pace:
        print(f"   idle: slowest answer {pace.worst():.1f} ms")
        for query, accept in (({}, None), ({"labelSelector": "half=1"}, None), ({}, TABLE), ({}, PARTIAL),
                              ({"labelSelector": "half=1"}, YAML)):
            start = time.monotonic()
            got = ask(c, "GET", CMS, accept=accept, want=200, **query)
            took, worst = time.monotonic() - start, pace.worst()
            count = got.text.count("half:" if accept == YAML else '"half"')
            true(count >= (n if not query else n // 2), f"{count} items of {query} {accept}")
            print(f"   list {query} {accept or JSON}: {took:.3f} s, slowest other answer {worst:.1f} ms")
        with contextlib.ExitStack() as stack:
            watches = [stack.enter_context(Watch(c, CMS, labelSelector="fan")) for _ in range(100)]
            pace.worst()
            ask(c, "POST", CMS, config_map("fan", {"fan": "out"}), want=201)
            for w in watches:
                w.wait(1)
            print(f"   fan-out to 100 watches: slowest other answer {pace.worst():.1f} ms")
            ask(c, "PATCH", CMS + "/fan", {"data": {"big": "x" * 900_000}}, MERGE, want=200)
            for w in watches:
                w.wait(2)
            print(f"   900 kB to 100 watches: slowest other answer {pace.worst():.1f} ms; RSS {rss(c)} kB")
        equal(ask(c, "DELETE", CMS, labelSelector="many").code, 200)
        print(f"   deletecollection of 5,000: slowest other answer {pace.worst():.1f} ms")
    equal(len(ask(c, "GET", CMS, labelSelector="many").json["items"]), 0)
