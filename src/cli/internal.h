/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of the client share: options, the connection, resources, printing.
 */
#ifndef CORACLE_CLI_INTERNAL_H
#define CORACLE_CLI_INTERNAL_H

#include <coracle/cli.h>
#include <coracle/http.h>
#include <coracle/json.h>
#include <coracle/schema.h>

/* ---- options (options.c) -------------------------------------------------------------------- */

/* One member per line of the table in options.c. */
struct options {
	const char *socket, *ns, *output, *selector, *raw, *field_selector, *container, *since,
		*since_time, *cascade, *dry_run, *timeout;
	struct strv files;
	int64_t tail, limit_bytes, replicas, current_replicas, grace_period, to_revision, revision;
	bool all_namespaces, watch, watch_only, recursive, follow, previous, timestamps, stdin_,
		tty, force, now, wait, all, ignore_not_found, no_headers, show_labels, help, prefix,
		quiet, all_containers, containers;
	bool ns_given;
};

struct cli {
	struct loop *loop;
	struct addr server;
	struct options o;
	struct strv args;  /* positional ones, without the command's words */
	struct strv after; /* behind "--" */
	bool color;	   /* stderr is a terminal and NO_COLOR is not set */
	bool progress;	   /* stderr is a terminal */
};

struct option;
/* Takes all options out of argv; positional words go to args, those behind "--" to after. */
int options_parse(struct cli *c, int argc, char **argv, struct strv *words) MUST_CHECK;
void options_done(struct cli *c);
/* Lines for --help of the options that the command (a bit of enum command_options) takes. */
void options_help(const char *accepted, FILE *out);
/* "-f" or "--follow": is the option one of the command's? Names are space separated in accepted. */
int options_check(const struct cli *c, const char *command, const char *accepted) MUST_CHECK;
/* All long names, for completion. */
void options_names(struct strv *ret);
/* "5s" "1m30s" "2h" to seconds (Go durations); plain "0". -EINVAL. */
int duration_parse(const char *text, int64_t *ret_seconds) MUST_CHECK;

/* ---- commands (commands.c) ------------------------------------------------------------------ */

/* Return the exit code. */
int cmd_apply(struct cli *c);
int cmd_create(struct cli *c);
int cmd_get(struct cli *c);
int cmd_describe(struct cli *c);
int cmd_logs(struct cli *c);
int cmd_exec(struct cli *c);
int cmd_delete(struct cli *c);
int cmd_scale(struct cli *c);
int cmd_top(struct cli *c);
int cmd_rollout_status(struct cli *c);
int cmd_rollout_history(struct cli *c);
int cmd_rollout_undo(struct cli *c);
int cmd_rollout_restart(struct cli *c);
int cmd_rollout_pause(struct cli *c);
int cmd_rollout_resume(struct cli *c);
int cmd_image_load(struct cli *c);
int cmd_image_pull(struct cli *c);
int cmd_image_ls(struct cli *c);
int cmd_image_rm(struct cli *c);
int cmd_kubeconfig(struct cli *c);
int cmd_show(struct cli *c);
int cmd_node_stop(struct cli *c);
int cmd_version(struct cli *c);
int cmd_completion(struct cli *c);
int cmd_help(struct cli *c);
/* First words of all commands. */
void commands_names(struct strv *ret);

