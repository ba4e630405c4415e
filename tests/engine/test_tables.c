/* The ledger's tables one by one: what is entered is found, what is taken back is gone, and colliding hashes change nothing.
 * Method: small tables filled to their limit, with honest hashes and with hashes cut to a few bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/account_list.h"
#include "engine/account_table.h"
#include "engine/audit.h"
#include "engine/expiry_queue.h"
#include "engine/history.h"
#include "engine/id_index.h"
#include "engine/journal.h"

#define COUNT 1000

static struct tael_arena arena_make(size_t size) {
    struct tael_arena arena = {.size = (size + 2 * TAEL_SECTOR_SIZE) / TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE};
    arena.base = aligned_alloc(TAEL_SECTOR_SIZE, arena.size);
    assert_non_null(arena.base);
    memset(arena.base, 0, arena.size);
    return arena;
}

static struct tael_account account_with(uint64_t id) {
    return (struct tael_account){.id = tael_u128_make(id * 7, id), .ledger = 1, .code = 1, .user_data_64 = id};
}

static struct tael_account_table accounts_make(struct tael_arena *arena, uint32_t hash_bits) {
    *arena = arena_make(tael_account_table_size_bytes(COUNT) + tael_account_table_wide_size_bytes(COUNT));
    struct tael_account_table table;
    tael_account_table_init(&table, arena, COUNT, tael_hash_make(tael_u128_make(17, 4), hash_bits));
    return table;
}

static void fill_and_take_back(uint32_t hash_bits) {
    struct tael_arena arena;
    struct tael_account_table table = accounts_make(&arena, hash_bits);
    for (uint64_t id = 1; id <= COUNT; id++) {
        const struct tael_account account = account_with(id);
        assert_null(tael_account_table_find_id(&table, account.id));
        tael_account_table_insert(&table, &account, 10 * id);
    }
    for (uint64_t left = COUNT; left > 0; left--) {
        for (uint64_t id = 1; id <= COUNT; id += 37) {
            const struct tael_account_line *line = tael_account_table_find_id(&table, account_with(id).id);
            if (id > left) {
                assert_null(line);
                continue;
            }
            assert_non_null(line);
            assert_int_equal(line->number, id);
            assert_int_equal(table.cold[id].user_data_64, id);
        }
        tael_account_table_remove_youngest(&table);
    }
    free(arena.base);
}

static void test_account_table_finds_every_account_until_it_is_taken_back(void **state) {
    (void)state;
    fill_and_take_back(0);
}

static void test_account_table_tells_colliding_ids_apart(void **state) {
    (void)state;
    fill_and_take_back(1);
}

static void test_account_table_never_finds_id_zero(void **state) {
    (void)state;
    struct tael_arena arena;
    const struct tael_account_table table = accounts_make(&arena, 0);
    assert_null(tael_account_table_find_id(&table, 0));
    free(arena.base);
}

static void test_account_table_keeps_all_balances_when_one_grows_wide(void **state) {
    (void)state;
    struct tael_arena arena;
    struct tael_account_table table = accounts_make(&arena, 0);
    const struct tael_account account = account_with(1);
    struct tael_account_line *line = tael_account_table_insert(&table, &account, 10);
    const tael_u128 wide = tael_u128_make(3, 5);
    tael_account_table_balance_set(&table, line, TAEL_DEBITS_PENDING, 7);
    tael_account_table_balance_set(&table, line, TAEL_DEBITS_POSTED, UINT64_MAX);
    assert_false(tael_account_line_is_wide(line));
    tael_account_table_balance_set(&table, line, TAEL_CREDITS_POSTED, wide);
    assert_true(tael_account_line_is_wide(line));
    tael_account_table_balance_set(&table, line, TAEL_DEBITS_PENDING, 8);

    struct tael_account record;
    tael_account_table_record(&table, line, &record);
    assert_true(record.debits_pending == 8);
    assert_true(record.debits_posted == UINT64_MAX);
    assert_true(record.credits_pending == 0);
    assert_true(record.credits_posted == wide);
    assert_int_equal(record.flags, 0);
    free(arena.base);
}

static void test_account_table_finds_numbers_by_timestamp(void **state) {
    (void)state;
    struct tael_arena arena;
    struct tael_account_table table = accounts_make(&arena, 0);
    for (uint64_t id = 1; id <= 9; id++) {
        const struct tael_account account = account_with(id);
        tael_account_table_insert(&table, &account, 10 * id);
    }
    assert_int_equal(tael_account_table_number_from(&table, 0), 1);
    assert_int_equal(tael_account_table_number_from(&table, 10), 1);
    assert_int_equal(tael_account_table_number_from(&table, 11), 2);
    assert_int_equal(tael_account_table_number_from(&table, 90), 9);
    assert_int_equal(tael_account_table_number_from(&table, 91), 10);
    free(arena.base);
}

/* An honest lookup: confirmed by the caller, here by value == id. */
static bool index_finds(const struct tael_id_index *index, uint64_t hash, uint64_t wanted,
                        struct tael_index_probe *probe) {
    *probe = tael_index_probe_begin(index, hash);
    uint64_t value;
    while (tael_index_probe_next(index, probe, &value)) {
        if (value == wanted) return true;
    }
    return false;
}

