/* The engine as the ledger under test. Reads are stepped in small slices, with the lists by account extended a little in
 * between, so that every test that reads also tests that. */
#include <stdlib.h>
#include <sys/mman.h>

#include <tael/arena.h>
#include <tael/operation.h>

#include "engine/ledger.h"
#include "engine/query.h"
#include "tests/support/subject.h"

struct engine {
    struct tael_arena arena;
    struct tael_ledger *ledger;
    struct tael_query *query;
    struct tael_exception exceptions[TAEL_EVENTS_MAX];
};

static void *open_engine(const struct subject_options *options) {
    const struct tael_ledger_options ledger_options = {
        .accounts_max = options->accounts_max,
        .transfers_max = options->transfers_max,
        .hash_key = tael_u128_make(0x6b657920666f7220, 0x7465737473206f66),
        .hash_bits = options->hash_bits,
    };
    struct engine *engine = calloc(1, sizeof *engine);
    TAEL_ASSERT(engine != NULL);
    const size_t size = tael_arena_share_aligned(tael_ledger_size_bytes(&ledger_options)) + tael_query_size_bytes();
    engine->arena.size = (size + TAEL_SECTOR_SIZE) & ~(size_t)(TAEL_SECTOR_SIZE - 1);
    void *pages = mmap(NULL, engine->arena.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TAEL_ASSERT(pages != MAP_FAILED);
    engine->arena.base = pages;
    engine->ledger = tael_ledger_init(&engine->arena, &ledger_options);
    engine->query = tael_query_init(&engine->arena);
    tael_arena_freeze(&engine->arena);
    return engine;
}

static void close_engine(void *ledger) {
    struct engine *engine = ledger;
    munmap(engine->arena.base, engine->arena.size);
    free(engine);
}

static void apply(void *ledger, const struct tael_request *request, struct tael_create_result *results) {
    struct engine *engine = ledger;
    const uint32_t count = tael_ledger_apply(engine->ledger, request, engine->exceptions);
    if (tael_operation_info(request->operation).kind != TAEL_OPERATION_CREATE) {
        TAEL_ASSERT(count == 0);
        return;
    }
    subject_expand(request, engine->exceptions, count, results);
}

static uint32_t read_engine(void *ledger, uint8_t operation, const void *body, uint32_t body_size, void *reply) {
    struct engine *engine = ledger;
    uint32_t reply_size_max = 0;
    TAEL_ASSERT(tael_query_body_check(operation, body, body_size, &reply_size_max) == 0);
    TAEL_ASSERT(reply_size_max <= TAEL_BODY_SIZE_MAX);
    tael_query_begin(engine->query, engine->ledger, operation, body, body_size, reply);
    while (!tael_query_step(engine->query, 7)) (void)tael_ledger_index_behind(engine->ledger, 3);
    TAEL_ASSERT(tael_query_op(engine->query) == tael_ledger_usage(engine->ledger).op);
    TAEL_ASSERT(tael_query_timestamp(engine->query) == tael_ledger_usage(engine->ledger).timestamp);
    TAEL_ASSERT(tael_query_reply_size(engine->query) <= reply_size_max);
    return tael_query_reply_size(engine->query);
}

static tael_u128 digest(const void *ledger) { return tael_ledger_digest(((const struct engine *)ledger)->ledger); }

static bool balanced(void *ledger) { return tael_ledger_balanced(((struct engine *)ledger)->ledger); }

static struct subject_usage usage(const void *ledger) {
    const struct tael_ledger_usage is = tael_ledger_usage(((const struct engine *)ledger)->ledger);
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
