/* The two sides of a relay, each by itself: what engine/parallel.c has two workers do at the same time, done by turns on one thread with a
 * clock around each. So nothing is handed from core to core.
 *
 * all: the worker ahead finds all accounts; none: it finds none, and who applies has to. Two workers at once come to lie between: the worker
 * ahead finds accounts as long as the leg before it is being applied.
 *
 * Counters, ns an event, the median over all legs: `claim`, the worker ahead, its settling included; `apply`, the leader; `leader`, what else
 * that one does: filling legs. */
#include <string.h>

#include "bench/fixture.h"
#include "bench/harness.h"
#include "bench/memory.h"
#include "bench/ticks.h"
#include "bench/workload.h"
#include "engine/feed.h"
#include "engine/relay.h"

#define SLICE_BATCHES 8
#define ITERATIONS 8
#define LEG_EVENTS 256 /* as engine/parallel.c has them */
#define LEGS_MAX (ITERATIONS * SLICE_BATCHES * (TAEL_EVENTS_MAX / LEG_EVENTS + 2))
#define LEGS 4

enum side { CLAIM, APPLY, LEADER, SIDES };

static const char *const side_names[SIDES] = {"claim", "apply", "leader"};

struct relay {
    struct tael_bench_ledger *fixture;
    struct tael_bench_workload workload;
    bool finds_none;
    struct tael_arena arena;
    struct tael_leg *legs;
    struct tael_request *requests[SLICE_BATCHES];
    /* By leg, in ticks for 2^16 events. */
    uint64_t ticks[SIDES][LEGS_MAX];
    uint32_t leg_count;
    uint64_t events;
};

static void note(struct relay *relay, enum side side, uint64_t ticks, uint32_t events) {
    TAEL_ASSERT(relay->leg_count < LEGS_MAX);
    relay->ticks[side][relay->leg_count] += (ticks << 16) / events;
}

static void leg_fill(struct relay *relay, struct tael_leg *leg, struct tael_leg *before, struct tael_feed *feed) {
    struct tael_ledger_part part;
    uint32_t request;
    const uint64_t start = tael_bench_ticks();
    tael_leg_begin(leg, before);
    while (tael_feed_take(feed, LEG_EVENTS - leg->count, &part, &request)) tael_leg_add(leg, &part, request);
    const uint64_t ticks = tael_bench_ticks() - start;
    if (leg->count > 0) note(relay, LEADER, ticks, leg->count);
}

/* The worker ahead's turn: the claims of the leg that was applied become final, those of the next one are made while `now` waits. */
static void leg_claim(struct relay *relay, struct tael_leg *next, struct tael_leg *now, struct tael_leg *done) {
    uint64_t start = tael_bench_ticks();
    if (done != NULL) tael_leg_settle(done);
    if (done != NULL) note(relay, CLAIM, tael_bench_ticks() - start, done->count);
    if (next->count == 0) return;
    if (now != NULL) atomic_store_explicit(&now->applied, relay->finds_none, memory_order_relaxed); /* one thread */
    start = tael_bench_ticks();
    tael_leg_claim(next);
    note(relay, CLAIM, tael_bench_ticks() - start, next->count);
}

static void leg_apply(struct relay *relay, struct tael_leg *leg) {
    const uint64_t start = tael_bench_ticks();
    for (uint32_t i = 0; i < leg->part_count; i++) {
        TAEL_ASSERT(tael_leg_apply(leg, &leg->parts[i], relay->fixture->exceptions) == 0);
    }
    _mm_sfence(); /* bodies and history went past the caches */
    note(relay, APPLY, tael_bench_ticks() - start, leg->count);
    TAEL_ASSERT(!leg->vacated);
    relay->events += leg->count;
}

/* A batch as relay_run has it, but that all legs are of the same length and are made by turns. */
static void batch_run(struct relay *relay, const struct tael_request *made) {
    struct tael_bench_ledger *fixture = relay->fixture;
    memcpy(fixture->events, made + 1, TAEL_EVENTS_MAX * sizeof *fixture->events);
    tael_bench_ledger_request(fixture, TAEL_EVENTS_MAX);
    struct tael_feed feed = tael_feed_begin(fixture->request, 1);
    struct tael_leg *done = NULL;
    struct tael_leg *now = NULL;
    uint32_t turn = 0;
    do {
        struct tael_leg *next = &relay->legs[turn++ % LEGS];
        leg_fill(relay, next, now, &feed);
        leg_claim(relay, next, now, done);
        if (now != NULL) {
            leg_apply(relay, now);
            relay->leg_count++;
        }
        done = now;
        now = next->count > 0 ? next : NULL;
    } while (now != NULL || done != NULL);
    tael_ledger_requests_end(fixture->ledger, fixture->request, fixture->request);
    TAEL_ASSERT(fixture->ledger->journal.count <= TAEL_BENCH_TRANSFERS_TOUCHED);
}

static uint64_t slice_run(struct relay *relay) {
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) {
        struct tael_transfer *events = (struct tael_transfer *)(void *)(relay->requests[i] + 1);
        tael_bench_workload_fill(&relay->workload, events, TAEL_EVENTS_MAX);
    }
    const uint64_t start = tael_bench_wall_ns();
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) batch_run(relay, relay->requests[i]);
    return tael_bench_wall_ns() - start;
}

static void relay_open(struct relay *relay, const struct tael_bench_case *self) {
    const size_t request_size = tael_request_size_in_block(TAEL_EVENTS_MAX * TAEL_RECORD_SIZE);
    *relay = (struct relay){.fixture = tael_bench_ledger_get((uint64_t)self->size, 0),
                            .finds_none = self->variant != 0,
                            .workload = {.accounts = (uint64_t)self->size}};
    relay->arena = tael_bench_map(tael_arena_share(LEGS * sizeof *relay->legs) +
                                  SLICE_BATCHES * tael_arena_share_aligned(request_size));
    relay->legs = tael_arena_take(&relay->arena, LEGS * sizeof *relay->legs);
    for (uint32_t i = 0; i < LEGS; i++) relay->legs[i].ledger = relay->fixture->ledger;
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) {
        relay->requests[i] = tael_arena_take_aligned(&relay->arena, request_size);
    }
    (void)slice_run(relay); /* not timed: caches as later on */
    memset(relay->ticks, 0, sizeof relay->ticks);
    relay->leg_count = 0;
    relay->events = 0;
}

static void run_relay(struct tael_bench *run, const struct tael_bench_case *self) {
    static struct relay relay;
    relay_open(&relay, self);
    while (tael_bench_next(run)) tael_bench_time(run, slice_run(&relay));
    const double unit = tael_bench_tick_ns() / (1 << 16);
    for (uint32_t side = 0; side < SIDES; side++) {
        tael_bench_counter(run, side_names[side],
                           unit * (double)tael_bench_ticks_median(relay.ticks[side], relay.leg_count));
    }
    tael_bench_items(run, relay.events);
    tael_bench_unmap(&relay.arena);
}

#define RELAY(label, accounts, finds_none)                                                                             \
    { .name = "relay/" label, .run = run_relay, .iterations = ITERATIONS, .size = (accounts), .variant = (finds_none) }

const struct tael_bench_case tael_bench_relay_cases[] = {
    RELAY("all/10k", 10000, 0),
    RELAY("all/1M", 1000000, 0),
    RELAY("all/10M", 10000000, 0),
    RELAY("none/10k", 10000, 1),
    RELAY("none/1M", 1000000, 1),
    RELAY("none/10M", 10000000, 1),
    {0},
};
