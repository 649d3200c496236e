# SPDX-License-Identifier: Apache-2.0
"""Who is who and who may what: RBAC, reviews, impersonation, service account tokens, certificates."""
import base64
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


def test_roles_of_components(c):
    def can(user, *words):
        return c.kubectl("auth", "can-i", *words, f"--as={user}", "--as-group=system:authenticated", check=False).stdout.strip()

    for user, words, want in (
            ("system:kube-scheduler", ("create", "pods", "--subresource=binding"), "yes"),
            ("system:kube-scheduler", ("update", "leases.coordination.k8s.io/kube-scheduler", "-n", "kube-system"), "yes"),
            ("system:kube-scheduler", ("update", "leases.coordination.k8s.io/other", "-n", "kube-system"), "no"),
            ("system:kube-scheduler", ("delete", "nodes"), "no"),
            ("system:kube-scheduler", ("get", "configmaps/extension-apiserver-authentication", "-n", "kube-system"), "yes"),
            ("system:kube-scheduler", ("get", "configmaps/kube-root-ca.crt", "-n", "kube-system"), "no"),
            ("system:kube-proxy", ("watch", "endpointslices.discovery.k8s.io"), "yes"),
            ("system:serviceaccount:kube-system:kube-dns", ("list", "services", "-A"), "yes"),
            ("system:node:other", ("list", "pods"), "no")):
        equal(can(user, *words), want, f"{user}: {words}")
    data = c.get("configmap", "extension-apiserver-authentication", "kube-system")["data"]
    contains(data["client-ca-file"], "-----BEGIN CERTIFICATE-----")


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


def test_no_way_round(c):
    """A parameter or an odd path gives no right: what is asked of RBAC is what is done."""
    server = c.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").stdout
    c.kubectl("create", "serviceaccount", "watcher")
    c.kubectl("create", "role", "watcher", "--verb=watch", "--resource=configmaps")
    c.kubectl("create", "rolebinding", "watcher", "--role=watcher", "--serviceaccount=default:watcher")
    token = c.kubectl("create", "token", "watcher").stdout.strip()
    ask = lambda method, path, body="": c.inside(["curl", "-sk", "-m", "2", "-X", method, "-H", "Authorization: Bearer " + token,
                                                   "-H", "Content-Type: application/json", "-w", " %{http_code}", "-d", body,
                                                   server + path], check=False).stdout
    maps = "/api/v1/namespaces/default/configmaps"
    true(ask("POST", maps + "?watch=true", '{"metadata":{"name":"x"}}').endswith(" 403"), "create as a watch")
    true(ask("DELETE", maps + "?watch=1").endswith(" 403"), "deletecollection as a watch")
    true(ask("DELETE", "/api/v1/watch/namespaces/default/configmaps").endswith(" 403"), "deletecollection of a watch path")
    true(ask("GET", maps).endswith(" 403"), "list")
    true(ask("PUT", maps + "/y", '{"metadata":{"name":"y"}}').endswith(" 403"), "put")
    c.kubectl("create", "role", "one-name", "--verb=create,list", "--resource=configmaps", "--resource-name=x")
    c.kubectl("create", "rolebinding", "one-name", "--role=one-name", "--serviceaccount=default:watcher")
    true(ask("GET", maps + "?fieldSelector=metadata.name%3Dx").endswith(" 200"), "list of one name")
    true(ask("GET", maps + "?fieldSelector=metadata.name%21%3Dx").endswith(" 403"), "list of others")
    true(ask("GET", maps + "?fieldSelector=metadata.name%3Dx&fieldSelector=metadata.name%3Dz").endswith(" 200"), "first counts")
    true(ask("POST", maps + "?fieldSelector=metadata.name%3Dx", '{"metadata":{"name":"z"}}').endswith(" 403"), "create by selector")
    equal(c.get("configmaps", ns="default")[0]["metadata"]["name"], "kube-root-ca.crt", "what is there")
    for path in ("/api/v1/namespaces/%00/pods", "/apis/authorization.k8s.io/v1/namespaces/%00/localsubjectaccessreviews"):
        p = c.inside(["curl", "-s", "-X", "POST", "-d", "{}", "-w", " %{http_code}", "--unix-socket", c.socket, "http://x" + path])
        true(p.stdout.endswith(" 404"), f"{path}: {p.stdout}")
    extra = c.inside(["curl", "-s", "--unix-socket", c.socket, "-X", "POST", "-d", "{}", "-H", "Content-Type: application/json",
                      "-H", "Impersonate-User: jane", "-H", "Impersonate-Extra-Scopes: view",
                      "http://x/apis/authentication.k8s.io/v1/selfsubjectreviews"]).stdout
    equal(json.loads(extra)["status"]["userInfo"]["extra"], {"scopes": ["view"]}, "extra")
    contains(ask("GET", maps.replace("configmaps", "serviceaccounts/default")), "403")


