/* Flows of several events, told as stories: chains, two-phase transfers and their expiry, balancing, closing, imports, burnt
 * ids, values beyond 64 bits. Reads and the digest have a file of their own (rules_reads.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/rules/rule_table.h"

extern const struct subject SUBJECT;

#define A(name) TAEL_ACCOUNT_##name
#define T(name) TAEL_TRANSFER_##name
#define AF(name) TAEL_ACCOUNT_FLAG_##name
#define TF(name) TAEL_TRANSFER_FLAG_##name
#define CREATED TAEL_STATUS_CREATED
#define TWO_64 ((tael_u128)1 << 64)
#define SECOND TAEL_NS_PER_S

/* Opens a ledger with accounts 1 .. count, all plain. */
static void open_with(struct story *story, uint32_t count) {
    story_open(story, &SUBJECT);
    for (uint32_t id = 1; id <= count; id++) {
        assert_int_equal(story_account_status(story, ACCOUNT(.id = id, .flags = AF(history))), CREATED);
    }
}

static void expect_balances(struct story *story, tael_u128 id, tael_u128 debits_pending, tael_u128 debits_posted,
                            tael_u128 credits_pending, tael_u128 credits_posted) {
    const struct tael_account account = story_lookup_account(story, id);
    assert_true(account.id == id);
    assert_true(account.debits_pending == debits_pending);
    assert_true(account.debits_posted == debits_posted);
    assert_true(account.credits_pending == credits_pending);
    assert_true(account.credits_posted == credits_posted);
}

static void expect_closed(struct story *story, tael_u128 id, bool closed) {
    assert_int_equal((story_lookup_account(story, id).flags & AF(closed)) != 0, closed);
}

static void expect_created(struct story *story, struct tael_transfer transfer) {
    assert_int_equal(story_transfer_status(story, transfer), CREATED);
}

/* Sends what was begun and compares the statuses. */
#define EXPECT_STATUSES(story, ...)                                                                                    \
    do {                                                                                                               \
        static const uint32_t expected[] = {__VA_ARGS__};                                                              \
        story_send(story);                                                                                             \
        assert_int_equal((story)->request->event_count, COUNT_OF(expected));                                           \
        for (uint32_t i = 0; i < COUNT_OF(expected); i++) {                                                            \
            assert_int_equal((story)->results[i].status, expected[i]);                                                 \
        }                                                                                                              \
    } while (0)

static struct tael_transfer pay(tael_u128 id, tael_u128 debit, tael_u128 credit, tael_u128 amount, uint16_t flags) {
    return TRANSFER(.id = id, .debit_account_id = debit, .credit_account_id = credit, .amount = amount, .flags = flags);
}

static struct tael_transfer hold(tael_u128 id, tael_u128 debit, tael_u128 credit, tael_u128 amount, uint32_t timeout) {
    return TRANSFER(.id = id, .debit_account_id = debit, .credit_account_id = credit, .amount = amount,
                    .timeout = timeout, .flags = TF(pending));
}

static struct tael_transfer linked(struct tael_transfer transfer) {
    transfer.flags |= TF(linked);
    return transfer;
}

static void begin_transfers(struct story *story) { story_begin(story, TAEL_OPERATION_create_transfers); }

/* --- chains --- */

static void test_chain_succeeds_whole(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 10, TF(linked)));
    story_add_transfer(&story, pay(2, 1, 2, 20, TF(linked)));
    story_add_transfer(&story, pay(3, 2, 1, 5, 0));
    EXPECT_STATUSES(&story, CREATED, CREATED, CREATED);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(story.results[i].timestamp, story.timestamp - 2 + i);
    expect_balances(&story, 1, 0, 30, 0, 5);
    story_close(&story);
}

static void test_chain_that_breaks_in_the_middle_is_rolled_back_whole(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 1, 0));
    story_add_transfer(&story, pay(2, 1, 2, 10, TF(linked)));
    story_add_transfer(&story, pay(3, 1, 1, 10, TF(linked)));
    story_add_transfer(&story, pay(4, 1, 2, 10, TF(linked)));
    story_add_transfer(&story, pay(5, 1, 2, 10, 0));
    story_add_transfer(&story, pay(6, 1, 2, 100, 0));
    EXPECT_STATUSES(&story, CREATED, T(linked_event_failed), T(accounts_must_be_different), T(linked_event_failed),
                    T(linked_event_failed), CREATED);
    for (uint32_t i = 0; i < 6; i++) assert_int_equal(story.results[i].timestamp, story.timestamp - 5 + i);
    expect_balances(&story, 1, 0, 101, 0, 0);
    expect_balances(&story, 2, 0, 0, 0, 101);
    for (uint32_t id = 2; id <= 5; id++) assert_true(story_lookup_transfer(&story, id).id == 0);

    /* Their ids are free. */
    for (uint32_t id = 2; id <= 5; id++) expect_created(&story, pay(id, 1, 2, 0, 0));
    story_close(&story);
}

static void test_chain_left_open_fails_at_its_last_event(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(2, 1, 2, 1, TF(linked)));
    EXPECT_STATUSES(&story, T(linked_event_failed), T(linked_event_chain_open));
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 1, TF(linked)));
    EXPECT_STATUSES(&story, T(linked_event_chain_open));
    /* Broken already, and open still. */
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(0, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(3, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(4, 1, 2, 1, TF(linked)));
    EXPECT_STATUSES(&story, T(linked_event_failed), T(id_must_not_be_zero), T(linked_event_failed),
                    T(linked_event_chain_open));
    expect_balances(&story, 1, 0, 0, 0, 0);
    story_close(&story);
}

