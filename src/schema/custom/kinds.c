/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of definitions and the kinds they make. A kind stays at its address for as long as it
 * is the same group, version and Kind, or anybody refers to it: a new state of the definition is
 * described in place, between two turns of whoever reads it (there is one thread).
 */
#include "custom.h"

struct custom *customs;		    /* by group and plural */
static struct custom_kind **served; /* what kind_next() gives */
static size_t n_served;
static custom_source_fn *source_fn;
static void *source_arg;

/* ---- versions --------------------------------------------------------------------------- */

static bool number_at(const char **s, unsigned long *ret)
{
	char *end;

	if (**s < '1' || **s > '9')
		return false;
	*ret = strtoul(*s, &end, 10);
	*s = end;
	return true;
}

/* "v2beta1" -> rank (stable 3, beta 2, alpha 1), major, minor; 0: not of that form. */
static int version_parse(const char *s, unsigned long *major, unsigned long *minor)
{
	int rank = 3;

	*minor = 0;
	if (*s++ != 'v' || !number_at(&s, major))
		return 0;
	if (!*s)
		return rank;
	if (str_starts(s, "beta")) {
		rank = 2;
		s += strlen("beta");
	} else if (str_starts(s, "alpha")) {
		rank = 1;
		s += strlen("alpha");
	}
	return rank < 3 && number_at(&s, minor) && !*s ? rank : 0;
}

int version_cmp(const char *a, const char *b)
{
	unsigned long ma = 0, mb = 0, na = 0, nb = 0;
	int ra = version_parse(a, &ma, &na), rb = version_parse(b, &mb, &nb);

	if (ra != rb)
		return rb - ra;
	if (ra == 0)
		return strcmp(a, b);
	if (ma != mb)
		return ma > mb ? -1 : 1;
	return na == nb ? 0 : na > nb ? -1 : 1;
}

/* ---- life ------------------------------------------------------------------------------- */

static void kind_free(struct custom_kind *k)
{
	custom_forget(k);
	free(k->name);
	free(k->group);
	free(k->version);
	free(k->plural);
	free(k->word);
	free(k);
}

static void custom_free(struct custom *c)
{
	free(c->name);
	free(c->uid);
	free(c->v);
	free(c);
}

/* Frees what is dead and nobody refers to. Only called where no caller holds a custom kind. */
static void sweep(void)
{
	struct custom **at = &customs, *c;

	while ((c = *at)) {
		size_t kept = 0;

		for (size_t i = 0; i < c->n; i++) {
			if (c->v[i]->dead && c->v[i]->refs == 0)
				kind_free(c->v[i]);
			else
				c->v[kept++] = c->v[i];
		}
		c->n = kept;
		if (c->dead && !kept) {
			*at = c->next;
			custom_free(c);
		} else {
			at = &c->next;
		}
	}
}

/* The flat list for lookups. */
static void list_served(void)
{
	size_t n = 0;

	for (struct custom *c = customs; c; c = c->next)
		n += c->n;
	free(served);
	served = n ? xcalloc(n, sizeof(struct custom_kind *)) : NULL;
	n_served = 0;
	for (struct custom *c = customs; c; c = c->next)
		for (size_t i = 0; i < c->n; i++)
			if (c->v[i]->served)
				served[n_served++] = c->v[i];
}

static void retire(struct custom_kind *k)
{
	k->dead = true;
	k->served = false;
	k->kind.storage = NULL; /* it may be freed before this one */
	custom_drop_tree(k);
}

const struct kind *kind_ref(const struct kind *k)
{
	if (k && k->custom)
		k->custom->refs++;
	return k;
}

void kind_unref(const struct kind *k)
{
	if (k && k->custom)
		k->custom->refs--; /* swept later */
}

void custom_source(custom_source_fn *fn, void *arg)
{
	source_fn = fn;
	source_arg = arg;
	if (fn)
		return;
	for (struct custom *c = customs; c; c = c->next) {
		c->dead = true;
		for (size_t i = 0; i < c->n; i++)
			retire(c->v[i]);
	}
	sweep();
	list_served();
}

void custom_trim(void)
{
	for (struct custom *c = customs; c; c = c->next)
		for (size_t i = 0; i < c->n; i++) {
			struct custom_kind *k = c->v[i];

			custom_drop_tree(k);
		}
}

/* ---- finding ---------------------------------------------------------------------------- */

static struct custom *custom_find(const char *name)
{
	for (struct custom *c = customs; c; c = c->next)
		if (streq(c->name, name))
			return c;
	return NULL;
}

