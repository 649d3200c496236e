/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission of what may leave its class open: an Ingress gets the default IngressClass, a
 * PersistentVolumeClaim the default StorageClass (kubernetes plugin/pkg/admission/network/
 * defaultingressclass and storage/storageclass/setdefault).
 */
#include "internal.h"

static const struct chooser {
	const struct kind *kind, *classes;
	const char *field;    /* of the object: names the class; "" is a choice, too */
	const char *older;    /* its annotation of former times */
	const char *marks[2]; /* annotations of the default class */
} choosers[] = {
	{&kind_ingress,
	 &kind_ingressclass,
	 "spec.ingressClassName",
	 "kubernetes.io/ingress.class",
	 {"ingressclass.kubernetes.io/is-default-class", NULL}},
	{&kind_persistentvolumeclaim,
	 &kind_storageclass,
	 "spec.storageClassName",
	 "volume.beta.kubernetes.io/storage-class",
	 {"storageclass.kubernetes.io/is-default-class",
	  "storageclass.beta.kubernetes.io/is-default-class"}},
};

static bool is_default(const struct chooser *ch, const json_t *class)
{
	for (size_t i = 0; i < ARRAY_SIZE(ch->marks); i++)
		if (ch->marks[i] && str_eq(meta_annotation(class, ch->marks[i]), "true"))
			return true;
	return false;
}

/* Of several the newest; of the same second the first by name, which is the order they come in. */
static const struct object *default_class(struct registry *r, const struct chooser *ch)
{
	struct store_iter it = store_iter(r->store, ch->classes, NULL);
	const struct object *o, *best = NULL;
	const char *newest = "";

	while ((o = store_next(&it))) {
		const char *made = json_str(object_json(o), "metadata.creationTimestamp", "");

		if (!is_default(ch, object_json(o)) || (best && strcmp(made, newest) <= 0))
			continue;
		best = o;
		newest = made;
	}
	return best;
}

void admit_default_class(struct registry *r, const struct kind *k, json_t *obj)
{
	for (size_t i = 0; i < ARRAY_SIZE(choosers); i++) {
		const struct chooser *ch = &choosers[i];
		const struct object *class;

		if (ch->kind != k || json_at(obj, ch->field) || meta_annotation(obj, ch->older))
			continue;
		class = default_class(r, ch);
		if (class)
			json_put_str(obj, ch->field, class->name);
	}
}
