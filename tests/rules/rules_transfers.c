/* The rules of create_transfers: every status once, in the order of the checks, each before its successors. Plain and
 * pending transfers have one table, posts and voids another, and each kind of transfer that exists already one more. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/rules/rule_table.h"

extern const struct subject SUBJECT;

#define T(name) TAEL_TRANSFER_##name
#define SETS(name) TRANSFER_FIELD(name)
#define TF(name) TAEL_TRANSFER_FLAG_##name
#define AF(name) TAEL_ACCOUNT_FLAG_##name
#define POSTING TF(post_pending_transfer)
#define VOIDING TF(void_pending_transfer)

/* A timeout that overflows at the clock of the tables: half of what 63 bits of ns can hold. */
#define CLOCK_LATE 5000000000000000000ull

enum account_id {
    PLAIN_DEBIT = 1,
    PLAIN_CREDIT,
    OTHER_LEDGER,
    CLOSED_DEBIT,
    CLOSED_CREDIT,
    LIMITED_DEBIT,
    LIMITED_CREDIT,
    CLOSED_LIMITED_DEBIT,
    CLOSED_LIMITED_CREDIT,
    BANK_A,
    BANK_B,
    DEBITS_PENDING_10,
    CREDITS_PENDING_10,
    DEBITS_POSTED_10,
    CREDITS_POSTED_10,
    DEBITS_BOTH_10,
    CREDITS_BOTH_10,
    DEBITS_POSTED_30,
    CREDITS_POSTED_30,
    CLOSING_DEBIT,
    CLOSING_CREDIT,
    YOUNG_DEBIT, /* made after the last transfer */
    YOUNG_CREDIT,
    MISSING,
};

enum transfer_id {
    ID_KNOWN = 100, /* its flags are like no row's */
    ID_BURNT,
    ID_FUNDING, /* and the ones that follow */
    PENDING_100 = 200, /* PLAIN_DEBIT to PLAIN_CREDIT */
    PENDING_POSTED,
    PENDING_VOIDED,
    PENDING_EXPIRED,
    PENDING_DUE,
    PENDING_CLOSED_DEBIT,
    PENDING_CLOSED_CREDIT,
    PENDING_CLOSED_BOTH,
    NEVER_PENDING,
    ID_HELPER = 300,
};

/* What both tables begin with: the checks before a transfer's kind matters. */
#define HEAD_ROWS                                                                                                      \
    {.status = T(linked_event_chain_open), .flags_set = TF(linked)},                                                   \
        {.status = T(linked_event_failed), .second = true, .before_set = TF(linked)},                                  \
        {.status = T(imported_event_expected),                                                                         \
         .second = true,                                                                                               \
         .before_set = TF(imported),                                                                                   \
         .flags_clear = TF(imported)},                                                                                 \
        {.status = T(imported_event_not_expected),                                                                     \
         .second = true,                                                                                               \
         .before_clear = TF(imported),                                                                                 \
         .flags_set = TF(imported)},                                                                                   \
        {.status = T(imported_event_timestamp_out_of_range), .fields = SETS(timestamp), .flags_set = TF(imported)},    \
        {.status = T(imported_event_timestamp_out_of_range),                                                           \
         .also = T(imported_event_timestamp_must_not_advance),                                                         \
         .fields = SETS(timestamp),                                                                                    \
         .flags_set = TF(imported),                                                                                    \
         .transfer = {.timestamp = TAEL_TIMESTAMP_MAX + 1}},                                                           \
        {.status = T(imported_event_timestamp_must_not_advance),                                                       \
         .fields = SETS(timestamp),                                                                                    \
         .flags_set = TF(imported),                                                                                    \
         .transfer = {.timestamp = AT_BATCH}},                                                                         \
        {.status = T(imported_event_timestamp_must_not_advance),                                                       \
         .fields = SETS(timestamp),                                                                                    \
         .flags_set = TF(imported),                                                                                    \
         .transfer = {.timestamp = TAEL_TIMESTAMP_MAX}},                                                               \
        {.status = T(timestamp_must_be_zero),                                                                          \
         .fields = SETS(timestamp),                                                                                    \
         .flags_clear = TF(imported),                                                                                  \
         .transfer = {.timestamp = 1}},                                                                                \
        {.status = T(reserved_flag), .flags_set = 1u << 9}, {.status = T(reserved_flag), .flags_set = 1u << 15},       \
        {.status = T(id_must_not_be_zero), .fields = SETS(id), .transfer = {.id = 0}},                                 \
        {.status = T(id_must_not_be_int_max), .fields = SETS(id), .transfer = {.id = TAEL_U128_MAX}},                  \
        {.status = T(exists_with_different_flags), .fields = SETS(id), .transfer = {.id = ID_KNOWN}}, {                \
        .status = T(id_already_failed), .fields = SETS(id), .transfer = {.id = ID_BURNT }                              \
    }

