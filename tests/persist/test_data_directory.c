/* Who has the directory, what a format leaves, and a superblock that survives the loss of all copies but one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "persist/data_directory.h"
#include "persist/format.h"
#include "tests/sim/disk_sim.h"

static struct disk_sim *sim;
static struct tael_superblock superblock;
static struct tael_report report;

static const struct tael_format_options format_options = {
    .cluster = 3,
    .log_id = 17,
    .hash_key = 1,
    .limits = {.accounts_max = 100, .transfers_max = 200, .sessions_max = 5, .segment_size = 64u << 10},
    .segments = 2,
};

static int set_up(void **state) {
    (void)state;
    sim = disk_sim_new(1, 1ull << 40);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    disk_sim_free(sim);
    return 0;
}

static int format(void) {
    return tael_data_directory_format(disk_sim_disk(sim), &format_options, &superblock, &report);
}

static int open_with(const struct tael_data_directory_options *options) {
    return tael_data_directory_open(disk_sim_disk(sim), options, &superblock, &report);
}

static int open_again(void) {
    disk_sim_crash(sim, DISK_SIM_CRASH_POWER);
    const struct tael_data_directory_options options = {0};
    return open_with(&options);
}

static void test_a_format_refuses_a_directory_with_a_ledger(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    disk_sim_crash(sim, DISK_SIM_CRASH_POWER);
    const uint64_t before = disk_sim_checksum(sim);
    assert_int_equal(format(), -EEXIST);
    assert_non_null(strstr(report.text, "there is a ledger here already"));
    assert_true(disk_sim_checksum(sim) == before);
}

static void test_a_format_refuses_a_directory_with_something_else(void **state) {
    (void)state;
    assert_int_equal(tael_disk_directory_make(disk_sim_disk(sim), "photos"), 0);
    assert_int_equal(format(), -ENOTEMPTY);
    assert_non_null(strstr(report.text, "`photos`"));
    assert_false(disk_sim_exists(sim, "lock"));
}

static void test_a_format_does_not_mind_lost_and_found(void **state) {
    (void)state;
    assert_int_equal(tael_disk_directory_make(disk_sim_disk(sim), "lost+found"), 0);
    assert_int_equal(format(), 0);
}

static void test_opening_where_there_is_no_ledger_leaves_nothing_behind(void **state) {
    (void)state;
    const struct tael_data_directory_options options = {0};
    assert_int_equal(open_with(&options), -ENOENT);
    assert_non_null(strstr(report.text, "tael format"));
    assert_false(disk_sim_exists(sim, "lock"));
}

static void test_a_ledger_is_opened_by_one_process(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    const struct tael_data_directory_options options = {0};
    assert_int_equal(open_with(&options), -EBUSY);
    assert_string_equal(report.text, "process 1 has this ledger open");
}

static void test_each_opening_raises_the_incarnation_durably(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    for (uint64_t incarnation = 1; incarnation < 5; incarnation++) {
        assert_int_equal(open_again(), 0);
        assert_true(superblock.incarnation == incarnation);
    }
}

static void test_a_tool_raises_nothing(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    disk_sim_crash(sim, DISK_SIM_CRASH_PROCESS);
    const uint64_t before = disk_sim_checksum(sim);
    const struct tael_data_directory_options options = {.read_only = true, .limits = {.accounts_max = 1000}};
    assert_int_equal(open_with(&options), 0);
    assert_true(superblock.incarnation == 0);
    assert_true(superblock.limits.accounts_max == 100);
    assert_true(disk_sim_checksum(sim) == before);
}

static void test_limits_only_rise(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    disk_sim_crash(sim, DISK_SIM_CRASH_POWER);
    const struct tael_data_directory_options options = {
        .limits = {.accounts_max = 1000, .transfers_max = 10, .segment_size = 1u << 20}};
    assert_int_equal(open_with(&options), 0);
    assert_int_equal(open_again(), 0);
    assert_true(superblock.limits.accounts_max == 1000);
    assert_true(superblock.limits.transfers_max == 200);
    assert_true(superblock.limits.sessions_max == 5);
    assert_true(superblock.limits.segment_size == 64u << 10);
}

static int accept_no_more_than(void *context, const struct tael_superblock *next, struct tael_report *why) {
    if (next->limits.accounts_max <= *(const uint64_t *)context) return 0;
    tael_report_set(why, "too many");
    return -ENOMEM;
}

static void test_a_limit_that_is_not_accepted_is_not_raised(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    disk_sim_crash(sim, DISK_SIM_CRASH_PROCESS);
    const uint64_t before = disk_sim_checksum(sim);
    uint64_t accounts_max = 1000;
    struct tael_data_directory_options options = {
        .limits = {.accounts_max = 1001}, .accept = accept_no_more_than, .context = &accounts_max};
    assert_int_equal(open_with(&options), -ENOMEM);
    assert_string_equal(report.text, "too many");
    assert_true(disk_sim_checksum(sim) == before);
    disk_sim_crash(sim, DISK_SIM_CRASH_PROCESS);
    options.limits.accounts_max = 1000;
    assert_int_equal(open_with(&options), 0);
    assert_true(superblock.limits.accounts_max == 1000);
}

static void test_ops_to_skip_are_kept_and_bounded(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    for (uint64_t op = 1; op <= TAEL_SKIPPED_OPS_MAX; op++) {
        disk_sim_crash(sim, DISK_SIM_CRASH_POWER);
        const struct tael_data_directory_options options = {.skip_op = op * 7};
        assert_int_equal(open_with(&options), 0);
    }
    disk_sim_crash(sim, DISK_SIM_CRASH_POWER);
    const struct tael_data_directory_options again = {.skip_op = 7};
    assert_int_equal(open_with(&again), 0);
    disk_sim_crash(sim, DISK_SIM_CRASH_POWER);
    const struct tael_data_directory_options one_more = {.skip_op = 999};
    assert_int_equal(open_with(&one_more), -ENOSPC);
    assert_int_equal(open_again(), 0);
    assert_true(tael_superblock_skips(&superblock, 7 * TAEL_SKIPPED_OPS_MAX));
    assert_false(tael_superblock_skips(&superblock, 8));
    assert_false(tael_superblock_skips(&superblock, 0));
}

/* Every subset of damaged copies but all of them. */
static void test_one_copy_of_the_superblock_is_enough(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    uint64_t incarnation = 0;
    for (uint32_t damaged = 0; damaged < (1u << TAEL_SUPERBLOCK_COPIES) - 1; damaged++) {
        for (uint32_t i = 0; i < TAEL_SUPERBLOCK_COPIES; i++) {
            if ((damaged >> i & 1) != 0) disk_sim_flip_bit(sim, "superblock", i * TAEL_SECTOR_SIZE + 200 + damaged, 1);
        }
        assert_int_equal(open_again(), 0);
        assert_true(superblock.incarnation == ++incarnation);
        uint32_t valid;
        assert_int_equal(tael_superblock_read(disk_sim_disk(sim), &superblock, &valid, &report), 0);
        assert_int_equal(valid, TAEL_SUPERBLOCK_COPIES); /* opening repaired the others */
    }
    for (uint32_t i = 0; i < TAEL_SUPERBLOCK_COPIES; i++)
        disk_sim_flip_bit(sim, "superblock", i * TAEL_SECTOR_SIZE + 99, 1);
    assert_int_equal(open_again(), -EBADMSG);
    assert_non_null(strstr(report.text, "no copy of the superblock is whole"));
}

