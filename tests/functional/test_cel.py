# SPDX-License-Identifier: Apache-2.0
"""Rules in CEL: of CustomResourceDefinitions and of admission policies, as clients meet them."""
import json

from crd_bundle import widget, widgets
from lib import Cluster, contains, equal, kubectls, true, wait
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


def test_rules_of_the_whole_object(c):
    crd = widgets()
    for v in crd["spec"]["versions"]:
        v["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = [
            {"rule": "self.metadata.name.startsWith('w') && self.kind == 'Widget'", "message": "names begin with w"},
            {"rule": "!has(self.spec.template) || self.spec.template.kind == 'Pod'", "fieldPath": ".spec.template"}]
    define(c, crd)
    refused(c, "POST", WIDGETS, widget("a", size=1), 422,
            'Widget.example.com "a" is invalid: <nil>: Invalid value: "object": names begin with w')
    made(c, "POST", WIDGETS, widget("w1", size=1))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "anything": 1}
    made(c, "POST", WIDGETS, widget("w2", size=1, template=pod))
    refused(c, "POST", WIDGETS, widget("w3", size=1, template={**pod, "kind": "Other"}), 422,
            'spec.template: Invalid value: "object": failed rule: !has(self.spec.template)')
    for v in crd["spec"]["versions"]:
        v["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = [{"rule": "self.metadata.labels.size() > 0"}]
    refused(c, "PUT", CRDS + "/widgets.example.com",
            {**crd, "metadata": made(c, "GET", CRDS + "/widgets.example.com")["metadata"]}, 422,
            "openAPIV3Schema.x-kubernetes-validations[0].rule", "undefined field 'labels'")
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
    slow = "{0}.all(a, {0}.all(b, {0}.all(c, a + b + c != 'x')))"
    refused(c, "POST", CRDS, with_rules({"rule": slow.format("self.tags")}), 422,
            SPEC + ".rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying "
            "the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)")
    define(c, with_rules({"rule": slow.format("self.tags.join(' ').split(' ')")}))
    tags = [f"t{i}" for i in range(300)]
    refused(c, "POST", WIDGETS, widget("slow", size=1, tags=tags), 422, "call cost exceeds limit")
    true(ask(c, "GET", WIDGETS)[1]["items"] == [], "nothing was made")
    remove(c, "widgets.example.com")


# ---- ValidatingAdmissionPolicy

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
EVERY = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}


def policy(name, *validations, rules=(EVERY,), match=None, **spec):
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": list(rules), **(match or {})},
                     "validations": list(validations), **spec}}


def binding(name, *actions, **spec):
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": list(actions) or ["Deny"], **spec}}


def put_to_work(c, p, b=None):
    made(c, "POST", POLICIES, p)
    made(c, "POST", BINDINGS, b or binding(p["metadata"]["name"]))


def take_away(c, name):
    made(c, "DELETE", BINDINGS + "/" + name)
    made(c, "DELETE", POLICIES + "/" + name)


def config(name, labels=None, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def test_a_policy_denies(c):
    code, _, warnings = ask(c, "POST", POLICIES, policy(
        "few", {"expression": "!has(object.data) || object.data.size() <= 1",
                "messageExpression": "'has ' + string(object.data.size()) + ' keys'"},
        {"expression": "object.metadata.name != 'forbidden'", "reason": "Forbidden", "message": "not that name"},
        {"expression": "request.operation != 'UPDATE' || oldObject.data == object.data"}))
    equal((code, warnings), (201, []), "created")
    made(c, "POST", MAPS, config("before", a="1", b="2"))
    made(c, "POST", BINDINGS, binding("few"))
    answer = refused(c, "POST", MAPS, config("m", a="1", b="2"), 422,
                     "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied "
                     "request: has 2 keys")
    equal(answer["reason"], "Invalid", "reason")
    equal(answer["details"], {"name": "m", "kind": "configmaps", "causes": [
        {"message": "ValidatingAdmissionPolicy 'few' with binding 'few' denied request: has 2 keys"}]}, "details")
    equal(refused(c, "POST", MAPS, config("forbidden"), 403, "denied request: not that name")["reason"],
          "Forbidden", "reason")
    made(c, "POST", MAPS, config("m", a="1"))
    refused(c, "PATCH", MAPS + "/m", {"data": {"a": "2"}}, 422,
            "failed expression: request.operation != 'UPDATE' || oldObject.data == object.data", kind=MERGE)
    refused(c, "POST", MAPS + "?dryRun=All", config("n", a="1", b="2"), 422, "has 2 keys")
    made(c, "POST", "/api/v1/namespaces/default/secrets", {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "free"}, "stringData": {"a": "1", "b": "2"}})
    made(c, "DELETE", MAPS + "/m")
    take_away(c, "few")
    made(c, "POST", MAPS, config("m", a="1", b="2"))
    made(c, "DELETE", MAPS + "/m")


