# SPDX-License-Identifier: Apache-2.0
# Turns the tables of src/schema/api/ into one C file of constants (see kinds.tab for their format).
# POSIX awk only; mawk must run it.

function fail(text)
{
	printf "%s:%d: %s\n", FILENAME, FNR, text > "/dev/stderr"
	failed = 1
	exit 1
}

function quote(s)
{
	if (s == "")
		return "NULL"
	gsub(/\\/, "\\\\", s)
	gsub(/"/, "\\\"", s)
	return "\"" s "\""
}

# "core.v1.Pod" -> "io.k8s.api.core.v1.Pod"; a bare word is of the current package.
function full_name(t, p, w)
{
	if (t !~ /\./)
		t = package "." t
	w = t
	sub(/.*\./, "", w)
	p = substr(t, 1, length(t) - length(w) - 1)
	return p SUBSEP w
}

function resolve(key, part)
{
	split(key, part, SUBSEP)
	if (!(part[1] in prefix)) {
		print "gen.awk: unknown package " part[1] > "/dev/stderr"
		failed = 1
		exit 1
	}
	return prefix[part[1]] "." part[2]
}

function verbs(list, n, i, v, out)
{
	n = split(list, v, ",")
	out = ""
	for (i = 1; i <= n; i++)
		out = out (i > 1 ? " | " : "") "VERB_" toupper(v[i])
	return out
}

function attribute(words, n, from, name, i)
{
	for (i = from; i <= n; i++) {
		if (words[i] == name)
			return "true"
		if (index(words[i], name "=") == 1)
			return substr(words[i], length(name) + 2)
	}
	return ""
}

# Misspelt attributes must not go unnoticed.
function check_attributes(words, n, from, known, i, name)
{
	for (i = from; i <= n; i++) {
		name = words[i]
		sub(/=.*/, "", name)
		if (name != "" && index(known, " " name " ") == 0)
			fail("unknown attribute " words[i])
	}
}

function sort_keys(keys, n, i, j, t)
{
	for (i = 2; i <= n; i++) {
		t = keys[i]
		for (j = i - 1; j >= 1 && keys[j] > t; j--)
			keys[j + 1] = keys[j]
		keys[j + 1] = t
	}
}

BEGIN {
	n_types = split("string bool int32 int64 double bytes time microtime duration quantity " \
		"intorstring raw", list, " ")
	n_types += split("FIELD_STRING FIELD_BOOL FIELD_INT32 FIELD_INT64 FIELD_DOUBLE FIELD_BYTES " \
		"FIELD_TIME FIELD_MICROTIME FIELD_DURATION FIELD_QUANTITY FIELD_INT_OR_STRING " \
		"FIELD_RAW", enums, " ")
	for (i = 1; i <= n_types / 2; i++)
		scalar[list[i]] = enums[i]
}

/^#/ || /^[ \t]*$/ {
	next
}

{
	doc = ""
	line = $0
	if ((at = index(line, " | ")) > 0) {
		doc = substr(line, at + 3)
		line = substr(line, 1, at - 1)
	}
	n = split(line, w, /[ \t]+/)
}

$1 == "package" {
	check_attributes(w, n, 4, " group version ")
	package = w[2]
	prefix[package] = w[3]
	packages[++n_packages] = package
	group[package] = attribute(w, n, 4, "group")
	if (group[package] == "-")
		group[package] = ""
	version[package] = attribute(w, n, 4, "version")
	next
}

$1 == "kind" {
	check_attributes(w, n, 4, " singular list short categories namespaced status generation " \
		"unconditional putcreates returned inert computed name verbs symbol set_defaults validate cells field_label " \
		"storage to_storage from_storage ")
	kinds[++n_kinds] = w[2]
	k = n_kinds
	kind_key[k] = full_name(w[2])
	kind_name[k] = w[2]
	sub(/.*\./, "", kind_name[k])
	kind_package[k] = substr(w[2], 1, length(w[2]) - length(kind_name[k]) - 1)
	plural[k] = w[3]
	for (i = 1; i <= split("singular list short categories namespaced status generation " \
		"unconditional putcreates returned inert computed name verbs symbol set_defaults validate cells field_label " \
		"storage to_storage from_storage", names, " "); i++)
		kind_attr[k, names[i]] = attribute(w, n, 4, names[i])
	n_subs[k] = n_columns[k] = 0
	next
}

$1 == "sub" {
	i = ++n_subs[n_kinds]
	sub_name[n_kinds, i] = w[2]
	sub_verbs[n_kinds, i] = w[3]
	sub_kind[n_kinds, i] = n > 3 ? w[4] : ""
	next
}

$1 == "column" {
	i = ++n_columns[n_kinds]
	column_type[n_kinds, i] = w[2]
	name = line
	sub(/^column[ \t]+[^ \t]+[ \t]+/, "", name)
	column_name[n_kinds, i] = name
	column_doc[n_kinds, i] = doc
	next
}

