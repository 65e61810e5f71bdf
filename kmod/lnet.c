// SPDX-License-Identifier: GPL-2.0
/*
 * The LNet transport: one memory descriptor per message in flight.
 *
 * LNet tells of each descriptor's end by an event with `unlinked` set, exactly once, whatever else it says before.
 * Handlers run where sleeping is forbidden and may not call LNet, so they only note what came; a work item ends the
 * operation and posts buffers anew, while the session has room: the portals are lazy, so what finds no buffer waits
 * inside LNet, and its senders' credits hold them back.
 */
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "lnet_compat.h"

#define LUSTRE_PID	12345
#define REQUEST_BYTES	8192	/* the largest request has 7 KiB */
#define BUFFERS		128	/* posted per attached portal */

enum kind { KIND_REQUEST, KIND_PUT, KIND_GET, KIND_POST };

struct lnet_side;

/* A message in flight, or a buffer that waits for one. LNet holds a reference until the descriptor is unlinked. */
struct operation {
	struct kref		ref;
	enum kind		kind;
	struct lnet_side	*side;
	struct list_head	link;		/* side->operations, then side->ended; guarded by side->lock */
	struct lmgp_packet	*packet;
	struct lnet_handle_md	handle;		/* valid once is_bound; guarded by side->lock */
	bool			is_bound;
	bool			is_unlinking;	/* guarded by side->lock: LNetMDUnlink is called once */
	/* Written by the handler, whose calls LNet orders; read when it is over. */
	enum lnet_event_kind	last;
	bool			has_answer;	/* the ACK or REPLY came */
	int			status;
	u32			length;		/* bytes taken, fetched or received */
};

/* What a session has in LNet. The session, each operation and a scheduled work item hold a reference. */
struct lnet_side {
	struct kref		ref;
	struct lmgp_session	*session;
	struct work_struct	work;
	spinlock_t		lock;		/* taken in LNet's handlers */
	struct list_head	operations;
	struct list_head	ended;
	u64			attached;	/* a bit per portal */
	unsigned int		buffers[64];	/* posted, per portal */
	bool			wants_buffers;
	bool			is_scheduled;
	bool			is_closed;
};

static struct workqueue_struct *ending;

static void free_side(struct kref *ref)
{
	struct lnet_side *side = container_of(ref, struct lnet_side, ref);

	LNetNIFini();
	lmgp_session_put(side->session);
	kfree(side);
}

static void put_side(struct lnet_side *side)
{
	kref_put(&side->ref, free_side);
}

static void free_operation(struct kref *ref)
{
	kfree(container_of(ref, struct operation, ref));
}

static void put_operation(struct operation *operation)
{
	kref_put(&operation->ref, free_operation);
}

static struct operation *new_operation(struct lnet_side *side, enum kind kind, struct lmgp_packet *packet)
{
	struct operation *operation = kzalloc(sizeof(*operation), GFP_KERNEL_ACCOUNT);

	if (!operation)
		return NULL;
	kref_init(&operation->ref);
	operation->kind = kind;
	operation->side = side;
	operation->packet = packet;
	kref_get(&side->ref);
	spin_lock_irq(&side->lock);
	list_add_tail(&operation->link, &side->operations);
	spin_unlock_irq(&side->lock);
	return operation;
}

static void schedule_locked(struct lnet_side *side)
{
	lockdep_assert_held(&side->lock);
	if (side->is_scheduled)
		return;
	side->is_scheduled = true;
	kref_get(&side->ref);
	queue_work(ending, &side->work);
}

static void describe(struct lmgp_frame *frame, const struct lnet_event *event)
{
	frame->match_bits = event->match_bits;
	frame->hdr_data = event->hdr_data;
	frame->offset = event->offset;
	frame->rlength = event->rlength;
	nid_from_lnet(&frame->peer, &event->initiator.nid);
	frame->peer_pid = event->initiator.pid;
	nid_from_lnet(&frame->self, &event->target.nid);
	frame->self_pid = event->target.pid;
	nid_from_lnet(&frame->via, &event->sender);
}

