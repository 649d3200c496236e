/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of src/registry share.
 *
 *   registry.c   lifetime, what must always exist, status writes
 *   fail.c       errors in Kubernetes' words
 *   create.c update.c delete.c   the three verbs
 *   managed.c    who set which field
 *   apply.c      server-side apply
 *   view.c       versions of a kind that are stored as another version
 *   admit.c      namespaces and pods: what may come in, what is filled in
 *   csr.c        subresources of certificate requests
 *   priority.c limits.c quota.c   admission by PriorityClass, LimitRange, ResourceQuota
 *   evict.c      evictions, by disruption budgets
 *   account.c    the API's credentials in every pod
 *   runtimeclass.c  what a RuntimeClass adds to a pod
 *   classes.c    default classes of ingresses and claims
 *   policy.c policy_eval.c   ValidatingAdmissionPolicies
 *   builtin.c    objects that a server makes for itself
 *   lease.c      the node's Lease
 *   service.c    cluster addresses and node ports
 *   event.c      recording of events
 */
#ifndef CORACLE_REGISTRY_INTERNAL_H
#define CORACLE_REGISTRY_INTERNAL_H

#include <coracle/registry.h>

/* Addresses and ports that services hold: key -> "ns/name" of the holder (owned). An entry counts
 * only while its holder still has it, so what the store takes back frees itself. */
struct allocator {
	struct map addresses, ports;
	uint32_t base; /* of the service range, host order */
	uint32_t size; /* addresses in it */
	int port_min, port_max;
	struct store_watch *watch; /* of services */
};

struct events {
	struct map folds;    /* fold key -> struct event_record */
	struct list records; /* the least recently seen first */
	size_t n;
	struct timer *timer;
	uint64_t last_name; /* number in the newest name */
};

/* ValidatingAdmissionPolicies and their bindings, as policy.c knows them. */
struct policies {
	struct policy *v;
	struct binding *bindings;
	size_t n, n_bindings;
	bool stale; /* to be read again */
	struct store_watch *watches[2];
};

struct registry {
	struct loop *loop;
	struct store *store;
	char *service_cidr, *node_name;
	bool mount_tokens;
	struct allocator allocator;
	struct events events;
	struct policies policies;
	struct timer *lease_timer; /* armed while somebody watches leases */
	unsigned lease_watchers;
};

/* ---- fail.c ----------------------------------------------------------------------------- */

