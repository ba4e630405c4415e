/* The transfers of the load generator: their accounts are chosen as asked for, what is settled was pending since an earlier
 * batch, chains end with their batch, and the same seed makes the same. From fixed seeds, so nothing here is left to luck. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tael/flag.h>
#include <tael/limits.h>

#include "bench/load/mix.h"

enum { ACCOUNTS = 1000, DRAWS = 400000 };

static struct tael_transfer events[TAEL_EVENTS_MAX];

static struct tael_mix_options options_plain(void) {
    return (struct tael_mix_options){
        .accounts = ACCOUNTS, .seed = 42, .run = 7, .ledger = 3, .streams = 2, .batch = 1000, .chain_length = 4};
}

static uint64_t account_index(tael_u128 id) {
    const uint64_t index = tael_u128_low(id) - 1;
    const struct tael_mix_options options = options_plain();
    assert_true(index < ACCOUNTS);
    assert_true(tael_mix_account(&options, index).id == id);
    return index;
}

/* How often each account is debited and credited in DRAWS transfers. */
struct tally {
    uint64_t debits[ACCOUNTS], credits[ACCOUNTS];
};

static struct tally tally_make(const struct tael_mix_options *options) {
    struct tael_mix mix;
    struct tael_mix_stream stream;
    struct tally tally = {0};
    assert_int_equal(tael_mix_init(&mix, options), 0);
    assert_int_equal(tael_mix_stream_init(&mix, 0, &stream), 0);
    for (uint32_t done = 0; done < DRAWS; done += options->batch) {
        tael_mix_fill(&mix, &stream, events, options->batch);
        for (uint32_t i = 0; i < options->batch; i++) {
            assert_true(events[i].debit_account_id != events[i].credit_account_id);
            assert_int_equal(events[i].ledger, 3);
            tally.debits[account_index(events[i].debit_account_id)]++;
            tally.credits[account_index(events[i].credit_account_id)]++;
        }
    }
    tael_mix_stream_free(&stream);
    tael_mix_free(&mix);
    return tally;
}

/* Within five standard deviations of what is expected. */
static void assert_near(uint64_t found, double expected) {
    if (fabs((double)found - expected) > 5 * sqrt(expected) + 1)
        fail_msg("%g expected, %g found", expected, (double)found);
}

static void test_uniform_chooses_all_alike(void **state) {
    const struct tael_mix_options options = options_plain();
    const struct tally tally = tally_make(&options);
    (void)state;
    for (int i = 0; i < ACCOUNTS; i++) {
        assert_near(tally.debits[i], (double)DRAWS / ACCOUNTS);
        assert_near(tally.credits[i], (double)DRAWS / ACCOUNTS);
    }
}

static void test_hot_credits_one_merchant(void **state) {
    struct tael_mix_options options = options_plain();
    (void)state;
    options.choice = TAEL_MIX_HOT;
    options.hot_percent = 30;
    const struct tally tally = tally_make(&options);
    assert_near(tally.credits[0], DRAWS * 0.3 + DRAWS * 0.7 / ACCOUNTS);
    assert_near(tally.debits[0], (double)DRAWS / ACCOUNTS);
    assert_near(tally.credits[500], DRAWS * 0.7 / ACCOUNTS);
}

/* Debits are drawn from the distribution itself; a credit that would be the same account goes to the next one. */
static void zipf_check(uint32_t theta_percent) {
    const double theta = (double)theta_percent / 100;
    struct tael_mix_options options = options_plain();
    options.choice = TAEL_MIX_ZIPF;
    options.theta_percent = theta_percent;
    const struct tally tally = tally_make(&options);
    double sum = 0;
    for (int k = 1; k <= ACCOUNTS; k++) sum += pow(k, -theta);
    for (int k = 1; k <= ACCOUNTS; k++) {
        assert_near(tally.debits[k - 1], DRAWS * pow(k, -theta) / sum);
    }
}