/* LNet's handler: may not sleep, nor call LNet. */
static void on_event(struct lnet_event *event)
{
	struct operation *operation = event->md_user_ptr;
	struct lnet_side *side = operation->side;
	unsigned long flags;

	if (event->status)
		operation->status = event->status;
	switch (event->type) {
	case LNET_EVENT_ACK:
	case LNET_EVENT_REPLY:
		operation->has_answer = true;
		operation->length = event->mlength;
		break;
	case LNET_EVENT_PUT:
	case LNET_EVENT_GET:
		describe(&operation->packet->frame, event);
		operation->length = event->mlength;
		break;
	default:
		break;
	}
	if (!event->unlinked)
		return;
	operation->last = event->type;
	spin_lock_irqsave(&side->lock, flags);
	list_move_tail(&operation->link, &side->ended);
	schedule_locked(side);
	spin_unlock_irqrestore(&side->lock, flags);
}

/* Brings the bytes of a message, which LNet put at its offset, to the start of the buffer. */
static void move_to_start(struct operation *operation)
{
	struct lmgp_packet *packet = operation->packet;

	if (operation->length && packet->frame.offset) {
		memmove(packet->payload, packet->payload + packet->frame.offset, operation->length);
		lmgp_count(LMGP_STAT_PAYLOAD_COPIES, 1);
	}
}

static void end_request(struct operation *operation)
{
	struct lnet_side *side = operation->side;
	struct lmgp_packet *packet = operation->packet;

	spin_lock_irq(&side->lock);
	side->buffers[packet->frame.portal]--;
	side->wants_buffers = true;
	spin_unlock_irq(&side->lock);
	if (operation->last != LNET_EVENT_PUT || operation->status) {
		lmgp_packet_free(packet);
		return;
	}
	move_to_start(operation);
	packet->frame.length = operation->length;
	lmgp_deliver(side->session, packet);
}

static void end_post(struct operation *operation)
{
	struct lmgp_session *session = operation->side->session;

	switch (operation->last) {
	case LNET_EVENT_PUT:
		move_to_start(operation);
		lmgp_post_done(session, operation->packet, LMGP_EV_PUT, operation->status, operation->length);
		break;
	case LNET_EVENT_GET:
		lmgp_post_done(session, operation->packet, LMGP_EV_DONE, operation->status, 0);
		break;
	default:
		lmgp_post_done(session, operation->packet, LMGP_EV_DONE, -ECANCELED, 0);
	}
}

static void end_send(struct operation *operation)
{
	struct lmgp_packet *packet = operation->packet;
	enum lmgp_event type = LMGP_EV_DONE;
	int status = operation->status;

	if (operation->kind == KIND_GET)
		type = LMGP_EV_REPLY;
	else if (packet->frame.flags & LMGP_ACK)
		type = LMGP_EV_ACK;
	if (!status && type != LMGP_EV_DONE && !operation->has_answer)
		status = -ETIMEDOUT;
	lmgp_finish(operation->side->session, packet, type, status, operation->length);
}

static void end(struct operation *operation)
{
	struct lnet_side *side = operation->side;

	switch (operation->kind) {
	case KIND_REQUEST:
		end_request(operation);
		break;
	case KIND_POST:
		end_post(operation);
		break;
	case KIND_PUT:
	case KIND_GET:
		end_send(operation);
		break;
	}
	put_operation(operation);
	put_side(side);
}

/* Takes the descriptor back. Its UNLINK event, which may come at once, ends the operation. */
static void unlink_operation(struct operation *operation)
{
	struct lnet_side *side = operation->side;
	bool mine;

	spin_lock_irq(&side->lock);
	mine = operation->is_bound && !operation->is_unlinking;
	operation->is_unlinking = true;
	spin_unlock_irq(&side->lock);
	if (mine)
		LNetMDUnlink(operation->handle);
}

/* Says that LNet has the operation's descriptor. True if it was to be unlinked meanwhile. */
static bool note_bound(struct operation *operation, struct lnet_handle_md handle)
{
	struct lnet_side *side = operation->side;
	bool is_late;

	spin_lock_irq(&side->lock);
	operation->handle = handle;
	operation->is_bound = true;
	is_late = operation->is_unlinking || side->is_closed ||
		  (operation->kind == KIND_REQUEST && !(side->attached & BIT_ULL(operation->packet->frame.portal)));
	operation->is_unlinking = false;
	spin_unlock_irq(&side->lock);
	return is_late;
}

