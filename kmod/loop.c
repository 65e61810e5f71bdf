// SPDX-License-Identifier: GPL-2.0
/*
 * The loop transport, for tests: what one end sends, the other receives, by LNet's rules.
 *
 * The ends are /dev/lustre_mgs_proxy (the MGS) and /dev/lustre_mgs_proxy_peer (every node there is: it names the NID
 * that it speaks for in `self`). A posted buffer that matches takes a message before an attached portal does; what
 * nobody has a buffer for is dropped, and its sender told by a timeout, at once here. All of it runs in the context
 * of read(), write() and close(), so one mutex is enough.
 */
#include <linux/slab.h>

#include "lmgp.h"

#define LNET_TYPE_TCP	2
#define LUSTRE_PID	12345
#define REQUEST_MAX	8192	/* bytes of an attached portal's buffers */

struct loop_end {
	struct lmgp_session	*session;	/* NULL: not open */
	u64			attached;	/* a bit per portal */
	struct list_head	posts;		/* packets */
	struct list_head	held;		/* packets of the other end, in order; priv: unused */
	struct lmgp_nid		nid;		/* where a frame names none */
};

/* Guards both ends. Taken before session->lock. */
static DEFINE_MUTEX(loop_lock);
static struct loop_end ends[] = {
	[LMGP_ROLE_MGS] = {
		.posts = LIST_HEAD_INIT(ends[LMGP_ROLE_MGS].posts),
		.held = LIST_HEAD_INIT(ends[LMGP_ROLE_MGS].held),
		.nid = { .type = LNET_TYPE_TCP, .addr = { cpu_to_be32(0xc0000201) } },	/* 192.0.2.1@tcp */
	},
	[LMGP_ROLE_NODE] = {
		.posts = LIST_HEAD_INIT(ends[LMGP_ROLE_NODE].posts),
		.held = LIST_HEAD_INIT(ends[LMGP_ROLE_NODE].held),
		.nid = { .type = LNET_TYPE_TCP, .addr = { cpu_to_be32(0xc0000202) } },	/* 192.0.2.2@tcp */
	},
};

static struct loop_end *end_of(const struct lmgp_session *session)
{
	return &ends[session->role];
}

static struct loop_end *other_end(const struct lmgp_session *session)
{
	return &ends[session->role == LMGP_ROLE_MGS ? LMGP_ROLE_NODE : LMGP_ROLE_MGS];
}

static bool nid_is_none(const struct lmgp_nid *nid)
{
	return !nid->type;
}

