# SPDX-License-Identifier: Apache-2.0
"""CustomResourceDefinitions and their objects, as operators, Helm and kubectl use them."""
import http.client
import json
import os
import signal
import socket
import subprocess
import time

from crd_bundle import bundle, widget, widgets
from lib import Cluster, contains, equal, kubectls, true, wait

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class Connection(http.client.HTTPConnection):
    """HTTP over the daemon's socket."""

    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.socket_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)


def ask(c, method, path, body=None, kind=JSON, accept=JSON):
    """(code, answer, warnings)"""
    conn = Connection(c.socket)
    text = body if isinstance(body, (str, type(None))) else json.dumps(body)
    conn.request(method, path, text, {"Accept": accept, **({"Content-Type": kind} if text else {})})
    r = conn.getresponse()
    data = r.read().decode()
    warnings = r.headers.get_all("Warning") or []
    conn.close()
    try:
        return r.status, json.loads(data), warnings
    except ValueError:
        return r.status, data, warnings


def made(c, method, path, body=None, kind=JSON, code=(200, 201)):
    got, answer, _ = ask(c, method, path, body, kind)
    true(got in code, f"{method} {path}: {got} {answer}")
    return answer


def refused(c, method, path, body, code, *texts, kind=JSON):
    got, answer, _ = ask(c, method, path, body, kind)
    equal(got, code, f"{method} {path}: {answer}")
    for t in texts:
        contains(answer["message"], t, "message")
    return answer


def condition(crd, name):
    for k in crd.get("status", {}).get("conditions") or []:
        if k["type"] == name:
            return k
    return {}


def define(c, crd, established=True):
    made(c, "POST", CRDS, crd)
    name = crd["metadata"]["name"]
    if established:
        wait("established " + name, lambda: condition(made(c, "GET", CRDS + "/" + name),
                                                      "Established").get("status") == "True")


def remove(c, name):
    made(c, "DELETE", CRDS + "/" + name)
    wait("gone " + name, lambda: ask(c, "GET", CRDS + "/" + name)[0] == 404)


def cluster():
    with Cluster() as c:
        yield c


# ---- definitions


def test_life_of_a_definition(c):
    answer = made(c, "POST", CRDS, widgets())
    equal(answer["spec"]["names"]["singular"], "widget", "default")
    equal(answer["spec"]["names"]["listKind"], "WidgetList", "default")
    equal(answer["spec"]["conversion"], {"strategy": "None"}, "default")
    equal(answer["status"]["storedVersions"], ["v1"], "storedVersions")
    equal(answer["metadata"]["generation"], 1, "generation")
    wait("served", lambda: ask(c, "GET", WIDGETS)[0] == 200)
    crd = made(c, "GET", CRDS + "/widgets.example.com")
    equal(condition(crd, "NamesAccepted")["reason"], "NoConflicts", "NamesAccepted")
    equal(condition(crd, "Established")["reason"], "InitialNamesAccepted", "Established")
    equal(crd["status"]["acceptedNames"]["plural"], "widgets", "acceptedNames")
    equal(crd["status"]["acceptedNames"]["shortNames"], ["wd"], "acceptedNames")
    refused(c, "POST", CRDS, widgets(), 409, 'customresourcedefinitions.apiextensions.k8s.io '
            '"widgets.example.com" already exists')
    made(c, "POST", WIDGETS, widget("one"))
    answer = made(c, "DELETE", CRDS + "/widgets.example.com")
    contains(json.dumps(answer["metadata"]["finalizers"]), "customresourcecleanup", "finalizer")
    wait("gone", lambda: ask(c, "GET", CRDS + "/widgets.example.com")[0] == 404)
    equal(ask(c, "GET", WIDGETS)[0], 404, "the kind has gone")
    define(c, widgets())
    equal(made(c, "GET", WIDGETS)["items"], [], "objects went with the definition")
    remove(c, "widgets.example.com")


