/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images, probes, proxy and DNS as the node's live test wants them: they stand in for the real
 * modules when the test program is linked, and are scripted by the test.
 */
#ifndef CORACLE_NODE_FAKES_H
#define CORACLE_NODE_FAKES_H

#include <coracle/dns.h>
#include <coracle/image.h>
#include <coracle/probe.h>
#include <coracle/proxy.h>

/* Every image name is here, with this one layer, but those that start with "missing". */
void fake_image_layer(const char *path);
extern unsigned fake_pulls; /* started so far */
/* From now on "missing" images are there as well. */
extern bool fake_all_images;

/* The last probe started of a kind; NULL: none runs. */
struct probe *fake_probe(enum probe_kind kind);
void fake_verdict(struct probe *p, bool ok, const char *why);
/* Runs the exec check of p; the result lands in fake_exec_code and fake_exec_output. */
void fake_exec(struct probe *p);
extern int fake_exec_code;
extern char fake_exec_output[256];

/* What the node set last: "name proto listen -> backend,backend" a line. */
const char *fake_frontends(void);
/* "ns/name ip" or "ns/name headless: host=ip ..." a line. */
const char *fake_dns(void);

#endif