/* Prints "error: ..." to stderr; returns 1. */
int cli_error(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- the connection (client.c) -------------------------------------------------------------- */

struct query {
	const char *method; /* NULL: GET */
	const char *path;   /* with query */
	const char *accept; /* NULL: application/json */
	const char *type;   /* Content-Type of the body */
	const char *body;
	size_t body_len;
	int body_fd; /* > 0: the body is read from here and sent in chunks (image load) */
	/* Pieces of a successful answer as they come. Returns false to hang up. NULL: collected. */
	bool (*on_data)(void *arg, const char *data, size_t len);
	void *arg;
	uint64_t timeout_us; /* 0: none */
};
struct reply {
	int code; /* 0: no answer, why tells */
	char *body;
	size_t len;
	char *why;
};
void reply_done(struct reply *r);
#define auto_reply __attribute__((cleanup(reply_done))) struct reply
/* One exchange; warnings of the server are printed. 0 when there is an answer at all, else -EIO
 * (told). */
int client_call(struct cli *c, const struct query *q, struct reply *r) MUST_CHECK;
static inline bool reply_ok(const struct reply *r)
{
	return r->code >= 200 && r->code < 300;
}
/* Prints the failure as kubectl does, context (may be NULL) in front of the message; returns 1. */
int reply_error(const struct reply *r, const char *context);
/* Text of it; new string, as reply_error prints it. */
char *reply_error_text(const struct reply *r, const char *context);
/* GET or a write with a JSON body; new JSON, or NULL with *exit_code set (the failure was told). A
 * 404 gives NULL and *exit_code == 0 when missing_ok. */
json_t *client_get(struct cli *c, const char *path, bool missing_ok, int *exit_code);
json_t *client_send(struct cli *c, const char *method, const char *path, const char *type,
		    const json_t *body, const char *context, int *exit_code);
/*
 * Watches path (with its query, watch=true included): on_event gets every event; it returns false
 * to end the watch. 0: ended by it; 1: the stream ended or failed by itself; -ETIMEDOUT.
 */
int client_watch(struct cli *c, const char *path, const char *accept, uint64_t timeout_us,
		 bool (*on_event)(void *arg, const char *type, json_t *object), void *arg);

/* ---- resources (resource.c) ----------------------------------------------------------------- */

struct ref {
	const struct kind *kind;
	char *name; /* NULL: all of them */
};
struct refs {
	struct ref *v;
	size_t n;
	bool by_slash; /* given as KIND/NAME: several kinds may be mixed */
};
void refs_done(struct refs *r);
#define auto_refs __attribute__((cleanup(refs_done))) struct refs
/* "pods web-1", "pods,svc", "pod/a svc/b". Prints what is wrong. 0 or 1. */
int refs_parse(struct cli *c, const struct strv *args, struct refs *r) MUST_CHECK;
/* Learns the custom kinds of the server, so that kind_by_word() and its like find them. */
void kinds_learn(struct cli *c);
/* /api/v1/namespaces/NS/pods[/NAME]; ns NULL or "": all namespaces. New string. */
char *kind_path(const struct kind *k, const char *ns, const char *name);
/* Same with the query "?a=b&c=d" made of name, value pairs up to NULL; NULL values are left out. */
char *kind_path_query(const struct kind *k, const char *ns, const char *name, const char *sub, ...)
	__attribute__((sentinel));
char *url_encode(const char *s);
/* "pod" or "deployment.apps": what stands before the slash in messages. buf as kind_resource. */
const char *kind_word(const struct kind *k, char buf[static API_VERSION_MAX]);
/* Namespace for requests on kind: NULL for cluster-scoped kinds. */
const char *cli_ns(const struct cli *c, const struct kind *k);
/* Pod to use for "NAME", "pod/NAME", "deploy/NAME", "svc/NAME"; new pod object or NULL + exit code.
 */
json_t *pod_for(struct cli *c, const char *word, int *exit_code);

/* Container to use when none is named; says so when there are several. Borrowed from the pod. */
const char *pod_default_container(const json_t *pod);

/* ---- files (files.c) ------------------------------------------------------------------------ */

struct manifest {
	json_t *obj;
	const struct kind *kind;
	const char *file; /* as it is named in messages; owned by the options */
};
struct manifests {
	struct manifest *v;
	size_t n;
	struct strv names;
};
void manifests_done(struct manifests *m);
#define auto_manifests __attribute__((cleanup(manifests_done))) struct manifests
/* Reads -f files, directories and stdin; lists are taken apart, namespaces filled in. Prints what
 * is wrong; 0 or 1. */
int manifests_load(struct cli *c, struct manifests *m) MUST_CHECK;

/* ---- printing (print.c, tabwriter.c) -------------------------------------------------------- */

/* Aligns tab-separated cells as Go's text/tabwriter does (elastic tab stops). */
void tabwriter_format(const char *text, size_t min_width, size_t padding, struct strbuf *out);

struct table_layout {
	bool wide, namespaces, no_headers, labels;
	const char *prefix; /* "pod/": put before names, or NULL */
	bool headers_done;
	size_t widths[32]; /* remembered while watching */
};
/* Rows (and columns, when there are any) of a Table; returns the number of rows. columns: of the
 * first Table, kept by the caller for later ones without. */
size_t table_print(struct table_layout *l, const json_t *columns, const json_t *table, FILE *out);
/* One object as -o json, yaml or name; indent as kubectl. -EINVAL for other formats. */
int object_print(const json_t *obj, const struct kind *k, const char *format, FILE *out);
bool output_known(const char *format);
/* Rows of objects (show, image ls): upper-case keys as headings. */
void rows_print(const json_t *rows, FILE *out);
/* kubectl's "pod/web created" line, to stdout. */
void done_print(const struct cli *c, const struct kind *k, const char *name, const char *what);

/* Writes of `describe`: level is indentation, the text has tabs. */
struct describe {
	struct cli *c;
	struct strbuf text;
	time_t now;
};
void put(struct describe *d, unsigned level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "Labels:\ta=b\n\tc=d" of a map. */
void put_map(struct describe *d, unsigned level, const char *title, const json_t *map);
void put_events(struct describe *d, const json_t *obj, const struct kind *k);
void put_template(struct describe *d, unsigned level, const json_t *tmpl);
void put_containers(struct describe *d, unsigned level, const json_t *spec, const json_t *status,
		    bool init);
void put_volumes(struct describe *d, unsigned level, const json_t *spec);
void put_tolerations(struct describe *d, unsigned level, const json_t *spec);
void describe_pod(struct describe *d, const json_t *obj);
void describe_deployment(struct describe *d, const json_t *obj);
void describe_replicaset(struct describe *d, const json_t *obj);
void describe_service(struct describe *d, const json_t *obj);
void describe_node(struct describe *d, const json_t *obj);
void describe_namespace(struct describe *d, const json_t *obj);
void describe_configmap(struct describe *d, const json_t *obj);
void describe_secret(struct describe *d, const json_t *obj);
void describe_generic(struct describe *d, const json_t *obj);
/* "Mon, 02 Jan 2006 15:04:05 +0000" of a metav1.Time; "<unset>" */
char *time_rfc1123(char buf[static 40], const char *when);

/* LAST-APPLIED and friends. */
#define ANNOTATION_LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define ANNOTATION_REVISION "deployment.kubernetes.io/revision"
#define ANNOTATION_CHANGE_CAUSE "kubernetes.io/change-cause"

#define TYPE_JSON "application/json"
#define TYPE_STRATEGIC "application/strategic-merge-patch+json"
#define TYPE_MERGE "application/merge-patch+json"
#define TYPE_JSON_PATCH "application/json-patch+json"
#define ACCEPT_TABLE                                                                               \
	"application/json;as=Table;v=v1;g=meta.k8s.io,"                                            \
	"application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"

#endif
