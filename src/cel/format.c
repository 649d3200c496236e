/* SPDX-License-Identifier: Apache-2.0 */
/* Named formats ("dns1123Label"): the names are here, what they mean is the host's to know. */
#include "internal.h"

typedef struct cel_value val;

static const char *const names[] = {"dns1123Label",
				    "dns1123Subdomain",
				    "dns1035Label",
				    "qualifiedName",
				    "dns1123LabelPrefix",
				    "dns1123SubdomainPrefix",
				    "dns1035LabelPrefix",
				    "labelValue",
				    "uri",
				    "uuid",
				    "byte",
				    "date",
				    "datetime"};

static val format_at(size_t i)
{
	return val_ptr(CEL_FORMAT, names[i]);
}

static val fn_named(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const char *name = val_cstr(r, *a);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		val v = format_at(i);

		if (streq(names[i], name))
			return cel_optional(r, &v);
	}
	return cel_optional(r, NULL);
}

static val fn_validate(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct builder b = {.r = r};
	const char *bad;
	val list;

	if (run_charge(r, val_span(&a[1])))
		return run_over(r);
	if (!r->host || !r->host->format)
		return cel_optional(r, NULL);
	bad = r->host->format(a->ptr, val_cstr(r, a[1]));
	if (!bad)
		return cel_optional(r, NULL);
	builder_add(&b, val_copy(r, bad, strlen(bad)));
	list = val_list(b.v, b.n);
	return cel_optional(r, &list);
}

#define FORMAT(i, id)                                                                              \
	static val fn_##id(struct cel_run *r UNUSED, const val *a UNUSED, size_t n UNUSED)         \
	{                                                                                          \
		return format_at(i);                                                               \
	}
FORMAT(0, dns1123Label)
FORMAT(1, dns1123Subdomain)
FORMAT(2, dns1035Label)
FORMAT(3, qualifiedName)
FORMAT(4, dns1123LabelPrefix)
FORMAT(5, dns1123SubdomainPrefix)
FORMAT(6, dns1035LabelPrefix)
FORMAT(7, labelValue)
FORMAT(8, uri)
FORMAT(9, uuid)
FORMAT(10, byte)
FORMAT(11, date)
FORMAT(12, datetime)

#define ROW(id)                                                                                    \
	{                                                                                          \
		"format." #id, "F:", fn_##id, false                                                \
	}
static const struct function table[] = {
	ROW(dns1123Label),
	ROW(dns1123Subdomain),
	ROW(dns1035Label),
	ROW(qualifiedName),
	ROW(dns1123LabelPrefix),
	ROW(dns1123SubdomainPrefix),
	ROW(dns1035LabelPrefix),
	ROW(labelValue),
	ROW(uri),
	ROW(uuid),
	ROW(byte),
	ROW(date),
	ROW(datetime),
	{"format.named", "OF:s", fn_named, false},
	{"validate", "OLs:Fs", fn_validate, true},
};
const struct functions format_functions = {table, ARRAY_SIZE(table)};
