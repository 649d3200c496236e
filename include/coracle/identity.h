/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity: who is who, and who may do what.
 *
 * Purpose: the keys of this installation, the RBAC rules as an index that answers without parsing
 * anything, and the tokens of service accounts.
 * Lifetime: identity_open() after the store, before all who ask; identity_close() after them.
 * The index follows the store by watches: a rule counts as soon as its write has been told, which
 * is before the write is answered.
 */
#ifndef CORACLE_IDENTITY_H
#define CORACLE_IDENTITY_H

#include <coracle/store.h>

struct identity_config {
	const char *pki_dir; /* made at first start */
	const char *node_name;
	const char *service_ip;	    /* of default/kubernetes, for the certificate; NULL: none */
	const char *listen;	    /* of the API, for the certificate; NULL: none */
	const char *cluster_domain; /* "cluster.local" */
};
struct identity;
struct identity *identity_open(struct loop *loop, struct store *store,
			       const struct identity_config *config, struct err *err);
void identity_close(struct identity *id); /* NULL is allowed */

/* ---- who --------------------------------------------------------------------------------- */

/* Zero-initialise. */
struct user {
	char *name, *uid; /* uid NULL: none */
	struct strv groups;
	json_t *extra;	/* of string lists; NULL: none */
	bool anonymous; /* nobody has said who he is */
	bool admin;	/* in system:masters: nothing is asked */
};
void user_done(struct user *u);
#define auto_user __attribute__((cleanup(user_done))) struct user
/* Sets the name, adds system:authenticated or system:unauthenticated, notes who is an
 * administrator. Call it last. */
void user_complete(struct user *u, const char *name);

/* ---- rights ------------------------------------------------------------------------------ */

/* What is asked of RBAC. Strings are never NULL ("" is none) but path, which rules out the rest. */
struct access {
	const char *verb;
	const char *path; /* not a resource: "/healthz" */
	const char *group, *version, *resource, *sub, *ns, *name;
};
/* *ret_reason (may be NULL; caller frees, may be set to NULL): who allowed it, or what went wrong
 * in finding out ("RBAC: clusterrole.rbac.authorization.k8s.io \"x\" not found"). */
bool identity_allows(const struct identity *id, const struct user *u, const struct access *a,
		     char **ret_reason);
/* The PolicyRules that u has in namespace ns ("" : cluster-wide), a new array. */
json_t *identity_rules(const struct identity *id, const struct user *u, const char *ns);
/* Whether u himself has all that rules (an array of PolicyRules, or NULL) would give in ns. 403 in
 * Kubernetes' words of the missing ones; k and name are what is being written. */
int identity_may_grant(const struct identity *id, const struct user *u, const char *ns,
		       const json_t *rules, const struct kind *k, const char *name,
		       struct err *err) MUST_CHECK;
/* Whether the PolicyRules in `have` allow whatever those in `want` do. Descriptions of what is
 * missing are added to missing (may be NULL). */
bool rules_cover(const json_t *have, const json_t *want, struct strv *missing);

/* ---- tokens of service accounts ---------------------------------------------------------- */

struct token_request {
	const struct object *account; /* the ServiceAccount */
	const json_t *audiences;      /* NULL or empty: the API's */
	int64_t seconds;	      /* life */
	const struct object *bound;   /* Pod, Secret or Node that it lives as long as; NULL: none */
};
/* A signed token; *ret_expires: when its holder should have got another. NULL: OpenSSL failed.
 * Caller frees. */
char *identity_token_issue(const struct identity *id, const struct token_request *r,
			   time_t *ret_expires) MUST_CHECK;
/* What a Secret of type kubernetes.io/service-account-token holds; caller frees. */
char *identity_token_legacy(const struct identity *id, const struct object *account,
			    const char *secret) MUST_CHECK;
/* Who holds the token. audiences NULL or empty: the API's; *ret_audiences (may be NULL): those of
 * them that the token is for, new. 401. */
int identity_token_check(struct identity *id, const char *token, const json_t *audiences,
			 struct user *ret, json_t **ret_audiences, struct err *err) MUST_CHECK;
/* The API's audiences, a new array. */
json_t *identity_audiences(const struct identity *id);
/* JSON Web Key Set (RFC 7517), new. */
json_t *identity_key_set(const struct identity *id);
const char *identity_issuer(const struct identity *id);

/* False for a clock that shows a time before this program was written. */
bool clock_is_right(time_t now);

/* ---- certificates ------------------------------------------------------------------------ */

/* Whether spec.request of a CertificateSigningRequest is one, signed by its own key. *ret_masters:
 * its subject is in the group system:masters. */
int identity_csr_check(const char *request, bool *ret_masters, struct err *err) MUST_CHECK;
/* Do we sign for this spec.signerName? kubernetes.io/ kube-apiserver-client,
 * kube-apiserver-client-kubelet, kubelet-serving. */
bool identity_csr_signs(const char *signer);
/* A certificate of our authority for the spec of a CertificateSigningRequest, PEM; NULL + err
 * (ERR_INVALID: it will never do). Caller frees. */
char *identity_csr_sign(const struct identity *id, const json_t *spec, struct err *err);

#endif