static struct lnet_md descriptor(struct operation *operation, void *start, u32 length, int threshold,
				 unsigned int options)
{
	struct lnet_md md = {
		.MD(start) = start,
		.MD(length) = length,
		.MD(threshold) = threshold,
		.MD(options) = options,
		.MD(user_ptr) = operation,
		.MD(handler) = on_event,
	};

	return md;
}

/* Posts the packet's buffer for one message. On success LNet owns the operation. */
static int attach_buffer(struct operation *operation, u32 length, unsigned int options, u64 ignore_bits)
{
	struct lmgp_packet *packet = operation->packet;
	struct lnet_processid peer = { .nid = LNET_ANY_NID, .pid = LNET_PID_ANY };
	struct lnet_handle_md handle;
	struct lnet_me *me;
	struct lnet_md md;
	int error;

	if (packet->frame.peer.type) {
		nid_to_lnet(&peer.nid, &packet->frame.peer);
		peer.pid = packet->frame.peer_pid ? packet->frame.peer_pid : LNET_PID_ANY;
	}
	me = LNetMEAttach(packet->frame.portal, &peer, packet->frame.match_bits, ignore_bits, LNET_UNLINK,
			  LNET_INS_AFTER);
	if (IS_ERR(me))
		return PTR_ERR(me);
	md = descriptor(operation, packet->payload, length, 1, options);
	kref_get(&operation->ref);
	/* The entry goes with its descriptor, also when attaching fails. */
	error = LNetMDAttach(me, &md, LNET_UNLINK, &handle);
	if (!error && note_bound(operation, handle))
		unlink_operation(operation);
	put_operation(operation);
	return error;
}

/* Undoes new_operation() where LNet did not take it; the packet stays the caller's. */
static void abandon(struct operation *operation)
{
	struct lnet_side *side = operation->side;

	spin_lock_irq(&side->lock);
	list_del_init(&operation->link);
	spin_unlock_irq(&side->lock);
	put_operation(operation);
	put_side(side);
}

