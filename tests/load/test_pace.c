/* When batches are meant to be sent at a given rate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <tael/limits.h>

#include "bench/load/pace.h"

static void test_batches_are_evenly_apart(void **state) {
    const struct tael_pace pace = {.begin_ns = 1000, .rate = 100000, .batch = 100};
    (void)state;
    assert_int_equal(tael_pace_intended_ns(&pace, 0), 1000);
    assert_int_equal(tael_pace_intended_ns(&pace, 1), 1000 + 1000000);
    assert_int_equal(tael_pace_intended_ns(&pace, 7), 1000 + 7000000);
}

/* A third of a nanosecond a batch must not add up. */
static void test_intended_times_do_not_drift(void **state) {
    const struct tael_pace pace = {.begin_ns = 5, .rate = 3, .batch = 1};
    (void)state;
    assert_int_equal(tael_pace_intended_ns(&pace, 1), 5 + 333333333);
    assert_int_equal(tael_pace_intended_ns(&pace, 3000000000), 5 + 1000000000ull * TAEL_NS_PER_S);
}

/* Up to the fastest rate that can be asked for, for a hundred years. */
static void test_nothing_overflows(void **state) {
    const uint64_t seconds = 100ull * 365 * 86400;
    const struct tael_pace pace = {.begin_ns = TAEL_NS_PER_S, .rate = 1000000000, .batch = 8000};
    (void)state;
    assert_int_equal(tael_pace_intended_ns(&pace, seconds * 125000), (1 + seconds) * TAEL_NS_PER_S);
}

static void test_later_batches_are_never_earlier(void **state) {
    const struct tael_pace pace = {.begin_ns = 12345, .rate = 999999937, .batch = 1};
    uint64_t last_ns = 0;
    (void)state;
    for (uint64_t number = 0; number < 100000; number++) {
        const uint64_t intended_ns = tael_pace_intended_ns(&pace, number);
        assert_true(intended_ns >= last_ns);
        last_ns = intended_ns;
    }
    assert_int_equal(last_ns, 12345 + 99999);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_are_evenly_apart),
        cmocka_unit_test(test_intended_times_do_not_drift),
        cmocka_unit_test(test_nothing_overflows),
        cmocka_unit_test(test_later_batches_are_never_earlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
