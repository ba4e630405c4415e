/* The log alone, on the real disk: how many blocks it makes durable a second, how long one takes, and how fast recovery reads
 * them back. Segments are prepared while blocks are written, as in production.
 *
 * usage: log_write DIR [block KiB] [K] [MiB to write]      DIR must not exist or be empty; it is left behind */
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "persist/data_directory.h"
#include "persist/disk_uring.h"
#include "persist/log.h"
#include "persist/recovery.h"
#include "tests/persist/block_maker.h"

#define BLOCKS (2 * TAEL_LOG_IN_FLIGHT_MAX)
#define LATENCIES_MAX (1u << 20)

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

static void check(int error, const char *what, const struct tael_report *report) {
    if (error >= 0) return;
    fprintf(stderr, "%s: %s\n%s\n", what, strerror(-error), report->text);
    exit(1);
}

static int compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct bench {
    struct io_uring ring;
    struct tael_disk *disk;
    struct tael_superblock superblock;
    struct tael_report report;
    struct tael_recovery_result recovered;
    struct tael_log *log;
    struct tael_block blocks[BLOCKS]; /* block q is q % BLOCKS */
    uint64_t submitted_ns[BLOCKS];
    struct test_random random;
    uint64_t op;
    uint64_t timestamp;
    uint64_t seen; /* last block known to be durable */
    uint64_t *latencies;
    uint32_t latency_count;
    uint64_t waited_for_room_ns;
};

static void note_durable(struct bench *bench) {
    const uint64_t now = clock_ns();
    while (bench->seen < tael_log_durable_sequence(bench->log)) {
        bench->seen++;
        if (bench->latency_count == LATENCIES_MAX) continue;
        bench->latencies[bench->latency_count++] = now - bench->submitted_ns[bench->seen % BLOCKS];
    }
}

/* Hands what is queued to the kernel and waits for one completion, as the server's loop does. */
static void turn(struct bench *bench) {
    const int work = tael_log_poll(bench->log, clock_ns());
    check(work, "the log failed", &bench->report);
    note_durable(bench);
    if (work == 0) check(tael_disk_wait(bench->disk), "wait", &bench->report);
}

static void write_one(struct bench *bench) {
    struct tael_block *block = &bench->blocks[(bench->op + 1) % BLOCKS];
    const uint64_t room_start = clock_ns();
    while (tael_log_room(bench->log) < block->size) turn(bench);
    bench->waited_for_room_ns += clock_ns() - room_start;
    while (!tael_log_can_submit(bench->log)) turn(bench);
    /* The same content over and over but for ops and times: making blocks is not what is measured. */
    struct tael_request *request = (struct tael_request *)(void *)(block->data + TAEL_BLOCK_HEADER_SIZE);
    request->op = block->first_op = block->last_op = ++bench->op;
    request->timestamp = bench->timestamp += 10000;
    bench->submitted_ns[bench->op % BLOCKS] = clock_ns();
    tael_log_submit(bench->log, block);
}

static void write_all(struct bench *bench, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) write_one(bench);
    while (bench->seen < count) turn(bench);
}

static void blocks_make(struct bench *bench, uint8_t *memory, uint32_t block_size) {
    const uint32_t events = (block_size - TAEL_BLOCK_HEADER_SIZE - TAEL_REQUEST_HEADER_SIZE) / TAEL_RECORD_SIZE;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        struct tael_block *block = &bench->blocks[i];
        block->data = memory + (size_t)i * TAEL_BLOCK_SIZE_MAX;
        struct tael_request *request = (struct tael_request *)(void *)(block->data + TAEL_BLOCK_HEADER_SIZE);
        *request = (struct tael_request){
            .client = 1,
            .session = 1,
            .size = tael_request_payload_size(events, 1),
            .event_count = events,
            .batch_count = 1,
            .operation = TAEL_OPERATION_create_transfers,
        };
        test_random_bytes(&bench->random, request + 1, (size_t)events * TAEL_RECORD_SIZE);
        block->size = TAEL_BLOCK_HEADER_SIZE + tael_request_size_in_block(request->size);
        block->request_count = 1;
    }
}

