/* The option tables' parser: what each kind takes, what it refuses, where operands go. Rows for values, stories for the
 * rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/wide.h"

#define SAMPLE_OPTIONS(X, S)                                                                                           \
    X(S, TEXT, listen, "ADDR:PORT", 0, 0, "127.0.0.1:3000", "where to listen")                                         \
    X(S, TEXT, report_to, "FILE", 0, 0, NULL, "where to write")                                                        \
    X(S, NUMBER, accounts_max, "N", 16, 1000, 500, "how many accounts")                                                \
    X(S, NUMBER, transfers_max, "N", 1, UINT64_MAX, 0, "how many transfers")                                           \
    X(S, WIDE, cluster, "N", 0, 0, 7, "which ledger")                                                                  \
    X(S, SIZE, segment_size, "SIZE", 4096, 1 << 30, 64 << 20, "bytes of a segment")                                    \
    X(S, FLAG, json, "", 0, 0, false, "one JSON object")
TAEL_OPTIONS_DEFINE(sample_options, SAMPLE_OPTIONS);

static int sample_run(const void *options, int count, char **operands) {
    (void)options;
    (void)count;
    (void)operands;
    return TAEL_EXIT_DONE;
}

static const struct tael_command sample = {
    .name = "sample",
    .summary = "Does nothing",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    TAEL_OPTIONS_OF(sample_options),
    .run = sample_run,
};

/* Parses a line of words. Texts point into `line`. */
static enum tael_options_outcome parse(char *line, struct sample_options *options, char *argv[16],
                                       int *operands_begin) {
    int argc = 0;
    for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) argv[argc++] = word;
    argv[argc] = NULL;
    tael_options_default(&sample, options);
    return tael_options_parse(&sample, options, argc, argv, operands_begin);
}

static void test_numbers_are_decimal_with_a_unit_only_for_sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_size;
        bool is_taken;
        uint64_t number;
    } rows[] = {
        {"0", false, true, 0},
        {"42", false, true, 42},
        {"18446744073709551615", false, true, UINT64_MAX},
        {"18446744073709551616", false, false, 0},
        {"", false, false, 0},
        {"-1", false, false, 0},
        {"+1", false, false, 0},
        {" 1", false, false, 0},
        {"1 ", false, false, 0},
        {"0x10", false, false, 0},
        {"1K", false, false, 0},
        {"1K", true, true, 1024},
        {"1k", true, true, 1024},
        {"64M", true, true, 64ull << 20},
        {"2G", true, true, 2ull << 30},
        {"3T", true, true, 3ull << 40},
        {"1P", true, false, 0},
        {"1KB", true, false, 0},
        {"K", true, false, 0},
        {"16777216T", true, false, 0},
        {"16777215T", true, true, 16777215ull << 40},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t number = 0;
        assert_int_equal(tael_number_parse(rows[i].text, rows[i].is_size, &number), rows[i].is_taken);
        assert_int_equal(number, rows[i].number);
    }
}

static void test_each_line_is_taken_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *line;
        enum tael_options_outcome outcome;
    } rows[] = {
        {"sample d", TAEL_OPTIONS_RUN},
        {"sample", TAEL_OPTIONS_WRONG},
        {"sample d e", TAEL_OPTIONS_WRONG},
        {"sample --help", TAEL_OPTIONS_HELP},
        {"sample -h", TAEL_OPTIONS_HELP},
        {"sample d --accounts-max 16", TAEL_OPTIONS_RUN},
        {"sample d --accounts-max 15", TAEL_OPTIONS_WRONG},
        {"sample d --accounts-max 1000", TAEL_OPTIONS_RUN},
        {"sample d --accounts-max 1001", TAEL_OPTIONS_WRONG},
        {"sample d --accounts-max", TAEL_OPTIONS_WRONG},
        {"sample d --accounts-max=many", TAEL_OPTIONS_WRONG},
        {"sample d --transfers-max 0", TAEL_OPTIONS_WRONG},
        {"sample d --cluster 0", TAEL_OPTIONS_RUN},
        {"sample d --cluster 340282366920938463463374607431768211455", TAEL_OPTIONS_RUN},
        {"sample d --cluster 340282366920938463463374607431768211456", TAEL_OPTIONS_WRONG},
        {"sample d --cluster 0x", TAEL_OPTIONS_WRONG},
        {"sample d --cluster one", TAEL_OPTIONS_WRONG},
        {"sample d --segment-size 8K", TAEL_OPTIONS_RUN},
        {"sample d --segment-size 2G", TAEL_OPTIONS_WRONG},
        {"sample d --json=yes", TAEL_OPTIONS_WRONG},
        {"sample d --unknown", TAEL_OPTIONS_WRONG},
        {"sample d -x", TAEL_OPTIONS_WRONG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sample_options options;
        char line[128], *argv[16];
        int operands_begin;
        strcpy(line, rows[i].line);
        if (parse(line, &options, argv, &operands_begin) != rows[i].outcome) fail_msg("%s", rows[i].line);
    }
}

