/* SPDX-License-Identifier: GPL-2.0 */
/* What 2.15 and 2.17 have in common. */
#include <linux/types.h>
#include <linux/string.h>

struct lnet_nid {
	__u8	nid_size;
	__u8	nid_type;
	__be16	nid_num;
	__be32	nid_addr[4];
} __packed;

struct lnet_processid {
	struct lnet_nid	nid;
	__u32		pid;
};

typedef __u64 lnet_nid_t;

struct lnet_process_id {
	lnet_nid_t	nid;
	__u32		pid;
} __packed;

struct lnet_handle_md {
	__u64 cookie;
};

struct lnet_me;

#define LNET_NID_ANY	((lnet_nid_t)(-1))
#define LNET_PID_ANY	((__u32)(-1))
extern const struct lnet_nid lnet_any_nid;
#define LNET_ANY_NID	lnet_any_nid

enum lnet_event_kind {
	LNET_EVENT_GET = 1, LNET_EVENT_PUT, LNET_EVENT_REPLY, LNET_EVENT_ACK, LNET_EVENT_SEND, LNET_EVENT_UNLINK,
};

enum lnet_unlink { LNET_RETAIN, LNET_UNLINK };
enum lnet_ins_pos { LNET_INS_BEFORE, LNET_INS_AFTER, LNET_INS_LOCAL };
enum lnet_ack_req { LNET_ACK_REQ, LNET_NOACK_REQ };

#define LNET_MD_OP_PUT		(1 << 0)
#define LNET_MD_OP_GET		(1 << 1)
#define LNET_MD_MANAGE_REMOTE	(1 << 2)

struct lnet_event {
	struct lnet_processid	target;
	struct lnet_processid	initiator;
	struct lnet_processid	source;
	struct lnet_nid		sender;
	enum lnet_event_kind	type;
	unsigned int		pt_index;
	__u64			match_bits;
	unsigned int		rlength;
	unsigned int		mlength;
	void			*md_user_ptr;
	__u64			hdr_data;
	int			status;
	int			unlinked;
	unsigned int		offset;
};

typedef void (*lnet_handler_t)(struct lnet_event *event);

struct lnet_md;

static inline lnet_nid_t lnet_nid_to_nid4(const struct lnet_nid *nid)
{
	return be32_to_cpu(nid->nid_addr[0]);
}

int LNetNIInit(__u32 pid);
int LNetNIFini(void);
int LNetSetLazyPortal(int portal);
int LNetClearLazyPortal(int portal);
struct lnet_me *LNetMEAttach(unsigned int portal, struct lnet_processid *match_id, __u64 match_bits, __u64 ignore_bits,
			     enum lnet_unlink unlink, enum lnet_ins_pos pos);
int LNetMDAttach(struct lnet_me *me, const struct lnet_md *md, enum lnet_unlink unlink, struct lnet_handle_md *handle);
int LNetMDBind(const struct lnet_md *md, enum lnet_unlink unlink, struct lnet_handle_md *handle);
int LNetMDUnlink(struct lnet_handle_md handle);
