/* An engine with memory of its own, for tests: a ledger and a few queries in one arena. */
#ifndef TAEL_TESTS_ENGINE_H
#define TAEL_TESTS_ENGINE_H

#include "engine/ledger.h"
#include "engine/query.h"

#define TEST_ENGINE_QUERIES 3

struct test_engine {
    struct tael_arena arena;
    struct tael_ledger *ledger;
    struct tael_query *queries[TEST_ENGINE_QUERIES];
    struct tael_exception exceptions[TAEL_EVENTS_MAX];
};

struct test_engine *test_engine_open(const struct tael_ledger_options *options);
void test_engine_close(struct test_engine *engine);

/* Applies and expands the exceptions to one dense result an event. */
void test_engine_apply(struct test_engine *engine, const struct tael_request *request,
                       struct tael_create_result *results);

#endif
