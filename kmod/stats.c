// SPDX-License-Identifier: GPL-2.0
/* Counters, in debugfs: /sys/kernel/debug/lustre_mgs_proxy/stats, a name and a number per line. */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "lmgp.h"

static atomic64_t stats[LMGP_STAT_COUNT];
static struct dentry *directory;

static const char * const names[LMGP_STAT_COUNT] = {
	[LMGP_STAT_OPENS] = "opens",
	[LMGP_STAT_FRAMES_READ] = "frames_read",
	[LMGP_STAT_BYTES_READ] = "bytes_read",
	[LMGP_STAT_FRAMES_WRITTEN] = "frames_written",
	[LMGP_STAT_BYTES_WRITTEN] = "bytes_written",
	[LMGP_STAT_REFUSED] = "commands_refused",
	[LMGP_STAT_UNMATCHED] = "messages_unmatched",
	[LMGP_STAT_HELD] = "times_held_back",
	[LMGP_STAT_SEND_ERRORS] = "send_errors",
	[LMGP_STAT_PAYLOAD_COPIES] = "payload_copies",
	[LMGP_STAT_WAKEUPS] = "wakeups",
};

void lmgp_count(enum lmgp_stat stat, u64 by)
{
	atomic64_add(by, &stats[stat]);
}

static int stats_show(struct seq_file *file, void *unused)
{
	unsigned int i;

	for (i = 0; i < LMGP_STAT_COUNT; i++)
		seq_printf(file, "%s %llu\n", names[i], (u64)atomic64_read(&stats[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

void lmgp_stats_init(void)
{
	directory = debugfs_create_dir("lustre_mgs_proxy", NULL);
	debugfs_create_file("stats", 0400, directory, NULL, &stats_fops);
}

void lmgp_stats_exit(void)
{
	debugfs_remove_recursive(directory);
}