#define HEAD_EXCLUSIVE                                                                                                 \
    {T(imported_event_expected), T(imported_event_not_expected)},                                                      \
        {T(imported_event_timestamp_must_not_advance), T(timestamp_must_be_zero)},                                     \
        {T(id_must_not_be_zero), T(id_must_not_be_int_max)},                                                           \
        {T(id_must_not_be_int_max), T(exists_with_different_flags)}, {                                                 \
        T(exists_with_different_flags), T(id_already_failed)                                                           \
    }

#define DEBIT(account) .fields = SETS(debit_account_id), .transfer = {.debit_account_id = (account)}
#define CREDIT(account) .fields = SETS(credit_account_id), .transfer = {.credit_account_id = (account)}
#define IMPORTED_AT(when) .fields = SETS(timestamp), .flags_set = TF(imported), .transfer = {.timestamp = (when)}
#define HUGE(side, account, value)                                                                                     \
    .fields = SETS(side) | SETS(amount), .transfer = {.side = (account), .amount = (value)}

static const struct rule_row rows[] = {
    HEAD_ROWS,
    {.status = T(debit_account_id_must_not_be_zero), DEBIT(0)},
    {.status = T(debit_account_id_must_not_be_int_max), DEBIT(TAEL_U128_MAX)},
    {.status = T(credit_account_id_must_not_be_zero), CREDIT(0)},
    {.status = T(credit_account_id_must_not_be_int_max), CREDIT(TAEL_U128_MAX)},
    {.status = T(accounts_must_be_different),
     .fields = SETS(debit_account_id) | SETS(credit_account_id),
     .transfer = {.debit_account_id = PLAIN_DEBIT, .credit_account_id = PLAIN_DEBIT}},
    {.status = T(accounts_must_be_different),
     .also = T(debit_account_not_found),
     .fields = SETS(debit_account_id) | SETS(credit_account_id),
     .transfer = {.debit_account_id = MISSING, .credit_account_id = MISSING}},
    {.status = T(pending_id_must_be_zero), .fields = SETS(pending_id), .transfer = {.pending_id = PENDING_100}},
    {.status = T(pending_id_must_be_zero), .fields = SETS(pending_id), .transfer = {.pending_id = TAEL_U128_MAX}},
    {.status = T(timeout_reserved_for_pending_transfer),
     .fields = SETS(timeout),
     .flags_clear = TF(pending),
     .transfer = {.timeout = 1}},
    {.status = T(closing_transfer_must_be_pending), .flags_clear = TF(pending), .flags_set = TF(closing_debit)},
    {.status = T(closing_transfer_must_be_pending), .flags_clear = TF(pending), .flags_set = TF(closing_credit)},
    {.status = T(ledger_must_not_be_zero), .fields = SETS(ledger)},
    {.status = T(code_must_not_be_zero), .fields = SETS(code)},
    {.status = T(debit_account_not_found), DEBIT(MISSING)},
    {.status = T(credit_account_not_found), CREDIT(MISSING + 1000)},
    {.status = T(accounts_must_have_the_same_ledger), CREDIT(OTHER_LEDGER)},
    {.status = T(accounts_must_have_the_same_ledger), DEBIT(OTHER_LEDGER)},
    {.status = T(transfer_must_have_the_same_ledger_as_accounts), .fields = SETS(ledger), .transfer = {.ledger = 2}},
    {.status = T(imported_event_timestamp_must_not_regress), IMPORTED_AT(AT_TRANSFER_LAST)},
    {.status = T(imported_event_timestamp_must_not_regress), IMPORTED_AT(1)},
    {.status = T(imported_event_timestamp_must_not_regress), IMPORTED_AT(AT_ACCOUNT_LAST)},
    {.status = T(imported_event_timestamp_must_not_regress),
     .also = T(imported_event_timestamp_must_postdate_debit_account),
     .fields = SETS(timestamp) | SETS(debit_account_id),
     .flags_set = TF(imported),
     .transfer = {.debit_account_id = YOUNG_DEBIT, .timestamp = AT_TRANSFER_LAST}},
    {.status = T(imported_event_timestamp_must_postdate_debit_account),
     .fields = SETS(timestamp) | SETS(debit_account_id),
     .flags_set = TF(imported),
     .transfer = {.debit_account_id = YOUNG_DEBIT, .timestamp = AT_GAP}},
    {.status = T(imported_event_timestamp_must_postdate_credit_account),
     .fields = SETS(timestamp) | SETS(credit_account_id),
     .flags_set = TF(imported),
     .transfer = {.credit_account_id = YOUNG_CREDIT, .timestamp = AT_GAP}},
    {.status = T(imported_event_timeout_must_be_zero),
     .fields = SETS(timestamp) | SETS(timeout),
     .flags_set = TF(imported) | TF(pending),
     .transfer = {.timestamp = AT_GAP, .timeout = UINT32_MAX}},
    {.status = T(debit_account_already_closed), DEBIT(CLOSED_DEBIT)},
    {.status = T(debit_account_already_closed), .also = T(exceeds_credits), DEBIT(CLOSED_LIMITED_DEBIT)},
    {.status = T(credit_account_already_closed), CREDIT(CLOSED_CREDIT)},
    {.status = T(credit_account_already_closed), .also = T(exceeds_debits), CREDIT(CLOSED_LIMITED_CREDIT)},
    {.status = T(overflows_debits_pending),
     .flags_set = TF(pending),
     HUGE(debit_account_id, DEBITS_PENDING_10, TAEL_U128_MAX)},
    {.status = T(overflows_credits_pending),
     .flags_set = TF(pending),
     HUGE(credit_account_id, CREDITS_PENDING_10, TAEL_U128_MAX)},
    {.status = T(overflows_debits_posted), HUGE(debit_account_id, DEBITS_POSTED_10, TAEL_U128_MAX)},
    {.status = T(overflows_debits_posted),
     .also = T(overflows_debits),
     HUGE(debit_account_id, DEBITS_POSTED_30, TAEL_U128_MAX - 15)},
    {.status = T(overflows_credits_posted), HUGE(credit_account_id, CREDITS_POSTED_10, TAEL_U128_MAX)},
    {.status = T(overflows_credits_posted),
     .also = T(overflows_credits),
     HUGE(credit_account_id, CREDITS_POSTED_30, TAEL_U128_MAX - 15)},
    {.status = T(overflows_debits), HUGE(debit_account_id, DEBITS_BOTH_10, TAEL_U128_MAX - 15)},
    {.status = T(overflows_credits), HUGE(credit_account_id, CREDITS_BOTH_10, TAEL_U128_MAX - 15)},
    {.status = T(overflows_timeout),
     .fields = SETS(timeout),
     .flags_set = TF(pending),
     .flags_clear = TF(imported),
     .transfer = {.timeout = UINT32_MAX}},
    {.status = T(exceeds_credits), DEBIT(LIMITED_DEBIT)},
    {.status = T(exceeds_debits), CREDIT(LIMITED_CREDIT)},
};

