/* The rules of create_accounts: every status once, in the order of the checks, each before its successors. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/rules/rule_table.h"

extern const struct subject SUBJECT;

#define A(name) TAEL_ACCOUNT_##name
#define SETS(name) ACCOUNT_FIELD(name)
#define AF(name) TAEL_ACCOUNT_FLAG_##name

enum {
    ID_KNOWN = 7, /* with flags that no row has */
};

static const struct rule_row rows[] = {
    {.status = A(linked_event_chain_open), .flags_set = AF(linked)},
    {.status = A(linked_event_failed), .second = true, .before_set = AF(linked)},
    {.status = A(imported_event_expected), .second = true, .before_set = AF(imported), .flags_clear = AF(imported)},
    {.status = A(imported_event_not_expected), .second = true, .before_clear = AF(imported), .flags_set = AF(imported)},
    {.status = A(imported_event_timestamp_out_of_range),
     .fields = SETS(timestamp),
     .flags_set = AF(imported),
     .account = {.timestamp = 0}},
    {.status = A(imported_event_timestamp_out_of_range),
     .also = A(imported_event_timestamp_must_not_advance),
     .fields = SETS(timestamp),
     .flags_set = AF(imported),
     .account = {.timestamp = TAEL_TIMESTAMP_MAX + 1}},
    {.status = A(imported_event_timestamp_out_of_range),
     .fields = SETS(timestamp),
     .flags_set = AF(imported),
     .account = {.timestamp = UINT64_MAX}},
    {.status = A(imported_event_timestamp_must_not_advance),
     .fields = SETS(timestamp),
     .flags_set = AF(imported),
     .account = {.timestamp = AT_BATCH}},
    {.status = A(imported_event_timestamp_must_not_advance),
     .fields = SETS(timestamp),
     .flags_set = AF(imported),
     .account = {.timestamp = TAEL_TIMESTAMP_MAX}},
    {.status = A(timestamp_must_be_zero),
     .fields = SETS(timestamp),
     .flags_clear = AF(imported),
     .account = {.timestamp = 1}},
    {.status = A(reserved_field), .fields = SETS(reserved), .account = {.reserved = 1}},
    {.status = A(reserved_flag), .flags_set = 1u << 6},
    {.status = A(reserved_flag), .flags_set = 1u << 15},
    {.status = A(id_must_not_be_zero), .fields = SETS(id), .account = {.id = 0}},
    {.status = A(id_must_not_be_int_max), .fields = SETS(id), .account = {.id = TAEL_U128_MAX}},
    {.status = A(exists_with_different_flags), .fields = SETS(id), .account = {.id = ID_KNOWN}},
    {.status = A(flags_are_mutually_exclusive),
     .flags_set = AF(debits_must_not_exceed_credits) | AF(credits_must_not_exceed_debits)},
    {.status = A(debits_pending_must_be_zero), .fields = SETS(debits_pending), .account = {.debits_pending = 1}},
    {.status = A(debits_posted_must_be_zero), .fields = SETS(debits_posted), .account = {.debits_posted = 1}},
    {.status = A(credits_pending_must_be_zero), .fields = SETS(credits_pending), .account = {.credits_pending = 1}},
    {.status = A(credits_posted_must_be_zero),
     .fields = SETS(credits_posted),
     .account = {.credits_posted = TAEL_U128_MAX - TAEL_U128_MAX / 2}},
    {.status = A(ledger_must_not_be_zero), .fields = SETS(ledger), .account = {.ledger = 0}},
    {.status = A(code_must_not_be_zero), .fields = SETS(code), .account = {.code = 0}},
    {.status = A(imported_event_timestamp_must_not_regress),
     .fields = SETS(timestamp),
     .flags_set = AF(imported),
     .account = {.timestamp = AT_ACCOUNT_LAST}},
    {.status = A(imported_event_timestamp_must_not_regress),
     .fields = SETS(timestamp),
     .flags_set = AF(imported),
     .account = {.timestamp = 1}},
    {.status = A(imported_event_timestamp_must_not_regress),
     .fields = SETS(timestamp),
     .flags_set = AF(imported),
     .account = {.timestamp = AT_TRANSFER_LAST}},
};

static const struct rule_pair exclusive[] = {
    {A(imported_event_expected), A(imported_event_not_expected)},
    {A(imported_event_timestamp_must_not_advance), A(timestamp_must_be_zero)},
    {A(id_must_not_be_zero), A(id_must_not_be_int_max)},
    {A(id_must_not_be_int_max), A(exists_with_different_flags)},
};

static const struct tael_account base = {.ledger = 1, .code = 1};

/* One account whose flags no row has, two that moved money, and time between the accounts and the transfer. */
static void open_world(struct story *story, struct rule_table *table) {
    story_open(story, &SUBJECT);
    assert_int_equal(
        story_account_status(story, ACCOUNT(.id = ID_KNOWN, .flags = AF(history) | AF(closed), .user_data_64 = 1)),
        TAEL_STATUS_CREATED);
    assert_int_equal(story_account_status(story, ACCOUNT(.id = 1)), TAEL_STATUS_CREATED);
    table->account_last = story_account(story, ACCOUNT(.id = 2)).timestamp;
    story->clock += TAEL_NS_PER_S;
    table->gap = story->clock - 10;
    table->transfer_last =
        story_transfer(story, TRANSFER(.id = 1, .debit_account_id = 1, .credit_account_id = 2, .amount = 3)).timestamp;
    story->clock += TAEL_NS_PER_S;
}

