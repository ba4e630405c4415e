/* The checksum of the wire, over the sizes that messages have: a header, a single transfer, a full batch. */
#include <stdlib.h>

#include <tael/assert.h>
#include <tael/limits.h>

#include "bench/harness.h"
#include "io/aegis.h"
#include "tests/support/random.h"

static void run_aegis(struct tael_bench *run, const struct tael_bench_case *self) {
    static uint8_t data[TAEL_MESSAGE_SIZE_MAX];
    const size_t size = (size_t)self->size;
    struct test_random random = {0};
    TAEL_ASSERT(size <= sizeof data);
    test_random_bytes(&random, data, size);
    uint64_t bytes = 0;
    while (tael_bench_next(run)) {
        tael_bench_keep((uint64_t)tael_checksum(data, size));
        bytes += size;
    }
    tael_bench_bytes(run, bytes);
}

const struct tael_bench_case tael_bench_checksum_cases[] = {
    {.name = "checksum/aegis/128", .run = run_aegis, .size = 128},
    {.name = "checksum/aegis/240", .run = run_aegis, .size = 240},
    {.name = "checksum/aegis/4096", .run = run_aegis, .size = 4096},
    {.name = "checksum/aegis/1M", .run = run_aegis, .size = TAEL_BODY_SIZE_MAX},
    {0},
};
