/* The log's writer, turn by turn on a simulated disk whose requests complete when the test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "persist/data_directory.h"
#include "persist/format.h"
#include "persist/log.h"
#include "persist/recovery.h"
#include "tests/persist/block_maker.h"
#include "tests/sim/disk_sim.h"

#define SEGMENT_SIZE (256u << 10)
#define BLOCK_SIZE_MAX (64u << 10)
#define BLOCKS 64
#define AMPLE (1ull << 40)

struct rig {
    struct disk_sim *sim;
    struct tael_superblock superblock;
    struct tael_report report;
    struct tael_recovery_result recovered;
    struct tael_arena arena;
    uint8_t *memory;
    uint8_t *block_memory;
    struct tael_log *log;
    struct tael_block blocks[BLOCKS];
    uint32_t block_next;
    struct test_random random;
    struct block_maker maker;
    uint64_t now_ns;
    char notice[256];
    uint32_t notices;
};

static struct rig rig;

static void notice(void *context, const char *text) {
    struct rig *self = context;
    self->notices++;
    (void)snprintf(self->notice, sizeof self->notice, "%s", text);
}

static void log_open(uint32_t in_flight_max, uint32_t segments_ahead) {
    const struct tael_data_directory_options directory_options = {0};
    assert_int_equal(tael_data_directory_open(disk_sim_disk(rig.sim), &directory_options, &rig.superblock, &rig.report),
                     0);
    const struct tael_recovery_options recovery_options = {
        .disk = disk_sim_disk(rig.sim), .superblock = &rig.superblock, .window_size = 64u << 10};
    assert_int_equal(tael_recovery_run(&recovery_options, &rig.recovered, &rig.report), 0);
    const struct tael_log_options options = {
        .in_flight_max = in_flight_max,
        .block_size_max = BLOCK_SIZE_MAX,
        .segments_ahead = segments_ahead,
        .notice = notice,
        .context = &rig,
    };
    const size_t size = tael_log_size_bytes(&options);
    free(rig.memory);
    rig.memory = aligned_alloc(TAEL_SECTOR_SIZE, (size + 4095) & ~(size_t)4095);
    memset(rig.memory, 0, size);
    rig.arena = (struct tael_arena){.base = rig.memory, .size = size};
    assert_int_equal(tael_log_init(&rig.arena, &options, disk_sim_disk(rig.sim), &rig.superblock,
                                   &rig.recovered.position, &rig.log, &rig.report),
                     0);
    rig.maker.op_last = rig.recovered.position.op_last;
    rig.maker.timestamp_last = rig.recovered.position.timestamp_last;
    for (uint32_t i = 0; i < BLOCKS; i++) rig.blocks[i].sequence = 0;
}

static int set_up(void **state) {
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig.sim = disk_sim_new(7, AMPLE);
    rig.random.state = 5;
    rig.maker.random = &rig.random;
    rig.block_memory = aligned_alloc(TAEL_SECTOR_SIZE, (size_t)BLOCKS * (BLOCK_SIZE_MAX + TAEL_SECTOR_SIZE));
    for (uint32_t i = 0; i < BLOCKS; i++) {
        rig.blocks[i].data = rig.block_memory + (size_t)i * (BLOCK_SIZE_MAX + TAEL_SECTOR_SIZE);
    }
    const struct tael_format_options options = {
        .cluster = 3, .log_id = 17, .hash_key = 1, .limits = {.segment_size = SEGMENT_SIZE}, .segments = 1};
    if (tael_data_directory_format(disk_sim_disk(rig.sim), &options, &rig.superblock, &rig.report) != 0) return -1;
    disk_sim_crash(rig.sim, DISK_SIM_CRASH_PROCESS);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    disk_sim_free(rig.sim);
    free(rig.memory);
    free(rig.block_memory);
    return 0;
}

static int poll_at(uint64_t ns) {
    rig.now_ns += ns;
    return tael_log_poll(rig.log, rig.now_ns);
}

/* Until nothing is in flight and nothing is left to do. */
static void settle(void) {
    int work;
    do {
        work = poll_at(0);
        assert_true(work >= 0);
        while (disk_sim_step(rig.sim)) work++;
    } while (work > 0);
}

static struct tael_block *submit(uint32_t size) {
    struct tael_block *block = &rig.blocks[rig.block_next++ % BLOCKS];
    assert_true(block->sequence <= tael_log_durable_sequence(rig.log));
    block_maker_fill(&rig.maker, block, size);
    tael_log_submit(rig.log, block);
    return block;
}

static const struct tael_log_block *header_of(const struct tael_block *block) {
    return (const struct tael_log_block *)(const void *)block->data;
}

static void test_no_more_than_k_blocks_are_in_flight(void **state) {
    (void)state;
    log_open(3, 2);
    settle();
    for (int i = 0; i < 3; i++) {
        assert_true(tael_log_can_submit(rig.log));
        (void)submit(1024);
    }
    assert_false(tael_log_can_submit(rig.log));
    settle();
    assert_true(tael_log_can_submit(rig.log));
    assert_true(tael_log_durable_sequence(rig.log) == 3);
    assert_true(tael_log_durable_op(rig.log) == rig.maker.op_last);
}

