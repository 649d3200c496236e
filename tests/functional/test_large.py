# SPDX-License-Identifier: Apache-2.0
"""Large objects: what is computed for long neither keeps others waiting nor loses what they write."""
import contextlib
import json
import threading
import time

from lib import Cluster, Failure, equal, sanitized, true, wait
from test_machinery import Connection, ask

CMS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
KEYS = 10000
WRITERS = 8


def large(name, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {f"k{i}": f"value {i}" for i in range(KEYS)} | more}


def together(work, n):
    """work(i) for each i < n at the same time; the first failure is told."""
    failed = []

    def one(i):
        try:
            work(i)
        except BaseException as e:  # told by the test's own thread
            failed.append(e)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def patched(c, name, i, ways):
    """One write of a key of one's own, again after a conflict, as clients do."""
    ctype, body = ways[i % len(ways)]
    for _ in range(100):
        answer = ask(c, "PATCH", f"{CMS}/{name}", body(i), ctype=ctype,
                     **({"fieldManager": f"m{i}", "force": "true"} if ctype == APPLY else {}))
        if answer.code != 409:
            return equal(answer.code, 200, "a patch")
    raise Failure("a patch was overtaken a hundred times")


def longest_turn(c):
    return ask(c, "GET", "/coracle/v1/show/loop").json[1]["longest us"]


def test_no_write_is_lost():
    ways = [(MERGE, lambda i: {"data": {f"mine{i}": "yes"}}),
            (JSON_PATCH, lambda i: [{"op": "add", "path": f"/data/mine{i}", "value": "yes"}]),
            (STRATEGIC, lambda i: {"data": {f"mine{i}": "yes"}}),
            (APPLY, lambda i: {"apiVersion": "v1", "kind": "ConfigMap", "data": {f"mine{i}": "yes"}})]
    with Cluster() as c:
        ask(c, "POST", CMS, large("big"), want=201)
        longest_turn(c)
        together(lambda i: patched(c, "big", i, ways), WRITERS)
        got = ask(c, "GET", f"{CMS}/big").json
        equal([i for i in range(WRITERS) if got["data"].get(f"mine{i}") != "yes"], [], "lost writes")
        equal(len(got["data"]), KEYS + WRITERS, "keys")
        managers = {m["manager"] for m in got["metadata"]["managedFields"]}
        equal([i for i in range(3, WRITERS, 4) if f"m{i}" not in managers], [], "lost managers")
        if not sanitized():
            true(longest_turn(c) < 20000, "the longest turn")
        # Gone while requests are under way; then everything is as it was acknowledged.
        rev = got["metadata"]["resourceVersion"]
        busy = [Connection(c.socket) for _ in range(4)]
        for i, b in enumerate(busy):
            b.request("PATCH", f"{CMS}/big", json.dumps({"data": {f"late{i}": "yes"}}), {"Content-Type": MERGE})
        c.restart()
        for b in busy:
            b.close()
        got = ask(c, "GET", f"{CMS}/big").json
        true(int(got["metadata"]["resourceVersion"]) >= int(rev), "nothing is lost")
        equal(sum(f"mine{i}" in got["data"] for i in range(WRITERS)), WRITERS, "keys after a restart")


def test_one_creates():
    with Cluster() as c:
        codes = []
        together(lambda i: codes.append(ask(c, "POST", CMS, large("one", who=str(i))).code), WRITERS)
        equal(sorted(codes), [201] + [409] * (WRITERS - 1), "answers")
        # A namespace that goes in the meantime takes all with it.
        ask(c, "POST", "/api/v1/namespaces", {"metadata": {"name": "going"}}, want=201)

        def fill(i):
            if i == 0:
                ask(c, "DELETE", "/api/v1/namespaces/going", want=200)
            else:
                answer = ask(c, "POST", "/api/v1/namespaces/going/configmaps", large(f"m{i}"))
                true(answer.code in (201, 403, 404), f"a create in a namespace that goes: {answer.code}")
        together(fill, WRITERS)
        wait("the namespace to go", lambda: ask(c, "GET", "/api/v1/namespaces/going").code == 404)
        equal(ask(c, "GET", "/api/v1/namespaces/going/configmaps").json["items"], [], "left over")


