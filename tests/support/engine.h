/* An engine with memory of its own, for tests: a ledger, a few queries and a table of sessions in one arena.
 *
 * With workers (ledger options), transfers are applied in steps and ids looked up together, however few they are. The workers are not threads: each pass is made
 * for one worker after the other, in an order that is drawn anew for each. */
#ifndef TAEL_TESTS_ENGINE_H
#define TAEL_TESTS_ENGINE_H

#include "engine/ledger.h"
#include "engine/lookup.h"
#include "engine/parallel.h"
#include "engine/query.h"
#include "engine/sessions.h"
#include "tests/support/random.h"

#define TEST_ENGINE_QUERIES 3
#define TEST_ENGINE_SESSIONS 64 /* slots */

struct test_engine {
    struct tael_arena arena;
    struct tael_ledger *ledger;
    struct tael_parallel *parallel; /* NULL without workers */
    struct tael_lookups *lookups; /* the same */
    uint32_t workers;
    struct test_random order; /* of the workers */
    struct tael_query *queries[TEST_ENGINE_QUERIES];
    struct tael_sessions *sessions; /* only test_engine_apply_session moves them */
    struct tael_exception exceptions[TAEL_EVENTS_MAX];
};

struct test_engine *test_engine_open(const struct tael_ledger_options *options);
void test_engine_close(struct test_engine *engine);

/* Applies and expands the exceptions to one dense result an event. */
void test_engine_apply(struct test_engine *engine, const struct tael_request *request,
                       struct tael_create_result *results);

/* The same for a request of a session, as the sequencer would: register, evict, or a create of a client that has one. Keeps
 * the reply. */
void test_engine_apply_session(struct test_engine *engine, const struct tael_request *request,
                               struct tael_create_result *results);

#endif
