/* Steps of several workers: for what reason an event is listed, or a step is undone; how steps back off; what a failed assertion names.
 * Method: each request goes to a ledger of three workers, whose passes are made one worker after the other, and to one of the plain
 * sequential code; both must come to the same exceptions and the same digest. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <tael/flag.h>
#include <tael/operation.h>

#include "engine/ledger_state.h"
#include "engine/parallel.h"

#define WORKERS 3
#define STEP_EVENTS 128 /* ranges are whole lines of bytes, so two of the workers have 64 each */
#define EVENTS_MAX 256
#define ACCOUNTS_MAX 64
#define TRANSFERS_MAX 60000
#define TWO_48 ((tael_u128)1 << 48)

/* Accounts that every bed has. */
enum { CLOSED = 20, OTHER_LEDGER = 21, LIMITED = 22, PLAIN_ACCOUNTS = 11 };

struct bed {
    struct tael_arena arena;
    struct tael_ledger *one;
    struct tael_ledger *several;
    struct tael_parallel *parallel;
    uint8_t *block; /* requests back to back */
    uint8_t *block_end;
    uint32_t request_count;
    struct tael_exception *exceptions_of_one;
    struct tael_exception *exceptions;
    uint64_t op;
    uint64_t timestamp;
    uint64_t id; /* the last one that nobody chose */
    struct tael_parallel_counters before; /* the last requests */
};

static void pass_one_after_the_other(void *context, void (*pass)(void *argument, uint32_t worker), void *argument) {
    (void)context;
    for (uint32_t i = WORKERS; i-- > 0;) pass(argument, i);
}

/* --- requests --- */

static void add(struct bed *bed, enum tael_operation operation, const void *events, uint32_t count) {
    struct tael_request *request = (struct tael_request *)(void *)bed->block_end;
    assert_true(bed->request_count < 64);
    assert_true(count <= EVENTS_MAX);
    bed->timestamp += count + 1;
    *request = (struct tael_request){.op = ++bed->op,
                                     .timestamp = bed->timestamp,
                                     .size = count * TAEL_RECORD_SIZE,
                                     .event_count = count,
                                     .batch_count = 1,
                                     .operation = (uint8_t)operation};
    memcpy(request + 1, events, request->size);
    bed->block_end += tael_request_size_in_block(request->size);
    bed->request_count++;
}

static void add_transfers(struct bed *bed, const struct tael_transfer *transfers, uint32_t count) {
    add(bed, TAEL_OPERATION_create_transfers, transfers, count);
}

static uint32_t apply_by_one(struct bed *bed) {
    const struct tael_request *request = (const struct tael_request *)(const void *)bed->block;
    uint32_t count = 0;
    for (uint32_t i = 0; i < bed->request_count; i++, request = tael_request_next(request)) {
        count += tael_ledger_apply(bed->one, request, bed->exceptions_of_one + count);
    }
    return count;
}

static uint32_t apply_by_several(struct bed *bed) {
    struct tael_outcome outcomes[64];
    const struct tael_request *request = (const struct tael_request *)(const void *)bed->block;
    return tael_parallel_apply(bed->parallel, request, bed->request_count, bed->exceptions, outcomes, 0);
}

static void forget(struct bed *bed) {
    bed->block_end = bed->block;
    bed->request_count = 0;
}

/* Marks and reservations are of one step. */
static void expect_nothing_left(const struct bed *bed) {
    const struct tael_account_table *accounts = &bed->several->accounts;
    for (uint64_t number = 1; number <= accounts->count; number++) {
        const struct tael_account_line *line = &accounts->lines[number];
        assert_int_equal(line->flags & TAEL_ACCOUNT_LINE_UNSAFE, 0);
        assert_int_equal(line->reserved_high, 0);
        assert_int_equal(line->reserved_low, 0);
    }
    for (uint64_t position = 0; position < bed->several->journal.count; position++) {
        assert_int_equal(bed->several->journal.traces[position].reserved, 0);
    }
}

/* Applies what was added to both ledgers. How many exceptions there are. */
static uint32_t apply(struct bed *bed) {
    bed->before = tael_parallel_counters(bed->parallel);
    const uint32_t of_one = apply_by_one(bed);
    const uint32_t count = apply_by_several(bed);
    assert_int_equal(count, of_one);
    assert_memory_equal(bed->exceptions, bed->exceptions_of_one, count * sizeof *bed->exceptions);
    assert_true(tael_ledger_digest(bed->several) == tael_ledger_digest(bed->one));
    expect_nothing_left(bed);
    forget(bed);
    return count;
}

