/* SPDX-License-Identifier: GPL-2.0 */
#include "../../../../types.h"

struct lnet_md {
	void		*start;
	unsigned int	length;
	int		threshold;
	int		max_size;
	unsigned int	options;
	void		*user_ptr;
	lnet_handler_t	handler;
};

int LNetGetId(unsigned int index, struct lnet_processid *id);
int LNetPut(lnet_nid_t self, struct lnet_handle_md handle, enum lnet_ack_req ack, struct lnet_process_id target,
	    unsigned int portal, __u64 match_bits, unsigned int offset, __u64 hdr_data);
int LNetGet(lnet_nid_t self, struct lnet_handle_md handle, struct lnet_process_id target, unsigned int portal,
	    __u64 match_bits, unsigned int offset, bool recovery);
