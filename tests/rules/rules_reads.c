/* Reads as the specification has them ("Queries", and the records), and the digest computed by hand from docs/digest.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <tael/multi_batch.h>

#include "tests/model/model.h"
#include "tests/rules/rule_table.h"

extern const struct subject SUBJECT;

#define AF(name) TAEL_ACCOUNT_FLAG_##name
#define TF(name) TAEL_TRANSFER_FLAG_##name
#define CREATED TAEL_STATUS_CREATED
#define BOTH (TAEL_ACCOUNT_FILTER_FLAG_debits | TAEL_ACCOUNT_FILTER_FLAG_credits)
#define REVERSED TAEL_ACCOUNT_FILTER_FLAG_reversed

static struct tael_transfer results[TAEL_EVENTS_MAX];

/* Transfers 1 .. 8 between accounts 1 and 2, and a few elsewhere: i moves i; odd ones go from 1 to 2, even ones back. */
static void open_world(struct story *story) {
    story_open(story, &SUBJECT);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(story_account_status(story, ACCOUNT(.id = id, .flags = id == 1 ? AF(history) : 0,
                                                             .user_data_64 = id, .user_data_32 = 7)),
                         CREATED);
    }
    struct tael_account other = {.id = 4, .ledger = 2, .code = 2};
    assert_int_equal(story_account_status(story, other), CREATED);
    for (uint32_t i = 1; i <= 8; i++) {
        const uint32_t debit = i % 2 == 1 ? 1 : 2;
        assert_int_equal(
            story_transfer_status(story, TRANSFER(.id = i, .debit_account_id = debit, .credit_account_id = 3 - debit,
                                                  .amount = i, .user_data_128 = i % 3, .user_data_64 = i / 4,
                                                  .user_data_32 = i)),
            CREATED);
        assert_int_equal(story_transfer_status(story, TRANSFER(.id = 100 + i, .debit_account_id = 2,
                                                               .credit_account_id = 3, .amount = 1)),
                         CREATED);
    }
}

static uint64_t timestamp_of(struct story *story, tael_u128 id) { return story_lookup_transfer(story, id).timestamp; }

/* Reads transfers and compares their ids; ends with 0. */
static void expect_ids(struct story *story, uint8_t operation, const void *filter, const uint32_t *ids) {
    const uint32_t count = story_read(story, operation, filter);
    uint32_t expected = 0;
    while (ids[expected] != 0) expected++;
    assert_int_equal(count, expected);
    memcpy(results, story->reply, (size_t)count * sizeof results[0]);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(results[i].id == ids[i]);
        const struct tael_transfer known = story_lookup_transfer(story, ids[i]);
        if (operation != TAEL_OPERATION_query_accounts) assert_memory_equal(&results[i], &known, sizeof known);
    }
}

#define EXPECT_IDS(story, operation, filter, ...) expect_ids(story, operation, filter, (const uint32_t[]){__VA_ARGS__})

static void test_lookups_keep_the_order_and_leave_out_what_is_not_there(void **state) {
    (void)state;
    struct story story;
    open_world(&story);
    struct {
        tael_u128 ids[7];
        uint8_t trailer[16];
    } body = {.ids = {3, 99, 1, 0, TAEL_U128_MAX, 3, 2}};
    const uint16_t counts[3] = {3, 0, 4};
    uint32_t size = tael_multi_batch_encode(&body, sizeof body.ids, counts, 3, 16);
    assert_int_equal(size, sizeof body);
    struct tael_multi_batch reply = {0};
    uint32_t reply_size = story.subject->read(story.ledger, TAEL_OPERATION_lookup_accounts, &body, size, story.reply);
    assert_int_equal(tael_multi_batch_decode(story.reply, reply_size, TAEL_RECORD_SIZE, &reply), TAEL_MULTI_BATCH_OK);
    assert_int_equal(reply.batch_count, 3);
    assert_int_equal(tael_multi_batch_count(&reply, 0), 2);
    assert_int_equal(tael_multi_batch_count(&reply, 1), 0);
    assert_int_equal(tael_multi_batch_count(&reply, 2), 2);
    static const uint32_t order[] = {3, 1, 3, 2};
    for (uint32_t i = 0; i < 4; i++) {
        struct tael_account account;
        memcpy(&account, reply.payload + (size_t)i * sizeof account, sizeof account);
        assert_true(account.id == order[i]);
    }
    reply_size = story.subject->read(story.ledger, TAEL_OPERATION_lookup_transfers, &body, size, story.reply);
    assert_int_equal(tael_multi_batch_decode(story.reply, reply_size, TAEL_RECORD_SIZE, &reply), TAEL_MULTI_BATCH_OK);
    assert_int_equal(tael_multi_batch_count(&reply, 0), 2);
    assert_int_equal(tael_multi_batch_count(&reply, 2), 2);
    story_close(&story);
}