static uint32_t send(struct bed *bed, const struct tael_transfer *transfers, uint32_t count) {
    add_transfers(bed, transfers, count);
    return apply(bed);
}

#define SEND(bed, ...)                                                                                                 \
    send(bed, (const struct tael_transfer[]){__VA_ARGS__},                                                             \
         sizeof((const struct tael_transfer[]){__VA_ARGS__}) / sizeof(struct tael_transfer))

static struct tael_transfer pay(struct bed *bed, uint64_t debit, uint64_t credit, tael_u128 amount, unsigned flags) {
    return (struct tael_transfer){.id = ++bed->id,
                                  .debit_account_id = debit,
                                  .credit_account_id = credit,
                                  .amount = amount,
                                  .ledger = 1,
                                  .code = 1,
                                  .flags = (uint16_t)flags};
}

#define TF(name) TAEL_TRANSFER_FLAG_##name

static struct tael_transfer post(struct bed *bed, tael_u128 pending_id) {
    return (struct tael_transfer){
        .id = ++bed->id, .pending_id = pending_id, .amount = TAEL_U128_MAX, .flags = TF(post_pending_transfer)};
}

static struct tael_transfer with_id(struct tael_transfer transfer, tael_u128 id) {
    transfer.id = id;
    return transfer;
}

static struct tael_transfer with_timeout(struct tael_transfer transfer, uint32_t timeout) {
    transfer.timeout = timeout;
    return transfer;
}

/* --- the bed --- */

static void accounts_make(struct bed *bed) {
    struct tael_account accounts[PLAIN_ACCOUNTS + 3];
    for (uint32_t i = 0; i < PLAIN_ACCOUNTS + 3; i++)
        accounts[i] = (struct tael_account){.id = i + 1, .ledger = 1, .code = 1};
    accounts[PLAIN_ACCOUNTS].id = CLOSED;
    accounts[PLAIN_ACCOUNTS].flags = TAEL_ACCOUNT_FLAG_closed;
    accounts[PLAIN_ACCOUNTS + 1].id = OTHER_LEDGER;
    accounts[PLAIN_ACCOUNTS + 1].ledger = 2;
    accounts[PLAIN_ACCOUNTS + 2].id = LIMITED;
    accounts[PLAIN_ACCOUNTS + 2].flags = TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits;
    add(bed, TAEL_OPERATION_create_accounts, accounts, PLAIN_ACCOUNTS + 3);
    const struct tael_request *request = (const struct tael_request *)(const void *)bed->block;
    assert_int_equal(tael_ledger_apply(bed->one, request, bed->exceptions_of_one), 0);
    assert_int_equal(tael_ledger_apply(bed->several, request, bed->exceptions), 0);
    forget(bed);
}

static void bed_open(struct bed *bed, uint32_t hash_bits) {
    const struct tael_ledger_options one = {
        .accounts_max = ACCOUNTS_MAX, .transfers_max = TRANSFERS_MAX, .hash_key = 7, .hash_bits = hash_bits};
    struct tael_ledger_options several = one;
    several.workers = WORKERS;
    const size_t exceptions_size = 64 * EVENTS_MAX * sizeof(struct tael_exception);
    *bed = (struct bed){.timestamp = 1000 * TAEL_NS_PER_S, .id = 1000};
    bed->arena.size = tael_ledger_size_bytes(&one) + tael_ledger_size_bytes(&several) +
                      tael_parallel_size_bytes(WORKERS) + 2 * tael_arena_share(exceptions_size) +
                      tael_arena_share(4 * TAEL_BLOCK_SIZE_MAX) + 2 * TAEL_SECTOR_SIZE;
    bed->arena.size &= ~(size_t)(TAEL_SECTOR_SIZE - 1);
    bed->arena.base = aligned_alloc(TAEL_SECTOR_SIZE, bed->arena.size);
    assert_non_null(bed->arena.base);
    memset(bed->arena.base, 0, bed->arena.size);
    bed->one = tael_ledger_init(&bed->arena, &one);
    bed->several = tael_ledger_init(&bed->arena, &several);
    const struct tael_parallel_options options = {
        .team = {.workers = WORKERS, .run = pass_one_after_the_other}, .events_min = 1, .step_events = STEP_EVENTS};
    bed->parallel = tael_parallel_init(&bed->arena, &options, bed->several);
    bed->exceptions_of_one = tael_arena_take(&bed->arena, exceptions_size);
    bed->exceptions = tael_arena_take(&bed->arena, exceptions_size);
    bed->block = tael_arena_take(&bed->arena, 4 * TAEL_BLOCK_SIZE_MAX);
    forget(bed);
    accounts_make(bed);
}