static void test_chain_is_broken_by_exists_and_by_an_id_that_failed(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    const uint64_t original = story_transfer(&story, pay(1, 1, 2, 1, 0)).timestamp;
    assert_int_equal(story_transfer_status(&story, pay(2, 1, 9, 1, 0)), T(credit_account_not_found));
    begin_transfers(&story);
    story_add_transfer(&story, pay(3, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(1, 1, 2, 1, 0));
    story_add_transfer(&story, pay(4, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(2, 1, 2, 1, 0));
    EXPECT_STATUSES(&story, T(linked_event_failed), T(exists), T(linked_event_failed), T(id_already_failed));
    assert_int_equal(story.results[1].timestamp, original);
    assert_int_equal(story.results[3].timestamp, story.timestamp);
    expect_balances(&story, 1, 0, 1, 0, 0);
    story_close(&story);
}

static void test_chain_never_spans_sub_batches(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 1, TF(linked)));
    story_next_batch(&story); /* an empty one */
    story_next_batch(&story);
    story_add_transfer(&story, pay(2, 1, 2, 1, 0));
    story_add_transfer(&story, pay(3, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(4, 1, 2, 1, 0));
    story_next_batch(&story);
    EXPECT_STATUSES(&story, T(linked_event_chain_open), CREATED, CREATED, CREATED);
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(story.results[i].timestamp, story.timestamp - 3 + i);
    story_close(&story);
}

/* Whether a batch is imported, and what its timestamp is, is a matter of each sub-batch. */
static void test_each_sub_batch_is_imported_or_not_by_its_own_first_event(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    story.clock += SECOND;
    const uint64_t last = story_timestamp_next(&story, 4);
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 1, 0));
    story_next_batch(&story);
    struct tael_transfer imported = pay(2, 1, 2, 1, TF(imported));
    /* Younger than its own batch, older than the request. */
    imported.timestamp = last - 1;
    story_add_transfer(&story, imported);
    story_add_transfer(&story, pay(3, 1, 2, 1, 0));
    story_next_batch(&story);
    story_add_transfer(&story, pay(4, 1, 2, 1, 0));
    EXPECT_STATUSES(&story, CREATED, T(imported_event_timestamp_must_not_advance), T(imported_event_expected), CREATED);
    story_close(&story);
}

static void test_events_of_a_chain_see_each_other_and_vanish_together(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 3);
    expect_created(&story, hold(1, 1, 2, 100, 0));
    expect_created(&story, hold(2, 1, 2, 10, 0));
    const struct tael_transfer close =
        TRANSFER(.id = 3, .debit_account_id = 3, .credit_account_id = 1, .flags = TF(pending) | TF(closing_debit));
    expect_created(&story, close);
    expect_closed(&story, 3, true);

    begin_transfers(&story);
    story_add_transfer(&story, linked(POST(.id = 10, .pending_id = 1, .amount = 60)));
    story_add_transfer(&story, linked(VOID(.id = 11, .pending_id = 3)));
    story_add_transfer(&story, pay(12, 3, 1, 7, TF(linked)));
    story_add_transfer(&story, TRANSFER(.id = 13, .debit_account_id = 2, .credit_account_id = 1, .amount = 1,
                                        .flags = TF(linked) | TF(pending) | TF(closing_credit)));
    story_add_transfer(&story, linked(VOID(.id = 14, .pending_id = 13)));
    story_add_transfer(&story, VOID(.id = 15, .pending_id = 1));
    EXPECT_STATUSES(&story, T(linked_event_failed), T(linked_event_failed), T(linked_event_failed),
                    T(linked_event_failed), T(linked_event_failed), T(pending_transfer_already_posted));
    expect_closed(&story, 3, true);
    expect_closed(&story, 1, false);
    expect_balances(&story, 1, 110, 0, 0, 0);
    expect_balances(&story, 2, 0, 0, 110, 0);
    expect_balances(&story, 3, 0, 0, 0, 0);

    /* All of it can be done afterwards. */
    expect_created(&story, VOID(.id = 15, .pending_id = 1));
    expect_created(&story, VOID(.id = 11, .pending_id = 3));
    expect_created(&story, pay(12, 3, 1, 7, 0));
    expect_balances(&story, 1, 10, 0, 0, 7);
    story_close(&story);
}

static void test_chain_of_accounts_is_rolled_back_and_its_ids_are_free(void **state) {
    (void)state;
    struct story story;
    story_open(&story, &SUBJECT);
    story_begin(&story, TAEL_OPERATION_create_accounts);
    story_add_account(&story, ACCOUNT(.id = 1, .flags = AF(linked)));
    story_add_account(&story, ACCOUNT(.id = 2, .flags = AF(linked)));
    story_add_account(&story, ACCOUNT(.id = 1, .flags = AF(linked)));
    story_add_account(&story, ACCOUNT(.id = 3));
    EXPECT_STATUSES(&story, A(linked_event_failed), A(linked_event_failed), A(exists), A(linked_event_failed));
    /* The original that it found is gone with the chain; the timestamp is what was reported. */
    assert_int_equal(story.results[2].timestamp, story.results[0].timestamp);
    assert_true(story_lookup_account(&story, 1).id == 0);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 1, .user_data_64 = 1)), CREATED);
    story_close(&story);
}

/* --- burnt ids --- */

static void test_every_transient_failure_burns_its_id(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 3);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 4, .flags = AF(closed))), CREATED);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 5, .flags = AF(debits_must_not_exceed_credits))),
                     CREATED);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 6, .flags = AF(credits_must_not_exceed_debits))),
                     CREATED);
    const struct {
        struct tael_transfer transfer;
        uint32_t status;
    } failing[] = {
        {pay(1, 9, 1, 1, 0), T(debit_account_not_found)},
        {pay(2, 1, 9, 1, 0), T(credit_account_not_found)},
        {POST(.id = 3, .pending_id = 99), T(pending_transfer_not_found)},
        {VOID(.id = 4, .pending_id = 99), T(pending_transfer_not_found)},
        {pay(5, 5, 1, 1, 0), T(exceeds_credits)},
        {pay(6, 1, 6, 1, 0), T(exceeds_debits)},
        {pay(7, 4, 1, 1, 0), T(debit_account_already_closed)},
        {pay(8, 1, 4, 1, 0), T(credit_account_already_closed)},
    };
    for (uint32_t i = 0; i < COUNT_OF(failing); i++) {
        const uint64_t transfers = story.subject->usage(story.ledger).transfers;
        assert_int_equal(story_transfer_status(&story, failing[i].transfer), failing[i].status);
        assert_int_equal(story_transfer_status(&story, failing[i].transfer), T(id_already_failed));
        /* A good one with that id fails too, whatever its kind; one with a broken flag fails for that first. */
        assert_int_equal(story_transfer_status(&story, pay(failing[i].transfer.id, 1, 2, 1, 0)), T(id_already_failed));
        assert_int_equal(story_transfer_status(&story, hold(failing[i].transfer.id, 1, 2, 1, 0)), T(id_already_failed));
        assert_int_equal(story_transfer_status(&story, pay(failing[i].transfer.id, 1, 2, 1, 1u << 12)),
                         T(reserved_flag));
        assert_int_equal(story.subject->usage(story.ledger).transfers, transfers + 1);
        assert_true(story_lookup_transfer(&story, failing[i].transfer.id).id == 0);
        /* Nor is it something that could be posted. */
        assert_int_equal(story_transfer_status(&story, POST(.id = 100 + i, .pending_id = failing[i].transfer.id)),
                         T(pending_transfer_not_found));
    }
    story_close(&story);
}

