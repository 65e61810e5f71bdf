// SPDX-License-Identifier: GPL-2.0
/*
 * check.c in userspace: what it takes and refuses, case by case. Built with the sanitizers by ./run; each frame lies
 * at the end of an allocation of its own, so that a read beyond it is found.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../check.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static unsigned int failed, passed;

static struct lmgp_frame command(unsigned int type)
{
	return (struct lmgp_frame){ .magic = LMGP_MAGIC, .version = LMGP_VERSION, .type = type };
}

static struct lmgp_nid nid(void)
{
	return (struct lmgp_nid){ .type = 2, .addr = { 0x010200c0 } };
}

static int checked(struct lmgp_frame frame, size_t payload, enum lmgp_role role, const char **why)
{
	struct lmgp_frame *copy = malloc(sizeof(*copy));
	int error;

	if (!copy)
		abort();
	*copy = frame;
	error = lmgp_check(copy, payload, role, why);
	free(copy);
	return error;
}

static void expect(const char *what, struct lmgp_frame frame, enum lmgp_role role, int wanted)
{
	const char *why = NULL;
	int error = checked(frame, frame.length, role, &why);

	if (error == wanted && !why == !error) {
		passed++;
		return;
	}
	failed++;
	printf("FAILED %s: %d instead of %d (%s)\n", what, error, wanted, why ? why : "no reason given");
}

static void expect_length(const char *what, struct lmgp_frame frame, size_t payload, int wanted)
{
	const char *why = NULL;
	int error = checked(frame, payload, LMGP_ROLE_MGS, &why);

	if (error == wanted && why) {
		passed++;
		return;
	}
	failed++;
	printf("FAILED %s: %d instead of %d (%s)\n", what, error, wanted, why ? why : "no reason given");
}

/* Every field of the header that may be wrong, on a frame that is right otherwise. */
static void headers(void)
{
	struct lmgp_frame good = command(LMGP_PUT), bad;
	unsigned int i;

	good.portal = LMGP_PORTAL_REPLY;
	good.peer = nid();
	good.length = 8;
	expect("a good PUT", good, LMGP_ROLE_MGS, 0);
#define BAD(what, error, ...) do { bad = good; __VA_ARGS__; expect(what, bad, LMGP_ROLE_MGS, error); } while (0)
	BAD("magic", -EPROTO, bad.magic ^= 1);
	BAD("version 0", -EPROTONOSUPPORT, bad.version = 0);
	BAD("version to come", -EPROTONOSUPPORT, bad.version = LMGP_VERSION + 1);
	BAD("status", -EINVAL, bad.status = -1);
	BAD("sequence", -EINVAL, bad.sequence = 1);
	BAD("via", -EINVAL, bad.via.addr[3] = 1);
	BAD("reserved0", -EINVAL, bad.reserved0 = 1);
	for (i = 0; i < sizeof(bad.reserved); i++)
		BAD("reserved", -EINVAL, bad.reserved[i] = 0x80);
	BAD("a NID without type", -EINVAL, bad.peer.type = 0);
	BAD("a NID of 17 bytes", -EINVAL, bad.peer.size = 13);
	BAD("our NID of 259 bytes", -EINVAL, bad.self = nid(); bad.self.size = 255);
	BAD("an IPv6 NID", 0, bad.peer.size = 12);
	BAD("our own NID", 0, bad.self = nid());
	BAD("type 0", -EOPNOTSUPP, bad.type = 0);
	BAD("type 9", -EOPNOTSUPP, bad.type = LMGP_UNLINK + 1);
	BAD("an event", -EOPNOTSUPP, bad.type = LMGP_EV_PUT);
	BAD("a mebibyte", 0, bad.length = LMGP_MAX_PAYLOAD);
	BAD("a byte more", -EMSGSIZE, bad.length = LMGP_MAX_PAYLOAD + 1);
#undef BAD
	expect_length("less payload than said", good, 7, -EINVAL);
	expect_length("more payload than said", good, 9, -EINVAL);
	expect_length("a payload of 4 GiB and what is said", good, 8 + (1ULL << 32), -EMSGSIZE);
}

