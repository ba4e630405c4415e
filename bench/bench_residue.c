/* What an event costs that the residue of a step decides (engine/step.h), by why it is listed, and what passes cost that are undone.
 *
 * Three ledgers by turns, batches of 8189 made before the clock starts: the sequential code and steps of one worker on the same
 * requests, which must come to as many exceptions, and steps of one worker on plain transfers, of which none is listed. Passes
 * of one worker have no barriers and send nothing from core to core: this is the work alone. In each round requests that only prepare
 * come first and are not timed.
 *
 * Counters, all but `listed` in ns: `step`, a transfer in steps; `one`, by the sequential code; `plain`, one of those that are not listed;
 * `residue`, the residue pass a listed event; `more` = (step - plain) / listed; `wasted`, passes that are undone, a transfer;
 * `listed`, the share that is. */
#include <stdlib.h>
#include <string.h>

#include <tael/flag.h>
#include <tael/operation.h>

#include "bench/harness.h"
#include "bench/memory.h"
#include "bench/workload.h"
#include "engine/feed.h"
#include "engine/ledger_state.h"
#include "engine/step.h"

#define ACCOUNTS 1000000u
#define TRANSFERS_MAX ((uint64_t)1 << 24)
#define TRANSFERS_TOUCHED ((uint64_t)1 << 21)
#define ROUNDS 4 /* a turn */

/* Accounts by their number modulo 8. */
enum account_class { IS_CLOSED, IS_LIMITED, IS_PLAIN, ACCOUNT_CLASSES = 8 };

enum mix {
    NONE, /* plain transfers */
    LIMIT, /* by twos: a limited account is credited, then debited as much as it has: both on an account whose limit may not hold */
    BALANCING, /* as much as there is, which is nothing */
    CLOSED, /* the debit account is: fails, and its id is burnt */
    CHAIN, /* by twos, the second of which is balancing */
    ID_TAKEN, /* each a second time */
    REFUSED, /* no code */
    ACCOUNT_UNKNOWN, /* fails, and its id is burnt */
    IN_STEP, /* every other one is pending, the next posts it */
    CONTESTED, /* pending transfers of the round before, each posted twice */
    POSTED, /* posts of what was posted */
    AMOUNT, /* every amount is too large for a step */
    BALANCE, /* one account in each step has a balance that is */
};

struct side {
    struct tael_arena arena;
    struct tael_ledger *ledger;
    struct tael_step *step; /* NULL: the sequential code */
    struct tael_exception *exceptions;
    struct tael_request *request; /* the one that is applied: a copy made right before, as by the sequencer */
    uint64_t ns, residue_ns, wasted_ns, transfers, listed;
};

/* Requests, one after the other. */
struct stream {
    enum mix mix;
    struct test_random random;
    struct tael_request *request;
    uint64_t op, timestamp, id;
    uint64_t first; /* the id of the request before's first event */
};

struct bed {
    struct side one, steps, plain;
    struct stream same, others; /* for the first two; for the third */
};

/* --- requests --- */

static uint64_t pick(struct stream *stream, enum account_class class) {
    const uint64_t at = tael_u128_high((tael_u128)test_random_u64(&stream->random) * (ACCOUNTS / ACCOUNT_CLASSES));
    return at * ACCOUNT_CLASSES + class;
}

static struct tael_transfer plain_make(struct stream *stream) {
    const uint64_t debit = pick(stream, IS_PLAIN);
    return (struct tael_transfer){.id = ++stream->id,
                                  .debit_account_id = debit,
                                  .credit_account_id = pick(stream, IS_PLAIN + 1 + debit / ACCOUNT_CLASSES % 5),
                                  .amount = 1 + (debit >> 3 & 0xff),
                                  .ledger = 1,
                                  .code = 1};
}

static void post_make(struct tael_transfer *event, tael_u128 pending_id) {
    *event = (struct tael_transfer){.id = event->id,
                                    .pending_id = pending_id,
                                    .amount = TAEL_U128_MAX,
                                    .flags = TAEL_TRANSFER_FLAG_post_pending_transfer};
}

