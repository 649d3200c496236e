/* SPDX-License-Identifier: Apache-2.0 */
/* Lifetime of the module, and users. */
#include "internal.h"
#include "jwt.h"

/* ---- users ------------------------------------------------------------------------------- */

void user_done(struct user *u)
{
	free(u->name);
	free(u->uid);
	strv_done(&u->groups);
	json_decref(u->extra);
	*u = (struct user){0};
}

void user_complete(struct user *u, const char *name)
{
	const char *group = u->anonymous ? "system:unauthenticated" : "system:authenticated";

	free(u->name);
	u->name = xstrdup(name);
	if (!strv_has(&u->groups, group))
		strv_add(&u->groups, group);
	u->admin = strv_has(&u->groups, "system:masters");
}

/* ---- rights ------------------------------------------------------------------------------ */

bool identity_allows(const struct identity *id, const struct user *u, const struct access *a,
		     char **ret_reason)
{
	if (ret_reason)
		*ret_reason = NULL;
	return u->admin || rbac_allows(id->rbac, u, a, ret_reason);
}

/* ---- lifetime ---------------------------------------------------------------------------- */

static int open_keys(struct identity *id, const struct identity_config *c, struct err *err)
{
	int rc = pki_prepare(c->pki_dir, c->node_name, c->service_ip, c->listen, c->cluster_domain,
			     err);

	if (rc < 0)
		return rc;
	id->token_key = pki_token_key(c->pki_dir, err);
	if (!id->token_key)
		return -EIO;
	id->token_kid = key_id(id->token_key);
	return id->token_kid ? 0 : err_set(err, ERR_INTERNAL, "cannot name the token key");
}

struct identity *identity_open(struct loop *loop, struct store *store,
			       const struct identity_config *c, struct err *err)
{
	struct identity *id = xnew(struct identity);

	id->loop = loop;
	id->store = store;
	id->pki_dir = xstrdup(c->pki_dir);
	id->issuer = xasprintf("https://kubernetes.default.svc.%s", c->cluster_domain);
	if (open_keys(id, c, err) == 0)
		id->rbac = rbac_new(store, err);
	if (!id->rbac) {
		identity_close(id);
		return NULL;
	}
	return id;
}

void identity_close(struct identity *id)
{
	if (!id)
		return;
	rbac_free(id->rbac);
	EVP_PKEY_free(id->token_key);
	free(id->token_kid);
	free(id->issuer);
	free(id->pki_dir);
	free(id);
}