static void test_other_failures_leave_the_id_free(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    expect_created(&story, hold(50, 1, 2, 10, 0));
    const struct {
        struct tael_transfer transfer;
        uint32_t status;
    } failing[] = {
        {pay(1, 1, 1, 1, 0), T(accounts_must_be_different)},
        {TRANSFER(.id = 1, .debit_account_id = 1, .credit_account_id = 2, .timeout = 1),
         T(timeout_reserved_for_pending_transfer)},
        {POST(.id = 1, .pending_id = 50, .amount = 11), T(exceeds_pending_transfer_amount)},
        {VOID(.id = 1, .pending_id = 50, .amount = 9), T(pending_transfer_has_different_amount)},
        {POST(.id = 1), T(pending_id_must_not_be_zero)},
        {pay(1, 1, 2, 1, TF(linked)), T(linked_event_chain_open)},
    };
    for (uint32_t i = 0; i < COUNT_OF(failing); i++) {
        assert_int_equal(story_transfer_status(&story, failing[i].transfer), failing[i].status);
    }
    expect_created(&story, pay(1, 1, 2, 1, 0));
    story_close(&story);
}

static void test_chain_burns_the_id_of_the_event_that_broke_it_and_no_other(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(2, 1, 9, 1, TF(linked)));
    story_add_transfer(&story, pay(3, 9, 1, 1, TF(linked)));
    story_add_transfer(&story, pay(4, 1, 2, 1, 0));
    EXPECT_STATUSES(&story, T(linked_event_failed), T(credit_account_not_found), T(linked_event_failed),
                    T(linked_event_failed));
    assert_int_equal(story.subject->usage(story.ledger).transfers, 1);
    begin_transfers(&story);
    story_add_transfer(&story, pay(1, 1, 2, 1, 0));
    story_add_transfer(&story, pay(2, 1, 2, 1, 0));
    story_add_transfer(&story, pay(3, 1, 2, 1, 0));
    story_add_transfer(&story, pay(4, 1, 2, 1, 0));
    EXPECT_STATUSES(&story, CREATED, T(id_already_failed), CREATED, CREATED);
    /* An id that is taken back and used by a later event of the same request is free for it. */
    begin_transfers(&story);
    story_add_transfer(&story, pay(10, 1, 2, 1, TF(linked)));
    story_add_transfer(&story, pay(0, 1, 2, 1, 0));
    story_add_transfer(&story, pay(10, 1, 2, 3, 0));
    EXPECT_STATUSES(&story, T(linked_event_failed), T(id_must_not_be_zero), CREATED);
    story_close(&story);
}

/* --- two phases --- */

static void test_post_releases_everything_and_moves_what_it_says(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    for (uint32_t i = 0; i < 4; i++) {
        struct tael_transfer pending = hold(10 + i, 1, 2, 100, 0);
        pending.user_data_128 = 7;
        pending.user_data_64 = 8;
        pending.user_data_32 = 9;
        expect_created(&story, pending);
    }
    expect_balances(&story, 1, 400, 0, 0, 0);
    expect_created(&story, POST(.id = 20, .pending_id = 10, .amount = 30, .user_data_64 = 80));
    expect_balances(&story, 1, 300, 30, 0, 0);
    expect_created(&story, POST(.id = 21, .pending_id = 11, .amount = TAEL_U128_MAX));
    expect_balances(&story, 1, 200, 130, 0, 0);
    expect_created(&story, POST(.id = 22, .pending_id = 12)); /* zero is zero */
    expect_balances(&story, 1, 100, 130, 0, 0);
    expect_created(&story, VOID(.id = 23, .pending_id = 13));
    expect_balances(&story, 1, 0, 130, 0, 0);
    expect_balances(&story, 2, 0, 0, 0, 130);

    const struct tael_transfer post = story_lookup_transfer(&story, 20);
    assert_true(post.debit_account_id == 1);
    assert_true(post.credit_account_id == 2);
    assert_true(post.amount == 30);
    assert_true(post.pending_id == 10);
    assert_true(post.user_data_128 == 7);
    assert_int_equal(post.user_data_64, 80);
    assert_int_equal(post.user_data_32, 9);
    assert_int_equal(post.ledger, 1);
    assert_int_equal(post.code, 1);
    assert_int_equal(post.timeout, 0);
    assert_int_equal(post.flags, TF(post_pending_transfer));
    assert_true(story_lookup_transfer(&story, 21).amount == 100);
    assert_true(story_lookup_transfer(&story, 22).amount == 0);
    assert_true(story_lookup_transfer(&story, 23).amount == 100);

    assert_int_equal(story_transfer_status(&story, POST(.id = 30, .pending_id = 10)),
                     T(pending_transfer_already_posted));
    assert_int_equal(story_transfer_status(&story, VOID(.id = 30, .pending_id = 12)),
                     T(pending_transfer_already_posted));
    assert_int_equal(story_transfer_status(&story, POST(.id = 30, .pending_id = 13)),
                     T(pending_transfer_already_voided));
    story_close(&story);
}