static void test_zipf_falls_with_the_power_asked_for(void **state) {
    (void)state;
    zipf_check(50);
    zipf_check(99);
    zipf_check(100);
    zipf_check(150);
}

/* --- batches --- */

enum { BATCHES = 60 };

struct counts {
    uint64_t plain, pending, posts, voids, linked, chains;
};

/* Makes batches of these sizes and holds each against the rules that all must keep. */
static struct counts batches_check(const struct tael_mix_options *options, uint32_t (*size)(uint32_t number)) {
    static uint8_t
        was_pending[BATCHES * TAEL_EVENTS_MAX + 1]; /* by lower half: 0 no, 1 in this batch, 2 before, 3 settled */
    struct tael_mix mix;
    struct tael_mix_stream stream;
    struct counts counts = {0};
    uint64_t last_id = 0;
    memset(was_pending, 0, sizeof was_pending);
    assert_int_equal(tael_mix_init(&mix, options), 0);
    assert_int_equal(tael_mix_stream_init(&mix, 0, &stream), 0);
    for (uint32_t number = 0; number < BATCHES; number++) {
        const uint32_t count = size(number);
        const uint64_t first_id = last_id + 1;
        tael_mix_fill(&mix, &stream, events, count);
        uint32_t in_chain = 0;
        for (uint32_t i = 0; i < count; i++) {
            const struct tael_transfer *event = &events[i];
            assert_true(event->id == tael_u128_make(7, ++last_id));
            in_chain = (event->flags & TAEL_TRANSFER_FLAG_linked) != 0 ? in_chain + 1 : 0;
            assert_true(in_chain < options->chain_length);
            counts.linked += in_chain > 0;
            counts.chains += in_chain == 1;
            if ((event->flags & TAEL_TRANSFER_FLAG_pending) != 0) {
                counts.pending++;
                was_pending[last_id] = 1;
            } else if (event->pending_id != 0) {
                assert_int_equal(tael_u128_high(event->pending_id), 7);
                assert_int_equal(was_pending[tael_u128_low(event->pending_id)], 2);
                was_pending[tael_u128_low(event->pending_id)] = 3;
                counts.posts += event->flags == TAEL_TRANSFER_FLAG_post_pending_transfer;
                counts.voids += event->flags == TAEL_TRANSFER_FLAG_void_pending_transfer;
            } else {
                counts.plain++;
            }
        }
        assert_int_equal(in_chain, 0);
        for (uint64_t id = first_id; id <= last_id; id++) was_pending[id] = was_pending[id] == 1 ? 2 : was_pending[id];
    }
    tael_mix_stream_free(&stream);
    tael_mix_free(&mix);
    return counts;
}

static uint32_t size_full(uint32_t number) {
    (void)number;
    return 1000;
}
static uint32_t size_one(uint32_t number) {
    (void)number;
    return 1;
}
static uint32_t size_uneven(uint32_t number) { return 1 + number * 379 % 1000; }

static void test_half_pending_half_settled(void **state) {
    struct tael_mix_options options = options_plain();
    (void)state;
    options.pending_percent = 50;
    options.void_percent = 25;
    const struct counts counts = batches_check(&options, size_full);
    /* The first batch has nothing to settle. */
    assert_in_range(counts.pending, BATCHES * 500 - 2, BATCHES * 500 + 2);
    assert_in_range(counts.posts + counts.voids, (BATCHES - 1) * 500 - 4, (BATCHES - 1) * 500 + 4);
    assert_in_range(counts.voids, (counts.posts + counts.voids) / 4 - 1, (counts.posts + counts.voids) / 4 + 1);
}

static void test_chains_end_with_their_batch(void **state) {
    struct tael_mix_options options = options_plain();
    (void)state;
    options.chain_percent = 100;
    options.chain_length = 7;
    struct counts counts = batches_check(&options, size_full);
    assert_int_equal(counts.linked, counts.chains * 6);
    assert_in_range(counts.chains, BATCHES * 140, BATCHES * 142);
    batches_check(&options, size_uneven);
    counts = batches_check(&options, size_one);
    assert_int_equal(counts.chains, 0);
}

