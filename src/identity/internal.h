/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of src/identity share.
 *
 *   identity.c  lifetime, users
 *   pki.c       keys and certificates of this installation
 *   rbac.c      the index of roles and bindings; decisions
 *   role.c      one role's rules, packed
 *   rules.c     rule lists as JSON: what a user has, what a grant would need
 *   jwt.c       signed claims
 *   token.c     tokens of service accounts
 *   csr.c       certificates for those who ask
 */
#ifndef CORACLE_SRC_IDENTITY_INTERNAL_H
#define CORACLE_SRC_IDENTITY_INTERNAL_H

#include <coracle/identity.h>
#include <openssl/evp.h>

/* ---- pki.c ------------------------------------------------------------------------------- */

/* Makes below dir what is missing or damaged: CA, server and admin certificate, token. */
int pki_prepare(const char *dir, const char *node_name, const char *service_ip, const char *listen,
		const char *cluster_domain, struct err *err) MUST_CHECK;

/* The key that signs tokens, <dir>/sa.key: made when missing or damaged. NULL + err. */
EVP_PKEY *pki_token_key(const char *dir, struct err *err);

/* ---- token.c ----------------------------------------------------------------------------- */

/* No clock that shows an earlier time than this program's own is right: 2025-10-09. */
#define CLOCK_FLOOR 1760000000
/* Whether nbf and exp let the claims count now; bound: they name an object that is still there. */
int claims_in_time(const json_t *claims, bool bound, time_t now, struct err *err) MUST_CHECK;

/* ---- role.c ------------------------------------------------------------------------------ */

/* Rules of a role in one block: lists of NUL-terminated strings with their lengths in front. */
struct role;
struct role *role_pack(const json_t *rules);
bool role_allows(const struct role *r, const struct access *a);
size_t role_bytes(const struct role *r);

/* ---- rbac.c ------------------------------------------------------------------------------ */

struct rbac;
struct rbac *rbac_new(struct store *store, struct err *err);
void rbac_free(struct rbac *r);

/* A binding that gives the user something in a namespace (or everywhere). */
struct binding {
	char *name, *ns;      /* ns "": a ClusterRoleBinding */
	char *role;	      /* "ns/name" of a Role, "/name" of a ClusterRole */
	struct strv subjects; /* keys into the index */
};
struct grant {
	struct binding *binding;
	bool account; /* the subject is written as a ServiceAccount */
};
/* Calls fn for every binding of the user that counts in ns (those of the cluster, too),
 * cluster-wide ones first, until fn returns true. key: the subject found. */
bool rbac_visit(const struct rbac *r, const struct user *u, const char *ns,
		bool (*fn)(void *arg, const struct grant *g, const char *key), void *arg);
const struct role *rbac_role(const struct rbac *r, const char *key);
bool rbac_allows(const struct rbac *r, const struct user *u, const struct access *a,
		 char **ret_reason);
/* `clusterrole.rbac.authorization.k8s.io "x" not found` */
char *role_missing(const char *key);

/* ---- the module -------------------------------------------------------------------------- */

#define TOKENS_KNOWN 64
#define TOKEN_DIGEST 32
struct identity {
	struct loop *loop;
	struct store *store;
	struct rbac *rbac;
	char *pki_dir, *issuer;
	EVP_PKEY *token_key;
	char *token_kid;
	unsigned char known[TOKENS_KNOWN][TOKEN_DIGEST]; /* tokens with a good signature */
	unsigned next_known;
};

#endif
