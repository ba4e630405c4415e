/* What a block costs on its way to the disk and back: its checksums, and the check of what it means. */
#include <stdlib.h>

#include <tael/assert.h>
#include <tael/block.h>

#include "bench/harness.h"
#include "bench/workload.h"
#include "persist/block_check.h"
#include "persist/format.h"

static _Alignas(TAEL_SECTOR_SIZE) uint8_t data[TAEL_BLOCK_SIZE_MAX];

static void run_checksum(struct tael_bench *run, const struct tael_bench_case *self) {
    const size_t size = (size_t)self->size;
    struct test_random random = {0};
    TAEL_ASSERT(size <= sizeof data);
    test_random_bytes(&random, data, size);
    uint64_t bytes = 0;
    while (tael_bench_next(run)) {
        tael_bench_keep((uint64_t)tael_disk_checksum(data, size));
        bytes += size;
    }
    tael_bench_bytes(run, bytes);
}

/* A block of about `size` bytes: one request with all of it, or one event a request. */
static struct tael_log_block *block_make(uint32_t size, bool singles) {
    struct tael_bench_workload workload = {.accounts = 1000};
    struct tael_log_block *header = (struct tael_log_block *)(void *)data;
    uint64_t op = 0;
    uint64_t timestamp = 0;
    uint32_t used = TAEL_BLOCK_HEADER_SIZE;
    *header = (struct tael_log_block){.sequence = 1, .op_first = 1};
    while (used + 2 * TAEL_RECORD_SIZE <= size) {
        const uint32_t room = (size - used) / TAEL_RECORD_SIZE - 1;
        const uint32_t events = singles ? 1 : room < TAEL_EVENTS_MAX ? room : TAEL_EVENTS_MAX;
        struct tael_request *request = (struct tael_request *)(void *)(data + used);
        tael_bench_request_begin(request, TAEL_OPERATION_create_transfers, events, &op, &timestamp);
        tael_bench_workload_fill(&workload, (struct tael_transfer *)(void *)(request + 1), events);
        used += tael_request_size_in_block(request->size);
        header->request_count++;
    }
    header->size = used;
    header->op_last = op;
    header->timestamp_last = timestamp;
    return header;
}

static void run_seal(struct tael_bench *run, const struct tael_bench_case *self) {
    struct tael_log_block *header = block_make((uint32_t)self->size, false);
    uint64_t bytes = 0;
    while (tael_bench_next(run)) {
        tael_log_block_seal(header);
        tael_bench_keep((uint64_t)header->checksum);
        bytes += header->size;
    }
    tael_bench_bytes(run, bytes);
}

static void run_check(struct tael_bench *run, const struct tael_bench_case *self) {
    const struct tael_block_context context = {0};
    struct tael_log_block *header = block_make((uint32_t)self->size, self->variant != 0);
    tael_log_block_seal(header);
    uint64_t bytes = 0;
    while (tael_bench_next(run)) {
        struct tael_block_problem problem;
        TAEL_ASSERT(tael_log_block_body_holds(header));
        TAEL_ASSERT(tael_block_check(header, &context, &problem));
        bytes += header->size;
    }
    tael_bench_bytes(run, bytes);
}

const struct tael_bench_case tael_bench_log_cases[] = {
    {.name = "log/xxh3_128/128", .run = run_checksum, .size = 128},
    {.name = "log/xxh3_128/4096", .run = run_checksum, .size = 4096},
    {.name = "log/xxh3_128/1M", .run = run_checksum, .size = 1 << 20},
    {.name = "log/seal/4k", .run = run_seal, .size = 4096},
    {.name = "log/seal/256k", .run = run_seal, .size = 256 << 10},
    {.name = "log/seal/1M", .run = run_seal, .size = 1 << 20},
    {.name = "log/check/256k", .run = run_check, .size = 256 << 10},
    {.name = "log/check/256k_singles", .run = run_check, .size = 256 << 10, .variant = 1},
    {0},
};