static void test_with_two_in_flight_only_large_blocks_are_worth_writing(void **state) {
    (void)state;
    log_open(3, 4);
    settle();
    assert_int_equal(tael_log_size_min(rig.log), 0);
    (void)submit(1024);
    assert_int_equal(tael_log_size_min(rig.log), 0);
    (void)submit(1024);
    assert_int_equal(tael_log_size_min(rig.log), 64u << 10);
    (void)submit(1024); /* it may be done all the same */
    assert_int_equal(tael_log_size_min(rig.log), UINT32_MAX);
    settle();
    assert_int_equal(tael_log_size_min(rig.log), 0);
}

static void test_announcing_waits_for_the_blocks_before(void **state) {
    (void)state;
    log_open(8, 2);
    settle();
    for (int i = 0; i < 8; i++) (void)submit(1024);
    uint64_t announced = 0;
    while (disk_sim_step(rig.sim)) {
        assert_true(poll_at(0) >= 0);
        assert_true(tael_log_durable_sequence(rig.log) >= announced);
        announced = tael_log_durable_sequence(rig.log);
        const uint64_t op = announced == 0 ? 0 : rig.blocks[announced - 1].last_op;
        assert_true(tael_log_durable_op(rig.log) == op);
    }
    (void)poll_at(0);
    assert_true(tael_log_durable_sequence(rig.log) == 8);
}

static void test_a_header_says_what_was_announced_when_it_was_sealed(void **state) {
    (void)state;
    log_open(4, 2);
    settle();
    const struct tael_block *first = submit(1024);
    const struct tael_block *second = submit(1024);
    assert_true(header_of(first)->durable == 0);
    assert_true(header_of(second)->durable == 0);
    assert_true(header_of(second)->checksum_previous == header_of(first)->checksum);
    settle();
    assert_true(header_of(submit(1024))->durable == 2);
    settle();
}

/* K of a new segment counts only when nothing of the old one is in doubt. */
static void test_a_greater_k_waits_for_the_new_segment(void **state) {
    (void)state;
    log_open(2, 2);
    settle();
    (void)submit(1024);
    settle();
    assert_int_equal(tael_log_close(rig.log), 0);
    disk_sim_crash(rig.sim, DISK_SIM_CRASH_PROCESS);
    log_open(8, 2);
    settle();
    assert_int_equal(rig.recovered.position.in_flight_max, 2);
    while (tael_log_counters(rig.log).segments_begun == 0) {
        (void)submit(BLOCK_SIZE_MAX);
        if (tael_log_counters(rig.log).segments_begun > 0) break;
        settle();
    }
    (void)submit(1024);
    assert_false(tael_log_can_submit(rig.log)); /* still 2 */
    settle();
    for (int i = 0; i < 8; i++) {
        assert_true(tael_log_can_submit(rig.log));
        (void)submit(1024);
    }
    assert_false(tael_log_can_submit(rig.log));
    settle();
}

static void test_an_idle_log_confirms_its_last_block_once(void **state) {
    (void)state;
    log_open(4, 2);
    settle();
    assert_true(tael_log_deadline_ns(rig.log) == UINT64_MAX); /* nothing to confirm */
    (void)poll_at(1000);
    (void)submit(1024);
    settle();
    assert_true(tael_log_durable_sequence(rig.log) == 1);
    assert_true(tael_log_deadline_ns(rig.log) == rig.now_ns + TAEL_LOG_IDLE_NS_DEFAULT);
    (void)poll_at(TAEL_LOG_IDLE_NS_DEFAULT);
    settle();
    assert_true(tael_log_durable_sequence(rig.log) == 2);
    assert_true(tael_log_counters(rig.log).blocks_empty == 1);
    assert_true(tael_log_deadline_ns(rig.log) == UINT64_MAX);
    (void)poll_at(10 * (uint64_t)TAEL_LOG_IDLE_NS_DEFAULT);
    settle();
    assert_true(tael_log_durable_sequence(rig.log) == 2);
}

static void test_a_clean_end_confirms_and_a_clean_start_adds_nothing(void **state) {
    (void)state;
    log_open(4, 2);
    settle();
    (void)submit(1024);
    assert_int_equal(tael_log_close(rig.log), 0);
    for (int i = 0; i < 3; i++) {
        disk_sim_crash(rig.sim, DISK_SIM_CRASH_POWER);
        log_open(4, 2);
        assert_true(rig.recovered.position.sequence_last == 2);
        assert_true(rig.recovered.position.confirmed);
        assert_false(rig.recovered.cut);
        assert_int_equal(tael_log_close(rig.log), 0);
    }
}

static void test_a_failed_write_is_the_end(void **state) {
    (void)state;
    log_open(4, 2);
    settle();
    disk_sim_set_write_errors(rig.sim, 1);
    (void)submit(8192);
    while (disk_sim_step(rig.sim)) continue;
    disk_sim_set_write_errors(rig.sim, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(poll_at(TAEL_NS_PER_S), -EIO);
        assert_false(tael_log_can_submit(rig.log));
        assert_true(tael_log_room(rig.log) == 0);
        assert_true(tael_log_durable_sequence(rig.log) == 0);
    }
    assert_int_equal(tael_log_close(rig.log), -EIO);
}

