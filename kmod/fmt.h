/* SPDX-License-Identifier: GPL-2.0 */
/* Included before all else: every message starts with the module's name. */
#define pr_fmt(fmt) "lustre_mgs_proxy: " fmt
