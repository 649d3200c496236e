/* SPDX-License-Identifier: Apache-2.0 */
/* pull: gets a container's image here, by its imagePullPolicy, with back-off and kubelet's events.
 */
#include "internal.h"

/* ---- credentials ------------------------------------------------------------------------ */

struct login {
	char *username, *password;
};

static void login_done(struct login *l)
{
	free(l->username);
	free(l->password);
}

/* "user:password" in base64. */
static void login_decode(struct login *l, const char *coded)
{
	unsigned char *text;
	size_t len;

	if (base64_decode(coded, strlen(coded), &text, &len) < 0)
		return;
	char *colon = strchr((char *)text, ':');
	if (colon) {
		l->username = xstrndup((char *)text, (size_t)(colon - (char *)text));
		l->password = xstrdup(colon + 1);
	}
	free(text);
}

/* Host (and path) part of a docker config key, without scheme and the old "/v1/". */
static char *auth_key(const char *key)
{
	const char *s = strstr(key, "://");
	char *out;

	s = s ? s + 3 : key;
	out = xstrdup(s);
	size_t len = strlen(out);
	if (str_ends(out, "/v1/") || str_ends(out, "/v2/"))
		out[len - 4] = '\0';
	else if (len && out[len - 1] == '/')
		out[len - 1] = '\0';
	if (streq(out, "index.docker.io")) {
		free(out);
		out = xstrdup("docker.io");
	}
	return out;
}

static bool login_find(struct login *l, const json_t *auths, const char *ref)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)auths, key, v)
	{
		auto_free char *prefix = auth_key(key);
		size_t n = strlen(prefix);
		if (strncmp(ref, prefix, n) != 0 || (ref[n] != '/' && ref[n] != ':'))
			continue;
		if (*json_str(v, "auth", "")) {
			login_decode(l, json_str(v, "auth", ""));
		} else {
			l->username = xstrdup_null(json_str(v, "username", NULL));
			l->password = xstrdup_null(json_str(v, "password", NULL));
		}
		return l->username != NULL;
	}
	return false;
}

/* Looks through one pull secret: type kubernetes.io/dockerconfigjson or dockercfg. */
static bool login_from_secret(struct login *l, const json_t *secret, const char *ref)
{
	static const char *const keys[] = {".dockerconfigjson", ".dockercfg"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len;
		auto_free char *text = config_value(&kind_secret, secret, keys[i], &len);
		json_auto_t *doc = text ? json_parse(text, len, NULL) : NULL;
		const json_t *auths = i == 0 ? json_object_get(doc, "auths") : doc;
		if (doc && login_find(l, auths, ref))
			return true;
	}
	return false;
}

static void login_for(struct login *l, struct pod *p, const char *image)
{
	auto_free char *ref = NULL;
	size_t i;
	json_t *v;

	if (image_ref_normalize(image, &ref, NULL) < 0)
		return;
	json_array_foreach(json_at(pod_json(p), "spec.imagePullSecrets"), i, v)
	{
		const json_t *secret = pod_lookup(p, &kind_secret, json_str(v, "name", ""));
		if (secret && login_from_secret(l, secret, ref))
			return;
	}
}

/* ---- results ---------------------------------------------------------------------------- */

static void pull_ok(struct ctr *c, const struct image *image)
{
	uint64_t ms = mono_sub(loop_now(c->pod->node->loop), c->pull_started) / USEC_PER_MSEC;
	char took[32];

	if (ms < 1000)
		snprintf(took, sizeof(took), "%llums", (unsigned long long)ms);
	else
		snprintf(took, sizeof(took), "%llu.%03llus", (unsigned long long)ms / 1000,
			 (unsigned long long)ms % 1000);
	c->pulled = true;
	backoff_reset(&c->pull_pause);
	ctr_event(c, "Normal", "Pulled",
		  "Successfully pulled image \"%s\" in %s (%s including waiting). Image size: %llu "
		  "bytes.",
		  json_str(ctr_spec(c), "image", ""), took, took,
		  (unsigned long long)(image ? image->size : 0));
}

static void pull_failed(struct ctr *c, const char *why)
{
	mono_t now = loop_now(c->pod->node->loop);
	const char *image = json_str(ctr_spec(c), "image", "");

	backoff_next(&c->pull_pause, now);
	c->pull_failed = now;
	c->pull_told = false;
	ctr_event(c, "Warning", "Failed", "Failed to pull image \"%s\": %s", image, why);
	ctr_event(c, "Warning", "Failed", "Error: ErrImagePull");
	ctr_set_waiting(c, "ErrImagePull", "%s", why);
}