static const struct rule_pair exclusive[] = {
    HEAD_EXCLUSIVE,
    {T(debit_account_id_must_not_be_zero), T(debit_account_id_must_not_be_int_max)},
    {T(credit_account_id_must_not_be_zero), T(credit_account_id_must_not_be_int_max)},
    {T(credit_account_id_must_not_be_int_max), T(accounts_must_be_different)},
};

static const struct tael_transfer base = {
    .debit_account_id = PLAIN_DEBIT, .credit_account_id = PLAIN_CREDIT, .amount = 11, .ledger = 1, .code = 1};

static void expect_account(struct story *story, struct tael_account account) {
    assert_int_equal(story_account_status(story, account), TAEL_STATUS_CREATED);
}

static void expect_transfer(struct story *story, struct tael_transfer transfer) {
    assert_int_equal(story_transfer_status(story, transfer), TAEL_STATUS_CREATED);
}

static void open_accounts(struct story *story) {
    for (uint32_t id = PLAIN_DEBIT; id < YOUNG_DEBIT; id++) {
        struct tael_account account = ACCOUNT(.id = id, .flags = AF(history));
        if (id == OTHER_LEDGER) account.ledger = 2;
        if (id == CLOSED_DEBIT || id == CLOSED_CREDIT) account.flags |= AF(closed);
        if (id == CLOSED_LIMITED_DEBIT || id == CLOSED_LIMITED_CREDIT) account.flags |= AF(closed);
        if (id == LIMITED_DEBIT || id == CLOSED_LIMITED_DEBIT) account.flags |= AF(debits_must_not_exceed_credits);
        if (id == LIMITED_CREDIT || id == CLOSED_LIMITED_CREDIT) account.flags |= AF(credits_must_not_exceed_debits);
        expect_account(story, account);
    }
}

