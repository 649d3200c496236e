/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Approved CertificateSigningRequests of the signers that are ours get a certificate; those of
 * other signers are left to others. Old requests go, as upstream's cleaner lets them: decided ones
 * after an hour, others after a day.
 */
#include "internal.h"

#include <coracle/identity.h>

#define DECIDED_SECONDS 3600
#define PENDING_SECONDS (24 * 3600)

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (ev->obj->kind == &kind_certificatesigningrequest && ev->type != STORE_DELETED)
		controller_dirty(c, "", ev->obj->name);
}

static bool has(const json_t *obj, const char *type)
{
	return json_find(json_at(obj, "status.conditions"), "type", type);
}

static int set_failed(struct controller *c, const struct object *o, const char *why,
		      struct err *err)
{
	json_t *status = json_deep_copy(json_at(object_json(o), "status"));
	json_t *condition = json_pack("{s:s, s:s, s:s, s:s}", "type", "Failed", "status", "True",
				      "reason", "SignerValidationFailure", "message", why);

	json_put_time(condition, "lastUpdateTime", wall_now());
	json_put_time(condition, "lastTransitionTime", wall_now());
	json_array_append_new(json_arr(status, "conditions"), condition);
	return registry_set_status(c->registry, o->kind, "", o->name, o->uid, status, STORE_DURABLE,
				   err);
}

static int sign(struct controller *c, const struct object *o, struct err *err)
{
	auto_err why = {0};
	auto_free char *pem =
		identity_csr_sign(c->config->identity, json_at(object_json(o), "spec"), &why);
	auto_free char *encoded = pem ? base64_encode(pem, strlen(pem)) : NULL;
	json_t *status;

	if (!pem && why.reason == ERR_INVALID)
		return set_failed(c, o, err_message(&why), err);
	if (!pem) {
		err_copy(err, &why);
		return -EIO;
	}
	status = json_deep_copy(json_at(object_json(o), "status"));
	json_put_str(status, "certificate", encoded);
	return registry_set_status(c->registry, o->kind, "", o->name, o->uid, status, STORE_DURABLE,
				   err);
}

/* Removes what nobody will look at any more, or sees to it that it is looked at again. */
static int clean(struct controller *c, const struct object *o, struct err *err)
{
	const json_t *obj = object_json(o);
	bool decided = has(obj, "Approved") || has(obj, "Denied") || has(obj, "Failed");
	int64_t life = decided ? DECIDED_SECONDS : PENDING_SECONDS, left;
	struct write_options w = {.grace_seconds = -1, .precondition_uid = o->uid};
	struct timespec made;

	/* An approved one that nobody has signed may still be. */
	if (has(obj, "Approved") && !has(obj, "Failed") &&
	    !*json_str(obj, "status.certificate", ""))
		life = PENDING_SECONDS;
	if (time_parse(json_str(obj, "metadata.creationTimestamp", ""), &made) < 0 ||
	    !clock_is_right(made.tv_sec))
		return 0; /* nobody knows how old it is */
	left = made.tv_sec + life - wall_now();
	if (left > 0) {
		/* A clock that was set back does not make it stay for ever. */
		controller_dirty_after(c, "", o->name,
				       (uint64_t)(left < life ? left : life) * USEC_PER_SEC);
		return 0;
	}
	return registry_delete(c->registry, o->kind, "", o->name, &w, NULL, NULL, err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL;
	const char *name = key_split(key, &none);
	const struct object *o = store_get(c->store, &kind_certificatesigningrequest, "", name);
	const json_t *obj = o ? object_json(o) : NULL;

	if (!o || meta_deleting(obj))
		return 0;
	if (c->config->identity && identity_csr_signs(json_str(obj, "spec.signerName", "")) &&
	    has(obj, "Approved") && !has(obj, "Denied") && !has(obj, "Failed") &&
	    !*json_str(obj, "status.certificate", ""))
		return sign(c, o, err);
	return clean(c, o, err);
}

const struct controller_def certificates_controller = {
	.name = "certificates", .on_event = on_event, .reconcile = reconcile};