/* Each command on each portal, for each side: allowed exactly where the header says so. */
static void portals(void)
{
	static const struct {
		unsigned int type, role, portals[4];
	} table[] = {
		{ LMGP_ATTACH, LMGP_ROLE_MGS, { LMGP_PORTAL_REQUEST, LMGP_PORTAL_CANCEL } },
		{ LMGP_DETACH, LMGP_ROLE_MGS, { LMGP_PORTAL_REQUEST, LMGP_PORTAL_CANCEL } },
		{ LMGP_PUT, LMGP_ROLE_MGS, { LMGP_PORTAL_REPLY, LMGP_PORTAL_BULK, LMGP_PORTAL_CALLBACK } },
		{ LMGP_GET, LMGP_ROLE_MGS, { LMGP_PORTAL_BULK } },
		{ LMGP_POST, LMGP_ROLE_MGS, { LMGP_PORTAL_CALLBACK_ANSWER } },
		{ LMGP_ATTACH, LMGP_ROLE_NODE, { LMGP_PORTAL_CALLBACK } },
		{ LMGP_DETACH, LMGP_ROLE_NODE, { LMGP_PORTAL_CALLBACK } },
		{ LMGP_PUT, LMGP_ROLE_NODE, { LMGP_PORTAL_REQUEST, LMGP_PORTAL_CANCEL, LMGP_PORTAL_CALLBACK_ANSWER } },
		{ LMGP_GET, LMGP_ROLE_NODE, { 0 } },
		{ LMGP_POST, LMGP_ROLE_NODE, { LMGP_PORTAL_REPLY, LMGP_PORTAL_BULK } },
	};
	static const unsigned int beyond[] = { 64, 64 + LMGP_PORTAL_REPLY, 1U << 20, ~0U };
	unsigned int row, portal, i;
	char what[80];

	for (row = 0; row < ARRAY_SIZE(table); row++) {
		struct lmgp_frame frame = command(table[row].type);
		bool is_for_one = table[row].type == LMGP_PUT || table[row].type == LMGP_GET;

		if (is_for_one)
			frame.peer = nid();
		if (table[row].type == LMGP_POST)
			frame.cookie = 1;
		if (table[row].type == LMGP_GET || table[row].type == LMGP_POST)
			frame.rlength = 1;
		for (portal = 0; portal < 64; portal++) {
			bool may = false;

			for (i = 0; i < 4 && table[row].portals[i]; i++)
				may = may || table[row].portals[i] == portal;
			frame.portal = portal;
			snprintf(what, sizeof(what), "command %u of side %u on portal %u", table[row].type,
				 table[row].role, portal);
			expect(what, frame, table[row].role, may ? 0 : -EPERM);
		}
		for (i = 0; i < ARRAY_SIZE(beyond); i++) {
			frame.portal = beyond[i];
			expect("a portal beyond all", frame, table[row].role, -EPERM);
		}
		frame.portal = table[row].portals[0];
		if (is_for_one && frame.portal) {
			memset(&frame.peer, 0, sizeof(frame.peer));
			expect("a message to nobody", frame, table[row].role, -EDESTADDRREQ);
		}
	}
}

