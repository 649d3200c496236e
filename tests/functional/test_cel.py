# SPDX-License-Identifier: Apache-2.0
"""Rules in CEL: of CustomResourceDefinitions, as kubectl meets them."""
import json

from crd_bundle import widget, widgets
from lib import Cluster, contains, equal, kubectls, true
from test_crd import CRDS, MERGE, WIDGETS, ask, define, made, refused, remove

SPEC = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]"


def cluster():
    with Cluster() as c:
        yield c


def with_rules(*rules, status=()):
    crd = widgets()
    for v in crd["spec"]["versions"]:
        of = v["schema"]["openAPIV3Schema"]["properties"]
        of["spec"]["x-kubernetes-validations"] = list(rules)
        if status:
            of["status"]["x-kubernetes-validations"] = list(status)
    return crd


def test_rules_of_custom_objects(c):
    define(c, with_rules(
        {"rule": "self.size < 50 || self.replicas == 1", "message": "large ones stand alone"},
        {"rule": "self.color == oldSelf.color", "messageExpression":
         "'the color stays ' + oldSelf.color", "fieldPath": ".color", "reason": "FieldValueForbidden"},
        {"rule": "!has(self.labels) || self.labels.all(k, k.startsWith('app'))"},
        status=[{"rule": "self.replicas >= 0"}]))
    code, _, warnings = ask(c, "GET", CRDS + "/widgets.example.com")
    equal((code, warnings), (200, []), "nothing is to be warned of")
    refused(c, "POST", WIDGETS, widget("a", size=60, replicas=2), 422,
            'Widget.example.com "a" is invalid: spec: Invalid value: "object": large ones stand alone')
    made(c, "POST", WIDGETS, widget("a", size=60))
    answer = refused(c, "PATCH", WIDGETS + "/a", {"spec": {"color": "blue"}}, 422,
                     "spec.color: Forbidden: the color stays red", kind=MERGE)
    equal(answer["details"]["causes"], [{"reason": "FieldValueForbidden", "field": "spec.color",
                                         "message": "Forbidden: the color stays red"}], "causes")
    refused(c, "PATCH", WIDGETS + "/a", {"spec": {"labels": {"x": "y"}}}, 422,
            "failed rule: !has(self.labels) || self.labels.all(k, k.startsWith('app'))", kind=MERGE)
    refused(c, "PATCH", WIDGETS + "/a/status", {"status": {"replicas": -1}}, 422,
            'status: Invalid value: "object": failed rule: self.replicas >= 0', kind=MERGE)
    made(c, "PATCH", WIDGETS + "/a/status", {"status": {"replicas": 1}}, kind=MERGE)
    made(c, "PATCH", WIDGETS + "/a", {"spec": {"size": 70}}, kind=MERGE)
    # a rule that comes later does not stop what was there before and is not touched
    crd = made(c, "GET", CRDS + "/widgets.example.com")
    for v in crd["spec"]["versions"]:
        v["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"][
            "x-kubernetes-validations"] = [{"rule": "self < 10"}]
    made(c, "PUT", CRDS + "/widgets.example.com", crd)
    made(c, "PATCH", WIDGETS + "/a", {"spec": {"note": "same"}}, kind=MERGE)
    refused(c, "PATCH", WIDGETS + "/a", {"spec": {"size": 71}}, 422,
            'spec.size: Invalid value: "integer": failed rule: self < 10', kind=MERGE)
    remove(c, "widgets.example.com")


def test_definitions_with_bad_rules(c):
    refused(c, "POST", CRDS, with_rules({"rule": "self.nothing == 1"}), 422, SPEC + ".rule: Invalid value: ",
            "compilation failed: ERROR: <input>:1:5: undefined field 'nothing'\n | self.nothing == 1\n | ....^")
    refused(c, "POST", CRDS, with_rules({"rule": "foo"}), 422,
            "undeclared reference to 'foo' (in container '')")
    refused(c, "POST", CRDS, with_rules({"rule": "self.size"}), 422, "cel expression must evaluate to a bool")
    refused(c, "POST", CRDS, with_rules({"rule": "self.size == 'a'"}), 422,
            "found no matching overload for '_==_' applied to '(int, string)'")
    refused(c, "POST", CRDS, with_rules({"rule": ""}), 422, SPEC + ".rule: Required value: rule is not specified")


def test_rules_with_kubectl(c):
    for path in kubectls():
        c.kubectl_path = path
        c.kubectl("create", "-f", "-", stdin=json.dumps(with_rules(
            {"rule": "self.size % 2 == 0", "message": "must be even"})))
        c.kubectl("wait", "--for", "condition=established", "crd/widgets.example.com", "--timeout=30s")
        r = c.kubectl("create", "-f", "-", stdin=json.dumps(widget("odd", size=3)), check=False)
        equal(r.returncode, 1, "odd")
        contains(r.stderr, 'The Widget "odd" is invalid: spec: Invalid value: "object": must be even', "odd")
        c.kubectl("create", "-f", "-", stdin=json.dumps(widget("even", size=4)))
        r = c.kubectl("patch", "widget", "even", "--type=merge", "-p", '{"spec":{"size":5}}', check=False)
        contains(r.stderr, "must be even", "patched")
        c.kubectl("delete", "crd", "widgets.example.com")


def test_hostile_rules_end_soon(c):
    define(c, with_rules({"rule": "self.tags.all(a, self.tags.all(b, self.tags.all(c, a + b + c != 'x')))"}))
    tags = [f"t{i}" for i in range(300)]
    refused(c, "POST", WIDGETS, widget("slow", size=1, tags=tags), 422, "call cost exceeds limit")
    true(ask(c, "GET", WIDGETS)[1]["items"] == [], "nothing was made")
    remove(c, "widgets.example.com")
