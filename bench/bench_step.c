/* The passes of a step, each by itself, with as many workers as the case says: what engine/parallel.c does with a batch of 8189
 * transfers, passes called from here with a clock around each.
 *
 * turns: one thread makes the workers' shares one after the other. So nothing is handed from core to core, and nobody waits:
 * what a share takes by itself. With one worker, that is what an event takes.
 * threads: each worker on a processor of its own, as in a server. A pass lasts from its call to its end, barrier included.
 *
 * Counters, ns an event, each the median over all steps: `route`, `resolve`, `intern`, `residue`, `apply`, `write`: the longest share
 * (threads: the whole pass); `leader`: filling, placing and committing; `ns`: all of these together, which is what a step lasts where all
 * workers begin each pass at the same time; `work`: all shares together. `listed`: the share of events that were listed.
 * threads: `line`, what bench/line.h says at that time. */
#include <string.h>

#include <tael/flag.h>

#include "bench/fixture.h"
#include "bench/harness.h"
#include "bench/line.h"
#include "bench/memory.h"
#include "bench/team.h"
#include "bench/ticks.h"
#include "bench/workload.h"
#include "engine/feed.h"
#include "engine/step.h"

#define SLICE_BATCHES 8
#define ITERATIONS 8
#define STEPS_MAX (ITERATIONS * SLICE_BATCHES * (TAEL_EVENTS_MAX / TAEL_STEP_EVENTS_MAX + 1))
#define FUNDS (1ull << 40)
/* Of the events debit the hot account, and credit it, percent: it is always short of funds. */
#define HOT_DEBITS 6
#define HOT_CREDITS 4

enum mix {
    PLAIN,
    PENDING, /* half are, half post one of those */
    LIMITED, /* every account is, and has enough */
    HOT, /* one account is limited and short of funds: the tenth of the events that are on it are listed */
};

enum part { ROUTE, RESOLVE, INTERN, RESIDUE, APPLY, WRITE, LEADER, PARTS };

static const char *const part_names[PARTS] = {"route", "resolve", "intern", "residue", "apply", "write", "leader"};

struct stage {
    struct tael_bench_ledger *fixture;
    struct tael_bench_workload workload;
    enum mix mix;
    uint32_t workers;
    bool is_threads;
    struct tael_arena arena;
    struct tael_bench_team team; /* threads only */
    struct tael_step *step;
    struct tael_request *requests[SLICE_BATCHES];
    /* By step, in ticks for 2^16 events. */
    uint64_t longest[PARTS][STEPS_MAX];
    uint64_t work[STEPS_MAX];
    uint32_t step_count;
    uint64_t events, listed;
    uint64_t line_ns[ITERATIONS];
    uint32_t iterations;
};

/* --- passes --- */

struct pass {
    struct tael_step *step;
    void (*run)(struct tael_step *step, uint32_t worker);
};

static void pass_run(void *argument, uint32_t worker) {
    const struct pass *pass = argument;
    pass->run(pass->step, worker);
}

static void note(struct stage *stage, enum part part, uint64_t longest, uint64_t work) {
    stage->longest[part][stage->step_count] += longest;
    stage->work[stage->step_count] += work;
}

static void make_pass(struct stage *stage, enum part part, void (*run)(struct tael_step *step, uint32_t worker)) {
    struct pass pass = {.step = stage->step, .run = run};
    if (stage->is_threads) {
        const uint64_t start = tael_bench_ticks();
        stage->team.team.run(stage->team.team.context, pass_run, &pass);
        const uint64_t ticks = tael_bench_ticks() - start;
        note(stage, part, ticks, ticks);
        return;
    }
    uint64_t longest = 0;
    uint64_t work = 0;
    for (uint32_t worker = 0; worker < stage->workers; worker++) {
        const uint64_t start = tael_bench_ticks();
        run(stage->step, worker);
        const uint64_t ticks = tael_bench_ticks() - start;
        if (ticks > longest) longest = ticks;
        work += ticks;
    }
    note(stage, part, longest, work);
}

static void leader_end(struct stage *stage, uint64_t start) {
    const uint64_t ticks = tael_bench_ticks() - start;
    note(stage, LEADER, ticks, ticks);
}

/* --- steps --- */

static void step_fill(struct stage *stage, struct tael_feed *feed) {
    struct tael_step *step = stage->step;
    struct tael_ledger_part part;
    uint32_t request;
    tael_step_begin(step);
    while (tael_feed_take(feed, TAEL_STEP_EVENTS_MAX - step->count, &part, &request)) {
        tael_step_add(step, &part, request);
    }
    TAEL_ASSERT(step->count > 0);
}

static void residue(struct stage *stage) {
    uint64_t by_reason[TAEL_LISTED_REASONS] = {0};
    const uint64_t start = tael_bench_ticks();
    stage->listed += tael_step_residue(stage->step, by_reason);
    const uint64_t ticks = tael_bench_ticks() - start;
    note(stage, RESIDUE, ticks, ticks);
}

