/* Lists of processors are read piece by piece and written in spans, and a list that is too long says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/processor_list.h"

static void test_a_span_is_one_number_or_two_that_do_not_fall(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_taken;
        uint32_t first, last;
        const char *rest;
    } rows[] = {
        {"0", true, 0, 0, ""},
        {"17,18", true, 17, 17, ",18"},
        {"1-3", true, 1, 3, ""},
        {"1-3\n", true, 1, 3, "\n"},
        {"2-2", true, 2, 2, ""},
        {"1-3-5", true, 1, 3, "-5"},
        {"4294967295", true, UINT32_MAX, UINT32_MAX, ""},
        {"4294967296", false, 0, 0, "4294967296"},
        {"42949672950", false, 0, 0, "42949672950"},
        {"3-1", false, 0, 0, "3-1"},
        {"1-", false, 0, 0, "1-"},
        {"-1", false, 0, 0, "-1"},
        {"+1", false, 0, 0, "+1"},
        {" 1", false, 0, 0, " 1"},
        {"", false, 0, 0, ""},
        {"\n", false, 0, 0, "\n"},
        {"x", false, 0, 0, "x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tael_processor_span span = {0};
        const char *text = rows[i].text;
        assert_int_equal(tael_processor_span_read(&text, &span), rows[i].is_taken);
        assert_int_equal(span.first, rows[i].first);
        assert_int_equal(span.last, rows[i].last);
        assert_string_equal(text, rows[i].rest);
    }
}

static void test_lists_are_written_in_their_order(void **state) {
    (void)state;
    static const struct {
        uint32_t numbers[8];
        uint32_t count;
        const char *text;
    } rows[] = {
        {{0}, 0, ""},
        {{7}, 1, "7"},
        {{0, 1}, 2, "0-1"},
        {{0, 2}, 2, "0,2"},
        {{1, 2, 3, 8, 10, 11}, 6, "1-3,8,10-11"},
        {{3, 1, 2}, 3, "3,1-2"},
        {{1, 0, 1, 0}, 4, "1,0-1,0"},
        {{2, 2, 2}, 3, "2,2,2"},
        {{UINT32_MAX, 0}, 2, "4294967295,0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[TAEL_PROCESSOR_LIST_SIZE_MIN];
        tael_processor_list_write(rows[i].numbers, rows[i].count, text, sizeof text);
        assert_string_equal(text, rows[i].text);
    }
}

static void test_a_list_that_is_too_long_ends_in_dots(void **state) {
    (void)state;
    uint32_t numbers[64];
    for (uint32_t i = 0; i < 64; i++) numbers[i] = 100 + 2 * i;
    for (size_t size = TAEL_PROCESSOR_LIST_SIZE_MIN; size < 300; size++) {
        char text[320];
        memset(text, 'x', sizeof text);
        tael_processor_list_write(numbers, 64, text, size);
        const size_t length = strlen(text);
        assert_true(length < size);
        assert_int_equal(text[size], 'x');
        if (length == 64 * 4 - 1) continue; /* whole */
        assert_string_equal(text + length - 3, "...");
        assert_true(length > size - 8);
        assert_true(size < 64 * 4 + 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_span_is_one_number_or_two_that_do_not_fall),
        cmocka_unit_test(test_lists_are_written_in_their_order),
        cmocka_unit_test(test_a_list_that_is_too_long_ends_in_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