def test_definitions_that_are_refused(c):
    def bad(change, *texts):
        crd = widgets()
        change(crd)
        refused(c, "POST", CRDS, crd, 422, "CustomResourceDefinition.apiextensions.k8s.io", *texts)

    def schema(crd):
        return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    bad(lambda d: d["metadata"].update(name="other"),
        'metadata.name: Invalid value: "other": must be spec.names.plural+"."+spec.group')
    bad(lambda d: d["spec"].update(scope="Galaxy"),
        'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"')
    bad(lambda d: d["spec"]["versions"][1].update(storage=True),
        "must have exactly one version marked as storage version")
    bad(lambda d: d["spec"]["versions"][0].pop("schema"),
        "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required")
    bad(lambda d: schema(d)["properties"]["spec"].pop("type"),
        "spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: "
        "must not be empty for specified object fields")
    bad(lambda d: schema(d)["properties"]["spec"]["properties"]["tags"].update(uniqueItems=True),
        "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
    bad(lambda d: schema(d)["properties"]["spec"]["properties"]["size"].update(default="x"),
        "must be of type integer")
    bad(lambda d: d["spec"].update(preserveUnknownFields=True), "spec.preserveUnknownFields")
    bad(lambda d: (d["spec"].update(group="x.k8s.io"), d["metadata"].update(name="widgets.x.k8s.io")),
        "protected groups must have approval annotation")


def test_status_of_a_definition(c):
    define(c, widgets())
    path = CRDS + "/widgets.example.com/status"
    crd = made(c, "GET", path)
    crd["status"]["conditions"].append({"type": "Own", "status": "True", "reason": "R", "message": "M",
                                        "lastTransitionTime": "2024-01-01T00:00:00Z"})
    crd["spec"]["names"]["shortNames"] = ["no"]
    crd = made(c, "PUT", path, crd)
    equal(condition(crd, "Own")["message"], "M", "status")
    equal(crd["spec"]["names"]["shortNames"], ["wd"], "nothing else")
    made(c, "PATCH", path, [{"op": "add", "path": "/status/conditions", "value": [
        {"type": "Patched", "status": "True", "reason": "R", "message": "M"}]}], "application/json-patch+json")
    wait("served again", lambda: condition(made(c, "GET", path), "Established").get("status") == "True")
    equal(condition(made(c, "GET", path), "Patched")["status"], "True", "patched")
    made(c, "POST", WIDGETS, widget("a"))
    remove(c, "widgets.example.com")


def test_what_objects_are(c):
    """Of custom kinds, and of objects inside them, nobody guesses what they are."""
    define(c, widgets())
    bad = widget("a")
    refused(c, "POST", WIDGETS, {**bad, "kind": ""}, 400, "Widget in version \"v1\" cannot be handled as a Widget: "
            "Object 'Kind' is missing in '{\"apiVersion\": ")
    refused(c, "POST", WIDGETS, {**bad, "apiVersion": ""}, 500,
            "Object 'apiVersion' is missing in 'object has no apiVersion field'")
    answer = refused(c, "POST", WIDGETS, {**bad, "kind": "Other"}, 422,
                     'Other.example.com "a" is invalid: kind: Invalid value: "Other": must be Widget')
    equal(answer["details"]["causes"][0]["field"], "kind")
    made(c, "POST", WIDGETS, bad)
    refused(c, "PATCH", WIDGETS + "/a", {"kind": None}, 422, "Object 'Kind' is missing in", kind=MERGE)
    refused(c, "PATCH", WIDGETS + "/a", {"apiVersion": "example.com/v7"}, 422,
            'apiVersion: Invalid value: "example.com/v7": must be example.com/v1', kind=MERGE)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "x": 1}

    def embedded(code, text, **changes):
        refused(c, "POST", WIDGETS, widget("e", template={**pod, **changes}), code, "spec.template." + text)
    embedded(422, "kind: Required value: must not be empty", kind=None)
    embedded(422, 'kind: Invalid value: "": must not be empty', kind="")
    embedded(422, 'kind: Invalid value: "a pod": may have mixed case, but should otherwise match: a DNS-1035', kind="a pod")
    embedded(422, 'apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c', apiVersion="a/b/c")
    embedded(400, "kind: Invalid value: 1: must be a string", kind=1)
    embedded(400, 'metadata: Invalid value: "x": json: cannot unmarshal string', metadata="x")
    embedded(400, 'metadata: Invalid value: {"name":1}: json: cannot unmarshal number', metadata={"name": 1})
    embedded(422, "metadata.name: Invalid value: \"a/b\": may not contain '/'", metadata={"name": "a/b"})
    embedded(422, 'metadata.namespace: Invalid value: "A"', metadata={"namespace": "A"})
    embedded(422, 'metadata.labels: Invalid value: "a b": ', metadata={"labels": {"a b": "c"}})
    embedded(422, 'metadata.annotations: Invalid value: "a b": ', metadata={"annotations": {"a b": "c"}})
    embedded(422, 'metadata.finalizers: Invalid value: "a b": ', metadata={"finalizers": ["a b"]})
    embedded(422, "metadata.ownerReferences.uid: Required value", metadata={
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]})
    kept = made(c, "POST", WIDGETS, widget("e", template={**pod, "metadata": {"name": "x", "odd": 1}}))
    equal(kept["spec"]["template"], {**pod, "metadata": {"name": "x"}})
    equal(made(c, "POST", WIDGETS, widget("f", template={**pod, "metadata": None}))["spec"]["template"]["metadata"], {})
    remove(c, "widgets.example.com")


