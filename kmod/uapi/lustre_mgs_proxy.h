/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The frames that pass between the kernel proxy and the MGS daemon.
 *
 * /dev/lustre_mgs_proxy carries one frame per read() and per write(): this header, then `length` bytes of payload.
 * All numbers are in the byte order of the host, but for the NID, which is as LNet has it.
 */
#ifndef _UAPI_LUSTRE_MGS_PROXY_H
#define _UAPI_LUSTRE_MGS_PROXY_H

#include <linux/types.h>

#define LMGP_MAGIC		0x50474d4cU	/* "LMGP" in the memory of a little-endian host */
#define LMGP_VERSION		1
#define LMGP_MAX_PAYLOAD	0x100000	/* 1 MiB */

/* The portals of an MGS; the proxy touches no other. */
#define LMGP_PORTAL_CALLBACK		15	/* lock callbacks, to the nodes */
#define LMGP_PORTAL_CALLBACK_ANSWER	16	/* their answers, to us: posted */
#define LMGP_PORTAL_CANCEL		17	/* lock cancels, to us: attached */
#define LMGP_PORTAL_REPLY		25	/* replies, to the nodes */
#define LMGP_PORTAL_REQUEST		26	/* requests, to us: attached */
#define LMGP_PORTAL_BULK		33	/* bulk, to and from the nodes' buffers */

/* Daemon to proxy. */
enum lmgp_command {
	LMGP_HELLO	= 1,	/* payload: struct lmgp_hello; first, once */
	LMGP_NIDS	= 2,	/* asks for the node's own NIDs */
	LMGP_ATTACH	= 3,	/* take every message of `portal` */
	LMGP_DETACH	= 4,	/* and stop doing so */
	LMGP_PUT	= 5,	/* send the payload to `peer` */
	LMGP_GET	= 6,	/* fetch up to `rlength` bytes from a buffer of `peer` */
	LMGP_POST	= 7,	/* one buffer for one message that matches; event has our cookie */
	LMGP_UNLINK	= 8,	/* take back the POST of `cookie` */
};

/* Proxy to daemon. */
enum lmgp_event {
	LMGP_EV_HELLO	= 0x101,	/* payload: struct lmgp_hello, what was agreed */
	LMGP_EV_NIDS	= 0x102,	/* payload: array of struct lmgp_nid */
	LMGP_EV_PUT	= 0x103,	/* a message came; `cookie` of the POST that took it, or 0 */
	LMGP_EV_REPLY	= 0x104,	/* what a GET fetched, or its `status` */
	LMGP_EV_ACK	= 0x105,	/* the peer took a PUT that asked for LMGP_ACK; rlength: bytes taken */
	LMGP_EV_DONE	= 0x106,	/* a PUT with LMGP_NOTIFY left; a POST was used up by a GET, or is unlinked */
};

/* Flags of commands. */
#define LMGP_ACK	0x1	/* PUT: tell when the peer has taken it */
#define LMGP_NOTIFY	0x2	/* PUT: tell when it has left, or could not */
#define LMGP_READABLE	0x4	/* POST: the payload waits for a GET of the peer */

/* A NID as LNet keeps it: size is the address's bytes less 4; type 0 means "none" or "any". */
struct lmgp_nid {
	__u8	size;
	__u8	type;
	__be16	num;
	__be32	addr[4];
};

struct lmgp_frame {
	__u32	magic;
	__u16	version;
	__u16	type;		/* enum lmgp_command or enum lmgp_event */
	__u32	length;		/* bytes of payload behind this header */
	__s32	status;		/* events: 0 or -errno */
	__u64	cookie;		/* the daemon's name for the command */
	__u64	match_bits;
	__u64	hdr_data;
	__u32	portal;
	__u32	offset;		/* in the receiver's buffer */
	__u32	rlength;	/* GET, POST: bytes of the buffer; events: bytes on the wire */
	__u32	flags;
	struct lmgp_nid peer;	/* the other process */
	__u32	peer_pid;
	struct lmgp_nid self;	/* which of our NIDs */
	__u32	self_pid;
	struct lmgp_nid via;	/* events: the router that passed it on, or `peer` */
	__u32	reserved0;
	__u64	sequence;	/* events: counts up by one within a session */
	__u8	reserved[24];	/* zero */
};

struct lmgp_hello {
	__u16	version_min;
	__u16	version_max;
	__u32	max_payload;	/* bytes */
	__u64	features;	/* none yet: zero */
	__u32	max_sends;	/* commands whose last event was not read yet */
	__u32	max_posts;
	__u32	max_queued;	/* unasked messages held for read() before the network is held back */
	__u32	max_bytes;	/* of payload in all of these */
	char	transport[16];	/* "lnet", "loop" */
	__u8	reserved[16];	/* zero */
};

#ifdef __KERNEL__
#include <linux/build_bug.h>
static_assert(sizeof(struct lmgp_nid) == 20);
static_assert(sizeof(struct lmgp_frame) == 160);
static_assert(sizeof(struct lmgp_hello) == 64);
#endif

#endif