def test_root_ca(c):
    """kube-root-ca.crt and the account `default` come back."""
    c.kubectl("create", "namespace", "heal")
    cert = lambda: c.get("configmap", "kube-root-ca.crt", "heal")["data"].get("ca.crt", "")
    wait("the ConfigMap", lambda: "BEGIN CERTIFICATE" in cert())
    c.kubectl("patch", "configmap", "kube-root-ca.crt", "-n", "heal", "-p", '{"data":{"ca.crt":"x"}}')
    wait("the right text", lambda: "BEGIN CERTIFICATE" in cert())
    c.kubectl("delete", "configmap", "kube-root-ca.crt", "-n", "heal")
    c.kubectl("delete", "serviceaccount", "default", "-n", "heal")
    wait("both", lambda: "BEGIN CERTIFICATE" in cert() and c.get("serviceaccount", "default", "heal"))


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


def with_token(c, token, *args, **kw):
    """kubectl as the holder of a token alone."""
    server = c.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").stdout
    return c.inside([c.kubectl_path, "--kubeconfig", "/dev/null", "--server", server, "--certificate-authority",
                     os.path.join(c.state_dir, "pki", "ca.crt"), "--token", token, *args], **kw)


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_token_request(c):
    for kubectl in kubectls():
        c.kubectl_path = kubectl
        token = c.kubectl("create", "token", "default", "--duration=1h").stdout.strip()
        contains(with_token(c, token, "auth", "can-i", "--list").stdout, "selfsubjectaccessreviews")
        p = with_token(c, token, "get", "pods", check=False)
        equal(p.stderr.strip(), 'Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:default:default" '
              'cannot list resource "pods" in API group "" in the namespace "default"', "without rights")
    c.kubectl("create", "rolebinding", "default-views", "--clusterrole=view", "--serviceaccount=default:default")
    equal(with_token(c, token, "get", "pods").returncode, 0, "with rights")
    equal(claims(token)["sub"], "system:serviceaccount:default:default", "subject")
    contains(refused(c, "create", "token", "default", "--duration=1m"),
             "may not specify a duration less than 10 minutes")
    elsewhere = c.kubectl("create", "token", "default", "--audience=vault").stdout.strip()
    true(with_token(c, elsewhere, "get", "pods", check=False).returncode != 0, "another audience")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    got = json.loads(c.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout)["status"]
    equal(got["authenticated"], True, "review")
    equal(got["user"]["username"], "system:serviceaccount:default:default", "review")
    equal(got["user"]["groups"], ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"], "groups")
    review["spec"]["token"] = elsewhere
    got = json.loads(c.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout)["status"]
    true("authenticated" not in got and "audiences" in got["error"], f"review of another audience: {got}")
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
              "metadata": {"name": "old-style", "annotations": {"kubernetes.io/service-account.name": "default"}}}
    c.apply(secret)
    data = wait("the token", lambda: (lambda d: "token" in d and d)(c.get("secret", "old-style", "default").get("data", {})))
    old = base64.b64decode(data["token"]).decode()
    equal(with_token(c, old, "get", "pods").returncode, 0, "a token of a Secret")
    with open(os.path.join(c.state_dir, "pki", "ca.crt"), "rb") as f:
        equal(base64.b64decode(data["ca.crt"]), f.read(), "ca.crt")
    c.restart()
    equal(with_token(c, token, "get", "pods").returncode, 0, "after a restart")
    c.kubectl("delete", "secret", "old-style")
    true(with_token(c, old, "get", "pods", check=False).returncode != 0, "a token of a deleted Secret")
    config = json.loads(with_token(c, token, "get", "--raw", "/.well-known/openid-configuration").stdout)
    equal(config["issuer"], claims(token)["iss"], "issuer")
    equal(json.loads(with_token(c, token, "get", "--raw", "/openid/v1/jwks").stdout)["keys"][0]["alg"], "ES256", "keys")
    c.kubectl("delete", "rolebinding", "default-views")