def test_many_definitions(c):
    for i in range(10):
        crd = widgets(plural=f"many{i}s", kind=f"Many{i}", short=f"m{i}")
        crd["metadata"]["labels"] = {"many": "yes"}
        made(c, "POST", CRDS, crd)
    wait("served", lambda: len(made(c, "GET", "/apis/example.com/v1")["resources"]) == 30)
    equal(len(made(c, "GET", CRDS + "?labelSelector=many%3Dyes")["items"]), 10, "list")
    made(c, "DELETE", CRDS + "?labelSelector=many%3Dyes")
    wait("gone", lambda: not made(c, "GET", CRDS + "?labelSelector=many%3Dyes")["items"])
    equal(ask(c, "GET", "/apis/example.com/v1")[0], 404, "not served")


def test_name_conflicts(c):
    define(c, widgets())
    define(c, widgets(plural="gadgets", kind="Gadget", short="wd"), established=False)
    crd = wait("judged", lambda: (lambda d: d if condition(d, "NamesAccepted") else None)(
        made(c, "GET", CRDS + "/gadgets.example.com")))
    equal(condition(crd, "NamesAccepted")["reason"], "ShortNamesConflict", "reason")
    contains(condition(crd, "NamesAccepted")["message"], '"wd" is already in use', "message")
    equal(condition(crd, "Established")["status"], "False", "not served")
    equal(ask(c, "GET", "/apis/example.com/v1/gadgets")[0], 404, "not served")
    remove(c, "widgets.example.com")
    wait("its turn", lambda: ask(c, "GET", "/apis/example.com/v1/gadgets")[0] == 200)
    remove(c, "gadgets.example.com")


# ---- objects


def test_objects(c):
    define(c, widgets())
    try:
        objects(c)
        versions(c)
        subresources(c)
        patches(c)
    finally:
        remove(c, "widgets.example.com")


def objects(c):
    obj = made(c, "POST", WIDGETS, widget("a", note=None, ports=[{"name": "http"}], free={"any": {"thing": 1}}))
    equal(obj["spec"]["color"], "red", "default")
    equal(obj["spec"]["ports"], [{"name": "http", "port": 80}], "default in a list")
    equal(obj["spec"]["note"], None, "nullable")
    equal(obj["spec"]["free"], {"any": {"thing": 1}}, "preserved")
    equal(obj["metadata"]["generation"], 1, "generation")
    path = WIDGETS + "/a"

    def bad(*texts, **spec):
        refused(c, "POST", WIDGETS, widget("b", **spec), 422, 'Widget.example.com "b" is invalid', *texts)

    bad('spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"', size="x")
    bad("spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1", size=0)
    bad('spec.color: Unsupported value: "pink": supported values: "red", "green", "blue"', color="pink")
    bad('spec.schedule: Invalid value: "x": spec.schedule in body should match', schedule="x")
    bad('spec.since: Invalid value: "x": spec.since in body must be of type date-time: "x"', since="x")
    bad('spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
        port=True)
    bad("spec.note: Too long: may not be more than 10 bytes", note="far too long for it")
    bad('spec.tags[1]: Duplicate value: "x"', tags=["x", "x"])
    bad('spec.ports[1]: Duplicate value: {"name":"n"}', ports=[{"name": "n"}, {"name": "n"}])
    bad('"spec.source" must validate one and only one schema (oneOf). Found none valid', source={})
    bad("spec.template.apiVersion: Required value: must not be empty", template={"x": 1})
    refused(c, "POST", WIDGETS, {**widget("b"), "spec": {}}, 422, "spec.size: Required value")
    refused(c, "POST", WIDGETS + "?fieldValidation=Strict", widget("b", bogus=1), 400,
            'strict decoding error: unknown field "spec.bogus"')
    code, obj, warnings = ask(c, "POST", WIDGETS, widget("b", bogus=1, schedule="*/5 * * * *"))
    equal(code, 201, "warned only")
    contains(" ".join(warnings), 'unknown field \\"spec.bogus\\"', "warning")
    true("bogus" not in obj["spec"], "pruned")
    obj["spec"]["size"] = 4
    obj = made(c, "PUT", WIDGETS + "/b", obj)
    equal(obj["metadata"]["generation"], 2, "generation counts")
    refused(c, "PUT", WIDGETS + "/b", widget("b"), 422, "metadata.resourceVersion: Invalid value:",
            "must be specified for an update")
    equal([o["metadata"]["name"] for o in made(c, "GET", WIDGETS)["items"]], ["a", "b"], "list")
    made(c, "PATCH", path, {"spec": {"color": "blue"}}, MERGE)
    got = made(c, "GET", WIDGETS + "?fieldSelector=spec.color%3Dblue")["items"]
    equal([o["metadata"]["name"] for o in got], ["a"], "selectable field")
    refused(c, "GET", WIDGETS + "?fieldSelector=spec.size%3D3", None, 400, "field label not supported: spec.size")
    table = made(c, "GET", WIDGETS + "/b", None) and ask(c, "GET", WIDGETS, accept=TABLE)[1]
    equal([h["name"] for h in table["columnDefinitions"]], ["Name", "Size", "Ready", "Color", "Age"], "columns")
    equal(table["rows"][1]["cells"][:4], ["b", 4, None, "red"], "cells")


