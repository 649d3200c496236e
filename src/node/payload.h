/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload: the files of configMap, secret, downwardAPI and projected volumes, and their atomic
 * placement (..data symlink, as kubelet's AtomicWriter).
 */
#ifndef CORACLE_NODE_PAYLOAD_H
#define CORACLE_NODE_PAYLOAD_H

#include "env.h"

struct payload_file {
	char *path; /* relative, without ".." */
	char *data;
	size_t len;
	mode_t mode;
	uid_t uid; /* owner, or (uid_t)-1: ours */
};
/* Zero-initialise. */
struct payload {
	struct payload_file *files;
	size_t n;
	struct map by_path; /* its place among them, counted from 1 */
};
void payload_done(struct payload *p);
#define auto_payload __attribute__((cleanup(payload_done))) struct payload

struct payload_ctx {
	const json_t *pod;
	const struct self_facts *self;
	env_lookup_fn *lookup;
	void *arg;
	/* The token for a serviceAccountToken source; borrowed; NULL + err. */
	const char *(*token)(void *arg, const json_t *source, struct err *err);
	void *token_arg;
};
/* Is this entry of spec.volumes one of the four kinds? */
bool payload_is(const json_t *volume);
/* Does it read the ConfigMap or Secret (k) of that name? */
bool payload_uses(const json_t *volume, const struct kind *k, const char *name);
/* Collects the files; errors in kubelet's words. */
int payload_build(struct payload *p, const json_t *volume, const struct payload_ctx *ctx,
		  struct err *err) MUST_CHECK;
/* A digest of names, modes and contents. */
void payload_digest(const struct payload *p, char out[static 65]);
/* Puts the files into dir (made when absent) so that readers see either all old or all new ones.
 * gid: group of files, or (gid_t)-1. ret_old: takes the directories that hold the old ones, for the
 * caller to remove. */
int payload_write(const struct payload *p, const char *dir, gid_t gid, struct strv *ret_old,
		  struct err *err) MUST_CHECK;

#endif