int custom_index(const char *crd)
{
	const struct custom *c = custom_find(crd);

	return c && !c->dead ? c->index : -ENOENT;
}

size_t kind_count(void)
{
	size_t n = n_schema_kinds;

	for (struct custom *c = customs; c; c = c->next)
		if (c->index >= n)
			n = c->index + 1U;
	return n;
}

const struct kind *kind_at(size_t index)
{
	if (index < n_schema_kinds)
		return schema_kinds[index];
	for (struct custom *c = customs; c; c = c->next)
		if (c->index == index)
			return c->dead || !c->storage ? NULL : &c->storage->kind;
	return NULL;
}

const struct kind *kind_next(size_t *i)
{
	size_t at = (*i)++;

	if (at < n_schema_kinds)
		return schema_kinds[at];
	at -= n_schema_kinds;
	return at < n_served ? &served[at]->kind : NULL;
}

/* An object of a version that is known no more is one of the stored version. */
static const struct kind *kind_of_group(const char *api_version, const char *kind)
{
	size_t len = strcspn(api_version, "/");

	for (struct custom *c = customs; c; c = c->next)
		if (!c->dead && c->storage && streq(c->storage->word, kind) &&
		    strlen(c->storage->group) == len &&
		    strncmp(c->storage->group, api_version, len) == 0)
			return &c->storage->kind;
	return NULL;
}

const struct kind *kind_known(const char *api_version, const char *kind)
{
	const struct kind *k = kind_by_name(api_version, kind);
	char buf[API_VERSION_MAX];

	for (struct custom *c = customs; c && !k; c = c->next)
		for (size_t i = 0; i < c->n && !k; i++)
			if (!c->v[i]->dead && streq(c->v[i]->word, kind) &&
			    streq(kind_api_version(&c->v[i]->kind, buf), api_version))
				k = &c->v[i]->kind;
	return k ? k : kind_of_group(api_version, kind);
}

bool kind_is_served(const struct kind *k)
{
	return !k->custom || k->custom->served;
}

bool kind_is_ending(const struct kind *k)
{
	return k->custom && (k->custom->of->ending || k->custom->of->dead);
}

bool custom_schema_text(const struct custom_kind *k, const char **text, size_t *len)
{
	const char *crd;
	size_t crd_len;

	return source_fn && source_fn(source_arg, k->of->name, &crd, &crd_len) &&
	       head_schema_text(crd, crd_len, k->version, text, len);
}

json_t *custom_schema(const struct custom_kind *k)
{
	const char *text;
	size_t len;

	return custom_schema_text(k, &text, &len) ? json_parse(text, len, NULL) : NULL;
}

bool custom_name_taken(const char *crd, const char *group, const char *word, bool kinds)
{
	for (struct custom *c = customs; c; c = c->next) {
		const struct kind *k = c->storage ? &c->storage->kind : NULL;

		if (!k || c->dead || !c->accepted || streq(c->name, crd) || !streq(k->group, group))
			continue;
		if (kinds ? streq(k->kind, word) || streq(k->list_kind, word)
			  : streq(k->plural, word) || streq(k->singular, word) ||
				    csv_has_exactly(k->short_names ? k->short_names : "", word))
			return true;
	}
	return false;
}

/* ---- taking definitions in -------------------------------------------------------------- */

static uint16_t free_index(void)
{
	size_t index = n_schema_kinds;

	for (struct custom *c = customs; c;) {
		if (c->index == index) {
			index++;
			c = customs;
		} else {
			c = c->next;
		}
	}
	return (uint16_t)index;
}

/* "group/plural" sorts definitions of a group together. */
static struct custom *custom_make(const char *name, const char *group)
{
	struct custom *c = xnew(struct custom), **at = &customs;

	c->index = free_index();
	c->name = xstrdup(name);
	for (; *at; at = &(*at)->next) {
		const char *other = strchr((*at)->name, '.');
		int cmp = strcmp(other ? other + 1 : "", group);

		if (cmp > 0 || (cmp == 0 && strcmp((*at)->name, name) > 0))
			break;
	}
	c->next = *at;
	*at = c;
	return c;
}

static struct custom_kind *kind_make(struct custom *c, const json_t *spec, const char *version,
				     const char *word)
{
	struct custom_kind *k = xnew(struct custom_kind);

	k->of = c;
	custom_init(k, spec, version, word);
	c->v = xrealloc(c->v, c->n + 1, sizeof(struct custom_kind *));
	c->v[c->n++] = k;
	return k;
}

