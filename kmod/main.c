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
#include <linux/moduleparam.h>
#include <linux/poll.h>
#include <linux/stringify.h>
#include <linux/sysfs.h>
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
	struct lmgp_session		*session;	/* of who has it open, or NULL; guarded by open_lock */
};

/* Taken before a transport's lock. */
static DEFINE_MUTEX(open_lock);
static bool retired;	/* guarded by open_lock */
static struct lmgp_device devices[];

static int open_locked(struct lmgp_device *device)
{
	struct lmgp_session *session;

	lockdep_assert_held(&open_lock);
	if (retired)
		return -ENODEV;
	if (device->session)
		return -EBUSY;
	session = lmgp_session_create(device->role, device->transport);
	if (IS_ERR(session))
		return PTR_ERR(session);
	device->session = session;
	return 0;
}

static int lmgp_open(struct inode *inode, struct file *file)
{
	struct lmgp_device *device = container_of(file->private_data, struct lmgp_device, misc);
	int error;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	mutex_lock(&open_lock);
	error = open_locked(device);
	file->private_data = device->session;
	mutex_unlock(&open_lock);
	return error ? error : nonseekable_open(inode, file);
}

static int lmgp_release(struct inode *inode, struct file *file)
{
	struct lmgp_session *session = file->private_data;
	enum lmgp_role role = session->role;

	mutex_lock(&open_lock);
	devices[role].session = NULL;
	lmgp_session_close(session);
	mutex_unlock(&open_lock);
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

/* To exchange the module under a running daemon: it is told to let go, and comes back to the next one. */
static int set_retired(const char *value, const struct kernel_param *param)
{
	unsigned int role;
	bool retire;
	int error = kstrtobool(value, &retire);

	if (error)
		return error;
	mutex_lock(&open_lock);
	retired = retire;
	for (role = 0; retire && role < ARRAY_SIZE(devices); role++)
		if (devices[role].session)
			lmgp_session_retire(devices[role].session);
	mutex_unlock(&open_lock);
	return 0;
}

static const struct kernel_param_ops retired_ops = {
	.set = set_retired,
	.get = param_get_bool,
};
module_param_cb(retired, &retired_ops, &retired, 0644);
MODULE_PARM_DESC(retired, "Write 1 before unloading: whoever has a device open gets ENODEV, and nobody can open one");

static int set_nothing(const char *value, const struct kernel_param *param)
{
	return -EPERM;
}

static int get_protocol(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%u\n", LMGP_VERSION);
}

static const struct kernel_param_ops protocol_ops = {
	.set = set_nothing,
	.get = get_protocol,
};
module_param_cb(protocol, &protocol_ops, NULL, 0444);
MODULE_PARM_DESC(protocol, "Version of the frames that it speaks (read-only)");

static int get_transport(char *buffer, const struct kernel_param *param)
{
	/* Set by lmgp_init(), before which this may be read. */
	const struct lmgp_transport *transport = READ_ONCE(devices[LMGP_ROLE_MGS].transport);

	return sysfs_emit(buffer, "%s\n", transport ? transport->name : "none");
}

static const struct kernel_param_ops transport_ops = {
	.set = set_nothing,
	.get = get_transport,
};
module_param_cb(transport, &transport_ops, NULL, 0444);
MODULE_PARM_DESC(transport, "Network below: lnet or loop (read-only)");

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
/* As "modinfo -F protocol" shows it; the parameter says what is loaded. */
MODULE_INFO(protocol, __stringify(LMGP_VERSION));