static void test_account_transfers_match_all_conditions_in_order_of_timestamp(void **state) {
    (void)state;
    struct story story;
    open_world(&story);
    const uint8_t operation = TAEL_OPERATION_get_account_transfers;
    struct tael_account_filter filter = {.account_id = 1, .limit = 100, .flags = BOTH};
    EXPECT_IDS(&story, operation, &filter, 1, 2, 3, 4, 5, 6, 7, 8, 0);
    filter.flags = BOTH | REVERSED;
    EXPECT_IDS(&story, operation, &filter, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    filter.limit = 3;
    EXPECT_IDS(&story, operation, &filter, 8, 7, 6, 0);
    filter.flags = BOTH;
    EXPECT_IDS(&story, operation, &filter, 1, 2, 3, 0);
    filter.limit = 100;
    filter.flags = TAEL_ACCOUNT_FILTER_FLAG_debits;
    EXPECT_IDS(&story, operation, &filter, 1, 3, 5, 7, 0);
    filter.flags = TAEL_ACCOUNT_FILTER_FLAG_credits | REVERSED;
    EXPECT_IDS(&story, operation, &filter, 8, 6, 4, 2, 0);
    filter.flags = BOTH;
    filter.user_data_128 = 2;
    EXPECT_IDS(&story, operation, &filter, 2, 5, 8, 0);
    filter.user_data_64 = 1;
    EXPECT_IDS(&story, operation, &filter, 5, 0);
    filter.user_data_32 = 6;
    EXPECT_IDS(&story, operation, &filter, 0);
    filter = (struct tael_account_filter){.account_id = 1, .limit = 100, .flags = BOTH, .user_data_32 = 6};
    EXPECT_IDS(&story, operation, &filter, 6, 0);
    filter.code = 2;
    EXPECT_IDS(&story, operation, &filter, 0);

    /* Both ends included, either one left out. */
    filter = (struct tael_account_filter){.account_id = 1, .limit = 100, .flags = BOTH};
    filter.timestamp_min = timestamp_of(&story, 3);
    EXPECT_IDS(&story, operation, &filter, 3, 4, 5, 6, 7, 8, 0);
    filter.timestamp_max = timestamp_of(&story, 5);
    EXPECT_IDS(&story, operation, &filter, 3, 4, 5, 0);
    filter.timestamp_min = timestamp_of(&story, 5);
    EXPECT_IDS(&story, operation, &filter, 5, 0);
    filter.timestamp_min = 0;
    EXPECT_IDS(&story, operation, &filter, 1, 2, 3, 4, 5, 0);
    filter.timestamp_max = TAEL_TIMESTAMP_MAX;
    EXPECT_IDS(&story, operation, &filter, 1, 2, 3, 4, 5, 6, 7, 8, 0);

    filter.account_id = 3;
    EXPECT_IDS(&story, operation, &filter, 101, 102, 103, 104, 105, 106, 107, 108, 0);
    filter.account_id = 4;
    EXPECT_IDS(&story, operation, &filter, 0);
    filter.account_id = 999;
    EXPECT_IDS(&story, operation, &filter, 0);
    story_close(&story);
}

static void test_invalid_account_filters_give_nothing(void **state) {
    (void)state;
    struct story story;
    open_world(&story);
    const struct tael_account_filter good = {.account_id = 1, .limit = 100, .flags = BOTH};
    struct tael_account_filter invalid[12];
    for (uint32_t i = 0; i < COUNT_OF(invalid); i++) invalid[i] = good;
    invalid[0].account_id = 0;
    invalid[1].account_id = TAEL_U128_MAX;
    invalid[2].limit = 0;
    invalid[3].flags = REVERSED;
    invalid[4].flags = BOTH | 1u << 3;
    invalid[5].flags = BOTH | 1u << 31;
    invalid[6].timestamp_min = TAEL_TIMESTAMP_MAX + 1;
    invalid[7].timestamp_max = UINT64_MAX;
    invalid[8].timestamp_min = 6;
    invalid[8].timestamp_max = 5;
    invalid[9].reserved[0] = 1;
    invalid[10].reserved[57] = 1;
    invalid[11].flags = 0;
    static const uint8_t operations[] = {TAEL_OPERATION_get_account_transfers, TAEL_OPERATION_get_account_balances};
    for (uint32_t operation = 0; operation < 2; operation++) {
        assert_int_equal(story_read(&story, operations[operation], &good), 8);
        for (uint32_t i = 0; i < COUNT_OF(invalid); i++) {
            assert_int_equal(story_read(&story, operations[operation], &invalid[i]), 0);
        }
    }
    story_close(&story);
}

static void test_account_balances_tell_the_balance_after_each_matching_transfer(void **state) {
    (void)state;
    struct story story;
    open_world(&story);
    const uint8_t operation = TAEL_OPERATION_get_account_balances;
    struct tael_account_filter filter = {.account_id = 1, .limit = 100, .flags = BOTH};
    struct tael_account_balance balances[16];
    assert_int_equal(story_read(&story, operation, &filter), 8);
    memcpy(balances, story.reply, 8 * sizeof balances[0]);
    tael_u128 sides[2] = {0, 0};
    for (uint32_t i = 1; i <= 8; i++) {
        sides[i % 2] += i;
        const struct tael_account_balance expected = {
            .debits_posted = sides[1], .credits_posted = sides[0], .timestamp = timestamp_of(&story, i)};
        assert_memory_equal(&balances[i - 1], &expected, sizeof expected);
    }
    filter.flags = TAEL_ACCOUNT_FILTER_FLAG_credits | REVERSED;
    filter.limit = 1;
    assert_int_equal(story_read(&story, operation, &filter), 1);
    assert_memory_equal(story.reply, &balances[7], sizeof balances[7]);

    /* Only accounts that keep a history have one. */
    filter = (struct tael_account_filter){.account_id = 2, .limit = 100, .flags = BOTH};
    assert_int_equal(story_read(&story, operation, &filter), 0);

    /* Pending, its post, and a hold that expires: the expiry is no transfer, so it has no row. */
    const uint32_t hold = TF(pending);
    assert_int_equal(story_transfer_status(&story, TRANSFER(.id = 20, .debit_account_id = 1, .credit_account_id = 2,
                                                            .amount = 50, .flags = (uint16_t)hold)),
                     CREATED);
    const uint64_t from = story.timestamp;
    assert_int_equal(story_transfer_status(&story, POST(.id = 21, .pending_id = 20, .amount = 5)), CREATED);
    assert_int_equal(story_transfer_status(&story, TRANSFER(.id = 22, .debit_account_id = 2, .credit_account_id = 1,
                                                            .amount = 9, .timeout = 1, .flags = (uint16_t)hold)),
                     CREATED);
    story.clock += 10 * TAEL_NS_PER_S;
    story_pulse(&story);
    filter = (struct tael_account_filter){.account_id = 1, .limit = 100, .flags = BOTH, .timestamp_min = from};
    assert_int_equal(story_read(&story, operation, &filter), 3);
    memcpy(balances, story.reply, 3 * sizeof balances[0]);
    assert_true(balances[0].debits_pending == 50 && balances[0].debits_posted == 16);
    assert_true(balances[1].debits_pending == 0 && balances[1].debits_posted == 21);
    assert_true(balances[2].credits_pending == 9 && balances[2].credits_posted == 20);
    story_close(&story);
}

static void test_queries_match_all_conditions(void **state) {
    (void)state;
    struct story story;
    open_world(&story);
    struct tael_query_filter filter = {.limit = 100, .code = 1, .user_data_64 = 1};
    EXPECT_IDS(&story, TAEL_OPERATION_query_transfers, &filter, 4, 5, 6, 7, 0);
    filter.flags = TAEL_QUERY_FILTER_FLAG_reversed;
    filter.user_data_128 = 1;
    EXPECT_IDS(&story, TAEL_OPERATION_query_transfers, &filter, 7, 4, 0);
    filter.timestamp_max = timestamp_of(&story, 6);
    EXPECT_IDS(&story, TAEL_OPERATION_query_transfers, &filter, 4, 0);
    filter = (struct tael_query_filter){.limit = 100, .ledger = 2};
    EXPECT_IDS(&story, TAEL_OPERATION_query_transfers, &filter, 0);
    EXPECT_IDS(&story, TAEL_OPERATION_query_accounts, &filter, 4, 0);
    filter = (struct tael_query_filter){.limit = 2, .user_data_32 = 7};
    EXPECT_IDS(&story, TAEL_OPERATION_query_accounts, &filter, 1, 2, 0);
    filter.flags = TAEL_QUERY_FILTER_FLAG_reversed;
    EXPECT_IDS(&story, TAEL_OPERATION_query_accounts, &filter, 3, 2, 0);
    filter.user_data_64 = 1;
    EXPECT_IDS(&story, TAEL_OPERATION_query_accounts, &filter, 1, 0);
    /* Today's balances. */
    const struct tael_account account = story_lookup_account(&story, 1);
    assert_true(account.credits_posted == 20);
    assert_int_equal(story_read(&story, TAEL_OPERATION_query_accounts, &filter), 1);
    assert_memory_equal(story.reply, &account, sizeof account);
    story_close(&story);
}

static void test_invalid_query_and_change_events_filters_give_nothing(void **state) {
    (void)state;
    struct story story;
    open_world(&story);
    struct tael_query_filter invalid[7];
    for (uint32_t i = 0; i < COUNT_OF(invalid); i++) invalid[i] = (struct tael_query_filter){.limit = 10};
    assert_int_equal(story_read(&story, TAEL_OPERATION_query_transfers, &invalid[0]), 10);
    invalid[0].limit = 0;
    invalid[1].flags = 2;
    invalid[2].reserved[0] = 1;
    invalid[3].reserved[5] = 1;
    invalid[4].timestamp_min = TAEL_TIMESTAMP_MAX + 1;
    invalid[5].timestamp_max = TAEL_TIMESTAMP_MAX + 1;
    invalid[6].timestamp_min = 2;
    invalid[6].timestamp_max = 1;
    for (uint32_t i = 0; i < COUNT_OF(invalid); i++) {
        assert_int_equal(story_read(&story, TAEL_OPERATION_query_transfers, &invalid[i]), 0);
        assert_int_equal(story_read(&story, TAEL_OPERATION_query_accounts, &invalid[i]), 0);
    }
    struct tael_change_events_filter changes[6];
    for (uint32_t i = 0; i < COUNT_OF(changes); i++) changes[i] = (struct tael_change_events_filter){.limit = 10};
    assert_int_equal(story_read(&story, TAEL_OPERATION_get_change_events, &changes[0]), 10);
    changes[0].limit = 0;
    changes[1].reserved[0] = 1;
    changes[2].reserved[43] = 1;
    changes[3].timestamp_min = UINT64_MAX;
    changes[4].timestamp_max = TAEL_TIMESTAMP_MAX + 1;
    changes[5].timestamp_min = 2;
    changes[5].timestamp_max = 1;
    for (uint32_t i = 0; i < COUNT_OF(changes); i++) {
        assert_int_equal(story_read(&story, TAEL_OPERATION_get_change_events, &changes[i]), 0);
    }
    story_close(&story);
}

/* A limit beyond what fits a reply is capped, not refused. */
static void test_limits_are_capped(void **state) {
    (void)state;
    struct story story;
    open_world(&story);
    for (uint32_t request = 0; request < 2; request++) {
        story_begin(&story, TAEL_OPERATION_create_transfers);
        for (uint32_t i = 0; i < 4200; i++) {
            story_add_transfer(&story, TRANSFER(.id = 1000 + request * 4200 + i, .debit_account_id = 1,
                                                .credit_account_id = 2, .amount = 1));
        }
        story_send(&story);
    }
    static const uint32_t limits[] = {UINT32_MAX, 8190, 8189};
    for (uint32_t i = 0; i < COUNT_OF(limits); i++) {
        const struct tael_account_filter account = {.account_id = 1, .limit = limits[i], .flags = BOTH | REVERSED};
        assert_int_equal(story_read(&story, TAEL_OPERATION_get_account_transfers, &account), 8189);
        struct tael_transfer youngest;
        memcpy(&youngest, story.reply, sizeof youngest);
        assert_int_equal(youngest.timestamp, story.timestamp);
        assert_int_equal(story_read(&story, TAEL_OPERATION_get_account_balances, &account), 8189);
        const struct tael_query_filter query = {.limit = limits[i]};
        assert_int_equal(story_read(&story, TAEL_OPERATION_query_transfers, &query), 8189);
        const struct tael_change_events_filter changes = {.limit = limits[i]};
        assert_int_equal(story_read(&story, TAEL_OPERATION_get_change_events, &changes), 2730);
    }
    story_close(&story);
}

static struct tael_change_event_account side(const struct tael_account *account) {
    return (struct tael_change_event_account){
        .id = account->id,
        .debits_pending = account->debits_pending,
        .debits_posted = account->debits_posted,
        .credits_pending = account->credits_pending,
        .credits_posted = account->credits_posted,
        .user_data_128 = account->user_data_128,
        .user_data_64 = account->user_data_64,
        .user_data_32 = account->user_data_32,
        .code = account->code,
        .flags = account->flags,
    };
}

/* The event of a transfer whose accounts are as they are now. */
static struct tael_change_event event_now(struct story *story, tael_u128 id, uint8_t type, uint64_t timestamp) {
    const struct tael_transfer t = story_lookup_transfer(story, id);
    const struct tael_account debit = story_lookup_account(story, t.debit_account_id);
    const struct tael_account credit = story_lookup_account(story, t.credit_account_id);
    return (struct tael_change_event){
        .transfer_id = t.id,
        .transfer_amount = t.amount,
        .transfer_pending_id = t.pending_id,
        .transfer_user_data_128 = t.user_data_128,
        .transfer_user_data_64 = t.user_data_64,
        .transfer_user_data_32 = t.user_data_32,
        .transfer_timeout = t.timeout,
        .transfer_code = t.code,
        .transfer_flags = t.flags,
        .ledger = t.ledger,
        .type = type,
        .debit_account = side(&debit),
        .credit_account = side(&credit),
        .timestamp = timestamp,
        .transfer_timestamp = t.timestamp,
        .debit_account_timestamp = debit.timestamp,
        .credit_account_timestamp = credit.timestamp,
    };
}

#define STEPS 8

/* One transfer of every kind, and an expiry: what each changed, told as the event of that moment. */
static void play_changes(struct story *story, struct tael_change_event *expected) {
    const struct {
        struct tael_transfer transfer;
        uint8_t type;
    } steps[STEPS - 1] = {
        {TRANSFER(.id = 1, .debit_account_id = 1, .credit_account_id = 2, .amount = (tael_u128)5 << 64,
                  .user_data_128 = 1, .user_data_64 = 2, .user_data_32 = 3),
         TAEL_CHANGE_SINGLE_PHASE},
        {TRANSFER(.id = 2, .debit_account_id = 2, .credit_account_id = 1, .amount = 7, .flags = TF(pending)),
         TAEL_CHANGE_TWO_PHASE_PENDING},
        {TRANSFER(.id = 3, .debit_account_id = 2, .credit_account_id = 3, .amount = 8, .timeout = 1,
                  .flags = TF(pending) | TF(closing_credit)),
         TAEL_CHANGE_TWO_PHASE_PENDING},
        {TRANSFER(.id = 4, .debit_account_id = 1, .credit_account_id = 2, .amount = 9, .flags = TF(pending)),
         TAEL_CHANGE_TWO_PHASE_PENDING},
        {POST(.id = 5, .pending_id = 2, .amount = 6, .user_data_32 = 4), TAEL_CHANGE_TWO_PHASE_POSTED},
        {VOID(.id = 6, .pending_id = 4), TAEL_CHANGE_TWO_PHASE_VOIDED},
        {TRANSFER(.id = 7, .debit_account_id = 1, .credit_account_id = 2, .amount = 100, .flags = TF(balancing_debit)),
         TAEL_CHANGE_SINGLE_PHASE},
    };
    for (uint32_t i = 0; i < STEPS - 1; i++) {
        assert_int_equal(story_transfer_status(story, steps[i].transfer), CREATED);
        expected[i] = event_now(story, steps[i].transfer.id, steps[i].type, story->timestamp);
    }
    story->clock += 10 * TAEL_NS_PER_S;
    story_pulse(story);
    expected[STEPS - 1] = event_now(story, 3, TAEL_CHANGE_TWO_PHASE_EXPIRED, story->timestamp - TAEL_EXPIRIES_MAX + 1);
}

static void open_changes(struct story *story) {
    story_open(story, &SUBJECT);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(
            story_account_status(story, ACCOUNT(.id = id, .user_data_128 = 10, .user_data_64 = 20, .user_data_32 = id)),
            CREATED);
    }
}

