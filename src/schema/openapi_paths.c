/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done with a kind, path by path: client generators make functions of it, kubectl reads
 * which parameters and patches the server takes. The deprecated paths below /watch are not
 * described.
 */
#include "openapi.h"

enum body { BODY_NONE, BODY_OBJECT, BODY_PATCH, BODY_DELETE };
enum answer { ANSWER_OBJECT, ANSWER_LIST, ANSWER_STATUS, ANSWER_TEXT };

struct operation {
	const char *method, *action;
	unsigned verb;
	const char *id;	  /* what its name begins with, and of what its description tells */
	const char *what; /* the same in words; the kind follows */
	enum body body;
	enum answer answer;
	const char *codes; /* besides 200 */
	/* comma-separated parameters; behind a name "?" is a boolean and "#" an integer */
	const char *query;
};

#define LIST_QUERY                                                                                 \
	"allowWatchBookmarks?,continue,fieldSelector,labelSelector,limit#,resourceVersion,"        \
	"resourceVersionMatch,sendInitialEvents?,timeoutSeconds#,watch?"
#define WRITE_QUERY "dryRun,fieldManager,fieldValidation"
#define DELETE_QUERY                                                                               \
	"dryRun,gracePeriodSeconds#,ignoreStoreReadErrorWithClusterBreakingPotential?,"            \
	"orphanDependents?,propagationPolicy"

static const struct operation on_all[] = {
	{"get", "list", VERB_LIST, "list", "list or watch objects of kind", BODY_NONE, ANSWER_LIST,
	 "", LIST_QUERY},
};
static const struct operation on_list[] = {
	{"get", "list", VERB_LIST, "list", "list or watch objects of kind", BODY_NONE, ANSWER_LIST,
	 "", LIST_QUERY},
	{"post", "post", VERB_CREATE, "create", "create an object of kind", BODY_OBJECT,
	 ANSWER_OBJECT, "201 202", WRITE_QUERY},
	{"delete", "deletecollection", VERB_DELETECOLLECTION, "delete",
	 "delete all or selected objects of kind", BODY_DELETE, ANSWER_STATUS, "",
	 "continue,fieldSelector,labelSelector,limit#," DELETE_QUERY
	 ",resourceVersion,resourceVersionMatch,"
	 "sendInitialEvents?,timeoutSeconds#"},
};
static const struct operation on_item[] = {
	{"get", "get", VERB_GET, "read", "read the named", BODY_NONE, ANSWER_OBJECT, "", ""},
	{"put", "put", VERB_UPDATE, "replace", "replace the named", BODY_OBJECT, ANSWER_OBJECT,
	 "201", WRITE_QUERY},
	{"patch", "patch", VERB_PATCH, "patch", "change parts of the named", BODY_PATCH,
	 ANSWER_OBJECT, "201", WRITE_QUERY ",force?"},
	{"delete", "delete", VERB_DELETE, "delete", "delete the named", BODY_DELETE, ANSWER_STATUS,
	 "202", DELETE_QUERY},
};
static const struct operation on_sub[] = {
	{"get", "get", VERB_GET, "read", "read the named", BODY_NONE, ANSWER_OBJECT, "", ""},
	{"post", "post", VERB_CREATE, "create", "create for the named", BODY_OBJECT, ANSWER_OBJECT,
	 "201 202", WRITE_QUERY},
	{"put", "put", VERB_UPDATE, "replace", "replace of the named", BODY_OBJECT, ANSWER_OBJECT,
	 "201", WRITE_QUERY},
	{"patch", "patch", VERB_PATCH, "patch", "change parts of the named", BODY_PATCH,
	 ANSWER_OBJECT, "201", WRITE_QUERY ",force?"},
};
static const struct operation on_log[] = {
	{"get", "get", VERB_GET, "read", "read the log of the named", BODY_NONE, ANSWER_TEXT, "",
	 "container,follow?,insecureSkipTLSVerifyBackend?,limitBytes#,previous?,sinceSeconds#,"
	 "stream,tailLines#,timestamps?"},
};
/* Subresources that take the connection over, or pass a request on. */
static const struct operation on_connect[] = {
	{"get", "connect", VERB_GET, "connect", "connect to the named", BODY_NONE, ANSWER_TEXT, "",
	 NULL},
	{"post", "connect", VERB_CREATE, "connect", "connect to the named", BODY_NONE, ANSWER_TEXT,
	 "", NULL},
	{"put", "connect", VERB_UPDATE, "connect", "connect to the named", BODY_NONE, ANSWER_TEXT,
	 "", NULL},
	{"patch", "connect", VERB_PATCH, "connect", "connect to the named", BODY_NONE, ANSWER_TEXT,
	 "", NULL},
	{"delete", "connect", VERB_DELETE, "connect", "connect to the named", BODY_NONE,
	 ANSWER_TEXT, "", NULL},
	/* only through proxies, which are those that know DELETE */
	{"head", "connect", VERB_DELETE, "connect", "connect to the named", BODY_NONE, ANSWER_TEXT,
	 "", NULL},
	{"options", "connect", VERB_DELETE, "connect", "connect to the named", BODY_NONE,
	 ANSWER_TEXT, "", NULL},
};