static int visit_segment(void *context, const struct tael_segment_info *segment) {
    uint64_t *count = context;
    assert_true(segment->number == ++*count);
    assert_true(segment->size == 64u << 10);
    assert_null(segment->header);
    assert_string_equal(segment->problem, "it was never begun");
    return 0;
}

static void test_a_format_prepares_segments(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    disk_sim_crash(sim, DISK_SIM_CRASH_POWER);
    uint64_t count = 0;
    assert_int_equal(tael_segments_visit(disk_sim_disk(sim), &superblock, visit_segment, &count, &report), 0);
    assert_int_equal(count, 2);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_format_refuses_a_directory_with_a_ledger),
        TEST(test_a_format_refuses_a_directory_with_something_else),
        TEST(test_a_format_does_not_mind_lost_and_found),
        TEST(test_opening_where_there_is_no_ledger_leaves_nothing_behind),
        TEST(test_a_ledger_is_opened_by_one_process),
        TEST(test_each_opening_raises_the_incarnation_durably),
        TEST(test_a_tool_raises_nothing),
        TEST(test_limits_only_rise),
        TEST(test_a_limit_that_is_not_accepted_is_not_raised),
        TEST(test_ops_to_skip_are_kept_and_bounded),
        TEST(test_one_copy_of_the_superblock_is_enough),
        TEST(test_a_format_prepares_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