/* What makes a plain transfer one of the mix. `before` is the event before it. */
static void event_change(struct stream *stream, struct tael_transfer *event, const struct tael_transfer *before,
                         uint32_t index) {
    const bool second = index % 2 == 1;
    switch (stream->mix) {
    case NONE:
    case ID_TAKEN:
        return;
    case LIMIT:
        if (!second) {
            event->credit_account_id = pick(stream, IS_LIMITED);
        } else {
            event->debit_account_id = before->credit_account_id;
            event->amount = before->amount;
        }
        /* The last has nobody to take from it what it gets. */
        if (index + 1 == TAEL_EVENTS_MAX) event->credit_account_id = IS_PLAIN;
        return;
    case BALANCING:
        event->flags = TAEL_TRANSFER_FLAG_balancing_debit;
        return;
    case CLOSED:
        event->debit_account_id = pick(stream, IS_CLOSED) + ACCOUNT_CLASSES;
        return;
    case CHAIN:
        event->flags = second ? TAEL_TRANSFER_FLAG_balancing_debit : TAEL_TRANSFER_FLAG_linked;
        if (index + 1 == TAEL_EVENTS_MAX) event->flags = 0;
        return;
    case REFUSED:
        event->code = 0;
        return;
    case ACCOUNT_UNKNOWN:
        event->debit_account_id += 2 * (uint64_t)ACCOUNTS;
        return;
    case IN_STEP:
        if (second) {
            post_make(event, before->id);
        } else {
            event->flags = TAEL_TRANSFER_FLAG_pending;
        }
        return;
    case CONTESTED:
        post_make(event, stream->first + index / 2);
        return;
    case POSTED:
        post_make(event, stream->first + index);
        return;
    case AMOUNT:
        event->amount = TAEL_STEP_AMOUNT_MAX + 1;
        return;
    case BALANCE:
        if (index % 1024 == 0) event->debit_account_id = ACCOUNTS + ACCOUNT_CLASSES;
        return;
    }
}

static void request_begin(struct stream *stream, enum tael_operation operation, uint32_t count) {
    tael_bench_request_begin(stream->request, operation, count, &stream->op, &stream->timestamp);
}

static void request_make(struct stream *stream) {
    struct tael_transfer *events = (struct tael_transfer *)(void *)(stream->request + 1);
    const uint64_t first = stream->id + 1;
    for (uint32_t i = 0; i < TAEL_EVENTS_MAX; i++) {
        events[i] = plain_make(stream);
        event_change(stream, &events[i], i == 0 ? NULL : &events[i - 1], i);
    }
    stream->first = first;
    request_begin(stream, TAEL_OPERATION_create_transfers, TAEL_EVENTS_MAX);
}

/* Pending transfers, for what resolves them. */
static void request_make_pending(struct stream *stream) {
    struct tael_transfer *events = (struct tael_transfer *)(void *)(stream->request + 1);
    stream->first = stream->id + 1;
    for (uint32_t i = 0; i < TAEL_EVENTS_MAX; i++) {
        events[i] = plain_make(stream);
        events[i].flags = TAEL_TRANSFER_FLAG_pending;
    }
    request_begin(stream, TAEL_OPERATION_create_transfers, TAEL_EVENTS_MAX);
}

/* --- steps of one worker --- */

static void step_undo(struct side *side, struct tael_step *step, uint64_t start) {
    tael_step_undo(step, 0);
    side->wasted_ns += tael_bench_clock_ns() - start;
}

/* The passes up to where the step is known not to be one. False where it is undone. */
static bool step_find(struct side *side, struct tael_step *step) {
    const uint64_t start = tael_bench_clock_ns();
    tael_step_place(step);
    tael_step_route(step, 0);
    const struct tael_step_worker found = tael_step_findings(step);
    if (found.sequential != 0) {
        side->wasted_ns += tael_bench_clock_ns() - start;
        return false;
    }
    step->resolves = found.resolves > 0;
    if (step->resolves) tael_step_resolve(step, 0);
    tael_step_intern(step, 0);
    if (tael_step_findings(step).sequential == 0) return true;
    step_undo(side, step, start);
    return false;
}

static uint32_t step_decide(struct side *side, struct tael_step *step) {
    uint64_t listed[TAEL_LISTED_REASONS];
    if (tael_step_findings(step).listed > 0) {
        const uint64_t start = tael_bench_clock_ns();
        side->listed += tael_step_residue(step, listed);
        side->residue_ns += tael_bench_clock_ns() - start;
    }
    tael_step_apply(step, 0);
    tael_step_write(step, 0);
    tael_step_commit(step);
    return step->failed_count;
}

/* Returns how many exceptions. */
static uint32_t steps_apply(struct side *side, const struct tael_request *request) {
    struct tael_step *step = side->step;
    struct tael_feed feed = tael_feed_begin(request, 1);
    struct tael_ledger_part part;
    uint32_t number;
    uint32_t exceptions = 0;
    while (!tael_feed_is_empty(&feed)) {
        tael_step_begin(step);
        while (tael_feed_take(&feed, TAEL_STEP_EVENTS_MAX - step->count, &part, &number)) {
            tael_step_add(step, &part, number);
        }
        if (step_find(side, step)) {
            exceptions += step_decide(side, step);
            continue;
        }
        for (uint32_t i = 0; i < step->segment_count; i++) {
            exceptions += tael_ledger_apply_part(side->ledger, &step->segments[i].part, side->exceptions);
        }
    }
    tael_ledger_requests_end(side->ledger, request, request);
    return exceptions;
}