/* As if each step had 2^16 events: the last one of a batch has fewer, and all are to weigh the same. */
static void step_end(struct stage *stage) {
    const uint64_t count = stage->step->count;
    for (uint32_t part = 0; part < PARTS; part++) {
        uint64_t *longest = &stage->longest[part][stage->step_count];
        *longest = (*longest << 16) / count;
    }
    stage->work[stage->step_count] = (stage->work[stage->step_count] << 16) / count;
    stage->step_count++;
    stage->events += count;
}

static void step_run(struct stage *stage, struct tael_feed *feed) {
    struct tael_step *step = stage->step;
    uint64_t start = tael_bench_ticks();
    TAEL_ASSERT(stage->step_count < STEPS_MAX);
    step_fill(stage, feed);
    leader_end(stage, start);
    make_pass(stage, ROUTE, tael_step_route);
    start = tael_bench_ticks();
    tael_step_place(step);
    step->resolves = tael_step_findings(step).resolves > 0;
    leader_end(stage, start);
    if (step->resolves) make_pass(stage, RESOLVE, tael_step_resolve);
    make_pass(stage, INTERN, tael_step_intern);
    const struct tael_step_worker found = tael_step_findings(step);
    TAEL_ASSERT(found.sequential == 0);
    if (found.listed > 0) residue(stage);
    make_pass(stage, APPLY, tael_step_apply);
    make_pass(stage, WRITE, tael_step_write);
    start = tael_bench_ticks();
    tael_step_commit(step);
    leader_end(stage, start);
    step_end(stage);
}

static void batch_run(struct stage *stage, const struct tael_request *made) {
    struct tael_bench_ledger *fixture = stage->fixture;
    memcpy(fixture->events, made + 1, TAEL_EVENTS_MAX * sizeof *fixture->events);
    tael_bench_ledger_request(fixture, TAEL_EVENTS_MAX);
    struct tael_feed feed = tael_feed_begin(fixture->request, 1);
    while (!tael_feed_is_empty(&feed)) step_run(stage, &feed);
    tael_ledger_requests_end(fixture->ledger, fixture->request, fixture->request);
    TAEL_ASSERT(fixture->ledger->journal.count <= TAEL_BENCH_TRANSFERS_TOUCHED);
}

/* --- requests --- */

static void events_make(struct stage *stage, struct tael_transfer *events) {
    tael_bench_workload_fill(&stage->workload, events, TAEL_EVENTS_MAX);
    for (uint32_t i = 0; stage->mix == HOT && i < TAEL_EVENTS_MAX; i++) {
        const uint64_t draw = test_random_below(&stage->workload.random, 100);
        struct tael_transfer *event = &events[i];
        if (draw < HOT_DEBITS) {
            if (event->credit_account_id != 1) event->debit_account_id = 1;
        } else if (draw < HOT_DEBITS + HOT_CREDITS) {
            if (event->debit_account_id != 1) event->credit_account_id = 1;
        }
    }
}

static uint64_t slice_run(struct stage *stage) {
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) {
        events_make(stage, (struct tael_transfer *)(void *)(stage->requests[i] + 1));
    }
    const uint64_t start = tael_bench_wall_ns();
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) batch_run(stage, stage->requests[i]);
    return tael_bench_wall_ns() - start;
}

/* --- the stage --- */

static void funds_set(struct stage *stage, uint64_t funds) {
    const struct tael_account_table *accounts = &stage->fixture->ledger->accounts;
    for (uint64_t number = 1; number <= accounts->count; number++) {
        accounts->lines[number].balance[TAEL_CREDITS_POSTED] = funds;
    }
}

static void balances_clear(struct stage *stage) {
    const struct tael_account_table *accounts = &stage->fixture->ledger->accounts;
    for (uint64_t number = 1; number <= accounts->count; number++) {
        memset(accounts->lines[number].balance, 0, sizeof accounts->lines[number].balance);
    }
}

static void hot_account_limit(struct stage *stage, bool is_limited) {
    uint16_t *flags = &stage->fixture->ledger->accounts.lines[1].flags;
    const uint16_t limit = TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits;
    *flags = (uint16_t)(is_limited ? *flags | limit : *flags & ~limit);
}