$1 == "message" {
	check_attributes(w, n, 3, " typemeta atomic ")
	message_atomic[full_name(w[2])] = attribute(w, n, 3, "atomic") != ""
	message = full_name(w[2])
	messages[++n_messages] = message
	message_doc[message] = doc
	n_fields[message] = 0
	if (attribute(w, n, 3, "typemeta") != "") {
		field(message, "apiVersion", "0", "string", "", "", \
			"Version of the API this object is written in.")
		field(message, "kind", "0", "string", "", "", "What kind of object this is.")
	}
	next
}

$1 ~ /^[0-9]+$/ {
	check_attributes(w, n, 4, " ptr always optional needed inline required immutable merge retain keys set " \
		"atomic orbool default rule ")
	flags = ""
	if (attribute(w, n, 4, "ptr") != "") flags = flags " | FIELD_POINTER"
	if (attribute(w, n, 4, "always") != "") flags = flags " | FIELD_ALWAYS"
	if (attribute(w, n, 4, "optional") != "") flags = flags " | FIELD_OPTIONAL"
	if (attribute(w, n, 4, "needed") != "") flags = flags " | FIELD_NEEDED"
	if (attribute(w, n, 4, "inline") != "") flags = flags " | FIELD_INLINE"
	if (attribute(w, n, 4, "retain") != "") flags = flags " | FIELD_RETAIN_KEYS"
	if (attribute(w, n, 4, "atomic") != "") flags = flags " | FIELD_MAP_ATOMIC"
	if (attribute(w, n, 4, "orbool") != "") flags = flags " | FIELD_OR_BOOL"
	if (attribute(w, n, 4, "required") != "") flags = flags " | FIELD_REQUIRED"
	if (attribute(w, n, 4, "immutable") != "") flags = flags " | FIELD_IMMUTABLE"
	more = ""
	merge = attribute(w, n, 4, "merge")
	if (merge != "")
		more = more ", .smp_merge = true"
	if (merge != "" && merge != "true")
		more = more ", .smp_key = " quote(merge)
	if ((v = attribute(w, n, 4, "keys")) != "") more = more ", .ssa_keys = " quote(v)
	if ((v = attribute(w, n, 4, "default")) != "") more = more ", .dflt = " quote(v)
	if ((v = attribute(w, n, 4, "rule")) != "") more = more ", .rule = " quote(v)
	kind_of_list = "LIST_NONE"
	type = w[3]
	if (sub(/^map\[\]/, "", type))
		kind_of_list = "LIST_STRING_MAP"
	else if (sub(/^\[\]/, "", type))
		kind_of_list = attribute(w, n, 4, "keys") != "" ? "LIST_MAP" : \
			attribute(w, n, 4, "set") != "" ? "LIST_SET" : "LIST_ATOMIC"
	if (kind_of_list != "LIST_NONE")
		more = ", .list = " kind_of_list more
	field(message, w[2] == "-" ? "" : w[2], w[1], type, flags, more, doc)
	next
}

{
	fail("cannot read this line")
}

function field(m, name, number, type, flags, more, text, i, row)
{
	row = "{.name = \"" name "\", .number = " number ", .type = "
	row = row (type in scalar ? scalar[type] : "FIELD_OBJECT")
	if (flags != "")
		row = row ", .flags = " substr(flags, 4)
	row = row more
	if (text != "")
		row = row ", .doc = " quote(text)
	i = ++n_fields[m]
	# sorted by name; \001 keeps the parts apart and sorts before every letter
	field_sort[m, i] = name "\001" number
	field_row[m, name "\001" number] = row
	field_type[m, name "\001" number] = type in scalar ? "" : full_name(type)
}

function put_message(m, i, n, key, keys)
{
	n = n_fields[m]
	for (i = 1; i <= n; i++)
		keys[i] = field_sort[m, i]
	sort_keys(keys, n)
	field_start[m] = n_all
	for (i = 1; i <= n; i++) {
		key = keys[i]
		row = field_row[m, key]
		if (field_type[m, key] != "") {
			if (!(field_type[m, key] in message_index)) {
				t = field_type[m, key]
				sub(SUBSEP, ".", t)
				print "gen.awk: no message " t > "/dev/stderr"
				failed = 1
				exit 1
			}
			row = row ", .message = &schema_messages[" \
				message_index[field_type[m, key]] "]"
		}
		print "\t" row "},"
		n_all++
	}
}

# The symbol of the kind "<package>.<Kind>".
function symbol_of(name, k)
{
	for (k = 1; k <= n_kinds; k++)
		if (kinds[k] == name)
			return kind_symbol[k]
	print "gen.awk: no kind " name > "/dev/stderr"
	failed = 1
	exit 1
}

