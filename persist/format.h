/* Sealing and checking of what include/tael/log_format.h lays out. Pure. */
#ifndef TAEL_PERSIST_FORMAT_H
#define TAEL_PERSIST_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/bits.h>
#include <tael/log_format.h>

#include "persist/disk.h"

#define TAEL_LOG_DIRECTORY "log"

/* XXH3-128 with seed 0. */
tael_u128 tael_disk_checksum(const void *data, size_t size);

static inline uint32_t tael_sector_round_up(uint32_t size) {
    return (size + (TAEL_SECTOR_SIZE - 1)) & ~(uint32_t)(TAEL_SECTOR_SIZE - 1);
}

/* Sets magic, version of the format, size and checksum. */
void tael_superblock_seal(struct tael_superblock *superblock);
/* NULL, or what is wrong with it. */
const char *tael_superblock_check(const struct tael_superblock *superblock);

/* "log/%016x.segment", or "log/%016x.preparing" while it is being filled with zeros. */
void tael_segment_name(char name[TAEL_DISK_NAME_MAX], uint64_t number, bool preparing);
/* True for the name, within the log's directory, of a segment. */
bool tael_segment_name_parse(const char *name, uint64_t *number, bool *preparing);

void tael_segment_header_seal(struct tael_segment_header *header);
/* NULL, or why this is not the header of segment `number`, whose file has `size` bytes. */
const char *tael_segment_header_check(const struct tael_segment_header *header,
                                      const struct tael_superblock *superblock, uint64_t number, uint64_t size);

/* Sets magic, version of the format and both checksums. The header stands at the front of its block; all else is set. */
void tael_log_block_seal(struct tael_log_block *header);
/* True for the header of a block of this log: its own checksum holds and it carries the log's id. */
bool tael_log_block_is_header(const struct tael_log_block *header, tael_u128 log_id);
/* NULL, or what is wrong with a block whose header holds; `available` bytes stand from it to the end of its segment. */
const char *tael_log_block_check_header(const struct tael_log_block *header, const struct tael_superblock *superblock,
                                        uint64_t available);
bool tael_log_block_body_holds(const struct tael_log_block *header);

#endif
