/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CustomResourceDefinitions: accepts their names when no other definition of the group has them,
 * says that the kind is served, and empties a kind whose definition is being deleted (upstream:
 * apiextensions-apiserver pkg/controller/{status,establish,finalizer,apiapproval}).
 */
#include "internal.h"

#define APPROVED "api-approved.kubernetes.io"
#define EMPTYING_SLICE 200 /* objects deleted in one turn */

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (ev->obj->kind == &kind_customresourcedefinition) {
		struct store_iter it = store_iter(c->store, ev->obj->kind, NULL);
		const struct object *o;

		controller_dirty(c, "", ev->obj->name);
		/* names that become free may be what another one waits for */
		while (ev->type == STORE_DELETED && (o = store_next(&it)))
			controller_dirty(c, "", o->name);
	} else if (ev->type == STORE_DELETED && ev->obj->kind->custom) {
		auto_free char *name =
			xasprintf("%s.%s", ev->obj->kind->plural, ev->obj->kind->group);

		if (kind_is_ending(ev->obj->kind))
			controller_dirty(c, "", name);
	}
}

/* ---- names ------------------------------------------------------------------------------ */

/* Does the accepted name list of another definition of the group hold the word? */
static bool has_name(const json_t *names, const char *word, bool kinds)
{
	static const char *const resource[] = {"plural", "singular"}, *const kind[] = {"kind",
										       "listKind"};
	json_t *v;
	size_t i;

	for (i = 0; i < 2; i++)
		if (streq(json_str(names, kinds ? kind[i] : resource[i], ""), word))
			return true;
	if (!kinds)
		json_array_foreach(json_object_get(names, "shortNames"), i,
				   v) if (str_eq(json_string_value(v), word)) return true;
	return false;
}

/* A definition as it is looked at here: without its schemas. */
struct crd {
	const struct object *o;
	json_t *head;
};

static bool is_taken(const struct crd *d, const char *word, bool kinds)
{
	return custom_name_taken(d->o->name, json_str(d->head, "spec.group", ""), word, kinds);
}

struct conflict {
	const char *reason;
	char *message;
};

static void conflict_set(struct conflict *f, const char *reason, const char *word)
{
	free(f->message);
	f->reason = reason;
	f->message = xasprintf("\"%s\" is already in use", word);
}

static void accept_word(const struct crd *d, const char *field, bool kinds, const char *reason,
			json_t *accepted, struct conflict *f)
{
	auto_free char *path = xasprintf("spec.names.%s", field);
	const char *word = json_str(d->head, path, "");

	if (!streq(word, json_str(accepted, field, "")) && *word && is_taken(d, word, kinds))
		conflict_set(f, reason, word);
	else
		json_put_str(accepted, field, word);
}

static void accept_short_names(const struct crd *d, json_t *accepted, struct conflict *f)
{
	json_t *wanted = json_at(d->head, "spec.names.shortNames"), *v;
	bool free_all = true;
	size_t i;

	json_array_foreach(wanted, i, v)
	{
		if (has_name(accepted, json_string_value(v), false) ||
		    !is_taken(d, json_string_value(v), false))
			continue;
		conflict_set(f, "ShortNamesConflict", json_string_value(v));
		free_all = false;
	}
	if (!free_all)
		return;
	if (json_array_size(wanted))
		json_object_set_new(accepted, "shortNames", json_deep_copy(wanted));
	else
		json_object_del(accepted, "shortNames");
}

/* The names that may be used, as many of those wanted as are free. */
static void accept_names(const struct crd *d, json_t *status, time_t now)
{
	json_t *accepted = json_obj(status, "acceptedNames");
	json_t *categories = json_at(d->head, "spec.names.categories");
	struct conflict f = {0};

	accept_word(d, "plural", false, "PluralConflict", accepted, &f);
	accept_word(d, "singular", false, "SingularConflict", accepted, &f);
	accept_short_names(d, accepted, &f);
	accept_word(d, "kind", true, "KindConflict", accepted, &f);
	accept_word(d, "listKind", true, "ListKindConflict", accepted, &f);
	if (json_array_size(categories))
		json_object_set_new(accepted, "categories", json_deep_copy(categories));
	else
		json_object_del(accepted, "categories");
	condition_set(status, "NamesAccepted", f.reason ? "False" : "True",
		      f.reason ? f.reason : "NoConflicts",
		      f.reason ? f.message : "no conflicts found", now);
	free(f.message);
}

static bool is_true(const json_t *status, const char *type)
{
	return streq(json_str(condition_find(status, type), "status", ""), "True");
}

/* Once established it stays so: clients may be using it. */
static void establish(json_t *status, time_t now)
{
	if (is_true(status, "Established"))
		return;
	if (is_true(status, "NamesAccepted"))
		condition_set(status, "Established", "True", "InitialNamesAccepted",
			      "the initial names have been accepted", now);
	else
		condition_set(status, "Established", "False", "NotAccepted",
			      "not all names are accepted", now);
}

