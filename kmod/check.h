/* SPDX-License-Identifier: GPL-2.0 */
/* Whether a frame from userspace may be acted on. Pure: also built and fuzzed in userspace. */
#ifndef LMGP_CHECK_H
#define LMGP_CHECK_H

#include "uapi/lustre_mgs_proxy.h"

/* Which side of the MGS's protocol a session speaks: it decides which portals it may use for what. */
enum lmgp_role {
	LMGP_ROLE_MGS,		/* the daemon */
	LMGP_ROLE_NODE,		/* the other end of the loop transport */
};

/* Returns 0, or -errno and in @why the reason, a constant text. */
int lmgp_check(const struct lmgp_frame *frame, size_t payload, enum lmgp_role role, const char **why);

/* The same for the payload of a HELLO. */
int lmgp_check_hello(const struct lmgp_hello *hello, const char **why);

#endif
