/* SPDX-License-Identifier: Apache-2.0 */
/* Every document of a registry or an archive, references and challenges: pure parsers. */
#include "record.h"
#include "ref.h"
#include "worker/http.h"
#include "worker/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void documents(const char *text, size_t len)
{
	static const char *const hints[] = {NULL, "application/vnd.oci.image.index.v1+json", "x"};
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++) {
		auto_manifest m = {0};
		auto_err err = {0};
		if (manifest_parse(text, len, hints[i], &m, &err) == 0 && m.is_index)
			(void)manifest_select(&m, "x86_64");
	}
	auto_conf conf = {0};
	auto_docker_manifest dm = {0};
	auto_err err = {0};
	(void)!conf_parse(text, len, &conf, &err);
	(void)!docker_manifest_parse(text, len, &dm, &err);
}

static void record(const char *text, size_t len)
{
	struct image *im = NULL;
	auto_err err = {0};
	json_auto_t *v = json_parse(text, len, &err);
	if (v && image_from_record("/dir", v, &im, &err) == 0)
		image_free(im);
}

static void small(const char *text)
{
	auto_free char *name = NULL, *again = NULL;
	struct challenge c;
	if (challenge_parse(text, &c) == 0)
		challenge_done(&c);
	if (image_ref_normalize(text, &name, NULL) < 0)
		return;
	/* What is normal stays as it is. */
	if (image_ref_normalize(name, &again, NULL) < 0 || !streq(name, again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	documents((const char *)data, size);
	record((const char *)data, size);
	small(text);
	return 0;
}
