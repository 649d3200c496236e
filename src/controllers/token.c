/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets of type kubernetes.io/service-account-token hold a token of the account that their
 * annotation names, and go with it (upstream: tokens_controller.go).
 */
#include "internal.h"

#include <coracle/identity.h>

#define TYPE "kubernetes.io/service-account-token"
#define ACCOUNT "kubernetes.io/service-account.name"
#define ACCOUNT_UID "kubernetes.io/service-account.uid"
enum { CA_MAX = 64 * 1024 };

static bool is_token(const struct object *o)
{
	return streq(json_str(object_json(o), "type", ""), TYPE);
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	const struct object *o = ev->obj;

	if (o->kind == &kind_secret && ev->type != STORE_DELETED && strstr(o->text, TYPE))
		controller_dirty(c, o->ns, o->name);
	if (o->kind != &kind_serviceaccount || ev->type == STORE_MODIFIED)
		return;
	struct store_iter it = store_iter(c->store, &kind_secret, o->ns);
	const struct object *secret;

	while ((secret = store_next(&it)))
		if (strstr(secret->text, TYPE))
			controller_dirty(c, secret->ns, secret->name);
}

/* Puts data.key = base64 of text; true when it was something else. */
static bool put_data(json_t *secret, const char *key, const char *text)
{
	json_t *data = json_obj(secret, "data");
	auto_free char *encoded = base64_encode(text, strlen(text));

	if (str_eq(json_string_value(json_object_get(data, key)), encoded))
		return false;
	json_object_set_new(data, key, json_string(encoded));
	return true;
}

static bool has_token(const json_t *secret)
{
	return !str_empty(json_string_value(json_object_get(json_at(secret, "data"), "token")));
}

static int fill(struct controller *c, const struct object *o, const struct object *account,
		struct err *err)
{
	json_auto_t *obj = object_dup(o);
	struct write_options w = {0};
	auto_free char *pem = NULL, *token = NULL;
	bool changed = put_data(obj, "namespace", o->ns);
	const char *uid = meta_annotation(obj, ACCOUNT_UID);

	if (c->config->ca_file && file_read(c->config->ca_file, CA_MAX, &pem, NULL) == 0)
		changed |= put_data(obj, "ca.crt", pem);
	if (!has_token(obj)) {
		token = identity_token_legacy(c->config->identity, account, o->name);
		if (!token)
			return err_set(err, ERR_INTERNAL, "cannot sign a token");
		changed |= put_data(obj, "token", token);
	}
	if (!uid || !streq(uid, account->uid)) {
		json_object_set_new(json_obj(obj, "metadata.annotations"), ACCOUNT_UID,
				    json_string(account->uid));
		changed = true;
	}
	if (!changed)
		return 0;
	return registry_update(c->registry, &kind_secret, NULL, o->ns, o->name, obj, &w, NULL, NULL,
			       err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns), *account, *uid;
	const struct object *o = store_get(c->store, &kind_secret, ns, name), *of;

	if (!c->config->identity || !o || !is_token(o) || meta_deleting(object_json(o)))
		return 0;
	account = meta_annotation(object_json(o), ACCOUNT);
	uid = meta_annotation(object_json(o), ACCOUNT_UID);
	of = account ? store_get(c->store, &kind_serviceaccount, ns, account) : NULL;
	if (of && (!uid || streq(uid, of->uid)))
		return fill(c, o, of, err);
	struct write_options w = {.grace_seconds = -1, .precondition_uid = o->uid};

	return registry_delete(c->registry, &kind_secret, ns, name, &w, NULL, NULL, err);
}

const struct controller_def token_controller = {
	.name = "token", .on_event = on_event, .reconcile = reconcile};
