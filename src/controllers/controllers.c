/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of controllers, the one store watch that feeds them, and their turns.
 *
 * What may take long, because objects are large or many, is done by a task. Nothing else is done
 * here meanwhile, so that a controller sees no other at work, and no event while it reconciles.
 */
#include "internal.h"

/* So many bytes of text are looked at without a task. */
#define LARGE (32U << 10)

static const struct controller_def *const defs[] = {
	&namespace_controller,
	&serviceaccount_controller,
	&deployment_controller,
	&replicaset_controller,
	&quota_controller,
	&disruption_controller,
	&scheduler_controller,
	&endpoints_controller,
	&endpointslice_controller,
	&gc_controller,
	&rbac_controller,
	&token_controller,
	&crd_controller,
	&ipaddress_controller,
	&csinode_controller,
	&flowschema_controller,
	&kubernetesservice_controller,
	&certificates_controller,
	&apiservice_controller,
	&replication_controller,
	&taint_controller,
	&policy_controller,
	&servicecidr_controller,
	&protection_controller,
};

struct controllers {
	struct loop *loop;
	struct store *store;
	struct store_watch *watch;
	struct work turn;
	char *node_name, *api_address, *ca_file;
	struct controllers_config config;
	struct controller list[ARRAY_SIZE(defs)];
	size_t next; /* round robin */

	struct task task;
	bool aside;		  /* it is under way; what it has to do, in this order: */
	struct controller *who;	  /* reconciles */
	char *key;		  /* this, or NULL */
	struct store_event event; /* is told, when there is an obj; references */
	bool lost;		  /* everything is to be looked at again */
};

const char *key_split(const char *key, char **ns)
{
	const char *slash = strchr(key, '/');

	*ns = xstrndup(key, slash ? (size_t)(slash - key) : 0);
	return slash ? slash + 1 : key;
}

void controller_dirty(struct controller *c, const char *ns, const char *name)
{
	auto_free char *key = xasprintf("%s/%s", ns, name);

	queue_add(&c->queue, key);
}

void controller_dirty_after(struct controller *c, const char *ns, const char *name,
			    uint64_t after_us)
{
	auto_free char *key = xasprintf("%s/%s", ns, name);

	queue_add_after(&c->queue, key, after_us);
}

static void reconcile_one(struct controller *c, const char *key)
{
	auto_err err = {0};
	int r = c->def->reconcile(c, key, &err);

	if (r < 0) {
		log_debug("controller %s: %s: %s", c->def->name, key,
			  err.message ? err.message : strerror(-r));
		queue_retry(&c->queue, key);
	} else {
		queue_forget(&c->queue, key);
	}
}

static void go_aside(struct controllers *all, size_t weight)
{
	all->aside = true;
	task_start_now(all->loop, &all->task, weight);
}

/* One key of the next controller that has one; the rest waits for its turn. */
static void on_turn(void *arg)
{
	struct controllers *all = arg;

	for (size_t i = 0; i < ARRAY_SIZE(defs) && !all->aside; i++) {
		struct controller *c = &all->list[(all->next + i) % ARRAY_SIZE(defs)];

		if (!queue_has_ready(&c->queue))
			continue;
		all->next = (all->next + i + 1) % ARRAY_SIZE(defs);
		work_queue(all->loop, &all->turn);
		auto_free char *key = queue_take(&c->queue);
		size_t weight = c->def->weight ? c->def->weight(c, key) : 0;
		if (weight < LARGE) {
			reconcile_one(c, key);
			return;
		}
		all->who = c;
		all->key = steal_ptr(key);
		go_aside(all, weight);
		return;
	}
}

static void tell_all(struct controllers *all, const struct store_event *ev)
{
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++)
		defs[i]->on_event(&all->list[i], ev);
}

static void event_done(struct controllers *all)
{
	object_unref(all->event.obj);
	object_unref(all->event.old);
	all->event = (struct store_event){0};
}

/* Every controller looks at both states. */
static size_t weight_of(const struct store_event *ev)
{
	return ev->obj->len + (ev->old ? ev->old->len : 0);
}

