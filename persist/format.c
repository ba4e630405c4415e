#include "persist/format.h"

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <tael/assert.h>

tael_u128 tael_disk_checksum(const void *data, size_t size) {
    const XXH128_hash_t hash = XXH3_128bits(data, size);
    return tael_u128_make(hash.high64, hash.low64);
}

/* The checksum of a struct that begins with its checksum. */
static tael_u128 checksum_behind_first(const void *data, size_t size) {
    TAEL_ASSERT(size > sizeof(tael_u128));
    return tael_disk_checksum((const uint8_t *)data + sizeof(tael_u128), size - sizeof(tael_u128));
}

void tael_superblock_seal(struct tael_superblock *superblock) {
    superblock->magic = TAEL_SUPERBLOCK_MAGIC;
    superblock->format_version = TAEL_FORMAT_VERSION;
    superblock->size = sizeof *superblock;
    superblock->checksum = checksum_behind_first(superblock, sizeof *superblock);
    TAEL_ASSERT(tael_superblock_check(superblock) == NULL);
}

const char *tael_superblock_check(const struct tael_superblock *superblock) {
    if (superblock->magic != TAEL_SUPERBLOCK_MAGIC) return "it is no superblock of Tael";
    if (superblock->checksum != checksum_behind_first(superblock, sizeof *superblock)) return "its checksum differs";
    if (superblock->format_version != TAEL_FORMAT_VERSION) return "its format is of another version of Tael";
    if (superblock->size != sizeof *superblock) return "its size differs";
    if (superblock->log_id == 0) return "its log has no id";
    if (superblock->limits.segment_size % TAEL_SECTOR_SIZE != 0) return "its segment size is no multiple of a sector";
    if (superblock->limits.segment_size < 2 * TAEL_SECTOR_SIZE) return "its segment size is too small";
    if (superblock->limits.segment_size > TAEL_SEGMENT_SIZE_MAX) return "its segment size is too large";
    return NULL;
}

void tael_segment_name(char name[TAEL_DISK_NAME_MAX], uint64_t number, bool preparing) {
    const int size = snprintf(name, TAEL_DISK_NAME_MAX, TAEL_LOG_DIRECTORY "/%016" PRIx64 ".%s", number,
                              preparing ? "preparing" : "segment");
    TAEL_ASSERT(size > 0);
    TAEL_ASSERT(size < TAEL_DISK_NAME_MAX);
}

bool tael_segment_name_parse(const char *name, uint64_t *number, bool *preparing) {
    uint64_t parsed = 0;
    for (int i = 0; i < 16; i++) {
        const char digit = name[i];
        if (digit >= '0' && digit <= '9') {
            parsed = parsed << 4 | (uint64_t)(digit - '0');
        } else if (digit >= 'a' && digit <= 'f') {
            parsed = parsed << 4 | (uint64_t)(digit - 'a' + 10);
        } else {
            return false;
        }
    }
    const bool is_preparing = strcmp(name + 16, ".preparing") == 0;
    if (!is_preparing && strcmp(name + 16, ".segment") != 0) return false;
    if (parsed == 0) return false;
    *number = parsed;
    *preparing = is_preparing;
    return true;
}

void tael_segment_header_seal(struct tael_segment_header *header) {
    TAEL_ASSERT(header->in_flight_max > 0);
    TAEL_ASSERT(header->in_flight_max <= TAEL_LOG_IN_FLIGHT_MAX);
    header->magic = TAEL_SEGMENT_MAGIC;
    header->format_version = TAEL_FORMAT_VERSION;
    header->checksum = checksum_behind_first(header, sizeof *header);
}

const char *tael_segment_header_check(const struct tael_segment_header *header,
                                      const struct tael_superblock *superblock, uint64_t number, uint64_t size) {
    if (header->magic != TAEL_SEGMENT_MAGIC) {
        return tael_bytes_are_zero(header, sizeof *header) ? "it was never begun" : "its header is no segment header";
    }
    if (header->checksum != checksum_behind_first(header, sizeof *header)) return "its header's checksum differs";
    if (header->format_version != TAEL_FORMAT_VERSION) return "its format is of another version of Tael";
    if (header->log_id != superblock->log_id) return "it belongs to another log";
    if (header->cluster != superblock->cluster) return "it belongs to another ledger";
    if (header->number != number) return "its header has another number";
    if (header->size != size) return "its header has another size";
    if (header->in_flight_max == 0) return "its header allows no block in flight";
    if (header->in_flight_max > TAEL_LOG_IN_FLIGHT_MAX) return "its header allows too many blocks in flight";
    return NULL;
}

static tael_u128 block_header_checksum(const struct tael_log_block *header) {
    return checksum_behind_first(header, sizeof *header);
}

static tael_u128 block_body_checksum(const struct tael_log_block *header) {
    TAEL_ASSERT(header->size >= sizeof *header);
    return tael_disk_checksum(header + 1, header->size - sizeof *header);
}

void tael_log_block_seal(struct tael_log_block *header) {
    header->magic = TAEL_BLOCK_MAGIC;
    header->format_version = TAEL_FORMAT_VERSION;
    header->checksum_body = block_body_checksum(header);
    header->checksum = block_header_checksum(header);
}

bool tael_log_block_is_header(const struct tael_log_block *header, tael_u128 log_id) {
    if (header->magic != TAEL_BLOCK_MAGIC) return false;
    if (header->log_id != log_id) return false;
    return header->checksum == block_header_checksum(header);
}

const char *tael_log_block_check_header(const struct tael_log_block *header, const struct tael_superblock *superblock,
                                        uint64_t available) {
    if (header->format_version != TAEL_FORMAT_VERSION) return "its format is of another version of Tael";
    if (header->cluster != superblock->cluster) return "it belongs to another ledger";
    if (header->size < sizeof *header) return "its size is below its header's";
    if (header->size > TAEL_BLOCK_SIZE_MAX) return "its size is above the largest";
    if (tael_sector_round_up(header->size) > available) return "its size reaches beyond its segment";
    if (header->durable >= header->sequence) return "it claims to have been durable before it was written";
    return NULL;
}

bool tael_log_block_body_holds(const struct tael_log_block *header) {
    return header->checksum_body == block_body_checksum(header);
}