function put_kind(k, s, i, t, part)
{
	s = kind_symbol[k]
	if (n_subs[k] > 0) {
		print "static const struct subresource " s "_subs[] = {"
		for (i = 1; i <= n_subs[k]; i++) {
			printf "\t{.name = %s, .verbs = %s", quote(sub_name[k, i]), \
				verbs(sub_verbs[k, i])
			if (sub_kind[k, i] != "") {
				t = sub_kind[k, i]
				sub(/.*\./, "", t)
				part = substr(sub_kind[k, i], 1, length(sub_kind[k, i]) - length(t) - 1)
				printf ", .group = \"%s\", .version = \"%s\", .kind = \"%s\"", \
					group[part], version[part], t
			}
			print "},"
		}
		print "};"
	}
	print "static const struct column " s "_columns[] = {"
	for (i = 1; i <= n_columns[k]; i++) {
		t = column_type[k, i]
		wide = sub(/\*$/, "", t)
		printf "\t{.name = %s, .type = \"%s\", .format = \"%s\", .doc = %s, .priority = %d},\n", \
			quote(column_name[k, i]), t, column_name[k, i] == "Name" ? "name" : "", \
			column_doc[k, i] == "" ? "\"\"" : quote(column_doc[k, i]), wide
	}
	print "};"
	print "static const struct kind_ops " s "_ops = {"
	for (i = 1; i <= split("set_defaults validate cells field_label to_storage from_storage", \
		names, " "); i++)
		if (kind_attr[k, names[i]] != "")
			print "\t." names[i] " = " kind_attr[k, names[i]] ","
	print "};"
	print "const struct kind " s " = {"
	print "\t.group = \"" group[kind_package[k]] "\","
	print "\t.version = \"" version[kind_package[k]] "\","
	print "\t.kind = \"" kind_name[k] "\","
	t = kind_attr[k, "list"]
	print "\t.list_kind = " quote(t != "" ? t : kind_name[k] "List") ","
	print "\t.plural = \"" plural[k] "\","
	t = kind_attr[k, "singular"]
	print "\t.singular = " quote(t != "" ? t : tolower(kind_name[k])) ","
	print "\t.short_names = " quote(kind_attr[k, "short"]) ","
	print "\t.categories = " quote(kind_attr[k, "categories"]) ","
	if (kind_attr[k, "namespaced"] != "") print "\t.namespaced = true,"
	if (kind_attr[k, "status"] != "") print "\t.has_status = true,"
	if (kind_attr[k, "generation"] != "") print "\t.has_generation = true,"
	if (kind_attr[k, "unconditional"] != "") print "\t.unconditional_update = true,"
	if (kind_attr[k, "putcreates"] != "") print "\t.create_on_update = true,"
	if (kind_attr[k, "returned"] != "") print "\t.returned = true,"
	if (kind_attr[k, "inert"] != "") print "\t.inert = true,"
	if (kind_attr[k, "computed"] != "") print "\t.computed = true,"
	t = kind_attr[k, "name"]
	print "\t.name_rule = " quote(t != "" ? t : "dns1123subdomain") ","
	t = kind_attr[k, "verbs"]
	print "\t.verbs = " verbs(t != "" ? t : \
		"create,delete,deletecollection,get,list,patch,update,watch") ","
	print "\t.message = &schema_messages[" message_index[kind_key[k]] "],"
	if (n_subs[k] > 0)
		print "\t.subresources = " s "_subs,\n\t.n_subresources = " n_subs[k] ","
	print "\t.columns = " s "_columns,\n\t.n_columns = " n_columns[k] ","
	if (kind_attr[k, "storage"] != "")
		print "\t.storage = &" symbol_of(kind_attr[k, "storage"]) ","
	print "\t.ops = &" s "_ops,\n\t.index = " k - 1 ",\n};"
}

END {
	if (failed)
		exit 1
	for (i = 1; i <= n_messages; i++) {
		order[i] = resolve(messages[i])
		by_name[order[i]] = messages[i]
	}
	sort_keys(order, n_messages)
	for (i = 1; i <= n_messages; i++)
		message_index[by_name[order[i]]] = i - 1
	print "/* Made by src/schema/gen.awk from src/schema/api; do not edit. */"
	print "#include \"src/schema/internal.h\"\n"
	n_all = 0
	print "static const struct field fields[] = {"
	for (i = 1; i <= n_messages; i++)
		put_message(by_name[order[i]])
	print "};\n\nconst struct message schema_messages[] = {"
	for (i = 1; i <= n_messages; i++) {
		m = by_name[order[i]]
		print "\t{" quote(order[i]) ", &fields[" field_start[m] "], " n_fields[m] ", " \
			quote(message_doc[m]) ", " \
			(message_atomic[m] ? "true" : "false") ", false, NULL},"
	}
	print "};\nconst size_t n_schema_messages = " n_messages ";\n"
	print "const struct schema_package schema_packages[] = {"
	for (i = 1; i <= n_packages; i++)
		print "\t{\"" group[packages[i]] "\", \"" version[packages[i]] "\", \"" \
			prefix[packages[i]] "\"},"
	print "};\nconst size_t n_schema_packages = " n_packages ";\n"
	for (k = 1; k <= n_kinds; k++) {
		s = kind_attr[k, "symbol"]
		kind_symbol[k] = s != "" ? s : "kind_" tolower(kind_name[k])
		print "extern const struct kind " kind_symbol[k] ";"
	}
	for (k = 1; k <= n_kinds; k++)
		put_kind(k)
	print "\nconst struct kind *const schema_kinds[] = {"
	for (k = 1; k <= n_kinds; k++)
		print "\t&" kind_symbol[k] ","
	print "};\nconst size_t n_schema_kinds = " n_kinds ";"
}