def versions(c):
    old = WIDGETS.replace("v1", "v1beta1")
    code, obj, warnings = ask(c, "GET", old + "/a")
    equal(obj["apiVersion"], "example.com/v1beta1", "version asked for")
    contains(" ".join(warnings), "example.com/v1beta1 Widget is deprecated; use example.com/v1 Widget", "warning")
    equal(made(c, "GET", old)["items"][0]["apiVersion"], "example.com/v1beta1", "list")
    made(c, "POST", old, widget("old", v="v1beta1"))
    stored = made(c, "GET", WIDGETS + "/old")
    equal(stored["apiVersion"], "example.com/v1", "stored version")
    equal(stored["metadata"]["managedFields"][0]["apiVersion"], "example.com/v1beta1", "version that was written")
    refused(c, "POST", old, widget("bad", v="v1beta1", size="x"), 422, "must be of type integer")
    events = watch(c, old, 3)
    equal({e["object"]["apiVersion"] for e in events}, {"example.com/v1beta1"}, "watch")
    equal(events[0]["type"], "ADDED", "watch")


def watch(c, path, n):
    conn = Connection(c.socket, timeout=20)
    conn.request("GET", path + "?watch=1&timeoutSeconds=20", headers={"Accept": JSON})
    r = conn.getresponse()
    events = [json.loads(r.readline()) for _ in range(n)]
    conn.close()
    return events


def subresources(c):
    path = WIDGETS + "/a"
    obj = made(c, "GET", path)
    generation = obj["metadata"]["generation"]
    obj["status"] = {"replicas": 2, "selector": "app=a", "conditions": [{"type": "Ready", "status": "True"}]}
    true("status" not in made(c, "PUT", path, obj), "status is not written through the object")
    obj = made(c, "GET", path)
    obj["status"] = {"replicas": 2, "selector": "app=a", "conditions": [{"type": "Ready", "status": "True"}]}
    obj["spec"]["size"] = 99
    obj = made(c, "PUT", path + "/status", obj)
    equal(obj["status"]["replicas"], 2, "status")
    equal((obj["spec"]["size"], obj["metadata"]["generation"]), (3, generation), "nothing else")
    table = ask(c, "GET", WIDGETS, accept=TABLE)[1]
    equal(table["rows"][0]["cells"][2], "True", "filter in a column")
    scale = made(c, "GET", path + "/scale")
    equal(scale["spec"], {"replicas": 1}, "scale")
    equal(scale["status"], {"replicas": 2, "selector": "app=a"}, "scale")
    scale["spec"]["replicas"] = 5
    equal(made(c, "PUT", path + "/scale", scale)["spec"], {"replicas": 5}, "scaled")
    equal(made(c, "GET", path)["spec"]["replicas"], 5, "scaled")
    made(c, "PATCH", path + "/scale", {"spec": {"replicas": 6}}, MERGE)
    equal(made(c, "GET", path)["spec"]["replicas"], 6, "scaled")


