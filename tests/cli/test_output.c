/* What commands print and how they read a trial balance: rows of numbers and their texts, rows of replies and their
 * verdicts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "cli/output.h"
#include "cli/trial_balance.h"

static void test_numbers_have_commas_and_cents_a_point(void **state) {
    (void)state;
    static const struct {
        uint64_t number;
        const char *text;
        const char *cents;
    } rows[] = {
        {0, "0", "0.00"},
        {7, "7", "0.07"},
        {99, "99", "0.99"},
        {100, "100", "1.00"},
        {999, "999", "9.99"},
        {1000, "1,000", "10.00"},
        {100000, "100,000", "1,000.00"},
        {20123398766, "20,123,398,766", "201,233,987.66"},
        {UINT64_MAX, "18,446,744,073,709,551,615", "184,467,440,737,095,516.15"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[TAEL_NUMBER_TEXT_SIZE];
        assert_string_equal(tael_number_format(rows[i].number, text), rows[i].text);
        assert_string_equal(tael_cents_format(rows[i].number, text), rows[i].cents);
    }
}

static void test_sums_of_256_bits_are_decimal(void **state) {
    (void)state;
    static const struct {
        struct tael_trial_balance_sum sum;
        const char *text;
    } rows[] = {
        {{{0, 0, 0, 0}}, "0"},
        {{{10, 0, 0, 0}}, "10"},
        {{{UINT64_MAX, 0, 0, 0}}, "18446744073709551615"},
        {{{0, 1, 0, 0}}, "18446744073709551616"},
        {{{UINT64_MAX, UINT64_MAX, 0, 0}}, "340282366920938463463374607431768211455"},
        {{{0, 0, 1, 0}}, "340282366920938463463374607431768211456"},
        {{{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}},
         "115792089237316195423570985008687907853269984665640564039457584007913129639935"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[TAEL_SUM_TEXT_SIZE];
        assert_string_equal(tael_sum_format(&rows[i].sum, text), rows[i].text);
    }
}

static void test_a_trial_balance_is_judged_by_every_row(void **state) {
    (void)state;
    enum { ROWS = 4 };
    static const struct {
        uint32_t rows; /* behind the head */
        uint64_t ledgers; /* as the head has it */
        int wrong_row; /* -1: none */
        bool is_pending_wrong;
        bool is_balanced;
    } cases[] = {
        {0, 0, -1, false, true}, {3, 3, -1, false, true}, {3, 3, 0, false, false},
        {3, 3, 2, true, false},  {3, 9, -1, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tael_trial_balance_row rows[ROWS] = {{.accounts = cases[i].ledgers}};
        for (uint32_t row = 1; row <= cases[i].rows; row++) {
            rows[row].ledger = row;
            rows[row].debits_posted.words[row] = row;
            rows[row].credits_posted.words[row] = row;
        }
        if (cases[i].wrong_row >= 0 && cases[i].is_pending_wrong)
            rows[cases[i].wrong_row + 1].debits_pending.words[3] = 1;
        if (cases[i].wrong_row >= 0 && !cases[i].is_pending_wrong)
            rows[cases[i].wrong_row + 1].credits_posted.words[0]++;
        struct tael_trial_balance balance;
        assert_int_equal(tael_trial_balance_read(rows, cases[i].rows + 1, 17, &balance), 0);
        assert_int_equal(balance.count, cases[i].rows);
        assert_int_equal(balance.ledgers, cases[i].ledgers);
        assert_int_equal(balance.op, 17);
        assert_int_equal(balance.is_balanced, cases[i].is_balanced);
    }
}

static void test_what_is_no_trial_balance_is_refused(void **state) {
    (void)state;
    struct tael_trial_balance_row rows[3] = {{.accounts = 2}};
    struct tael_trial_balance balance;
    assert_int_equal(tael_trial_balance_read(rows, 0, 1, &balance), -EPROTO);
    assert_int_equal(tael_trial_balance_read(rows, 3, 1, &balance), 0);
    rows[0].accounts = 1; /* fewer than follow */
    assert_int_equal(tael_trial_balance_read(rows, 3, 1, &balance), -EPROTO);
    rows[0].accounts = 2;
    rows[0].ledger = 5; /* no head */
    assert_int_equal(tael_trial_balance_read(rows, 3, 1, &balance), -EPROTO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_have_commas_and_cents_a_point),
        cmocka_unit_test(test_sums_of_256_bits_are_decimal),
        cmocka_unit_test(test_a_trial_balance_is_judged_by_every_row),
        cmocka_unit_test(test_what_is_no_trial_balance_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