def test_actions_and_failures(c):
    put_to_work(c, policy("warns", {"expression": "object.data.x == '1'"}), binding("warns", "Warn", "Audit"))
    code, _, warnings = ask(c, "POST", MAPS, config("w", x="2"))
    equal(code, 201, "only a warning")
    contains(" ".join(warnings), "Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns': "
             "failed expression: object.data.x == '1'", "warning")
    take_away(c, "warns")
    put_to_work(c, policy("fails", {"expression": "object.data.x == '1'"}))
    refused(c, "POST", MAPS, config("v"), 422, "expression 'object.data.x == '1'' resulted in error: no such key: ")
    take_away(c, "fails")
    put_to_work(c, policy("ignores", {"expression": "object.data.x == '1'"}, failurePolicy="Ignore"))
    made(c, "POST", MAPS, config("v", y="1"))
    take_away(c, "ignores")


def test_what_a_policy_looks_at(c):
    put_to_work(c, policy("narrow", {"expression": "false", "message": "no"},
                          match={"objectSelector": {"matchLabels": {"looked": "at"}},
                                 "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
                                 "excludeResourceRules": [{**EVERY, "resourceNames": ["spared"]}]},
                          matchConditions=[{"name": "not-me", "expression": "request.name != 'me'"}]))
    looked = {"looked": "at"}
    refused(c, "POST", MAPS, config("n1", looked), 422, "denied request: no")
    made(c, "POST", MAPS, config("n2"))
    made(c, "POST", MAPS, config("spared", looked))
    made(c, "POST", MAPS, config("me", looked))
    made(c, "POST", "/api/v1/namespaces/kube-public/configmaps", config("n1", looked))
    take_away(c, "narrow")


def test_variables_and_what_else_is_seen(c):
    put_to_work(c, policy(
        "sees", {"expression": "variables.keys.all(k, variables.ok.exists(o, k == o))",
                 "messageExpression": "'only ' + variables.ok.join(', ')"},
        {"expression": "namespaceObject.metadata.name == 'default' && request.namespace == 'default'"},
        {"expression": "request.userInfo.username != '' && request.resource.resource == 'configmaps' && "
                       "request.kind.kind == 'ConfigMap'"},
        {"expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"},
        {"expression": "!authorizer.serviceAccount('default', 'x').group('').resource('secrets').check('get').allowed()"},
        {"expression": "authorizer.requestResource.check('create').allowed()"},
        variables=[{"name": "keys", "expression": "has(object.data) ? object.data.map(k, k) : []"},
                   {"name": "ok", "expression": "['a', 'b']"}]))
    made(c, "POST", MAPS, config("seen", a="1", b="2"))
    refused(c, "POST", MAPS, config("seen2", c="1"), 422, "denied request: only a, b")
    take_away(c, "sees")


def test_connections(c):
    """exec, attach, portforward and proxy are asked about before anything is looked for."""
    def connect(resource, method="POST"):
        return ask(c, method, f"/api/v1/{resource}")
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"]}
    put_to_work(c, policy(
        "shut", {"expression": "request.operation != 'CONNECT' || request.kind.kind != 'PodExecOptions' || "
                               "!has(object.command) || object.command[0] != 'sh' || has(object.tty)",
                 "messageExpression": "'no ' + object.command.join(' ') + ' in ' + request.name"},
        {"expression": "request.kind.kind != 'PodPortForwardOptions' || object.ports.all(p, p > 1024)"},
        {"expression": "request.kind.kind != 'ServiceProxyOptions' || !has(object.path) || !object.path.startsWith('/secret')"},
        rules=[{**rule, "resources": ["pods/exec", "pods/portforward", "services/proxy"]}]))
    pod, svc = "namespaces/default/pods/nobody", "namespaces/default/services/nothing"

    def answer(code, *args):
        got = connect(*args)
        equal(got[0], code, f"{args}: {got[1]}")
        return got[1]["message"] if code != 404 else ""
    contains(answer(422, pod + "/exec?command=sh&command=-c&stdout=1"),
             "pods \"nobody\" is forbidden: ValidatingAdmissionPolicy 'shut' with binding 'shut' denied request: "
             "no sh -c in nobody")
    contains(answer(422, pod + "/portforward?ports=80"), "denied request")
    contains(answer(422, svc + "/proxy/secret/x", "GET"), "denied request")
    for path in (pod + "/exec?command=sh&tty=1&stdout=1", pod + "/exec?command=ls&stdout=1",
                 pod + "/portforward?ports=8080", pod + "/attach?stdout=1", pod + "/proxy/secret"):
        answer(404, path)
    equal(connect(svc + "/proxy/open", "GET")[0], 404, "another path")
    take_away(c, "shut")
    answer(404, pod + "/exec?command=sh&stdout=1")