/* Where the operations are: a kind, one of its subresources, or all namespaces of it. */
struct place {
	const struct kind *k;
	const struct subresource *sub;
	bool item, all, rest; /* rest: a path is passed on */
};

/* ---- names --------------------------------------------------------------------------------- */

/* The letters and digits of s, each word with a capital: "rbac.authorization" RbacAuthorization. */
static void put_camel(struct strbuf *b, const char *s, size_t len, bool capital)
{
	for (size_t i = 0; i < len; i++) {
		char c = s[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && (i == 0 || c < '0' || c > '9')) {
			capital = true;
			continue;
		}
		strbuf_addc(b, capital && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
		capital = false;
	}
}

/* Groups of Kubernetes are known by what stands in front of ".k8s.io". */
static void put_group(struct strbuf *b, const struct kind *k, bool capital)
{
	const char *group = *k->group ? k->group : "core";
	size_t len = strlen(group);

	if (str_ends(group, ".k8s.io"))
		len -= strlen(".k8s.io");
	put_camel(b, group, len, capital);
}

static void put_operation_id(struct openapi *d, const struct place *p, const struct operation *op)
{
	auto_strbuf id = {0};

	strbuf_adds(&id, op->id);
	put_group(&id, p->k, true);
	put_camel(&id, p->k->version, strlen(p->k->version), true);
	if (streq(op->action, "connect"))
		put_camel(&id, op->method, strlen(op->method), true);
	if (streq(op->action, "deletecollection"))
		strbuf_adds(&id, "Collection");
	if (p->k->namespaced && !p->all)
		strbuf_adds(&id, "Namespaced");
	strbuf_adds(&id, p->k->kind);
	if (p->all)
		strbuf_adds(&id, "ForAllNamespaces");
	if (p->sub)
		put_camel(&id, p->sub->name, strlen(p->sub->name), true);
	if (p->rest)
		strbuf_adds(&id, "WithPath");
	openapi_member(&d->b, "operationId", id.s);
}

static void put_tags(struct openapi *d, const struct kind *k)
{
	auto_strbuf tag = {0};

	put_group(&tag, k, false);
	strbuf_addc(&tag, '_');
	put_camel(&tag, k->version, strlen(k->version), false);
	openapi_key(&d->b, "tags");
	strbuf_addc(&d->b, '[');
	openapi_string(&d->b, tag.s);
	strbuf_addc(&d->b, ']');
}

/* ---- parameters ---------------------------------------------------------------------------- */

static void put_parameter(struct openapi *d, const char *in, const char *name, const char *type)
{
	openapi_comma(&d->b);
	strbuf_addc(&d->b, '{');
	openapi_member(&d->b, "in", in);
	openapi_member(&d->b, "name", name);
	if (streq(in, "path")) {
		openapi_key(&d->b, "required");
		strbuf_adds(&d->b, "true");
	}
	if (d->v3) {
		openapi_key(&d->b, "schema");
		strbuf_addc(&d->b, '{');
	}
	openapi_member(&d->b, "type", type);
	openapi_key(&d->b, "uniqueItems");
	strbuf_adds(&d->b, d->v3 ? "true}}" : "true}");
}

static void put_parameters(struct openapi *d, const char *in, const char *names)
{
	while (*names) {
		size_t n = strcspn(names, ",");
		char mark = n ? names[n - 1] : 0;
		bool marked = mark == '?' || mark == '#';
		auto_free char *name = xstrndup(names, n - marked);

		put_parameter(d, in, name,
			      mark == '?'   ? "boolean"
			      : mark == '#' ? "integer"
					    : "string");
		names += n + (names[n] == ',');
	}
}

/* What is said to all operations of a path. */
static void put_path_parameters(struct openapi *d, const struct place *p)
{
	static const struct {
		const char *sub, *query;
	} connects[] = {
		{"attach", "container,stderr?,stdin?,stdout?,tty?"},
		{"exec", "command,container,stderr?,stdin?,stdout?,tty?"},
		{"portforward", "ports#"},
		{"proxy", "path"},
	};
	bool connect = false;

	openapi_key(&d->b, "parameters");
	strbuf_addc(&d->b, '[');
	if (p->item)
		put_parameters(d, "path", "name");
	if (p->k->namespaced && !p->all)
		put_parameters(d, "path", "namespace");
	if (p->rest)
		put_parameters(d, "path", "path");
	for (size_t i = 0; p->sub && i < ARRAY_SIZE(connects); i++) {
		if (streq(connects[i].sub, p->sub->name)) {
			put_parameters(d, "query", connects[i].query);
			connect = true;
		}
	}
	if (!connect)
		put_parameters(d, "query", "pretty");
	strbuf_addc(&d->b, ']');
}

/* ---- bodies and answers -------------------------------------------------------------------- */

/* Kinds of which those who connect tell what they want: their fields are parameters. */
static bool is_options(const struct subresource *s)
{
	return s->kind && str_ends(s->kind, "Options");
}

const struct message *openapi_answer(const struct kind *k, const struct subresource *s)
{
	auto_free char *api_version = NULL;

	if (is_options(s) || streq(s->name, "log"))
		return NULL;
	if (!s->kind)
		return k->message;
	api_version = xasprintf("%s%s%s", s->group, *s->group ? "/" : "", s->version);
	return message_for(api_version, s->kind);
}

/* Name of the definition that bodies and answers have; NULL: text. Caller frees. */
static char *definition_of(const struct place *p, enum answer answer)
{
	const struct message *m = p->sub ? openapi_answer(p->k, p->sub) : p->k->message;

	if (answer == ANSWER_STATUS)
		return xstrdup(META_PREFIX "Status");
	if (answer == ANSWER_LIST)
		return openapi_list_name(p->k);
	return m && answer == ANSWER_OBJECT ? xstrdup(m->name) : NULL;
}

static void put_schema_of(struct openapi *d, const char *name)
{
	openapi_key(&d->b, "schema");
	strbuf_addc(&d->b, '{');
	if (name)
		openapi_ref(d, name);
	else
		openapi_member(&d->b, "type", "string");
	strbuf_addc(&d->b, '}');
}

static const char *patch_types(const struct kind *k)
{
	return k->custom ? "application/json-patch+json,application/merge-patch+json,"
			   "application/apply-patch+yaml"
			 : "application/json-patch+json,application/merge-patch+json,"
			   "application/strategic-merge-patch+json,application/apply-patch+yaml";
}

static const char *answer_types(const struct operation *op)
{
	if (streq(op->action, "connect"))
		return "*/*";
	if (op->answer == ANSWER_TEXT)
		return "text/plain";
	if (op->answer == ANSWER_LIST)
		return "application/json,application/yaml,application/json;stream=watch";
	return "application/json,application/yaml";
}

/* "content" of OpenAPI 3: the same schema for every media type. */
static void put_content(struct openapi *d, const char *types, const char *name)
{
	openapi_key(&d->b, "content");
	strbuf_addc(&d->b, '{');
	while (*types) {
		size_t n = strcspn(types, ",");
		auto_free char *type = xstrndup(types, n);

		openapi_key(&d->b, type);
		strbuf_addc(&d->b, '{');
		put_schema_of(d, name);
		strbuf_addc(&d->b, '}');
		types += n + (types[n] == ',');
	}
	strbuf_addc(&d->b, '}');
}

static char *body_name(const struct place *p, const struct operation *op)
{
	return op->body == BODY_PATCH	 ? xstrdup(META_PREFIX "Patch")
	       : op->body == BODY_DELETE ? xstrdup(META_PREFIX "DeleteOptions")
					 : definition_of(p, ANSWER_OBJECT);
}

static void put_body_v2(struct openapi *d, const struct place *p, const struct operation *op)
{
	auto_free char *name = body_name(p, op);

	openapi_comma(&d->b);
	strbuf_adds(&d->b, "{\"in\":\"body\",\"name\":\"body\"");
	if (op->body != BODY_DELETE)
		strbuf_adds(&d->b, ",\"required\":true");
	put_schema_of(d, name);
	strbuf_addc(&d->b, '}');
}

static void put_body_v3(struct openapi *d, const struct place *p, const struct operation *op)
{
	auto_free char *name = body_name(p, op);

	openapi_key(&d->b, "requestBody");
	strbuf_addc(&d->b, '{');
	put_content(d, op->body == BODY_PATCH ? patch_types(p->k) : "*/*", name);
	strbuf_adds(&d->b, op->body == BODY_DELETE ? "}" : ",\"required\":true}");
}

static void put_response(struct openapi *d, const char *code, const char *text, const char *types,
			 const char *name)
{
	openapi_key(&d->b, code);
	strbuf_addc(&d->b, '{');
	openapi_member(&d->b, "description", text);
	if (types && d->v3)
		put_content(d, types, name);
	else if (types)
		put_schema_of(d, name);
	strbuf_addc(&d->b, '}');
}

static void put_responses(struct openapi *d, const struct place *p, const struct operation *op)
{
	bool object = streq(op->action, "delete") && p->k->returned;
	auto_free char *name = definition_of(p, object ? ANSWER_OBJECT : op->answer);
	const char *types = answer_types(op);

	openapi_key(&d->b, "responses");
	strbuf_addc(&d->b, '{');
	put_response(d, "200", "OK", types, name);
	if (strstr(op->codes, "201"))
		put_response(d, "201", "Created", types, name);
	if (strstr(op->codes, "202"))
		put_response(d, "202", "Accepted", types, name);
	put_response(d, "401", "Unauthorized", NULL, NULL);
	strbuf_addc(&d->b, '}');
}

/* ---- operations ---------------------------------------------------------------------------- */

static void put_description(struct openapi *d, const struct place *p, const struct operation *op)
{
	auto_free char *text = xasprintf("%s%s%s %s", p->sub ? p->sub->name : "",
					 p->sub ? ": " : "", op->what, p->k->kind);

	openapi_member(&d->b, "description", text);
}

static void put_operation(struct openapi *d, const struct place *p, const struct operation *op)
{
	const struct subresource *s = p->sub && p->sub->kind ? p->sub : NULL;

	openapi_key(&d->b, op->method);
	strbuf_addc(&d->b, '{');
	put_description(d, p, op);
	put_operation_id(d, p, op);
	put_tags(d, p->k);
	if (!d->v3) {
		openapi_csv(&d->b, "consumes", op->body == BODY_PATCH ? patch_types(p->k) : "*/*");
		openapi_csv(&d->b, "produces", answer_types(op));
		openapi_csv(&d->b, "schemes", "https");
	}
	openapi_key(&d->b, "parameters");
	strbuf_addc(&d->b, '[');
	if (op->body && !d->v3)
		put_body_v2(d, p, op);
	put_parameters(d, "query", op->query ? op->query : "");
	strbuf_addc(&d->b, ']');
	if (op->body && d->v3)
		put_body_v3(d, p, op);
	put_responses(d, p, op);
	openapi_member(&d->b, "x-kubernetes-action", op->action);
	openapi_key(&d->b, "x-kubernetes-group-version-kind");
	openapi_gvk(&d->b, s ? s->group : p->k->group, s ? s->version : p->k->version,
		    s ? s->kind : p->k->kind);
	strbuf_addc(&d->b, '}');
}

/* The path with its operations; "" when there are none. */
static char *put_place(struct openapi *d, const struct place *p, const struct operation *ops,
		       size_t n_ops, unsigned verbs)
{
	size_t n = 0;

	strbuf_addc(&d->b, '{');
	for (size_t i = 0; i < n_ops; i++) {
		if (!(verbs & ops[i].verb))
			continue;
		put_operation(d, p, &ops[i]);
		n++;
	}
	if (n == 0)
		return xstrdup("");
	put_path_parameters(d, p);
	strbuf_addc(&d->b, '}');
	return xasprintf("/%s%s%s/%s%s/%s%s%s%s%s", *p->k->group ? "apis" : "api",
			 *p->k->group ? "/" : "", p->k->group, p->k->version,
			 p->k->namespaced && !p->all ? "/namespaces/{namespace}" : "", p->k->plural,
			 p->item ? "/{name}" : "", p->sub ? "/" : "", p->sub ? p->sub->name : "",
			 p->rest ? "/{path}" : "");
}

static char *put_sub(struct openapi *d, const struct kind *k, const struct subresource *s,
		     bool rest)
{
	struct place p = {.k = k, .sub = s, .item = true, .rest = rest};

	if (rest && !streq(s->name, "proxy"))
		return xstrdup("");
	if (is_options(s))
		return put_place(d, &p, on_connect, ARRAY_SIZE(on_connect), s->verbs);
	if (streq(s->name, "log"))
		return put_place(d, &p, on_log, ARRAY_SIZE(on_log), s->verbs);
	return put_place(d, &p, on_sub, ARRAY_SIZE(on_sub), s->verbs);
}

char *openapi_path(struct openapi *d, const struct kind *k, size_t i)
{
	struct place p = {.k = k};

	switch (i) {
	case 0:
		p.all = true;
		return k->namespaced ? put_place(d, &p, on_all, ARRAY_SIZE(on_all), k->verbs)
				     : xstrdup("");
	case 1:
		return put_place(d, &p, on_list, ARRAY_SIZE(on_list), k->verbs);
	case 2:
		p.item = true;
		return put_place(d, &p, on_item, ARRAY_SIZE(on_item), k->verbs);
	default:
		i -= 3;
		return i / 2 < k->n_subresources
			       ? put_sub(d, k, &k->subresources[i / 2], i % 2 == 1)
			       : NULL;
	}
}

char *openapi_resources(struct openapi *d, const struct kind *k)
{
	static const char types[] = "application/json,application/yaml";
	auto_strbuf id = {0};

	strbuf_adds(&id, "get");
	put_group(&id, k, true);
	put_camel(&id, k->version, strlen(k->version), true);
	strbuf_adds(&id, "APIResources");
	strbuf_adds(&d->b, "{\"get\":{\"description\":\"get available resources\"");
	openapi_member(&d->b, "operationId", id.s);
	put_tags(d, k);
	if (!d->v3) {
		openapi_csv(&d->b, "consumes", types);
		openapi_csv(&d->b, "produces", types);
		openapi_csv(&d->b, "schemes", "https");
	}
	openapi_key(&d->b, "responses");
	strbuf_addc(&d->b, '{');
	put_response(d, "200", "OK", types, META_PREFIX "APIResourceList");
	put_response(d, "401", "Unauthorized", NULL, NULL);
	strbuf_adds(&d->b, "}}}");
	return xasprintf("/%s%s%s/%s/", *k->group ? "apis" : "api", *k->group ? "/" : "", k->group,
			 k->version);
}
