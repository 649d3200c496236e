# SPDX-License-Identifier: Apache-2.0
"""Who is who and who may what: RBAC, reviews, impersonation, service account tokens, certificates."""
import json
import os

from lib import IMAGE, Cluster, contains, equal, kubectls, pod, run, true, wait


def cluster():
    with Cluster() as c:
        c.load_image()
        yield c


def refused(c, *args, **kw):
    p = c.kubectl(*args, check=False, **kw)
    true(p.returncode != 0, f"{args} should be refused, said {p.stdout}")
    return p.stderr


def test_roles(c):
    """What is granted works, what is not is refused in Kubernetes' words; views see no secrets."""
    k = lambda *a, **kw: c.kubectl(*a, **kw).stdout
    k("create", "namespace", "team")
    k("create", "configmap", "one", "-n", "team", "--from-literal=a=b")
    equal(refused(c, "get", "configmaps", "-n", "team", "--as=jane").strip(),
          'Error from server (Forbidden): configmaps is forbidden: User "jane" cannot list resource "configmaps" '
          'in API group "" in the namespace "team"', "without a binding")
    k("create", "rolebinding", "jane-views", "-n", "team", "--clusterrole=view", "--user=jane")
    contains(k("get", "configmaps", "-n", "team", "--as=jane"), "one")
    contains(refused(c, "get", "secrets", "-n", "team", "--as=jane"), 'secrets is forbidden: User "jane" cannot list')
    contains(refused(c, "get", "configmaps", "--as=jane"), 'in the namespace "default"')
    contains(refused(c, "delete", "configmap", "one", "-n", "team", "--as=jane"),
             'configmaps "one" is forbidden: User "jane" cannot delete resource "configmaps" in API group "" '
             'in the namespace "team"')
    contains(refused(c, "get", "nodes", "--as=jane"), 'cannot list resource "nodes" in API group "" at the cluster scope')
    equal(c.kubectl("auth", "can-i", "list", "pods", "-n", "team", "--as=jane").stdout.strip(), "yes", "can-i")
    equal(c.kubectl("auth", "can-i", "create", "pods", "-n", "team", "--as=jane", check=False).stdout.strip(), "no", "can-i")
    contains(k("auth", "can-i", "--list", "-n", "team", "--as=jane"), "pods/log")

    k("create", "role", "one-map", "-n", "team", "--verb=get,update", "--resource=configmaps", "--resource-name=one")
    k("create", "rolebinding", "joe", "-n", "team", "--role=one-map", "--group=readers", "--serviceaccount=team:robot")
    contains(k("get", "configmap", "one", "-n", "team", "--as=joe", "--as-group=readers"), "one")
    contains(refused(c, "get", "configmap", "two", "-n", "team", "--as=joe", "--as-group=readers"),
             'configmaps "two" is forbidden')
    contains(k("get", "configmap", "one", "-n", "team", "--as=system:serviceaccount:team:robot"), "one")

    k("create", "clusterrolebinding", "lost", "--clusterrole=nowhere", "--user=lost")
    contains(refused(c, "get", "pods", "--as=lost"),
             'in the namespace "default": RBAC: clusterrole.rbac.authorization.k8s.io "nowhere" not found')
    table = k("get", "rolebindings", "-n", "team", "-o", "wide").splitlines()
    equal(table[0].split(), ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"], "columns")
    equal([x for x in table[2].split() if x != table[2].split()[2]], ["joe", "Role/one-map", "readers", "team/robot"], "row")
    contains(refused(c, "patch", "rolebinding", "joe", "-n", "team", "-p", '{"roleRef":{"name":"view"}}'),
             "cannot change roleRef")


def test_escalation(c):
    """Nobody grants what he does not have."""
    k = lambda *a, **kw: c.kubectl(*a, **kw).stdout
    k("create", "namespace", "esc")
    k("create", "rolebinding", "boss", "-n", "esc", "--clusterrole=admin", "--user=boss")
    contains(k("create", "role", "pods", "-n", "esc", "--verb=get", "--resource=pods", "--as=boss"), "created")
    text = refused(c, "create", "role", "nodes", "-n", "esc", "--verb=get,list", "--resource=nodes", "--as=boss")
    contains(text, 'roles.rbac.authorization.k8s.io "nodes" is forbidden: user "boss" '
                   '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
                   '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}')
    contains(refused(c, "create", "rolebinding", "more", "-n", "esc", "--clusterrole=cluster-admin", "--user=boss", "--as=boss"),
             "is attempting to grant RBAC permissions not currently held")
    k("create", "rolebinding", "less", "-n", "esc", "--clusterrole=view", "--user=eve", "--as=boss")
    manifest = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {
        "name": "sum", "labels": {"x": "y"}}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "sum"}}]},
        "rules": []}
    c.apply(manifest)
    c.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
             "metadata": {"name": "part", "labels": {"part": "sum"}},
             "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]})
    wait("the aggregated rule", lambda: c.get("clusterrole", "sum")["rules"])
    path = os.path.join(c.disk, "reconcile.json")
    with open(path, "w") as f:
        json.dump({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "rec"},
                   "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}, f)
    contains(k("auth", "reconcile", "-f", path), "clusterrole.rbac.authorization.k8s.io/rec reconciled")
    contains(k("auth", "reconcile", "-f", path), "rec reconciled")


def test_reviews(c):
    for kubectl in kubectls():
        c.kubectl_path = kubectl
        text = c.kubectl("auth", "whoami", "-o", "json", "--as=jane", "--as-group=g", "--as-uid=u").stdout
        equal(json.loads(text)["status"]["userInfo"],
              {"username": "jane", "uid": "u", "groups": ["g", "system:authenticated"]}, "whoami")
        equal(c.kubectl("auth", "can-i", "*", "*").stdout.strip(), "yes", "administrator")
        contains(c.kubectl("auth", "can-i", "--list").stdout, "*.*")
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": "nobody", "groups": ["system:authenticated"], "nonResourceAttributes": {"path": "/version", "verb": "get"}}}
    got = json.loads(c.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout)
    equal(got["status"]["allowed"], True, "discovery")
    contains(got["status"]["reason"], 'RBAC: allowed by ClusterRoleBinding "system:')
    review["spec"] = {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}
    got = json.loads(c.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout)
    equal(got["status"], {"allowed": False}, "a stranger")
    review["kind"] = "LocalSubjectAccessReview"
    review["metadata"] = {"namespace": "default"}
    got = json.loads(c.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout)
    equal(got["status"], {"allowed": False}, "local")
    contains(c.kubectl("api-resources", "--api-group=authorization.k8s.io").stdout, "localsubjectaccessreviews")


def test_anonymous(c):
    """Strangers see health and version, and what is granted to them."""
    server = c.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").stdout
    curl = lambda path, *more: c.inside(["curl", "-sk", "-w", " %{http_code}", *more, server + path]).stdout
    equal(curl("/healthz"), "ok 200", "health")
    contains(curl("/version"), "gitVersion")
    contains(curl("/api/v1/pods"), 'User \\"system:anonymous\\" cannot list resource \\"pods\\"')
    true(curl("/api/v1/pods", "-H", "Authorization: Bearer x").endswith("401"), "a bad token")
    c.kubectl("create", "clusterrole", "see-pods", "--verb=list", "--resource=pods")
    c.kubectl("create", "clusterrolebinding", "anyone", "--clusterrole=see-pods", "--group=system:unauthenticated")
    contains(curl("/api/v1/pods"), '"kind":"PodList"')