int fail_not_found(struct err *err, const struct kind *k, const char *name);
int fail_exists(struct err *err, const struct kind *k, const char *name);
/* `Operation cannot be fulfilled on pods "x": <text>` */
int fail_conflict(struct err *err, const struct kind *k, const char *name, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
int fail_modified(struct err *err, const struct kind *k, const char *name);
/* `pods "x" is forbidden: <text>` */
int fail_forbidden(struct err *err, const struct kind *k, const char *name, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* `Service "x" is invalid: <field>: <text>` with one cause FieldValueInvalid. */
int fail_invalid(struct err *err, const struct kind *k, const char *name, const char *field,
		 const char *fmt, ...) PRINTF_LIKE(5, 6);
/* `Service "x" is invalid: <field>: Forbidden: <text>`, the cause FieldValueForbidden. */
int fail_field_forbidden(struct err *err, const struct kind *k, const char *name, const char *field,
			 const char *fmt, ...) PRINTF_LIKE(5, 6);

/* ---- parts of the verbs ----------------------------------------------------------------- */

/* Checks the namespace of the body against the request's and sets it. */
int set_namespace(const struct kind *k, const char *ns, json_t *obj, struct err *err) MUST_CHECK;
/* The class that this kind of write gets: events are never worth flash. */
enum store_class class_for(const struct kind *k, const struct write_options *o);
bool has_finalizers(const json_t *obj);
/* Copies member `key` of from, or drops it. */
void take_member(json_t *to, const json_t *from, const char *key);
/* The wishes of both differ (spec, or what the kind has instead): what generation counts. */
bool spec_differs(const json_t *a, const json_t *b);
/* In a task, the removal of old made ready, as draft_ahead() does for a write; else NULL. */
struct store_draft *removal_ahead(struct registry *r, const struct object *old,
				  const struct write_options *o);
/* Removes old from the store and lets go of what it held. d: removal_ahead() or NULL. */
int remove_now(struct registry *r, const struct object *old, struct store_draft *d,
	       const struct write_options *o, const struct object **ret,
	       struct err *err) MUST_CHECK;

/* ---- view.c: the verbs for a kind with another storage kind ------------------------------ */

int view_create(struct registry *r, const struct kind *k, const char *ns, json_t *obj,
		const struct write_options *o, const struct object **ret,
		struct err *err) MUST_CHECK;
int view_update(struct registry *r, const struct kind *k, const char *subresource, const char *ns,
		const char *name, json_t *obj, const struct write_options *o,
		const struct object **ret, bool *ret_created, struct err *err) MUST_CHECK;
int view_delete(struct registry *r, const struct kind *k, const char *ns, const char *name,
		const struct write_options *o, const struct object **ret, bool *ret_gone,
		struct err *err) MUST_CHECK;

/* ---- managed.c: entries of metadata.managedFields ---------------------------------------- */

/* After defaults: notes what the write changes in obj, whose managedFields may be the client's. old
 * NULL on create. manager NULL: ourselves. */
void managed_note(const struct kind *k, const json_t *old, json_t *obj, const char *subresource,
		  const char *manager);
/* New array: those of obj when they can be read, else those of old. */
json_t *managed_start(const json_t *old, const json_t *obj);
/* The entries of an untracked object that a controller of ours made, or the node; false: it is
 * none. */
bool managed_made(const struct kind *k, const json_t *obj, json_t *entries);
bool managed_is(const json_t *entry, const char *manager, const char *operation,
		const char *subresource);
const json_t *managed_set(const json_t *entry);
json_t *managed_entry(const struct kind *k, const char *manager, const char *operation,
		      const char *subresource, const json_t *set);
/* What changes from old to now, objects of kind k: sets of fields, in each version of the kind that
 * an entry may name. */
struct changes {
	const struct kind *k;
	const char *sub;
	const json_t *old, *now;
	json_t *by_version; /* apiVersion -> [what is new or changed, what is gone] */
};
/* Borrowed; NULL: there is no such version. */
const json_t *changes_set(struct changes *c, const char *api_version);
bool changes_none(struct changes *c, const char *api_version);
void changes_done(struct changes *c);
/* New array: the entries without what changes, those left empty are gone. */
json_t *managed_without(const json_t *entries, struct changes *c);
/* New set without what nobody owns. */
json_t *managed_strip(const struct kind *k, const char *subresource, const json_t *set);
/* Puts the entries into obj, in upstream's order, not too many. */
void managed_store(json_t *obj, json_t *entries);

/* ---- admit.c ---------------------------------------------------------------------------- */

/* The namespace exists and is not on its way out. */
int admit_namespace(struct registry *r, const struct kind *k, const char *ns, const char *name,
		    struct err *err) MUST_CHECK;
/* Fills in what admission plug-ins fill in, before defaults. */
int admit_create(struct registry *r, const struct kind *k, json_t *obj, struct err *err) MUST_CHECK;
/* The same after defaults. */
void admit_defaulted(struct registry *r, const struct kind *k, json_t *obj);
/* Whether what is valid may come in; the last question before it is stored. old: NULL on create. */
int admit_checked(struct registry *r, const struct kind *k, const json_t *obj, const json_t *old,
		  struct err *err) MUST_CHECK;

/* What the caller's hook says (write_options.admit). */
int admit_asked(const struct kind *k, const char *subresource, json_t *obj,
		const struct object *old, const struct write_options *o,
		struct err *err) MUST_CHECK;
/* In a task, what is to be stored is made ready before breathing ends; else *ret is NULL. */
int draft_ahead(struct registry *r, const struct kind *k, json_t *obj, const struct object *old,
		const struct write_options *o, struct store_draft **ret,
		struct err *err) MUST_CHECK;

/* ---- priority.c, limits.c, quota.c ------------------------------------------------------- */

/* Sets priority and preemption of a new pod from its class. */
int priority_set(struct registry *r, json_t *pod, struct err *err) MUST_CHECK;
/* There is one default at most. */
int priority_check_class(struct registry *r, const json_t *obj, struct err *err) MUST_CHECK;
/* The two classes of the system. */
bool priority_is_system(const char *name);
int priority_make_classes(struct registry *r, struct err *err) MUST_CHECK;
/* Gives containers what they do not say. */
void limits_fill(struct registry *r, json_t *pod);
/* obj: a pod or a claim. */
int limits_check(struct registry *r, const struct kind *k, const json_t *obj,
		 struct err *err) MUST_CHECK;
int quota_check(struct registry *r, const struct kind *k, const json_t *obj, const json_t *old,
		struct err *err) MUST_CHECK;
/* What a pod asks for altogether; what: "requests" or "limits". New. */
json_t *pod_resources(const json_t *pod, const char *what);

/* ---- policy.c --------------------------------------------------------------------------- */

int policies_init(struct registry *r, struct err *err) MUST_CHECK;
void policies_done(struct registry *r);
/* A write that admission policies are asked about. obj NULL: it goes; old NULL: it comes. */
struct review {
	const struct kind *kind;
	const char *sub, *operation, *ns, *name;
	const json_t *obj, *old;
	const struct write_options *o;
};
int policy_review(struct registry *r, const struct review *q, struct err *err) MUST_CHECK;

/* ---- account.c -------------------------------------------------------------------------- */

/* account NULL: it is not there yet. */
void account_mount_token(json_t *pod, const struct object *account);

/* Of a pod: what its RuntimeClass says (runtimeclass.c). */
int admit_runtime_class(struct registry *r, json_t *pod, struct err *err) MUST_CHECK;
/* Of an Ingress or a claim: the default class, when it names none (classes.c). */
void admit_default_class(struct registry *r, const struct kind *k, json_t *obj);

/* ---- builtin.c, lease.c ------------------------------------------------------------------ */

int make_builtin_objects(struct registry *r, struct err *err) MUST_CHECK;
void lease_init(struct registry *r);
void lease_done(struct registry *r);

/* ---- csr.c ------------------------------------------------------------------------------ */

/* obj: a copy of was, to get what /approval may change. */
void csr_take_approval(json_t *obj, const json_t *was, const json_t *given);
/* obj: with the status that was given; the decision stays as it was, none is added. */
int csr_keep_decision(json_t *obj, const struct object *old, struct err *err) MUST_CHECK;

/* ---- service.c -------------------------------------------------------------------------- */

int allocator_init(struct registry *r, const struct registry_config *config,
		   struct err *err) MUST_CHECK;
/* Takes note of the services that are there. */
int allocator_start(struct registry *r, struct err *err) MUST_CHECK;
void allocator_done(struct registry *r);
/* offset counts from the network address: 1 is the first usable one. */
void allocator_address(const struct registry *r, uint32_t offset, char *buf, size_t len);
/* Carries over from old what the new version leaves unsaid. Before defaults. */
void service_keep(json_t *obj, const json_t *old);
/* Chooses or checks addresses and ports; nothing is held before service_hold(). */
int service_allocate(struct registry *r, json_t *obj, struct err *err) MUST_CHECK;
void service_hold(struct registry *r, const struct object *o);
void service_release(struct registry *r, const struct object *o);

/* ---- event.c ---------------------------------------------------------------------------- */

void events_init(struct registry *r);
void events_done(struct registry *r);
/* An event that somebody wrote, to be forgotten in time. */
void events_note(struct registry *r, const struct object *event);

#endif
