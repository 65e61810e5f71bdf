// SPDX-License-Identifier: GPL-2.0
/*
 * A session: what one open of the device has queued, in flight and posted.
 *
 * Userspace is hostile, or at least may stop reading at any time. So everything that it can make the kernel hold is
 * counted before it is made: sends and posts until their last event is *read*, unasked messages while they are
 * queued, bytes in all of them. When the queue is full the transport holds the network back; nothing is dropped.
 */
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "lmgp.h"

#define MAX_SENDS	4096
#define MAX_POSTS	16384
#define MAX_QUEUED	1024
#define MAX_BYTES	(64U << 20)
#define MAX_QUEUED_BYTES	(8U << 20)
#define MAX_NIDS	64

static atomic_t live_sessions = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(no_sessions);

struct lmgp_packet *lmgp_packet_alloc(u32 length, gfp_t gfp)
{
	struct lmgp_packet *packet = kzalloc(sizeof(*packet), gfp);

	if (!packet)
		return NULL;
	if (length) {
		packet->payload = kvmalloc(length, gfp);
		if (!packet->payload) {
			kfree(packet);
			return NULL;
		}
	}
	INIT_LIST_HEAD(&packet->link);
	packet->frame.magic = LMGP_MAGIC;
	packet->frame.version = LMGP_VERSION;
	packet->frame.length = length;
	return packet;
}

void lmgp_packet_free(struct lmgp_packet *packet)
{
	if (!packet)
		return;
	kvfree(packet->payload);
	kfree(packet->answer);
	kfree(packet);
}

static void wake(struct lmgp_session *session, __poll_t events)
{
	/* Pairs with the barrier of who has put itself on the queue and then looks. */
	if (!wq_has_sleeper(&session->wait))
		return;
	lmgp_count(LMGP_STAT_WAKEUPS, 1);
	wake_up_interruptible_poll(&session->wait, events);
}

/* Gives back what @packet holds of the session's limits. True if somebody waits for that and has to be woken. */
static bool release_locked(struct lmgp_session *session, struct lmgp_packet *packet)
{
	bool gives_room = packet->holds_send || (packet->charged && !packet->is_unasked);
	bool wakes = gives_room && session->starved;

	lockdep_assert_held(&session->lock);
	if (packet->is_unasked) {
		session->queued--;
		session->queued_bytes -= packet->charged;
	} else {
		session->bytes -= packet->charged;
	}
	session->sends -= packet->holds_send;
	session->posts -= packet->holds_post;
	packet->charged = 0;
	packet->is_unasked = false;
	packet->holds_send = false;
	packet->holds_post = false;
	if (wakes)
		session->starved = false;
	return wakes;
}

static void release(struct lmgp_session *session, struct lmgp_packet *packet)
{
	unsigned long flags;
	bool wakes;

	spin_lock_irqsave(&session->lock, flags);
	wakes = release_locked(session, packet);
	spin_unlock_irqrestore(&session->lock, flags);
	if (wakes)
		wake(session, EPOLLOUT | EPOLLWRNORM);
}

/* Releases and frees @packet and its answer. */
static void discard(struct lmgp_session *session, struct lmgp_packet *packet)
{
	if (packet->answer) {
		release(session, packet->answer);
		kvfree(packet->answer->payload);
	}
	release(session, packet);
	lmgp_packet_free(packet);
}

/* Queues @packet for read(), or frees it if the file is closed. */
static void queue_event(struct lmgp_session *session, struct lmgp_packet *packet)
{
	unsigned long flags;

	spin_lock_irqsave(&session->lock, flags);
	if (session->closed) {
		release_locked(session, packet);
		spin_unlock_irqrestore(&session->lock, flags);
		lmgp_packet_free(packet);
		return;
	}
	packet->frame.sequence = ++session->sequence;
	list_add_tail(&packet->link, &session->events);
	spin_unlock_irqrestore(&session->lock, flags);
	wake(session, EPOLLIN | EPOLLRDNORM);
}

