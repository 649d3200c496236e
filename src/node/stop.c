/* SPDX-License-Identifier: Apache-2.0 */
/* stop: ends one container: preStop hook, its stop signal, KILL at the end of the grace period. */
#include "internal.h"

#include <signal.h>

/* SIGTERM comes at least this long before SIGKILL when preStop has used the time up. */
#define LAST_GRACE_US (2 * USEC_PER_SEC)
#define KILL_AGAIN_US (10 * USEC_PER_SEC)

static void kill_with(struct ctr *c, int signo)
{
	int ret = container_kill(c->pod->sandbox, c->facts.id, signo);

	if (ret < 0 && ret != -ESRCH)
		log_warn("pod %s/%s: container %s: signal %d: %s", c->pod->ns, c->pod->name,
			 c->facts.name, signo, strerror(-ret));
}

static int stop_signal(const struct ctr *c)
{
	const struct image *image =
		c->image ? image_find(c->pod->node->parts.images, c->image) : NULL;
	const char *own = json_str(ctr_spec(c), "lifecycle.stopSignal", "");

	if (*own)
		return spec_stop_signal(own);
	return image && *image->stop_signal ? spec_stop_signal(image->stop_signal) : SIGTERM;
}

static void send_term(struct ctr *c)
{
	c->stop_phase = STOP_TERM;
	kill_with(c, stop_signal(c));
}

static void pre_stop_done(struct ctr *c, bool ok, const char *why)
{
	c->pre_stop = NULL;
	if (!ok)
		ctr_event(c, "Warning", "FailedPreStopHook", "PreStopHook failed: %s", why);
	pod_kick(c->pod);
}

static void begin_stop(struct ctr *c, uint64_t grace_us)
{
	const json_t *hook = json_at(ctr_spec(c), "lifecycle.preStop");

	hook_cancel(steal_ptr(c->post_start));
	ctr_set_state(c, CTR_STOPPING);
	c->stop_by = mono_add(loop_now(c->pod->node->loop), grace_us);
	c->stop_phase = STOP_PRESTOP;
	if (hook)
		c->pre_stop = hook_start(c, hook, pre_stop_done);
	else
		send_term(c);
}

void ctr_stop(struct ctr *c, uint64_t grace_us, const char *why_fmt, ...)
{
	mono_t by = mono_add(loop_now(c->pod->node->loop), grace_us);
	va_list ap;

	if (c->state == CTR_STARTING) {
		c->stop_wanted = true;
		return;
	}
	if (c->state == CTR_STOPPING) {
		if (mono_before(by, c->stop_by))
			c->stop_by = by;
		return;
	}
	if (c->state != CTR_RUNNING)
		return;
	va_start(ap, why_fmt);
	auto_free char *why = xvasprintf(why_fmt, ap);
	va_end(ap);
	ctr_event(c, "Normal", "Killing", "%s", why);
	begin_stop(c, grace_us);
}

void ctr_stop_step(struct ctr *c)
{
	mono_t now = loop_now(c->pod->node->loop);
	uint64_t left = mono_sub(c->stop_by, now);

	if (c->state != CTR_STOPPING)
		return;
	switch (c->stop_phase) {
	case STOP_PRESTOP:
		if (!c->pre_stop) {
			send_term(c);
		} else if (!left) {
			hook_cancel(steal_ptr(c->pre_stop));
			ctr_event(c, "Warning", "FailedPreStopHook",
				  "PreStopHook failed: the grace period is over");
			send_term(c);
		}
		if (c->stop_phase == STOP_TERM && left < LAST_GRACE_US) {
			left = LAST_GRACE_US;
			c->stop_by = mono_add(now, left);
		}
		break;
	case STOP_TERM:
		if (left)
			break;
		c->stop_phase = STOP_KILL;
		c->stop_by = mono_add(now, left = KILL_AGAIN_US);
		kill_with(c, SIGKILL);
		break;
	case STOP_KILL:
		if (left)
			break;
		c->stop_by = mono_add(now, left = KILL_AGAIN_US);
		kill_with(c, SIGKILL);
		break;
	}
	pod_wake_in(c->pod, left);
}