static void stage_open(struct stage *stage, const struct tael_bench_case *self) {
    const size_t request_size = tael_request_size_in_block(TAEL_EVENTS_MAX * TAEL_RECORD_SIZE);
    *stage = (struct stage){
        .mix = (enum mix)(self->variant & 0xf),
        .is_threads = (self->variant >> 4 & 1) != 0,
        .workers = (uint32_t)(self->variant >> 8),
    };
    const uint16_t flags = stage->mix == LIMITED ? TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits : 0;
    stage->fixture = tael_bench_ledger_get_for((uint64_t)self->size, flags, stage->workers);
    balances_clear(stage);
    if (stage->mix == LIMITED) funds_set(stage, FUNDS);
    if (stage->mix == HOT) hot_account_limit(stage, true);
    stage->workload.accounts = (uint64_t)self->size;
    if (stage->mix == PENDING) stage->workload.mix = TAEL_BENCH_TWO_PHASE;
    tael_bench_workload_restart(&stage->workload);
    stage->arena = tael_bench_map(tael_step_size_bytes(stage->workers) + tael_crew_size_bytes(stage->workers) +
                                  SLICE_BATCHES * tael_arena_share_aligned(request_size));
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) {
        stage->requests[i] = tael_arena_take_aligned(&stage->arena, request_size);
    }
    stage->step = tael_step_init(&stage->arena, stage->fixture->ledger, stage->workers);
    if (stage->is_threads) tael_bench_team_open(&stage->team, &stage->arena, stage->workers);
    /* Not timed: caches, balances and pending transfers as later on. */
    for (uint32_t i = 0; i < (stage->mix == PENDING ? 8 : 1); i++) {
        (void)slice_run(stage);
        memset(stage->longest, 0, sizeof stage->longest);
        memset(stage->work, 0, sizeof stage->work);
        stage->step_count = 0;
    }
    stage->events = stage->listed = 0;
}

static void stage_close(struct stage *stage) {
    if (stage->is_threads) tael_bench_team_close(&stage->team);
    hot_account_limit(stage, stage->mix == LIMITED);
    tael_bench_unmap(&stage->arena);
}

static void report(struct stage *stage, struct tael_bench *run) {
    const double unit = tael_bench_tick_ns() / (1 << 16);
    double all = 0;
    for (uint32_t part = 0; part < PARTS; part++) {
        const double ns = unit * (double)tael_bench_ticks_median(stage->longest[part], stage->step_count);
        tael_bench_counter(run, part_names[part], ns);
        all += ns;
    }
    tael_bench_items(run, stage->events);
    tael_bench_counter(run, "ns", all);
    tael_bench_counter(run, "work", unit * (double)tael_bench_ticks_median(stage->work, stage->step_count));
    tael_bench_counter(run, "listed", (double)stage->listed / (double)stage->events);
    tael_bench_counter(run, "line", (double)tael_bench_ticks_median(stage->line_ns, stage->iterations));
}

static void run_step(struct tael_bench *run, const struct tael_bench_case *self) {
    static struct stage stage;
    stage_open(&stage, self);
    while (tael_bench_next(run)) {
        tael_bench_time(run, slice_run(&stage));
        if (stage.is_threads) stage.line_ns[stage.iterations++] = tael_bench_line_ns(&stage.team);
    }
    report(&stage, run);
    stage_close(&stage);
}

#define STEP(label, accounts, kind, is_threads, workers)                                                               \
    {                                                                                                                  \
        .name = "step/" label, .run = run_step, .iterations = ITERATIONS, .size = (accounts),                          \
        .variant = (kind) | (is_threads) << 4 | (workers) << 8                                                         \
    }
#define PLAINS(workers)                                                                                                \
    STEP(#workers "/turns/plain/10k", 10000, PLAIN, 0, workers),                                                       \
        STEP(#workers "/turns/plain/1M", 1000000, PLAIN, 0, workers),                                                  \
        STEP(#workers "/turns/plain/10M", 10000000, PLAIN, 0, workers)
#define HOTS(workers)                                                                                                  \
    STEP(#workers "/turns/hot/10k", 10000, HOT, 0, workers), STEP(#workers "/turns/hot/1M", 1000000, HOT, 0, workers), \
        STEP(#workers "/turns/hot/10M", 10000000, HOT, 0, workers)

const struct tael_bench_case tael_bench_step_cases[] = {
    PLAINS(1),
    HOTS(1),
    STEP("1/turns/pending/10k", 10000, PENDING, 0, 1),
    STEP("1/turns/pending/1M", 1000000, PENDING, 0, 1),
    STEP("1/turns/pending/10M", 10000000, PENDING, 0, 1),
    STEP("1/turns/limited/10k", 10000, LIMITED, 0, 1),
    STEP("1/turns/limited/1M", 1000000, LIMITED, 0, 1),
    STEP("1/turns/limited/10M", 10000000, LIMITED, 0, 1),
    PLAINS(2),
    PLAINS(4),
    PLAINS(8),
    PLAINS(16),
    PLAINS(32),
    PLAINS(64),
    STEP("64/turns/hot/1M", 1000000, HOT, 0, 64),
    STEP("2/threads/plain/10k", 10000, PLAIN, 1, 2),
    STEP("2/threads/plain/1M", 1000000, PLAIN, 1, 2),
    STEP("2/threads/plain/10M", 10000000, PLAIN, 1, 2),
    STEP("2/threads/hot/1M", 1000000, HOT, 1, 2),
    {0},
};
