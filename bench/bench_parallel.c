/* Several workers against one, on the same requests by turns, each on a ledger of its own: batches of 8189, made before the clock
 * starts. Both must come to as many exceptions.
 *
 * Counters: `ns` a transfer with several workers, `one_ns` with one, `speedup` of the medians' kind: all time of one over all of
 * several; `rejected`, the share of transfers that were not created; `residue`, the share that one worker decided for all; `line`, what
 * bench/line.h says at that time: how far the first two processors were from each other, ns.
 * Time is that of the clock on the wall. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tael/flag.h>
#include <tael/operation.h>

#include "bench/harness.h"
#include "bench/line.h"
#include "bench/memory.h"
#include "bench/team.h"
#include "bench/ticks.h"
#include "bench/workload.h"
#include "engine/ledger_state.h"
#include "engine/parallel.h"

#define TRANSFERS_MAX 60000000u /* an index of 100 million slots */
#define TRANSFERS_TOUCHED ((uint64_t)1 << 22)
#define SLICE_BATCHES 8
#define ITERATIONS 8
#define ZIPF_THETA 0.99

enum mix {
    UNIFORM,
    LIMITED, /* every account is, and has enough */
    MERCHANT, /* one account is credited by half of all */
    ZIPF, /* on both sides */
    CHAINS, /* of two */
    PENDING, /* three of ten are, three post those of the batch before */
    TIGHT, /* every account is limited, and a fifth of the transfers are more than it has */
    BINDING, /* one account is limited, debited by half of all, and has enough for half of those */
};

/* A ledger and who applies requests to it. */
struct side {
    struct tael_arena arena;
    struct tael_ledger *ledger;
    struct tael_parallel *parallel; /* NULL: one worker */
    struct tael_exception *exceptions;
    uint64_t ns;
};

struct pair {
    struct side one, several;
    struct tael_bench_team team;
    enum mix mix;
    uint64_t accounts;
    struct test_random random;
    struct tael_request *requests[SLICE_BATCHES];
    struct tael_request *request; /* the one that is applied: a copy made right before, as by the sequencer */
    uint64_t op, timestamp, id;
    uint64_t pending_first; /* of the batch before; 0: none */
    uint64_t transfers, rejected;
};

/* --- requests --- */

static uint64_t pick(struct pair *pair) {
    const uint64_t random = test_random_u64(&pair->random);
    if (pair->mix != ZIPF) return 1 + tael_u128_high((tael_u128)random * pair->accounts);
    const double share = (double)(random >> 11) / 9007199254740992.0;
    const double exponent = 1 - ZIPF_THETA;
    const double rank = pow((pow((double)pair->accounts, exponent) - 1) * share + 1, 1 / exponent);
    /* Ranks are scattered over the numbers: hot accounts are no neighbours. */
    return 1 + ((uint64_t)rank * 2654435761u) % pair->accounts;
}

static void event_make(struct pair *pair, struct tael_transfer *event, uint32_t index) {
    uint64_t debit = pick(pair);
    uint64_t credit = pick(pair);
    const uint64_t draw = test_random_u64(&pair->random);
    if (pair->mix == MERCHANT && draw % 2 == 0) credit = 1;
    if (pair->mix == BINDING) {
        if (draw % 2 == 0) debit = 1;
        if (draw % 4 == 1) credit = 1;
    }
    if (credit == debit) credit = debit == pair->accounts ? 1 : debit + 1;
    *event = (struct tael_transfer){.id = ++pair->id,
                                    .debit_account_id = debit,
                                    .credit_account_id = credit,
                                    .amount = 1 + (draw >> 8 & 0xff),
                                    .ledger = 1,
                                    .code = 1};
    if (pair->mix == CHAINS && index % 2 == 0 && index + 1 < TAEL_EVENTS_MAX) event->flags = TAEL_TRANSFER_FLAG_linked;
}

/* The first three of ten events are pending, the next three post those of the batch before. */
static void event_make_pending(struct pair *pair, struct tael_transfer *event, uint32_t index, uint32_t part) {
    event_make(pair, event, index);
    if (index < part) {
        event->flags = TAEL_TRANSFER_FLAG_pending;
    } else if (index < 2 * part && pair->pending_first != 0) {
        *event = (struct tael_transfer){.id = event->id,
                                        .pending_id = pair->pending_first + (index - part),
                                        .amount = TAEL_U128_MAX,
                                        .flags = TAEL_TRANSFER_FLAG_post_pending_transfer};
    }
}

static void batch_make(struct pair *pair, struct tael_request *request) {
    const uint32_t part = TAEL_EVENTS_MAX * 3 / 10;
    const uint64_t first = pair->id + 1;
    struct tael_transfer *events = (struct tael_transfer *)(void *)(request + 1);
    for (uint32_t i = 0; i < TAEL_EVENTS_MAX; i++) {
        if (pair->mix == PENDING) {
            event_make_pending(pair, &events[i], i, part);
        } else {
            event_make(pair, &events[i], i);
        }
    }
    pair->pending_first = first;
    tael_bench_request_begin(request, TAEL_OPERATION_create_transfers, TAEL_EVENTS_MAX, &pair->op, &pair->timestamp);
}

