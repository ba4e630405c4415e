/* Fuzzes the reader of the log. Goal: whatever stands in the segments, recovery ends with a log that it accepts again as it
 * is, or with a refusal that changes nothing; and nothing beyond a block is read.
 *
 * Input: one byte for the kind, then
 *   0: the bytes of the log, from the first segment on;
 *   1: blocks, to get behind the checksums: each is 4 bytes (flags, 0, size of its body as u16) and the body. They are sealed and
 *      chained as the writer does it. Flag 1 makes the first request's op and timestamp follow, 2 and 4 leave the header's op
 *      range and size to the body's first bytes, 8 moves on to the next segment, 16 breaks the chain, 32 leaves a hole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "persist/block_check.h"
#include "persist/data_directory.h"
#include "persist/format.h"
#include "persist/recovery.h"
#include "tests/sim/disk_sim.h"

#define SEGMENT_SIZE (64u << 10)
#define SEGMENTS 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct disk_sim *sim;
static struct tael_superblock superblock;
static struct tael_report report;
static uint8_t *image; /* of both segments */

static void set_up(void) {
    sim = disk_sim_new(1, 1ull << 30);
    image = aligned_alloc(TAEL_SECTOR_SIZE, SEGMENTS * SEGMENT_SIZE);
    const struct tael_format_options options = {
        .cluster = 3, .log_id = 17, .hash_key = 1, .limits = {.segment_size = SEGMENT_SIZE}, .segments = SEGMENTS};
    const int error = tael_data_directory_format(disk_sim_disk(sim), &options, &superblock, &report);
    TAEL_ASSERT(error == 0);
    superblock.incarnation = 2;
}

struct maker {
    struct tael_log_block last; /* header of the block before */
    uint32_t segment;
    uint32_t offset;
};

static void segment_begin(struct maker *maker) {
    struct tael_segment_header *header = (struct tael_segment_header *)(void *)(image + maker->segment * SEGMENT_SIZE);
    *header = (struct tael_segment_header){
        .in_flight_max = 4,
        .log_id = superblock.log_id,
        .cluster = superblock.cluster,
        .number = maker->segment + 1,
        .sequence_first = maker->last.sequence + 1,
        .op_first = maker->last.op_last + 1,
        .incarnation = 1,
        .size = SEGMENT_SIZE,
    };
    tael_segment_header_seal(header);
    maker->offset = sizeof *header;
}

static void request_follow(struct tael_log_block *block, const struct maker *maker) {
    struct tael_request *request = (struct tael_request *)(void *)(block + 1);
    request->op = maker->last.op_last + 1;
    request->timestamp = maker->last.timestamp_last + 10000;
    block->timestamp_last = request->timestamp;
}

/* The block at the maker's place; false when there is none. */
static bool block_put(struct maker *maker, const uint8_t *body, uint32_t size, uint8_t flags) {
    if ((flags & 8) != 0 && maker->segment + 1 < SEGMENTS) {
        maker->segment++;
        segment_begin(maker);
    }
    const uint32_t size_block = (uint32_t)sizeof(struct tael_log_block) + size;
    if (maker->offset + tael_sector_round_up(size_block) > SEGMENT_SIZE) return false;
    struct tael_log_block *block =
        (struct tael_log_block *)(void *)(image + maker->segment * SEGMENT_SIZE + maker->offset);
    memcpy(block + 1, body, size);
    *block = (struct tael_log_block){
        .checksum_previous = (flags & 16) != 0 ? 1 : maker->last.checksum,
        .log_id = superblock.log_id,
        .cluster = superblock.cluster,
        .size = size_block,
        .term = 1,
        .incarnation = 1,
        .sequence = maker->last.sequence + 1 + (flags & 32),
        .durable = maker->last.sequence,
        .op_first = maker->last.op_last + 1,
        .op_last = maker->last.op_last + (size > 0),
        .request_count = size > 0,
        .timestamp_last = maker->last.timestamp_last,
    };
    if ((flags & 1) != 0 && size >= sizeof(struct tael_request)) request_follow(block, maker);
    if ((flags & 2) != 0 && size >= 24) memcpy(&block->op_first, body, 24);
    tael_log_block_seal(block);
    if ((flags & 4) != 0 && size >= 28) {
        /* The header holds, the size is anything: only its own checksum is made right. */
        memcpy(&block->size, body + 24, sizeof block->size);
        block->checksum = tael_disk_checksum((const uint8_t *)block + 16, sizeof *block - 16);
    }
    maker->last = *block;
    maker->offset += tael_sector_round_up(size_block);
    return true;
}

static void blocks_put(const uint8_t *data, size_t size) {
    struct maker maker = {0};
    segment_begin(&maker);
    while (size >= 4) {
        uint16_t body_size;
        memcpy(&body_size, data + 2, sizeof body_size);
        const uint8_t flags = data[0];
        data += 4;
        size -= 4;
        if (body_size > size) return;
        if (!block_put(&maker, data, body_size, flags)) return;
        data += body_size;
        size -= body_size;
    }
}

static int visit_block(void *context, const struct tael_log_block *block, const struct tael_place *place) {
    uint64_t *blocks = context;
    TAEL_ASSERT(block->sequence == ++*blocks);
    TAEL_ASSERT(place->offset % TAEL_SECTOR_SIZE == 0);
    return 0;
}

static int recover(struct tael_recovery_result *result, uint64_t *blocks) {
    const struct tael_recovery_options options = {
        .disk = disk_sim_disk(sim),
        .superblock = &superblock,
        .block = visit_block,
        .context = blocks,
        .window_size = 8192,
    };
    *blocks = 0;
    return tael_recovery_run(&options, result, &report);
}

/* Straight to the check of a block's meaning, in memory of exactly its size. */
static void check_alone(const uint8_t *data, size_t size) {
    if (size < sizeof(struct tael_log_block) || size > TAEL_BLOCK_SIZE_MAX) return;
    struct tael_log_block *block = malloc(size);
    TAEL_ASSERT(block != NULL);
    memcpy(block, data, size);
    block->size = (uint32_t)size;
    const struct tael_block_context context = {.op_last = block->op_first - 1};
    struct tael_block_problem problem;
    TAEL_ASSERT(tael_block_check(block, &context, &problem) == (problem.text == NULL));
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (sim == NULL) set_up();
    if (size < 1) return 0;
    check_alone(data + 1, size - 1);
    memset(image, 0, SEGMENTS * SEGMENT_SIZE);
    if (data[0] % 2 == 1) {
        blocks_put(data + 1, size - 1);
    } else {
        memcpy(image, data + 1, size - 1 < SEGMENTS * SEGMENT_SIZE ? size - 1 : SEGMENTS * SEGMENT_SIZE);
    }
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        char name[TAEL_DISK_NAME_MAX];
        tael_segment_name(name, i + 1, false);
        disk_sim_poke(sim, name, image + i * SEGMENT_SIZE, SEGMENT_SIZE, 0);
    }
    struct tael_recovery_result first, second;
    uint64_t blocks, blocks_again;
    const uint64_t before = disk_sim_checksum(sim);
    const int error = recover(&first, &blocks);
    if (error != 0) {
        TAEL_ASSERT(error == -EBADMSG);
        TAEL_ASSERT(disk_sim_checksum(sim) == before);
        return 0;
    }
    TAEL_ASSERT(recover(&second, &blocks_again) == 0);
    TAEL_ASSERT(!second.cut);
    TAEL_ASSERT(blocks_again == blocks);
    return 0;
}
