/* The engine as the ledger under test. Reads are stepped in small slices, with the lists by account extended a little in
 * between, so that every test that reads also tests that. */
#include <tael/operation.h>

#include "tests/support/engine.h"
#include "tests/support/subject.h"

static void *open_engine(const struct subject_options *options) {
    return test_engine_open(&(struct tael_ledger_options){
        .accounts_max = options->accounts_max,
        .transfers_max = options->transfers_max,
        .hash_key = tael_u128_make(0x6b657920666f7220, 0x7465737473206f66),
        .hash_bits = options->hash_bits,
    });
}

static void close_engine(void *ledger) { test_engine_close(ledger); }

static void apply(void *ledger, const struct tael_request *request, struct tael_create_result *results) {
    test_engine_apply(ledger, request, results);
}

static uint32_t read_engine(void *ledger, uint8_t operation, const void *body, uint32_t body_size, void *reply) {
    struct test_engine *engine = ledger;
    struct tael_query *query = engine->queries[0];
    uint32_t reply_size_max = 0;
    TAEL_ASSERT(tael_query_body_check(operation, body, body_size, &reply_size_max) == 0);
    TAEL_ASSERT(reply_size_max <= TAEL_BODY_SIZE_MAX);
    tael_query_begin(query, engine->ledger, operation, body, body_size, reply);
    while (!tael_query_step(query, 7)) (void)tael_ledger_index_behind(engine->ledger, 3);
    TAEL_ASSERT(tael_query_op(query) == tael_ledger_usage(engine->ledger).op);
    TAEL_ASSERT(tael_query_timestamp(query) == tael_ledger_usage(engine->ledger).timestamp);
    TAEL_ASSERT(tael_query_reply_size(query) <= reply_size_max);
    return tael_query_reply_size(query);
}

static tael_u128 digest(const void *ledger) { return tael_ledger_digest(((const struct test_engine *)ledger)->ledger); }

static bool balanced(void *ledger) { return tael_ledger_balanced(((struct test_engine *)ledger)->ledger); }

static struct subject_usage usage(const void *ledger) {
    const struct tael_ledger_usage is = tael_ledger_usage(((const struct test_engine *)ledger)->ledger);
    return (struct subject_usage){is.accounts, is.transfers, is.op, is.timestamp, is.expiry_next};
}

const struct subject subject_engine = {
    .name = "engine",
    .open = open_engine,
    .close = close_engine,
    .apply = apply,
    .read = read_engine,
    .digest = digest,
    .balanced = balanced,
    .usage = usage,
};