def patches(c):
    path = WIDGETS + "/a"
    refused(c, "PATCH", path, {}, 415, "accepted media types include",
            kind="application/strategic-merge-patch+json")
    made(c, "PATCH", path, [{"op": "replace", "path": "/spec/size", "value": 8}], "application/json-patch+json")
    refused(c, "PATCH", path, {"spec": {"size": 1000}}, 422, "should be less than or equal to 100", kind=MERGE)
    one = {**widget("ssa", tags=["a"], ports=[{"name": "x", "port": 1}])}
    made(c, "PATCH", WIDGETS + "/ssa?fieldManager=m1", one, APPLY)
    two = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "ssa"},
           "spec": {"tags": ["b"], "ports": [{"name": "y", "port": 2}]}}
    obj = made(c, "PATCH", WIDGETS + "/ssa?fieldManager=m2", two, APPLY)
    equal(sorted(obj["spec"]["tags"]), ["a", "b"], "a set is merged")
    equal(sorted(p["name"] for p in obj["spec"]["ports"]), ["x", "y"], "a map list is merged")
    two["spec"]["size"] = 5
    refused(c, "PATCH", WIDGETS + "/ssa?fieldManager=m2", two, 409, ".spec.size", kind=APPLY)
    one["spec"].pop("tags")
    obj = made(c, "PATCH", WIDGETS + "/ssa?fieldManager=m1", one, APPLY)
    equal(obj["spec"]["tags"], ["b"], "what is no longer applied goes")
    made(c, "DELETE", WIDGETS)
    equal(made(c, "GET", WIDGETS)["items"], [], "deletecollection")


def test_fields_that_nobody_knows(c):
    define(c, widgets())
    text = """apiVersion: example.com/v1
kind: Widget
metadata:
  name: u
  unknownMeta: 1
spec:
  size: 1
  free:
    foo: 1
    foo: 2
  template:
    apiVersion: v1
    kind: X
    metadata: {name: z, unknownSub: 3}
"""
    strict = WIDGETS + "?fieldValidation=Strict"
    refused(c, "POST", strict, text, 400, 'line 10: key "foo" already set in map', kind="application/yaml")
    path = WIDGETS + "/u?fieldManager=a&fieldValidation="
    known = text.replace("unknownMeta: 1", "generateName: u").replace(", unknownSub: 3", "")
    refused(c, "PATCH", path + "Strict", known, 400, 'line 10: key "foo" already set in map', kind=APPLY)
    refused(c, "PATCH", path + "Ignore", text, 500, ".metadata.unknownMeta: field not declared in schema",
            ".spec.template.metadata.unknownSub: field not declared in schema", kind=APPLY)
    text = text.replace("    foo: 2\n", "")
    refused(c, "POST", strict, text, 400, 'unknown field "metadata.unknownMeta"',
            'unknown field "spec.template.metadata.unknownSub"', kind="application/yaml")
    obj = made(c, "POST", WIDGETS + "?fieldValidation=Ignore", text, kind="application/yaml")
    equal(obj["spec"]["template"]["metadata"], {"name": "z"}, "metadata inside an object")
    # what has no schema is owned by its parts
    for manager, free in (("a", {"x": {"one": 1, "two": 2}}), ("b", {"x": {"three": 3}}), ("a", {"x": {"one": 1}})):
        obj = made(c, "PATCH", WIDGETS + "/s?fieldManager=" + manager, widget("s", free=free), APPLY)
    equal(obj["spec"]["free"], {"x": {"one": 1, "three": 3}}, "merged")
    remove(c, "widgets.example.com")


def test_a_definition_changes(c):
    define(c, widgets())
    made(c, "POST", WIDGETS, widget("a", labels={"x": "y"}))
    crd = made(c, "GET", CRDS + "/widgets.example.com")
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["fresh"] = {"type": "string", "default": "new"}
    spec.pop("labels")
    crd = made(c, "PUT", CRDS + "/widgets.example.com", crd)
    equal(crd["metadata"]["generation"], 2, "generation")
    obj = made(c, "GET", WIDGETS + "/a")
    equal(obj["spec"]["fresh"], "new", "defaults apply to what is stored")
    true("labels" not in obj["spec"], "what is unknown now is pruned")
    # another storage version, and the old one no longer served
    crd["spec"]["versions"][0].update(storage=False, served=False)
    crd["spec"]["versions"][1].update(storage=True)
    crd = made(c, "PUT", CRDS + "/widgets.example.com", crd)
    equal(crd["status"]["storedVersions"], ["v1", "v1beta1"], "storedVersions")
    equal(ask(c, "GET", WIDGETS)[0], 404, "not served")
    equal(made(c, "GET", WIDGETS.replace("v1", "v1beta1") + "/a")["apiVersion"], "example.com/v1beta1", "kept")
    crd["spec"]["versions"].pop(0)
    refused(c, "PUT", CRDS + "/widgets.example.com", crd, 422, "v1 was previously a storage version")
    remove(c, "widgets.example.com")


