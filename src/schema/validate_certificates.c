/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of CertificateSigningRequest (kubernetes pkg/apis/certificates/validation). That the
 * request is one is checked where it is taken in (identity_csr_check()).
 */
#include "validate.h"

#define SECONDS_MIN 600
#define SIGNER_MAX 571 /* a subdomain, "/", and a path of 253 and 63 characters */
#define USAGES                                                                                     \
	"any,cert sign,client auth,code signing,content commitment,crl sign,data encipherment,"    \
	"decipher only,digital signature,email protection,encipher only,ipsec end system,"         \
	"ipsec tunnel,ipsec user,key agreement,key encipherment,microsoft sgc,netscape sgc,"       \
	"ocsp signing,s/mime,server auth,signing,timestamping"

static void check_usages(struct check *c, const json_t *spec)
{
	auto_strv seen = {0};
	json_t *v;

	if (!json_len(spec, "usages"))
		check_required(c, "usages", "");
	check_foreach(c, spec, "usages", v)
	{
		const char *usage = json_string_value(v);

		if (!csv_has_exactly(USAGES, usage))
			check_unsupported(c, NULL, usage, USAGES);
		if (strv_has(&seen, usage))
			check_duplicate_str(c, NULL, usage);
		strv_add(&seen, usage);
	}
}

static void check_signer(struct check *c, const char *name)
{
	const char *slash = strchr(name, '/');
	auto_free char *domain = slash ? xstrndup(name, (size_t)(slash - name)) : NULL;

	if (!*name)
		check_required(c, "signerName", "");
	else if (!slash || !slash[1] || strchr(slash + 1, '/'))
		check_invalid_str(c, "signerName", name,
				  "must be a fully qualified domain and path of the form "
				  "'example.com/signer-name'");
	else if (strlen(name) > SIGNER_MAX)
		check_too_long(c, "signerName", SIGNER_MAX);
	else if (!strchr(domain, '.') || valid_dns1123_subdomain(domain))
		check_invalid_str(
			c, "signerName", name,
			"should be a domain with at least two segments separated by dots");
	else if (valid_dns1123_subdomain(slash + 1))
		check_invalid_str(c, "signerName", name, "%s", valid_dns1123_subdomain(slash + 1));
}

static void check_spec(struct check *c, const json_t *spec)
{
	const json_t *seconds = json_object_get(spec, "expirationSeconds");
	size_t mark = check_enter(c, "spec");

	check_usages(c, spec);
	check_signer(c, json_str(spec, "signerName", ""));
	if (json_is_integer(seconds) && json_integer_value(seconds) < SECONDS_MIN)
		check_invalid(c, "expirationSeconds", seconds,
			      "may not specify a duration less than 600 seconds (10 minutes)");
	check_leave(c, mark);
}

static bool is_decision(const char *type)
{
	return streq(type, "Approved") || streq(type, "Denied") || streq(type, "Failed");
}

static void check_conditions(struct check *c, const json_t *status)
{
	const json_t *list = json_object_get(status, "conditions");
	auto_strv seen = {0};
	json_t *v;

	check_foreach(c, status, "conditions", v)
	{
		const char *type = json_str(v, "type", ""), *value = json_str(v, "status", "");

		if (!*type)
			check_required(c, "type", "");
		if (is_decision(type) && *value && !streq(value, "True"))
			check_unsupported(c, "status", value, "True");
		else if (!*value)
			check_required(c, "status", "");
		if (strv_has(&seen, type))
			check_duplicate_str(c, "type", type);
		strv_add(&seen, type);
	}
	if (json_find(list, "type", "Approved") && json_find(list, "type", "Denied"))
		check_invalid_str(c, "conditions", "Denied",
				  "Approved and Denied conditions are mutually exclusive");
}

/* A decision stands. */
static void check_decisions(struct check *c, const json_t *status, const json_t *old)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(old, "conditions"), i, v)
	{
		const char *type = json_str(v, "type", "");

		if (is_decision(type) &&
		    !json_find(json_object_get(status, "conditions"), "type", type))
			check_forbidden(c, "conditions",
					"updates may not remove a condition of type \"%s\"", type);
	}
}

static void check_certificate(struct check *c, const json_t *status, const json_t *old)
{
	const char *text = json_str(status, "certificate", "");
	const char *was = json_str(old, "certificate", "");
	auto_free unsigned char *pem = NULL;
	size_t len;

	if (*was && !streq(text, was))
		check_forbidden(c, "certificate",
				"updates may not modify existing certificate content");
	if (!*text || streq(text, was))
		return;
	if (base64_decode(text, strlen(text), &pem, &len) < 0 ||
	    !strstr((const char *)pem, "-----BEGIN CERTIFICATE-----"))
		check_invalid_str(c, "certificate", "<certificate data>",
				  "must contain at least one CERTIFICATE PEM block");
}

void certificatesigningrequest_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *status = json_object_get(obj, "status");
	const json_t *was = old ? json_object_get(old, "status") : NULL;

	if (!old)
		check_spec(&c, json_object_get(obj, "spec"));
	check_enter(&c, "status");
	check_conditions(&c, status);
	check_decisions(&c, status, was);
	check_certificate(&c, status, was);
	strbuf_done(&c.path);
}