ACCESS = "/var/run/secrets/kubernetes.io/serviceaccount"


def test_in_pod(c):
    """Every pod has a token, the authority and its namespace; the token is its own, and ends with it."""
    c.apply(pod("inside"))
    c.wait_ready("default", {"app": "inside"}, 1)
    cat = lambda name: c.kubectl("exec", "inside", "--", "cat", f"{ACCESS}/{name}").stdout
    equal(cat("namespace"), "default", "namespace")
    with open(os.path.join(c.state_dir, "pki", "ca.crt")) as f:
        equal(cat("ca.crt"), f.read(), "ca.crt")
    token = cat("token")
    said = claims(token)["kubernetes.io"]
    equal((said["serviceaccount"]["name"], said["pod"]["name"], said["node"]["name"]), ("default", "inside", c.name), "claims")
    volume = [v for v in c.get("pod", "inside", "default")["spec"]["volumes"] if v["name"].startswith("kube-api-access-")]
    equal(len(volume), 1, "volumes")
    env = c.kubectl("exec", "inside", "--", "env").stdout
    contains(env, "KUBERNETES_SERVICE_HOST=10.43.0.1")
    contains(env, "KUBERNETES_SERVICE_PORT=443")
    who = json.loads(with_token(c, token, "auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    equal(who["username"], "system:serviceaccount:default:default", "whoami")
    equal(who["extra"]["authentication.kubernetes.io/pod-name"], ["inside"], "extra")
    # as a client in the pod: the service's address, verified by the authority of the volume
    with open(os.path.join(c.disk, "ca.crt"), "w") as f:
        f.write(cat("ca.crt"))
    inside = lambda path: c.inside(["curl", "-sS", "--cacert", os.path.join(c.disk, "ca.crt"), "-H", "Authorization: Bearer " + token,
                                    "--resolve", "kubernetes.default.svc:443:10.43.0.1", "https://kubernetes.default.svc" + path]).stdout
    contains(inside("/api/v1/namespaces/default/pods"),
             'pods is forbidden: User \\"system:serviceaccount:default:default\\" cannot list resource \\"pods\\" in API group '
             '\\"\\" in the namespace \\"default\\"')
    c.kubectl("create", "role", "see", "--verb=list", "--resource=pods")
    c.kubectl("create", "rolebinding", "see", "--role=see", "--serviceaccount=default:default")
    contains(inside("/api/v1/namespaces/default/pods"), '"kind":"PodList"')
    contains(inside("/api/v1/namespaces/default/secrets"), "secrets is forbidden")
    c.kubectl("delete", "pod", "inside")
    contains(inside("/api/v1/namespaces/default/pods"), "Unauthorized")

    c.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bare"}, "automountServiceAccountToken": False})
    bare = pod("bare")
    bare["spec"]["serviceAccountName"] = "bare"
    c.apply(bare)
    true("volumes" not in c.get("pod", "bare", "default")["spec"], "automount off")
    bare["metadata"]["name"] = "own-wish"
    bare["spec"]["automountServiceAccountToken"] = True
    c.apply(bare)
    true(c.get("pod", "own-wish", "default")["spec"]["volumes"], "the pod's wish counts more")


def test_client_in_pod(c):
    """A stock client that knows nothing but where it runs (kubectl is one static program)."""
    c.kubectl("create", "namespace", "inner")
    p = pod("client")
    p["spec"]["volumes"] = [{"name": "kubectl", "hostPath": {"path": os.path.realpath(c.kubectl_path), "type": "File"}}]
    p["spec"]["containers"][0]["volumeMounts"] = [{"name": "kubectl", "mountPath": "/bin/kubectl"}]
    c.apply(p, ns="inner")
    c.wait_ready("inner", {"app": "client"}, 1)
    inside = lambda *a, **kw: c.kubectl("exec", "client", "-n", "inner", "--", "kubectl", *a, **kw)
    contains(inside("auth", "whoami").stdout, "system:serviceaccount:inner:default")
    contains(inside("get", "pods", check=False).stderr,
             'pods is forbidden: User "system:serviceaccount:inner:default" cannot list resource "pods" in API group "" '
             'in the namespace "inner"')
    c.kubectl("create", "rolebinding", "edits", "-n", "inner", "--clusterrole=edit", "--serviceaccount=inner:default")
    contains(inside("get", "pods").stdout, "client")
    contains(inside("create", "configmap", "made-inside", "--from-literal=x=y").stdout, "configmap/made-inside created")
    contains(inside("get", "pods", "-n", "default", check=False).stderr, 'in the namespace "default"')
    contains(inside("create", "rolebinding", "more", "--clusterrole=admin", "--user=me", check=False).stderr, "forbidden")


def test_projected(c):
    """A volume of all sources; its files follow the objects; a token for somebody else."""
    c.kubectl("create", "configmap", "settings", "--from-literal=a=1")
    p = pod("projected", labels={"app": "projected", "v": "1"})
    p["spec"]["volumes"] = [{"name": "all", "projected": {"sources": [
        {"serviceAccountToken": {"path": "vault-token", "audience": "vault", "expirationSeconds": 600}},
        {"configMap": {"name": "settings"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}]
    p["spec"]["containers"][0]["volumeMounts"] = [{"name": "all", "mountPath": "/all"}]
    c.apply(p)
    c.wait_ready("default", {"app": "projected"}, 1)
    cat = lambda name: c.kubectl("exec", "projected", "--", "cat", f"/all/{name}").stdout
    token = cat("vault-token")
    equal(claims(token)["aud"], ["vault"], "audience")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": ["vault"]}}
    got = json.loads(c.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout)["status"]
    equal((got["authenticated"], got["audiences"]), (True, ["vault"]), "review")
    equal(cat("a"), "1", "config")
    c.kubectl("patch", "configmap", "settings", "-p", '{"data":{"a":"2"}}')
    wait("the new value", lambda: cat("a") == "2")
    c.kubectl("label", "pod", "projected", "v=2", "--overwrite")
    wait("the new label", lambda: 'v="2"' in cat("labels"))
    equal(cat("vault-token"), token, "the token stays while it is good")


def request(c, name, subject, signer="kubernetes.io/kube-apiserver-client", names=None, **spec):
    """A CertificateSigningRequest and the path of its key."""
    key = os.path.join(c.disk, name + ".key")
    csr = run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
               "-subj", subject, *(["-addext", f"subjectAltName={names}"] if names else [])]).stdout
    return {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
            "spec": {"request": base64.b64encode(csr.encode()).decode(), "signerName": signer, "usages": ["client auth"],
                     **spec}}, key


def test_certificates_names(c):
    """What signers make of the names that a request asks for."""
    serving = {"signer": "kubernetes.io/kubelet-serving", "usages": ["digital signature", "server auth"]}
    kubelet = {"signer": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["digital signature", "client auth"]}
    node, all_names = "/O=system:nodes/CN=system:node:x", "DNS:x.example,IP:192.0.2.7,email:x@example.com,URI:spiffe://x"
    for i, (subject, names, more, want) in enumerate((
            ("/CN=jo", all_names, {}, "DNS:x.example, IP Address:192.0.2.7, email:x@example.com, URI:spiffe://x"),
            ("/CN=jo", "RID:1.2.3,DNS:y", {}, "DNS:y"),
            ("/CN=jo", None, {"usages": ["server auth"]}, "invalid usage for client certificate: server auth"),
            (node, "DNS:x,IP:192.0.2.7", serving, "DNS:x, IP Address:192.0.2.7"),
            (node, None, serving, "DNS or IP subjectAltName is required"),
            (node, all_names, serving, "Email subjectAltNames are not allowed"),
            (node, "DNS:x", {**serving, "usages": ["server auth"]},
             "usages did not match [digital signature key encipherment server auth]"),
            ("/O=system:nodes/O=more/CN=system:node:x", "DNS:x", serving, "subject organization is not system:nodes"),
            ("/O=system:nodes/CN=x", "DNS:x", serving, "subject common name does not begin with system:node:"),
            (node, None, kubelet, ""), (node, "DNS:x", kubelet, "DNS subjectAltNames are not allowed"))):
        name = f"names-{i}"
        c.apply(request(c, name, subject, names=names, **more)[0])
        c.kubectl("certificate", "approve", name)
        status = wait(name, lambda: [s for s in [c.get("csr", name)["status"]] if "certificate" in s
                                     or s["conditions"][-1]["type"] == "Failed"])[0]
        if "certificate" not in status:
            equal(status["conditions"][-1]["message"], want, f"{subject} {names}")
            continue
        text = run(["openssl", "x509", "-noout", "-text"], stdin=base64.b64decode(status["certificate"]).decode()).stdout
        found = text.partition("X509v3 Subject Alternative Name:")[2].split("\n")[1:2]
        equal([x.strip() for x in found], [want] if want else [], f"{subject} {names}")
        contains(text, "TLS Web " + ("Server" if more.get("signer") == serving["signer"] else "Client") + " Authentication")


def test_certificates(c):
    """A user by certificate: requested, approved, signed; his rights come from RBAC."""
    k = lambda *a, **kw: c.kubectl(*a, **kw).stdout
    csr, key = request(c, "jo", "/O=devs/CN=jo", expirationSeconds=86400)
    c.apply(csr)
    got = c.get("csr", "jo")
    true("system:masters" in got["spec"]["groups"], f"who asked: {got['spec']}")
    row = k("get", "csr", "jo").splitlines()
    equal(row[0].split(), ["NAME", "AGE", "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "CONDITION"], "columns")
    equal(row[1].split()[4:], ["24h", "Pending"], "row")
    contains(k("certificate", "approve", "jo"), "certificatesigningrequest.certificates.k8s.io/jo approved")
    cert = wait("the certificate", lambda: c.get("csr", "jo")["status"].get("certificate"))
    equal(k("get", "csr", "jo").splitlines()[1].split()[5:], ["Approved,Issued"], "row")
    path = os.path.join(c.disk, "jo.crt")
    with open(path, "wb") as f:
        f.write(base64.b64decode(cert))
    equal(run(["openssl", "x509", "-in", path, "-checkend", "90000"], check=False).returncode, 1, "ends after a day")
    server = k("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
    as_jo = lambda *a, **kw: c.inside([c.kubectl_path, "--kubeconfig", "/dev/null", "--server", server, "--certificate-authority",
                                       os.path.join(c.state_dir, "pki", "ca.crt"), "--client-certificate", path, "--client-key",
                                       key, *a], **kw)
    equal(json.loads(as_jo("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]["groups"],
          ["devs", "system:authenticated"], "groups")
    contains(as_jo("get", "pods", check=False).stderr, 'User "jo" cannot list resource "pods"')
    k("create", "rolebinding", "devs", "--clusterrole=edit", "--group=devs")
    equal(as_jo("get", "pods").returncode, 0, "with rights")
    c.apply(request(c, "no", "/CN=no")[0])
    contains(k("certificate", "deny", "no"), "no denied")
    equal(k("get", "csr", "no").splitlines()[1].split()[-1], "Denied", "row")
    contains(refused(c, "create", "-f", "-", stdin=json.dumps(request(c, "root", "/O=system:masters/CN=me")[0])),
             "system:masters group is not allowed")
    bad = request(c, "bad", "/CN=x")[0]
    bad["spec"]["request"] = base64.b64encode(b"nothing").decode()
    contains(refused(c, "create", "-f", "-", stdin=json.dumps(bad)), "spec.request: Invalid value")
    c.apply(request(c, "elsewhere", "/CN=x", signer="example.com/other")[0])
    contains(refused(c, "certificate", "approve", "elsewhere", "--as=jo"), "forbidden")
    k("create", "clusterrole", "approver", "--verb=get,update", "--resource=certificatesigningrequests,certificatesigningrequests/approval")
    k("create", "clusterrolebinding", "approver", "--clusterrole=approver", "--user=jo")
    contains(refused(c, "certificate", "approve", "elsewhere", "--as=jo"),
             'user not permitted to approve requests with signerName "example.com/other"')
    contains(refused(c, "patch", "csr", "elsewhere", "--subresource=status", "--type=merge", "-p", json.dumps(
        {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "x"}]}})),
             'updates may not add a condition of type "Approved"')
    k("certificate", "approve", "elsewhere")
    k("patch", "csr", "elsewhere", "--subresource=status", "--type=json", "-p", json.dumps(
        [{"op": "replace", "path": "/status/conditions/0/reason", "value": "Changed"},
         {"op": "add", "path": "/status/conditions/-", "value": {"type": "Noted", "status": "True", "reason": "x"}}]))
    equal([(x["type"], x["reason"]) for x in c.get("csr", "elsewhere")["status"]["conditions"]],
          [("Approved", "KubectlApprove"), ("Noted", "x")], "conditions in order, the decision as it was")
    true("certificate" not in c.get("csr", "elsewhere")["status"], "other signers are left to others")
