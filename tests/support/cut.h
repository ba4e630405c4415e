/* A body cut at random into parts, each in memory of its own, of exactly its size, so that a read past its end is seen, and at
 * any alignment. */
#ifndef TAEL_TESTS_CUT_H
#define TAEL_TESTS_CUT_H

#include <tael/link.h>

#include "tests/support/random.h"

#define CUT_PARTS_MAX 64

struct cut {
    struct tael_part parts[CUT_PARTS_MAX];
    uint8_t *memory[CUT_PARTS_MAX]; /* a part's data stand behind its first bytes */
    uint32_t part_count;
};

/* Some parts are empty, some are a byte. */
void cut_make(struct cut *cut, struct test_random *random, const uint8_t *body, uint32_t size);
void cut_free(struct cut *cut);

#endif
