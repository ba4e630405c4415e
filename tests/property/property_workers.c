/* Several workers against the model, block by block, with threads of their own.
 *
 * Blocks of random requests of all kinds go through the worker as in a server; the same requests, one by one, through the model. After every
 * block: the same outcome of each request, the same usage, the same digest, by one and by all, who have added some of it up beside; in
 * between lookups of many ids, the same byte for byte.
 * Steps are short, so that blocks have many, in half of the runs short stretches and lookups are left to one worker, and before
 * and behind every pass each thread may dawdle for a while.
 *
 *     property_workers [--seed S] [--runs N] [--events N] [--workers N]
 *
 * Half of all events must be applied together, so that this is about something.
 *
 * Run r uses seed S + r. Without --workers each run draws how many there are. What threads do is not a function of the seed; what comes of
 * it has to be. */
#include <getopt.h>
#include <immintrin.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <tael/multi_batch.h>
#include <tael/operation.h>
#include <tael/status.h>

#include "cli/threads.h"
#include "engine/digest.h"
#include "engine/query.h"
#include "engine/worker.h"
#include "tests/property/workload.h"
#include "tests/support/step_counters.h"
#include "tests/support/subject.h"

#define RUNS_DEFAULT 40
#define RUNS_LONG 35 /* times as many where TAEL_TEST_LONG is set */
#define RUNS_TOLD 30 /* so many tell whether enough is applied together */
#define EVENTS_DEFAULT 3000
#define BLOCK_EVENTS_MAX 4000 /* a block is closed when it has more */
#define REPLY_GUARD 0xa5 /* behind a reply's room, which nobody may write to */
#define REPLY_GUARD_SIZE 256

struct run {
    uint64_t seed;
    uint32_t workers;
    struct workload workload;
    struct tael_model *model;
    struct tael_arena arena;
    struct tael_ledger *ledger;
    struct tael_crew *crew;
    struct tael_team crew_team;
    struct tael_parallel *parallel;
    struct tael_lookups *lookups;
    uint32_t lookup_ids_min;
    uint64_t lookups_together; /* that had so many ids */
    struct tael_worker *worker;
    struct tael_threads threads;
    struct tael_digest digest;
    /* A pass under way. */
    void (*pass)(void *argument, uint32_t worker);
    void *argument;
    struct test_random dawdle[TAEL_WORKERS_MAX];
};

/* What is used by one run after the other. */
struct property {
    struct tael_block block;
    struct tael_create_result *of_model; /* of all requests of the block */
    struct tael_create_result *of_engine;
    struct tael_request *request;
    uint8_t *read_body, *reply, *reply_model;
    uint64_t blocks, events, lookups;
    struct tael_parallel_counters counters;
    struct tael_lookups_counters together;
};

static void fail(const struct run *run, const char *what, uint64_t op) {
    fprintf(stderr,
            "FAILED: %s\n  seed %" PRIu64 ", %" PRIu32 " workers, op %" PRIu64 "\n  try --seed %" PRIu64
            " --runs 1 --workers %" PRIu32 "\n",
            what, run->seed, run->workers, op, run->seed, run->workers);
    exit(1);
}

/* A failed assertion names the seed too. */
static char crash_text[128];

static void on_crash(int signal_number) {
    (void)signal(signal_number, SIG_DFL);
    fputs(crash_text, stderr);
    (void)raise(signal_number);
}

/* --- workers --- */

static void dawdle(struct test_random *random) {
    if (!test_random_once_in(random, 8)) return;
    for (uint64_t i = test_random_below(random, 200); i > 0; i--) (void)sched_yield();
}

static void pass_dawdling(void *context, uint32_t worker) {
    struct run *run = context;
    dawdle(&run->dawdle[worker]);
    run->pass(run->argument, worker);
    dawdle(&run->dawdle[worker]);
}

static void run_dawdling(void *context, void (*pass)(void *argument, uint32_t worker), void *argument) {
    struct run *run = context;
    run->pass = pass;
    run->argument = argument;
    run->crew_team.run(run->crew_team.context, pass_dawdling, run);
}

static const struct tael_worker_options worker_options = {.blocks_max = 1, .reads_max = 1, .queries_max = 1};

