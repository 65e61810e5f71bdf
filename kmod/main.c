// SPDX-License-Identifier: GPL-2.0
/*
 * Passes LNet messages through to the MGS daemon, for networks that only the kernel can drive.
 *
 * /dev/lustre_mgs_proxy is for one daemon at a time, root of the initial user namespace. Nothing of Lustre's RPC is
 * understood here: frames say what to send where, and tell what came.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uio.h>
#include <linux/user_namespace.h>

#include "lmgp.h"

static bool loop;
module_param(loop, bool, 0444);
MODULE_PARM_DESC(loop, "Use the loop transport, for tests: /dev/lustre_mgs_proxy_peer plays the nodes");

struct lmgp_device {
	struct miscdevice		misc;
	enum lmgp_role			role;
	const struct lmgp_transport	*transport;
	unsigned long			busy;		/* bit 0: open */
};

static int lmgp_open(struct inode *inode, struct file *file)
{
	struct lmgp_device *device = container_of(file->private_data, struct lmgp_device, misc);
	struct lmgp_session *session;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (test_and_set_bit(0, &device->busy))
		return -EBUSY;
	session = lmgp_session_create(device->role, device->transport);
	if (IS_ERR(session)) {
		clear_bit(0, &device->busy);
		return PTR_ERR(session);
	}
	file->private_data = session;
	return nonseekable_open(inode, file);
}

static struct lmgp_device devices[];

static int lmgp_release(struct inode *inode, struct file *file)
{
	struct lmgp_session *session = file->private_data;
	enum lmgp_role role = session->role;

	lmgp_session_close(session);
	clear_bit(0, &devices[role].busy);
	return 0;
}

static bool is_nonblocking(const struct kiocb *iocb)
{
	return iocb->ki_filp->f_flags & O_NONBLOCK || iocb->ki_flags & IOCB_NOWAIT;
}

static ssize_t lmgp_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	return lmgp_session_read(iocb->ki_filp->private_data, to, is_nonblocking(iocb));
}

static ssize_t lmgp_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	return lmgp_session_write(iocb->ki_filp->private_data, from, is_nonblocking(iocb));
}

static __poll_t lmgp_poll(struct file *file, struct poll_table_struct *table)
{
	struct lmgp_session *session = file->private_data;

	poll_wait(file, &session->wait, table);
	return lmgp_session_poll(session);
}

static const struct file_operations lmgp_fops = {
	.owner = THIS_MODULE,
	.open = lmgp_open,
	.release = lmgp_release,
	.read_iter = lmgp_read_iter,
	.write_iter = lmgp_write_iter,
	.poll = lmgp_poll,
};

static struct lmgp_device devices[] = {
	[LMGP_ROLE_MGS] = {
		.misc = {
			.minor = MISC_DYNAMIC_MINOR,
			.name = "lustre_mgs_proxy",
			.fops = &lmgp_fops,
			.mode = 0600,
		},
		.role = LMGP_ROLE_MGS,
#ifdef LMGP_WITH_LNET
		.transport = &lmgp_lnet,
#endif
	},
	[LMGP_ROLE_NODE] = {
		.misc = {
			.minor = MISC_DYNAMIC_MINOR,
			.name = "lustre_mgs_proxy_peer",
			.fops = &lmgp_fops,
			.mode = 0600,
		},
		.role = LMGP_ROLE_NODE,
		.transport = &lmgp_loop,
	},
};

static int __init lmgp_init(void)
{
	struct lmgp_device *mgs = &devices[LMGP_ROLE_MGS];
	int error;

	if (loop)
		mgs->transport = &lmgp_loop;
	if (!mgs->transport) {
		pr_err("built without LNet: build with LUSTRE_SRC=, or load with loop=1 for tests\n");
		return -ENODEV;
	}
	error = misc_register(&mgs->misc);
	if (error)
		return error;
	if (loop) {
		error = misc_register(&devices[LMGP_ROLE_NODE].misc);
		if (error)
			goto err_deregister;
	}
	lmgp_stats_init();
	pr_info("protocol version %u over %s\n", LMGP_VERSION, mgs->transport->name);
	return 0;

err_deregister:
	misc_deregister(&mgs->misc);
	return error;
}

static void __exit lmgp_exit(void)
{
	if (loop)
		misc_deregister(&devices[LMGP_ROLE_NODE].misc);
	misc_deregister(&devices[LMGP_ROLE_MGS].misc);
	/* Messages in flight keep their session: LNet ends each of them in its own time. */
	lmgp_sessions_drain();
#ifdef LMGP_WITH_LNET
	lmgp_lnet_exit();
#endif
	lmgp_stats_exit();
}

module_init(lmgp_init);
module_exit(lmgp_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Passes LNet messages through to a userspace Lustre MGS");
MODULE_VERSION("0.1.0");