static void note_approval(const json_t *crd, json_t *status, time_t now)
{
	const char *group = json_str(crd, "spec.group", "");
	const char *note = meta_annotation(crd, APPROVED);
	auto_free char *text = xasprintf("approved in %s", note ? note : "");

	if ((!str_ends(group, ".k8s.io") && !str_ends(group, ".kubernetes.io")) || str_empty(note))
		return;
	if (str_starts(note, "unapproved"))
		condition_set(status, "KubernetesAPIApprovalPolicyConformant", "False",
			      "UnapprovedAnnotation", note, now);
	else
		condition_set(status, "KubernetesAPIApprovalPolicyConformant", "True",
			      "ApprovedAnnotation", text, now);
}

static int set_status(struct controller *c, const struct crd *d, json_t *status, struct err *err)
{
	const struct object *o = d->o;
	int r;

	if (json_equal(status, json_object_get(d->head, "status"))) {
		json_decref(status);
		return 0;
	}
	r = registry_set_status(c->registry, o->kind, "", o->name, o->uid, status, STORE_DURABLE,
				err);
	return r == -ENOENT ? 0 : r;
}

static json_t *status_of(const struct crd *d)
{
	json_t *status = json_deep_copy(json_object_get(d->head, "status"));

	return json_is_object(status) ? status : json_object();
}

/* ---- the end ---------------------------------------------------------------------------- */

/* Asks for the end of every object; *left: how many are still there (bounded by the slice). */
static int empty_kind(struct controller *c, const struct kind *k, size_t *left, bool *more,
		      struct err *err)
{
	struct store_iter it = store_iter(c->store, k, NULL);
	const struct object *o;
	size_t asked = 0;
	int r = 0;

	*left = 0;
	*more = false;
	while (r >= 0 && (o = store_next(&it))) {
		struct write_options w = {.grace_seconds = -1,
					  .precondition_uid = o->uid,
					  .propagation = "Background",
					  .storage = STORE_LAZY};
		bool gone = false;

		if (!meta_deleting(object_json(o))) {
			if (asked++ >= EMPTYING_SLICE) {
				*more = true;
				break;
			}
			r = registry_delete(c->registry, k, o->ns, o->name, &w, NULL, &gone, err);
			r = r == -ENOENT ? 0 : r;
		}
		*left += !gone;
	}
	return r;
}

static int let_go(struct controller *c, const struct object *o, struct err *err)
{
	json_auto_t *crd = object_dup(o);
	json_t *list = json_at(crd, "metadata.finalizers"), *f;
	struct write_options w = {.precondition_uid = o->uid};
	size_t i;
	int r;

	json_array_foreach(list, i, f) if (str_eq(json_string_value(f), CRD_CLEANUP_FINALIZER))
		json_array_remove(list, i--);
	if (!json_array_size(list))
		json_drop(crd, "metadata.finalizers");
	r = registry_update(c->registry, o->kind, NULL, "", o->name, crd, &w, NULL, NULL, err);
	return r == -ENOENT ? 0 : r;
}

static bool has_cleanup(const json_t *crd)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_at(crd, "metadata.finalizers"), i,
			   f) if (str_eq(json_string_value(f), CRD_CLEANUP_FINALIZER)) return true;
	return false;
}

static int finish(struct controller *c, const struct crd *d, struct err *err)
{
	const struct object *o = d->o;
	int index = custom_index(o->name);
	const struct kind *k = index < 0 ? NULL : kind_at((size_t)index);
	size_t left = 0;
	bool more = false;
	int r = k ? empty_kind(c, k, &left, &more, err) : 0;
	json_t *status;

	if (r < 0)
		return r;
	if (more)
		controller_dirty(c, "", o->name);
	if (!left && !more)
		return let_go(c, o, err);
	status = status_of(d);
	condition_set(status, "Terminating", "True", "InstanceDeletionInProgress",
		      "CustomResource deletion is in progress", wall_now());
	return set_status(c, d, status, err);
}

static int judge(struct controller *c, const struct crd *d, struct err *err)
{
	json_t *status = status_of(d);
	time_t now = wall_now();

	accept_names(d, status, now);
	establish(status, now);
	note_approval(d->head, status, now);
	return set_status(c, d, status, err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL;
	const struct object *o =
		store_get(c->store, &kind_customresourcedefinition, "", key_split(key, &none));
	json_auto_t *head = o ? custom_head(o->text, o->len) : NULL;
	struct crd d = {o, head};

	if (!head)
		return 0;
	if (!meta_deleting(head))
		return judge(c, &d, err);
	return has_cleanup(head) ? finish(c, &d, err) : 0;
}

/* Its own text; one that is going has objects. */
static size_t weight(struct controller *c, const char *key)
{
	auto_free char *none = NULL;
	const struct object *o =
		store_get(c->store, &kind_customresourcedefinition, "", key_split(key, &none));

	if (!o)
		return 0;
	return strstr(o->text, "\"deletionTimestamp\"") ? o->len + WEIGHT_LARGE : o->len;
}

const struct controller_def crd_controller = {
	.name = "crd", .on_event = on_event, .reconcile = reconcile, .weight = weight};