static struct rule_table table_of_rules(void) {
    return (struct rule_table){
        .accounts = true,
        .base = &base,
        .rows = rows,
        .row_count = COUNT_OF(rows),
        .exclusive = exclusive,
        .exclusive_count = COUNT_OF(exclusive),
    };
}

static void test_create_accounts_rejects_by_precedence(void **state) {
    (void)state;
    struct story story;
    struct rule_table table = table_of_rules();
    open_world(&story, &table);
    rule_table_run(&story, &table);

    /* What every row broke was good: it is created, imported and plain. */
    const struct rule_row imported = {
        .fields = SETS(timestamp), .flags_set = AF(imported), .account = {.timestamp = AT_GAP}};
    struct tael_create_result result = rule_table_send(&story, &table, &imported);
    assert_int_equal(result.status, TAEL_STATUS_CREATED);
    assert_int_equal(result.timestamp, table.gap);
    result = rule_table_send(&story, &table, NULL);
    assert_int_equal(result.status, TAEL_STATUS_CREATED);
    assert_int_equal(result.timestamp, story.timestamp);
    story_close(&story);
}

/* The same account again, with one field changed or two: the exists chain, before everything that follows it. */
static const struct tael_account stored = {
    .id = 42,
    .user_data_128 = 128,
    .user_data_64 = 64,
    .user_data_32 = 32,
    .ledger = 1,
    .code = 1,
    .flags = AF(history) | AF(debits_must_not_exceed_credits),
};

static const struct rule_row exists_rows[] = {
    {.status = A(exists_with_different_flags), .flags_set = AF(closed)},
    {.status = A(exists_with_different_flags), .flags_clear = AF(history)},
    {.status = A(exists_with_different_flags), .flags_set = AF(credits_must_not_exceed_debits)},
    {.status = A(exists_with_different_user_data_128),
     .fields = SETS(user_data_128),
     .account = {.user_data_128 = (tael_u128)128 << 64}},
    {.status = A(exists_with_different_user_data_128), .fields = SETS(user_data_128)},
    {.status = A(exists_with_different_user_data_64), .fields = SETS(user_data_64), .account = {.user_data_64 = 65}},
    {.status = A(exists_with_different_user_data_64), .fields = SETS(user_data_64)},
    {.status = A(exists_with_different_user_data_32), .fields = SETS(user_data_32), .account = {.user_data_32 = 33}},
    {.status = A(exists_with_different_user_data_32), .fields = SETS(user_data_32)},
    {.status = A(exists_with_different_ledger), .fields = SETS(ledger), .account = {.ledger = 2}},
    {.status = A(exists_with_different_ledger), .fields = SETS(ledger)},
    {.status = A(exists_with_different_code), .fields = SETS(code), .account = {.code = 2}},
    {.status = A(exists_with_different_code), .fields = SETS(code)},
    {.status = A(exists), .fields = SETS(debits_posted), .account = {.debits_posted = 5}},
    {.status = A(exists)},
};

static struct rule_table table_of_exists(void) {
    return (struct rule_table){
        .accounts = true,
        .base = &stored,
        .keep_id = true,
        .rows = exists_rows,
        .row_count = COUNT_OF(exists_rows) - 2, /* `exists` goes with nothing else */
    };
}

static void test_create_accounts_compares_with_what_exists_field_by_field(void **state) {
    (void)state;
    struct story story;
    story_open(&story, &SUBJECT);
    const struct tael_create_result created = story_account(&story, stored);
    assert_int_equal(created.status, TAEL_STATUS_CREATED);
    struct rule_table table = table_of_exists();
    rule_table_run(&story, &table);
    for (uint32_t i = COUNT_OF(exists_rows) - 2; i < COUNT_OF(exists_rows); i++) {
        const struct tael_create_result again = rule_table_send(&story, &table, &exists_rows[i]);
        assert_int_equal(again.status, A(exists));
        assert_int_equal(again.timestamp, created.timestamp);
    }
    story_close(&story);
}

static void test_every_account_status_is_reached(void **state) {
    (void)state;
    bool reached[128] = {false};
    struct rule_table table = table_of_rules();
    rule_table_cover(&table, reached);
    table = table_of_exists();
    table.row_count = COUNT_OF(exists_rows);
    rule_table_cover(&table, reached);
#define X(number, name, kind, text)                                                                                    \
    if (!reached[number]) fail_msg("no row reaches %d %s", number, #name);
    TAEL_ACCOUNT_STATUS_TABLE(X)
#undef X
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_accounts_rejects_by_precedence),
        cmocka_unit_test(test_create_accounts_compares_with_what_exists_field_by_field),
        cmocka_unit_test(test_every_account_status_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
