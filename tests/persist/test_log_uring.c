/* The log on the real disk: format, write, close, recover, go on. Faults are the simulation's business (tests/sim/). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "persist/data_directory.h"
#include "persist/disk_uring.h"
#include "persist/log.h"
#include "persist/recovery.h"
#include "tests/persist/block_maker.h"

#define BLOCKS 4

struct rig {
    char path[64];
    struct io_uring ring;
    struct tael_disk *disk;
    struct tael_superblock superblock;
    struct tael_report report;
    struct tael_arena arena;
    struct tael_log *log;
    struct tael_recovery_result recovered;
    struct tael_block blocks[BLOCKS];
    struct test_random random;
    struct block_maker maker;
    uint64_t now_ns;
    tael_u128 content; /* of all blocks written, and of all recovered */
    tael_u128 content_recovered;
};

static struct rig rig;

static void disk_open(bool make) {
    const struct tael_disk_uring_options options = {.path = rig.path, .make = make, .ring = &rig.ring};
    assert_int_equal(tael_disk_uring_open(&options, &rig.disk), 0);
}

static void disk_close(void) {
    tael_disk_destroy(rig.disk);
    rig.disk = NULL;
}

static int format(void) {
    const struct tael_format_options options = {
        .cluster = 7,
        .log_id = 0x1234,
        .hash_key = 99,
        .limits = {.accounts_max = 1000,
                   .transfers_max = 1000,
                   .sessions_max = 10,
                   .segment_size = TAEL_SEGMENT_SIZE_MIN},
        .segments = 2,
    };
    return tael_data_directory_format(rig.disk, &options, &rig.superblock, &rig.report);
}

static int visit_block(void *context, const struct tael_log_block *block, const struct tael_place *place) {
    (void)context;
    (void)place;
    if (block->request_count > 0) rig.content_recovered += block->checksum_body;
    return 0;
}

static void log_open(void) {
    const struct tael_data_directory_options directory_options = {0};
    if (tael_data_directory_open(rig.disk, &directory_options, &rig.superblock, &rig.report) != 0) {
        fail_msg("%s", rig.report.text);
    }
    const struct tael_recovery_options recovery_options = {
        .disk = rig.disk, .superblock = &rig.superblock, .block = visit_block};
    rig.content_recovered = 0;
    if (tael_recovery_run(&recovery_options, &rig.recovered, &rig.report) != 0) fail_msg("%s", rig.report.text);
    const struct tael_log_options log_options = {.segments_ahead = 3};
    rig.arena.size = tael_log_size_bytes(&log_options) + BLOCKS * tael_arena_share_aligned(TAEL_BLOCK_SIZE_MAX);
    rig.arena.base = aligned_alloc(TAEL_SECTOR_SIZE, (rig.arena.size + 4095) & ~4095ull);
    assert_non_null(rig.arena.base);
    memset(rig.arena.base, 0, rig.arena.size);
    rig.arena.used = 0;
    rig.arena.frozen = false;
    assert_int_equal(tael_log_init(&rig.arena, &log_options, rig.disk, &rig.superblock, &rig.recovered.position,
                                   &rig.log, &rig.report),
                     0);
    for (int i = 0; i < BLOCKS; i++) {
        rig.blocks[i] = (struct tael_block){.data = tael_arena_take_aligned(&rig.arena, TAEL_BLOCK_SIZE_MAX)};
    }
    tael_arena_freeze(&rig.arena);
    (void)tael_disk_register_buffers(rig.disk, rig.blocks[0].data, BLOCKS * (size_t)TAEL_BLOCK_SIZE_MAX);
    rig.maker = (struct block_maker){
        .random = &rig.random,
        .op_last = rig.recovered.position.op_last,
        .timestamp_last = rig.recovered.position.timestamp_last,
    };
}

static void log_turn(void) {
    rig.now_ns += 1000000;
    const int result = tael_log_poll(rig.log, rig.now_ns);
    assert_true(result >= 0);
    if (result == 0) {
        assert_int_equal(tael_disk_wait(rig.disk), 0);
    }
}

