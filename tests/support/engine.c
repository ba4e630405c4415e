/* See engine.h. */
#include "tests/support/engine.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <tael/operation.h>

#include "tests/support/subject.h"

static void pass_in_some_order(void *context, void (*pass)(void *argument, uint32_t worker), void *argument) {
    struct test_engine *engine = context;
    uint32_t workers[TAEL_WORKERS_MAX];
    for (uint32_t i = 0; i < engine->workers; i++) workers[i] = i;
    for (uint32_t left = engine->workers; left > 0; left--) {
        const uint32_t chosen = (uint32_t)test_random_below(&engine->order, left);
        pass(argument, workers[chosen]);
        workers[chosen] = workers[left - 1];
    }
}

static void workers_open(struct test_engine *engine, const struct tael_ledger_options *options) {
    if (options->workers == 0) return;
    engine->workers = options->workers;
    engine->order = (struct test_random){.state = tael_u128_low(options->hash_key)};
    const struct tael_team team = {.workers = options->workers, .run = pass_in_some_order, .context = engine};
    const struct tael_lookups_options lookups = {.team = team, .ids_min = 1};
    const struct tael_parallel_options parallel = {
        .team = team,
        .events_min = 1,
        .step_events =
            test_random_once_in(&engine->order, 2) ? 1 + (uint32_t)test_random_below(&engine->order, 100) : 0,
        .backoff_max = test_random_once_in(&engine->order, 2) ? 1 : 0};
    engine->parallel = tael_parallel_init(&engine->arena, &parallel, engine->ledger);
    engine->lookups = tael_lookups_init(&engine->arena, &lookups);
}

struct test_engine *test_engine_open(const struct tael_ledger_options *options) {
    struct test_engine *engine = calloc(1, sizeof *engine);
    TAEL_ASSERT(engine != NULL);
    const struct tael_sessions_options sessions_options = {
        .sessions_max = TEST_ENGINE_SESSIONS,
        .reply_chunks = TEST_ENGINE_SESSIONS * TAEL_REPLY_CHUNKS_MAX,
        .hash_key = options->hash_key,
    };
    const size_t size = tael_arena_share_aligned(tael_ledger_size_bytes(options)) +
                        (options->workers > 0 ? tael_parallel_size_bytes(options->workers) : 0) +
                        tael_lookups_size_bytes(options->workers) +
                        TEST_ENGINE_QUERIES * tael_arena_share(tael_query_size_bytes()) +
                        tael_sessions_size_bytes(&sessions_options);
    engine->arena.size = (size + TAEL_SECTOR_SIZE) & ~(size_t)(TAEL_SECTOR_SIZE - 1);
    void *pages = mmap(NULL, engine->arena.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TAEL_ASSERT(pages != MAP_FAILED);
    engine->arena.base = pages;
    engine->ledger = tael_ledger_init(&engine->arena, options);
    workers_open(engine, options);
    for (uint32_t i = 0; i < TEST_ENGINE_QUERIES; i++) {
        engine->queries[i] = tael_query_init(&engine->arena, engine->lookups);
    }
    engine->sessions = tael_sessions_init(&engine->arena, &sessions_options);
    tael_arena_freeze(&engine->arena);
    return engine;
}

void test_engine_close(struct test_engine *engine) {
    munmap(engine->arena.base, engine->arena.size);
    free(engine);
}

static uint32_t apply_to_ledger(struct test_engine *engine, const struct tael_request *request) {
    uint32_t alone;
    if (engine->parallel == NULL || tael_parallel_run_length(engine->parallel, request, 1, &alone) == 0) {
        return tael_ledger_apply(engine->ledger, request, engine->exceptions);
    }
    struct tael_outcome outcome;
    const uint32_t count = tael_parallel_apply(engine->parallel, request, 1, engine->exceptions, &outcome, 0);
    TAEL_ASSERT(outcome.exception_first == 0);
    TAEL_ASSERT(outcome.exception_count == count);
    return count;
}

static uint32_t apply(struct test_engine *engine, const struct tael_request *request,
                      struct tael_create_result *results) {
    const uint32_t count = apply_to_ledger(engine, request);
    if (tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE) {
        subject_expand(request, engine->exceptions, count, results);
    } else {
        TAEL_ASSERT(count == 0);
    }
    return count;
}

void test_engine_apply(struct test_engine *engine, const struct tael_request *request,
                       struct tael_create_result *results) {
    (void)apply(engine, request, results);
}

void test_engine_apply_session(struct test_engine *engine, const struct tael_request *request,
                               struct tael_create_result *results) {
    (void)tael_sessions_sequence(engine->sessions, request);
    const uint32_t count = apply(engine, request, results);
    if (request->operation == TAEL_OPERATION_evict || request->operation == TAEL_OPERATION_pulse) return;
    const uint32_t kept = tael_sessions_keep(engine->sessions, request, engine->exceptions, count);
    TAEL_ASSERT(kept == tael_sessions_find(engine->sessions, request->client, request->slot));
}