/* Posted less than was held, a limited account has room again; a void gives all of it back. */
static void test_limits_count_what_is_pending(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 1);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 2, .flags = AF(debits_must_not_exceed_credits))),
                     CREATED);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 3, .flags = AF(credits_must_not_exceed_debits))),
                     CREATED);
    expect_created(&story, pay(1, 1, 2, 100, 0));
    expect_created(&story, hold(2, 1, 2, 1000, 0)); /* credits still to come do not count */
    expect_created(&story, hold(3, 2, 1, 60, 0));
    assert_int_equal(story_transfer_status(&story, pay(4, 2, 1, 41, 0)), T(exceeds_credits));
    assert_int_equal(story_transfer_status(&story, hold(5, 2, 1, 41, 0)), T(exceeds_credits));
    expect_created(&story, pay(6, 2, 1, 40, 0));
    assert_int_equal(story_transfer_status(&story, pay(7, 2, 1, 1, 0)), T(exceeds_credits));
    expect_created(&story, pay(8, 2, 1, 0, 0));
    expect_created(&story, POST(.id = 9, .pending_id = 3, .amount = 50));
    expect_created(&story, pay(10, 2, 1, 10, 0));
    assert_int_equal(story_transfer_status(&story, pay(11, 2, 1, 1, 0)), T(exceeds_credits));

    expect_created(&story, pay(12, 3, 1, 100, 0));
    expect_created(&story, hold(13, 1, 3, 100, 0));
    assert_int_equal(story_transfer_status(&story, pay(14, 1, 3, 1, 0)), T(exceeds_debits));
    expect_created(&story, VOID(.id = 15, .pending_id = 13));
    expect_created(&story, pay(16, 1, 3, 100, 0));
    story_close(&story);
}

static void test_post_at_the_moment_of_expiry_is_too_late(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    const uint64_t early = story_transfer(&story, hold(1, 1, 2, 10, 1)).timestamp + SECOND;
    const uint64_t late = story_transfer(&story, hold(2, 1, 2, 20, 1)).timestamp + SECOND;
    assert_int_equal(late - early, 2);
    assert_int_equal(story.subject->usage(story.ledger).expiry_next, early);
    story.clock = early - 2; /* the next event is one ns before */
    expect_created(&story, POST(.id = 3, .pending_id = 1, .amount = 10));
    assert_int_equal(story.timestamp, early - 1);
    assert_int_equal(story.subject->usage(story.ledger).expiry_next, late);
    story.clock = late - 1;
    assert_int_equal(story_transfer_status(&story, POST(.id = 4, .pending_id = 2)), T(pending_transfer_expired));
    assert_int_equal(story.timestamp, late);
    assert_int_equal(story_transfer_status(&story, VOID(.id = 4, .pending_id = 2)), T(pending_transfer_expired));
    /* Balances lag until the pulse has run. */
    expect_balances(&story, 1, 20, 10, 0, 0);
    story_pulse(&story);
    expect_balances(&story, 1, 0, 10, 0, 0);
    assert_int_equal(story.subject->usage(story.ledger).expiry_next, UINT64_MAX);
    assert_int_equal(story_transfer_status(&story, VOID(.id = 4, .pending_id = 2)), T(pending_transfer_expired));
    /* Not burnt by any of it. */
    expect_created(&story, pay(4, 1, 2, 1, 0));
    story_close(&story);
}

static void test_imported_post_is_too_late_by_its_sequenced_timestamp(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    const uint64_t held = story_transfer(&story, hold(1, 1, 2, 10, 1)).timestamp;
    story.clock = held + SECOND;
    struct tael_transfer post = POST(.id = 2, .pending_id = 1, .amount = 1, .timestamp = held + 1);
    post.flags |= TF(imported);
    assert_int_equal(story_transfer_status(&story, post), T(pending_transfer_expired));
    story_close(&story);
}

/* A pulse reaches what was due 8190 ns before its own timestamp, and not a ns more. */
static void test_pulse_expires_what_is_due_at_its_first_timestamp(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    expect_created(&story, hold(1, 1, 2, 10, 1));
    const uint64_t second = story_transfer(&story, hold(2, 1, 2, 20, 1)).timestamp + SECOND;
    story.clock = second - 1;
    story_pulse(&story);
    assert_int_equal(story.timestamp, second - 1 + TAEL_EXPIRIES_MAX);
    expect_balances(&story, 1, 20, 0, 0, 0);
    assert_int_equal(story.subject->usage(story.ledger).expiry_next, second);
    story_pulse(&story);
    expect_balances(&story, 1, 0, 0, 0, 0);
    story_close(&story);
}

static void test_pulse_expires_in_order_of_expiry_then_timestamp(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    expect_created(&story, hold(1, 1, 2, 1, 3));
    expect_created(&story, hold(2, 1, 2, 2, 1));
    expect_created(&story, hold(3, 1, 2, 4, 0));
    expect_created(&story, hold(4, 1, 2, 8, 2));
    begin_transfers(&story);
    story_add_transfer(&story, hold(5, 1, 2, 16, 1));
    story_add_transfer(&story, hold(6, 1, 2, 32, 1));
    story_send(&story);
    expect_created(&story, VOID(.id = 7, .pending_id = 5));
    story.clock += 10 * SECOND;
    story_pulse(&story);
    expect_balances(&story, 1, 4, 0, 0, 0);

    /* The four events of expiry, with timestamps from the first that the pulse reserved. */
    const uint64_t base = story.timestamp - TAEL_EXPIRIES_MAX;
    const struct tael_change_events_filter filter = {.timestamp_min = base, .limit = 10};
    assert_int_equal(story_read(&story, TAEL_OPERATION_get_change_events, &filter), 4);
    static const uint32_t order[] = {2, 6, 4, 1};
    static const uint32_t left[] = {45, 13, 5, 4};
    struct tael_change_event events[4];
    memcpy(events, story.reply, sizeof events);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(events[i].type, TAEL_CHANGE_TWO_PHASE_EXPIRED);
        assert_true(events[i].transfer_id == order[i]);
        assert_true(events[i].debit_account.debits_pending == left[i]);
        assert_true(events[i].credit_account.credits_pending == left[i]);
        assert_int_equal(events[i].timestamp, base + 1 + i);
        assert_int_equal(events[i].transfer_timestamp, story_lookup_transfer(&story, order[i]).timestamp);
    }
    story_close(&story);
}