/* --- both sides --- */

static uint32_t apply(struct side *side, const struct tael_request *request) {
    struct tael_outcome outcome;
    const uint64_t start = tael_bench_wall_ns();
    const uint32_t exceptions = side->parallel == NULL
                                    ? tael_ledger_apply(side->ledger, request, side->exceptions)
                                    : tael_parallel_apply(side->parallel, request, 1, side->exceptions, &outcome, 0);
    side->ns += tael_bench_wall_ns() - start;
    return exceptions;
}

/* Each side applies the whole slice at one go, as it comes in a server that has enough to do. */
static void slice_apply(struct pair *pair, struct side *side, uint32_t exceptions[SLICE_BATCHES]) {
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) {
        memcpy(pair->request, pair->requests[i], TAEL_REQUEST_HEADER_SIZE + pair->requests[i]->size);
        exceptions[i] = apply(side, pair->request);
    }
}

static void slice_run(struct pair *pair) {
    uint32_t of_one[SLICE_BATCHES];
    uint32_t of_several[SLICE_BATCHES];
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) batch_make(pair, pair->requests[i]);
    slice_apply(pair, &pair->one, of_one);
    slice_apply(pair, &pair->several, of_several);
    TAEL_ASSERT(memcmp(of_one, of_several, sizeof of_one) == 0);
    TAEL_ASSERT(pair->one.ledger->journal.count <= TRANSFERS_TOUCHED);
    pair->transfers += SLICE_BATCHES * TAEL_EVENTS_MAX;
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) pair->rejected += of_one[i];
}

static uint16_t account_flags(const struct pair *pair, uint64_t id) {
    const bool limited = pair->mix == LIMITED || pair->mix == TIGHT || (pair->mix == BINDING && id == 1);
    return limited ? TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits : 0;
}

static void accounts_make(struct pair *pair) {
    struct tael_request *request = pair->requests[0];
    struct tael_account *accounts = (struct tael_account *)(void *)(request + 1);
    for (uint64_t made = 0; made <= pair->accounts;) {
        uint32_t count = 0;
        for (; count < TAEL_EVENTS_MAX && made <= pair->accounts; count++) {
            const uint64_t id = ++made;
            accounts[count] = (struct tael_account){
                .id = id, .ledger = 1, .code = 1, .flags = id > pair->accounts ? 0 : account_flags(pair, id)};
        }
        tael_bench_request_begin(request, TAEL_OPERATION_create_accounts, count, &pair->op, &pair->timestamp);
        (void)tael_ledger_apply(pair->one.ledger, request, pair->one.exceptions);
        (void)tael_ledger_apply(pair->several.ledger, request, pair->several.exceptions);
    }
}

/* What limited accounts have to begin with comes from one more account, which is not. */
static void accounts_fund(struct pair *pair) {
    struct tael_request *request = pair->requests[0];
    struct tael_transfer *events = (struct tael_transfer *)(void *)(request + 1);
    if (pair->mix != LIMITED && pair->mix != TIGHT) return;
    for (uint64_t made = 0; made < pair->accounts;) {
        uint32_t count = 0;
        for (; count < TAEL_EVENTS_MAX && made < pair->accounts; count++) {
            events[count] = (struct tael_transfer){.id = ++pair->id,
                                                   .debit_account_id = pair->accounts + 1,
                                                   .credit_account_id = ++made,
                                                   .amount = pair->mix == TIGHT ? 575 : 1u << 30,
                                                   .ledger = 1,
                                                   .code = 1};
        }
        tael_bench_request_begin(request, TAEL_OPERATION_create_transfers, count, &pair->op, &pair->timestamp);
        (void)tael_ledger_apply(pair->one.ledger, request, pair->one.exceptions);
        (void)tael_ledger_apply(pair->several.ledger, request, pair->several.exceptions);
    }
}

/* --- opening --- */

