#include "bench/line.h"

#include <tael/assert.h>

#include "bench/harness.h"
#include "bench/ticks.h"

#define LINES 256u
#define STRIDE 157u /* no divisor of LINES, and no pattern that a prefetcher follows */

/* Lines are fetched in pairs and more, hence the distance. */
struct line {
    _Alignas(4 * TAEL_CACHE_LINE) uint32_t next;
};

static struct line lines[LINES];

static void pass_write(void *argument, uint32_t worker) {
    (void)argument;
    if (worker != 1) return;
    for (uint32_t i = 0; i < LINES; i++) lines[i].next = (i + STRIDE) % LINES;
}

uint64_t tael_bench_line_ns(const struct tael_bench_team *team) {
    TAEL_ASSERT(team->team.workers > 1);
    uint32_t at = 0;
    team->team.run(team->team.context, pass_write, NULL);
    const uint64_t start = tael_bench_ticks();
    for (uint32_t i = 0; i < LINES; i++) at = lines[at].next;
    const uint64_t ticks = tael_bench_ticks() - start;
    TAEL_ASSERT(at == 0);
    return (uint64_t)((double)ticks * tael_bench_tick_ns() / LINES);
}