bool lmgp_has_room(struct lmgp_session *session)
{
	unsigned long flags;
	bool room;

	spin_lock_irqsave(&session->lock, flags);
	room = session->queued < MAX_QUEUED && session->queued_bytes < MAX_QUEUED_BYTES;
	if (!room && !session->held) {
		session->held = true;
		lmgp_count(LMGP_STAT_HELD, 1);
	}
	spin_unlock_irqrestore(&session->lock, flags);
	return room;
}

void lmgp_deliver(struct lmgp_session *session, struct lmgp_packet *packet)
{
	unsigned long flags;

	spin_lock_irqsave(&session->lock, flags);
	packet->is_unasked = true;
	packet->charged = packet->frame.length;
	session->queued++;
	session->queued_bytes += packet->charged;
	spin_unlock_irqrestore(&session->lock, flags);
	packet->frame.type = LMGP_EV_PUT;
	queue_event(session, packet);
}

void lmgp_post_done(struct lmgp_session *session, struct lmgp_packet *post, enum lmgp_event type, int status,
		    u32 length)
{
	post->frame.type = type;
	post->frame.status = status;
	post->frame.length = length;
	post->frame.flags = 0;
	queue_event(session, post);
}

void lmgp_finish(struct lmgp_session *session, struct lmgp_packet *packet, enum lmgp_event type, int status,
		 u32 length)
{
	struct lmgp_packet *answer = packet->answer;

	if (status)
		lmgp_count(LMGP_STAT_SEND_ERRORS, 1);
	packet->answer = NULL;
	if (answer) {
		answer->frame.type = type;
		answer->frame.status = status;
		answer->frame.cookie = packet->frame.cookie;
		answer->frame.portal = packet->frame.portal;
		answer->frame.match_bits = packet->frame.match_bits;
		answer->frame.peer = packet->frame.peer;
		answer->frame.peer_pid = packet->frame.peer_pid;
		answer->frame.self = packet->frame.self;
		answer->frame.rlength = length;
		answer->frame.length = answer->payload ? length : 0;
		queue_event(session, answer);
	}
	discard(session, packet);
}

struct lmgp_session *lmgp_session_create(enum lmgp_role role, const struct lmgp_transport *transport)
{
	struct lmgp_session *session = kzalloc(sizeof(*session), GFP_KERNEL);
	int error;

	if (!session)
		return ERR_PTR(-ENOMEM);
	kref_init(&session->ref);
	session->role = role;
	session->transport = transport;
	mutex_init(&session->command_lock);
	mutex_init(&session->read_lock);
	init_waitqueue_head(&session->wait);
	spin_lock_init(&session->lock);
	INIT_LIST_HEAD(&session->events);
	atomic_inc(&live_sessions);
	error = transport->start(session);
	if (error) {
		lmgp_session_put(session);
		return ERR_PTR(error);
	}
	lmgp_count(LMGP_STAT_OPENS, 1);
	return session;
}

void lmgp_session_get(struct lmgp_session *session)
{
	kref_get(&session->ref);
}

static void free_session(struct kref *ref)
{
	struct lmgp_session *session = container_of(ref, struct lmgp_session, ref);

	WARN_ON_ONCE(session->sends || session->posts || session->bytes || session->queued);
	kfree(session);
	if (atomic_dec_and_test(&live_sessions))
		wake_up(&no_sessions);
}

void lmgp_session_put(struct lmgp_session *session)
{
	kref_put(&session->ref, free_session);
}

void lmgp_sessions_drain(void)
{
	wait_event(no_sessions, !atomic_read(&live_sessions));
}

void lmgp_session_close(struct lmgp_session *session)
{
	struct lmgp_packet *packet, *next;
	LIST_HEAD(unread);

	spin_lock_irq(&session->lock);
	session->closed = true;
	spin_unlock_irq(&session->lock);
	session->transport->stop(session);
	spin_lock_irq(&session->lock);
	list_splice_init(&session->events, &unread);
	list_for_each_entry(packet, &unread, link)
		release_locked(session, packet);
	spin_unlock_irq(&session->lock);
	list_for_each_entry_safe(packet, next, &unread, link)
		lmgp_packet_free(packet);
	lmgp_session_put(session);
}

