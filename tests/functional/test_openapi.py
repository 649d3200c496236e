# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI documents as clients read them. The protobuf form of v2 is decoded by the tables below,
which were written from gnostic's OpenAPIv2.proto and not from ours, and must be the JSON form."""
import http.client
import socket
import struct

import yaml

from lib import *

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
OLD_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


# -- protobuf

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of each field; bytes, int or float."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        else:
            equal(tag & 7, 2, "wire type")
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
            equal(len(value), size, "length")
        yield tag >> 3, value


def one(data, number):
    found = [v for n, v in fields(data) if n == number]
    equal(len(found), 1, f"field {number}")
    return found[0]


def any_value(data):
    return yaml.safe_load(one(data, 2))


# -- gnostic's messages

def text(data):
    return data.decode()


def message(table, vendor):
    """A decoder: table has name, decoder and whether it is repeated for each number."""
    def decode(data):
        got = {}
        for number, value in fields(data):
            if number == vendor:
                got[one(value, 1).decode()] = any_value(one(value, 2))
                continue
            name, decoder, many = table[number]
            if many:
                got.setdefault(name, []).append(decoder(value))
            else:
                true(name not in got, f"{name} twice")
                got[name] = decoder(value)
        return got
    return decode


def named(number, decoder):
    def decode(data):
        return {one(pair, 1).decode(): decoder(one(pair, 2)) for n, pair in fields(data) if n == number}
    return decode


def inside(number, decoder):
    return lambda data: decoder(one(data, number))


def schema(data):
    return SCHEMA(data)


def additional(data):
    (number, value), = fields(data)
    return schema(value) if number == 1 else bool(value)


def type_item(data):
    values = [v.decode() for _, v in fields(data)]
    return values[0] if len(values) == 1 else values


SCHEMA = message({
    1: ("$ref", text, 0), 2: ("format", text, 0), 3: ("title", text, 0), 4: ("description", text, 0),
    5: ("default", any_value, 0), 6: ("multipleOf", float, 0), 7: ("maximum", float, 0),
    8: ("exclusiveMaximum", bool, 0), 9: ("minimum", float, 0), 10: ("exclusiveMinimum", bool, 0),
    11: ("maxLength", int, 0), 12: ("minLength", int, 0), 13: ("pattern", text, 0), 14: ("maxItems", int, 0),
    15: ("minItems", int, 0), 16: ("uniqueItems", bool, 0), 17: ("maxProperties", int, 0),
    18: ("minProperties", int, 0), 19: ("required", text, 1), 20: ("enum", any_value, 1),
    21: ("additionalProperties", additional, 0), 22: ("type", type_item, 0), 23: ("items", inside(1, schema), 0),
    25: ("properties", named(1, schema), 0), 29: ("externalDocs", message({
        1: ("description", text, 0), 2: ("url", text, 0)}, 3), 0), 30: ("example", any_value, 0)}, 31)


def parameter(data):
    """ParametersItem: a body, or a header, form, query or path parameter."""
    (number, value), = fields(one(data, 1))
    if number == 1:
        return message({1: ("description", text, 0), 2: ("name", text, 0), 3: ("in", text, 0),
                        4: ("required", bool, 0), 5: ("schema", schema, 0)}, 6)(value)
    (number, value), = fields(value)
    known = {1: ("required", bool, 0), 2: ("in", text, 0), 3: ("description", text, 0), 4: ("name", text, 0)}
    if number == 3:
        known.update({6: ("type", text, 0), 7: ("format", text, 0), 20: ("uniqueItems", bool, 0)})
    else:
        equal(number, 4, "kind of parameter")
        known.update({5: ("type", text, 0), 6: ("format", text, 0), 19: ("uniqueItems", bool, 0)})
    return message(known, 22)(value)


RESPONSE = message({1: ("description", text, 0), 2: ("schema", inside(1, schema), 0)}, 5)
OPERATION = message({
    1: ("tags", text, 1), 3: ("description", text, 0), 5: ("operationId", text, 0), 6: ("produces", text, 1),
    7: ("consumes", text, 1), 8: ("parameters", parameter, 1),
    9: ("responses", named(1, inside(1, RESPONSE)), 0), 10: ("schemes", text, 1)}, 13)
PATH = message({2: ("get", OPERATION, 0), 3: ("put", OPERATION, 0), 4: ("post", OPERATION, 0),
                5: ("delete", OPERATION, 0), 6: ("options", OPERATION, 0), 7: ("head", OPERATION, 0),
                8: ("patch", OPERATION, 0), 9: ("parameters", parameter, 1)}, 10)
STRINGS = named(1, lambda data: [v.decode() for _, v in fields(data)])
API_KEY = message({1: ("type", text, 0), 2: ("name", text, 0), 3: ("in", text, 0), 4: ("description", text, 0)}, 5)


def document(data):
    """Document; "paths" and "definitions" may come in parts."""
    got = {"paths": {}, "definitions": {}, "security": []}
    for number, value in fields(data):
        if number == 1:
            got["swagger"] = value.decode()
        elif number == 2:
            got["info"] = message({1: ("title", text, 0), 2: ("version", text, 0)}, 7)(value)
        elif number == 8:
            got["paths"].update(named(2, PATH)(value))
        elif number == 9:
            got["definitions"].update(named(1, schema)(value))
        elif number == 12:
            got["security"].append(STRINGS(value))
        else:
            equal(number, 13, "field of the document")
            got["securityDefinitions"] = named(1, inside(2, API_KEY))(value)
    return got