/* The limited accounts get nothing, so that they fail for their limit alone; stories walk along the limit itself. */
static void fund_accounts(struct story *story) {
    static const struct {
        uint32_t debit;
        uint32_t credit;
        tael_u128 amount;
        uint16_t flags;
    } moves[] = {
        {DEBITS_PENDING_10, BANK_A, 10, TF(pending)},
        {BANK_A, CREDITS_PENDING_10, 10, TF(pending)},
        {DEBITS_POSTED_10, BANK_A, 10, 0},
        {BANK_A, CREDITS_POSTED_10, 10, 0},
        {DEBITS_BOTH_10, BANK_A, 10, TF(pending)},
        {DEBITS_BOTH_10, BANK_A, 10, 0},
        {BANK_A, CREDITS_BOTH_10, 10, TF(pending)},
        {BANK_A, CREDITS_BOTH_10, 10, 0},
        {DEBITS_POSTED_30, BANK_A, 30, 0},
        {BANK_A, CREDITS_POSTED_30, 30, 0},
    };
    for (uint32_t i = 0; i < COUNT_OF(moves); i++) {
        expect_transfer(story, TRANSFER(.id = ID_FUNDING + i, .debit_account_id = moves[i].debit,
                                        .credit_account_id = moves[i].credit, .amount = moves[i].amount,
                                        .flags = moves[i].flags));
    }
}

/* Everything that the rows refer to. The last accounts are younger than the last transfer, with time in between. */
static void open_world(struct story *story, struct rule_table *table) {
    story_open(story, &SUBJECT);
    story->clock = CLOCK_LATE;
    open_accounts(story);
    fund_accounts(story);
    assert_int_equal(story_transfer_status(
                         story, TRANSFER(.id = ID_BURNT, .debit_account_id = MISSING, .credit_account_id = BANK_A)),
                     T(debit_account_not_found));
    table->transfer_last =
        story_transfer(story, TRANSFER(.id = ID_KNOWN, .debit_account_id = BANK_A, .credit_account_id = BANK_B,
                                       .flags = TF(pending) | TF(balancing_debit) | TF(balancing_credit)))
            .timestamp;
    table->gap = table->transfer_last + 1;
    story->clock += TAEL_NS_PER_S;
    expect_account(story, ACCOUNT(.id = YOUNG_DEBIT));
    expect_account(story, ACCOUNT(.id = YOUNG_CREDIT));
    table->account_last = story->timestamp;
    story->clock += TAEL_NS_PER_S;
}

static struct rule_table table_of_rules(void) {
    return (struct rule_table){
        .base = &base,
        .rows = rows,
        .row_count = COUNT_OF(rows),
        .exclusive = exclusive,
        .exclusive_count = COUNT_OF(exclusive),
    };
}

static void test_create_transfers_rejects_by_precedence(void **state) {
    (void)state;
    struct story story;
    struct rule_table table = table_of_rules();
    open_world(&story, &table);
    rule_table_run(&story, &table);

    /* What every row broke was good: it is created, imported and plain. */
    const struct rule_row imported = {IMPORTED_AT(AT_GAP)};
    struct tael_create_result result = rule_table_send(&story, &table, &imported);
    assert_int_equal(result.status, TAEL_STATUS_CREATED);
    assert_int_equal(result.timestamp, table.gap);
    result = rule_table_send(&story, &table, NULL);
    assert_int_equal(result.status, TAEL_STATUS_CREATED);
    assert_int_equal(result.timestamp, story.timestamp);
    story_close(&story);
}