void lmgp_session_retire(struct lmgp_session *session)
{
	spin_lock_irq(&session->lock);
	session->retired = true;
	spin_unlock_irq(&session->lock);
	wake(session, EPOLLHUP | EPOLLERR | EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM);
}

static bool has_send_locked(const struct lmgp_session *session, u32 bytes)
{
	return session->sends < MAX_SENDS && session->bytes + bytes <= MAX_BYTES;
}

/* Charges @packet to the session: a send or a post, and @bytes. */
static int try_charge(struct lmgp_session *session, struct lmgp_packet *packet, bool is_post, u32 bytes)
{
	int error = 0;

	spin_lock_irq(&session->lock);
	if (session->retired) {
		error = -ENODEV;
	} else if (is_post && session->posts >= MAX_POSTS) {
		error = -ENOSPC;
	} else if (is_post ? session->bytes + bytes > MAX_BYTES : !has_send_locked(session, bytes)) {
		error = -EAGAIN;
		session->starved = true;
	} else {
		packet->charged = bytes;
		packet->holds_send = !is_post;
		packet->holds_post = is_post;
		session->sends += packet->holds_send;
		session->posts += packet->holds_post;
		session->bytes += bytes;
	}
	spin_unlock_irq(&session->lock);
	return error;
}

static int charge(struct lmgp_session *session, struct lmgp_packet *packet, bool is_post, u32 bytes, bool nonblock)
{
	int error = try_charge(session, packet, is_post, bytes);
	int interrupted;

	if (error != -EAGAIN || nonblock)
		return error;
	interrupted = wait_event_interruptible(session->wait,
					       (error = try_charge(session, packet, is_post, bytes)) != -EAGAIN);
	return interrupted ? interrupted : error;
}

/* Gives @packet the answer that its last event will be; the send is then given back when that is read. */
static int prepare_answer(struct lmgp_packet *packet, u32 length)
{
	packet->answer = lmgp_packet_alloc(length, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!packet->answer)
		return -ENOMEM;
	swap(packet->answer->holds_send, packet->holds_send);
	packet->answer->charged = length;
	packet->charged -= length;
	return 0;
}

static int hello(struct lmgp_session *session, struct lmgp_packet *packet, const char **why)
{
	struct lmgp_hello *agreed;
	int error;

	if (session->greeted) {
		*why = "a second HELLO";
		return -EALREADY;
	}
	error = lmgp_check_hello(packet->payload, why);
	if (error)
		return error;
	agreed = packet->answer->payload;
	agreed->version_min = LMGP_VERSION;
	agreed->version_max = LMGP_VERSION;
	agreed->max_payload = LMGP_MAX_PAYLOAD;
	agreed->max_sends = MAX_SENDS;
	agreed->max_posts = MAX_POSTS;
	agreed->max_queued = MAX_QUEUED;
	agreed->max_bytes = MAX_BYTES;
	strscpy(agreed->transport, session->transport->name, sizeof(agreed->transport));
	session->greeted = true;
	lmgp_finish(session, packet, LMGP_EV_HELLO, 0, sizeof(*agreed));
	return 0;
}

static int nids(struct lmgp_session *session, struct lmgp_packet *packet)
{
	int count = session->transport->nids(session, packet->answer->payload, MAX_NIDS);

	if (count < 0)
		return count;
	lmgp_finish(session, packet, LMGP_EV_NIDS, 0, count * sizeof(struct lmgp_nid));
	return 0;
}

/* Bytes that the last event of a command may carry, or -1 if it has none. */
static long answer_length(const struct lmgp_frame *frame)
{
	switch (frame->type) {
	case LMGP_HELLO:
		return sizeof(struct lmgp_hello);
	case LMGP_NIDS:
		return MAX_NIDS * sizeof(struct lmgp_nid);
	case LMGP_GET:
		return frame->rlength;
	case LMGP_PUT:
		return frame->flags & (LMGP_ACK | LMGP_NOTIFY) ? 0 : -1;
	}
	return -1;
}

