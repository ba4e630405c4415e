/* When a ledger that fills up is worth a word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/room.h"

static void test_steps_are_reached_exactly(void **state) {
    (void)state;
    const struct {
        uint64_t taken, max;
        uint32_t step;
    } rows[] = {
        {0, 100, 0},
        {79, 100, 0},
        {80, 100, 80},
        {89, 100, 80},
        {90, 100, 90},
        {94, 100, 90},
        {95, 100, 95},
        {100, 100, 95},
        {0, 1, 0},
        {1, 1, 95},
        {12, 16, 0},
        {13, 16, 80},
        {15, 16, 90},
        {TAEL_TRANSFERS_MAX, TAEL_TRANSFERS_MAX, 95},
        {TAEL_TRANSFERS_MAX / 2, TAEL_TRANSFERS_MAX, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(tael_room_step(rows[i].taken, rows[i].max), rows[i].step);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps_are_reached_exactly)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