def test_clients_that_go():
    with Cluster() as c:
        ask(c, "POST", CMS, large("big"), want=201)
        for accept in (TABLE, "application/yaml", "application/json"):
            for path in (CMS, f"{CMS}/big", CMS + "?labelSelector=a%3Db", CMS + "?watch=1"):
                gone = [Connection(c.socket) for _ in range(5)]
                for g in gone:
                    g.request("GET", path, headers={"Accept": accept})
                for g in gone:
                    g.close()
        for i in range(20):
            with contextlib.closing(Connection(c.socket)) as g:
                g.request("PATCH", f"{CMS}/big", json.dumps({"data": {f"k{i}": None}}), {"Content-Type": MERGE})
        wait("the requests to end", lambda: len(ask(c, "GET", "/coracle/v1/show/requests").json) == 1)
        table = ask(c, "GET", CMS, accept=TABLE).json
        big = [r for r in table["rows"] if r["object"]["metadata"]["name"] == "big"]
        true(KEYS - 20 <= int(big[0]["cells"][1]) <= KEYS, "the number of keys")
        true(c.daemon.poll() is None, "the daemon lives")


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BOATS = "/apis/large.example.com/v1/namespaces/default/boats"


def definition(limit):
    hold = {"type": "object", "properties": {
        "name": {"type": "string", "maxLength": limit}, "size": {"type": "integer", "default": limit},
        "rows": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}}}
    schema = {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"holds": {"type": "array", "items": hold}}}}}
    columns = [{"name": f"Column{i}", "type": "string", "jsonPath": f".spec.holds[{i}].name"} for i in range(limit % 7)]
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "boats.large.example.com"},
            "spec": {"group": "large.example.com", "scope": "Namespaced",
                     "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
                     "versions": [{"name": "v1", "served": True, "storage": True,
                                   "schema": {"openAPIV3Schema": schema}, "additionalPrinterColumns": columns}]}}


def boat(i):
    return {"apiVersion": "large.example.com/v1", "kind": "Boat", "metadata": {"name": f"b{i}"},
            "spec": {"holds": [{"name": f"hold {n}", "rows": [list(range(10)) for _ in range(4)]} for n in range(300)]}}


def test_definition_changes():
    """Schemas and columns change, and the kind goes, while tasks are at its objects."""
    with Cluster() as c:
        stop = threading.Event()

        def defined(limit):
            def ready():
                ask(c, "POST", CRDS, definition(limit))
                return ask(c, "GET", BOATS).code == 200
            wait("the kind", ready)

        def use(i):
            while not stop.is_set():
                ask(c, "POST", BOATS, boat(i))
                ask(c, "PATCH", f"{BOATS}/b{i}", {"metadata": {"labels": {"a": "b"}}}, ctype=MERGE)
                ask(c, "PATCH", f"{BOATS}/b{i}", boat(i), ctype=APPLY, fieldManager="m", force="true")
                ask(c, "GET", BOATS, accept=TABLE)
                ask(c, "GET", f"{BOATS}/b{i}", accept="application/yaml")
        defined(30)
        users = [threading.Thread(target=use, args=(i,)) for i in range(4)]
        for u in users:
            u.start()
        try:
            for n in range(8):
                spec = json.dumps([{"op": "replace", "path": "/spec/versions", "value":
                                    definition(31 + n)["spec"]["versions"]}])
                ask(c, "PATCH", f"{CRDS}/boats.large.example.com", spec, ctype=JSON_PATCH, want=200)
                time.sleep(0.05)
            for n in range(3):
                ask(c, "DELETE", f"{CRDS}/boats.large.example.com", want=200)
                wait("the kind to go",
                     lambda: ask(c, "GET", f"{CRDS}/boats.large.example.com").code == 404)
                defined(40 + n)
        finally:
            stop.set()
            for u in users:
                u.join()
        true(c.daemon.poll() is None, "the daemon lives")
        uids = {b["metadata"]["uid"] for b in ask(c, "GET", BOATS).json["items"]}
        ask(c, "DELETE", f"{CRDS}/boats.large.example.com", want=200)
        wait("the kind to go", lambda: ask(c, "GET", f"{CRDS}/boats.large.example.com").code == 404)
        defined(50)
        left = [b for b in ask(c, "GET", BOATS).json["items"] if b["metadata"]["uid"] in uids]
        equal(left, [], "objects of a definition that is gone")
