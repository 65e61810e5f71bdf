/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LNet's kernel API, made one for Lustre 2.15 to 2.17. Kbuild looks into the headers of LUSTRE_SRC and sets
 * LMGP_LNET_UMD (fields of struct lnet_md are named umd_*) and LMGP_LNET_LARGE (LNetPut and LNetGet take large NIDs).
 */
#ifndef LMGP_LNET_COMPAT_H
#define LMGP_LNET_COMPAT_H

#ifdef LMGP_LNET_NEW_HEADER
#include <linux/lnet/api.h>
#else
#include <lnet/api.h>
#endif

#include "lmgp.h"

#ifdef LMGP_LNET_UMD
#define MD(name) umd_##name
#else
#define MD(name) name
#endif

static inline void nid_to_lnet(struct lnet_nid *to, const struct lmgp_nid *from)
{
	BUILD_BUG_ON(sizeof(*to) != sizeof(*from));
	memcpy(to, from, sizeof(*to));
}

static inline void nid_from_lnet(struct lmgp_nid *to, const struct lnet_nid *from)
{
	memcpy(to, from, sizeof(*to));
}

static inline int compat_put(const struct lmgp_frame *frame, struct lnet_handle_md handle, enum lnet_ack_req ack)
{
	struct lnet_processid peer = { .pid = frame->peer_pid };
	struct lnet_nid self;

	nid_to_lnet(&peer.nid, &frame->peer);
	nid_to_lnet(&self, &frame->self);
#ifdef LMGP_LNET_LARGE
	return LNetPut(frame->self.type ? &self : NULL, handle, ack, &peer, frame->portal, frame->match_bits,
		       frame->offset, frame->hdr_data);
#else
	return LNetPut(frame->self.type ? lnet_nid_to_nid4(&self) : LNET_NID_ANY, handle, ack,
		       (struct lnet_process_id){ .nid = lnet_nid_to_nid4(&peer.nid), .pid = peer.pid }, frame->portal,
		       frame->match_bits, frame->offset, frame->hdr_data);
#endif
}

static inline int compat_get(const struct lmgp_frame *frame, struct lnet_handle_md handle)
{
	struct lnet_processid peer = { .pid = frame->peer_pid };
	struct lnet_nid self;

	nid_to_lnet(&peer.nid, &frame->peer);
	nid_to_lnet(&self, &frame->self);
#ifdef LMGP_LNET_LARGE
	return LNetGet(frame->self.type ? &self : NULL, handle, &peer, frame->portal, frame->match_bits, frame->offset,
		       false);
#else
	return LNetGet(frame->self.type ? lnet_nid_to_nid4(&self) : LNET_NID_ANY, handle,
		       (struct lnet_process_id){ .nid = lnet_nid_to_nid4(&peer.nid), .pid = peer.pid }, frame->portal,
		       frame->match_bits, frame->offset, false);
#endif
}

static inline int compat_id(unsigned int index, struct lnet_processid *id)
{
#ifdef LMGP_LNET_LARGE
	return LNetGetId(index, id, true);
#else
	return LNetGetId(index, id);
#endif
}

#endif