static void bed_close(struct bed *bed) { free(bed->arena.base); }

/* --- what was counted --- */

struct listed {
    enum tael_listed why;
    uint32_t count;
};

/* The last requests had these events listed and no others. */
static void expect_listed(struct bed *bed, const struct listed *expected, uint32_t reasons) {
    const struct tael_parallel_counters now = tael_parallel_counters(bed->parallel);
    uint64_t counts[TAEL_LISTED_REASONS];
    uint64_t all = 0;
    for (uint32_t i = 0; i < TAEL_LISTED_REASONS; i++) counts[i] = now.listed[i] - bed->before.listed[i];
    for (uint32_t i = 0; i < reasons; i++) {
        assert_int_equal(counts[expected[i].why], expected[i].count);
        counts[expected[i].why] = 0;
        all += expected[i].count;
    }
    for (uint32_t i = 0; i < TAEL_LISTED_REASONS; i++) assert_int_equal(counts[i], 0);
    assert_int_equal(now.events_listed - bed->before.events_listed, all);
    assert_int_equal(now.steps_sequential, bed->before.steps_sequential);
}

#define EXPECT_LISTED(bed, ...)                                                                                        \
    expect_listed(bed, (const struct listed[]){__VA_ARGS__},                                                           \
                  sizeof((const struct listed[]){__VA_ARGS__}) / sizeof(struct listed))