static uint32_t apply(struct side *side, const struct tael_request *request) {
    memcpy(side->request, request, TAEL_REQUEST_HEADER_SIZE + request->size);
    const uint64_t start = tael_bench_clock_ns();
    const uint32_t exceptions = side->step == NULL ? tael_ledger_apply(side->ledger, side->request, side->exceptions)
                                                   : steps_apply(side, side->request);
    side->ns += tael_bench_clock_ns() - start;
    side->transfers += request->event_count;
    return exceptions;
}

/* --- rounds --- */

static void apply_to_both(struct bed *bed) {
    const uint32_t of_one = apply(&bed->one, bed->same.request);
    TAEL_ASSERT(apply(&bed->steps, bed->same.request) == of_one);
}

static void side_rest(struct side *side) {
    side->ns = side->residue_ns = side->wasted_ns = side->transfers = side->listed = 0;
}

/* The same request with another op. */
static void request_repeat(struct stream *stream) {
    request_begin(stream, TAEL_OPERATION_create_transfers, TAEL_EVENTS_MAX);
}

/* What comes before the request that is timed; the clocks are put back afterwards. */
static void prepare(struct bed *bed) {
    const struct side one = bed->one;
    const struct side steps = bed->steps;
    const enum mix mix = bed->same.mix;
    if (mix == CONTESTED || mix == POSTED) {
        request_make_pending(&bed->same);
        apply_to_both(bed);
    }
    const uint64_t pending_first = bed->same.first;
    if (mix == POSTED || mix == ID_TAKEN) {
        request_make(&bed->same);
        apply_to_both(bed);
    }
    bed->same.first = pending_first;
    bed->one = one;
    bed->steps = steps;
}

static void round_run(struct bed *bed) {
    prepare(bed);
    if (bed->same.mix == ID_TAKEN) {
        request_repeat(&bed->same);
    } else {
        request_make(&bed->same);
    }
    apply_to_both(bed);
    request_make(&bed->others);
    TAEL_ASSERT(apply(&bed->plain, bed->others.request) == 0);
    TAEL_ASSERT(bed->one.ledger->journal.count <= TRANSFERS_TOUCHED);
}

/* --- opening --- */

static void side_open(struct side *side, bool steps) {
    const struct tael_ledger_options options = {.accounts_max = ACCOUNTS + 2 * ACCOUNT_CLASSES,
                                                .transfers_max = TRANSFERS_MAX,
                                                .hash_key = 0x5bd1e995,
                                                .workers = 1};
    *side = (struct side){0};
    side->arena = tael_bench_map(tael_ledger_size_bytes(&options) + tael_step_size_bytes(1) +
                                 tael_arena_share(TAEL_EVENTS_MAX * sizeof *side->exceptions));
    side->ledger = tael_ledger_init(&side->arena, &options);
    if (steps) side->step = tael_step_init(&side->arena, side->ledger, 1);
    side->exceptions = tael_arena_take(&side->arena, TAEL_EVENTS_MAX * sizeof *side->exceptions);
    side->request = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_BLOCK_SIZE_MAX);
    TAEL_ASSERT(side->request != NULL);
    struct tael_ledger *ledger = side->ledger;
    ledger->timestamp = TAEL_NS_PER_S;
    tael_bench_populate(ledger->accounts.lines, (ACCOUNTS + 16) * sizeof *ledger->accounts.lines);
    tael_bench_populate(ledger->index.buckets, ledger->index.bucket_count * sizeof *ledger->index.buckets);
    tael_bench_populate(ledger->journal.bodies, TRANSFERS_TOUCHED * sizeof *ledger->journal.bodies);
    tael_bench_populate(ledger->journal.traces, TRANSFERS_TOUCHED * sizeof *ledger->journal.traces);
    tael_bench_populate(ledger->history.transfers, TRANSFERS_TOUCHED * sizeof *ledger->history.transfers);
}

static void stream_open(struct stream *stream, enum mix mix) {
    *stream = (struct stream){.mix = mix, .timestamp = TAEL_NS_PER_S};
    stream->request = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_BLOCK_SIZE_MAX);
    TAEL_ASSERT(stream->request != NULL);
}

static uint16_t account_flags(uint64_t id) {
    if (id % ACCOUNT_CLASSES == IS_CLOSED) return id > ACCOUNTS ? 0 : TAEL_ACCOUNT_FLAG_closed;
    return id % ACCOUNT_CLASSES == IS_LIMITED ? TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits : 0;
}

