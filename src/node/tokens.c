/* SPDX-License-Identifier: Apache-2.0 */
/* tokens: those of a pod's service account that one volume holds. */
#include "tokens.h"

#define SECONDS_DEFAULT 3600
#define RENEW_PERCENT 80
/* Long-lived ones are renewed every day all the same. */
#define RENEW_MAX_US (UINT64_C(24) * 3600 * USEC_PER_SEC)

void tokens_done(struct tokens *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->v[i].audience);
		free(t->v[i].text);
	}
	free(t->v);
	*t = (struct tokens){0};
}

static struct token *find(struct tokens *t, const char *audience, int64_t seconds)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].seconds == seconds && streq(t->v[i].audience, audience))
			return &t->v[i];
	t->v = xrealloc(t->v, t->n + 1, sizeof(*t->v));
	t->v[t->n] = (struct token){.audience = xstrdup(audience), .seconds = seconds};
	return &t->v[t->n++];
}

static int renew(struct token *k, const struct identity *id, const struct store *store,
		 const struct object *pod, mono_t now, struct err *err)
{
	const char *account = json_str(object_json(pod), "spec.serviceAccountName", "default");
	json_auto_t *audiences = *k->audience ? json_pack("[s]", k->audience) : NULL;
	struct token_request r = {.account =
					  store_get(store, &kind_serviceaccount, pod->ns, account),
				  .audiences = audiences,
				  .seconds = k->seconds,
				  .bound = pod};
	uint64_t life = (uint64_t)k->seconds * USEC_PER_SEC / 100 * RENEW_PERCENT;
	time_t expires;
	char *text;

	if (!id)
		return err_set(err, ERR_INVALID, "service account tokens are not available");
	if (!r.account)
		return err_set(err, ERR_NOT_FOUND,
			       "failed to fetch token: serviceaccounts \"%s\" not found", account);
	text = identity_token_issue(id, &r, &expires);
	if (!text)
		return err_set(err, ERR_INTERNAL, "failed to fetch token: cannot sign it");
	free(k->text);
	k->text = text;
	k->renew = mono_add(now, life < RENEW_MAX_US ? life : RENEW_MAX_US);
	return 0;
}

const char *tokens_get(struct tokens *t, const struct identity *id, const struct store *store,
		       const struct object *pod, const json_t *source, mono_t now, struct err *err)
{
	struct token *k = find(t, json_str(source, "audience", ""),
			       json_int(source, "expirationSeconds", SECONDS_DEFAULT));

	if ((!k->text || !mono_before(now, k->renew)) && renew(k, id, store, pod, now, err) < 0)
		return NULL;
	return k->text;
}

uint64_t tokens_due_in(const struct tokens *t, mono_t now)
{
	uint64_t first = 0;

	for (size_t i = 0; i < t->n; i++) {
		uint64_t us = t->v[i].text ? mono_sub(t->v[i].renew, now) + 1 : 0;

		if (us && (!first || us < first))
			first = us;
	}
	return first;
}