static int post_request_buffer(struct lnet_side *side, u32 portal)
{
	struct lmgp_packet *packet = lmgp_packet_alloc(REQUEST_BYTES, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	struct operation *operation;
	int error;

	if (!packet)
		return -ENOMEM;
	packet->frame.portal = portal;
	operation = new_operation(side, KIND_REQUEST, packet);
	if (!operation) {
		lmgp_packet_free(packet);
		return -ENOMEM;
	}
	spin_lock_irq(&side->lock);
	side->buffers[portal]++;
	spin_unlock_irq(&side->lock);
	error = attach_buffer(operation, REQUEST_BYTES, LNET_MD_OP_PUT, ~0ULL);
	if (error) {
		spin_lock_irq(&side->lock);
		side->buffers[portal]--;
		spin_unlock_irq(&side->lock);
		abandon(operation);
		lmgp_packet_free(packet);
	}
	return error;
}

static bool wants_buffer(struct lnet_side *side, u32 portal)
{
	bool wants;

	spin_lock_irq(&side->lock);
	wants = !side->is_closed && side->attached & BIT_ULL(portal) && side->buffers[portal] < BUFFERS;
	spin_unlock_irq(&side->lock);
	return wants && lmgp_has_room(side->session);
}

static void post_buffers(struct lnet_side *side)
{
	u32 portal;

	for (portal = 0; portal < 64; portal++)
		while (wants_buffer(side, portal))
			if (post_request_buffer(side, portal))
				return;
}

static void end_all(struct work_struct *work)
{
	struct lnet_side *side = container_of(work, struct lnet_side, work);
	struct operation *operation, *next;
	bool wants_buffers;
	LIST_HEAD(ended);

	for (;;) {
		spin_lock_irq(&side->lock);
		list_splice_init(&side->ended, &ended);
		wants_buffers = side->wants_buffers;
		side->wants_buffers = false;
		if (list_empty(&ended) && !wants_buffers) {
			side->is_scheduled = false;
			spin_unlock_irq(&side->lock);
			break;
		}
		spin_unlock_irq(&side->lock);
		list_for_each_entry_safe(operation, next, &ended, link) {
			list_del_init(&operation->link);
			end(operation);
		}
		if (wants_buffers)
			post_buffers(side);
	}
	put_side(side);
}

static void ask_for_buffers(struct lnet_side *side)
{
	spin_lock_irq(&side->lock);
	side->wants_buffers = true;
	schedule_locked(side);
	spin_unlock_irq(&side->lock);
}

static int lnet_start(struct lmgp_session *session)
{
	struct lnet_side *side = kzalloc(sizeof(*side), GFP_KERNEL);
	int error;

	if (!side)
		return -ENOMEM;
	error = LNetNIInit(LUSTRE_PID);
	if (error < 0)
		goto err_free;
	if (!ending)
		ending = alloc_workqueue("lustre_mgs_proxy", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!ending) {
		error = -ENOMEM;
		goto err_fini;
	}
	kref_init(&side->ref);
	side->session = session;
	lmgp_session_get(session);
	INIT_WORK(&side->work, end_all);
	spin_lock_init(&side->lock);
	INIT_LIST_HEAD(&side->operations);
	INIT_LIST_HEAD(&side->ended);
	session->priv = side;
	return 0;

err_fini:
	LNetNIFini();
err_free:
	kfree(side);
	return error;
}

/* The next operation that is not being unlinked yet, with a reference, or NULL. */
static struct operation *next_to_unlink(struct lnet_side *side)
{
	struct operation *operation;

	spin_lock_irq(&side->lock);
	list_for_each_entry(operation, &side->operations, link) {
		if (operation->is_bound && !operation->is_unlinking) {
			kref_get(&operation->ref);
			spin_unlock_irq(&side->lock);
			return operation;
		}
	}
	spin_unlock_irq(&side->lock);
	return NULL;
}

static void lnet_stop(struct lmgp_session *session)
{
	struct lnet_side *side = session->priv;
	struct operation *operation;
	u32 portal;

	if (!side)
		return;
	spin_lock_irq(&side->lock);
	side->is_closed = true;
	spin_unlock_irq(&side->lock);
	for (portal = 0; portal < 64; portal++)
		if (side->attached & BIT_ULL(portal))
			LNetClearLazyPortal(portal);
	while ((operation = next_to_unlink(side))) {
		unlink_operation(operation);
		put_operation(operation);
	}
	/* A peer that died keeps its messages until the network gives up: they hold the side, nobody waits for them. */
	put_side(side);
}

static int lnet_nids(struct lmgp_session *session, struct lmgp_nid *nids, unsigned int max)
{
	struct lnet_processid id;
	unsigned int count = 0, index;

	for (index = 0; count < max && !compat_id(index, &id); index++)
		nid_from_lnet(&nids[count++], &id.nid);
	return count;
}

static int lnet_attach(struct lmgp_session *session, u32 portal)
{
	struct lnet_side *side = session->priv;
	int error;

	if (side->attached & BIT_ULL(portal))
		return -EALREADY;
	error = LNetSetLazyPortal(portal);
	if (error)
		return error;
	spin_lock_irq(&side->lock);
	side->attached |= BIT_ULL(portal);
	spin_unlock_irq(&side->lock);
	ask_for_buffers(side);
	return 0;
}

/* A buffer of @portal that is posted and not being unlinked, with a reference, or NULL. */
static struct operation *next_buffer(struct lnet_side *side, u32 portal)
{
	struct operation *operation;

	spin_lock_irq(&side->lock);
	list_for_each_entry(operation, &side->operations, link) {
		if (operation->kind == KIND_REQUEST && operation->packet->frame.portal == portal &&
		    operation->is_bound && !operation->is_unlinking) {
			kref_get(&operation->ref);
			spin_unlock_irq(&side->lock);
			return operation;
		}
	}
	spin_unlock_irq(&side->lock);
	return NULL;
}

static int lnet_detach(struct lmgp_session *session, u32 portal)
{
	struct lnet_side *side = session->priv;
	struct operation *operation;

	if (!(side->attached & BIT_ULL(portal)))
		return -ENOENT;
	spin_lock_irq(&side->lock);
	side->attached &= ~BIT_ULL(portal);
	spin_unlock_irq(&side->lock);
	LNetClearLazyPortal(portal);
	while ((operation = next_buffer(side, portal))) {
		unlink_operation(operation);
		put_operation(operation);
	}
	return 0;
}

static int lnet_put(struct lmgp_session *session, struct lmgp_packet *packet)
{
	struct operation *operation = new_operation(session->priv, KIND_PUT, packet);
	bool ack = packet->frame.flags & LMGP_ACK;
	struct lnet_handle_md handle;
	struct lnet_md md;
	int error;

	if (!operation)
		return -ENOMEM;
	/* SEND, and ACK if asked for: then the descriptor unlinks by itself. */
	md = descriptor(operation, packet->payload, packet->frame.length, ack ? 2 : 1, 0);
	error = LNetMDBind(&md, LNET_UNLINK, &handle);
	if (error) {
		abandon(operation);
		return error;
	}
	kref_get(&operation->ref);
	if (note_bound(operation, handle)) {
		unlink_operation(operation);
	} else {
		error = compat_put(&packet->frame, handle, ack ? LNET_ACK_REQ : LNET_NOACK_REQ);
		if (error) {
			/* Nothing was sent: the UNLINK event is the one completion. */
			operation->status = error;
			unlink_operation(operation);
		}
	}
	put_operation(operation);
	return 0;
}

static int lnet_get(struct lmgp_session *session, struct lmgp_packet *packet)
{
	struct operation *operation = new_operation(session->priv, KIND_GET, packet);
	struct lnet_handle_md handle;
	struct lnet_md md;
	int error;

	if (!operation)
		return -ENOMEM;
	md = descriptor(operation, packet->answer->payload, packet->frame.rlength, 2, 0);
	error = LNetMDBind(&md, LNET_UNLINK, &handle);
	if (error) {
		abandon(operation);
		return error;
	}
	kref_get(&operation->ref);
	if (note_bound(operation, handle)) {
		unlink_operation(operation);
	} else {
		error = compat_get(&packet->frame, handle);
		if (error) {
			operation->status = error;
			unlink_operation(operation);
		}
	}
	put_operation(operation);
	return 0;
}

static struct operation *post_of(struct lnet_side *side, u64 cookie)
{
	struct operation *operation;

	spin_lock_irq(&side->lock);
	list_for_each_entry(operation, &side->operations, link) {
		if (operation->kind == KIND_POST && operation->packet->frame.cookie == cookie) {
			kref_get(&operation->ref);
			spin_unlock_irq(&side->lock);
			return operation;
		}
	}
	spin_unlock_irq(&side->lock);
	return NULL;
}

static int lnet_post(struct lmgp_session *session, struct lmgp_packet *packet)
{
	bool readable = packet->frame.flags & LMGP_READABLE;
	struct lnet_side *side = session->priv;
	struct operation *operation = post_of(side, packet->frame.cookie);
	int error;

	if (operation) {
		put_operation(operation);
		return -EEXIST;
	}
	operation = new_operation(side, KIND_POST, packet);
	if (!operation)
		return -ENOMEM;
	error = attach_buffer(operation, readable ? packet->frame.length : packet->frame.rlength,
			      LNET_MD_MANAGE_REMOTE | (readable ? LNET_MD_OP_GET : LNET_MD_OP_PUT), 0);
	if (error)
		abandon(operation);
	return error;
}

static int lnet_unlink(struct lmgp_session *session, u64 cookie)
{
	struct operation *operation = post_of(session->priv, cookie);

	if (!operation)
		return -ENOENT;
	unlink_operation(operation);
	put_operation(operation);
	return 0;
}

static void lnet_resume(struct lmgp_session *session)
{
	ask_for_buffers(session->priv);
}

void lmgp_lnet_exit(void)
{
	if (ending)
		destroy_workqueue(ending);
}

const struct lmgp_transport lmgp_lnet = {
	.name = "lnet",
	.start = lnet_start,
	.stop = lnet_stop,
	.nids = lnet_nids,
	.attach = lnet_attach,
	.detach = lnet_detach,
	.put = lnet_put,
	.get = lnet_get,
	.post = lnet_post,
	.unlink = lnet_unlink,
	.resume = lnet_resume,
};
