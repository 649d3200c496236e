/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest directory: every *.yaml, *.yml and *.json in it is applied at start and when it
 * changes, as `kubectl apply` would. Removing a file deletes nothing. The directory need not exist:
 * its parent is watched until it does.
 */
#include "internal.h"
#include <dirent.h>
#include <sys/inotify.h>
#include <unistd.h>

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define MANAGER "coracled"
#define SETTLE_US (500 * USEC_PER_MSEC) /* editors write in several steps */
/* What was refused is tried again, ever less often: it may depend on anything. */
#define RETRY_FIRST_US (10 * USEC_PER_SEC)
#define RETRY_LAST_US (20 * 60 * USEC_PER_SEC)
/* After a definition or a namespace has come that a refused object may have waited for. */
#define SOON_US (20 * USEC_PER_MSEC)
enum { MANIFEST_MAX = 3 << 20 };

struct manifests {
	struct loop *loop;
	struct registry *registry;
	char *dir;
	int fd; /* inotify */
	struct io *io;
	struct timer *settle;
	uint64_t retry_us; /* the next pause; 0: nothing has been refused yet */
	/* While something was refused: what it may wait for. */
	struct store_watch *definitions, *namespaces;
};

/* The object as it was given, to tell the next time what was taken out of the file. */
static void annotate(json_t *obj)
{
	auto_free char *text = json_text(obj, NULL);

	json_object_set_new(json_obj(obj, "metadata.annotations"), LAST_APPLIED, json_string(text));
}

static int apply_change(struct manifests *m, const struct kind *k, const struct object *old,
			json_t *obj, struct err *err)
{
	const char *last = meta_annotation(object_json(old), LAST_APPLIED);
	json_auto_t *original = last ? json_parse(last, strlen(last), NULL) : NULL;
	json_auto_t *patch =
		patch_create_three_way(k->message, original, obj, object_json(old), err);
	json_auto_t *now = NULL;
	struct write_options w = {.field_manager = MANAGER};

	if (!patch)
		return -EINVAL;
	if (!json_object_size(patch))
		return 0;
	now = patch_strategic(k->message, object_json(old), patch, err);
	if (!now)
		return -EINVAL;
	return registry_update(m->registry, k, NULL, old->ns, old->name, now, &w, NULL, NULL, err);
}

static int apply_object(struct manifests *m, json_t *doc, struct err *err)
{
	const struct kind *k =
		kind_by_name(json_str(doc, "apiVersion", ""), json_str(doc, "kind", ""));
	struct write_options w = {.field_manager = MANAGER};
	const struct object *old;
	auto_free char *ns = NULL;
	int r;

	if (!k)
		return err_set(err, ERR_BAD_REQUEST, "no matches for kind \"%s\" in version \"%s\"",
			       json_str(doc, "kind", ""), json_str(doc, "apiVersion", ""));
	r = schema_check(k->message, k->kind, doc, FIELDS_STRICT, NULL, err);
	if (r < 0)
		return r;
	ns = xstrdup(!k->namespaced ? "" : *meta_ns(doc) ? meta_ns(doc) : "default");
	if (k->namespaced)
		json_put_str(doc, "metadata.namespace", ns);
	annotate(doc);
	old = store_get(registry_store(m->registry), k, ns, meta_name(doc));
	if (old)
		return apply_change(m, k, old, doc, err);
	return registry_create(m->registry, k, ns, doc, &w, NULL, err);
}

static int apply_file(struct manifests *m, const char *path)
{
	auto_free char *text = NULL;
	json_auto_t *docs = NULL;
	auto_err err = {0};
	json_t *doc;
	size_t len, i;
	int r = file_read(path, MANIFEST_MAX, &text, &len), bad = 0;

	if (r < 0) {
		log_warn("manifest %s: %s", path, strerror(-r));
		return r;
	}
	docs = yaml_parse_all(text, len, &err);
	if (!docs) {
		log_warn("manifest %s: %s", path, err_message(&err));
		return 0; /* will not get better without an edit */
	}
	json_array_foreach(docs, i, doc)
	{
		auto_err why = {0};

		if (!json_is_object(doc) || apply_object(m, doc, &why) == 0)
			continue;
		log_warn("manifest %s: %s %s: %s", path, json_str(doc, "kind", "object"),
			 meta_name(doc), err_message(&why));
		bad = -EINVAL;
	}
	return bad;
}