#define L(name, count)                                                                                                 \
    { TAEL_LISTED_##name, count }

static void test_what_is_plain_is_not_listed(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    const struct tael_transfer pending = pay(&bed, 3, 4, 5, TF(pending));
    assert_int_equal(SEND(&bed, pay(&bed, 1, 2, 5, 0), pay(&bed, 2, 1, 5, TF(linked)), pay(&bed, 1, 2, 5, 0), pending),
                     0);
    expect_listed(&bed, NULL, 0);
    assert_int_equal(SEND(&bed, post(&bed, pending.id), pay(&bed, 1, LIMITED, 5, 0)), 0);
    expect_listed(&bed, NULL, 0);
    /* A limit that holds even if all that is spent comes first. */
    assert_int_equal(SEND(&bed, pay(&bed, LIMITED, 1, 3, 0), pay(&bed, LIMITED, 1, 2, 0)), 0);
    expect_listed(&bed, NULL, 0);
    bed_close(&bed);
}

static void test_what_fails_by_itself_lists_nobody_else(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    struct tael_transfer no_code = pay(&bed, 1, 2, 1, 0);
    no_code.code = 0;
    struct tael_transfer dated = pay(&bed, 1, 2, 1, 0);
    dated.timestamp = 1;
    struct tael_transfer both = post(&bed, 1);
    both.flags |= TF(void_pending_transfer);
    assert_int_equal(SEND(&bed, no_code, dated, both, pay(&bed, 1, 2, 1, 1u << 15), pay(&bed, 1, 2, 1, 0),
                          pay(&bed, 1, 2, 1, TF(linked))),
                     5);
    EXPECT_LISTED(&bed, L(refused, 5));
    assert_int_equal(SEND(&bed, pay(&bed, 1, 99, 1, 0), pay(&bed, 99, 2, 1, 0), pay(&bed, 1, 2, 1, 0)), 2);
    EXPECT_LISTED(&bed, L(account_unknown, 2));
    struct tael_transfer elsewhere = pay(&bed, 1, 2, 1, 0);
    elsewhere.ledger = 2;
    assert_int_equal(SEND(&bed, pay(&bed, 1, OTHER_LEDGER, 1, 0), elsewhere, pay(&bed, 1, 2, 1, 0)), 2);
    EXPECT_LISTED(&bed, L(account_ledger, 2));
    bed_close(&bed);
}

static void test_post_of_what_is_no_longer_pending_lists_nobody_else(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    const struct tael_transfer plain = pay(&bed, 1, 2, 5, 0);
    const struct tael_transfer posted = pay(&bed, 1, 2, 5, TF(pending));
    const struct tael_transfer open = pay(&bed, 1, 2, 5, TF(pending));
    assert_int_equal(SEND(&bed, plain, posted, open), 0);
    assert_int_equal(SEND(&bed, post(&bed, posted.id)), 0);
    struct tael_transfer too_much = post(&bed, open.id);
    too_much.amount = 6;
    assert_int_equal(
        SEND(&bed, post(&bed, plain.id), post(&bed, posted.id), too_much, pay(&bed, 1, 2, 1, 0), post(&bed, open.id)),
        3);
    EXPECT_LISTED(&bed, L(pending_unfit, 3));
    bed_close(&bed);
}

static void test_ids_that_are_taken_and_pending_transfers_of_the_same_step(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    const struct tael_transfer first = pay(&bed, 1, 2, 5, 0);
    const struct tael_transfer burnt = pay(&bed, CLOSED, 2, 5, 0);
    assert_int_equal(SEND(&bed, first, burnt), 1);
    const struct tael_transfer twice = pay(&bed, 3, 4, 5, 0);
    assert_int_equal(SEND(&bed, first, with_id(pay(&bed, 1, 2, 5, 0), burnt.id), twice, twice, pay(&bed, 1, 2, 1, 0)),
                     3);
    EXPECT_LISTED(&bed, L(id_taken, 3));
    const struct tael_transfer pending = pay(&bed, 1, 2, 5, TF(pending));
    assert_int_equal(SEND(&bed, pending, post(&bed, pending.id), post(&bed, 5), pay(&bed, 1, 2, 1, 0)), 1);
    EXPECT_LISTED(&bed, L(pending_unknown, 2));
    bed_close(&bed);
}

static void test_what_makes_accounts_unsafe_and_what_stands_beside_it(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    assert_int_equal(SEND(&bed, pay(&bed, 1, CLOSED, 1, 0), pay(&bed, 1, 2, 1, 0)), 1);
    EXPECT_LISTED(&bed, L(closed, 1));
    assert_int_equal(SEND(&bed, pay(&bed, 3, 4, 1, 0), pay(&bed, 1, 2, 1, TF(balancing_debit)), pay(&bed, 2, 3, 1, 0)),
                     0);
    EXPECT_LISTED(&bed, L(balancing, 1), L(beside_balancing, 1));
    const struct tael_transfer closing = pay(&bed, 5, 6, 0, TF(pending) | TF(closing_debit));
    assert_int_equal(SEND(&bed, pay(&bed, 6, 1, 1, 0), closing, pay(&bed, 1, 2, 1, 0)), 0);
    EXPECT_LISTED(&bed, L(closing, 1), L(beside_closing, 1));
    struct tael_transfer reopening = post(&bed, closing.id);
    reopening.flags = TF(void_pending_transfer);
    reopening.amount = 0;
    assert_int_equal(SEND(&bed, reopening, pay(&bed, 6, 1, 1, 0), pay(&bed, 1, 2, 1, 0)), 0);
    EXPECT_LISTED(&bed, L(closed, 1), L(beside_closing, 1)); /* the account is closed until then */
    bed_close(&bed);
}

static void test_resolving_what_has_expired_or_what_another_does_too(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    const struct tael_transfer expiring = with_timeout(pay(&bed, 1, 2, 5, TF(pending)), 1);
    const struct tael_transfer pending = pay(&bed, 3, 4, 5, TF(pending));
    assert_int_equal(SEND(&bed, expiring, pending), 0);
    bed.timestamp += 2 * TAEL_NS_PER_S; /* and no pulse has come */
    assert_int_equal(SEND(&bed, post(&bed, expiring.id), pay(&bed, 5, 6, 1, 0), pay(&bed, 6, 2, 1, 0)), 1);
    EXPECT_LISTED(&bed, L(expiry, 1), L(beside_expiry, 1));
    /* The first one and what else is on the debit account stand beside the second. */
    assert_int_equal(
        SEND(&bed, post(&bed, pending.id), post(&bed, pending.id), pay(&bed, 1, 4, 1, 0), pay(&bed, 3, 1, 1, 0)), 1);
    EXPECT_LISTED(&bed, L(contested, 1), L(beside_contested, 2));
    bed_close(&bed);
}

static void test_limits_that_may_not_hold(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    assert_int_equal(SEND(&bed, pay(&bed, 1, LIMITED, 10, 0)), 0);
    /* The third reaches the limit; the credits that would have been enough come before it. */
    assert_int_equal(SEND(&bed, pay(&bed, 2, LIMITED, 9, 0), pay(&bed, LIMITED, 2, 5, 0), pay(&bed, LIMITED, 3, 5, 0),
                          pay(&bed, LIMITED, 4, 5, 0), pay(&bed, 2, 3, 1, 0)),
                     0);
    EXPECT_LISTED(&bed, L(limit, 1), L(beside_limit, 3));
    bed_close(&bed);
}

static void test_a_chain_is_listed_whole_and_the_first_reason_counts(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    assert_int_equal(SEND(&bed, pay(&bed, 1, 2, 1, TF(linked)), pay(&bed, CLOSED, 2, 1, TF(linked)),
                          pay(&bed, 3, 4, 1, 0), pay(&bed, 1, 2, 1, 0)),
                     3);
    EXPECT_LISTED(&bed, L(closed, 1), L(chain, 2));
    /* Refused comes before all; a taken id before a closed account; that before a balancing event. */
    const struct tael_transfer first = pay(&bed, 1, 2, 5, 0);
    assert_int_equal(SEND(&bed, first), 0);
    struct tael_transfer no_code = with_id(pay(&bed, CLOSED, 2, 1, 0), first.id);
    no_code.code = 0;
    assert_int_equal(SEND(&bed, no_code, with_id(pay(&bed, CLOSED, 2, 1, TF(balancing_debit)), first.id),
                          pay(&bed, CLOSED, 2, 1, TF(balancing_debit))),
                     3);
    EXPECT_LISTED(&bed, L(refused, 1), L(id_taken, 1), L(closed, 1));
    bed_close(&bed);
}

/* --- steps that are undone --- */

/* The last requests had one step undone, for this reason. */
static void expect_undone(const struct bed *bed, enum tael_sequential why) {
    const struct tael_parallel_counters now = tael_parallel_counters(bed->parallel);
    for (uint32_t i = 0; i < TAEL_SEQUENTIAL_REASONS; i++) {
        assert_int_equal(now.sequential[i] - bed->before.sequential[i], i == why ? 1 : 0);
    }
    assert_int_equal(now.steps_sequential - bed->before.steps_sequential, 1);
    assert_int_equal(now.steps, bed->before.steps);
}

/* Until a step was applied together again. */
static void rest(struct bed *bed) {
    for (uint32_t i = 0;; i++) {
        assert_true(i < TAEL_PARALLEL_BACKOFF_MAX + 2);
        (void)SEND(bed, pay(bed, 1, 2, 1, 0));
        if (tael_parallel_counters(bed->parallel).steps > bed->before.steps) return;
    }
}

static void test_why_a_step_is_undone(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    const struct tael_transfer pending = pay(&bed, 3, 4, TWO_48, TF(pending));
    assert_int_equal(SEND(&bed, pay(&bed, 1, 2, 1, 0), pending), 0);
    expect_undone(&bed, TAEL_SEQUENTIAL_amount);
    rest(&bed);
    assert_int_equal(SEND(&bed, post(&bed, pending.id), pay(&bed, 1, 2, 1, 0)), 0);
    expect_undone(&bed, TAEL_SEQUENTIAL_amount_pending);
    rest(&bed);
    assert_int_equal(SEND(&bed, pay(&bed, 5, 6, (tael_u128)1 << 62, 0)), 0);
    rest(&bed);
    /* Claims, reservations and marks were there, and are taken back. */
    assert_int_equal(
        SEND(&bed, pay(&bed, 1, 2, 1, TF(balancing_debit)), pay(&bed, LIMITED, 2, 1, 0), pay(&bed, 6, 1, 1, 0)), 1);
    expect_undone(&bed, TAEL_SEQUENTIAL_account_balance);
    rest(&bed);
    assert_int_equal(SEND(&bed, pay(&bed, 7, 8, (tael_u128)1 << 64, 0)), 0);
    rest(&bed);
    assert_int_equal(SEND(&bed, pay(&bed, 8, 1, 1, 0), pay(&bed, 6, 1, 1, 0)), 0);
    expect_undone(&bed, TAEL_SEQUENTIAL_account_wide);
    bed_close(&bed);
    bed_open(&bed, 1);
    assert_int_equal(SEND(&bed, pay(&bed, 1, 2, 1, 0), pay(&bed, 3, 4, 1, 0), pay(&bed, 5, 6, 1, 0)), 0);
    expect_undone(&bed, TAEL_SEQUENTIAL_account_twin);
    bed_close(&bed);
}

/* Among plain events some that ask for all that accounts 9, 8, … have, and give it to 10; and one more that asks for all of that. Two
 * workers route half of them each. */
static void ask_for_all(struct bed *bed, uint32_t accounts) {
    struct tael_transfer transfers[STEP_EVENTS];
    assert_true(accounts < 9);
    for (uint32_t i = 0; i < STEP_EVENTS; i++) transfers[i] = pay(bed, 1, 2, 1, 0);
    for (uint32_t i = 0; i < accounts; i++) {
        transfers[i % 2 * 64 + i] = pay(bed, 9 - i, 10, TAEL_U128_MAX, TF(balancing_debit));
    }
    transfers[STEP_EVENTS - 1] = pay(bed, 10, 11, TAEL_U128_MAX, TF(balancing_debit));
    assert_int_equal(send(bed, transfers, STEP_EVENTS), 0);
}

static void test_a_few_balancing_events_may_ask_for_all_there_is(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    assert_int_equal(SEND(&bed, pay(&bed, 1, 2, TAEL_U128_MAX, TF(balancing_credit)), pay(&bed, 1, 2, 1, 0)), 0);
    EXPECT_LISTED(&bed, L(balancing, 1), L(beside_balancing, 1));
    /* Nine are too many. */
    ask_for_all(&bed, 8);
    expect_undone(&bed, TAEL_SEQUENTIAL_amount_balancing);
    rest(&bed);
    /* Seven accounts have 2^56 - 1 each: the eighth event moves all of it on. */
    for (uint64_t account = 3; account < 10; account++) {
        assert_int_equal(SEND(&bed, pay(&bed, 1, account, ((tael_u128)1 << 56) - 1, 0)), 0);
    }
    rest(&bed);
    const struct tael_account_line *hub = tael_account_table_find_id(&bed.several->accounts, 10);
    const uint64_t before = hub->balance[TAEL_DEBITS_POSTED];
    ask_for_all(&bed, 7);
    EXPECT_LISTED(&bed, L(balancing, 8));
    assert_true(hub->balance[TAEL_DEBITS_POSTED] - before == 7 * (((uint64_t)1 << 56) - 1));
    /* One unit more. */
    assert_int_equal(SEND(&bed, pay(&bed, 1, 6, 1, 0)), 0);
    assert_int_equal(SEND(&bed, pay(&bed, 6, 1, TAEL_U128_MAX, TF(balancing_debit))), 0);
    expect_undone(&bed, TAEL_SEQUENTIAL_amount_balancing);
    rest(&bed);
    /* What it has does not matter where less is asked. */
    assert_int_equal(SEND(&bed, pay(&bed, 6, 1, TWO_48 - 1, TF(balancing_debit))), 0);
    EXPECT_LISTED(&bed, L(balancing, 1));
    bed_close(&bed);
}

/* As many steps of full length, of such amounts. */
static void send_steps(struct bed *bed, uint32_t steps, tael_u128 amount) {
    struct tael_transfer transfers[STEP_EVENTS];
    for (uint32_t i = 0; i < steps; i++) {
        for (uint32_t k = 0; k < STEP_EVENTS; k++) transfers[k] = pay(bed, 1 + k % 4, 5 + k % 4, amount, 0);
        add_transfers(bed, transfers, STEP_EVENTS);
        if (bed->request_count == 3) assert_int_equal(apply(bed), 0);
    }
    if (bed->request_count > 0) assert_int_equal(apply(bed), 0);
}

static void test_a_ledger_of_large_amounts_rarely_tries_a_step(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    send_steps(&bed, 400, TWO_48);
    const struct tael_parallel_counters large = tael_parallel_counters(bed.parallel);
    assert_int_equal(large.steps, 0);
    assert_int_equal(large.events_alone, 400 * STEP_EVENTS);
    assert_int_equal(large.steps_sequential + large.steps_backed_off, 400);
    /* 1 + 2 + 4 + … + 64 steps are backed off from between the first seven attempts, 64 from then on: 12 in 400, 3 %. */
    assert_int_equal(large.steps_sequential, 12);
    bed_close(&bed);
}

static void test_steps_come_back_when_amounts_are_small_again(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    send_steps(&bed, 200, TWO_48);
    const struct tael_parallel_counters large = tael_parallel_counters(bed.parallel);
    send_steps(&bed, 200, 1);
    const struct tael_parallel_counters small = tael_parallel_counters(bed.parallel);
    assert_true(small.steps_backed_off - large.steps_backed_off <= TAEL_PARALLEL_BACKOFF_MAX);
    assert_true(small.steps >= 200 - TAEL_PARALLEL_BACKOFF_MAX);
    assert_int_equal(small.steps_sequential, large.steps_sequential);
    /* From then on a single large one costs two steps, its own and the next. */
    (void)SEND(&bed, pay(&bed, 1, 2, TWO_48, 0));
    send_steps(&bed, 3, 1);
    const struct tael_parallel_counters after = tael_parallel_counters(bed.parallel);
    assert_int_equal(after.steps_sequential - small.steps_sequential, 1);
    assert_int_equal(after.steps_backed_off - small.steps_backed_off, 1);
    assert_int_equal(after.steps - small.steps, 2);
    bed_close(&bed);
}

static void test_a_chain_that_is_longer_than_a_step_goes_by_itself(void **state) {
    (void)state;
    struct bed bed;
    struct tael_transfer chain[STEP_EVENTS + 3];
    bed_open(&bed, 0);
    for (uint32_t attempt = 0; attempt < 2; attempt++) {
        const struct tael_parallel_counters before = tael_parallel_counters(bed.parallel);
        for (uint32_t i = 0; i < STEP_EVENTS + 3; i++) {
            chain[i] = pay(&bed, 1, 2, 1, i > 0 && i < STEP_EVENTS + 1 ? TF(linked) : 0);
        }
        assert_int_equal(send(&bed, chain, STEP_EVENTS + 3), 0);
        const struct tael_parallel_counters after = tael_parallel_counters(bed.parallel);
        assert_int_equal(after.chains_alone - before.chains_alone, 1);
        if (attempt == 0) {
            assert_int_equal(after.events - before.events, 2);
            assert_int_equal(after.events_alone - before.events_alone, STEP_EVENTS + 1);
            (void)SEND(&bed, pay(&bed, 1, 2, TWO_48, 0)); /* the second time while steps back off */
        }
    }
    bed_close(&bed);
}

/* --- what a failed assertion names --- */

/* Applies what was added in a process of its own, which must fail, and returns what that has said. */
static const char *words_of_failure(struct bed *bed) {
    static char words[4096];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        tael_panic_context.op = 77; /* what was done before */
        (void)apply_by_several(bed);
        _exit(0);
    }
    (void)close(ends[1]);
    size_t size = 0;
    for (ssize_t got; (got = read(ends[0], words + size, sizeof words - 1 - size)) > 0;) size += (size_t)got;
    words[size] = '\0';
    (void)close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    return words;
}