static void test_change_events_tell_both_accounts_right_after_each_change(void **state) {
    (void)state;
    struct story story;
    open_changes(&story);
    struct tael_change_event expected[STEPS];
    play_changes(&story, expected);
    assert_int_equal(expected[2].credit_account.flags & AF(closed), AF(closed));
    assert_int_equal(expected[STEPS - 1].credit_account.flags & AF(closed), 0);
    struct tael_change_events_filter filter = {.limit = 100};
    assert_int_equal(story_read(&story, TAEL_OPERATION_get_change_events, &filter), STEPS);
    for (uint32_t i = 0; i < STEPS; i++) {
        assert_memory_equal(story.reply + i * sizeof expected[i], &expected[i], sizeof expected[i]);
    }
    filter.timestamp_min = expected[2].timestamp;
    filter.timestamp_max = expected[5].timestamp;
    filter.limit = 3;
    assert_int_equal(story_read(&story, TAEL_OPERATION_get_change_events, &filter), 3);
    assert_memory_equal(story.reply, &expected[2], 3 * sizeof expected[2]);
    story_close(&story);
}

/* An import may be older than an expiry that happened before it, or just as old; events come in order of timestamp. */
static void test_change_events_of_imports_stand_at_their_own_timestamps(void **state) {
    (void)state;
    struct story story;
    open_changes(&story);
    struct tael_change_event expected[STEPS];
    play_changes(&story, expected);
    const uint64_t expiry = expected[STEPS - 1].timestamp;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(
            story_transfer_status(&story, TRANSFER(.id = 10 + i, .debit_account_id = 1, .credit_account_id = 2,
                                                   .timestamp = expiry - 1 + i, .flags = TF(imported))),
            CREATED);
    }
    const struct tael_change_events_filter filter = {.timestamp_min = expiry - 1, .limit = 100};
    assert_int_equal(story_read(&story, TAEL_OPERATION_get_change_events, &filter), 4);
    struct tael_change_event events[4];
    memcpy(events, story.reply, sizeof events);
    assert_true(events[0].transfer_id == 10);
    assert_true(events[1].transfer_id == 3); /* the expiry, which happened first */
    assert_true(events[2].transfer_id == 11);
    assert_true(events[3].transfer_id == 12);
    for (uint32_t i = 0; i + 1 < 4; i++) assert_true(events[i].timestamp <= events[i + 1].timestamp);
    story_close(&story);
}