static void accounts_make(struct stream *stream, struct side *sides[], uint32_t side_count) {
    struct tael_account *accounts = (struct tael_account *)(void *)(stream->request + 1);
    for (uint64_t made = 0; made < ACCOUNTS + ACCOUNT_CLASSES;) {
        uint32_t count = 0;
        for (; count < TAEL_EVENTS_MAX && made < ACCOUNTS + ACCOUNT_CLASSES; count++) {
            const uint64_t id = ++made;
            accounts[count] = (struct tael_account){.id = id, .ledger = 1, .code = 1, .flags = account_flags(id)};
        }
        request_begin(stream, TAEL_OPERATION_create_accounts, count);
        for (uint32_t i = 0; i < side_count; i++) {
            TAEL_ASSERT(tael_ledger_apply(sides[i]->ledger, stream->request, sides[i]->exceptions) == 0);
        }
    }
}

/* The last account gets a balance that no step can have. */
static void balance_make(struct bed *bed) {
    struct tael_transfer *event = (struct tael_transfer *)(void *)(bed->same.request + 1);
    if (bed->same.mix != BALANCE) return;
    *event = plain_make(&bed->same);
    event->debit_account_id = ACCOUNTS + ACCOUNT_CLASSES;
    event->amount = TAEL_STEP_BALANCE_MAX + 1;
    request_begin(&bed->same, TAEL_OPERATION_create_transfers, 1);
    apply_to_both(bed);
}

static void bed_open(struct bed *bed, enum mix mix) {
    side_open(&bed->one, false);
    side_open(&bed->steps, true);
    side_open(&bed->plain, true);
    stream_open(&bed->same, mix);
    stream_open(&bed->others, NONE);
    accounts_make(&bed->same, (struct side *[]){&bed->one, &bed->steps}, 2);
    accounts_make(&bed->others, (struct side *[]){&bed->plain}, 1);
    balance_make(bed);
}

static void side_close(struct side *side) {
    tael_bench_unmap(&side->arena);
    free(side->request);
}

static void bed_close(struct bed *bed) {
    TAEL_ASSERT(tael_ledger_digest(bed->one.ledger) == tael_ledger_digest(bed->steps.ledger));
    side_close(&bed->one);
    side_close(&bed->steps);
    side_close(&bed->plain);
    free(bed->same.request);
    free(bed->others.request);
}

static void report(struct tael_bench *run, const struct bed *bed) {
    const double transfers = (double)bed->steps.transfers;
    const double step = (double)bed->steps.ns / transfers;
    const double plain = (double)bed->plain.ns / (double)bed->plain.transfers;
    const double listed = (double)bed->steps.listed / transfers;
    tael_bench_items(run, bed->steps.transfers);
    tael_bench_counter(run, "step", step);
    tael_bench_counter(run, "one", (double)bed->one.ns / transfers);
    tael_bench_counter(run, "plain", plain);
    tael_bench_counter(run, "wasted", (double)bed->steps.wasted_ns / transfers);
    tael_bench_counter(run, "listed", listed);
    if (bed->steps.listed == 0) return;
    tael_bench_counter(run, "residue", (double)bed->steps.residue_ns / (double)bed->steps.listed);
    tael_bench_counter(run, "more", (step - plain) / listed);
}

static void run_mix(struct tael_bench *run, const struct tael_bench_case *self) {
    static struct bed bed;
    bed_open(&bed, (enum mix)self->variant);
    round_run(&bed); /* not timed: caches and balances as later on */
    side_rest(&bed.one);
    side_rest(&bed.steps);
    side_rest(&bed.plain);
    while (tael_bench_next(run)) {
        const uint64_t ns = bed.steps.ns;
        for (uint32_t i = 0; i < ROUNDS; i++) round_run(&bed);
        tael_bench_time(run, bed.steps.ns - ns);
    }
    report(run, &bed);
    bed_close(&bed);
}

#define CASE(label, mix)                                                                                               \
    { .name = "residue/" label, .run = run_mix, .iterations = 8, .variant = (mix) }

const struct tael_bench_case tael_bench_residue_cases[] = {
    CASE("none", NONE),
    CASE("limit", LIMIT),
    CASE("balancing", BALANCING),
    CASE("closed", CLOSED),
    CASE("chain", CHAIN),
    CASE("id_taken", ID_TAKEN),
    CASE("refused", REFUSED),
    CASE("account_unknown", ACCOUNT_UNKNOWN),
    CASE("pending_unknown", IN_STEP),
    CASE("contested", CONTESTED),
    CASE("pending_unfit", POSTED),
    CASE("undone/amount", AMOUNT),
    CASE("undone/account_balance", BALANCE),
    {0},
};