/* Two requests of three events, the last of which is `last`, in a ledger that has lost the room for that one. */
static const char *words_of_last(struct bed *bed, struct tael_transfer last) {
    add_transfers(bed, (const struct tael_transfer[]){pay(bed, 1, 2, 1, 0), pay(bed, 3, 4, 1, 0), pay(bed, 1, 4, 1, 0)},
                  3);
    add_transfers(bed, (const struct tael_transfer[]){pay(bed, 1, 2, 1, 0), pay(bed, 3, 4, 1, 0), last}, 3);
    bed->several->journal.count_max = bed->several->journal.count + 5;
    return words_of_failure(bed);
}

static void expect_words(const char *words, const char *place, uint64_t op, uint32_t event) {
    char expected[64];
    (void)snprintf(expected, sizeof expected, "op %" PRIu64 ", event %" PRIu32 ",", op, event);
    if (strstr(words, place) == NULL || strstr(words, expected) == NULL) {
        fail_msg("\"%s\" in \"%s\" expected: %s", expected, place, words);
    }
}

static void test_a_failed_assertion_names_the_op_where_there_is_one(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    const char *in_residue = words_of_last(&bed, pay(&bed, 5, 6, 1, TF(balancing_debit)));
    expect_words(in_residue, "enter_in_step", bed.op, 2);
    bed_close(&bed);
    bed_open(&bed, 0);
    const char *one_by_one = words_of_last(&bed, pay(&bed, 5, 6, TWO_48, 0));
    expect_words(one_by_one, "tael_journal_append", bed.op, 2);
    bed_close(&bed);
    bed_open(&bed, 0);
    const struct tael_transfer pending = pay(&bed, 5, 6, 1, TF(pending));
    assert_int_equal(SEND(&bed, pending), 0);
    bed.several->accounts.lines[5].balance[TAEL_DEBITS_PENDING] = 0;
    add_transfers(&bed, (const struct tael_transfer[]){pay(&bed, 1, 2, 1, 0), post(&bed, pending.id)}, 2);
    expect_words(words_of_failure(&bed), "half_apply", 0, 0);
    bed_close(&bed);
}

