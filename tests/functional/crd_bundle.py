# SPDX-License-Identifier: Apache-2.0
"""Definitions in the shapes that operators ship: one small with everything, and a bundle of large ones."""
import copy

WIDGET_SPEC = {
    "type": "object", "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 100},
        "replicas": {"type": "integer", "default": 1},
        "color": {"type": "string", "enum": ["red", "green", "blue"], "default": "red"},
        "schedule": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "since": {"type": "string", "format": "date-time"},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "note": {"type": "string", "nullable": True, "maxLength": 10},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map",
                  "x-kubernetes-list-map-keys": ["name"],
                  "items": {"type": "object", "required": ["name"],
                            "properties": {"name": {"type": "string"},
                                           "port": {"type": "integer", "default": 80}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "source": {"type": "object", "oneOf": [{"required": ["git"]}, {"required": ["image"]}],
                   "properties": {"git": {"type": "string"}, "image": {"type": "string"}}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": True,
                     "x-kubernetes-preserve-unknown-fields": True},
    },
}
WIDGET_STATUS = {"type": "object", "properties": {
    "replicas": {"type": "integer"}, "selector": {"type": "string"},
    "conditions": {"type": "array", "items": {
        "type": "object", "required": ["type", "status"],
        "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}}}}


def version(name, storage, **more):
    return copy.deepcopy({"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": {
        "type": "object", "description": "A widget of " + name + ".",
        "properties": {"spec": WIDGET_SPEC, "status": WIDGET_STATUS}}}, **more})


def widgets(group="example.com", plural="widgets", kind="Widget", short="wd", scope="Namespaced"):
    columns = [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
               {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
               {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
               {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    more = {"subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                                                     "statusReplicasPath": ".status.replicas",
                                                     "labelSelectorPath": ".status.selector"}},
            "additionalPrinterColumns": columns, "selectableFields": [{"jsonPath": ".spec.color"}]}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": plural + "." + group},
            "spec": {"group": group, "scope": scope,
                     "names": {"plural": plural, "kind": kind, "shortNames": [short], "categories": ["all"]},
                     "versions": [version("v1", True, **more),
                                  version("v1beta1", False, deprecated=True, **more)]}}


def widget(name, v="v1", group="example.com", kind="Widget", **spec):
    return {"apiVersion": f"{group}/{v}", "kind": kind, "metadata": {"name": name},
            "spec": {"size": 3, **spec}}


def large_schema(fields):
    """A spec with about so many fields, described at length as generated definitions are."""
    doc = ("Selects what this applies to. When it is not given, the controller falls back on the settings "
           "of the namespace, and after that on those of the whole installation. ")

    def leaf(i):
        return {"type": "string", "description": doc + f"({i})", "maxLength": 253}
    groups = {}
    for g in range(fields // 20):
        groups[f"group{g}"] = {
            "type": "object", "description": doc,
            "properties": {f"field{i}": leaf(i) for i in range(16)} | {
                "matchExpressions": {"type": "array", "items": {
                    "type": "object", "required": ["key", "operator"],
                    "properties": {"key": leaf(0), "operator": leaf(1),
                                   "values": {"type": "array", "items": {"type": "string"}}}}}}}
    return {"type": "object", "description": doc, "properties": groups}


def bundle(fields=200):
    """Six definitions of one product in two groups, as certificate managers have them."""
    made = []
    for group, plural, kind, short, scope in (
            ("certs.example.org", "certificates", "Certificate", ["cert", "certs"], "Namespaced"),
            ("certs.example.org", "certificaterequests", "CertificateRequest", ["cr", "crs"], "Namespaced"),
            ("certs.example.org", "issuers", "Issuer", None, "Namespaced"),
            ("certs.example.org", "clusterissuers", "ClusterIssuer", None, "Cluster"),
            ("acme.certs.example.org", "orders", "Order", None, "Namespaced"),
            ("acme.certs.example.org", "challenges", "Challenge", None, "Namespaced")):
        names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": kind + "List",
                 "categories": ["certs"]}
        if short:
            names["shortNames"] = short
        schema = {"type": "object", "description": f"A {kind}.", "required": ["spec"], "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "spec": large_schema(fields),
            "status": {"type": "object", "properties": {"conditions": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                "items": {"type": "object", "required": ["status", "type"], "properties": {
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                    "message": {"type": "string"}, "reason": {"type": "string"},
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                    "type": {"type": "string"}}}}}}}}
        made.append({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                     "metadata": {"name": f"{plural}.{group}",
                                  "annotations": {"controller-gen.example/version": "v0.17.0"},
                                  "labels": {"app": "certs"}},
                     "spec": {"group": group, "scope": scope, "names": names, "versions": [
                         {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                          "schema": {"openAPIV3Schema": schema},
                          "additionalPrinterColumns": [
                              {"name": "Ready", "type": "string",
                               "jsonPath": '.status.conditions[?(@.type == "Ready")].status'},
                              {"name": "Age", "type": "date",
                               "jsonPath": ".metadata.creationTimestamp"}]}]}})
    return made
