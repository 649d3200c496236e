/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ListOptions: which revision a list, watch or deletecollection means, and its continue tokens.
 * A token names the revision of the first page; later pages show the state of then.
 */
#include "internal.h"

#define TOKEN_MAX 2048
/* How long the state of a first page can be gone on with (upstream: etcd's compaction). */
#define TOKEN_AGE_S (5 * 60)

/* ---- tokens ------------------------------------------------------------------------------ */

static int64_t now_seconds(const struct call *c)
{
	return (int64_t)(loop_now(c->api->loop).us / USEC_PER_SEC);
}

/*
 * base64url of {"v","rv","start"} as upstream's; start is "namespace/name". rev 0: whatever is
 * newest when it is used. "t" is when the first page was given, in seconds of this machine's
 * monotonic clock.
 */
static char *token_text(uint64_t rev, int64_t t, const char *ns, const char *name)
{
	json_auto_t *v = json_object();
	size_t len;

	json_put_str(v, "v", "meta.k8s.io/v1");
	json_put_int(v, "rv", rev ? (json_int_t)rev : -1);
	json_put_int(v, "t", t);
	json_put_strf(v, "start", "%s/%s", ns, name);
	auto_free char *text = json_text(v, &len);
	char *token = base64_encode(text, len);

	for (char *p = token; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	token[strcspn(token, "=")] = '\0';
	return token;
}

char *list_token(const struct list_options *o, const struct object *last)
{
	return token_text(o->rev, o->since, last->ns, last->name);
}

static int token_parse(struct list_options *o, const char *token, struct err *err)
{
	auto_strbuf b = {0};
	auto_free unsigned char *text = NULL;
	size_t len;

	for (const char *p = token; *p && b.len <= TOKEN_MAX; p++)
		strbuf_addc(&b, *p == '-' ? '+' : *p == '_' ? '/' : *p);
	while (b.len % 4)
		strbuf_addc(&b, '=');
	if (b.len > TOKEN_MAX || base64_decode(b.s, b.len, &text, &len) < 0)
		return err_set(err, ERR_BAD_REQUEST,
			       "invalid continue token: continue key is not valid");
	json_auto_t *v = json_parse((const char *)text, len, NULL);
	const char *start = v ? json_str(v, "start", NULL) : NULL;
	const char *slash = start ? strchr(start, '/') : NULL;
	int64_t rev = v ? json_int(v, "rv", 0) : 0;

	if (!slash || rev < -1 || rev == 0)
		return err_set(err, ERR_BAD_REQUEST,
			       "invalid continue token: continue key is not valid");
	o->after_ns = xstrndup(start, (size_t)(slash - start));
	o->after_name = xstrdup(slash + 1);
	if (rev > 0) {
		o->rev = (uint64_t)rev;
		o->since = json_int(v, "t", 0);
		o->exact = true;
	}
	return 0;
}

static bool too_old(const struct call *c, const struct list_options *o)
{
	int64_t now = now_seconds(c);

	return now < o->since || now - o->since > TOKEN_AGE_S;
}

/*
 * 410 with a token that goes on behind the same key in the newest state. That is another one than
 * the first page's: the heartbeats that nobody saw meanwhile count, too.
 */
static int token_expired(const struct call *c, struct list_options *o, struct err *err)
{
	err_done(err);
	registry_look(c->api->registry, &kind_lease);
	o->next_token = token_text(0, 0, o->after_ns, o->after_name);
	return err_set(err, ERR_EXPIRED,
		       "The provided continue parameter is too old to display a consistent list "
		       "result. You can start a new list without the continue parameter, or use "
		       "the continue token in this response to retrieve the remainder of the "
		       "results. Continuing with the provided token results in an inconsistent "
		       "list - objects that were created, modified, or deleted between the time "
		       "the first chunk was returned and now may show up in the list.");
}

/* ---- what may go together ---------------------------------------------------------------- */

static void forbidden(struct err *err, const char *field, const char *text)
{
	err_cause_add(err, "FieldValueForbidden", field, "Forbidden: %s", text);
}

static void check_match(const struct list_options *o, bool watch, struct err *err)
{
	const char *const field = "resourceVersionMatch";

	if (!watch && str_empty(o->rv))
		forbidden(err, field,
			  "resourceVersionMatch is forbidden unless resourceVersion is provided");
	if (watch && !o->initial_given)
		forbidden(err, field,
			  "resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
			  "provided");
	if (!watch && o->token)
		forbidden(err, field,
			  "resourceVersionMatch is forbidden when continue is provided");
	if (!streq(o->match, "Exact") && !streq(o->match, "NotOlderThan"))
		err_cause_add(err, "FieldValueNotSupported", field,
			      "Unsupported value: \"%s\": supported values: \"Exact\", "
			      "\"NotOlderThan\", \"\"",
			      o->match);
	if (watch && o->token)
		forbidden(err, field,
			  "resourceVersionMatch is forbidden when continue is provided");
	if (!watch && streq(o->match, "Exact") && str_eq(o->rv, "0"))
		forbidden(err, field,
			  "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
}

/* KUBERNETES.md 4.6. */
static int check(const struct list_options *o, bool watch, struct err *err)
{
	auto_err all = {0};
	auto_strbuf b = {0};

	if (watch && o->initial_given && !str_eq(o->match, "NotOlderThan"))
		forbidden(&all, "resourceVersionMatch",
			  "sendInitialEvents requires setting resourceVersionMatch to "
			  "NotOlderThan");
	if (o->match)
		check_match(o, watch, &all);
	if (!watch && o->initial_given)
		forbidden(&all, "sendInitialEvents", "sendInitialEvents is forbidden for list");
	if (!all.n_causes)
		return 0;
	for (size_t i = 0; i < all.n_causes; i++)
		strbuf_addf(&b, "%s%s: %s", i ? ", " : "", all.causes[i].field,
			    all.causes[i].message);
	err_set(err, ERR_INVALID,
		all.n_causes == 1 ? "ListOptions.meta.k8s.io \"\" is invalid: %s"
				  : "ListOptions.meta.k8s.io \"\" is invalid: [%s]",
		b.s);
	err_about(err, "ListOptions", "meta.k8s.io", NULL);
	for (size_t i = 0; i < all.n_causes; i++)
		err_cause_add(err, all.causes[i].reason, all.causes[i].field, "%s",
			      all.causes[i].message);
	return -EINVAL;
}

static int too_large(uint64_t rev, uint64_t current, struct err *err)
{
	int rc = err_set(err, ERR_TIMEOUT,
			 "Timeout: Too large resource version: %llu, current: %llu",
			 (unsigned long long)rev, (unsigned long long)current);

	err_cause_add(err, "ResourceVersionTooLarge", NULL, "Too large resource version");
	if (err)
		err->retry_after = 1;
	return rc;
}

/* resourceVersion as a number; lists and initial events cannot wait for one that is to come. */
static int rev_parse(struct call *c, struct list_options *o, bool watch, struct err *err)
{
	uint64_t rev = 0, current = store_rev(c->api->store);

	if (str_empty(o->rv))
		return 0;
	if (str_to_u64(o->rv, UINT64_MAX, &rev) < 0)
		return err_set(err, ERR_BAD_REQUEST,
			       "resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing "
			       "\"%s\": invalid syntax",
			       o->rv, o->rv);
	if (rev > current && (!watch || o->initial))
		return too_large(rev, current, err);
	o->rev = rev;
	return 0;
}

int get_options_check(struct call *c, struct err *err)
{
	struct list_options o = {.rv = http_param(c->req, "resourceVersion")};
	int rc = rev_parse(c, &o, false, err);

	list_options_done(&o);
	return rc;
}

/* Which state the list shows. */
static int choose_state(struct call *c, struct list_options *o, struct err *err)
{
	const struct store *s = c->api->store;
	bool named = o->rev != 0;

	/* Without a match a limited list at a revision has always been exact. */
	o->exact = named && (str_eq(o->match, "Exact") || (!o->match && o->limit));
	o->since = now_seconds(c);
	if (o->token && named)
		return err_set(err, ERR_BAD_REQUEST,
			       "specifying resource version is not allowed when using continue");
	if (!o->exact)
		o->rev = store_rev(s);
	if (o->token && token_parse(o, o->token, err) < 0)
		return -EINVAL;
	if (o->token && o->exact && too_old(c, o))
		return token_expired(c, o, err);
	if (!o->exact || o->rev == store_rev(s))
		return 0;
	if (o->rev > store_rev(s))
		return too_large(o->rev, store_rev(s), err);
	o->past = store_past_new(s, c->target.kind, o->rev, err);
	if (o->past)
		return 0;
	if (o->token)
		return token_expired(c, o, err);
	err_done(err);
	return err_set(err, ERR_EXPIRED, "The resourceVersion for the provided list is too old.");
}

static char *param(struct call *c, const char *name)
{
	char *v = http_param(c->req, name);

	if (v && !*v) {
		free(v);
		return NULL;
	}
	return v;
}

int list_options_parse(struct call *c, bool watch, struct list_options *o, struct err *err)
{
	auto_free char *initial = param(c, "sendInitialEvents");
	int64_t limit, timeout; /* which lists have as well, and need not mind */
	int rc = call_int(c, "limit", 0, &limit, err);

	if (rc == 0)
		rc = call_int(c, "timeoutSeconds", 0, &timeout, err);
	*o = (struct list_options){0};
	o->limit = limit < 0 ? 0 : limit > INT32_MAX ? INT32_MAX : (size_t)limit;
	o->rv = param(c, "resourceVersion");
	o->match = param(c, "resourceVersionMatch");
	o->token = param(c, "continue");
	o->initial_given = initial;
	o->initial = call_bool(c, "sendInitialEvents");
	if (rc == 0)
		rc = check(o, watch, err);
	if (rc == 0)
		rc = rev_parse(c, o, watch, err);
	if (rc == 0 && !watch)
		rc = choose_state(c, o, err);
	return rc;
}

void list_options_done(struct list_options *o)
{
	free(o->rv);
	free(o->match);
	free(o->token);
	free(o->after_ns);
	free(o->after_name);
	free(o->next_token);
	store_past_free(o->past);
	*o = (struct list_options){0};
}