static const struct rule_row post_rows[] = {
    HEAD_ROWS,
    {.status = T(flags_are_mutually_exclusive), .flags_set = POSTING | VOIDING},
    {.status = T(flags_are_mutually_exclusive), .flags_set = TF(pending)},
    {.status = T(flags_are_mutually_exclusive), .flags_set = TF(balancing_debit)},
    {.status = T(flags_are_mutually_exclusive), .flags_set = TF(balancing_credit)},
    {.status = T(flags_are_mutually_exclusive), .flags_set = TF(closing_debit)},
    {.status = T(flags_are_mutually_exclusive), .flags_set = TF(closing_credit)},
    {.status = T(flags_are_mutually_exclusive), .flags_set = VOIDING | TF(pending), .flags_clear = POSTING},
    {.status = T(pending_id_must_not_be_zero), .fields = SETS(pending_id)},
    {.status = T(pending_id_must_not_be_int_max),
     .fields = SETS(pending_id),
     .transfer = {.pending_id = TAEL_U128_MAX}},
    {.status = T(pending_id_must_be_different), .fields = SETS(pending_id), .transfer = {.pending_id = OWN_ID}},
    {.status = T(timeout_reserved_for_pending_transfer), .fields = SETS(timeout), .transfer = {.timeout = 1}},
    {.status = T(pending_transfer_not_found), .fields = SETS(pending_id), .transfer = {.pending_id = 999999}},
    {.status = T(pending_transfer_not_found), .fields = SETS(pending_id), .transfer = {.pending_id = ID_BURNT}},
    {.status = T(pending_transfer_not_pending), .fields = SETS(pending_id), .transfer = {.pending_id = NEVER_PENDING}},
    {.status = T(pending_transfer_not_pending), .fields = SETS(pending_id), .transfer = {.pending_id = ID_HELPER}},
    {.status = T(pending_transfer_has_different_debit_account_id), DEBIT(PLAIN_CREDIT)},
    {.status = T(pending_transfer_has_different_debit_account_id), DEBIT(TAEL_U128_MAX)},
    {.status = T(pending_transfer_has_different_credit_account_id), CREDIT(PLAIN_DEBIT)},
    {.status = T(pending_transfer_has_different_credit_account_id), CREDIT(TAEL_U128_MAX)},
    {.status = T(pending_transfer_has_different_ledger), .fields = SETS(ledger), .transfer = {.ledger = 2}},
    {.status = T(pending_transfer_has_different_code), .fields = SETS(code), .transfer = {.code = 2}},
    {.status = T(exceeds_pending_transfer_amount), .fields = SETS(amount), .transfer = {.amount = 101}},
    {.status = T(exceeds_pending_transfer_amount),
     .fields = SETS(amount),
     .flags_set = POSTING,
     .flags_clear = VOIDING,
     .transfer = {.amount = TAEL_U128_MAX - 1}},
    {.status = T(exceeds_pending_transfer_amount),
     .fields = SETS(amount),
     .flags_set = VOIDING,
     .flags_clear = POSTING,
     .transfer = {.amount = TAEL_U128_MAX}},
    {.status = T(pending_transfer_has_different_amount),
     .fields = SETS(amount),
     .flags_set = VOIDING,
     .flags_clear = POSTING,
     .transfer = {.amount = 99}},
    {.status = T(pending_transfer_already_posted),
     .fields = SETS(pending_id),
     .transfer = {.pending_id = PENDING_POSTED}},
    {.status = T(pending_transfer_already_voided),
     .fields = SETS(pending_id),
     .transfer = {.pending_id = PENDING_VOIDED}},
    {.status = T(pending_transfer_expired), .fields = SETS(pending_id), .transfer = {.pending_id = PENDING_EXPIRED}},
    {.status = T(pending_transfer_expired), .fields = SETS(pending_id), .transfer = {.pending_id = PENDING_DUE}},
    {.status = T(imported_event_timestamp_must_not_regress), IMPORTED_AT(AT_TRANSFER_LAST)},
    {.status = T(imported_event_timestamp_must_not_regress), IMPORTED_AT(AT_ACCOUNT_LAST)},
    {.status = T(debit_account_already_closed),
     .fields = SETS(pending_id),
     .flags_set = POSTING,
     .flags_clear = VOIDING,
     .transfer = {.pending_id = PENDING_CLOSED_DEBIT}},
    {.status = T(debit_account_already_closed),
     .also = T(credit_account_already_closed),
     .fields = SETS(pending_id),
     .flags_set = POSTING,
     .flags_clear = VOIDING,
     .transfer = {.pending_id = PENDING_CLOSED_BOTH}},
    {.status = T(credit_account_already_closed),
     .fields = SETS(pending_id),
     .flags_set = POSTING,
     .flags_clear = VOIDING,
     .transfer = {.pending_id = PENDING_CLOSED_CREDIT}},
};

static const struct rule_pair post_exclusive[] = {
    HEAD_EXCLUSIVE,
    {T(pending_id_must_not_be_zero), T(pending_id_must_not_be_int_max)},
    {T(pending_id_must_not_be_int_max), T(pending_id_must_be_different)},
    {T(pending_transfer_not_found), T(pending_transfer_not_pending)},
    {T(exceeds_pending_transfer_amount), T(pending_transfer_has_different_amount)},
    {T(pending_transfer_already_posted), T(pending_transfer_already_voided)},
    {T(pending_transfer_already_voided), T(pending_transfer_expired)},
};

static const struct tael_transfer post_base = {.pending_id = PENDING_100, .amount = 100, .flags = POSTING};

static void open_pending(struct story *story, uint32_t id, uint32_t debit, uint32_t credit, uint32_t timeout) {
    expect_transfer(story, TRANSFER(.id = id, .debit_account_id = debit, .credit_account_id = credit, .amount = 100,
                                    .timeout = timeout, .flags = TF(pending)));
}

