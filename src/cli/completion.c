/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle completion: the scripts are made from the command, option and kind tables.
 */
#include "internal.h"

static const char bash_script[] =
	"_coracle() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} words=\n"
	"\tif ((COMP_CWORD == 1)); then\n"
	"\t\twords='%1$s'\n"
	"\telif [[ $cur == -* ]]; then\n"
	"\t\twords='%2$s'\n"
	"\telse\n"
	"\t\tcase $verb in\n"
	"\t\timage) words='load pull ls rm' ;;\n"
	"\t\trollout) words='status history undo restart pause resume' ;;\n"
	"\t\tnode) words='stop' ;;\n"
	"\t\tcompletion) words='bash zsh' ;;\n"
	"\t\tshow) words=$(coracle show 2>/dev/null) ;;\n"
	"\t\tlogs|exec) words=$(coracle get pods -o name 2>/dev/null | sed 's,.*/,,') ;;\n"
	"\t\tget|describe|delete|scale)\n"
	"\t\t\tif ((COMP_CWORD == 2)); then\n"
	"\t\t\t\twords='%3$s'\n"
	"\t\t\telse\n"
	"\t\t\t\twords=$(coracle get \"${COMP_WORDS[2]}\" -o name 2>/dev/null | sed 's,.*/,,')\n"
	"\t\t\tfi ;;\n"
	"\t\tesac\n"
	"\tfi\n"
	"\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	"\t[[ ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"$cur\"))\n"
	"}\n"
	"complete -F _coracle coracle\n";

static char *joined(const struct strv *list)
{
	auto_strbuf b = {0};

	for (size_t i = 0; i < list->n; i++)
		strbuf_addf(&b, "%s%s", i ? " " : "", list->v[i]);
	return strbuf_steal(&b);
}

int cmd_completion(struct cli *c)
{
	auto_strv verbs = {0}, options = {0}, kinds = {0};
	auto_free char *v = NULL, *o = NULL, *k = NULL;

	if (c->args.n != 1 || (!streq(c->args.v[0], "bash") && !streq(c->args.v[0], "zsh")))
		return cli_error("expected 'completion bash' or 'completion zsh'");
	commands_names(&verbs);
	options_names(&options);
	for (size_t i = 0; i < n_schema_kinds; i++)
		if (!schema_kinds[i]->storage)
			strv_add(&kinds, schema_kinds[i]->plural);
	v = joined(&verbs);
	o = joined(&options);
	k = joined(&kinds);
	if (streq(c->args.v[0], "zsh"))
		printf("#compdef coracle\nautoload -U +X bashcompinit && bashcompinit\n");
	printf(bash_script, v, o, k);
	return 0;
}