static void test_trial_balance_sums_each_ledger(void **state) {
    (void)state;
    struct story story;
    story_open(&story, &SUBJECT);
    for (uint32_t i = 0; i < 6; i++) {
        const struct tael_account account = {.id = i + 1, .ledger = i < 2 ? 5 : i < 4 ? 2 : 900, .code = 1};
        assert_int_equal(story_account_status(&story, account), CREATED);
    }
    const struct tael_transfer moves[] = {
        {.id = 1, .debit_account_id = 1, .credit_account_id = 2, .amount = TAEL_U128_MAX - 1, .ledger = 5, .code = 1},
        {.id = 2, .debit_account_id = 2, .credit_account_id = 1, .amount = 3, .ledger = 5, .code = 1},
        {.id = 3,
         .debit_account_id = 3,
         .credit_account_id = 4,
         .amount = 4,
         .ledger = 2,
         .code = 1,
         .flags = TF(pending)},
    };
    for (uint32_t i = 0; i < COUNT_OF(moves); i++) {
        assert_int_equal(story_transfer_status(&story, moves[i]), CREATED);
    }
    struct tael_trial_balance_row rows[4] = {
        {.accounts = 3},
        {.ledger = 2, .accounts = 2, .debits_pending.words = {4}, .credits_pending.words = {4}},
        {.ledger = 5, .accounts = 2, .debits_posted.words = {1, 0, 1}, .credits_posted.words = {1, 0, 1}},
        {.ledger = 900, .accounts = 2},
    };
    struct tael_trial_balance_filter filter = {.ledger_min = 0};
    assert_int_equal(story_read(&story, TAEL_OPERATION_trial_balance, &filter), 4);
    assert_memory_equal(story.reply, rows, sizeof rows);
    /* The head tells how many match; the limit, how many are shown. */
    filter.limit = 1;
    assert_int_equal(story_read(&story, TAEL_OPERATION_trial_balance, &filter), 2);
    assert_memory_equal(story.reply, rows, 2 * sizeof rows[0]);
    filter = (struct tael_trial_balance_filter){.ledger_min = 3, .ledger_max = 900};
    rows[0].accounts = 2;
    assert_int_equal(story_read(&story, TAEL_OPERATION_trial_balance, &filter), 3);
    assert_memory_equal(story.reply, &rows[0], sizeof rows[0]);
    assert_memory_equal(story.reply + sizeof rows[0], &rows[2], 2 * sizeof rows[0]);
    filter = (struct tael_trial_balance_filter){.ledger_min = 6, .ledger_max = 899};
    rows[0].accounts = 0;
    assert_int_equal(story_read(&story, TAEL_OPERATION_trial_balance, &filter), 1);
    assert_memory_equal(story.reply, &rows[0], sizeof rows[0]);
    story_close(&story);
}

