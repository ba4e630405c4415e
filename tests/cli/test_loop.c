/* A loop that is told to end, or to print, does so before it sleeps again, whenever it is told: in the midst of any turn, the one behind
 * which it would fall asleep included. A role tells its own loop, in its poll, as another loop's might at that very moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/loop.h"

enum { POLLS = 6 }; /* where the loop is rung three turns, each with the last look before sleep */

struct teller {
    struct tael_loop loop;
    struct tael_role role;
    uint32_t polls;
    uint32_t tells_at; /* in which poll */
    bool asks; /* for counters, whose printing ends the loop */
    bool has_told;
    uint32_t sleeps_begun; /* since it told */
    uint32_t prints;
    _Atomic bool ended;
    _Atomic uint32_t asked;
};

static int teller_poll(void *context, const struct tael_clock_reading *now) {
    struct teller *teller = context;
    (void)now;
    if (++teller->polls != teller->tells_at) return 0;
    teller->has_told = true;
    if (teller->asks) {
        atomic_fetch_add(&teller->asked, 1);
    } else {
        atomic_store(&teller->ended, true);
    }
    tael_loop_wake(&teller->loop);
    return 0;
}

/* Asked before each sleep. Until the loop is told to end it wakes at once. */
static uint64_t teller_idle_ns(void *context, const struct tael_clock_reading *now) {
    struct teller *teller = context;
    (void)now;
    if (!teller->has_told) return 0;
    teller->sleeps_begun++;
    return UINT64_MAX;
}

static void teller_print(void *context) {
    struct teller *teller = context;
    teller->prints++;
    atomic_store(&teller->ended, true);
}

static void tells_at(uint32_t poll, bool asks, bool has_ring, bool is_rung) {
    static struct teller teller;
    teller = (struct teller){
        .role = {.name = "teller",
                 .context = &teller,
                 .poll = teller_poll,
                 .idle_ns = teller_idle_ns,
                 .print = teller_print},
        .tells_at = poll,
        .asks = asks,
    };
    const struct tael_loop_options options = {.has_ring = has_ring, .ring_entries = 8, .ring_completions = 16};
    if (tael_loop_open(&teller.loop, &options) != 0) skip(); /* no io_uring: it has said so */
    tael_loop_add(&teller.loop, &teller.role);
    if (is_rung) {
        struct tael_role other = {.name = "other"};
        struct tael_loop others = {.role_count = 0};
        struct tael_watermark watermark = {0};
        tael_role_hands(&other, &others, NULL, &watermark, &teller.loop);
    }
    assert_int_equal(tael_loop_run(&teller.loop, &teller.ended, &teller.asked), 0);
    tael_loop_close(&teller.loop);
    assert_true(teller.has_told);
    assert_int_equal(teller.prints, asks ? 1 : 0);
    assert_int_equal(teller.sleeps_begun, 0);
}

static void tells_in_each_poll(bool asks, bool has_ring) {
    for (uint32_t poll = 1; poll <= POLLS; poll++) {
        tells_at(poll, asks, has_ring, false);
        tells_at(poll, asks, has_ring, true);
    }
}

static void test_the_end_comes_before_sleep(void **state) {
    (void)state;
    tells_in_each_poll(false, false);
}

static void test_the_end_comes_before_sleep_in_the_ring(void **state) {
    (void)state;
    tells_in_each_poll(false, true);
}

static void test_counters_come_before_sleep(void **state) {
    (void)state;
    tells_in_each_poll(true, false);
}

static void test_counters_come_before_sleep_in_the_ring(void **state) {
    (void)state;
    tells_in_each_poll(true, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_end_comes_before_sleep),
        cmocka_unit_test(test_the_end_comes_before_sleep_in_the_ring),
        cmocka_unit_test(test_counters_come_before_sleep),
        cmocka_unit_test(test_counters_come_before_sleep_in_the_ring),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