static void recover(struct bench *bench) {
    const struct tael_recovery_options options = {.disk = bench->disk, .superblock = &bench->superblock};
    check(tael_recovery_run(&options, &bench->recovered, &bench->report), "recovery", &bench->report);
}

static void log_open(struct bench *bench, uint32_t in_flight_max, uint32_t block_size) {
    const struct tael_log_options options = {.in_flight_max = in_flight_max};
    struct tael_arena arena = {.size = tael_log_size_bytes(&options) +
                                       tael_arena_share_aligned((size_t)BLOCKS * TAEL_BLOCK_SIZE_MAX)};
    arena.size = (arena.size + TAEL_SECTOR_SIZE - 1) / TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE;
    arena.base = aligned_alloc(TAEL_SECTOR_SIZE, arena.size);
    TAEL_ASSERT(arena.base != NULL);
    memset(arena.base, 0, arena.size);
    check(tael_log_init(&arena, &options, bench->disk, &bench->superblock, &bench->recovered.position, &bench->log,
                        &bench->report),
          "log", &bench->report);
    uint8_t *memory = tael_arena_take_aligned(&arena, (size_t)BLOCKS * TAEL_BLOCK_SIZE_MAX);
    const int error = tael_disk_register_buffers(bench->disk, memory, (size_t)BLOCKS * TAEL_BLOCK_SIZE_MAX);
    if (error != 0) printf("buffers not registered: %s\n", strerror(-error));
    blocks_make(bench, memory, block_size);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    const uint32_t block_size = (argc > 2 ? (uint32_t)atoi(argv[2]) : 256) << 10;
    const uint32_t in_flight_max = argc > 3 ? (uint32_t)atoi(argv[3]) : TAEL_LOG_IN_FLIGHT_DEFAULT;
    const uint64_t bytes = (argc > 4 ? (uint64_t)atoi(argv[4]) : 1024) << 20;
    static struct bench bench;
    bench.latencies = calloc(LATENCIES_MAX, sizeof *bench.latencies);
    TAEL_ASSERT(bench.latencies != NULL);
    check(io_uring_queue_init(256, &bench.ring, 0), "io_uring", &bench.report);
    const struct tael_disk_uring_options disk_options = {.path = argv[1], .make = true, .ring = &bench.ring};
    check(tael_disk_uring_open(&disk_options, &bench.disk), argv[1], &bench.report);
    const struct tael_format_options format_options = {
        .cluster = 1, .log_id = 1, .hash_key = 1, .limits = {.segment_size = TAEL_SEGMENT_SIZE_DEFAULT}, .segments = 4};
    uint64_t start = clock_ns();
    check(tael_data_directory_format(bench.disk, &format_options, &bench.superblock, &bench.report), "format",
          &bench.report);
    printf("format with 4 segments of 64 MiB: %.0f ms\n", (double)(clock_ns() - start) / 1e6);
    bench.superblock.incarnation = 1;
    recover(&bench);
    log_open(&bench, in_flight_max, block_size);

    const uint64_t count = bytes / block_size;
    start = clock_ns();
    write_all(&bench, count);
    const double seconds = (double)(clock_ns() - start) / 1e9;
    qsort(bench.latencies, bench.latency_count, sizeof *bench.latencies, compare);
    printf("%u KiB, K %u: %.0f blocks/s, %.0f MB/s durable, p50 %.0f us, p99 %.0f us; waited %.0f ms for segments\n",
           block_size >> 10, in_flight_max, (double)count / seconds, (double)bytes / seconds / 1e6,
           (double)bench.latencies[bench.latency_count / 2] / 1e3,
           (double)bench.latencies[bench.latency_count * 99ull / 100] / 1e3, (double)bench.waited_for_room_ns / 1e6);
    check(tael_log_close(bench.log), "close", &bench.report);

    start = clock_ns();
    recover(&bench);
    const double read_seconds = (double)(clock_ns() - start) / 1e9;
    printf("recovery: %.0f MB of blocks in %.2f s, %.0f MB/s\n", (double)bench.recovered.bytes / 1e6, read_seconds,
           (double)bench.recovered.bytes / read_seconds / 1e6);
    tael_disk_destroy(bench.disk);
    io_uring_queue_exit(&bench.ring);
    return 0;
}