static void index_fill_and_take_back(uint32_t hash_bits) {
    struct tael_arena arena = arena_make(tael_id_index_size_bytes(COUNT, 1));
    struct tael_id_index index;
    tael_id_index_init(&index, &arena, COUNT, 1);
    const struct tael_hash hash = tael_hash_make(tael_u128_make(1, 2), hash_bits);
    struct tael_index_probe probe;
    for (uint64_t value = 0; value < COUNT; value++) {
        assert_false(index_finds(&index, tael_hash_id(&hash, value + 1), value, &probe));
        tael_id_index_insert(&index, &probe, value);
    }
    assert_int_equal(index.count, COUNT);
    for (uint64_t left = COUNT; left > 0; left--) {
        for (uint64_t value = 0; value < COUNT; value += 41) {
            assert_int_equal(index_finds(&index, tael_hash_id(&hash, value + 1), value, &probe), value < left);
        }
        tael_id_index_remove_youngest(&index, tael_hash_id(&hash, left), left - 1);
    }
    assert_int_equal(index.count, 0);
    free(arena.base);
}

static void test_id_index_finds_every_entry_until_it_is_taken_back(void **state) {
    (void)state;
    index_fill_and_take_back(0);
}

static void test_id_index_tells_colliding_hashes_apart(void **state) {
    (void)state;
    index_fill_and_take_back(1);
}

static void test_expiry_queue_gives_the_earliest_by_expiry_then_position(void **state) {
    (void)state;
    struct tael_arena arena = arena_make(tael_expiry_queue_size_bytes(COUNT));
    struct tael_expiry_queue queue;
    tael_expiry_queue_init(&queue, &arena, COUNT);
    assert_null(tael_expiry_queue_top(&queue));
    uint64_t random = 42;
    for (uint64_t position = 0; position < COUNT; position++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        tael_expiry_queue_push(&queue, (struct tael_expiry){.expires_at = random >> 58, .position = position});
    }
    struct tael_expiry before = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        const struct tael_expiry top = *tael_expiry_queue_top(&queue);
        assert_true(i == 0 || before.expires_at < top.expires_at ||
                    (before.expires_at == top.expires_at && before.position < top.position));
        before = top;
        tael_expiry_queue_pop(&queue);
    }
    assert_null(tael_expiry_queue_top(&queue));
    free(arena.base);
}