static bool is_manifest(const struct dirent *e)
{
	return *e->d_name != '.' && (str_ends(e->d_name, ".yaml") || str_ends(e->d_name, ".yml") ||
				     str_ends(e->d_name, ".json"));
}

static int select_manifests(const struct dirent *e)
{
	return is_manifest(e);
}

static void retry_soon(struct manifests *m)
{
	m->retry_us = 0;
	timer_arm(m->settle, SOON_US);
}

static bool on_definition(void *arg, const struct store_event *ev)
{
	const json_t *crd = ev->type == STORE_DELETED ? NULL : object_json(ev->obj);
	const json_t *c = json_find(json_at(crd, "status.conditions"), "type", "Established");

	if (streq(json_str(c, "status", ""), "True"))
		retry_soon(arg);
	return true;
}

static bool on_namespace(void *arg, const struct store_event *ev)
{
	if (ev->type == STORE_ADDED)
		retry_soon(arg);
	return true;
}

static void unwatch(struct manifests *m)
{
	store_watch_free(m->definitions);
	store_watch_free(m->namespaces);
	m->definitions = m->namespaces = NULL;
}

/* Something was refused: it may go better later, and soon once there is what it asks for. */
static void wait_for_more(struct manifests *m, uint64_t since)
{
	struct store *s = registry_store(m->registry);

	m->retry_us = !m->retry_us			? RETRY_FIRST_US
		      : m->retry_us < RETRY_LAST_US / 2 ? 2 * m->retry_us
							: RETRY_LAST_US;
	timer_arm(m->settle, m->retry_us);
	unwatch(m); /* NULL when there was too much: the timer is left */
	m->definitions = store_watch_new(s, &kind_customresourcedefinition, since, on_definition,
					 NULL, m, NULL);
	m->namespaces = store_watch_new(s, &kind_namespace, since, on_namespace, NULL, m, NULL);
}

static void apply_all(void *arg)
{
	struct manifests *m = arg;
	uint64_t since = store_rev(registry_store(m->registry));
	struct dirent **names;
	int n = scandir(m->dir, &names, select_manifests, alphasort), bad = 0;

	for (int i = 0; i < n; i++) {
		auto_free char *path = path_join(m->dir, names[i]->d_name);

		bad |= apply_file(m, path);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	if (bad) {
		wait_for_more(m, since);
	} else {
		unwatch(m);
		m->retry_us = 0;
	}
}

static void watch(struct manifests *m)
{
	auto_free char *parent = xstrdup(m->dir);
	char *slash = strrchr(parent, '/');

	if (inotify_add_watch(m->fd, m->dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR) >= 0)
		return;
	slash[slash == parent] = '\0';
	inotify_add_watch(m->fd, parent, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

static void on_inotify(void *arg, int fd, unsigned what UNUSED)
{
	struct manifests *m = arg;
	char buf[4096];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
	watch(m);
	m->retry_us = 0;
	timer_arm(m->settle, SETTLE_US);
}

struct manifests *manifests_new(struct loop *loop, struct registry *registry, const char *dir)
{
	struct manifests *m = xnew(struct manifests);

	m->loop = loop;
	m->registry = registry;
	m->dir = xstrdup(dir);
	m->settle = timer_new(loop, apply_all, m);
	m->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (m->fd >= 0) {
		m->io = io_new(loop, m->fd, IO_READ, on_inotify, m);
		watch(m);
	} else {
		log_warn("manifests: changes are not seen: inotify: %s", strerror(errno));
	}
	apply_all(m);
	return m;
}

void manifests_free(struct manifests *m)
{
	if (!m)
		return;
	io_free(m->io);
	fd_close(m->fd);
	timer_free(m->settle);
	unwatch(m);
	free(m->dir);
	free(m);
}