/* Payload, buffer and flags: which command may have what. */
static void shapes(void)
{
	struct lmgp_frame frame = command(LMGP_NIDS);

	expect("NIDS", frame, LMGP_ROLE_MGS, 0);
	frame.length = 1;
	expect("NIDS with payload", frame, LMGP_ROLE_MGS, -EINVAL);
	frame = command(LMGP_UNLINK);
	frame.flags = LMGP_ACK;
	expect("UNLINK with a flag", frame, LMGP_ROLE_MGS, -EINVAL);
	frame = command(LMGP_HELLO);
	expect("HELLO without payload", frame, LMGP_ROLE_MGS, -EINVAL);
	frame.length = sizeof(struct lmgp_hello);
	expect("HELLO", frame, LMGP_ROLE_MGS, 0);
	frame.rlength = 1;
	expect("HELLO with a buffer", frame, LMGP_ROLE_MGS, -EINVAL);

	frame = command(LMGP_PUT);
	frame.portal = LMGP_PORTAL_REPLY;
	frame.peer = nid();
	frame.flags = LMGP_ACK | LMGP_NOTIFY;
	expect("PUT with both flags", frame, LMGP_ROLE_MGS, 0);
	frame.flags = LMGP_READABLE;
	expect("PUT that is readable", frame, LMGP_ROLE_MGS, -EINVAL);
	frame.flags = 1U << 31;
	expect("PUT with an unknown flag", frame, LMGP_ROLE_MGS, -EINVAL);
	frame.flags = 0;
	frame.rlength = 1;
	expect("PUT with a buffer", frame, LMGP_ROLE_MGS, -EINVAL);

	frame = command(LMGP_GET);
	frame.portal = LMGP_PORTAL_BULK;
	frame.peer = nid();
	expect("GET of nothing", frame, LMGP_ROLE_MGS, -EINVAL);
	frame.rlength = LMGP_MAX_PAYLOAD;
	expect("GET of a mebibyte", frame, LMGP_ROLE_MGS, 0);
	frame.rlength++;
	expect("GET of a byte more", frame, LMGP_ROLE_MGS, -EINVAL);
	frame.rlength = 1;
	frame.length = 1;
	expect("GET with payload", frame, LMGP_ROLE_MGS, -EINVAL);

	frame = command(LMGP_POST);
	frame.portal = LMGP_PORTAL_REPLY;
	frame.rlength = LMGP_MAX_PAYLOAD;
	expect("POST without cookie", frame, LMGP_ROLE_NODE, -EINVAL);
	frame.cookie = ~0ULL;
	expect("POST of a mebibyte", frame, LMGP_ROLE_NODE, 0);
	frame.rlength = ~0U;
	expect("POST of 4 GiB", frame, LMGP_ROLE_NODE, -EINVAL);
	frame.rlength = 1;
	frame.length = 1;
	expect("POST for a PUT with payload", frame, LMGP_ROLE_NODE, -EINVAL);
	frame.flags = LMGP_READABLE;
	expect("POST for a GET with a buffer", frame, LMGP_ROLE_NODE, -EINVAL);
	frame.rlength = 0;
	expect("POST for a GET", frame, LMGP_ROLE_NODE, 0);
}

static void expect_hello(const char *what, struct lmgp_hello hello, int wanted)
{
	const char *why = NULL;
	int error = lmgp_check_hello(&hello, &why);

	if (error == wanted && !why == !error) {
		passed++;
		return;
	}
	failed++;
	printf("FAILED %s: %d instead of %d (%s)\n", what, error, wanted, why ? why : "no reason given");
}

static void hellos(void)
{
	struct lmgp_hello good = { .version_min = LMGP_VERSION, .version_max = LMGP_VERSION }, bad;
	unsigned int i;

	expect_hello("this version", good, 0);
#define BAD(what, error, ...) do { bad = good; __VA_ARGS__; expect_hello(what, bad, error); } while (0)
	BAD("this version among others", 0, bad.version_min = 0; bad.version_max = 9);
	BAD("older versions", -EPROTONOSUPPORT, bad.version_min = bad.version_max = LMGP_VERSION - 1);
	BAD("newer versions", -EPROTONOSUPPORT, bad.version_min = bad.version_max = LMGP_VERSION + 1);
	BAD("no version", -EPROTONOSUPPORT, bad.version_min = LMGP_VERSION + 1);
	BAD("a feature", -EOPNOTSUPP, bad.features = 1ULL << 63);
	for (i = 0; i < sizeof(bad.transport); i++)
		BAD("transport", -EINVAL, bad.transport[i] = 'x');
	for (i = 0; i < sizeof(bad.reserved); i++)
		BAD("reserved", -EINVAL, bad.reserved[i] = 1);
	/* What a daemon says of limits is not used: they are the module's. */
	BAD("limits", 0, bad.max_payload = ~0U; bad.max_sends = ~0U; bad.max_bytes = ~0U);
#undef BAD
}

int main(void)
{
	headers();
	portals();
	shapes();
	hellos();
	printf("check.c: %u cases passed, %u failed\n", passed, failed);
	return failed || passed < 700;
}