static void test_a_step_without_room_is_found_before_anything_is_written(void **state) {
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    bed.several->journal.count_max = bed.several->journal.count + 1;
    add_transfers(&bed, (const struct tael_transfer[]){pay(&bed, 1, 2, 1, 0), pay(&bed, 3, 4, 1, 0)}, 2);
    expect_words(words_of_failure(&bed), "tael_step_apply", 0, 0);
    bed_close(&bed);
}

/* Runs of too few events, or of requests too small, are for one worker. */
static void test_what_is_worth_doing_together(void **state) {
    struct bed bed;
    uint32_t alone;
    (void)state;
    bed_open(&bed, 64);
    const struct tael_parallel_options options = {
        .team = {.workers = WORKERS, .run = pass_one_after_the_other}, .events_min = 6, .request_events_min = 2};
    struct tael_arena arena = {.size = (tael_parallel_size_bytes(WORKERS) + TAEL_SECTOR_SIZE) &
                                       ~(size_t)(TAEL_SECTOR_SIZE - 1)};
    arena.base = aligned_alloc(TAEL_SECTOR_SIZE, arena.size);
    assert_non_null(arena.base);
    memset(arena.base, 0, arena.size);
    const struct tael_parallel *parallel = tael_parallel_init(&arena, &options, bed.several);
    const struct tael_request *first = (const struct tael_request *)(const void *)bed.block;
    struct tael_transfer transfers[6];
    for (uint32_t i = 0; i < 6; i++) transfers[i] = pay(&bed, 1, 2, 1, 0);
    add_transfers(&bed, transfers, 3);
    add_transfers(&bed, transfers, 2);
    assert_int_equal(tael_parallel_run_length(parallel, first, 2, &alone), 0); /* five events */
    assert_int_equal(alone, 2);
    add_transfers(&bed, transfers, 1);
    assert_int_equal(tael_parallel_run_length(parallel, first, 3, &alone), 3); /* six, two a request */
    add_transfers(&bed, transfers, 1);
    assert_int_equal(tael_parallel_run_length(parallel, first, 4, &alone), 0); /* seven, fewer than two a request */
    assert_int_equal(alone, 4);
    free(arena.base);
    bed_close(&bed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_plain_is_not_listed),
        cmocka_unit_test(test_what_fails_by_itself_lists_nobody_else),
        cmocka_unit_test(test_post_of_what_is_no_longer_pending_lists_nobody_else),
        cmocka_unit_test(test_ids_that_are_taken_and_pending_transfers_of_the_same_step),
        cmocka_unit_test(test_what_makes_accounts_unsafe_and_what_stands_beside_it),
        cmocka_unit_test(test_resolving_what_has_expired_or_what_another_does_too),
        cmocka_unit_test(test_limits_that_may_not_hold),
        cmocka_unit_test(test_a_chain_is_listed_whole_and_the_first_reason_counts),
        cmocka_unit_test(test_why_a_step_is_undone),
        cmocka_unit_test(test_a_few_balancing_events_may_ask_for_all_there_is),
        cmocka_unit_test(test_a_ledger_of_large_amounts_rarely_tries_a_step),
        cmocka_unit_test(test_steps_come_back_when_amounts_are_small_again),
        cmocka_unit_test(test_a_chain_that_is_longer_than_a_step_goes_by_itself),
        cmocka_unit_test(test_a_failed_assertion_names_the_op_where_there_is_one),
        cmocka_unit_test(test_a_step_without_room_is_found_before_anything_is_written),
        cmocka_unit_test(test_what_is_worth_doing_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