static void write_blocks(int count) {
    for (int i = 0; i < count; i++) {
        struct tael_block *block = &rig.blocks[i % BLOCKS];
        while (tael_log_durable_sequence(rig.log) < block->sequence) log_turn();
        block_maker_fill(&rig.maker, block,
                         1024 + (uint32_t)test_random_below(&rig.random, TAEL_BLOCK_SIZE_MAX - 1024));
        while (tael_log_room(rig.log) < block->size + TAEL_SECTOR_SIZE) log_turn();
        while (!tael_log_can_submit(rig.log)) log_turn();
        tael_log_submit(rig.log, block);
        rig.content += ((const struct tael_log_block *)(const void *)block->data)->checksum_body;
    }
}

static void log_close(void) {
    assert_int_equal(tael_log_close(rig.log), 0);
    free(rig.arena.base);
}

static int set_up(void **state) {
    (void)state;
    memset(&rig, 0, sizeof rig);
    strcpy(rig.path, "test-log-XXXXXX");
    if (mkdtemp(rig.path) == NULL) return -1;
    if (io_uring_queue_init(64, &rig.ring, 0) != 0) return -1;
    disk_open(false);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    if (rig.disk != NULL) disk_close();
    io_uring_queue_exit(&rig.ring);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", rig.path);
    return system(command);
}

static void test_what_was_written_is_recovered(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    disk_close();
    uint64_t op_last = 0;
    for (int run = 0; run < 3; run++) {
        disk_open(false);
        log_open();
        assert_int_equal(rig.superblock.incarnation, run + 1);
        assert_int_equal(rig.recovered.position.op_last, op_last);
        assert_true(rig.content == rig.content_recovered);
        assert_false(rig.recovered.cut);
        assert_true(rig.recovered.position.confirmed);
        write_blocks(30);
        op_last = rig.maker.op_last;
        log_close();
        disk_close();
    }
}

/* What `stat` tells of the permissions. */
static unsigned mode_of(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", rig.path, name);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

static void test_a_format_makes_files_that_only_the_owner_reads(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    assert_int_equal(mode_of("superblock"), 0600);
    assert_int_equal(mode_of("lock"), 0600);
    assert_int_equal(mode_of("log"), 0700);
    assert_int_equal(mode_of("log/0000000000000001.segment"), 0600);
    assert_int_equal(mode_of("log/0000000000000002.segment"), 0600);
}

static void test_a_second_opening_names_the_holder(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct tael_disk *disk;
        const struct tael_disk_uring_options options = {.path = rig.path};
        struct tael_superblock superblock;
        struct tael_report report;
        if (tael_disk_uring_open(&options, &disk) != 0) _exit(1);
        const struct tael_data_directory_options open_options = {0};
        if (tael_data_directory_open(disk, &open_options, &superblock, &report) != -EBUSY) _exit(2);
        char expected[64];
        snprintf(expected, sizeof expected, "process %ld has this ledger open", (long)getppid());
        _exit(strcmp(report.text, expected) == 0 ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* What the kernel does for a process that was killed: its file stays locked until its last write has ended. */
static void hold_segment(int ready) {
    char path[128];
    snprintf(path, sizeof path, "%s/log/0000000000000001.segment", rig.path);
    const int fd = open(path, O_RDWR);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) _exit(1);
    if (write(ready, "x", 1) != 1) _exit(2);
    usleep(300000);
    _exit(0);
}

static void test_recovery_waits_for_the_last_writes_of_a_killed_process(void **state) {
    (void)state;
    assert_int_equal(format(), 0);
    disk_close();
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) hold_segment(ready[1]);
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    disk_open(false);
    log_open();
    clock_gettime(CLOCK_MONOTONIC, &end);
    const double waited = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    assert_true(waited > 0.2);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    log_close();
    close(ready[0]);
    close(ready[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_is_recovered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_format_makes_files_that_only_the_owner_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_second_opening_names_the_holder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_recovery_waits_for_the_last_writes_of_a_killed_process, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
