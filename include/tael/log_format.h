/* What stands on disk: the superblock, segments and blocks. docs/log-format.md tells the same as prose, with the rules of
 * recovery. Little-endian; everything is a multiple of TAEL_SECTOR_SIZE. Checksums are XXH3-128 with seed 0.
 *
 * DIR/superblock        four copies of struct tael_superblock, one a sector; the valid one with the highest `version` counts
 * DIR/lock              locked exclusively by the process that has the ledger open; holds its process id as text
 * DIR/log/%016x.segment segments, numbered from 1 without gaps */
#ifndef TAEL_LOG_FORMAT_H
#define TAEL_LOG_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/limits.h>
#include <tael/u128.h>

#define TAEL_FORMAT_VERSION 1
#define TAEL_SUPERBLOCK_MAGIC 0x726570756c656174ull /* "taeluper" */
#define TAEL_SEGMENT_MAGIC 0x6765736c6c656174ull /* "taellseg" */
#define TAEL_BLOCK_MAGIC 0x6b6c626c6c656174ull /* "taellblk" */
#define TAEL_SUPERBLOCK_COPIES 4
#define TAEL_SKIPPED_OPS_MAX 16

/* Limits that an administrator chooses; they only ever rise. */
struct tael_superblock_limits {
    uint64_t accounts_max;
    uint64_t transfers_max;
    uint64_t sessions_max;
    uint64_t segment_size; /* bytes, of segments yet to be made; fixed at format */
    uint64_t reserved[12];
};

struct tael_superblock {
    tael_u128 checksum; /* of the bytes that follow */
    uint64_t magic;
    uint32_t format_version;
    uint32_t size; /* sizeof(struct tael_superblock) */
    uint64_t version; /* raised with every write of the superblock */
    uint64_t incarnation; /* raised durably at every start, before the first block is written */
    tael_u128 cluster; /* the ledger id, which clients name */
    tael_u128 log_id; /* random, never sent to clients */
    tael_u128 hash_key; /* random: keys the tables' hashes */
    uint64_t term; /* of replication; 1 */
    uint64_t format_time; /* ns since 1970 */
    struct tael_superblock_limits limits;
    uint64_t skipped_ops[TAEL_SKIPPED_OPS_MAX]; /* ops that replay leaves out, see docs/operations.md; 0 unused */
    uint64_t scratch; /* 1: made for measuring, what is acknowledged may not be durable; else 0. Fixed at format */
    uint8_t reserved[3720];
};
static_assert(sizeof(struct tael_superblock) == TAEL_SECTOR_SIZE, "one sector");
static_assert(offsetof(struct tael_superblock, scratch) == 368, "log format");

/* The first sector of a segment: written before the segment's first block, and durable before that block is announced. */
struct tael_segment_header {
    tael_u128 checksum; /* of the bytes that follow */
    uint64_t magic;
    uint32_t format_version;
    uint32_t in_flight_max; /* K: block q is submitted only when q - K has been announced */
    tael_u128 log_id;
    tael_u128 cluster;
    uint64_t number;
    uint64_t sequence_first; /* of the first block in it */
    uint64_t op_first; /* the first op at or after its first block */
    uint64_t incarnation;
    uint64_t size; /* bytes of the whole segment */
    uint8_t reserved[3992];
};
static_assert(sizeof(struct tael_segment_header) == TAEL_SECTOR_SIZE, "one sector");

/* The header of a block, at a multiple of TAEL_SECTOR_SIZE within a segment. Requests follow at byte 256. */
struct tael_log_block {
    tael_u128 checksum; /* of header bytes 16..255 */
    tael_u128 checksum_body; /* of bytes 256 .. size - 1 */
    tael_u128 checksum_previous; /* `checksum` of the block with sequence - 1; 0 for the first of all */
    tael_u128 log_id;
    tael_u128 cluster;
    uint64_t magic;
    uint32_t format_version;
    uint32_t size; /* bytes in use, header included; in the segment it takes the next multiple of TAEL_SECTOR_SIZE */
    uint64_t term;
    uint64_t incarnation;
    uint64_t sequence; /* from 1, without gaps */
    uint64_t durable; /* highest sequence announced as durable when this block was sealed */
    uint64_t op_first; /* op_first = op_last + 1 where it holds no request */
    uint64_t op_last;
    uint32_t request_count;
    uint32_t reserved_a;
    uint64_t timestamp_last; /* of the last request up to and in this block */
    uint8_t reserved[96];
};
static_assert(sizeof(struct tael_log_block) == TAEL_BLOCK_HEADER_SIZE, "log format");
static_assert(offsetof(struct tael_log_block, magic) == 80, "log format");

#endif