static void test_a_full_disk_shows_as_room_and_passes(void **state) {
    (void)state;
    log_open(4, 2);
    settle();
    assert_int_equal(tael_log_space(rig.log), TAEL_LOG_SPACE_OK);
    disk_sim_set_capacity(rig.sim, 0);
    while (tael_log_room(rig.log) >= 8192) {
        (void)submit(8192);
        settle();
    }
    assert_int_equal(tael_log_space(rig.log), TAEL_LOG_SPACE_NONE);
    assert_non_null(strstr(rig.notice, "the disk is full"));
    const uint32_t notices = rig.notices;
    for (int i = 0; i < 5; i++) (void)poll_at(TAEL_NS_PER_S);
    assert_int_equal(rig.notices, notices); /* told once */
    assert_true(tael_log_deadline_ns(rig.log) <= rig.now_ns + TAEL_NS_PER_S);

    disk_sim_set_capacity(rig.sim, AMPLE);
    (void)poll_at(TAEL_NS_PER_S);
    settle();
    assert_int_equal(tael_log_space(rig.log), TAEL_LOG_SPACE_OK);
    assert_non_null(strstr(rig.notice, "room on the disk again"));
    assert_true(tael_log_room(rig.log) > BLOCK_SIZE_MAX);
    (void)submit(BLOCK_SIZE_MAX);
    settle();
    assert_int_equal(tael_log_close(rig.log), 0);
}

static void test_a_lack_of_file_descriptors_is_no_end_and_passes(void **state) {
    (void)state;
    log_open(4, 2);
    settle();
    disk_sim_set_files_short(rig.sim, true);
    while (tael_log_room(rig.log) >= 8192) {
        (void)submit(8192);
        settle();
    }
    assert_int_equal(tael_log_space(rig.log), TAEL_LOG_SPACE_NONE);
    assert_non_null(strstr(rig.notice, "Too many open files"));
    disk_sim_set_files_short(rig.sim, false);
    (void)poll_at(TAEL_NS_PER_S);
    settle();
    assert_int_equal(tael_log_space(rig.log), TAEL_LOG_SPACE_OK);
    (void)submit(BLOCK_SIZE_MAX);
    settle();
    assert_int_equal(tael_log_close(rig.log), 0);
}

/* Whatever the sizes, as long as the room that was told when they were admitted covers them. */
static void test_room_holds_for_any_sizes(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(set_up(state), 0);
        rig.random.state = (uint64_t)i;
        log_open(1, 1 + (uint32_t)i % 4);
        settle();
        disk_sim_set_capacity(rig.sim, 0);
        uint64_t room = tael_log_room(rig.log);
        while (room >= TAEL_SECTOR_SIZE) {
            uint64_t size = 1024 + test_random_below(&rig.random, BLOCK_SIZE_MAX - 1024);
            if (i % 3 == 0) size = BLOCK_SIZE_MAX;
            if (size > room) size = room;
            room -= tael_sector_round_up(submit((uint32_t)size)->size);
            settle();
            assert_true(tael_log_room(rig.log) >= room);
        }
        /* There is still room for the block that confirms. */
        const uint64_t last = tael_log_durable_sequence(rig.log);
        assert_int_equal(tael_log_close(rig.log), 0);
        assert_true(tael_log_durable_sequence(rig.log) == last + 1);
        assert_int_equal(tear_down(state), 0);
    }
}

static void test_a_preparation_that_never_ended_is_removed(void **state) {
    (void)state;
    log_open(1, 3);
    while (!disk_sim_step(rig.sim)) (void)poll_at(0); /* makes the file, and no more */
    assert_true(disk_sim_exists(rig.sim, "log/0000000000000002.preparing"));
    disk_sim_crash(rig.sim, DISK_SIM_CRASH_PROCESS);
    log_open(1, 3);
    assert_false(disk_sim_exists(rig.sim, "log/0000000000000002.preparing"));
    settle();
    assert_true(disk_sim_exists(rig.sim, "log/0000000000000002.segment"));
    assert_int_equal(tael_log_counters(rig.log).segments_ready, 3);
    assert_int_equal(tael_log_close(rig.log), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_no_more_than_k_blocks_are_in_flight),
        TEST(test_with_two_in_flight_only_large_blocks_are_worth_writing),
        TEST(test_announcing_waits_for_the_blocks_before),
        TEST(test_a_header_says_what_was_announced_when_it_was_sealed),
        TEST(test_a_greater_k_waits_for_the_new_segment),
        TEST(test_an_idle_log_confirms_its_last_block_once),
        TEST(test_a_clean_end_confirms_and_a_clean_start_adds_nothing),
        TEST(test_a_failed_write_is_the_end),
        TEST(test_a_full_disk_shows_as_room_and_passes),
        TEST(test_a_lack_of_file_descriptors_is_no_end_and_passes),
        cmocka_unit_test(test_room_holds_for_any_sizes),
        TEST(test_a_preparation_that_never_ended_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
