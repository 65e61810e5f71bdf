// SPDX-License-Identifier: GPL-2.0
/* Whether a frame from userspace may be acted on. */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#else
#include <errno.h>
#include <string.h>
#include <stdint.h>
#include <stddef.h>
#include <stdbool.h>
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1UL << (n))
#define U32_MAX UINT32_MAX
#endif
#include "check.h"

/* Address bytes of a NID less 4: IPv4 and numbers have 0, IPv6 has 12. */
#define NID_SIZE_MAX	12

struct portals {
	unsigned long long attach, put, get, post;
};

#define P(n) (1ULL << (n))

static const struct portals portals[] = {
	[LMGP_ROLE_MGS] = {
		.attach = P(LMGP_PORTAL_REQUEST) | P(LMGP_PORTAL_CANCEL),
		.put = P(LMGP_PORTAL_REPLY) | P(LMGP_PORTAL_BULK) | P(LMGP_PORTAL_CALLBACK),
		.get = P(LMGP_PORTAL_BULK),
		.post = P(LMGP_PORTAL_CALLBACK_ANSWER),
	},
	[LMGP_ROLE_NODE] = {
		.attach = P(LMGP_PORTAL_CALLBACK),
		.put = P(LMGP_PORTAL_REQUEST) | P(LMGP_PORTAL_CANCEL) | P(LMGP_PORTAL_CALLBACK_ANSWER),
		.post = P(LMGP_PORTAL_REPLY) | P(LMGP_PORTAL_BULK),
	},
};

static int refuse(int error, const char *text, const char **why)
{
	*why = text;
	return error;
}

static bool is_zero(const void *bytes, size_t length)
{
	const unsigned char *byte = bytes;
	size_t i;

	for (i = 0; i < length; i++)
		if (byte[i])
			return false;
	return true;
}

static bool portal_in(__u32 portal, unsigned long long set)
{
	return portal < 64 && (set & P(portal));
}

static bool nid_is_none(const struct lmgp_nid *nid)
{
	return is_zero(nid, sizeof(*nid));
}

static bool nid_is_valid(const struct lmgp_nid *nid)
{
	return nid_is_none(nid) || (nid->type && nid->size <= NID_SIZE_MAX);
}

static int check_header(const struct lmgp_frame *frame, size_t payload, const char **why)
{
	if (frame->magic != LMGP_MAGIC)
		return refuse(-EPROTO, "magic is not LMGP", why);
	if (frame->version != LMGP_VERSION)
		return refuse(-EPROTONOSUPPORT, "version is unknown", why);
	if (payload > LMGP_MAX_PAYLOAD)
		return refuse(-EMSGSIZE, "payload is over 1 MiB", why);
	if (frame->length != payload)
		return refuse(-EINVAL, "length is not that of the payload", why);
	if (frame->status || frame->sequence || !nid_is_none(&frame->via))
		return refuse(-EINVAL, "a field of events is set in a command", why);
	if (frame->reserved0 || !is_zero(frame->reserved, sizeof(frame->reserved)))
		return refuse(-EINVAL, "reserved bytes are not zero", why);
	if (!nid_is_valid(&frame->peer) || !nid_is_valid(&frame->self))
		return refuse(-EINVAL, "a NID is malformed", why);
	return 0;
}

/* Checks flags, payload and buffer size of a command against what it may have. */
static int check_shape(const struct lmgp_frame *frame, __u32 flags, __u32 max_payload, __u32 max_rlength,
		       const char **why)
{
	if (frame->flags & ~flags)
		return refuse(-EINVAL, "a flag is not one of this command", why);
	if (frame->length > max_payload)
		return refuse(-EINVAL, "this command has no payload", why);
	if (frame->rlength > max_rlength)
		return refuse(-EINVAL, "rlength is over what this command may have", why);
	return 0;
}

int lmgp_check(const struct lmgp_frame *frame, size_t payload, enum lmgp_role role, const char **why)
{
	const struct portals *may = &portals[role];
	int error = check_header(frame, payload, why);

	if (error)
		return error;
	switch (frame->type) {
	case LMGP_HELLO:
		if (payload != sizeof(struct lmgp_hello))
			return refuse(-EINVAL, "a HELLO has the wrong size", why);
		return check_shape(frame, 0, sizeof(struct lmgp_hello), 0, why);
	case LMGP_NIDS:
	case LMGP_UNLINK:
		return check_shape(frame, 0, 0, 0, why);
	case LMGP_ATTACH:
	case LMGP_DETACH:
		if (!portal_in(frame->portal, may->attach))
			return refuse(-EPERM, "this portal can't be attached", why);
		return check_shape(frame, 0, 0, 0, why);
	case LMGP_PUT:
		if (!portal_in(frame->portal, may->put))
			return refuse(-EPERM, "nothing may be sent to this portal", why);
		if (nid_is_none(&frame->peer))
			return refuse(-EDESTADDRREQ, "a PUT names no peer", why);
		return check_shape(frame, LMGP_ACK | LMGP_NOTIFY, LMGP_MAX_PAYLOAD, 0, why);
	case LMGP_GET:
		if (!portal_in(frame->portal, may->get))
			return refuse(-EPERM, "nothing may be fetched from this portal", why);
		if (nid_is_none(&frame->peer))
			return refuse(-EDESTADDRREQ, "a GET names no peer", why);
		if (!frame->rlength)
			return refuse(-EINVAL, "a GET asks for nothing", why);
		return check_shape(frame, 0, 0, LMGP_MAX_PAYLOAD, why);
	case LMGP_POST:
		if (!portal_in(frame->portal, may->post))
			return refuse(-EPERM, "no buffer can be posted on this portal", why);
		if (!frame->cookie)
			return refuse(-EINVAL, "a POST needs a cookie", why);
		if (frame->flags & LMGP_READABLE)
			return check_shape(frame, LMGP_READABLE, LMGP_MAX_PAYLOAD, 0, why);
		return check_shape(frame, 0, 0, LMGP_MAX_PAYLOAD, why);
	}
	return refuse(-EOPNOTSUPP, "this command is unknown", why);
}

int lmgp_check_hello(const struct lmgp_hello *hello, const char **why)
{
	if (hello->version_min > LMGP_VERSION || hello->version_max < LMGP_VERSION ||
	    hello->version_min > hello->version_max)
		return refuse(-EPROTONOSUPPORT, "no version in common", why);
	if (hello->features)
		return refuse(-EOPNOTSUPP, "a feature is unknown", why);
	if (!is_zero(hello->transport, sizeof(hello->transport)) ||
	    !is_zero(hello->reserved, sizeof(hello->reserved)))
		return refuse(-EINVAL, "reserved bytes of the HELLO are not zero", why);
	return 0;
}
