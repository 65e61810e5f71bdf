/* SPDX-License-Identifier: GPL-2.0 */
#include "../../../../types.h"

struct lnet_md {
	void		*umd_start;
	unsigned int	umd_length;
	int		umd_threshold;
	int		umd_max_size;
	unsigned int	umd_options;
	void		*umd_user_ptr;
	lnet_handler_t	umd_handler;
};

int LNetGetId(unsigned int index, struct lnet_processid *id, bool large_nids);
int LNetPut(struct lnet_nid *self, struct lnet_handle_md handle, enum lnet_ack_req ack, struct lnet_processid *target,
	    unsigned int portal, __u64 match_bits, unsigned int offset, __u64 hdr_data);
int LNetGet(struct lnet_nid *self, struct lnet_handle_md handle, struct lnet_processid *target, unsigned int portal,
	    __u64 match_bits, unsigned int offset, bool recovery);