static void test_what_is_not_given_keeps_its_default(void **state) {
    (void)state;
    struct sample_options options;
    char line[] = "sample d", *argv[16];
    int operands_begin;
    assert_int_equal(parse(line, &options, argv, &operands_begin), TAEL_OPTIONS_RUN);
    assert_string_equal(options.listen, "127.0.0.1:3000");
    assert_null(options.report_to);
    assert_int_equal(options.accounts_max, 500);
    assert_int_equal(options.transfers_max, 0); /* below its minimum: not given */
    assert_int_equal(options.segment_size, 64 << 20);
    assert_true(options.cluster == 7);
    assert_false(options.json);
}

static void test_options_stand_before_and_behind_operands(void **state) {
    (void)state;
    struct sample_options options;
    char line[] = "sample --json dir --listen=[::1]:9 --segment-size 1M", *argv[16];
    int operands_begin;
    assert_int_equal(parse(line, &options, argv, &operands_begin), TAEL_OPTIONS_RUN);
    assert_true(options.json);
    assert_string_equal(options.listen, "[::1]:9");
    assert_int_equal(options.segment_size, 1 << 20);
    assert_string_equal(argv[operands_begin], "dir");
}

static void test_wide_numbers_are_read_and_written_whole(void **state) {
    (void)state;
    struct sample_options options;
    char line[] = "sample d --cluster 0xFEDCBA9876543210fedcba9876543210", *argv[16];
    char buffer[TAEL_WIDE_TEXT_SIZE];
    int operands_begin;
    assert_int_equal(parse(line, &options, argv, &operands_begin), TAEL_OPTIONS_RUN);
    assert_true(options.cluster == tael_u128_make(0xfedcba9876543210, 0xfedcba9876543210));
    assert_string_equal(tael_wide_format(options.cluster, buffer), "338770000845734292534325025077361652240");
    assert_string_equal(tael_wide_format(TAEL_U128_MAX, buffer), "340282366920938463463374607431768211455");
    assert_string_equal(tael_wide_format(0, buffer), "0");
}

static void test_help_and_manual_name_every_option_its_range_and_default(void **state) {
    (void)state;
    static const char *const wanted[] = {"listen",      "report",   "16 to 1000, default 500",
                                         "default 64M", "4K to 1G", "up to 128 bits, default 7"};
    for (int form = 0; form < 2; form++) {
        char *text;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        form == 0 ? tael_command_help(&sample, out) : tael_command_manual(&sample, out);
        fclose(out);
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) assert_non_null(strstr(text, wanted[i]));
        assert_null(strstr(text, "default 0"));
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_decimal_with_a_unit_only_for_sizes),
        cmocka_unit_test(test_each_line_is_taken_or_refused),
        cmocka_unit_test(test_what_is_not_given_keeps_its_default),
        cmocka_unit_test(test_options_stand_before_and_behind_operands),
        cmocka_unit_test(test_wide_numbers_are_read_and_written_whole),
        cmocka_unit_test(test_help_and_manual_name_every_option_its_range_and_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