static void test_all_kinds_together_keep_their_shares(void **state) {
    struct tael_mix_options options = options_plain();
    (void)state;
    options.pending_percent = 20;
    options.chain_percent = 40;
    const struct counts counts = batches_check(&options, size_full);
    assert_in_range(counts.pending, BATCHES * 199, BATCHES * 201);
    assert_in_range(counts.posts, (BATCHES - 1) * 199, (BATCHES - 1) * 201);
    assert_in_range(counts.chains, BATCHES * 98, BATCHES * 101);
    batches_check(&options, size_uneven);
    batches_check(&options, size_one);
}

static void test_batches_of_one_settle_too(void **state) {
    struct tael_mix_options options = options_plain();
    (void)state;
    options.batch = 1;
    options.pending_percent = 50;
    const struct counts counts = batches_check(&options, size_one);
    assert_in_range(counts.posts, BATCHES / 2 - 2, BATCHES / 2);
}

static void test_a_batch_is_made_again_from_the_state_before(void **state) {
    static struct tael_transfer first[1000];
    struct tael_mix_options options = options_plain();
    struct tael_mix mix;
    struct tael_mix_stream stream;
    (void)state;
    options.pending_percent = 30;
    options.chain_percent = 40;
    assert_int_equal(tael_mix_init(&mix, &options), 0);
    assert_int_equal(tael_mix_stream_init(&mix, 1, &stream), 0);
    for (int i = 0; i < 50; i++) {
        const struct tael_mix_state before = stream.state;
        tael_mix_fill(&mix, &stream, first, 1000);
        stream.state = before;
        tael_mix_fill(&mix, &stream, events, 17);
        stream.state = before;
        tael_mix_fill(&mix, &stream, events, 1000);
        assert_memory_equal(events, first, sizeof first);
    }
    tael_mix_stream_free(&stream);
    tael_mix_free(&mix);
}

static void test_streams_have_ids_of_their_own(void **state) {
    const struct tael_mix_options options = options_plain();
    struct tael_mix mix;
    struct tael_mix_stream streams[2];
    tael_u128 ids[2];
    (void)state;
    assert_int_equal(tael_mix_init(&mix, &options), 0);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(tael_mix_stream_init(&mix, i, &streams[i]), 0);
        tael_mix_fill(&mix, &streams[i], events, 1000);
        ids[i] = events[999].id;
        tael_mix_stream_free(&streams[i]);
    }
    assert_true(tael_u128_high(ids[0]) == 7);
    assert_true(tael_u128_high(ids[1]) == 7);
    assert_true(tael_u128_low(ids[1]) - tael_u128_low(ids[0]) == 1ull << 40);
    tael_mix_free(&mix);
}

static void test_accounts_differ_by_ledger_and_history(void **state) {
    struct tael_mix_options options = options_plain();
    const struct tael_account account = tael_mix_account(&options, 5);
    (void)state;
    options.history = true;
    const struct tael_account with_history = tael_mix_account(&options, 5);
    options.ledger = 4;
    assert_true(account.id != with_history.id);
    assert_true(tael_mix_account(&options, 5).id != with_history.id);
    assert_int_equal(with_history.flags, TAEL_ACCOUNT_FLAG_history);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform_chooses_all_alike),
        cmocka_unit_test(test_hot_credits_one_merchant),
        cmocka_unit_test(test_zipf_falls_with_the_power_asked_for),
        cmocka_unit_test(test_half_pending_half_settled),
        cmocka_unit_test(test_chains_end_with_their_batch),
        cmocka_unit_test(test_all_kinds_together_keep_their_shares),
        cmocka_unit_test(test_batches_of_one_settle_too),
        cmocka_unit_test(test_a_batch_is_made_again_from_the_state_before),
        cmocka_unit_test(test_streams_have_ids_of_their_own),
        cmocka_unit_test(test_accounts_differ_by_ledger_and_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