def test_an_ending_kind(c):
    define(c, widgets())
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    made(c, "POST", WIDGETS, held)
    made(c, "DELETE", CRDS + "/widgets.example.com")
    wait("being deleted", lambda: "deletionTimestamp" in made(c, "GET", WIDGETS + "/held")["metadata"])
    refused(c, "POST", WIDGETS, widget("late"), 405, "create not allowed while custom resource definition is")
    crd = made(c, "GET", CRDS + "/widgets.example.com")
    equal(condition(crd, "Terminating")["status"], "True", "Terminating")
    made(c, "PATCH", WIDGETS + "/held", {"metadata": {"finalizers": None}}, MERGE)
    wait("gone", lambda: ask(c, "GET", CRDS + "/widgets.example.com")[0] == 404)


def test_generic_controllers(c):
    define(c, widgets())
    made(c, "POST", "/api/v1/namespaces", {"metadata": {"name": "crd-ns"}})
    path = "/apis/example.com/v1/namespaces/crd-ns/widgets"
    owner = made(c, "POST", path, widget("owner"))
    child = widget("child")
    child["metadata"]["ownerReferences"] = [{"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner",
                                             "uid": owner["metadata"]["uid"]}]
    made(c, "POST", path, child)
    cm = {"metadata": {"name": "data", "ownerReferences": child["metadata"]["ownerReferences"]}}
    made(c, "POST", "/api/v1/namespaces/crd-ns/configmaps", cm)
    made(c, "DELETE", path + "/owner")
    wait("collected", lambda: ask(c, "GET", path + "/child")[0] == 404)
    wait("collected", lambda: ask(c, "GET", "/api/v1/namespaces/crd-ns/configmaps/data")[0] == 404)
    made(c, "POST", path, widget("left"))
    made(c, "DELETE", "/api/v1/namespaces/crd-ns")
    wait("namespace gone", lambda: ask(c, "GET", "/api/v1/namespaces/crd-ns")[0] == 404)
    equal(made(c, "GET", "/apis/example.com/v1/widgets")["items"], [], "its objects went")
    remove(c, "widgets.example.com")


def test_discovery(c):
    equal(ask(c, "GET", "/apis/example.com")[0], 404, "before")
    before = made(c, "GET", "/openapi/v3")["paths"]
    define(c, widgets())
    group = made(c, "GET", "/apis/example.com")
    equal([v["version"] for v in group["versions"]], ["v1", "v1beta1"], "versions")
    equal(group["preferredVersion"]["version"], "v1", "preferred")
    names = {r["name"]: r for r in made(c, "GET", "/apis/example.com/v1")["resources"]}
    equal(sorted(names), ["widgets", "widgets/scale", "widgets/status"], "resources")
    equal(names["widgets"]["shortNames"], ["wd"], "short names")
    equal(names["widgets/scale"]["group"], "autoscaling", "scale")
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = ask(c, "GET", "/apis", accept=accept)[1]["items"]
    mine = [g for g in groups if g["metadata"]["name"] == "example.com"][0]
    equal(mine["versions"][0]["resources"][0]["responseKind"],
          {"group": "example.com", "version": "v1", "kind": "Widget"}, "aggregated")
    after = made(c, "GET", "/openapi/v3")["paths"]
    true("apis/example.com/v1" in after and "apis/example.com/v1" not in before, "document")
    equal(before["apis/apps/v1"], after["apis/apps/v1"], "others stay")
    doc = made(c, "GET", after["apis/example.com/v1"]["serverRelativeURL"])
    schema = doc["components"]["schemas"]["com.example.v1.Widget"]
    equal(schema["x-kubernetes-group-version-kind"],
          [{"group": "example.com", "version": "v1", "kind": "Widget"}], "gvk")
    equal(schema["properties"]["spec"]["properties"]["size"]["maximum"], 100, "schema")
    v2 = made(c, "GET", "/openapi/v2")["definitions"]["com.example.v1.Widget"]
    true("oneOf" not in json.dumps(v2), "v2 has no oneOf")
    crd = made(c, "GET", CRDS + "/widgets.example.com")
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["extra"] = {"type": "object"}
    made(c, "PUT", CRDS + "/widgets.example.com", crd)
    again = made(c, "GET", "/openapi/v3")["paths"]
    true(again["apis/example.com/v1"] != after["apis/example.com/v1"], "a new hash")
    remove(c, "widgets.example.com")
    true("apis/example.com/v1" not in made(c, "GET", "/openapi/v3")["paths"], "document gone")
    equal(ask(c, "GET", "/apis/example.com")[0], 404, "after")


# ---- clients