/* Adds to the world pending transfers in every state. */
static void open_pending_world(struct story *story, struct rule_table *table) {
    open_world(story, table);
    open_pending(story, PENDING_EXPIRED, PLAIN_DEBIT, PLAIN_CREDIT, 1);
    open_pending(story, PENDING_100, PLAIN_DEBIT, PLAIN_CREDIT, 0);
    open_pending(story, PENDING_POSTED, PLAIN_DEBIT, PLAIN_CREDIT, 100);
    open_pending(story, PENDING_VOIDED, PLAIN_DEBIT, PLAIN_CREDIT, 100);
    open_pending(story, PENDING_CLOSED_DEBIT, CLOSING_DEBIT, PLAIN_CREDIT, 0);
    open_pending(story, PENDING_CLOSED_CREDIT, PLAIN_DEBIT, CLOSING_CREDIT, 0);
    open_pending(story, PENDING_CLOSED_BOTH, CLOSING_DEBIT, CLOSING_CREDIT, 0);
    open_pending(story, PENDING_DUE, PLAIN_DEBIT, PLAIN_CREDIT, 10);
    expect_transfer(story, TRANSFER(.id = NEVER_PENDING, .debit_account_id = PLAIN_DEBIT,
                                    .credit_account_id = PLAIN_CREDIT, .amount = 100));
    expect_transfer(story, POST(.id = ID_HELPER, .pending_id = PENDING_POSTED, .amount = 100));
    expect_transfer(story, VOID(.id = ID_HELPER + 1, .pending_id = PENDING_VOIDED));
    story->clock += 2 * TAEL_NS_PER_S;
    story_pulse(story);
    expect_transfer(story, TRANSFER(.id = ID_HELPER + 2, .debit_account_id = CLOSING_DEBIT,
                                    .credit_account_id = CLOSING_CREDIT,
                                    .flags = TF(pending) | TF(closing_debit) | TF(closing_credit)));
    table->transfer_last = story->timestamp;
    story->clock += 20 * TAEL_NS_PER_S; /* PENDING_DUE is, and no pulse comes */
    table->gap = table->transfer_last + 5;
    expect_account(story, ACCOUNT(.id = MISSING + 1));
    table->account_last = story->timestamp;
    story->clock += TAEL_NS_PER_S;
}

static struct rule_table table_of_posts(void) {
    return (struct rule_table){
        .base = &post_base,
        .rows = post_rows,
        .row_count = COUNT_OF(post_rows),
        .exclusive = post_exclusive,
        .exclusive_count = COUNT_OF(post_exclusive),
    };
}

static void test_post_and_void_reject_by_precedence(void **state) {
    (void)state;
    struct story story;
    struct rule_table table = table_of_posts();
    open_pending_world(&story, &table);
    rule_table_run(&story, &table);
    const struct rule_row imported = {IMPORTED_AT(AT_GAP)};
    const struct tael_create_result result = rule_table_send(&story, &table, &imported);
    assert_int_equal(result.status, TAEL_STATUS_CREATED);
    assert_int_equal(result.timestamp, table.gap);
    story_close(&story);
}

/* --- the exists chain --- */

#define EXISTS_ROWS                                                                                                    \
    {.status = T(exists_with_different_flags), .flags_set = TF(balancing_debit)},                                      \
        {.status = T(exists_with_different_flags), .flags_set = POSTING | VOIDING},                                    \
        {.status = T(exists_with_different_flags),                                                                     \
         .flags_clear = TF(pending) | POSTING | VOIDING | TF(balancing_credit)},                                       \
        {.status = T(exists_with_different_pending_id), .fields = SETS(pending_id), .transfer = {.pending_id = 77}},   \
        {.status = T(exists_with_different_timeout), .fields = SETS(timeout), .transfer = {.timeout = 101}},           \
        {.status = T(exists_with_different_debit_account_id), DEBIT(BANK_A)},                                          \
        {.status = T(exists_with_different_debit_account_id), DEBIT(TAEL_U128_MAX)},                                   \
        {.status = T(exists_with_different_credit_account_id), CREDIT(BANK_B)},                                        \
        {.status = T(exists_with_different_amount), .fields = SETS(amount), .transfer = {.amount = 9}},                \
        {.status = T(exists_with_different_user_data_128),                                                             \
         .fields = SETS(user_data_128),                                                                                \
         .transfer = {.user_data_128 = (tael_u128)128 << 64}},                                                         \
        {.status = T(exists_with_different_user_data_64),                                                              \
         .fields = SETS(user_data_64),                                                                                 \
         .transfer = {.user_data_64 = 65}},                                                                            \
        {.status = T(exists_with_different_user_data_32),                                                              \
         .fields = SETS(user_data_32),                                                                                 \
         .transfer = {.user_data_32 = 33}},                                                                            \
        {.status = T(exists_with_different_ledger), .fields = SETS(ledger), .transfer = {.ledger = 2}}, {              \
        .status = T(exists_with_different_code), .fields = SETS(code), .transfer = {.code = 2 }                        \
    }

static const struct rule_row exists_rows[] = {EXISTS_ROWS};

