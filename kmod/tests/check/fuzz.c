// SPDX-License-Identifier: GPL-2.0
/*
 * check.c against a specification of its own: what it takes must be harmless, whatever the bytes. Frames are good ones
 * with some bytes changed, the same in every run of a seed: ./fuzz [FRAMES [SEED]]. With clang's libFuzzer:
 * clang -fsanitize=fuzzer,address -DLIBFUZZER fuzz.c ../../check.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../check.h"

/* With assert() a build with NDEBUG would test nothing. */
#define MUST(condition) do { \
	if (!(condition)) { \
		fprintf(stderr, "check.c took a frame of type %u that violates: %s\n", frame->type, #condition); \
		abort(); \
	} \
} while (0)

static unsigned long long taken[LMGP_UNLINK + 1];

/* What the rest of the module relies on for a frame that was taken. */
static void must_be_harmless(const struct lmgp_frame *frame, size_t payload, enum lmgp_role role)
{
	static const unsigned char zeros[sizeof(frame->reserved)];
	__u32 buffer = frame->rlength;

	MUST(payload == frame->length && payload <= LMGP_MAX_PAYLOAD && buffer <= LMGP_MAX_PAYLOAD);
	MUST(frame->type >= LMGP_HELLO && frame->type <= LMGP_UNLINK);
	MUST(!frame->status && !frame->sequence && !frame->reserved0);
	MUST(!memcmp(frame->reserved, zeros, sizeof(zeros)) && !memcmp(&frame->via, zeros, sizeof(frame->via)));
	MUST(frame->peer.size <= 12 && frame->self.size <= 12);
	MUST(!(frame->flags & ~(LMGP_ACK | LMGP_NOTIFY | LMGP_READABLE)));
	/* Only what carries a payload has one, and what has a buffer has nothing else. */
	MUST(!payload || frame->type == LMGP_PUT || frame->type == LMGP_HELLO ||
	     (frame->type == LMGP_POST && frame->flags == LMGP_READABLE));
	MUST(!buffer || frame->type == LMGP_GET || (frame->type == LMGP_POST && !frame->flags));
	switch (frame->type) {
	case LMGP_HELLO:
		MUST(payload == sizeof(struct lmgp_hello));
		break;
	case LMGP_ATTACH:
	case LMGP_DETACH:
		MUST(role == LMGP_ROLE_MGS ? frame->portal == 26 || frame->portal == 17 : frame->portal == 15);
		break;
	case LMGP_PUT:
		MUST(role == LMGP_ROLE_MGS ? frame->portal == 25 || frame->portal == 33 || frame->portal == 15 :
					     frame->portal == 26 || frame->portal == 17 || frame->portal == 16);
		MUST(frame->peer.type);
		break;
	case LMGP_GET:
		MUST(role == LMGP_ROLE_MGS && frame->portal == 33 && frame->peer.type && buffer);
		break;
	case LMGP_POST:
		MUST(role == LMGP_ROLE_MGS ? frame->portal == 16 : frame->portal == 25 || frame->portal == 33);
		MUST(frame->cookie);
		break;
	}
}

/* @data: a byte for the side, then what a write() would bring. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	enum lmgp_role role = size && data[0] & 1 ? LMGP_ROLE_NODE : LMGP_ROLE_MGS;
	struct lmgp_frame *frame;
	const char *why = NULL;
	int error;

	if (size < 1 + sizeof(*frame))
		return 0;
	/* An allocation of its own: a read beyond it is found. */
	frame = malloc(sizeof(*frame));
	if (!frame)
		abort();
	memcpy(frame, data + 1, sizeof(*frame));
	error = lmgp_check(frame, size - 1 - sizeof(*frame), role, &why);
	MUST(error <= 0 && !why == !error);
	if (!error) {
		must_be_harmless(frame, size - 1 - sizeof(*frame), role);
		taken[frame->type]++;
	}
	if (!error && frame->type == LMGP_HELLO) {
		struct lmgp_hello *hello = malloc(sizeof(*hello));

		if (!hello)
			abort();
		memcpy(hello, data + 1 + sizeof(*frame), sizeof(*hello));
		error = lmgp_check_hello(hello, &why);
		MUST(error || (hello->version_min <= LMGP_VERSION && hello->version_max >= LMGP_VERSION &&
			       !hello->features));
		free(hello);
	}
	free(frame);
	return 0;
}

#ifndef LIBFUZZER
static unsigned long long state;

static unsigned long long below(unsigned long long end)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % end;
}

/* A good command of either side, with its payload; returns the bytes that it has. */
static size_t good(unsigned char *bytes)
{
	static const unsigned int portals[] = { 15, 16, 17, 25, 26, 33 };
	struct lmgp_frame frame = { .magic = LMGP_MAGIC, .version = LMGP_VERSION, .type = 1 + below(LMGP_UNLINK) };

	frame.portal = portals[below(6)];
	frame.cookie = below(3);
	if (frame.type == LMGP_PUT || frame.type == LMGP_GET || below(4) == 0)
		frame.peer = (struct lmgp_nid){ .type = 2, .addr = { 1 } };
	if (frame.type == LMGP_GET || frame.type == LMGP_POST)
		frame.rlength = below(LMGP_MAX_PAYLOAD + 2);
	if (frame.type == LMGP_PUT)
		frame.length = below(64);
	if (frame.type == LMGP_PUT)
		frame.flags = below(4);
	if (frame.type == LMGP_POST && below(2)) {
		frame.flags = LMGP_READABLE;
		frame.length = below(64);
		frame.rlength = 0;
	}
	memset(bytes, 0, 1 + sizeof(frame) + 64);
	bytes[0] = below(2);
	if (frame.type == LMGP_HELLO) {
		frame.length = sizeof(struct lmgp_hello);
		bytes[1 + sizeof(frame)] = LMGP_VERSION;
		bytes[1 + sizeof(frame) + 2] = LMGP_VERSION;
	}
	memcpy(bytes + 1, &frame, sizeof(frame));
	return 1 + sizeof(frame) + frame.length;
}

int main(int argc, char **argv)
{
	unsigned long long frames = argc > 1 ? strtoull(argv[1], NULL, 0) : 3000000, number;
	unsigned char bytes[1 + sizeof(struct lmgp_frame) + 64];
	unsigned int type, changes;
	size_t size;

	state = argc > 2 ? strtoull(argv[2], NULL, 0) : 0x5eed12345678;
	for (number = 0; number < frames; number++) {
		size = good(bytes);
		for (changes = below(5); changes; changes--)
			bytes[below(size)] = below(3) ? below(256) : 0xff;
		if (below(16) == 0)
			size = below(size + 1);
		LLVMFuzzerTestOneInput(bytes, size);
	}
	for (type = LMGP_HELLO; type <= LMGP_UNLINK; type++) {
		if (!taken[type] && frames >= 100000) {
			fprintf(stderr, "no frame of type %u was taken: this fuzzing is blunt\n", type);
			return 1;
		}
		printf("%s%llu", type == LMGP_HELLO ? "check.c: frames taken by type: " : ", ", taken[type]);
	}
	printf(" of %llu\n", frames);
	return 0;
}
#endif
