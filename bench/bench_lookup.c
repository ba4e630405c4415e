/* Lookups by several workers against one, in a ledger that both read: as many of the same length by turns, each of other ids at
 * random, in requests made before the clock starts.
 *
 * awake: one behind the other. asleep: the others have gone to sleep before each, as in a server that had nothing for them.
 *
 * Counters: `ns` an id with several workers, `one_ns` with one, `speedup`: all time of one over all of several. */
#include <string.h>

#include <tael/multi_batch.h>
#include <tael/operation.h>

#include "bench/fixture.h"
#include "bench/harness.h"
#include "bench/memory.h"
#include "bench/team.h"
#include "bench/workload.h"
#include "engine/lookup.h"
#include "engine/query.h"

#define ACCOUNTS 1000000u
#define TRANSFERS_BATCHES 122 /* a million transfers */
#define SLICE_IDS (8 * TAEL_EVENTS_MAX) /* of each side in a turn */
#define LOOKUPS_MAX 256
#define SLEEP_NS 200000 /* longer than a worker looks for the next pass before it sleeps */

struct lookups {
    const struct tael_bench_ledger *fixture;
    struct tael_arena arena;
    struct tael_bench_team team;
    struct tael_query *one, *several;
    uint8_t operation;
    uint16_t ids; /* of a lookup */
    uint32_t count; /* of lookups in a slice */
    bool asleep;
    uint64_t id_max;
    struct test_random random;
    uint32_t body_size;
    _Alignas(16) uint8_t bodies[LOOKUPS_MAX][(TAEL_EVENTS_MAX + 1) * sizeof(tael_u128)];
    _Alignas(TAEL_CACHE_LINE) uint8_t reply[TAEL_MESSAGE_SIZE_MAX];
};

static void bodies_make(struct lookups *lookups) {
    for (uint32_t i = 0; i < lookups->count; i++) {
        tael_u128 *ids = (tael_u128 *)(void *)lookups->bodies[i];
        for (uint32_t j = 0; j < lookups->ids; j++) ids[j] = 1 + test_random_below(&lookups->random, lookups->id_max);
        lookups->body_size = tael_multi_batch_encode(ids, lookups->ids * 16u, &lookups->ids, 1, 16);
    }
}

/* Returns ns. All ids are there. */
static uint64_t slice_run(struct lookups *lookups, struct tael_query *query) {
    uint64_t ns = 0;
    bodies_make(lookups);
    for (uint32_t i = 0; i < lookups->count; i++) {
        uint64_t start = tael_bench_wall_ns();
        while (lookups->asleep && tael_bench_wall_ns() - start < SLEEP_NS) {
        }
        start = tael_bench_wall_ns();
        tael_query_begin(query, lookups->fixture->ledger, lookups->operation, lookups->bodies[i], lookups->body_size,
                         lookups->reply);
        TAEL_ASSERT(tael_query_step(query, UINT32_MAX));
        ns += tael_bench_wall_ns() - start;
        TAEL_ASSERT(tael_query_reply_size(query) == (lookups->ids + 1u) * TAEL_RECORD_SIZE);
    }
    return ns;
}

static void transfers_make(struct tael_bench_ledger *fixture) {
    struct tael_bench_workload workload = {.accounts = ACCOUNTS};
    for (uint32_t i = 0; i < TRANSFERS_BATCHES; i++) {
        tael_bench_workload_fill(&workload, fixture->events, TAEL_EVENTS_MAX);
        tael_bench_ledger_request(fixture, TAEL_EVENTS_MAX);
        (void)tael_bench_ledger_apply(fixture);
    }
}

static void lookups_open(struct lookups *lookups, const struct tael_bench_case *self) {
    const uint32_t workers = (uint32_t)(self->variant >> 9);
    struct tael_bench_ledger *fixture = tael_bench_ledger_get(ACCOUNTS, 0);
    transfers_make(fixture);
    *lookups = (struct lookups){
        .fixture = fixture,
        .operation = (uint8_t)self->variant,
        .asleep = (self->variant & 0x100) != 0,
        .ids = (uint16_t)self->size,
        .count = SLICE_IDS / (uint32_t)self->size,
    };
    if (lookups->count > LOOKUPS_MAX) lookups->count = LOOKUPS_MAX;
    lookups->id_max = lookups->operation == TAEL_OPERATION_lookup_accounts ? ACCOUNTS : fixture->ledger->journal.count;
    lookups->arena =
        tael_bench_map(tael_crew_size_bytes(workers) + tael_lookups_size_bytes(workers) + 2 * tael_query_size_bytes());
    tael_bench_team_open(&lookups->team, &lookups->arena, workers);
    const struct tael_lookups_options together = {.team = lookups->team.team, .ids_min = 1};
    lookups->one = tael_query_init(&lookups->arena, NULL);
    lookups->several = tael_query_init(&lookups->arena, tael_lookups_init(&lookups->arena, &together));
}

static void run_lookups(struct tael_bench *run, const struct tael_bench_case *self) {
    static struct lookups lookups;
    uint64_t one_ns = 0;
    uint64_t several_ns = 0;
    uint64_t ids = 0;
    lookups_open(&lookups, self);
    (void)slice_run(&lookups, lookups.one); /* not timed: caches as later on */
    while (tael_bench_next(run)) {
        one_ns += slice_run(&lookups, lookups.one);
        const uint64_t ns = slice_run(&lookups, lookups.several);
        tael_bench_time(run, ns);
        several_ns += ns;
        ids += (uint64_t)lookups.count * lookups.ids;
    }
    tael_bench_items(run, ids);
    tael_bench_counter(run, "ns", (double)several_ns / (double)ids);
    tael_bench_counter(run, "one_ns", (double)one_ns / (double)ids);
    tael_bench_counter(run, "speedup", (double)one_ns / (double)several_ns);
    tael_bench_team_close(&lookups.team);
    tael_bench_unmap(&lookups.arena);
}

#define LOOKUPS(label, ids, operation, is_asleep)                                                                      \
    {                                                                                                                  \
        .name = "lookup/2/" label, .run = run_lookups, .iterations = 20, .size = (ids),                                \
        .variant = (operation) | (is_asleep) << 8 | 2 << 9                                                             \
    }
#define ACCOUNTS_OF(label, ids, is_asleep) LOOKUPS("accounts/" label, ids, TAEL_OPERATION_lookup_accounts, is_asleep)
#define TRANSFERS_OF(label, ids, is_asleep) LOOKUPS("transfers/" label, ids, TAEL_OPERATION_lookup_transfers, is_asleep)

const struct tael_bench_case tael_bench_lookup_cases[] = {
    ACCOUNTS_OF("8189/awake", 8189, 0),
    TRANSFERS_OF("8189/awake", 8189, 0),
    ACCOUNTS_OF("8189/asleep", 8189, 1),
    TRANSFERS_OF("8189/asleep", 8189, 1),
    ACCOUNTS_OF("2048/awake", 2048, 0),
    ACCOUNTS_OF("2048/asleep", 2048, 1),
    ACCOUNTS_OF("1024/awake", 1024, 0),
    ACCOUNTS_OF("1024/asleep", 1024, 1),
    ACCOUNTS_OF("512/awake", 512, 0),
    ACCOUNTS_OF("512/asleep", 512, 1),
    ACCOUNTS_OF("256/awake", 256, 0),
    ACCOUNTS_OF("256/asleep", 256, 1),
    {0},
};