static void test_pulse_expires_8190_at_most(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    uint32_t id = 1;
    for (uint32_t request = 0; request < 2; request++) {
        begin_transfers(&story);
        for (uint32_t i = 0; i < 4100; i++) story_add_transfer(&story, hold(id++, 1, 2, 1, 1));
        story_send(&story);
    }
    expect_balances(&story, 1, 8200, 0, 0, 0);
    story.clock += 10 * SECOND;
    story_pulse(&story);
    expect_balances(&story, 1, 10, 0, 0, 0);
    assert_true(story.subject->usage(story.ledger).expiry_next < story.timestamp);
    story_pulse(&story);
    expect_balances(&story, 1, 0, 0, 0, 0);
    expect_balances(&story, 2, 0, 0, 0, 0);
    story_close(&story);
}

static void test_timeout_may_reach_the_end_of_time_and_not_beyond(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    const uint64_t longest = (uint64_t)UINT32_MAX * SECOND;
    story.clock = TAEL_TIMESTAMP_MAX - longest - 1;
    assert_int_equal(story_timestamp_next(&story, 1) + longest, TAEL_TIMESTAMP_MAX);
    expect_created(&story, hold(1, 1, 2, 1, UINT32_MAX));
    assert_int_equal(story.subject->usage(story.ledger).expiry_next, TAEL_TIMESTAMP_MAX);
    assert_int_equal(story_transfer_status(&story, hold(2, 1, 2, 1, UINT32_MAX)), T(overflows_timeout));
    expect_created(&story, hold(2, 1, 2, 1, UINT32_MAX - 1));
    story_close(&story);
}

/* --- balancing --- */

static void test_balancing_moves_what_there_is(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 4);
    expect_created(&story, pay(1, 3, 1, 100, 0));
    expect_created(&story, hold(2, 1, 3, 30, 0));
    expect_created(&story, pay(3, 1, 3, 20, 0)); /* 50 left of account 1's credits */
    expect_created(&story, pay(4, 2, 3, 40, 0)); /* 40 of debits for account 2 to balance */

    /* Less than there is is moved as asked. */
    expect_created(&story, pay(10, 1, 4, 8, TF(balancing_debit)));
    assert_true(story_lookup_transfer(&story, 10).amount == 8);
    /* The smaller of both where both balance. */
    expect_created(&story, pay(11, 1, 2, TAEL_U128_MAX, TF(balancing_debit) | TF(balancing_credit)));
    assert_true(story_lookup_transfer(&story, 11).amount == 40);
    expect_created(&story, pay(12, 1, 4, 1000, TF(balancing_debit)));
    assert_true(story_lookup_transfer(&story, 12).amount == 2);
    /* Nothing left succeeds with nothing. */
    expect_created(&story, pay(13, 1, 4, TAEL_U128_MAX, TF(balancing_debit)));
    assert_true(story_lookup_transfer(&story, 13).amount == 0);
    expect_created(&story, pay(14, 4, 2, 5, TF(balancing_credit)));
    assert_true(story_lookup_transfer(&story, 14).amount == 0);
    expect_created(&story, pay(15, 1, 2, 0, TF(balancing_debit)));
    /* So does an account that is overdrawn: floored at zero. */
    expect_created(&story, pay(16, 1, 4, 7, 0));
    expect_created(&story, pay(17, 1, 4, 7, TF(balancing_debit)));
    assert_true(story_lookup_transfer(&story, 17).amount == 0);
    expect_balances(&story, 1, 30, 20 + 8 + 40 + 2 + 7, 0, 100);
    story_close(&story);
}

static void test_balancing_pending_holds_what_there_is(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 3);
    expect_created(&story, pay(1, 3, 1, 100, 0));
    struct tael_transfer balancing = hold(2, 1, 2, TAEL_U128_MAX, 0);
    balancing.flags |= TF(balancing_debit);
    expect_created(&story, balancing);
    expect_balances(&story, 1, 100, 0, 0, 100);
    expect_created(&story, POST(.id = 3, .pending_id = 2, .amount = TAEL_U128_MAX));
    expect_balances(&story, 1, 0, 100, 0, 100);
    expect_balances(&story, 2, 0, 0, 0, 100);
    story_close(&story);
}

/* --- closing --- */

static void test_closed_account_refuses_all_but_voids(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 3);
    expect_created(&story, hold(1, 1, 2, 10, 0));
    expect_created(&story, hold(2, 2, 1, 20, 0));
    expect_created(&story, TRANSFER(.id = 3, .debit_account_id = 1, .credit_account_id = 3, .amount = 5,
                                    .flags = TF(pending) | TF(closing_debit)));
    expect_closed(&story, 1, true);
    expect_closed(&story, 3, false);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 1, .flags = AF(history))),
                     A(exists_with_different_flags));
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 1, .flags = AF(history) | AF(closed))), A(exists));
    assert_int_equal(story_transfer_status(&story, pay(10, 1, 2, 1, 0)), T(debit_account_already_closed));
    assert_int_equal(story_transfer_status(&story, pay(11, 2, 1, 1, 0)), T(credit_account_already_closed));
    assert_int_equal(story_transfer_status(&story, POST(.id = 12, .pending_id = 1)), T(debit_account_already_closed));
    assert_int_equal(story_transfer_status(&story, POST(.id = 13, .pending_id = 2)), T(credit_account_already_closed));
    assert_int_equal(story_transfer_status(&story, POST(.id = 14, .pending_id = 3)), T(debit_account_already_closed));
    /* Voids of others go through and open nothing. */
    expect_created(&story, VOID(.id = 15, .pending_id = 1));
    expect_created(&story, VOID(.id = 16, .pending_id = 2));
    expect_closed(&story, 1, true);
    expect_created(&story, VOID(.id = 17, .pending_id = 3));
    expect_closed(&story, 1, false);
    expect_created(&story, pay(18, 1, 2, 1, 0));
    story_close(&story);
}

static void test_expiry_reopens_what_a_closing_closed(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 4);
    expect_created(&story, hold(1, 3, 4, 5, 1));
    expect_created(&story, TRANSFER(.id = 2, .debit_account_id = 1, .credit_account_id = 2, .timeout = 1,
                                    .flags = TF(pending) | TF(closing_debit) | TF(closing_credit)));
    expect_created(&story, TRANSFER(.id = 3, .debit_account_id = 3, .credit_account_id = 4, .timeout = 100,
                                    .flags = TF(pending) | TF(closing_credit)));
    expect_closed(&story, 1, true);
    expect_closed(&story, 2, true);
    expect_closed(&story, 4, true);
    story.clock += 5 * SECOND;
    story_pulse(&story);
    expect_closed(&story, 1, false);
    expect_closed(&story, 2, false);
    /* One that expires in a closed account gives back its amount and opens nothing. */
    expect_closed(&story, 4, true);
    expect_balances(&story, 4, 0, 0, 0, 0);
    expect_created(&story, pay(10, 1, 2, 1, 0));
    story_close(&story);
}