/* Does what @packet says. 0: it is taken; otherwise still the caller's. */
static int dispatch(struct lmgp_session *session, struct lmgp_packet *packet, const char **why)
{
	const struct lmgp_transport *transport = session->transport;
	int error;

	if (!session->greeted && packet->frame.type != LMGP_HELLO) {
		*why = "no HELLO came first";
		return -EPROTO;
	}
	switch (packet->frame.type) {
	case LMGP_HELLO:
		return hello(session, packet, why);
	case LMGP_NIDS:
		return nids(session, packet);
	case LMGP_PUT:
		return transport->put(session, packet);
	case LMGP_GET:
		return transport->get(session, packet);
	case LMGP_POST:
		return transport->post(session, packet);
	case LMGP_ATTACH:
		error = transport->attach(session, packet->frame.portal);
		break;
	case LMGP_DETACH:
		error = transport->detach(session, packet->frame.portal);
		break;
	case LMGP_UNLINK:
		error = transport->unlink(session, packet->frame.cookie);
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (!error)
		discard(session, packet);
	return error;
}

/* Copies the frame in once, checks the copy, and makes a packet of it. */
static struct lmgp_packet *packet_from_user(struct lmgp_session *session, struct iov_iter *from, const char **why)
{
	size_t size = iov_iter_count(from);
	struct lmgp_packet *packet;
	struct lmgp_frame frame;
	bool is_buffer;
	int error;

	if (size < sizeof(frame)) {
		*why = "shorter than a header";
		return ERR_PTR(-EINVAL);
	}
	if (!copy_from_iter_full(&frame, sizeof(frame), from))
		return ERR_PTR(-EFAULT);
	error = lmgp_check(&frame, size - sizeof(frame), session->role, why);
	if (error)
		return ERR_PTR(error);
	/* The buffer of a post for a PUT is its payload to come. */
	is_buffer = frame.type == LMGP_POST && !(frame.flags & LMGP_READABLE);
	packet = is_buffer ? lmgp_packet_alloc(frame.rlength, GFP_KERNEL_ACCOUNT | __GFP_ZERO) :
			     lmgp_packet_alloc(frame.length, GFP_KERNEL_ACCOUNT);
	if (!packet)
		return ERR_PTR(-ENOMEM);
	packet->frame = frame;
	if (!frame.length)
		return packet;
	if (!copy_from_iter_full(packet->payload, frame.length, from)) {
		lmgp_packet_free(packet);
		return ERR_PTR(-EFAULT);
	}
	lmgp_count(LMGP_STAT_PAYLOAD_COPIES, 1);
	return packet;
}

ssize_t lmgp_session_write(struct lmgp_session *session, struct iov_iter *from, bool nonblock)
{
	size_t size = iov_iter_count(from);
	const char *why = NULL;
	struct lmgp_packet *packet;
	long answer;
	int error;

	packet = packet_from_user(session, from, &why);
	if (IS_ERR(packet)) {
		error = PTR_ERR(packet);
		goto err_count;
	}
	answer = answer_length(&packet->frame);
	error = charge(session, packet, packet->frame.type == LMGP_POST,
		       max(packet->frame.length, packet->frame.rlength) + max(answer, 0L), nonblock);
	if (error)
		goto err_free;
	if (answer >= 0) {
		error = prepare_answer(packet, answer);
		if (error)
			goto err_discard;
	}
	error = mutex_lock_interruptible(&session->command_lock);
	if (error)
		goto err_discard;
	error = dispatch(session, packet, &why);
	mutex_unlock(&session->command_lock);
	if (error)
		goto err_discard;
	lmgp_count(LMGP_STAT_FRAMES_WRITTEN, 1);
	lmgp_count(LMGP_STAT_BYTES_WRITTEN, size);
	return size;

err_discard:
	discard(session, packet);
	goto err_count;
err_free:
	lmgp_packet_free(packet);
err_count:
	if (why) {
		lmgp_count(LMGP_STAT_REFUSED, 1);
		pr_debug("command refused: %s\n", why);
	}
	return error;
}

/* 0: there is an event to read; -EAGAIN: not yet; -ENODEV: there will be none. */
static int readiness(struct lmgp_session *session)
{
	int error = 0;

	spin_lock_irq(&session->lock);
	if (session->retired)
		error = -ENODEV;
	else if (list_empty(&session->events))
		error = -EAGAIN;
	spin_unlock_irq(&session->lock);
	return error;
}

/* Takes the first event; waits for one unless @nonblock. The caller holds read_lock, so nobody else takes it. */
static struct lmgp_packet *take_event(struct lmgp_session *session, bool nonblock)
{
	struct lmgp_packet *packet;
	int error = readiness(session);

	lockdep_assert_held(&session->read_lock);
	if (error == -EAGAIN && !nonblock) {
		int interrupted = wait_event_interruptible(session->wait, (error = readiness(session)) != -EAGAIN);

		if (interrupted)
			return ERR_PTR(interrupted);
	}
	if (error)
		return ERR_PTR(error);
	spin_lock_irq(&session->lock);
	packet = list_first_entry(&session->events, struct lmgp_packet, link);
	list_del_init(&packet->link);
	spin_unlock_irq(&session->lock);
	return packet;
}

/* Puts back an event that could not be read. */
static void return_event(struct lmgp_session *session, struct lmgp_packet *packet)
{
	spin_lock_irq(&session->lock);
	list_add(&packet->link, &session->events);
	spin_unlock_irq(&session->lock);
}

/* Drops an event that was read, and lets the network go on where it was held back. */
static void retire_event(struct lmgp_session *session, struct lmgp_packet *packet)
{
	bool resume, wakes;

	spin_lock_irq(&session->lock);
	wakes = release_locked(session, packet);
	/* Half empty before it goes on, so that it is not held again at once. */
	resume = session->held && session->queued <= MAX_QUEUED / 2 && session->queued_bytes <= MAX_QUEUED_BYTES / 2;
	if (resume)
		session->held = false;
	spin_unlock_irq(&session->lock);
	lmgp_packet_free(packet);
	if (wakes)
		wake(session, EPOLLOUT | EPOLLWRNORM);
	if (resume)
		session->transport->resume(session);
}

static int copy_to_user_once(struct lmgp_packet *packet, struct iov_iter *to)
{
	size_t size = sizeof(packet->frame) + packet->frame.length;

	if (iov_iter_count(to) < size)
		return -EMSGSIZE;
	if (copy_to_iter(&packet->frame, sizeof(packet->frame), to) != sizeof(packet->frame) ||
	    copy_to_iter(packet->payload, packet->frame.length, to) != packet->frame.length)
		return -EFAULT;
	if (packet->frame.length)
		lmgp_count(LMGP_STAT_PAYLOAD_COPIES, 1);
	return 0;
}

static ssize_t read_locked(struct lmgp_session *session, struct iov_iter *to, bool nonblock)
{
	struct lmgp_packet *packet = take_event(session, nonblock);
	ssize_t size;
	int error;

	if (IS_ERR(packet))
		return PTR_ERR(packet);
	error = copy_to_user_once(packet, to);
	if (error) {
		return_event(session, packet);
		return error;
	}
	size = sizeof(packet->frame) + packet->frame.length;
	retire_event(session, packet);
	lmgp_count(LMGP_STAT_FRAMES_READ, 1);
	lmgp_count(LMGP_STAT_BYTES_READ, size);
	return size;
}

ssize_t lmgp_session_read(struct lmgp_session *session, struct iov_iter *to, bool nonblock)
{
	ssize_t size;
	int error;

	error = mutex_lock_interruptible(&session->read_lock);
	if (error)
		return error;
	size = read_locked(session, to, nonblock);
	mutex_unlock(&session->read_lock);
	return size;
}

__poll_t lmgp_session_poll(struct lmgp_session *session)
{
	__poll_t mask = 0;

	spin_lock_irq(&session->lock);
	if (!list_empty(&session->events))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (has_send_locked(session, 2 * LMGP_MAX_PAYLOAD))
		mask |= EPOLLOUT | EPOLLWRNORM;
	else
		session->starved = true;
	if (session->retired)
		mask |= EPOLLHUP | EPOLLERR | EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;
	spin_unlock_irq(&session->lock);
	return mask;
}
