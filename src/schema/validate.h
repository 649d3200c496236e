/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How validators tell what is wrong: each check_* adds one cause with the words of
 * apimachinery/pkg/util/validation/field/errors.go. The path is that of the object being looked
 * at; `field` names a member of it, NULL means the object itself.
 */
#ifndef CORACLE_SCHEMA_VALIDATE_H
#define CORACLE_SCHEMA_VALIDATE_H

#include "internal.h"

struct check {
	struct err *err;
	struct strbuf path;
};

/* Steps into a member or list item; returns the mark for check_leave(). */
size_t check_enter(struct check *c, const char *field);
size_t check_item(struct check *c, const char *field, size_t i);
void check_leave(struct check *c, size_t mark);

/* Walks the array `list` below `obj` with the path following along: json_t *var is each item. */
#define check_foreach(c, obj, field, var)                                                          \
	for (size_t ix_##var = 0, mk_##var = check_item((c), (field), 0);                          \
	     check_step((c), (obj), (field), ix_##var, &(var), mk_##var); ix_##var++)
/* Helper of check_foreach(): sets *ret and the path, or restores the path and returns false. */
bool check_step(struct check *c, const json_t *obj, const char *field, size_t i, json_t **ret,
		size_t mark);

void check_required(struct check *c, const char *field, const char *detail);
void check_invalid(struct check *c, const char *field, const json_t *value, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
void check_invalid_str(struct check *c, const char *field, const char *value, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
void check_invalid_int(struct check *c, const char *field, int64_t value, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* Without the value. */
void check_invalid_bare(struct check *c, const char *field, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* supported: comma-separated. */
void check_unsupported(struct check *c, const char *field, const char *value,
		       const char *supported);
void check_unsupported_value(struct check *c, const char *field, const json_t *value,
			     const char *supported);
void check_duplicate(struct check *c, const char *field, const json_t *value);
void check_duplicate_str(struct check *c, const char *field, const char *value);
void check_forbidden(struct check *c, const char *field, const char *fmt, ...) PRINTF_LIKE(3, 4);
void check_not_found(struct check *c, const char *field, const char *value);
void check_too_long(struct check *c, const char *field, size_t max);
void check_too_many(struct check *c, const char *field, size_t n, size_t max);
/* Text of a form; empty text is told as missing by check_required_text(). */
void check_text(struct check *c, const char *field, const char *value,
		const char *(*valid)(const char *s));
void check_required_text(struct check *c, const char *field, const char *value,
			 const char *(*valid)(const char *s));
/* supported: comma-separated. */
void check_one_of(struct check *c, const char *field, const char *value, const char *supported);
void check_port_number(struct check *c, const char *field, int64_t port);
/* "field is immutable" unless both values (NULL: absent) are the same. */
void check_immutable(struct check *c, const char *field, const json_t *obj, const json_t *old);

/* What the field table says about v, an object of type m. old: its former state or NULL. */
void check_message(struct check *c, const struct message *m, const json_t *v, const json_t *old);
/* Labels, label selectors, metadata. */
void check_labels(struct check *c, const char *field, const json_t *labels);
void check_annotations(struct check *c, const char *field, const json_t *annotations);
/* A metav1.LabelSelector at obj.field. */
void check_selector(struct check *c, const char *field, const json_t *selector);
void check_metadata(struct check *c, const struct kind *k, const json_t *obj, const json_t *old);

/* An object inside a custom one, at path: it says what it is, and its metadata is that of an
 * object. */
void check_embedded(struct err *err, const char *path, const json_t *obj);

/* A whole PodSpec; the path is at it. */
void check_pod_spec(struct check *c, const json_t *spec);
/* A PersistentVolumeSpec that stands in another object. */
void check_inline_volume(struct check *c, const json_t *spec);
/* The spec of a workload whose pods must always be restarted; word: "deployment", kind:
 * "ReplicaSet", for messages. */
void check_workload(struct check *c, const char *word, const char *kind, const json_t *spec,
		    const json_t *old_spec);
/* A PodTemplateSpec; the path is at it. */
void check_pod_template(struct check *c, const json_t *template);
/* A number of pods or a percentage of them, which is not negative; returns the number it starts
 * with. */
int64_t check_amount(struct check *c, const char *field, const json_t *v);
/* Not more than 100%. */
void check_percentage(struct check *c, const char *field, const json_t *v);
/* A number that is not negative; says what Kubernetes says. */
#define CHECK_NEGATIVE "must be greater than or equal to 0"
/* Does the name of a resource have a domain? */
bool is_qualified(const char *name);
/* Amounts of a map of quantities: -1, 0, 1 as a < b, a == b, a > b; absent ones count as 0. */
int quantity_compare(const json_t *a, const json_t *b);
/* A name of a resource; container: that a container can have. */
void check_resource_name(struct check *c, const char *field, const char *name, bool container);
/* Not negative, and whole where the resource is counted in pieces. */
void check_resource_amount(struct check *c, const char *field, const char *name, const json_t *v);

/* Indexes of a job's pods: "0,2-5,7", rising, below completions; counts them. And one part of that,
 * "2-5" or "7". err: upstream's words. */
int job_indexes(const char *text, int64_t completions, int64_t *ret, struct err *err) MUST_CHECK;
int job_interval(const char *text, int64_t completions, int64_t *from, int64_t *to,
		 struct err *err) MUST_CHECK;
/* A Job's status, where it differs from that of old. */
void check_job_status(struct check *c, const json_t *obj, const json_t *old);

/* Is the word in the comma-separated list? Case counts. */
bool csv_has_exactly(const char *list, const char *word);
bool valid_ip(const char *text); /* IPv4 or IPv6 */
/* Not an address that means the host itself or nobody. */
void check_routable(struct check *c, const char *field, const json_t *v);

#endif
