/* Memory is touched ahead, reserves are not, and what stands there stays. Judged by what the kernel says is resident. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/memory.h"
#include "cli/touch.h"

#define PART_SIZE ((size_t)4 << 20)

/* Pages of a part that are resident; all parts are whole huge pages, so none shares one with its neighbour. */
static size_t resident_pages(void *part) {
    static unsigned char resident[PART_SIZE / 4096];
    assert_int_equal(mincore(part, PART_SIZE, resident), 0);
    size_t pages = 0;
    for (size_t i = 0; i < PART_SIZE / (size_t)sysconf(_SC_PAGESIZE); i++) pages += resident[i] & 1;
    return pages;
}

static void test_all_but_reserves_is_touched_and_keeps_its_contents(void **state) {
    (void)state;
    struct tael_arena arena;
    assert_int_equal(tael_memory_map(&arena, 6 * PART_SIZE), 0);
    /* Parts are placed by address, so that they begin on huge pages. */
    const size_t aligned = (PART_SIZE - (uintptr_t)arena.base % PART_SIZE) % PART_SIZE;
    if (aligned > 0) (void)tael_arena_take(&arena, aligned);
    uint8_t *first = tael_arena_take_aligned(&arena, PART_SIZE);
    uint8_t *reserve = tael_arena_take_reserve(&arena, PART_SIZE);
    uint8_t *last = tael_arena_take_aligned(&arena, PART_SIZE);
    uint8_t *unused = last + PART_SIZE;
    first[12345] = 7;
    struct tael_touch touch = {.arena = arena};
    tael_touch_run(&touch);
    const size_t all = PART_SIZE / (size_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(resident_pages(first), all);
    assert_int_equal(resident_pages(reserve), 0);
    assert_int_equal(resident_pages(last), all);
    assert_int_equal(resident_pages(unused), 0);
    assert_int_equal(first[12345], 7);
    assert_int_equal(last[0], 0);
    tael_memory_unmap(&arena);
}

static void test_it_stops_when_told(void **state) {
    (void)state;
    struct tael_arena arena;
    assert_int_equal(tael_memory_map(&arena, 2 * PART_SIZE), 0);
    uint8_t *part = tael_arena_take_aligned(&arena, PART_SIZE);
    struct tael_touch touch = {.arena = arena};
    atomic_store(&touch.stop, true);
    tael_touch_run(&touch);
    assert_int_equal(resident_pages(part), 0);
    tael_memory_unmap(&arena);
}

static void test_a_thread_ends_when_it_is_told_or_was_never_begun(void **state) {
    (void)state;
    struct tael_arena arena;
    assert_int_equal(tael_memory_map(&arena, 2 * PART_SIZE), 0);
    (void)tael_arena_take_aligned(&arena, PART_SIZE);
    struct tael_touch touch = {0};
    tael_touch_end(&touch);
    tael_touch_begin(&touch, &arena);
    assert_true(touch.begun);
    tael_touch_end(&touch);
    assert_false(touch.begun);
    tael_memory_unmap(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_but_reserves_is_touched_and_keeps_its_contents),
        cmocka_unit_test(test_it_stops_when_told),
        cmocka_unit_test(test_a_thread_ends_when_it_is_told_or_was_never_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