def without_nothing(v):
    """JSON as protobuf can say it: false, 0, "" and empty lists are what is not there; but values
    without a fixed form, and the one that says whether others are allowed, travel as they are."""
    if isinstance(v, list):
        return [without_nothing(x) for x in v]
    if not isinstance(v, dict):
        return v
    kept = {k: x if k in ("default", "example", "enum", "BearerToken") or k.startswith("x-") else without_nothing(x)
            for k, x in v.items()}
    return {k: x for k, x in kept.items() if isinstance(x, dict) or x not in (False, 0, "", [])
            or k in ("default", "example", "additionalProperties", "BearerToken") or k.startswith("x-")}


# -- the tests

CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "foos.docs.example.com"},
       "spec": {"group": "docs.example.com", "scope": "Namespaced",
                "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
                "versions": [{"name": "v1", "served": True, "storage": True,
                              "subresources": {"status": {}, "scale": {
                                  "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                              "schema": {"openAPIV3Schema": {
                                  "description": "Foo CRD: for \"testing\"", "type": "object", "properties": {
                                      "spec": {"type": "object", "required": ["bars"], "properties": {
                                          "replicas": {"type": "integer", "format": "int32", "minimum": 1,
                                                       "maximum": 9.5, "exclusiveMaximum": True, "default": 2},
                                          "bars": {"type": "array", "maxItems": 300, "minItems": 1,
                                                   "x-kubernetes-list-type": "map",
                                                   "x-kubernetes-list-map-keys": ["name"],
                                                   "items": {"type": "object", "required": ["name"], "properties": {
                                                       "name": {"type": "string", "pattern": "^[a-z]+$"},
                                                       "mode": {"type": "string",
                                                                "enum": ["true", "a: b", "no", "1.0", "x\n"]}}}},
                                          "map": {"type": "object", "additionalProperties": {"type": "string"}},
                                          "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                          "port": {"x-kubernetes-int-or-string": True}}},
                                      "status": {"type": "object", "properties": {
                                          "replicas": {"type": "integer"}}}}}}}]}}


def cluster():
    with Cluster() as c:
        c.apply(CRD)
        wait("the definition", lambda: c.condition("crd", "foos.docs.example.com", "Established") == "True")
        yield c


class Connection(http.client.HTTPConnection):
    """HTTP over the daemon's socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.socket_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)


def raw(c, accept, **headers):
    with contextlib.closing(Connection(c.socket)) as connection:
        connection.request("GET", "/openapi/v2", headers={"Accept": accept, **headers})
        answer = connection.getresponse()
        return answer, answer.read()


def test_protobuf_is_the_json(c):
    plain = json.loads(raw(c, "application/json")[1])
    answer, data = raw(c, OLD_PROTOBUF)
    equal(answer.headers["Content-Type"], PROTOBUF)
    got, want = document(data), without_nothing(plain)
    for part in ("paths", "definitions"):
        equal(sorted(got[part]), sorted(want[part]), part)
        for name in want[part]:
            equal(got[part][name], want[part][name], name)
    equal(got, want)
    foo = got["definitions"]["com.example.docs.v1.Foo"]
    equal(foo["x-kubernetes-group-version-kind"], [{"group": "docs.example.com", "kind": "Foo", "version": "v1"}])
    equal(foo["properties"]["spec"]["properties"]["bars"]["items"]["properties"]["mode"]["enum"],
          ["true", "a: b", "no", "1.0", "x\n"])
    equal(got["definitions"]["com.example.docs.v1.FooList"]["required"], ["items"])


def test_negotiation(c):
    answer, data = raw(c, PROTOBUF)
    equal(answer.headers["Content-Type"], PROTOBUF)
    tag = answer.headers["ETag"]
    equal(raw(c, PROTOBUF, **{"If-None-Match": tag})[0].status, 304)
    equal(raw(c, "application/json", **{"If-None-Match": tag})[0].status, 200, "the other form")
    equal(raw(c, "application/json;q=0.2, " + PROTOBUF)[1], data)
    for accept in ("*/*", "application/*", "application/json"):
        equal(raw(c, accept)[0].headers["Content-Type"], "application/json", accept)
    equal(raw(c, "text/html")[0].status, 406)
    crd = json.loads(json.dumps(CRD))
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "another"
    c.apply(crd)
    answer, data = raw(c, PROTOBUF, **{"If-None-Match": tag})
    equal(answer.status, 200, "a changed definition")
    equal(document(data)["definitions"]["com.example.docs.v1.Foo"]["description"], "another")


def send(c, method, path, body=None):
    with contextlib.closing(Connection(c.socket)) as connection:
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())


def test_answers_are_as_described(c):
    paths = json.loads(raw(c, "application/json")[1])["paths"]
    for plural, kind, spec in (("configmaps", "ConfigMap", None), ("persistentvolumeclaims", "PersistentVolumeClaim", {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}),
                               ("services", "Service", {"ports": [{"port": 80}]}),
                               ("serviceaccounts", "ServiceAccount", None), ("resourcequotas", "ResourceQuota", {}),
                               ("limitranges", "LimitRange", {"limits": []})):
        path = "/api/v1/namespaces/{namespace}/" + plural
        obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}}
        if spec is not None:
            obj["spec"] = spec
        made = send(c, "POST", path.format(namespace="default"), obj)
        listed = send(c, "GET", path.format(namespace="default"))
        gone = send(c, "DELETE", path.format(namespace="default") + "/x")
        for answer, operation in ((made, paths[path]["post"]), (listed, paths[path]["get"]),
                                  (gone, paths[path + "/{name}"]["delete"])):
            told = operation["responses"]["200"]["schema"]["$ref"].split(".")[-1]
            equal(answer["kind"], told, operation["operationId"])
    equal(send(c, "GET", "/apis/apps/v1")["kind"],
          paths["/apis/apps/v1/"]["get"]["responses"]["200"]["schema"]["$ref"].split(".")[-1])