static void test_account_lists_hold_each_accounts_transfers_in_order_both_ways(void **state) {
    (void)state;
    struct tael_arena accounts_arena;
    struct tael_account_table accounts = accounts_make(&accounts_arena, 0);
    struct tael_arena arena = arena_make(tael_journal_size_bytes(COUNT) + tael_journal_burnt_size_bytes(COUNT) +
                                         tael_account_lists_size_bytes(COUNT, COUNT));
    struct tael_journal journal;
    struct tael_account_lists lists;
    tael_journal_init(&journal, &arena, COUNT);
    tael_account_lists_init(&lists, &arena, COUNT, COUNT);
    struct tael_account_line *lines[3];
    for (uint64_t id = 1; id <= 3; id++) {
        const struct tael_account account = account_with(id);
        lines[id - 1] = tael_account_table_insert(&accounts, &account, 10 * id);
    }
    /* Transfer i goes from account 0 to account 1 + i % 2. */
    for (uint64_t i = 0; i < COUNT; i++) {
        struct tael_transfer_trace *trace;
        tael_journal_append(&journal, i + 1, &trace)->timestamp = i + 1;
        trace->debit_number = lines[0]->number;
        trace->credit_number = lines[1 + i % 2]->number;
    }
    uint32_t extended = 0;
    while (lists.covered < COUNT) extended += tael_account_lists_extend(&lists, &accounts, &journal, 7);
    assert_int_equal(extended, COUNT);

    uint64_t position;
    struct tael_list_cursor cursor = tael_account_lists_begin(&accounts.cold[1], false);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(tael_account_lists_next(&lists, &cursor, &position));
        assert_int_equal(position, i);
    }
    assert_false(tael_account_lists_next(&lists, &cursor, &position));
    cursor = tael_account_lists_begin(&accounts.cold[3], true);
    for (uint64_t i = COUNT; i > 0; i -= 2) {
        assert_true(tael_account_lists_next(&lists, &cursor, &position));
        assert_int_equal(position, i - 1);
    }
    assert_false(tael_account_lists_next(&lists, &cursor, &position));
    free(arena.base);
    free(accounts_arena.base);
}

static void test_history_gives_back_narrow_and_wide_balances(void **state) {
    (void)state;
    struct tael_arena accounts_arena;
    struct tael_account_table accounts = accounts_make(&accounts_arena, 0);
    struct tael_arena arena = arena_make(tael_history_size_bytes(COUNT) + tael_history_reserve_size_bytes(COUNT));
    struct tael_history history;
    tael_history_init(&history, &arena, COUNT);
    const struct tael_account one = account_with(1);
    const struct tael_account two = account_with(2);
    struct tael_account_line *debit = tael_account_table_insert(&accounts, &one, 1);
    struct tael_account_line *credit = tael_account_table_insert(&accounts, &two, 2);
    for (int i = 0; i < TAEL_BALANCES; i++) {
        tael_account_table_balance_set(&accounts, debit, (enum tael_balance)i, (tael_u128)(10 + i));
        tael_account_table_balance_set(&accounts, credit, (enum tael_balance)i, (tael_u128)(20 + i));
    }
    credit->flags |= TAEL_ACCOUNT_FLAG_closed;
    const uint8_t narrow = tael_history_write(&history, &history.transfers[0], &accounts, debit, credit);
    assert_int_equal(narrow, TAEL_HISTORY_CREDIT_CLOSED);
    tael_account_table_balance_set(&accounts, credit, TAEL_CREDITS_POSTED, tael_u128_make(1, 0));
    const uint8_t wide = tael_history_write(&history, &history.transfers[1], &accounts, debit, credit);
    assert_int_equal(wide, TAEL_HISTORY_CREDIT_CLOSED | TAEL_HISTORY_WIDE);

    tael_u128 values[2 * TAEL_BALANCES];
    tael_history_read(&history, &history.transfers[0], narrow, values);
    for (int i = 0; i < TAEL_BALANCES; i++) {
        assert_true(values[i] == (tael_u128)(10 + i));
        assert_true(values[TAEL_BALANCES + i] == (tael_u128)(20 + i));
    }
    tael_history_read(&history, &history.transfers[1], wide, values);
    assert_true(values[TAEL_DEBITS_POSTED] == 11);
    assert_true(values[TAEL_BALANCES + TAEL_CREDITS_POSTED] == tael_u128_make(1, 0));
    free(arena.base);
    free(accounts_arena.base);
}

