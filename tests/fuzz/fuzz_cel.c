/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions: the text is one, or, when a NUL stands in it, JSON behind that is what `self` is.
 * Each is compiled twice (against dyn, and against a schema's types where that works) and
 * evaluated.
 */
#include <coracle/cel.h>
#include <coracle/schema.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cel_type *member(const struct cel_type *t, const char *name)
{
	if (streq(name, "self"))
		return t;
	return streq(name, "s")	  ? cel_type_of(CEL_STRING)
	       : streq(name, "i") ? cel_type_of(CEL_INT)
				  : NULL;
}

static const struct cel_type object = {
	.kind = CEL_OBJECT, .escaped = true, .name = "Obj", .member = member};

static void try(const char *text, const json_t *self, const struct cel_type *type)
{
	struct cel_variable vars[] = {{"self", type}, {"authorizer", cel_type_of(CEL_AUTHORIZER)}};
	struct cel_env env = {vars, 2};
	auto_clean(cel_program) struct cel_program *p = NULL;
	auto_clean(cel_run) struct cel_run *run = NULL;
	auto_free char *error = NULL;
	struct cel_value v[2];
	uint64_t cost;

	p = cel_compile(&env, text, &error);
	if (!p && !error)
		abort();
	if (!p)
		return;
	run = cel_run_new(schema_cel_host());
	v[0] = cel_from_json(run, self, type);
	v[1] = cel_authorizer(run, NULL);
	v[0] = cel_eval(run, p, v, CEL_CALL_LIMIT, &cost);
	/* What is true is a bool, and an error says what it is. */
	if (v[0].kind == CEL_ERROR && !*cel_text(run, v[0]))
		abort();
	auto_free char *name = cel_type_text(cel_program_type(p));

	if (!*name)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char fallback[] = "{\"s\":\"text\",\"i\":5,\"self\":{\"i\":1}}";
	auto_free char *text = xstrndup((const char *)data, size);
	size_t n = strlen(text) + 1;
	json_auto_t *self = NULL;

	if (n < size)
		self = json_parse((const char *)data + n, size - n, NULL);
	if (!self)
		self = json_parse(fallback, strlen(fallback), NULL);
	try(text, self, cel_type_of(CEL_DYN));
	try(text, self, &object);
	return 0;
}
