/* What it costs that threads work together: two of them, each on a processor of its own, as a server binds its own.
 *
 * barrier: a pass in which nobody does anything. spinning: one behind the other; asleep: the other worker has gone to sleep before each.
 * latency: a word to the other thread and one back, half of the time of both. By a ring, and by a watermark.
 * words: the other thread answers a word with 1 or 63 words, each on a line of its own, and each is waited for, as a leader does for
 *   workers; time a round. What 63 take more is what each further worker costs a barrier, but for the time that one thread takes to write them.
 * flow: a ring that is never left empty for long; time an entry. pointers: nothing but those are read; lines: each points to a cache line
 *   that the producer has just written, as a block's header.
 * lines: cache lines that the other thread has just written, read one after the other. sequential: as they stand; scattered: in another
 *   order, known ahead; chained: one after the other has come, so that their times add up. rewritten: lines that the other has just
 *   read, written again in order. 32K and 512K: bytes of all lines together, which is where they are in the other's caches.
 * memory: what several take from the memory at once. lines: changes of random lines, each over a GiB of its own; stream: lines written past
 *   the caches, one behind the other. Time a line by one thread, so twice as many are done by two.
 *
 * Counters: `ns`, the median of many rounds, for one of what the name says; `line`, ns, what bench/line.h says at that time. Time is that of the
 * clock on the wall. */
#include <immintrin.h>
#include <string.h>

#include <tael/ring.h>
#include <tael/watermark.h>

#include "bench/harness.h"
#include "bench/line.h"
#include "bench/memory.h"
#include "bench/team.h"
#include "bench/ticks.h"
#include "tests/support/random.h"

#define ITERATIONS 16
#define ROUNDS_MAX 1024 /* of all iterations */
#define SLEEP_NS 200000 /* longer than a worker looks for the next pass before it sleeps */
#define RING_CAPACITY 1024
#define LINES_MAX 8192
#define WORDS_MAX (TAEL_WORKERS_MAX - 1)
#define MEMORY_SIZE (1ull << 30) /* of each thread */

#define APART 4u /* scattered lines: they are fetched in pairs and more */

struct line {
    _Alignas(TAEL_CACHE_LINE) uint32_t value;
};

struct pair {
    struct tael_arena arena;
    struct tael_bench_team team;
    struct tael_ring there, back; /* from worker 0 to worker 1, and back */
    struct tael_watermark up, down; /* the same */
    struct tael_watermark words[WORDS_MAX]; /* back */
    struct line *lines;
    uint32_t line_count;
    uint32_t order[LINES_MAX];
    uint8_t *memory[2];
    uint64_t count; /* of what a round does */
    uint64_t seed;
    uint64_t ticks; /* that worker 0's part of the round took */
    uint64_t rounds[ROUNDS_MAX];
    uint32_t round_count;
    uint64_t line_ns[ITERATIONS];
    uint32_t iterations;
};

static struct pair pair;

static void together(void (*pass)(void *argument, uint32_t worker)) {
    pair.team.team.run(pair.team.team.context, pass, &pair);
}

static void round_note(uint64_t ticks) {
    TAEL_ASSERT(pair.round_count < ROUNDS_MAX);
    pair.rounds[pair.round_count++] = ticks;
}

static void iteration_end(struct tael_bench *run, uint64_t ticks) {
    TAEL_ASSERT(pair.iterations < ITERATIONS);
    tael_bench_time(run, (uint64_t)((double)ticks * tael_bench_tick_ns()));
    pair.line_ns[pair.iterations++] = pair.team.team.workers > 1 ? tael_bench_line_ns(&pair.team) : 0;
}

static void pair_open(uint32_t workers, size_t memory_size) {
    pair = (struct pair){0};
    pair.arena = tael_bench_map(tael_crew_size_bytes(workers) + 2 * tael_ring_size_bytes(RING_CAPACITY) +
                                tael_arena_share(APART * LINES_MAX * sizeof *pair.lines) +
                                workers * tael_arena_share_aligned(memory_size));
    tael_bench_team_open(&pair.team, &pair.arena, workers);
    tael_ring_init(&pair.there, &pair.arena, RING_CAPACITY);
    tael_ring_init(&pair.back, &pair.arena, RING_CAPACITY);
    pair.lines = tael_arena_take(&pair.arena, APART * LINES_MAX * sizeof *pair.lines);
    tael_bench_populate(pair.lines, APART * LINES_MAX * sizeof *pair.lines);
    for (uint32_t i = 0; i < workers && memory_size > 0; i++) {
        pair.memory[i] = tael_arena_take_aligned(&pair.arena, memory_size);
        tael_bench_populate(pair.memory[i], memory_size);
    }
}