/* Where leaving a field out means zero, zero differs. */
static const struct rule_row exists_plain_rows[] = {
    {.status = T(exists_with_different_flags), .flags_set = TF(closing_credit)},
    {.status = T(exists_with_different_pending_id), .fields = SETS(pending_id), .transfer = {.pending_id = 1}},
    {.status = T(exists_with_different_timeout), .fields = SETS(timeout)},
    {.status = T(exists_with_different_debit_account_id), DEBIT(0)},
    {.status = T(exists_with_different_credit_account_id), CREDIT(0)},
    {.status = T(exists_with_different_amount), .fields = SETS(amount)},
    {.status = T(exists_with_different_user_data_128), .fields = SETS(user_data_128)},
    {.status = T(exists_with_different_user_data_64), .fields = SETS(user_data_64)},
    {.status = T(exists_with_different_user_data_32), .fields = SETS(user_data_32)},
    {.status = T(exists_with_different_ledger), .fields = SETS(ledger)},
    {.status = T(exists_with_different_code), .fields = SETS(code)},
};

static const struct tael_transfer known_fields = {
    .debit_account_id = PLAIN_DEBIT,
    .credit_account_id = PLAIN_CREDIT,
    .amount = 10,
    .user_data_128 = 128,
    .user_data_64 = 64,
    .user_data_32 = 32,
    .ledger = 1,
    .code = 1,
};

static struct tael_transfer known(tael_u128 id, uint16_t flags, uint32_t timeout, tael_u128 pending_id) {
    struct tael_transfer transfer = known_fields;
    transfer.id = id;
    transfer.flags = flags;
    transfer.timeout = timeout;
    transfer.pending_id = pending_id;
    return transfer;
}

static void expect_exists(struct story *story, struct tael_transfer transfer, uint64_t timestamp) {
    const struct tael_create_result again = story_transfer(story, transfer);
    assert_int_equal(again.status, T(exists));
    assert_int_equal(again.timestamp, timestamp);
}

static void run_exists(struct story *story, const struct tael_transfer *stored, const struct rule_row *table_rows,
                       uint32_t row_count) {
    struct rule_table table = {.base = stored, .keep_id = true, .rows = table_rows, .row_count = row_count};
    rule_table_run(story, &table);
}

static void open_plain_world(struct story *story) {
    story_open(story, &SUBJECT);
    for (uint32_t id = PLAIN_DEBIT; id <= BANK_B; id++) expect_account(story, ACCOUNT(.id = id));
    /* Credits for the debit account and debits for the credit account: balancing has something to move. */
    expect_transfer(story,
                    TRANSFER(.id = 1, .debit_account_id = BANK_A, .credit_account_id = PLAIN_DEBIT, .amount = 1000));
    expect_transfer(story,
                    TRANSFER(.id = 2, .debit_account_id = PLAIN_CREDIT, .credit_account_id = BANK_A, .amount = 1000));
}

static void test_plain_and_pending_compare_with_what_exists_field_by_field(void **state) {
    (void)state;
    struct story story;
    open_plain_world(&story);
    const struct tael_transfer pending = known(50, TF(pending), 100, 0);
    const struct tael_create_result created = story_transfer(&story, pending);
    assert_int_equal(created.status, TAEL_STATUS_CREATED);
    run_exists(&story, &pending, exists_rows, COUNT_OF(exists_rows));
    run_exists(&story, &pending, exists_plain_rows, COUNT_OF(exists_plain_rows));
    expect_exists(&story, pending, created.timestamp);

    /* It stays what it was when it is posted, and when it is voided or expires. */
    expect_transfer(&story, POST(.id = 51, .pending_id = 50, .amount = 1));
    expect_exists(&story, pending, created.timestamp);
    story_close(&story);
}

/* A balancing transfer that is sent again may ask for more than it got, not for less. */
static void test_balancing_that_exists_differs_only_below_the_stored_amount(void **state) {
    (void)state;
    struct story story;
    open_plain_world(&story);
    const struct tael_transfer balancing = known(50, TF(balancing_credit) | TF(pending), 100, 0);
    const struct tael_create_result created = story_transfer(&story, balancing);
    assert_int_equal(created.status, TAEL_STATUS_CREATED);
    run_exists(&story, &balancing, exists_rows, COUNT_OF(exists_rows));
    run_exists(&story, &balancing, exists_plain_rows, COUNT_OF(exists_plain_rows));
    struct tael_transfer again = balancing;
    again.amount = 11;
    expect_exists(&story, again, created.timestamp);
    again.amount = TAEL_U128_MAX;
    expect_exists(&story, again, created.timestamp);

    /* One that asked for more than there was stored what it got. */
    struct tael_transfer most = known(60, TF(balancing_debit), 0, 0);
    most.amount = TAEL_U128_MAX;
    const struct tael_create_result all = story_transfer(&story, most);
    assert_int_equal(all.status, TAEL_STATUS_CREATED);
    assert_true(story_lookup_transfer(&story, 60).amount == 990);
    expect_exists(&story, most, all.timestamp);
    most.amount = 990;
    expect_exists(&story, most, all.timestamp);
    most.amount = 989;
    assert_int_equal(story_transfer_status(&story, most), T(exists_with_different_amount));
    story_close(&story);
}