/* --- the digest, from its definition --- */

static tael_u128 element(uint64_t kind, const void *bytes, uint32_t size_bytes) {
    return tael_model_digest_element(kind, bytes, size_bytes);
}

static tael_u128 pending_element(struct story *story, tael_u128 id, uint64_t status) {
    const struct tael_transfer transfer = story_lookup_transfer(story, id);
    struct {
        tael_u128 id;
        uint64_t status;
        uint64_t expiry;
    } bytes = {id, status, 0};
    if (transfer.timeout != 0) bytes.expiry = transfer.timestamp + transfer.timeout * TAEL_NS_PER_S;
    return element(3, &bytes, sizeof bytes);
}

static void test_digest_is_the_sum_that_its_definition_says(void **state) {
    (void)state;
    struct story story;
    open_changes(&story);
    uint64_t last[2] = {0, 0};
    struct story empty;
    story_open(&empty, &SUBJECT);
    assert_true(empty.subject->digest(empty.ledger) == element(6, last, sizeof last));
    story_close(&empty);

    struct tael_change_event expected[STEPS];
    play_changes(&story, expected);
    assert_int_equal(story_transfer_status(&story, TRANSFER(.id = 77, .debit_account_id = 9, .credit_account_id = 1)),
                     TAEL_TRANSFER_debit_account_not_found);
    tael_u128 sum = 0;
    for (uint32_t id = 1; id <= 3; id++) {
        const struct tael_account account = story_lookup_account(&story, id);
        sum += element(1, &account, sizeof account);
    }
    for (uint32_t id = 1; id <= 7; id++) {
        const struct tael_transfer transfer = story_lookup_transfer(&story, id);
        sum += element(2, &transfer, sizeof transfer);
    }
    sum += pending_element(&story, 2, 2) + pending_element(&story, 3, 4) + pending_element(&story, 4, 3);
    const tael_u128 burnt = 77;
    sum += element(4, &burnt, sizeof burnt);
    for (uint32_t i = 0; i < STEPS; i++) sum += element(5, &expected[i], sizeof expected[i]);
    last[0] = story.op;
    last[1] = story.timestamp;
    sum += element(6, last, sizeof last);
    assert_true(story.subject->digest(story.ledger) == sum);

    assert_int_equal(story_transfer_status(&story, TRANSFER(.id = 8, .debit_account_id = 1, .credit_account_id = 2,
                                                            .timeout = 9, .flags = TF(pending))),
                     CREATED);
    const struct tael_transfer hold = story_lookup_transfer(&story, 8);
    const struct tael_change_event event = event_now(&story, 8, TAEL_CHANGE_TWO_PHASE_PENDING, story.timestamp);
    sum += element(2, &hold, sizeof hold) + pending_element(&story, 8, 1) + element(5, &event, sizeof event);
    sum -= element(6, last, sizeof last);
    last[0] = story.op;
    last[1] = story.timestamp;
    sum += element(6, last, sizeof last);
    assert_true(story.subject->digest(story.ledger) == sum);
    story_close(&story);
}