static void pair_close(struct tael_bench *run, uint64_t items) {
    tael_bench_items(run, items);
    tael_bench_counter(run, "ns",
                       tael_bench_tick_ns() * (double)tael_bench_ticks_median(pair.rounds, pair.round_count) /
                           (double)pair.count);
    tael_bench_counter(run, "line", (double)tael_bench_ticks_median(pair.line_ns, pair.iterations));
    tael_bench_team_close(&pair.team);
    tael_bench_unmap(&pair.arena);
}

/* --- barrier --- */

static void pass_empty(void *argument, uint32_t worker) {
    (void)argument;
    (void)worker;
}

static uint64_t barriers(bool asleep) {
    const uint64_t wait_start = tael_bench_wall_ns();
    while (asleep && tael_bench_wall_ns() - wait_start < SLEEP_NS) {
    }
    const uint64_t start = tael_bench_ticks();
    for (uint64_t i = 0; i < pair.count; i++) together(pass_empty);
    return tael_bench_ticks() - start;
}

static void run_barrier(struct tael_bench *run, const struct tael_bench_case *self) {
    const bool asleep = self->variant != 0;
    uint64_t items = 0;
    pair_open((uint32_t)self->size, 0);
    pair.count = asleep ? 1 : 1000;
    (void)barriers(asleep);
    while (tael_bench_next(run)) {
        uint64_t ticks = 0;
        for (uint32_t i = 0; i < ROUNDS_MAX / ITERATIONS; i++) {
            const uint64_t round = barriers(asleep);
            round_note(round);
            ticks += round;
            items += pair.count;
        }
        iteration_end(run, ticks);
    }
    pair_close(run, items);
}

/* --- latency --- */

static void pass_ring(void *argument, uint32_t worker) {
    (void)argument;
    struct tael_ring *to = worker == 0 ? &pair.there : &pair.back;
    struct tael_ring *from = worker == 0 ? &pair.back : &pair.there;
    void *entry = &pair;
    uint64_t start = 0;
    for (uint64_t i = 0; i <= pair.count / 2; i++) {
        if (i == 1) start = tael_bench_ticks(); /* by then the other one is at it too */
        if (worker == 0) (void)tael_ring_push(to, entry);
        while ((entry = tael_ring_pop(from)) == NULL) {
        }
        if (worker == 1) (void)tael_ring_push(to, entry);
    }
    if (worker == 0) pair.ticks = tael_bench_ticks() - start;
}

static void pass_watermark(void *argument, uint32_t worker) {
    (void)argument;
    struct tael_watermark *to = worker == 0 ? &pair.up : &pair.down;
    const struct tael_watermark *from = worker == 0 ? &pair.down : &pair.up;
    const uint64_t first = tael_watermark_read(to) + 1;
    uint64_t start = 0;
    for (uint64_t i = first; i <= first + pair.count / 2; i++) {
        if (i == first + 1) start = tael_bench_ticks();
        if (worker == 0) tael_watermark_publish(to, i);
        while (tael_watermark_read(from) < i) {
        }
        if (worker == 1) tael_watermark_publish(to, i);
    }
    if (worker == 0) pair.ticks = tael_bench_ticks() - start;
}

/* --- words --- */

static void words_await(uint64_t value) {
    for (uint32_t i = 0; i < pair.line_count; i++) {
        while (tael_watermark_read(&pair.words[i]) < value) _mm_pause();
    }
}