static void test_account_that_is_created_closed_stays_closed(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 1);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 2, .flags = AF(closed))), CREATED);
    expect_closed(&story, 2, true);
    assert_int_equal(story_transfer_status(&story, TRANSFER(.id = 1, .debit_account_id = 2, .credit_account_id = 1,
                                                            .flags = TF(pending) | TF(closing_debit))),
                     T(debit_account_already_closed));
    story_close(&story);
}

/* --- imports --- */

static struct tael_transfer past(tael_u128 id, uint64_t timestamp, uint16_t flags) {
    return TRANSFER(.id = id, .debit_account_id = 1, .credit_account_id = 2, .amount = 1,
                    .flags = (uint16_t)(TF(imported) | flags), .timestamp = timestamp);
}

static struct tael_account past_account(tael_u128 id, uint64_t timestamp, uint16_t flags) {
    return ACCOUNT(.id = id, .flags = (uint16_t)(AF(imported) | flags), .timestamp = timestamp);
}

static void test_imported_timestamps_rise_within_their_kind_and_collide_with_none_of_the_other(void **state) {
    (void)state;
    struct story story;
    story_open(&story, &SUBJECT);
    story_begin(&story, TAEL_OPERATION_create_accounts);
    story_add_account(&story, past_account(1, 100, 0));
    story_add_account(&story, past_account(2, 200, 0));
    story_add_account(&story, past_account(3, 200, 0));
    story_add_account(&story, past_account(4, 150, 0));
    story_add_account(&story, past_account(5, 300, 0));
    EXPECT_STATUSES(&story, CREATED, CREATED, A(imported_event_timestamp_must_not_regress),
                    A(imported_event_timestamp_must_not_regress), CREATED);
    assert_int_equal(story.results[0].timestamp, 100);
    assert_int_equal(story.results[1].timestamp, 200);
    assert_int_equal(story.results[2].timestamp, story.timestamp - 2);
    assert_int_equal(story.results[4].timestamp, 300);

    begin_transfers(&story);
    story_add_transfer(&story, past(1, 150, 0)); /* younger than account 1, older than account 2 */
    story_add_transfer(&story, past(2, 100, 0)); /* an account's own */
    story_add_transfer(&story, past(3, 300, 0)); /* an account's own */
    story_add_transfer(&story, past(4, 250, 0)); /* older than account 5, which is not in it */
    story_add_transfer(&story, past(5, 250, 0));
    story_add_transfer(&story, past(6, 400, 0));
    EXPECT_STATUSES(&story, T(imported_event_timestamp_must_postdate_credit_account),
                    T(imported_event_timestamp_must_not_regress), T(imported_event_timestamp_must_not_regress), CREATED,
                    T(imported_event_timestamp_must_not_regress), CREATED);
    assert_int_equal(story.results[3].timestamp, 250);
    assert_int_equal(story_lookup_transfer(&story, 4).timestamp, 250);

    story_begin(&story, TAEL_OPERATION_create_accounts);
    story_add_account(&story, past_account(6, 400, 0)); /* a transfer's own */
    story_add_account(&story, past_account(7, 401, 0));
    EXPECT_STATUSES(&story, A(imported_event_timestamp_must_not_regress), CREATED);

    /* Once something happened today, the past of its kind is closed. */
    expect_created(&story, pay(7, 1, 2, 1, 0));
    assert_int_equal(story_transfer_status(&story, past(8, 500, 0)), T(imported_event_timestamp_must_not_regress));
    assert_int_equal(story_account_status(&story, past_account(8, 500, 0)), CREATED);
    /* `exists` comes before, with the original's timestamp. */
    const struct tael_create_result again = story_transfer(&story, past(6, 400, 0));
    assert_int_equal(again.status, T(exists));
    assert_int_equal(again.timestamp, 400);
    const struct tael_create_result elsewhen = story_transfer(&story, past(6, 7, 0));
    assert_int_equal(elsewhen.status, T(exists));
    assert_int_equal(elsewhen.timestamp, 400);
    story_close(&story);
}

static void test_imported_chain_that_breaks_keeps_its_timestamps_and_frees_them(void **state) {
    (void)state;
    struct story story;
    story_open(&story, &SUBJECT);
    story_begin(&story, TAEL_OPERATION_create_accounts);
    story_add_account(&story, past_account(1, 100, AF(linked)));
    story_add_account(&story, past_account(2, 200, AF(linked)));
    story_add_account(&story, past_account(3, 0, AF(linked)));
    story_add_account(&story, past_account(4, 300, 0));
    story_add_account(&story, past_account(1, 50, 0));
    story_add_account(&story, past_account(2, 60, 0));
    EXPECT_STATUSES(&story, A(linked_event_failed), A(linked_event_failed), A(imported_event_timestamp_out_of_range),
                    A(linked_event_failed), CREATED, CREATED);
    assert_int_equal(story.results[0].timestamp, 100);
    assert_int_equal(story.results[1].timestamp, 200);
    assert_int_equal(story.results[2].timestamp, story.timestamp - 3);
    assert_int_equal(story.results[3].timestamp, story.timestamp - 2);

    begin_transfers(&story);
    story_add_transfer(&story, past(1, 500, TF(linked)));
    story_add_transfer(&story, past(2, 600, TF(linked)));
    story_add_transfer(&story, past(3, 600, 0));
    story_add_transfer(&story, past(4, 90, 0));
    EXPECT_STATUSES(&story, T(linked_event_failed), T(linked_event_failed),
                    T(imported_event_timestamp_must_not_regress), CREATED);
    assert_int_equal(story.results[0].timestamp, 500);
    assert_int_equal(story.results[1].timestamp, 600);
    story_close(&story);
}