static struct custom_kind *kind_of_version(struct custom *c, const json_t *spec,
					   const char *version, const char *word)
{
	bool namespaced = !streq(json_str(spec, "scope", ""), "Cluster");

	for (size_t i = 0; i < c->n; i++)
		if (streq(c->v[i]->version, version) && streq(c->v[i]->word, word) &&
		    c->v[i]->kind.namespaced == namespaced)
			return c->v[i];
	return kind_make(c, spec, version, word);
}

static int kind_cmp(const void *a, const void *b)
{
	const struct custom_kind *x = *(struct custom_kind *const *)a;
	const struct custom_kind *y = *(struct custom_kind *const *)b;

	if (x->dead != y->dead)
		return x->dead - y->dead;
	return version_cmp(x->version, y->version);
}

static bool is_true(const json_t *crd, const char *condition)
{
	json_t *c = json_find(json_at(crd, "status.conditions"), "type", condition);

	return streq(json_str(c, "status", ""), "True");
}

static int check_definition(const json_t *crd, struct err *err)
{
	const json_t *spec = json_object_get(crd, "spec"), *v;
	size_t i, stored = 0;

	if (str_empty(json_str(spec, "group", "")) ||
	    str_empty(json_str(spec, "names.plural", "")) ||
	    str_empty(json_str(spec, "names.kind", "")))
		return err_set(err, ERR_INVALID, "group or names are missing");
	json_array_foreach(json_object_get(spec, "versions"), i, v)
	{
		if (str_empty(json_str(v, "name", "")))
			return err_set(err, ERR_INVALID, "a version has no name");
		stored += json_bool(v, "storage", false);
	}
	if (stored != 1)
		return err_set(err, ERR_INVALID, "it has %zu storage versions", stored);
	if (kind_count() >= UINT16_MAX)
		return err_set(err, ERR_INVALID, "there are too many kinds");
	return 0;
}

/* The names that are in use: the accepted ones, or before anything was accepted those wished for.
 */
static const json_t *names_of(const json_t *crd)
{
	const json_t *names = json_at(crd, "status.acceptedNames");

	if (*json_str(names, "plural", "") && *json_str(names, "kind", ""))
		return names;
	return json_at(crd, "spec.names");
}

static void put_versions(struct custom *c, const json_t *crd)
{
	const json_t *spec = json_object_get(crd, "spec"), *names = names_of(crd), *v;
	const char *word = json_str(names, "kind", "");
	size_t i;

	for (i = 0; i < c->n; i++)
		c->v[i]->dead = true;
	c->storage = NULL;
	json_array_foreach(json_object_get(spec, "versions"), i, v)
	{
		struct custom_kind *k = kind_of_version(c, spec, json_str(v, "name", ""), word);

		k->dead = false;
		k->served = c->established && json_bool(v, "served", false);
		custom_forget(k);
		custom_describe(k, spec, names, v);
		if (json_bool(v, "storage", false))
			c->storage = k;
	}
	for (i = 0; i < c->n; i++) {
		if (c->v[i]->dead)
			retire(c->v[i]);
		else
			c->v[i]->kind.storage = c->v[i] == c->storage ? NULL : &c->storage->kind;
	}
	qsort(c->v, c->n, sizeof(struct custom_kind *), kind_cmp);
}

int custom_put(const json_t *crd, bool *ret_schema, struct err *err)
{
	int64_t generation = json_int(crd, "metadata.generation", 0);
	int rc = check_definition(crd, err);
	struct custom *c;

	if (ret_schema)
		*ret_schema = false;
	if (rc < 0)
		return rc;
	sweep();
	c = custom_find(meta_name(crd));
	if (!c)
		c = custom_make(meta_name(crd), json_str(crd, "spec.group", ""));
	if (ret_schema)
		*ret_schema =
			c->dead || c->generation != generation || !str_eq(c->uid, meta_uid(crd));
	free(c->uid);
	c->uid = xstrdup(meta_uid(crd));
	c->generation = generation;
	c->dead = false;
	c->accepted = *json_str(crd, "status.acceptedNames.plural", "") != '\0';
	c->established = is_true(crd, "Established");
	c->ending = meta_deleting(crd);
	put_versions(c, crd);
	list_served();
	return 0;
}

void custom_del(const char *crd)
{
	struct custom *c = custom_find(crd);

	if (!c)
		return;
	c->dead = true;
	for (size_t i = 0; i < c->n; i++)
		retire(c->v[i]);
	list_served();
}