static void pass_words(void *argument, uint32_t worker) {
    (void)argument;
    const uint64_t first = tael_watermark_read(worker == 0 ? &pair.up : &pair.words[0]) + 1; /* its own */
    uint64_t start = 0;
    for (uint64_t i = first; i <= first + pair.count; i++) {
        if (worker == 0) {
            if (i == first + 1) start = tael_bench_ticks();
            tael_watermark_publish(&pair.up, i);
            words_await(i);
            continue;
        }
        while (tael_watermark_read(&pair.up) < i) _mm_pause();
        for (uint32_t k = 0; k < pair.line_count; k++) tael_watermark_publish(&pair.words[k], i);
    }
    if (worker == 0) pair.ticks = tael_bench_ticks() - start;
}

/* --- flow --- */

static void pass_flow(void *argument, uint32_t worker) {
    (void)argument;
    const bool writes = pair.line_count > 0;
    uint64_t start = 0;
    uint32_t sum = 0;
    for (uint64_t i = 0; i <= pair.count; i++) {
        struct line *line = &pair.lines[writes ? i % pair.line_count : 0];
        if (worker == 1) {
            if (writes) line->value = (uint32_t)i;
            while (!tael_ring_push(&pair.there, line)) {
            }
            continue;
        }
        if (i == 1) start = tael_bench_ticks();
        while ((line = tael_ring_pop(&pair.there)) == NULL) {
        }
        if (writes) sum += line->value;
    }
    if (worker == 0) pair.ticks = tael_bench_ticks() - start;
    tael_bench_keep(sum);
}

/* --- lines --- */

enum reading { SEQUENTIAL, SCATTERED, CHAINED, REWRITTEN };

static void pass_lines_write(void *argument, uint32_t worker) {
    (void)argument;
    if (worker != 1) return;
    for (uint32_t i = 0; i < pair.line_count; i++) pair.lines[pair.order[i]].value = 0;
}

static void pass_lines_read(void *argument, uint32_t worker) {
    (void)argument;
    if (worker != 1) return;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < pair.line_count; i++) sum += pair.lines[pair.order[i]].value;
    tael_bench_keep(sum);
}

static uint32_t lines_visit(enum reading reading) {
    const uint32_t *order = pair.order;
    uint32_t sum = 0;
    switch (reading) {
    case SEQUENTIAL:
    case SCATTERED:
        for (uint32_t i = 0; i < pair.line_count; i++) sum += pair.lines[order[i]].value;
        break;
    case CHAINED: /* all values are 0: where the next one stands is known, but not to the processor */
        for (uint32_t i = 0; i < pair.line_count; i++) sum += pair.lines[order[i] + sum].value;
        break;
    case REWRITTEN:
        for (uint32_t i = 0; i < pair.line_count; i++) pair.lines[order[i]].value = i;
        break;
    }
    return sum;
}

/* In which the lines are visited: as they stand, or each apart from the others and in disorder. */
static void order_make(bool scattered) {
    struct test_random random = {.state = 7};
    for (uint32_t i = 0; i < pair.line_count; i++) pair.order[i] = scattered ? APART * i : i;
    for (uint32_t i = pair.line_count - 1; scattered && i > 0; i--) {
        const uint32_t other = (uint32_t)test_random_below(&random, i + 1);
        const uint32_t swapped = pair.order[i];
        pair.order[i] = pair.order[other];
        pair.order[other] = swapped;
    }
}

static void run_lines(struct tael_bench *run, const struct tael_bench_case *self) {
    const enum reading reading = (enum reading)self->variant;
    uint64_t items = 0;
    pair_open(2, 0);
    pair.line_count = (uint32_t)(self->size / TAEL_CACHE_LINE);
    pair.count = pair.line_count;
    order_make(reading == SCATTERED || reading == CHAINED);
    while (tael_bench_next(run)) {
        uint64_t ticks = 0;
        for (uint32_t i = 0; i < ROUNDS_MAX / ITERATIONS; i++) {
            together(reading == REWRITTEN ? pass_lines_read : pass_lines_write);
            const uint64_t start = tael_bench_ticks();
            tael_bench_keep(lines_visit(reading));
            if (reading == REWRITTEN) _mm_mfence(); /* until the stores are done */
            const uint64_t round = tael_bench_ticks() - start;
            round_note(round);
            ticks += round;
            items += pair.count;
        }
        iteration_end(run, ticks);
    }
    pair_close(run, items);
}

/* --- memory --- */