static void on_done(void *arg, const struct image *const *images, size_t n, const struct err *err)
{
	struct ctr *c = arg;

	c->pull = NULL;
	if (err)
		pull_failed(c, err_message(err));
	else
		pull_ok(c, n ? images[0] : NULL);
	pod_kick(c->pod);
}

static const struct image_job_ops pull_ops = {.on_done = on_done};

void ctr_pull_cancel(struct ctr *c)
{
	if (c->pull)
		image_job_cancel(steal_ptr(c->pull));
	if (c->state == CTR_PULLING)
		ctr_set_state(c, CTR_WAITING);
}

/* ---- steps ------------------------------------------------------------------------------ */

static void pull_begin(struct ctr *c, const char *image)
{
	__attribute__((cleanup(login_done))) struct login login = {0};
	auto_err err = {0};

	login_for(&login, c->pod, image);
	struct image_auth auth = {login.username, login.password};
	ctr_event(c, "Normal", "Pulling", "Pulling image \"%s\"", image);
	ctr_set_waiting(c, NULL, "%s", "");
	c->pull_started = loop_now(c->pod->node->loop);
	c->pull = image_pull(c->pod->node->parts.images, image, login.username ? &auth : NULL,
			     &pull_ops, c, &err);
	if (!c->pull)
		pull_failed(c, err_message(&err));
}

/* While the last failure is too fresh. */
static bool pull_pausing(struct ctr *c, const char *image)
{
	mono_t now = loop_now(c->pod->node->loop);
	uint64_t left = backoff_left(&c->pull_pause, c->pull_failed, now);

	if (!left)
		return false;
	pod_wake_in(c->pod, left);
	if (c->pull_told) {
		ctr_set_waiting(c, "ImagePullBackOff", "Back-off pulling image \"%s\"", image);
		return true;
	}
	/* ErrImagePull stays visible for a moment, as with kubelet's next sync. */
	if (mono_sub(now, c->pull_failed) < USEC_PER_SEC) {
		pod_wake_in(c->pod, USEC_PER_SEC);
		return true;
	}
	c->pull_told = true;
	ctr_event(c, "Normal", "BackOff", "Back-off pulling image \"%s\"", image);
	ctr_event(c, "Warning", "Failed", "Error: ImagePullBackOff");
	ctr_set_waiting(c, "ImagePullBackOff", "Back-off pulling image \"%s\"", image);
	return true;
}

static bool never_here(struct ctr *c, const char *image)
{
	if (!c->pull_told) {
		ctr_event(c, "Warning", "ErrImageNeverPull",
			  "Container image \"%s\" is not present with pull policy of Never", image);
		ctr_event(c, "Warning", "Failed", "Error: ErrImageNeverPull");
	}
	c->pull_told = true;
	ctr_set_waiting(c, "ErrImageNeverPull",
			"Container image \"%s\" is not present with pull policy of Never", image);
	return false; /* on_images() looks again when one has come */
}

static bool bad_name(struct ctr *c, const char *image)
{
	auto_free char *ref = NULL;
	auto_err err = {0};

	if (image_ref_normalize(image, &ref, &err) == 0)
		return false;
	if (!c->pull_told)
		ctr_event(c, "Warning", "InspectFailed",
			  "Failed to apply default image tag \"%s\": %s", image, err_message(&err));
	c->pull_told = true;
	ctr_set_waiting(c, "InvalidImageName", "Failed to apply default image tag \"%s\": %s",
			image, err_message(&err));
	return true;
}

/* An image of that name is enough unless the policy is Always; preloaded ones are pinned and enough
 * in any case: a machine that was shipped with its images needs no registry. */
static bool usable(const struct ctr *c, const struct image *here, const char *policy)
{
	return here && (c->pulled || here->pinned || !streq(policy, "Always"));
}

bool ctr_image_ready(struct ctr *c, const struct image **ret)
{
	const json_t *spec = ctr_spec(c);
	const char *image = json_str(spec, "image", "");
	const char *policy = json_str(spec, "imagePullPolicy", "IfNotPresent");
	const struct image *here;

	if (c->pull || bad_name(c, image))
		return false;
	here = image_find(c->pod->node->parts.images, image);
	if (usable(c, here, policy)) {
		if (!c->pulled)
			ctr_event(c, "Normal", "Pulled",
				  "Container image \"%s\" already present on machine", image);
		*ret = here;
		c->pulled = true;
		return true;
	}
	if (streq(policy, "Never"))
		return never_here(c, image);
	ctr_set_state(c, CTR_PULLING);
	if (!pull_pausing(c, image))
		pull_begin(c, image);
	return false;
}

bool pod_wants_image(const struct pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++)
		if ((p->ctrs[i]->state == CTR_WAITING || p->ctrs[i]->state == CTR_PULLING) &&
		    !p->ctrs[i]->pulled)
			return true;
	return false;
}
