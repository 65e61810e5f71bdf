// SPDX-License-Identifier: GPL-2.0
/*
 * The yardstick of the benchmark: /dev/pair0 and /dev/pair1, of which each reads what was written to the other. One
 * message per read() and write(), one copy in and one out, one wake-up: what no character device can do without.
 * It checks, limits and matches nothing. For measurements in a virtual machine; never to be installed.
 */
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define MAX_MESSAGE	(2U << 20)

struct message {
	struct list_head	link;
	size_t			length;
	void			*bytes;
};

struct end {
	struct miscdevice	misc;
	struct list_head	messages;	/* to be read here; guarded by lock */
	spinlock_t		lock;
	wait_queue_head_t	wait;
};

static struct end ends[2];

static struct end *end_of(struct file *file)
{
	return container_of(file->private_data, struct end, misc);
}

static void free_message(struct message *message)
{
	if (message)
		kvfree(message->bytes);
	kfree(message);
}

static ssize_t pair_write(struct file *file, const char __user *from, size_t length, loff_t *at)
{
	struct end *to = &ends[end_of(file) == &ends[0]];
	struct message *message;

	if (!length || length > MAX_MESSAGE)
		return -EMSGSIZE;
	message = kmalloc(sizeof(*message), GFP_KERNEL_ACCOUNT);
	if (!message)
		return -ENOMEM;
	message->length = length;
	message->bytes = kvmalloc(length, GFP_KERNEL_ACCOUNT);
	if (!message->bytes || copy_from_user(message->bytes, from, length)) {
		length = message->bytes ? -EFAULT : -ENOMEM;
		free_message(message);
		return length;
	}
	spin_lock(&to->lock);
	list_add_tail(&message->link, &to->messages);
	spin_unlock(&to->lock);
	wake_up_interruptible(&to->wait);
	return length;
}

static struct message *take(struct end *end)
{
	struct message *message;

	spin_lock(&end->lock);
	message = list_first_entry_or_null(&end->messages, struct message, link);
	if (message)
		list_del(&message->link);
	spin_unlock(&end->lock);
	return message;
}

static ssize_t pair_read(struct file *file, char __user *to, size_t length, loff_t *at)
{
	struct end *end = end_of(file);
	struct message *message;
	ssize_t got;

	for (message = take(end); !message; message = take(end)) {
		got = wait_event_interruptible(end->wait, !list_empty_careful(&end->messages));
		if (got)
			return got;
	}
	got = message->length;
	if (message->length > length)
		got = -EMSGSIZE;
	else if (copy_to_user(to, message->bytes, message->length))
		got = -EFAULT;
	free_message(message);
	return got;
}

static const struct file_operations pair_fops = {
	.owner = THIS_MODULE,
	.read = pair_read,
	.write = pair_write,
};

static struct end ends[2] = {
	{ .misc = { .minor = MISC_DYNAMIC_MINOR, .name = "pair0", .fops = &pair_fops, .mode = 0600 } },
	{ .misc = { .minor = MISC_DYNAMIC_MINOR, .name = "pair1", .fops = &pair_fops, .mode = 0600 } },
};

static int __init pair_init(void)
{
	int number, error;

	for (number = 0; number < 2; number++) {
		INIT_LIST_HEAD(&ends[number].messages);
		spin_lock_init(&ends[number].lock);
		init_waitqueue_head(&ends[number].wait);
	}
	error = misc_register(&ends[0].misc);
	if (error)
		return error;
	error = misc_register(&ends[1].misc);
	if (error)
		misc_deregister(&ends[0].misc);
	return error;
}

static void __exit pair_exit(void)
{
	struct message *message;
	int number;

	for (number = 0; number < 2; number++) {
		misc_deregister(&ends[number].misc);
		while ((message = take(&ends[number])))
			free_message(message);
	}
}

module_init(pair_init);
module_exit(pair_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Two devices that read what is written to the other, to measure against");
