/* The clock policy: what is refused at the start, and which leaps are not followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/clock.h"

#define SECOND 1000000000ull
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define NOW (20000 * DAY)

static void test_start_judges_the_clock_by_the_ledger(void **state) {
    (void)state;
    const struct {
        uint64_t wall, last, format;
        enum tael_clock_verdict verdict;
    } rows[] = {
        {NOW, 0, NOW, TAEL_CLOCK_GOOD}, /* just formatted */
        {NOW, NOW, NOW - DAY, TAEL_CLOCK_GOOD},
        {NOW, 0, NOW + DAY, TAEL_CLOCK_GOOD}, /* an empty ledger holds no timestamp to contradict */
        {NOW, NOW + 1, NOW, TAEL_CLOCK_SLIGHTLY_BEHIND},
        {NOW, NOW + HOUR, NOW, TAEL_CLOCK_SLIGHTLY_BEHIND},
        {NOW, NOW + HOUR + 1, NOW, TAEL_CLOCK_BEHIND},
        {NOW, NOW - 7 * DAY, 1, TAEL_CLOCK_GOOD},
        {NOW, NOW - 7 * DAY - 1, 1, TAEL_CLOCK_FAR_AHEAD},
        {NOW, NOW - 400 * DAY, 1, TAEL_CLOCK_FAR_AHEAD},
        {NOW, NOW - 400 * DAY - 1, 1, TAEL_CLOCK_AHEAD},
        {NOW, 0, NOW - 400 * DAY - 1, TAEL_CLOCK_AHEAD},
        {NOW, NOW - 500 * DAY, NOW - 300 * DAY, TAEL_CLOCK_FAR_AHEAD}, /* the later of the two counts */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(tael_clock_check(rows[i].wall, rows[i].last, rows[i].format), rows[i].verdict);
    }
}

static struct tael_clock_reading at(uint64_t wall_ns, uint64_t monotonic_ns) {
    return (struct tael_clock_reading){.wall_ns = wall_ns, .monotonic_ns = monotonic_ns};
}

static void test_clock_that_is_slewed_is_followed(void **state) {
    (void)state;
    struct tael_clock clock;
    enum tael_clock_event event;
    tael_clock_begin(&clock, at(NOW, 5));
    uint64_t wall = NOW;
    for (uint64_t i = 1; i < 1000; i++) {
        wall += SECOND + SECOND / 20;
        assert_int_equal(tael_clock_follow(&clock, at(wall, 5 + i * SECOND), &event), wall);
        assert_int_equal(event, TAEL_CLOCK_STEADY);
    }
}

static void check_leap(int64_t leap_ns) {
    struct tael_clock clock;
    enum tael_clock_event event;
    tael_clock_begin(&clock, at(NOW, 5));
    const uint64_t off = NOW + (uint64_t)leap_ns;
    assert_int_equal(tael_clock_follow(&clock, at(off + SECOND, 5 + SECOND), &event), NOW + SECOND);
    assert_int_equal(event, TAEL_CLOCK_LEAPT);
    assert_int_equal(clock.leap_ns, leap_ns);
    /* Told once; time goes on by the monotonic clock, however long the sleep. */
    assert_int_equal(tael_clock_follow(&clock, at(off + HOUR, 5 + HOUR), &event), NOW + HOUR);
    assert_int_equal(event, TAEL_CLOCK_STEADY);
    tael_clock_confirm(&clock, at(off + HOUR, 5 + HOUR));
    assert_int_equal(tael_clock_follow(&clock, at(off + HOUR + 1, 6 + HOUR), &event), off + HOUR + 1);
    assert_int_equal(event, TAEL_CLOCK_STEADY);
}

static void test_leap_is_told_and_not_followed_until_confirmed(void **state) {
    (void)state;
    check_leap((int64_t)DAY);
    check_leap(-(int64_t)DAY);
    check_leap((int64_t)(2 * SECOND));
    check_leap(-(int64_t)(2 * SECOND));
}

static void test_clock_that_comes_back_is_followed_again(void **state) {
    (void)state;
    struct tael_clock clock;
    enum tael_clock_event event;
    tael_clock_begin(&clock, at(NOW, 5));
    (void)tael_clock_follow(&clock, at(NOW + DAY, 5 + SECOND), &event);
    assert_int_equal(event, TAEL_CLOCK_LEAPT);
    assert_int_equal(tael_clock_follow(&clock, at(NOW + 2 * SECOND + 7, 5 + 2 * SECOND), &event), NOW + 2 * SECOND + 7);
    assert_int_equal(event, TAEL_CLOCK_RETURNED);
}

static void test_readings_of_the_kernel_rise(void **state) {
    (void)state;
    const struct tael_clock_reading first = tael_clock_read();
    const struct tael_clock_reading second = tael_clock_read();
    assert_true(first.wall_ns > 0);
    assert_true(second.monotonic_ns >= first.monotonic_ns);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_judges_the_clock_by_the_ledger),
        cmocka_unit_test(test_clock_that_is_slewed_is_followed),
        cmocka_unit_test(test_leap_is_told_and_not_followed_until_confirmed),
        cmocka_unit_test(test_clock_that_comes_back_is_followed_again),
        cmocka_unit_test(test_readings_of_the_kernel_rise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