static bool nids_equal(const struct lmgp_nid *a, const struct lmgp_nid *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Whom a message of @end comes from: one end plays every node there is. */
static const struct lmgp_nid *sender_of(const struct loop_end *end, const struct lmgp_frame *message)
{
	return nid_is_none(&message->self) ? &end->nid : &message->self;
}

/* Fills in, in the event @to, what the receiver learns of the message @from. */
static void describe(struct lmgp_frame *to, const struct lmgp_frame *from, const struct lmgp_nid *sender)
{
	to->portal = from->portal;
	to->match_bits = from->match_bits;
	to->hdr_data = from->hdr_data;
	to->offset = from->offset;
	to->peer = *sender;
	to->peer_pid = from->self_pid ? from->self_pid : LUSTRE_PID;
	to->via = *sender;
	to->self = from->peer;
	to->self_pid = from->peer_pid;
	to->rlength = from->length;
}

static struct lmgp_packet *matching_post(struct loop_end *end, const struct lmgp_frame *message,
					 const struct lmgp_nid *sender)
{
	bool readable = message->type == LMGP_GET;
	struct lmgp_packet *post;

	list_for_each_entry(post, &end->posts, link) {
		u64 wanted = readable ? message->rlength : (u64)message->offset + message->length;

		if (post->frame.portal == message->portal && post->frame.match_bits == message->match_bits &&
		    !!(post->frame.flags & LMGP_READABLE) == readable &&
		    (readable || wanted <= post->frame.rlength) &&
		    (nid_is_none(&post->frame.peer) || nids_equal(&post->frame.peer, sender)))
			return post;
	}
	return NULL;
}

static enum lmgp_event ending(const struct lmgp_packet *put)
{
	return put->frame.flags & LMGP_ACK ? LMGP_EV_ACK : LMGP_EV_DONE;
}

static void drop(struct lmgp_session *from, struct lmgp_packet *packet)
{
	bool told = packet->frame.type == LMGP_GET || packet->frame.flags & LMGP_ACK;

	lmgp_count(LMGP_STAT_UNMATCHED, 1);
	lmgp_finish(from, packet, packet->frame.type == LMGP_GET ? LMGP_EV_REPLY : ending(packet),
		    told ? -ETIMEDOUT : 0, 0);
}

/* Gives an unasked message to an attached portal. */
static void deliver(struct loop_end *to, struct lmgp_session *from, struct lmgp_packet *packet,
		    const struct lmgp_nid *sender)
{
	struct lmgp_packet *event = lmgp_packet_alloc(0, GFP_KERNEL_ACCOUNT);
	u32 length = packet->frame.length;

	if (!event) {
		drop(from, packet);
		return;
	}
	describe(&event->frame, &packet->frame, sender);
	event->frame.length = length;
	swap(event->payload, packet->payload);
	lmgp_deliver(to->session, event);
	lmgp_finish(from, packet, ending(packet), 0, length);
}

static void put_locked(struct lmgp_session *from, struct lmgp_packet *packet)
{
	const struct lmgp_nid *sender = sender_of(end_of(from), &packet->frame);
	struct loop_end *to = other_end(from);
	u32 length = packet->frame.length;
	struct lmgp_packet *post;

	if (!to->session) {
		drop(from, packet);
		return;
	}
	post = matching_post(to, &packet->frame, sender);
	if (post) {
		list_del_init(&post->link);
		describe(&post->frame, &packet->frame, sender);
		if (length) {
			memcpy(post->payload, packet->payload, length);
			lmgp_count(LMGP_STAT_PAYLOAD_COPIES, 1);
		}
		lmgp_post_done(to->session, post, LMGP_EV_PUT, 0, length);
		lmgp_finish(from, packet, ending(packet), 0, length);
	} else if (!(to->attached & BIT_ULL(packet->frame.portal)) || length > REQUEST_MAX) {
		drop(from, packet);
	} else if (!list_empty(&to->held) || !lmgp_has_room(to->session)) {
		list_add_tail(&packet->link, &to->held);
	} else {
		deliver(to, from, packet, sender);
	}
}

static void get_locked(struct lmgp_session *from, struct lmgp_packet *packet)
{
	const struct lmgp_nid *sender = sender_of(end_of(from), &packet->frame);
	struct loop_end *to = other_end(from);
	struct lmgp_packet *post = to->session ? matching_post(to, &packet->frame, sender) : NULL;
	u32 length;

	if (!post || packet->frame.offset > post->frame.length) {
		drop(from, packet);
		return;
	}
	length = min(packet->frame.rlength, post->frame.length - packet->frame.offset);
	if (length) {
		memcpy(packet->answer->payload, post->payload + packet->frame.offset, length);
		lmgp_count(LMGP_STAT_PAYLOAD_COPIES, 1);
	}
	list_del_init(&post->link);
	describe(&post->frame, &packet->frame, sender);
	post->frame.rlength = length;
	lmgp_post_done(to->session, post, LMGP_EV_DONE, 0, 0);
	lmgp_finish(from, packet, LMGP_EV_REPLY, 0, length);
}

static int loop_start(struct lmgp_session *session)
{
	mutex_lock(&loop_lock);
	end_of(session)->session = session;
	mutex_unlock(&loop_lock);
	return 0;
}

static void loop_stop(struct lmgp_session *session)
{
	struct loop_end *end = end_of(session), *other = other_end(session);
	struct lmgp_packet *packet, *next;

	mutex_lock(&loop_lock);
	if (end->session != session)
		goto out;
	/* What the other end sent us and we held back is lost, as it is when a host dies. */
	list_for_each_entry_safe(packet, next, &end->held, link) {
		list_del_init(&packet->link);
		drop(other->session, packet);
	}
	list_for_each_entry_safe(packet, next, &other->held, link) {
		list_del_init(&packet->link);
		drop(session, packet);
	}
	list_for_each_entry_safe(packet, next, &end->posts, link) {
		list_del_init(&packet->link);
		lmgp_post_done(session, packet, LMGP_EV_DONE, -ECANCELED, 0);
	}
	end->attached = 0;
	end->session = NULL;
out:
	mutex_unlock(&loop_lock);
}

static int loop_nids(struct lmgp_session *session, struct lmgp_nid *nids, unsigned int max)
{
	nids[0] = end_of(session)->nid;
	return 1;
}

static int loop_attach(struct lmgp_session *session, u32 portal)
{
	struct loop_end *end = end_of(session);
	int error = 0;

	mutex_lock(&loop_lock);
	if (end->attached & BIT_ULL(portal))
		error = -EALREADY;
	end->attached |= BIT_ULL(portal);
	mutex_unlock(&loop_lock);
	return error;
}

static int loop_detach(struct lmgp_session *session, u32 portal)
{
	struct loop_end *end = end_of(session), *other = other_end(session);
	struct lmgp_packet *packet, *next;
	int error = 0;

	mutex_lock(&loop_lock);
	if (!(end->attached & BIT_ULL(portal)))
		error = -ENOENT;
	end->attached &= ~BIT_ULL(portal);
	list_for_each_entry_safe(packet, next, &end->held, link) {
		if (packet->frame.portal != portal)
			continue;
		list_del_init(&packet->link);
		drop(other->session, packet);
	}
	mutex_unlock(&loop_lock);
	return error;
}

static int loop_put(struct lmgp_session *session, struct lmgp_packet *packet)
{
	mutex_lock(&loop_lock);
	put_locked(session, packet);
	mutex_unlock(&loop_lock);
	return 0;
}

static int loop_get(struct lmgp_session *session, struct lmgp_packet *packet)
{
	mutex_lock(&loop_lock);
	get_locked(session, packet);
	mutex_unlock(&loop_lock);
	return 0;
}

static struct lmgp_packet *post_of(struct loop_end *end, u64 cookie)
{
	struct lmgp_packet *post;

	list_for_each_entry(post, &end->posts, link)
		if (post->frame.cookie == cookie)
			return post;
	return NULL;
}

static int loop_post(struct lmgp_session *session, struct lmgp_packet *packet)
{
	struct loop_end *end = end_of(session);
	int error = 0;

	mutex_lock(&loop_lock);
	if (post_of(end, packet->frame.cookie))
		error = -EEXIST;
	else
		list_add_tail(&packet->link, &end->posts);
	mutex_unlock(&loop_lock);
	return error;
}

static int loop_unlink(struct lmgp_session *session, u64 cookie)
{
	struct lmgp_packet *post;

	mutex_lock(&loop_lock);
	post = post_of(end_of(session), cookie);
	if (post) {
		list_del_init(&post->link);
		lmgp_post_done(session, post, LMGP_EV_DONE, -ECANCELED, 0);
	}
	mutex_unlock(&loop_lock);
	return post ? 0 : -ENOENT;
}

static void loop_resume(struct lmgp_session *session)
{
	struct loop_end *end = end_of(session), *other = other_end(session);
	struct lmgp_packet *packet;

	mutex_lock(&loop_lock);
	while (end->session == session && !list_empty(&end->held) && lmgp_has_room(session)) {
		packet = list_first_entry(&end->held, struct lmgp_packet, link);
		list_del_init(&packet->link);
		deliver(end, other->session, packet, sender_of(other, &packet->frame));
	}
	mutex_unlock(&loop_lock);
}

const struct lmgp_transport lmgp_loop = {
	.name = "loop",
	.start = loop_start,
	.stop = loop_stop,
	.nids = loop_nids,
	.attach = loop_attach,
	.detach = loop_detach,
	.put = loop_put,
	.get = loop_get,
	.post = loop_post,
	.unlink = loop_unlink,
	.resume = loop_resume,
};