static bool on_event(void *arg, const struct store_event *ev)
{
	struct controllers *all = arg;

	if (!all->aside && weight_of(ev) < LARGE) {
		tell_all(all, ev);
		return true;
	}
	all->event = *ev;
	object_ref(ev->obj);
	object_ref(ev->old);
	if (!all->aside)
		go_aside(all, weight_of(ev));
	return !all->event.obj; /* else the task goes on with it, and with the watch */
}

static void see_everything(struct controllers *all)
{
	for (size_t i = 0; i < kind_count(); i++) {
		const struct kind *k = kind_at(i);
		const struct object *o;

		if (!k || k->storage)
			continue; /* the same objects once more */
		struct store_iter it = store_iter(all->store, k, NULL);

		while ((o = store_next(&it)))
			tell_all(all, &(struct store_event){
					      .type = STORE_ADDED, .rev = o->rev, .obj = o});
	}
}

/* The watch is gone. */
static void on_lost(void *arg)
{
	struct controllers *all = arg;

	all->lost = true;
	if (!all->aside)
		go_aside(all, LARGE);
}

static int follow(struct controllers *all, struct err *err)
{
	all->watch = store_watch_new(all->store, NULL, store_rev(all->store), on_event, on_lost,
				     all, err);
	if (!all->watch)
		return -EIO;
	see_everything(all);
	return 0;
}

/* A burst of changes outran the history: look at everything again. */
static void follow_again(struct controllers *all)
{
	auto_err err = {0};

	all->lost = false;
	store_watch_free(all->watch);
	all->watch = NULL;
	if (follow(all, &err) < 0)
		log_error("controllers: %s", err_message(&err));
}

static void aside_run(void *arg)
{
	struct controllers *all = arg;

	if (all->key)
		reconcile_one(all->who, all->key);
	free(steal_ptr(all->key));
	while (all->lost || all->event.obj) {
		if (all->event.obj)
			tell_all(all, &all->event);
		event_done(all);
		if (all->lost)
			follow_again(all);
	}
	all->aside = false;
	if (all->watch)
		store_watch_resume(all->watch);
	work_queue(all->loop, &all->turn);
}

static void show_queues(void *arg, json_t *rows)
{
	struct controllers *all = arg;

	for (size_t i = 0; i < ARRAY_SIZE(defs); i++) {
		struct queue *q = &all->list[i].queue;
		json_t *row = json_object();

		json_put_str(row, "controller", defs[i]->name);
		json_put_int(row, "waiting", (int64_t)queue_len(q));
		json_put_int(row, "added", (int64_t)q->added);
		json_put_int(row, "retried", (int64_t)q->retried);
		json_array_append_new(rows, row);
	}
}

struct controllers *controllers_start(struct loop *loop, struct registry *registry,
				      const struct controllers_config *config, struct err *err)
{
	struct controllers *all = xnew(struct controllers);

	all->loop = loop;
	all->store = registry_store(registry);
	all->node_name = xstrdup(config->node_name);
	all->api_address = xstrdup_null(config->api_address);
	all->ca_file = xstrdup_null(config->ca_file);
	all->config = (struct controllers_config){.node_name = all->node_name,
						  .api_address = all->api_address,
						  .ca_file = all->ca_file,
						  .identity = config->identity};
	work_init(&all->turn, on_turn, all);
	task_init(&all->task, aside_run, all);
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++) {
		struct controller *c = &all->list[i];

		*c = (struct controller){.def = defs[i],
					 .all = all,
					 .loop = loop,
					 .registry = registry,
					 .store = all->store,
					 .config = &all->config};
		queue_init(&c->queue, loop, &all->turn);
		c->state = defs[i]->start ? defs[i]->start(c) : NULL;
	}
	if (follow(all, err) < 0) {
		controllers_stop(all);
		return NULL;
	}
	show_register("queues", show_queues, all);
	return all;
}

void controllers_stop(struct controllers *all)
{
	if (!all)
		return;
	show_unregister("queues");
	if (all->aside && !task_cancel(all->loop, &all->task))
		tasks_finish(all->loop);
	event_done(all);
	free(all->key);
	store_watch_free(all->watch);
	work_cancel(&all->turn);
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++) {
		if (defs[i]->stop)
			defs[i]->stop(all->list[i].state);
		queue_done(&all->list[i].queue);
	}
	free(all->node_name);
	free(all->api_address);
	free(all->ca_file);
	free(all);
}
