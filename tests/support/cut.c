#include "tests/support/cut.h"

#include <stdlib.h>

#include <tael/assert.h>

#define ALIGNMENTS 16

static void part_add(struct cut *cut, struct test_random *random, const uint8_t *data, uint32_t size) {
    const uint32_t offset = (uint32_t)test_random_below(random, ALIGNMENTS);
    uint8_t *memory = malloc((size_t)offset + size + 1);
    TAEL_ASSERT(memory != NULL);
    const uint32_t shift = size > 0 ? 1 : 0; /* the part ends where the memory does */
    if (size > 0) memcpy(memory + offset + shift, data, size);
    cut->memory[cut->part_count] = memory;
    cut->parts[cut->part_count++] = (struct tael_part){.data = memory + offset + shift, .size = size};
}

/* The next part's size: most are of some hundred bytes or of a share of what is left, a few are tiny. */
static uint32_t size_draw(struct test_random *random, uint32_t left) {
    const uint64_t bounds[] = {3, 300, (uint64_t)left + 1};
    const uint64_t size = test_random_below(random, bounds[test_random_below(random, 3)]);
    return size < left ? (uint32_t)size : left;
}

void cut_make(struct cut *cut, struct test_random *random, const uint8_t *body, uint32_t size) {
    cut->part_count = 0;
    const uint32_t parts = 1 + (uint32_t)test_random_below(random, CUT_PARTS_MAX);
    uint32_t done = 0;
    while (cut->part_count + 1 < parts) {
        /* Some cuts are near the end, where the trailer is. */
        uint32_t taken = size_draw(random, size - done);
        if (test_random_once_in(random, 4) && size - done > 300) taken = size - done - 300;
        part_add(cut, random, body + done, taken);
        done += taken;
    }
    part_add(cut, random, body + done, size - done);
}

void cut_free(struct cut *cut) {
    for (uint32_t i = 0; i < cut->part_count; i++) free(cut->memory[i]);
    cut->part_count = 0;
}