static void pass_memory_lines(void *argument, uint32_t worker) {
    (void)argument;
    struct test_random random = {.state = pair.seed + worker};
    struct line *lines = (struct line *)(void *)pair.memory[worker];
    const uint64_t start = tael_bench_ticks();
    for (uint64_t i = 0; i < pair.count; i++) {
        lines[tael_u128_high((tael_u128)test_random_u64(&random) * (MEMORY_SIZE / sizeof *lines))].value++;
    }
    if (worker == 0) pair.ticks = tael_bench_ticks() - start;
}

static void pass_memory_stream(void *argument, uint32_t worker) {
    (void)argument;
    const __m256i value = _mm256_set1_epi64x((long long)pair.seed);
    const uint64_t first = pair.seed % (MEMORY_SIZE / TAEL_CACHE_LINE - pair.count);
    const uint64_t start = tael_bench_ticks();
    for (uint64_t i = 0; i < pair.count; i++) {
        __m256i *to = (__m256i *)(void *)(pair.memory[worker] + (first + i) * TAEL_CACHE_LINE);
        _mm256_stream_si256(to, value);
        _mm256_stream_si256(to + 1, value);
    }
    _mm_sfence();
    if (worker == 0) pair.ticks = tael_bench_ticks() - start;
}

/* --- cases that are one pass --- */

struct kind {
    void (*pass)(void *argument, uint32_t worker);
    uint64_t count;
    uint32_t rounds; /* an iteration */
    uint32_t lines;
    size_t memory_size;
};

static const struct kind kinds[] = {
    {.pass = pass_ring, .count = 2000, .rounds = 32},
    {.pass = pass_watermark, .count = 2000, .rounds = 32},
    {.pass = pass_flow, .count = 100000, .rounds = 16},
    {.pass = pass_flow, .count = 100000, .rounds = 16, .lines = 4096},
    {.pass = pass_memory_lines, .count = 200000, .rounds = 4, .memory_size = MEMORY_SIZE},
    {.pass = pass_memory_stream, .count = 200000, .rounds = 4, .memory_size = MEMORY_SIZE},
    {.pass = pass_words, .count = 1000, .rounds = 32, .lines = 1},
    {.pass = pass_words, .count = 1000, .rounds = 32, .lines = WORDS_MAX},
};

static void run_pass(struct tael_bench *run, const struct tael_bench_case *self) {
    const struct kind *kind = &kinds[self->variant];
    uint64_t items = 0;
    pair_open((uint32_t)self->size, kind->memory_size);
    pair.count = kind->count;
    pair.line_count = kind->lines;
    together(kind->pass); /* not timed: caches as later on */
    while (tael_bench_next(run)) {
        uint64_t ticks = 0;
        for (uint32_t i = 0; i < kind->rounds; i++) {
            pair.seed += 1000003;
            together(kind->pass);
            round_note(pair.ticks);
            ticks += pair.ticks;
            items += pair.count;
        }
        iteration_end(run, ticks);
    }
    pair_close(run, items);
}

#define CASE(label, function, number, kind)                                                                            \
    { .name = "handover/" label, .run = (function), .iterations = ITERATIONS, .size = (number), .variant = (kind) }
#define LINES(label, kind)                                                                                             \
    CASE("lines/" label "/32K", run_lines, 32768, kind), CASE("lines/" label "/512K", run_lines, 524288, kind)

const struct tael_bench_case tael_bench_handover_cases[] = {
    CASE("barrier/spinning", run_barrier, 2, 0),
    CASE("barrier/asleep", run_barrier, 2, 1),
    CASE("words/1", run_pass, 2, 6),
    CASE("words/63", run_pass, 2, 7),
    CASE("ring/latency", run_pass, 2, 0),
    CASE("watermark/latency", run_pass, 2, 1),
    CASE("ring/flow/pointers", run_pass, 2, 2),
    CASE("ring/flow/lines", run_pass, 2, 3),
    LINES("sequential", SEQUENTIAL),
    LINES("scattered", SCATTERED),
    LINES("chained", CHAINED),
    LINES("rewritten", REWRITTEN),
    CASE("memory/lines/1", run_pass, 1, 4),
    CASE("memory/lines/2", run_pass, 2, 4),
    CASE("memory/stream/1", run_pass, 1, 5),
    CASE("memory/stream/2", run_pass, 2, 5),
    {0},
};