def test_kubectl(c):
    for path in kubectls():
        c.kubectl_path = path
        c.kubectl("create", "-f", "-", stdin=json.dumps(widgets()))
        c.kubectl("wait", "--for", "condition=established", "crd/widgets.example.com", "--timeout=30s")
        contains(c.kubectl("get", "crd").stdout, "widgets.example.com", "get crd")
        kubectl_objects(c)
        for _ in range(3):  # the cache of the client takes 304 for the documents it has
            contains(c.kubectl("api-versions").stdout, "example.com/v1beta1", "api-versions")
        c.kubectl("delete", "crd", "widgets.example.com")
        failed = c.kubectl("get", "widgets", check=False)
        true("doesn't have a resource type" in failed.stderr or "could not find" in failed.stderr, failed.stderr)


def kubectl_objects(c):
    c.kubectl("apply", "-f", "-", stdin=json.dumps(widget("kube", tags=["x"])))
    again = c.kubectl("apply", "-f", "-", stdin=json.dumps(widget("kube", tags=["x"])))
    contains(again.stdout, "widget.example.com/kube unchanged", "apply")
    c.kubectl("apply", "-f", "-", stdin=json.dumps(widget("kube", tags=["y"])))
    equal(json.loads(c.kubectl("get", "wd", "kube", "-o", "json").stdout)["spec"]["tags"], ["y"], "applied")
    c.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(widget("server", size=4)))
    out = c.kubectl("get", "widgets").stdout.splitlines()
    equal(out[0].split(), ["NAME", "SIZE", "READY", "AGE"], "columns")
    equal(out[1].split()[:2], ["kube", "3"], "row")
    contains(c.kubectl("get", "all").stdout, "widget.example.com/kube", "category")
    contains(c.kubectl("explain", "widgets.spec.size").stdout, "integer", "explain")
    bad = c.kubectl("apply", "-f", "-", stdin=json.dumps(widget("bad", bogus=1)), check=False)
    contains(bad.stderr, 'unknown field "spec.bogus"', "validation")
    bad = c.kubectl("create", "-f", "-", stdin=json.dumps(widget("bad", size="x")), check=False)
    contains(bad.stderr, "must be of type integer", "validation")
    c.kubectl("patch", "wd", "kube", "--type", "merge", "-p", '{"spec":{"color":"green"}}')
    c.kubectl("scale", "widget/kube", "--replicas=3")
    obj = json.loads(c.kubectl("get", "wd/kube", "-o", "json").stdout)
    equal((obj["spec"]["color"], obj["spec"]["replicas"]), ("green", 3), "patch and scale")
    c.kubectl("label", "wd", "kube", "a=b")
    equal(c.kubectl("get", "wd", "-l", "a=b", "-o", "name").stdout.strip(), "widget.example.com/kube", "labels")
    c.kubectl("patch", "wd", "kube", "--subresource=status", "--type", "merge", "-p",
              '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}')
    c.kubectl("wait", "--for", "condition=ready", "wd/kube", "--timeout=20s")
    seen = c.popen_kubectl("get", "wd", "-w", "-o", "name", stdout=subprocess.PIPE)
    try:
        equal(seen.stdout.readline().strip(), "widget.example.com/kube", "watch")
        equal(seen.stdout.readline().strip(), "widget.example.com/server", "watch")
        c.kubectl("delete", "wd", "server")
        equal(seen.stdout.readline().strip(), "widget.example.com/server", "watch")
    finally:
        seen.kill()
        seen.wait()
        seen.stdout.close()
    contains(c.kubectl("describe", "wd", "kube").stdout, "Kind:         Widget", "describe")


def test_coracle(c):
    define(c, widgets())
    contains(c.coracle("apply", "-f", "-", stdin=json.dumps(widget("own", tags=["x"], labels={"a": "b"}))).stdout,
             "widget.example.com/own created", "apply")
    contains(c.coracle("apply", "-f", "-", stdin=json.dumps(widget("own", tags=["x"], labels={"a": "b"}))).stdout,
             "unchanged", "apply")
    c.coracle("apply", "-f", "-", stdin=json.dumps(widget("own", tags=["y"], labels={"c": "d"})))
    obj = json.loads(c.coracle("get", "wd", "own", "-o", "json").stdout)
    equal((obj["spec"]["tags"], obj["spec"]["labels"]), (["y"], {"c": "d"}), "applied")
    equal(c.coracle("get", "widgets").stdout.split()[:4], ["NAME", "SIZE", "READY", "AGE"], "columns")
    contains(c.coracle("get", "all").stdout, "widget.example.com/own", "category")
    contains(c.coracle("describe", "wd/own").stdout, "own", "describe")
    contains(c.coracle("delete", "wd", "own").stdout, 'widget.example.com "own" deleted', "delete")
    contains(c.coracle("get", "nonsense", check=False).stderr, "doesn't have a resource type", "unknown")
    remove(c, "widgets.example.com")