static void test_reads_leave_no_trace(void **state) {
    (void)state;
    struct story story;
    open_world(&story);
    const tael_u128 before = story.subject->digest(story.ledger);
    const struct tael_account_filter account = {.account_id = 1, .limit = 100, .flags = BOTH};
    const struct tael_query_filter query = {.limit = 100};
    const struct tael_change_events_filter changes = {.limit = 100};
    const struct tael_trial_balance_filter trial = {.limit = 0};
    (void)story_read(&story, TAEL_OPERATION_get_account_transfers, &account);
    (void)story_read(&story, TAEL_OPERATION_get_account_balances, &account);
    (void)story_read(&story, TAEL_OPERATION_query_accounts, &query);
    (void)story_read(&story, TAEL_OPERATION_query_transfers, &query);
    (void)story_read(&story, TAEL_OPERATION_get_change_events, &changes);
    (void)story_read(&story, TAEL_OPERATION_trial_balance, &trial);
    assert_true(story.subject->digest(story.ledger) == before);
    assert_int_equal(story.subject->usage(story.ledger).op, story.op);
    story_close(&story);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookups_keep_the_order_and_leave_out_what_is_not_there),
        cmocka_unit_test(test_account_transfers_match_all_conditions_in_order_of_timestamp),
        cmocka_unit_test(test_invalid_account_filters_give_nothing),
        cmocka_unit_test(test_account_balances_tell_the_balance_after_each_matching_transfer),
        cmocka_unit_test(test_queries_match_all_conditions),
        cmocka_unit_test(test_invalid_query_and_change_events_filters_give_nothing),
        cmocka_unit_test(test_limits_are_capped),
        cmocka_unit_test(test_change_events_tell_both_accounts_right_after_each_change),
        cmocka_unit_test(test_change_events_of_imports_stand_at_their_own_timestamps),
        cmocka_unit_test(test_trial_balance_sums_each_ledger),
        cmocka_unit_test(test_digest_is_the_sum_that_its_definition_says),
        cmocka_unit_test(test_reads_leave_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