static void test_imported_pending_is_posted_by_an_imported_post(void **state) {
    (void)state;
    struct story story;
    story_open(&story, &SUBJECT);
    assert_int_equal(story_account_status(&story, past_account(1, 100, 0)), CREATED);
    assert_int_equal(story_account_status(&story, past_account(2, 200, 0)), CREATED);
    struct tael_transfer pending = past(1, 300, TF(pending));
    pending.timeout = 1;
    assert_int_equal(story_transfer_status(&story, pending), T(imported_event_timeout_must_be_zero));
    pending.timeout = 0;
    expect_created(&story, pending);
    struct tael_transfer post = POST(.id = 2, .pending_id = 1, .amount = TAEL_U128_MAX, .timestamp = 300);
    post.flags |= TF(imported);
    assert_int_equal(story_transfer_status(&story, post), T(imported_event_timestamp_must_not_regress));
    post.timestamp = 301;
    const struct tael_create_result posted = story_transfer(&story, post);
    assert_int_equal(posted.status, CREATED);
    assert_int_equal(posted.timestamp, 301);
    assert_int_equal(story_lookup_transfer(&story, 2).timestamp, 301);
    story_close(&story);
}

/* --- beyond 64 bits --- */

static void test_balances_grow_beyond_64_bits_and_shrink_again(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    expect_created(&story, pay(1, 1, 2, TWO_64 - 1, 0));
    expect_created(&story, pay(2, 1, 2, 1, 0));
    expect_balances(&story, 1, 0, TWO_64, 0, 0);
    expect_created(&story, hold(3, 1, 2, TWO_64 * 5, 0));
    expect_created(&story, hold(4, 2, 1, TWO_64 - 1, 0));
    expect_created(&story, hold(5, 2, 1, 2, 0));
    expect_balances(&story, 1, TWO_64 * 5, TWO_64, TWO_64 + 1, 0);
    expect_created(&story, POST(.id = 6, .pending_id = 3, .amount = 3));
    expect_created(&story, VOID(.id = 7, .pending_id = 4));
    expect_balances(&story, 1, 0, TWO_64 + 3, 2, 0);
    /* A chain takes it back too. */
    begin_transfers(&story);
    story_add_transfer(&story, pay(8, 2, 1, TAEL_U128_MAX / 2, TF(linked)));
    story_add_transfer(&story, pay(9, 1, 1, 1, 0));
    EXPECT_STATUSES(&story, T(linked_event_failed), T(accounts_must_be_different));
    expect_balances(&story, 1, 0, TWO_64 + 3, 2, 0);
    assert_true(story.subject->balanced(story.ledger));
    story_close(&story);
}

static void test_sums_may_reach_128_bits_and_not_beyond(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 4);
    const tael_u128 max = TAEL_U128_MAX;
    expect_created(&story, hold(1, 1, 2, 10, 0));
    assert_int_equal(story_transfer_status(&story, pay(2, 1, 3, max - 9, 0)), T(overflows_debits));
    assert_int_equal(story_transfer_status(&story, hold(2, 1, 3, max - 9, 0)), T(overflows_debits_pending));
    assert_int_equal(story_transfer_status(&story, pay(2, 3, 2, max - 9, 0)), T(overflows_credits));
    assert_int_equal(story_transfer_status(&story, hold(2, 3, 2, max - 9, 0)), T(overflows_credits_pending));
    expect_created(&story, pay(2, 1, 3, max - 10, 0));
    assert_int_equal(story_transfer_status(&story, pay(3, 1, 4, 1, 0)), T(overflows_debits));
    assert_int_equal(story_transfer_status(&story, pay(3, 1, 4, 11, 0)), T(overflows_debits_posted));
    assert_int_equal(story_transfer_status(&story, hold(3, 1, 4, 11, 0)), T(overflows_debits_posted));
    assert_int_equal(story_transfer_status(&story, pay(3, 4, 3, 11, 0)), T(overflows_credits_posted));
    expect_created(&story, pay(3, 1, 4, 0, 0));
    /* The whole of it can be posted, and balances stay what they are. */
    expect_created(&story, POST(.id = 4, .pending_id = 1, .amount = max));
    expect_balances(&story, 1, 0, max, 0, 0);
    assert_int_equal(story_transfer_status(&story, pay(5, 1, 4, 1, 0)), T(overflows_debits_posted));
    /* Limits in the same range. */
    expect_created(&story, pay(5, 4, 1, max, TF(balancing_credit)));
    expect_balances(&story, 1, 0, max, 0, max);
    story_close(&story);
}

/* Whatever a broken chain took is given back: a ledger with room for 16 transfers breaks a thousand of them. */
static void test_broken_chains_cost_no_room(void **state) {
    (void)state;
    struct story story;
    const struct subject_options options = {.accounts_max = 16, .transfers_max = 16};
    story_open_with(&story, &SUBJECT, &options);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 1)), CREATED);
    assert_int_equal(story_account_status(&story, ACCOUNT(.id = 2)), CREATED);
    for (uint32_t round = 0; round < 1000; round++) {
        begin_transfers(&story);
        for (uint32_t i = 0; i < 8; i++) {
            struct tael_transfer transfer = pay(round * 8 + i + 1, 1, 2, TWO_64 * (i % 2), TF(linked));
            if (i % 3 == 2) transfer.flags |= TF(pending);
            story_add_transfer(&story, transfer);
        }
        story_add_transfer(&story, pay(0, 1, 2, 1, 0));
        story_send(&story);
        assert_int_equal(story.results[0].status, T(linked_event_failed));
        assert_int_equal(story.results[8].status, T(id_must_not_be_zero));
    }
    assert_int_equal(story.subject->usage(story.ledger).transfers, 0);
    assert_int_equal(story.subject->usage(story.ledger).expiry_next, UINT64_MAX);

    /* Fourteen pending and two burnt ids fill it; their expiry needs no room, though each leaves an event. */
    begin_transfers(&story);
    for (uint32_t i = 0; i < 14; i++) story_add_transfer(&story, hold(i + 1, 1, 2, TWO_64, 1));
    story_add_transfer(&story, pay(15, 9, 2, 1, 0));
    story_add_transfer(&story, pay(16, 1, 9, 1, 0));
    story_send(&story);
    assert_int_equal(story.subject->usage(story.ledger).transfers, 16);
    story.clock += 10 * SECOND;
    story_pulse(&story);
    expect_balances(&story, 1, 0, 0, 0, 0);
    const struct tael_change_events_filter filter = {.limit = 100};
    assert_int_equal(story_read(&story, TAEL_OPERATION_get_change_events, &filter), 28);
    story_close(&story);
}