static void test_audit_sums_are_those_of_the_moment_it_ends(void **state) {
    (void)state;
    struct tael_arena accounts_arena;
    struct tael_account_table accounts = accounts_make(&accounts_arena, 0);
    struct tael_arena arena = arena_make(tael_audit_size_bytes());
    struct tael_audit audit;
    tael_audit_init(&audit, &arena);
    uint64_t expected = 0;
    for (uint64_t id = 1; id <= 500; id++) {
        const struct tael_account account = account_with(id);
        struct tael_account_line *line = tael_account_table_insert(&accounts, &account, 10 * id);
        tael_account_table_balance_set(&accounts, line, TAEL_DEBITS_POSTED, id);
        expected += id;
    }
    tael_audit_begin(&audit, &accounts, 0, UINT32_MAX);
    uint64_t id = 1;
    while (!tael_audit_scan(&audit, &accounts, 50)) {
        /* Between slices one balance changes, before or behind the scan. */
        struct tael_account_line *line = tael_account_table_find_id(&accounts, account_with(id).id);
        tael_account_table_balance_set(&accounts, line, TAEL_DEBITS_POSTED, id + 1000);
        if (tael_audit_passed(&audit, line)) tael_audit_balance(&audit, line, TAEL_DEBITS_POSTED, 1000, true);
        expected += 1000;
        id += 11;
    }
    assert_true(id > 11); /* it took several slices */
    struct tael_trial_balance_row rows[1 + 4];
    assert_int_equal(tael_audit_end(&audit, rows, 4), 2);
    assert_int_equal(rows[0].accounts, 1); /* ledgers */
    assert_int_equal(rows[1].ledger, 1);
    assert_int_equal(rows[1].accounts, 500);
    assert_int_equal(rows[1].debits_posted.words[0], expected);
    assert_int_equal(rows[1].debits_posted.words[1], 0);
    free(arena.base);
    free(accounts_arena.base);
}

static void test_audit_tells_of_more_ledgers_than_rows_and_still_checks_all(void **state) {
    (void)state;
    enum { LEDGERS = TAEL_LEDGERS_PER_REPLY_MAX + 7 };
    struct tael_arena accounts_arena =
        arena_make(tael_account_table_size_bytes(LEDGERS) + tael_account_table_wide_size_bytes(LEDGERS));
    struct tael_account_table accounts;
    tael_account_table_init(&accounts, &accounts_arena, LEDGERS, tael_hash_make(9, 0));
    struct tael_account_line *last = NULL;
    for (uint64_t id = 1; id <= LEDGERS; id++) {
        struct tael_account account = account_with(id);
        account.ledger = (uint32_t)(id * 1000003);
        last = tael_account_table_insert(&accounts, &account, 10 * id);
    }
    struct tael_arena arena = arena_make(tael_audit_size_bytes());
    struct tael_audit audit;
    tael_audit_init(&audit, &arena);
    tael_audit_begin(&audit, &accounts, 0, UINT32_MAX);
    while (!tael_audit_scan(&audit, &accounts, 1000)) {
    }
    struct tael_trial_balance_row rows[1 + 4];
    assert_int_equal(tael_audit_end(&audit, rows, 4), 1);
    assert_true(rows[0].accounts > TAEL_LEDGERS_PER_REPLY_MAX);

    assert_true(tael_audit_balanced(&audit, &accounts));
    tael_account_table_balance_set(&accounts, last, TAEL_CREDITS_PENDING, 1);
    assert_false(tael_audit_balanced(&audit, &accounts));
    free(arena.base);
    free(accounts_arena.base);
}

static void test_sums_carry_and_borrow_over_all_words(void **state) {
    (void)state;
    struct tael_trial_balance_sum sum = {.words = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0}};
    tael_sum_add(&sum, 1);
    const uint64_t carried[4] = {0, 0, 0, 1};
    assert_memory_equal(sum.words, carried, sizeof carried);
    tael_sum_subtract(&sum, TAEL_U128_MAX);
    const uint64_t borrowed[4] = {1, 0, UINT64_MAX, 0};
    assert_memory_equal(sum.words, borrowed, sizeof borrowed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_account_table_finds_every_account_until_it_is_taken_back),
        cmocka_unit_test(test_account_table_tells_colliding_ids_apart),
        cmocka_unit_test(test_account_table_never_finds_id_zero),
        cmocka_unit_test(test_account_table_keeps_all_balances_when_one_grows_wide),
        cmocka_unit_test(test_account_table_finds_numbers_by_timestamp),
        cmocka_unit_test(test_id_index_finds_every_entry_until_it_is_taken_back),
        cmocka_unit_test(test_id_index_tells_colliding_hashes_apart),
        cmocka_unit_test(test_expiry_queue_gives_the_earliest_by_expiry_then_position),
        cmocka_unit_test(test_account_lists_hold_each_accounts_transfers_in_order_both_ways),
        cmocka_unit_test(test_history_gives_back_narrow_and_wide_balances),
        cmocka_unit_test(test_audit_sums_are_those_of_the_moment_it_ends),
        cmocka_unit_test(test_audit_tells_of_more_ledgers_than_rows_and_still_checks_all),
        cmocka_unit_test(test_sums_carry_and_borrow_over_all_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
