/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of RBAC roles and bindings, and of CertificateSigningRequests.
 */
#include "internal.h"

void role_cells(const json_t *obj, time_t now UNUSED, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_str(cells, json_str(obj, "metadata.creationTimestamp", NULL), "<unknown>");
}

/* Names of the subjects of a kind, those of service accounts with their namespace. */
static void subjects_cell(const json_t *binding, const char *kind, json_t *cells)
{
	auto_strbuf b = {0};
	json_t *s;
	size_t i;

	json_array_foreach(json_object_get(binding, "subjects"), i, s)
	{
		const char *ns = json_str(s, "namespace", "");

		if (!streq(json_str(s, "kind", ""), kind))
			continue;
		strbuf_addf(&b, "%s%s%s%s", b.len ? ", " : "", ns, *ns ? "/" : "",
			    json_str(s, "name", ""));
	}
	cell_str(cells, b.s, "");
}

void binding_cells(const json_t *obj, time_t now, json_t *cells)
{
	auto_free char *role = xasprintf("%s/%s", json_str(obj, "roleRef.kind", ""),
					 json_str(obj, "roleRef.name", ""));

	cell_str(cells, meta_name(obj), "");
	cell_str(cells, role, "");
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
	subjects_cell(obj, "User", cells);
	subjects_cell(obj, "Group", cells);
	subjects_cell(obj, "ServiceAccount", cells);
}

/* ---- certificates ------------------------------------------------------------------------ */

/* kubectl's word for the conditions: the decision, and what became of it. */
static void condition_cell(const json_t *csr, json_t *cells)
{
	const json_t *list = json_at(csr, "status.conditions");
	auto_strbuf b = {0};

	if (json_find(list, "type", "Denied"))
		strbuf_adds(&b, "Denied");
	else if (json_find(list, "type", "Approved"))
		strbuf_adds(&b, "Approved");
	else
		strbuf_adds(&b, "Pending");
	if (json_find(list, "type", "Failed"))
		strbuf_adds(&b, ",Failed");
	if (*json_str(csr, "status.certificate", ""))
		strbuf_adds(&b, ",Issued");
	cell_str(cells, b.s, "");
}

void certificatesigningrequest_cells(const json_t *obj, time_t now, json_t *cells)
{
	int64_t seconds = json_int(obj, "spec.expirationSeconds", -1);
	char buf[24];

	cell_str(cells, meta_name(obj), "");
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
	cell_str(cells, json_str(obj, "spec.signerName", NULL), "<none>");
	cell_str(cells, json_str(obj, "spec.username", NULL), "");
	cell_str(cells, seconds < 0 ? NULL : human_duration(buf, seconds), "<none>");
	condition_cell(obj, cells);
}
