/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the module share: packets, sessions, transports. */
#ifndef LMGP_H
#define LMGP_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "check.h"

/* A frame with its payload. One owner at a time: a queue, a transport, or who holds the pointer. */
struct lmgp_packet {
	struct list_head	link;
	struct lmgp_frame	frame;
	void			*payload;	/* frame.length bytes, kvmalloc; or NULL */
	struct lmgp_packet	*answer;	/* made beforehand for the command's last event, or NULL */
	void			*priv;		/* the transport's, while it owns the packet */
	u32			charged;	/* bytes of the session's budget that it holds */
	bool			holds_send;	/* reading it, or ending it unread, gives a send back */
	bool			holds_post;	/* the same for a post */
	bool			is_unasked;	/* a message that no command of ours waits for */
};

/* Counters since the module was loaded, shown in debugfs. */
enum lmgp_stat {
	LMGP_STAT_OPENS,
	LMGP_STAT_FRAMES_READ,
	LMGP_STAT_BYTES_READ,
	LMGP_STAT_FRAMES_WRITTEN,
	LMGP_STAT_BYTES_WRITTEN,
	LMGP_STAT_REFUSED,		/* malformed or forbidden commands */
	LMGP_STAT_UNMATCHED,		/* messages that nobody had a buffer for */
	LMGP_STAT_HELD,			/* times that a full queue held the network back */
	LMGP_STAT_SEND_ERRORS,
	LMGP_STAT_PAYLOAD_COPIES,	/* times that the bytes of a message were copied */
	LMGP_STAT_WAKEUPS,		/* times that somebody who slept on a device was woken */
	LMGP_STAT_COUNT,
};

void lmgp_count(enum lmgp_stat stat, u64 by);
void lmgp_stats_init(void);
void lmgp_stats_exit(void);

struct iov_iter;
struct lmgp_session;

/*
 * The network below a session. put, get and post may sleep and own @packet once they return 0; each then ends in
 * exactly one lmgp_finish(), or, for a post, lmgp_post_done(). A get writes to packet->answer->payload, a post that
 * waits for a PUT to packet->payload: both have frame.rlength bytes.
 */
struct lmgp_transport {
	const char *name;
	int (*start)(struct lmgp_session *session);
	/* No lmgp_deliver() for the session starts after it; what is in flight may still finish. */
	void (*stop)(struct lmgp_session *session);
	int (*nids)(struct lmgp_session *session, struct lmgp_nid *nids, unsigned int max);
	int (*attach)(struct lmgp_session *session, u32 portal);
	int (*detach)(struct lmgp_session *session, u32 portal);
	int (*put)(struct lmgp_session *session, struct lmgp_packet *packet);
	int (*get)(struct lmgp_session *session, struct lmgp_packet *packet);
	int (*post)(struct lmgp_session *session, struct lmgp_packet *packet);
	int (*unlink)(struct lmgp_session *session, u64 cookie);
	/* The queue of the session has room again. */
	void (*resume)(struct lmgp_session *session);
};

/* One open of the device. Messages in flight hold a reference, so it outlives its file. */
struct lmgp_session {
	struct kref			ref;
	enum lmgp_role			role;
	const struct lmgp_transport	*transport;
	void				*priv;		/* the transport's */
	struct mutex			command_lock;	/* one command at a time; guards greeted */
	struct mutex			read_lock;	/* one reader at a time: order of frames */
	bool				greeted;
	wait_queue_head_t		wait;		/* events to read, sends to spare */

	spinlock_t			lock;		/* all below; taken in interrupts and inside the transport's */
	struct list_head		events;
	u64				sequence;
	u32				queued;		/* unasked messages among the events */
	u64				queued_bytes;	/* and their payload */
	u32				sends;
	u32				posts;
	u64				bytes;		/* of payload in sends and posts */
	bool				held;		/* the transport waits for resume() */
	bool				starved;	/* somebody waits for room to send */
	bool				retired;	/* the module is to go: all calls give -ENODEV */
	bool				closed;
};

/* Payload that somebody else than userspace will fill wants __GFP_ZERO in @gfp. */
struct lmgp_packet *lmgp_packet_alloc(u32 length, gfp_t gfp);
void lmgp_packet_free(struct lmgp_packet *packet);

struct lmgp_session *lmgp_session_create(enum lmgp_role role, const struct lmgp_transport *transport);
void lmgp_session_close(struct lmgp_session *session);
/* Ends all waiting on the session, for good; its owner is expected to close it then. */
void lmgp_session_retire(struct lmgp_session *session);
void lmgp_session_get(struct lmgp_session *session);
void lmgp_session_put(struct lmgp_session *session);
/* Waits until no session is left, in flight or open. */
void lmgp_sessions_drain(void);

ssize_t lmgp_session_write(struct lmgp_session *session, struct iov_iter *from, bool nonblock);
ssize_t lmgp_session_read(struct lmgp_session *session, struct iov_iter *to, bool nonblock);
__poll_t lmgp_session_poll(struct lmgp_session *session);

/* For transports; all may be called where sleeping is forbidden. */

/* Whether an unasked message would be taken; if not, resume() will be called once it would. */
bool lmgp_has_room(struct lmgp_session *session);
/* Queues an unasked message of frame.length bytes, which the session then owns. */
void lmgp_deliver(struct lmgp_session *session, struct lmgp_packet *packet);
/*
 * Turns a used or unlinked post into its event. @length: bytes of its payload that came. The caller has set what is
 * known of the message (match_bits, hdr_data, peer, offset, rlength).
 */
void lmgp_post_done(struct lmgp_session *session, struct lmgp_packet *post, enum lmgp_event type, int status,
		    u32 length);
/* Ends a command: queues its answer, if it has one, and frees @packet. @length: bytes taken, or fetched. */
void lmgp_finish(struct lmgp_session *session, struct lmgp_packet *packet, enum lmgp_event type, int status,
		 u32 length);

extern const struct lmgp_transport lmgp_loop;
#ifdef LMGP_WITH_LNET
extern const struct lmgp_transport lmgp_lnet;
void lmgp_lnet_exit(void);
#endif

#endif