static void run_open(struct run *run, uint64_t seed, uint32_t events, uint32_t workers) {
    struct test_random random = {.state = seed ^ 0x5eed};
    *run = (struct run){.seed = seed, .workers = workers, .model = tael_model_new()};
    if (workers == 0) run->workers = 1 + (uint32_t)test_random_below(&random, 8);
    (void)snprintf(crash_text, sizeof crash_text,
                   "FAILED: a crash\n  try --seed %" PRIu64 " --runs 1 --workers %" PRIu32 "\n", seed, run->workers);
    workload_init(&run->workload, seed, events, run->model);
    workload_suit_steps(&run->workload, seed);
    const struct tael_ledger_options options = {
        .accounts_max = run->workload.profile.accounts_max,
        .transfers_max = run->workload.profile.transfers_max,
        .hash_key = test_random_u128(&random),
        .hash_bits = run->workload.profile.hash_bits,
        .workers = run->workers,
    };
    run->arena.size = tael_ledger_size_bytes(&options) + tael_worker_size_bytes(&worker_options) +
                      tael_crew_size_bytes(run->workers) + tael_parallel_size_bytes(run->workers) +
                      tael_lookups_size_bytes(run->workers) + TAEL_SECTOR_SIZE;
    run->arena.size &= ~(size_t)(TAEL_SECTOR_SIZE - 1);
    run->arena.size += TAEL_SECTOR_SIZE;
    run->arena.base = mmap(NULL, run->arena.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TAEL_ASSERT(run->arena.base != MAP_FAILED);
    run->ledger = tael_ledger_init(&run->arena, &options);
    const struct tael_sleeping sleeping =
        tael_threads_sleeping(tael_threads_are_crowded(run->workers) ? TAEL_IDLE_SLEEP_AT_ONCE : TAEL_IDLE_SLEEP);
    run->crew = tael_crew_init(&run->arena, run->workers, &sleeping);
    run->crew_team = tael_crew_team(run->crew);
    for (uint32_t i = 0; i < run->workers; i++) run->dawdle[i].state = seed + i;
    const struct tael_team team = {.workers = run->workers, .run = run_dawdling, .context = run};
    const struct tael_parallel_options parallel = {
        .team = team,
        .events_min = test_random_once_in(&random, 2) ? 1 : 1 + (uint32_t)test_random_below(&random, 150),
        .step_events = 1 + (uint32_t)test_random_below(&random, 300),
        .backoff_max = test_random_once_in(&random, 2) ? 1 : 0,
    };
    run->parallel = tael_parallel_init(&run->arena, &parallel, run->ledger);
    run->lookup_ids_min = test_random_once_in(&random, 2) ? 1 : 1 + (uint32_t)test_random_below(&random, 500);
    const struct tael_lookups_options lookups = {.team = team, .ids_min = run->lookup_ids_min};
    run->lookups = tael_lookups_init(&run->arena, &lookups);
    struct tael_worker_options worker = worker_options;
    worker.parallel = run->parallel;
    worker.lookups = run->lookups;
    run->worker = tael_worker_init(&run->arena, &worker, run->ledger);
    TAEL_ASSERT(tael_threads_begin(&run->threads, run->crew, run->workers, NULL) == 0);
}

static void run_close(struct run *run) {
    tael_threads_end(&run->threads);
    tael_model_free(run->model);
    munmap(run->arena.base, run->arena.size);
}

/* --- blocks --- */

/* Adds a request to the block and has the model apply it; returns how many events it has. */
static uint32_t request_add(struct property *property, struct run *run, uint32_t results) {
    struct tael_block *block = &property->block;
    const struct tael_request *request = property->request;
    const uint32_t size = tael_request_size_in_block(request->size);
    memset(block->data + block->size, 0, size);
    memcpy(block->data + block->size, request, TAEL_REQUEST_HEADER_SIZE + request->size);
    block->size += size;
    if (block->request_count++ == 0) block->first_op = request->op;
    block->last_op = request->op;
    tael_model_apply(run->model, request, property->of_model + results);
    return tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE ? request->event_count : 0;
}

/* Up to so many requests. False when the ledger is full. */
static bool block_fill(struct property *property, struct run *run, uint32_t requests) {
    property->block.size = TAEL_BLOCK_HEADER_SIZE;
    property->block.request_count = 0;
    uint32_t results = 0;
    while (property->block.request_count < requests && results < BLOCK_EVENTS_MAX) {
        if (!workload_request(&run->workload, property->request)) return false;
        results += request_add(property, run, results);
    }
    return true;
}

static void block_compare(struct property *property, struct run *run) {
    const struct tael_block *block = &property->block;
    const struct tael_request *request = tael_block_first_request(block);
    uint32_t results = 0;
    for (uint32_t i = 0; i < block->request_count; i++, request = tael_request_next(request)) {
        if (tael_operation_info(request->operation).kind != TAEL_OPERATION_CREATE) continue;
        const struct tael_outcome *outcome = &block->outcomes[i];
        subject_expand(request, block->exceptions + outcome->exception_first, outcome->exception_count,
                       property->of_engine);
        const size_t size = request->event_count * sizeof *property->of_engine;
        if (memcmp(property->of_engine, property->of_model + results, size) != 0) {
            fail(run, "a request came to different results", request->op);
        }
        results += request->event_count;
    }
    property->events += results;
    property->blocks++;
}

static void pass_digest(void *argument, uint32_t worker) {
    struct run *run = argument;
    for (uint64_t i = test_random_below(&run->dawdle[worker], 3); i > 0; i--) {
        if (!tael_digest_advance(&run->digest, run->ledger, worker)) return;
    }
}

/* Some transfers are added up, the rest at the end: of a copy, so that more can be added later. */
static void digest_compare(const struct property *property, struct run *run) {
    const struct tael_team team = {.workers = run->workers, .run = run_dawdling, .context = run};
    _mm_sfence(); /* transfers may have been written past the caches */
    team.run(team.context, pass_digest, run);
    struct tael_digest digest = run->digest;
    if (tael_model_digest(run->model) != tael_digest_end(&digest, run->ledger, &team)) {
        fail(run, "the digest by all workers differs", property->block.last_op);
    }
}

static void state_compare(const struct property *property, const struct run *run) {
    const uint64_t op = property->block.last_op;
    const struct tael_model_usage model = tael_model_usage(run->model);
    const struct tael_ledger_usage engine = tael_ledger_usage(run->ledger);
    if (model.accounts != engine.accounts || model.transfers != engine.transfers) fail(run, "the counts differ", op);
    if (model.op != engine.op || model.timestamp != engine.timestamp) fail(run, "op or timestamp differs", op);
    if (model.expiry_next != engine.expiry_next) fail(run, "the next expiry differs", op);
    if (tael_model_digest(run->model) != tael_ledger_digest(run->ledger)) fail(run, "the digest differs", op);
}

/* --- lookups --- */

static void reply_compare(const struct property *property, const struct run *run, const struct tael_read_job *job) {
    const struct tael_model_usage usage = tael_model_usage(run->model);
    const uint32_t size = tael_model_read(run->model, job->operation, job->body, job->body_size, property->reply_model);
    if (job->op != usage.op || job->timestamp != usage.timestamp) fail(run, "a lookup reports another op", usage.op);
    if (job->reply_size != size) fail(run, "a lookup's reply has another size", usage.op);
    if (memcmp(property->reply, property->reply_model, size) != 0) fail(run, "a lookup's reply differs", usage.op);
}

static void lookup_compare(struct property *property, struct run *run, uint32_t ids_max) {
    struct tael_worker_link *link = tael_worker_link(run->worker);
    struct tael_read_job job = {.body = property->read_body, .reply_body = property->reply};
    job.body_size = workload_lookup(&run->workload, &job.operation, property->read_body, ids_max);
    struct tael_multi_batch batches;
    uint32_t size_max = 0;
    TAEL_ASSERT(tael_multi_batch_decode(job.body, job.body_size, sizeof(tael_u128), &batches) == TAEL_MULTI_BATCH_OK);
    TAEL_ASSERT(tael_query_body_check(job.operation, job.body, job.body_size, &size_max) == 0);
    memset(property->reply + size_max, REPLY_GUARD, REPLY_GUARD_SIZE);
    TAEL_ASSERT(tael_ring_push(&link->reads, &job));
    (void)tael_worker_poll(run->worker);
    if (tael_ring_pop(&link->reads_done) != &job) fail(run, "a lookup takes more than a turn", property->block.last_op);
    reply_compare(property, run, &job);
    for (uint32_t i = 0; i < REPLY_GUARD_SIZE; i++) {
        if (property->reply[size_max + i] != REPLY_GUARD) fail(run, "a reply runs over its room", job.op);
    }
    if (batches.element_count >= run->lookup_ids_min) run->lookups_together++;
    property->lookups++;
}

static void lookups_count(struct property *property, const struct run *run) {
    const struct tael_lookups_counters counters = tael_lookups_counters(run->lookups);
    if (counters.lookups != run->lookups_together) fail(run, "not the lookups that are for all", 0);
    property->together.lookups += counters.lookups;
    property->together.ids += counters.ids;
}

static void run_all(struct property *property, uint64_t seed, uint32_t events, uint32_t workers) {
    static struct run run;
    run_open(&run, seed, events, workers);
    const uint64_t events_before = property->events;
    bool goes_on = true;
    for (uint32_t blocks = 0; goes_on && blocks < events && property->events - events_before < events; blocks++) {
        goes_on = block_fill(property, &run, 1 + (uint32_t)test_random_below(&run.workload.random, 12));
        if (property->block.request_count == 0) break;
        tael_worker_apply(run.worker, &property->block);
        block_compare(property, &run);
        state_compare(property, &run);
        digest_compare(property, &run);
        for (uint64_t i = test_random_below(&run.workload.random, 3); i > 0; i--) {
            lookup_compare(property, &run, WORKLOAD_LOOKUP_IDS);
        }
    }
    lookup_compare(property, &run, TAEL_EVENTS_MAX);
    lookups_count(property, &run);
    if (!tael_ledger_balanced(run.ledger)) fail(&run, "debits and credits differ", property->block.last_op);
    const struct tael_parallel_counters counters = tael_parallel_counters(run.parallel);
    test_step_counters_add(&property->counters, &counters);
    run_close(&run);
}

static void *allocate(size_t size) {
    void *memory = aligned_alloc(TAEL_SECTOR_SIZE, (size + TAEL_SECTOR_SIZE - 1) / TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE);
    TAEL_ASSERT(memory != NULL);
    return memory;
}

int main(int argc, char **argv) {
    static struct property property;
    uint64_t seed = 1;
    uint32_t runs = RUNS_DEFAULT;
    uint32_t events = EVENTS_DEFAULT;
    uint32_t workers = 0;
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"runs", required_argument, NULL, 'r'},
                                            {"events", required_argument, NULL, 'e'},
                                            {"workers", required_argument, NULL, 'w'},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's') seed = strtoull(optarg, NULL, 0);
        if (option == 'r') runs = (uint32_t)strtoul(optarg, NULL, 0);
        if (option == 'e') events = (uint32_t)strtoul(optarg, NULL, 0);
        if (option == 'w') workers = (uint32_t)strtoul(optarg, NULL, 0);
        if (option == '?') return 2;
    }
    if (workers > TAEL_WORKERS_MAX) return 2;
    (void)signal(SIGABRT, on_crash);
    (void)signal(SIGSEGV, on_crash);
    const uint32_t results_max = BLOCK_EVENTS_MAX + TAEL_EVENTS_MAX;
    property.block.data = allocate(4 * TAEL_BLOCK_SIZE_MAX);
    property.block.outcomes = allocate(TAEL_REQUESTS_PER_BLOCK_MAX * sizeof *property.block.outcomes);
    property.block.exceptions = allocate(results_max * sizeof *property.block.exceptions);
    property.of_model = allocate(results_max * sizeof *property.of_model);
    property.of_engine = allocate(TAEL_EVENTS_MAX * sizeof *property.of_engine);
    property.request = allocate(TAEL_BLOCK_SIZE_MAX);
    property.read_body = allocate(TAEL_MESSAGE_SIZE_MAX);
    property.reply = allocate(TAEL_MESSAGE_SIZE_MAX + REPLY_GUARD_SIZE);
    property.reply_model = allocate(TAEL_MESSAGE_SIZE_MAX);
    if (getenv("TAEL_TEST_LONG") != NULL) runs *= RUNS_LONG;
    printf("seed %" PRIu64 ", %" PRIu32 " runs of %" PRIu32 " events\n", seed, runs, events);
    fflush(stdout);
    for (uint32_t i = 0; i < runs; i++) run_all(&property, seed + i, events, workers);
    printf("%" PRIu64 " blocks, %" PRIu64 " events\n", property.blocks, property.events);
    test_step_counters_print(&property.counters, false);
    printf("%" PRIu64 " lookups, %" PRIu64 " of %" PRIu64 " ids by all workers\n", property.lookups,
           property.together.lookups, property.together.ids);
    return runs < RUNS_TOLD || events < EVENTS_DEFAULT || test_step_counters_suffice(&property.counters) ? 0 : 1;
}