def test_a_bundle(c):
    before = made(c, "GET", CRDS)["items"]
    for path in kubectls():
        c.kubectl_path = path
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bundle()})
        c.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        c.kubectl("wait", "--for", "condition=established", "crd", "-l", "app=certs", "--timeout=60s")
        cert = {"apiVersion": "certs.example.org/v1", "kind": "Certificate", "metadata": {"name": "web"},
                "spec": {"group0": {"field1": "x"}}}
        c.kubectl("apply", "-f", "-", stdin=json.dumps(cert))
        contains(c.kubectl("get", "certs").stdout, "web", "objects")
        contains(c.kubectl("get", "cert.certs.example.org/web", "-o", "yaml").stdout, "field1: x", "objects")
        contains(c.kubectl("api-resources", "--api-group=certs.example.org").stdout, "clusterissuers", "resources")
        c.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        c.kubectl("delete", "crd", "-l", "app=certs", "--timeout=60s")
    equal(len(made(c, "GET", CRDS)["items"]), len(before), "all gone")


def test_manifest_files(c):
    for name, obj in (("0-crd.json", widgets()), ("1-widget.json", widget("file", tags=["a"]))):
        with open(f"{c.manifest_dir}/{name}", "w") as f:
            json.dump(obj, f)
    wait("made at once", lambda: ask(c, "GET", WIDGETS + "/file")[0] == 200, timeout=5)
    with open(c.manifest_dir + "/1-widget.json", "w") as f:
        json.dump(widget("file", tags=["b"], ports=[{"name": "x"}]), f)
    wait("changed", lambda: made(c, "GET", WIDGETS + "/file")["spec"].get("ports") == [{"name": "x", "port": 80}])
    equal(made(c, "GET", WIDGETS + "/file")["spec"]["tags"], ["b"], "changed")
    for name in ("0-crd.json", "1-widget.json"):
        os.unlink(f"{c.manifest_dir}/{name}")
    remove(c, "widgets.example.com")


# ---- survival and size


def test_restarts(c):
    define(c, widgets())
    made(c, "POST", WIDGETS, widget("a", labels={"x": "y"}))
    crd = made(c, "GET", CRDS + "/widgets.example.com")
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["fresh"] = {"type": "string", "default": "new"}
    made(c, "PUT", CRDS + "/widgets.example.com", crd)
    for i in range(3):
        before = made(c, "GET", WIDGETS + "/a")
        c.restart(signal.SIGKILL)
        equal(made(c, "GET", WIDGETS + "/a"), before, "the same object")
        equal(before["spec"]["fresh"], "new", "default")
        made(c, "POST", WIDGETS, widget(f"more{i}"))
    remove(c, "widgets.example.com")
    c.restart(signal.SIGKILL)
    equal(ask(c, "GET", WIDGETS)[0], 404, "gone for good")


def resident(c):
    with open(f"/proc/{c.daemon.pid}/status") as f:
        return {line.split(":")[0]: int(line.split()[1]) for line in f if line.startswith(("VmRSS", "RssAnon"))}


def test_memory_of_definitions(c):
    """A definition of some 5,000 lines costs its text and little more once things have settled."""
    big = bundle(fields=1200)[:1]
    text = json.dumps(big[0])
    lines = json.dumps(big[0], indent=1).count("\n")
    true(lines > 5000, f"{lines} lines")
    c.restart()
    time.sleep(1)
    before = resident(c)["RssAnon"]
    n = 4
    for i in range(n):
        crd = json.loads(text.replace("certs.example.org", f"g{i}.example.org"))
        define(c, crd)
        made(c, "POST", f"/apis/g{i}.example.org/v1/namespaces/default/certificates",
             {"apiVersion": f"g{i}.example.org/v1", "kind": "Certificate", "metadata": {"name": "x"},
              "spec": {"group1": {"field2": "y"}}})
    used = resident(c)["RssAnon"]
    c.restart()
    most = 3 * len(text) // 1024 + 200
    wait("the memory of start to be given back", lambda: (resident(c)["RssAnon"] - before) // n < most)
    settled = resident(c)["RssAnon"]
    print(f"definition of {lines} lines, {len(text) // 1024} KiB: {(used - before) // n} KiB in use, "
          f"{(settled - before) // n} KiB after a restart")
    for i in range(n):
        remove(c, f"certificates.g{i}.example.org")
