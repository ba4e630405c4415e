/* The histogram of latencies: percentiles against the sorted values themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/load/histogram.h"
#include "tests/support/random.h"

static struct tael_histogram histogram, other;

static int empty(void **state) {
    (void)state;
    histogram = other = (struct tael_histogram){0};
    return 0;
}

static void test_nothing_recorded_is_zero(void **state) {
    (void)state;
    assert_int_equal(tael_histogram_percentile(&histogram, 99000), 0);
    assert_true(tael_histogram_mean(&histogram) == 0);
}

static void test_small_values_are_exact(void **state) {
    (void)state;
    for (uint64_t value = 1; value <= 100; value++) tael_histogram_record(&histogram, value);
    assert_int_equal(tael_histogram_percentile(&histogram, 50000), 50);
    assert_int_equal(tael_histogram_percentile(&histogram, 99000), 99);
    assert_int_equal(tael_histogram_percentile(&histogram, 99900), 100);
    assert_int_equal(tael_histogram_percentile(&histogram, 0), 1);
    assert_true(tael_histogram_mean(&histogram) == 50.5);
}

static void test_every_power_of_two_has_its_bucket(void **state) {
    (void)state;
    for (int shift = 0; shift < 64; shift++) {
        empty(NULL);
        tael_histogram_record(&histogram, (uint64_t)1 << shift);
        tael_histogram_record(&histogram, UINT64_MAX);
        const uint64_t half = tael_histogram_percentile(&histogram, 50000);
        assert_true(half >= (uint64_t)1 << shift);
        assert_true(half - ((uint64_t)1 << shift) <= ((uint64_t)1 << shift) / 128);
        assert_true(tael_histogram_percentile(&histogram, 100000) == UINT64_MAX);
    }
}

static int value_compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Values over nine powers of ten, as latencies have them. */
static void test_percentiles_are_within_a_128th_and_never_below(void **state) {
    enum { COUNT = 100000 };
    static uint64_t values[COUNT];
    struct test_random random = {.state = 7};
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        values[i] = test_random_u64(&random) >> (30 + test_random_below(&random, 30));
        tael_histogram_record(i % 2 == 0 ? &histogram : &other, values[i]);
    }
    tael_histogram_merge(&histogram, &other);
    qsort(values, COUNT, sizeof values[0], value_compare);
    assert_int_equal(histogram.count, COUNT);
    assert_int_equal(histogram.maximum, values[COUNT - 1]);
    for (uint32_t per_100000 = 1; per_100000 <= 100000; per_100000 += 37) {
        const uint64_t exact = values[per_100000 - 1];
        const uint64_t found = tael_histogram_percentile(&histogram, per_100000);
        assert_true(found >= exact);
        assert_true(found - exact <= exact / 128);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_recorded_is_zero, empty),
        cmocka_unit_test_setup(test_small_values_are_exact, empty),
        cmocka_unit_test_setup(test_every_power_of_two_has_its_bucket, empty),
        cmocka_unit_test_setup(test_percentiles_are_within_a_128th_and_never_below, empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
