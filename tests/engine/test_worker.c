/* The worker's share of a turn: whatever else is asked, each read comes to its end.
 * Method: an empty ledger, whose trial balance still has every slot of its table to look at, some hundred slices long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tael/operation.h>
#include <tael/record.h>

#include "engine/query.h"
#include "engine/worker.h"

#define ACCOUNTS 100000
#define IDS 4000 /* of a lookup: more than a slice */

struct read {
    struct tael_read_job job;
    _Alignas(16) uint8_t body[IDS * 16 + 16];
    _Alignas(16) uint8_t reply[1u << 20];
};

static struct tael_worker *worker_make(struct tael_arena *arena) {
    const struct tael_ledger_options ledger = {.accounts_max = ACCOUNTS, .transfers_max = 16};
    const struct tael_worker_options worker = {.blocks_max = 1, .reads_max = 4, .queries_max = 2};
    arena->size = tael_ledger_size_bytes(&ledger) + tael_worker_size_bytes(&worker) + TAEL_SECTOR_SIZE;
    arena->size = (arena->size + TAEL_SECTOR_SIZE - 1) / TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE;
    arena->base = aligned_alloc(TAEL_SECTOR_SIZE, arena->size);
    assert_non_null(arena->base);
    memset(arena->base, 0, arena->size);
    return tael_worker_init(arena, &worker, tael_ledger_init(arena, &ledger));
}

static struct read *read_make(uint8_t operation) {
    struct read *read = aligned_alloc(TAEL_CACHE_LINE, (sizeof *read + 63) / 64 * 64);
    assert_non_null(read);
    memset(read, 0, sizeof *read);
    read->job.operation = operation;
    read->job.body = read->body;
    read->job.reply_body = read->reply;
    return read;
}

static void test_lookups_without_end_do_not_hold_up_a_scan(void **state) {
    (void)state;
    struct tael_arena arena = {0};
    struct tael_worker *worker = worker_make(&arena);
    struct tael_worker_link *link = tael_worker_link(worker);
    struct read *trial = read_make(TAEL_OPERATION_trial_balance);
    trial->job.body_size = sizeof(struct tael_trial_balance_filter);
    struct read *lookup = read_make(TAEL_OPERATION_lookup_accounts);
    const uint16_t count = IDS;
    lookup->job.body_size = tael_multi_batch_encode(lookup->body, IDS * 16, &count, 1, 16);

    assert_true(tael_ring_push(&link->reads, &trial->job));
    assert_true(tael_ring_push(&link->reads, &lookup->job));
    uint32_t turns = 0;
    uint32_t lookups = 0;
    for (const struct tael_read_job *done = NULL; done != &trial->job; turns++) {
        assert_true(turns < 1000);
        assert_true(tael_worker_poll(worker) > 0);
        while ((done = tael_ring_pop(&link->reads_done)) == &lookup->job) {
            lookups++;
            assert_true(tael_ring_push(&link->reads, &lookup->job));
        }
    }
    assert_true(lookups > turns / 4); /* nor the other way round */
    free(lookup);
    free(trial);
    free(arena.base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookups_without_end_do_not_hold_up_a_scan),
    };
    return cmocka_run_group_tests_name("the worker's reads", tests, NULL, NULL);
}