/* --- requests --- */

static void test_other_operations_move_only_op_and_timestamp(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    static const uint8_t operations[] = {TAEL_OPERATION_register, TAEL_OPERATION_evict};
    for (uint32_t i = 0; i < COUNT_OF(operations); i++) {
        story_begin(&story, operations[i]);
        story.request->batch_count = 0;
        story_send(&story);
        assert_int_equal(story.subject->usage(story.ledger).op, story.op);
        assert_int_equal(story.subject->usage(story.ledger).timestamp, story.timestamp);
    }
    begin_transfers(&story); /* without events */
    story_send(&story);
    assert_int_equal(story.subject->usage(story.ledger).op, story.op);
    begin_transfers(&story); /* three batches without events */
    story_next_batch(&story);
    story_next_batch(&story);
    story_send(&story);
    story_pulse(&story); /* nothing is due */
    assert_int_equal(story.subject->usage(story.ledger).timestamp, story.timestamp);
    assert_int_equal(story.subject->usage(story.ledger).accounts, 2);
    assert_int_equal(story.subject->usage(story.ledger).transfers, 0);
    story_close(&story);
}

static void test_sparse_operations_follow_the_same_rules(void **state) {
    (void)state;
    struct story story;
    story_open(&story, &SUBJECT);
    story_begin(&story, TAEL_OPERATION_create_accounts_sparse);
    story_add_account(&story, ACCOUNT(.id = 1));
    story_add_account(&story, ACCOUNT(.id = 1));
    story_add_account(&story, ACCOUNT(.id = 2));
    EXPECT_STATUSES(&story, CREATED, A(exists), CREATED);
    story_begin(&story, TAEL_OPERATION_create_transfers_sparse);
    story_add_transfer(&story, pay(1, 1, 2, 3, TF(linked)));
    story_add_transfer(&story, pay(2, 1, 2, 3, 0));
    story_add_transfer(&story, pay(3, 1, 9, 3, 0));
    EXPECT_STATUSES(&story, CREATED, CREATED, T(credit_account_not_found));
    expect_balances(&story, 1, 0, 6, 0, 0);
    story_close(&story);
}

static void test_largest_request_is_applied_whole(void **state) {
    (void)state;
    struct story story;
    open_with(&story, 2);
    begin_transfers(&story);
    for (uint32_t i = 0; i < TAEL_EVENTS_MAX; i++) {
        const uint16_t flags = i + 1 < TAEL_EVENTS_MAX ? TF(linked) : 0;
        story_add_transfer(&story, pay(i + 1, 1, 2, 1, flags));
    }
    story_send(&story);
    for (uint32_t i = 0; i < TAEL_EVENTS_MAX; i++) assert_int_equal(story.results[i].status, CREATED);
    expect_balances(&story, 1, 0, TAEL_EVENTS_MAX, 0, 0);
    /* The same again as one chain: the first exists, so it breaks at once. */
    story_send(&story);
    assert_int_equal(story.results[0].status, T(exists));
    for (uint32_t i = 1; i < TAEL_EVENTS_MAX; i++) assert_int_equal(story.results[i].status, T(linked_event_failed));
    expect_balances(&story, 1, 0, TAEL_EVENTS_MAX, 0, 0);
    story_close(&story);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_succeeds_whole),
        cmocka_unit_test(test_chain_that_breaks_in_the_middle_is_rolled_back_whole),
        cmocka_unit_test(test_chain_left_open_fails_at_its_last_event),
        cmocka_unit_test(test_chain_is_broken_by_exists_and_by_an_id_that_failed),
        cmocka_unit_test(test_chain_never_spans_sub_batches),
        cmocka_unit_test(test_each_sub_batch_is_imported_or_not_by_its_own_first_event),
        cmocka_unit_test(test_events_of_a_chain_see_each_other_and_vanish_together),
        cmocka_unit_test(test_chain_of_accounts_is_rolled_back_and_its_ids_are_free),
        cmocka_unit_test(test_every_transient_failure_burns_its_id),
        cmocka_unit_test(test_other_failures_leave_the_id_free),
        cmocka_unit_test(test_chain_burns_the_id_of_the_event_that_broke_it_and_no_other),
        cmocka_unit_test(test_post_releases_everything_and_moves_what_it_says),
        cmocka_unit_test(test_limits_count_what_is_pending),
        cmocka_unit_test(test_post_at_the_moment_of_expiry_is_too_late),
        cmocka_unit_test(test_imported_post_is_too_late_by_its_sequenced_timestamp),
        cmocka_unit_test(test_pulse_expires_what_is_due_at_its_first_timestamp),
        cmocka_unit_test(test_pulse_expires_in_order_of_expiry_then_timestamp),
        cmocka_unit_test(test_pulse_expires_8190_at_most),
        cmocka_unit_test(test_timeout_may_reach_the_end_of_time_and_not_beyond),
        cmocka_unit_test(test_balancing_moves_what_there_is),
        cmocka_unit_test(test_balancing_pending_holds_what_there_is),
        cmocka_unit_test(test_closed_account_refuses_all_but_voids),
        cmocka_unit_test(test_expiry_reopens_what_a_closing_closed),
        cmocka_unit_test(test_account_that_is_created_closed_stays_closed),
        cmocka_unit_test(test_imported_timestamps_rise_within_their_kind_and_collide_with_none_of_the_other),
        cmocka_unit_test(test_imported_chain_that_breaks_keeps_its_timestamps_and_frees_them),
        cmocka_unit_test(test_imported_pending_is_posted_by_an_imported_post),
        cmocka_unit_test(test_balances_grow_beyond_64_bits_and_shrink_again),
        cmocka_unit_test(test_sums_may_reach_128_bits_and_not_beyond),
        cmocka_unit_test(test_broken_chains_cost_no_room),
        cmocka_unit_test(test_other_operations_move_only_op_and_timestamp),
        cmocka_unit_test(test_sparse_operations_follow_the_same_rules),
        cmocka_unit_test(test_largest_request_is_applied_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