static void side_open(struct side *side, uint64_t accounts, uint32_t workers) {
    const struct tael_ledger_options options = {
        .accounts_max = accounts + 1, .transfers_max = TRANSFERS_MAX, .hash_key = 0x5bd1e995, .workers = workers};
    *side = (struct side){0};
    side->arena =
        tael_bench_map(tael_ledger_size_bytes(&options) + tael_parallel_size_bytes(workers) +
                       tael_crew_size_bytes(workers) + tael_arena_share(TAEL_EVENTS_MAX * sizeof *side->exceptions));
    side->ledger = tael_ledger_init(&side->arena, &options);
    side->exceptions = tael_arena_take(&side->arena, TAEL_EVENTS_MAX * sizeof *side->exceptions);
    struct tael_ledger *ledger = side->ledger;
    ledger->timestamp = TAEL_NS_PER_S;
    tael_bench_populate(ledger->accounts.lines, (accounts + 2) * sizeof *ledger->accounts.lines);
    tael_bench_populate(ledger->index.buckets, ledger->index.bucket_count * sizeof *ledger->index.buckets);
    tael_bench_populate(ledger->journal.bodies, TRANSFERS_TOUCHED * sizeof *ledger->journal.bodies);
    tael_bench_populate(ledger->journal.traces, TRANSFERS_TOUCHED * sizeof *ledger->journal.traces);
    tael_bench_populate(ledger->history.transfers, TRANSFERS_TOUCHED * sizeof *ledger->history.transfers);
}

static void pair_open(struct pair *pair, const struct tael_bench_case *self) {
    const uint32_t workers = (uint32_t)(self->variant >> 8);
    *pair = (struct pair){.mix = (enum mix)(self->variant & 0xff), .accounts = (uint64_t)self->size};
    pair->timestamp = TAEL_NS_PER_S;
    pair->request = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_BLOCK_SIZE_MAX);
    TAEL_ASSERT(pair->request != NULL);
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) {
        pair->requests[i] = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_BLOCK_SIZE_MAX);
        TAEL_ASSERT(pair->requests[i] != NULL);
    }
    side_open(&pair->one, pair->accounts, 1);
    side_open(&pair->several, pair->accounts, workers);
    tael_bench_team_open(&pair->team, &pair->several.arena, workers);
    const struct tael_parallel_options options = {.team = pair->team.team, .events_min = 1};
    pair->several.parallel = tael_parallel_init(&pair->several.arena, &options, pair->several.ledger);
    accounts_make(pair);
    accounts_fund(pair);
}

static void pair_close(struct pair *pair) {
    tael_bench_team_close(&pair->team);
    tael_bench_unmap(&pair->one.arena);
    tael_bench_unmap(&pair->several.arena);
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) free(pair->requests[i]);
    free(pair->request);
}

static void run_pair(struct tael_bench *run, const struct tael_bench_case *self) {
    static struct pair pair;
    uint64_t line_ns[ITERATIONS];
    uint32_t iterations = 0;
    pair_open(&pair, self);
    slice_run(&pair); /* not timed: caches and balances as later on */
    pair.one.ns = pair.several.ns = pair.transfers = pair.rejected = 0;
    const struct tael_parallel_counters before = tael_parallel_counters(pair.several.parallel);
    while (tael_bench_next(run)) {
        const uint64_t ns = pair.several.ns;
        slice_run(&pair);
        tael_bench_time(run, pair.several.ns - ns);
        line_ns[iterations++] = tael_bench_line_ns(&pair.team);
    }
    const struct tael_parallel_counters counters = tael_parallel_counters(pair.several.parallel);
    const double transfers = (double)pair.transfers;
    tael_bench_items(run, pair.transfers);
    tael_bench_counter(run, "ns", (double)pair.several.ns / transfers);
    tael_bench_counter(run, "one_ns", (double)pair.one.ns / transfers);
    tael_bench_counter(run, "speedup", (double)pair.one.ns / (double)pair.several.ns);
    tael_bench_counter(run, "rejected", (double)pair.rejected / transfers);
    tael_bench_counter(run, "residue", (double)(counters.events_listed - before.events_listed) / transfers);
    tael_bench_counter(run, "line", (double)tael_bench_ticks_median(line_ns, iterations));
    pair_close(&pair);
}

#define PAIR(label, accounts, kind, workers)                                                                           \
    {                                                                                                                  \
        .name = "parallel/" label, .run = run_pair, .iterations = ITERATIONS, .size = (accounts),                      \
        .variant = (kind) | (workers) << 8                                                                             \
    }
#define PAIRS(workers, text)                                                                                           \
    PAIR(text "/uniform/10k", 10000, UNIFORM, workers), PAIR(text "/uniform/1M", 1000000, UNIFORM, workers),           \
        PAIR(text "/uniform/10M", 10000000, UNIFORM, workers), PAIR(text "/limited/1M", 1000000, LIMITED, workers),    \
        PAIR(text "/merchant/1M", 1000000, MERCHANT, workers), PAIR(text "/zipf/1M", 1000000, ZIPF, workers),          \
        PAIR(text "/chains/1M", 1000000, CHAINS, workers), PAIR(text "/pending/1M", 1000000, PENDING, workers),        \
        PAIR(text "/tight/1k", 1000, TIGHT, workers), PAIR(text "/binding/1M", 1000000, BINDING, workers)

const struct tael_bench_case tael_bench_parallel_cases[] = {
    PAIRS(2, "2"),
    PAIRS(4, "4"),
    {0},
};
