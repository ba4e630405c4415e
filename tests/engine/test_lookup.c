/* Lookups by several workers: the same records in the same order, whoever found them, and not a byte behind their room.
 * Method: ids with a number as their low half, there or not by a rule; each pass is made by one worker after the other, the last
 * one first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/ledger_state.h"
#include "engine/lookup.h"

#define MISSING 1 /* the high half of an id that is not there */

struct crowd {
    struct tael_arena arena;
    struct tael_ledger *ledger;
    struct tael_lookups *lookups;
    uint32_t workers;
    uint32_t passes;
};

static void pass_last_first(void *context, void (*pass)(void *argument, uint32_t worker), void *argument) {
    struct crowd *crowd = context;
    for (uint32_t i = crowd->workers; i > 0; i--) pass(argument, i - 1);
    crowd->passes++;
}

static void crowd_open(struct crowd *crowd, uint32_t workers, uint32_t ids_min) {
    const struct tael_ledger_options options = {.accounts_max = TAEL_EVENTS_MAX, .transfers_max = 16};
    *crowd = (struct crowd){.workers = workers};
    crowd->arena.size = tael_ledger_size_bytes(&options) + tael_lookups_size_bytes(workers) + 2 * TAEL_SECTOR_SIZE;
    crowd->arena.size = crowd->arena.size / TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE;
    crowd->arena.base = aligned_alloc(TAEL_SECTOR_SIZE, crowd->arena.size);
    assert_non_null(crowd->arena.base);
    memset(crowd->arena.base, 0, crowd->arena.size);
    crowd->ledger = tael_ledger_init(&crowd->arena, &options);
    for (uint32_t i = 1; i <= TAEL_EVENTS_MAX; i++) {
        const struct tael_account account = {.id = i, .ledger = 1, .code = 1, .user_data_32 = i};
        (void)tael_account_table_insert(&crowd->ledger->accounts, &account, i);
    }
    const struct tael_lookups_options together = {
        .team = {.workers = workers, .run = pass_last_first, .context = crowd}, .ids_min = ids_min};
    crowd->lookups = tael_lookups_init(&crowd->arena, &together);
}

static void crowd_close(struct crowd *crowd) { free(crowd->arena.base); }

/* --- which ids are there --- */

static bool all(uint32_t index, uint32_t count) { return index < count; }
static bool none(uint32_t index, uint32_t count) { return index >= count; }
static bool every_other(uint32_t index, uint32_t count) { return count > 0 && index % 2 == 0; }
static bool first_half(uint32_t index, uint32_t count) { return index < count / 2; }
static bool last_half(uint32_t index, uint32_t count) { return index >= count / 2; }
static bool all_but_the_first(uint32_t index, uint32_t count) { return count > 0 && index > 0; }
static bool only_the_last(uint32_t index, uint32_t count) { return index + 1 == count; }

/* What is found of `count` ids has been found in order, each one's findings told. */
static void look(struct crowd *crowd, uint32_t count, bool (*is_there)(uint32_t index, uint32_t count)) {
    static tael_u128 ids[TAEL_EVENTS_MAX];
    static struct tael_account records[TAEL_EVENTS_MAX + 1];
    static uint8_t found[TAEL_EVENTS_MAX + 1];
    for (uint32_t i = 0; i < count; i++) ids[i] = tael_u128_make(is_there(i, count) ? 0 : MISSING, i + 1);
    memset(found, 0xa5, sizeof found);
    records[count].user_data_64 = 0xa5a5;
    const struct tael_lookup lookup = {.ledger = crowd->ledger,
                                       .accounts = true,
                                       .ids = (const uint8_t *)ids,
                                       .count = count,
                                       .records = records,
                                       .found = found};
    const uint32_t record_count = tael_lookups_run(crowd->lookups, &lookup);
    uint32_t expected = 0;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(found[i], is_there(i, count));
        if (!is_there(i, count)) continue;
        assert_int_equal(records[expected].user_data_32, i + 1);
        expected++;
    }
    assert_int_equal(record_count, expected);
    assert_int_equal(found[count], 0xa5);
    assert_int_equal(records[count].user_data_64, 0xa5a5);
}

static void test_records_are_found_in_order_by_any_number_of_workers(void **state) {
    (void)state;
    bool (*const rules[])(uint32_t,
                          uint32_t) = {all, none, every_other, first_half, last_half, all_but_the_first, only_the_last};
    static const uint32_t crowds[] = {1, 2, 3, 8, TAEL_WORKERS_MAX};
    static const uint32_t counts[] = {1, 2, 7, 100, TAEL_EVENTS_MAX};
    for (uint32_t i = 0; i < sizeof crowds / sizeof *crowds; i++) {
        struct crowd crowd;
        crowd_open(&crowd, crowds[i], 1);
        for (uint32_t j = 0; j < sizeof counts / sizeof *counts; j++) {
            for (uint32_t k = 0; k < sizeof rules / sizeof *rules; k++) look(&crowd, counts[j], rules[k]);
        }
        assert_int_equal(crowd.passes, sizeof counts / sizeof *counts * (sizeof rules / sizeof *rules));
        crowd_close(&crowd);
    }
}

static void test_few_ids_are_for_one_worker(void **state) {
    (void)state;
    struct crowd crowd;
    crowd_open(&crowd, 2, 100);
    look(&crowd, 99, every_other);
    assert_int_equal(crowd.passes, 0);
    assert_int_equal(tael_lookups_counters(crowd.lookups).lookups, 0);
    look(&crowd, 100, every_other);
    assert_int_equal(crowd.passes, 1);
    assert_int_equal(tael_lookups_counters(crowd.lookups).lookups, 1);
    assert_int_equal(tael_lookups_counters(crowd.lookups).ids, 100);
    crowd_close(&crowd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_are_found_in_order_by_any_number_of_workers),
        cmocka_unit_test(test_few_ids_are_for_one_worker),
    };
    return cmocka_run_group_tests_name("lookups by several workers", tests, NULL, NULL);
}