def test_parameters(c):
    made(c, "POST", MAPS, config("limit", most="2"))
    p = policy("takes", {"expression": "!has(object.data) || object.data.size() <= int(params.data.most)",
                         "messageExpression": "'at most ' + params.data.most"},
               paramKind={"apiVersion": "v1", "kind": "ConfigMap"})
    put_to_work(c, p, binding("takes", paramRef={"name": "limit", "namespace": "default",
                                                 "parameterNotFoundAction": "Deny"}))
    made(c, "POST", MAPS, config("p1", a="1", b="2"))
    refused(c, "POST", MAPS, config("p2", a="1", b="2", c="3"), 422, "denied request: at most 2")
    made(c, "PATCH", MAPS + "/limit", {"data": {"most": "3"}}, kind=MERGE)
    made(c, "POST", MAPS, config("p2", a="1", b="2", c="3"))
    made(c, "PATCH", BINDINGS + "/takes", {"spec": {"paramRef": {"name": "missing"}}}, kind=MERGE)
    refused(c, "POST", MAPS, config("p3"), 422,
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction")
    made(c, "PATCH", BINDINGS + "/takes", {"spec": {"paramRef": {"parameterNotFoundAction": "Allow"}}}, kind=MERGE)
    made(c, "POST", MAPS, config("p3"))
    take_away(c, "takes")


def test_policies_that_are_refused(c):
    def bad(what, *texts, **spec):
        refused(c, "POST", POLICIES, policy("bad", what, **spec), 422, *texts)

    bad({"expression": "foo"}, 'spec.validations[0].expression: Invalid value: "foo": compilation failed: ERROR: '
        "<input>:1:1: undeclared reference to 'foo' (in container '')\n | foo\n | ^")
    bad({"expression": "object.a"}, 'spec.validations[0].expression: Invalid value: "object.a": must evaluate to bool')
    bad({"expression": "true", "messageExpression": "1"}, "messageExpression: Invalid value: \"1\": must evaluate to string")
    bad({"expression": "params.a == 1"}, "undeclared reference to 'params'")
    bad({"expression": "true"}, "spec.variables[0].expression", variables=[{"name": "x", "expression": "1 +"}])
    bad({"expression": "true"}, "spec.matchConditions[0].expression: Invalid value: ",
        matchConditions=[{"name": "m", "expression": "1"}])


def test_doubtful_types(c):
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    made(c, "POST", POLICIES, policy("right", {"expression": "object.spec.replicas > 1"}, rules=[rule]))
    made(c, "POST", POLICIES, policy("wrong", {
        "expression": "object.spec.replicas > '1'",
        "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"}, rules=[rule]))

    def status(name):
        return wait("type check of " + name,
                    lambda: made(c, "GET", POLICIES + "/" + name).get("status", {}).get("typeChecking") is not None
                    and made(c, "GET", POLICIES + "/" + name)["status"])

    equal(status("right"), {"observedGeneration": 1, "typeChecking": {}}, "no doubt")
    doubts = status("wrong")["typeChecking"]["expressionWarnings"]
    equal([d["fieldRef"] for d in doubts], ["spec.validations[0].expression", "spec.validations[0].messageExpression"],
          "fields")
    contains(doubts[0]["warning"], "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for "
             "'_>_' applied to '(int, string)'", "warning")
    contains(doubts[1]["warning"], "found no matching overload for '_+_' applied to '(string, int)'", "warning")
    define(c, widgets())
    made(c, "POST", POLICIES, policy("custom", {"expression": "object.spec.size > '1'"}, rules=[
        {**rule, "apiGroups": ["example.com"], "resources": ["widgets"]}]))
    contains(status("custom")["typeChecking"]["expressionWarnings"][0]["warning"],
             "found no matching overload for '_>_' applied to '(int, string)'", "custom")
    for name in ("right", "wrong", "custom"):
        made(c, "DELETE", POLICIES + "/" + name)
    remove(c, "widgets.example.com")


def test_controllers_are_asked_too(c):
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    put_to_work(c, policy("no-pods", {"expression": "object.metadata.namespace != 'default'", "message": "no pods"},
                          rules=[rule]))
    made(c, "POST", DEPLOYMENTS, {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "none"},
        "spec": {"selector": {"matchLabels": {"app": "none"}}, "template": {
            "metadata": {"labels": {"app": "none"}},
            "spec": {"containers": [{"name": "a", "image": "example.com/none"}]}}}})
    wait("told", lambda: "denied request: no pods" in json.dumps(
        made(c, "GET", "/api/v1/namespaces/default/events")))
    made(c, "DELETE", DEPLOYMENTS + "/none")
    take_away(c, "no-pods")


def test_policy_with_kubectl(c):
    for path in kubectls():
        c.kubectl_path = path
        c.kubectl("create", "-f", "-", stdin=json.dumps(policy("by-kubectl", {"expression": "object.data.a == '1'",
                                                                            "message": "a must be 1"})))
        c.kubectl("create", "-f", "-", stdin=json.dumps(binding("by-kubectl")))
        r = c.kubectl("create", "configmap", "k", "--from-literal=a=2", check=False)
        contains(r.stderr, "ValidatingAdmissionPolicy 'by-kubectl' with binding 'by-kubectl' denied request: "
                 "a must be 1", "kubectl")
        c.kubectl("create", "configmap", "k", "--from-literal=a=1")
        c.kubectl("delete", "configmap", "k")
        c.kubectl("delete", "validatingadmissionpolicybinding", "by-kubectl")
        c.kubectl("delete", "validatingadmissionpolicy", "by-kubectl")