static void test_post_and_void_compare_with_what_exists_field_by_field(void **state) {
    (void)state;
    static const uint16_t kinds[] = {POSTING, VOIDING};
    for (uint32_t i = 0; i < COUNT_OF(kinds); i++) {
        struct story story;
        open_plain_world(&story);
        struct tael_transfer pending = known(50, TF(pending), 100, 0);
        pending.user_data_128 = 1;
        pending.user_data_64 = 2;
        pending.user_data_32 = 3;
        expect_transfer(&story, pending);
        const struct tael_transfer sent = known(51, kinds[i], 0, 50);
        const struct tael_create_result created = story_transfer(&story, sent);
        assert_int_equal(created.status, TAEL_STATUS_CREATED);
        run_exists(&story, &sent, exists_rows, COUNT_OF(exists_rows));

        /* Zero stands for anything in what a post inherits as it is, but for the pending one's user data. */
        static const struct rule_row inherits[] = {
            {.status = T(exists_with_different_user_data_128), .fields = SETS(user_data_128)},
            {.status = T(exists_with_different_user_data_64), .fields = SETS(user_data_64)},
            {.status = T(exists_with_different_user_data_32), .fields = SETS(user_data_32)},
        };
        run_exists(&story, &sent, inherits, COUNT_OF(inherits));
        struct tael_transfer again = sent;
        again.debit_account_id = 0;
        again.credit_account_id = 0;
        again.ledger = 0;
        again.code = 0;
        expect_exists(&story, again, created.timestamp);
        again.amount = kinds[i] == POSTING ? TAEL_U128_MAX : 0;
        expect_exists(&story, again, created.timestamp);
        again.amount = kinds[i] == POSTING ? 0 : TAEL_U128_MAX;
        assert_int_equal(story_transfer_status(&story, again), T(exists_with_different_amount));
        story_close(&story);
    }
}

/* A post of less than everything, and of nothing at all, is not the same as a post of everything. */
static void test_partial_post_that_exists_differs_from_a_post_of_everything(void **state) {
    (void)state;
    struct story story;
    open_plain_world(&story);
    expect_transfer(&story, known(50, TF(pending), 0, 0));
    expect_transfer(&story, known(60, TF(pending), 0, 0));
    const uint64_t partial = story_transfer(&story, POST(.id = 51, .pending_id = 50, .amount = 4)).timestamp;
    const uint64_t none = story_transfer(&story, POST(.id = 61, .pending_id = 60)).timestamp;
    expect_exists(&story, POST(.id = 51, .pending_id = 50, .amount = 4), partial);
    expect_exists(&story, POST(.id = 61, .pending_id = 60), none);
    const uint32_t differs = T(exists_with_different_amount);
    assert_int_equal(story_transfer_status(&story, POST(.id = 51, .pending_id = 50, .amount = TAEL_U128_MAX)), differs);
    assert_int_equal(story_transfer_status(&story, POST(.id = 51, .pending_id = 50, .amount = 10)), differs);
    assert_int_equal(story_transfer_status(&story, POST(.id = 51, .pending_id = 50)), differs);
    assert_int_equal(story_transfer_status(&story, POST(.id = 61, .pending_id = 60, .amount = TAEL_U128_MAX)), differs);

    /* Inherited user data: naming it, or leaving it out, is the same. */
    struct tael_transfer named = known(51, POSTING, 0, 50);
    named.amount = 4;
    expect_exists(&story, named, partial);
    story_close(&story);
}

static void test_every_transfer_status_is_reached(void **state) {
    (void)state;
    bool reached[128] = {false};
    struct rule_table table = table_of_rules();
    rule_table_cover(&table, reached);
    table = table_of_posts();
    rule_table_cover(&table, reached);
    table = (struct rule_table){.rows = exists_rows, .row_count = COUNT_OF(exists_rows)};
    rule_table_cover(&table, reached);
    reached[T(exists)] = true; /* by expect_exists */
#define X(number, name, kind, text)                                                                                    \
    if (!reached[number]) fail_msg("no row reaches %d %s", number, #name);
    TAEL_TRANSFER_STATUS_TABLE(X)
#undef X
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_transfers_rejects_by_precedence),
        cmocka_unit_test(test_post_and_void_reject_by_precedence),
        cmocka_unit_test(test_plain_and_pending_compare_with_what_exists_field_by_field),
        cmocka_unit_test(test_balancing_that_exists_differs_only_below_the_stored_amount),
        cmocka_unit_test(test_post_and_void_compare_with_what_exists_field_by_field),
        cmocka_unit_test(test_partial_post_that_exists_differs_from_a_post_of_everything),
        cmocka_unit_test(test_every_transfer_status_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
