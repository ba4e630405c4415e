/* Reading the log from its beginning, block by block, for recovery and for `tael verify` and `tael inspect`.
 *
 * Two windows: while one is worked on, the next is being read, so the disk is always busy. Each block is handed out whole and
 * contiguous. A block is good when its header and its body hold, it is the next in sequence, it names the checksum of
 * the one before, and its incarnation does not fall. The first one that is not good ends the reading; what that means is
 * recovery's to say. A block that is good but makes no sense is refused: that is no accident of a disk.
 *
 * Start-up and tools only: allocates, and blocks. */
#ifndef TAEL_PERSIST_READER_H
#define TAEL_PERSIST_READER_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/log_format.h>

#include "persist/disk.h"
#include "persist/report.h"

struct tael_reader;

struct tael_reader_options {
    struct tael_disk *disk; /* asynchronous operations are used */
    const struct tael_superblock *superblock; /* outlives the reader */
    bool writable; /* opens segments for writing too: see invariant 6 in disk.h */
    uint32_t window_size; /* 0 for the default; a multiple of a sector */
    /* In place of tael_disk_wait, which it has to call and whose result it returns: for who has something to do meanwhile. NULL: nobody. */
    int (*wait)(void *context, struct tael_disk *disk);
    void *context;
};

#define TAEL_READER_WINDOW_SIZE_DEFAULT (4u << 20)

/* 0, or a negative errno with a report. A log without segments is legal. */
int tael_reader_open(const struct tael_reader_options *options, struct tael_reader **reader,
                     struct tael_report *report);
void tael_reader_close(struct tael_reader *reader);

/* Where a block stands. */
struct tael_place {
    uint64_t segment;
    uint64_t offset;
};

/* 1 and the next good block, which stays until the next call; 0 where there is none; or a negative errno with a report:
 * -EIO where the disk could not be read, -EBADMSG where a good block makes no sense. */
int tael_reader_next(struct tael_reader *reader, const struct tael_log_block **block, struct tael_place *place);

/* What was read so far, and where and why it ended (after tael_reader_next returned 0). */
struct tael_reader_state {
    uint64_t segment_first; /* 0 where there is none */
    uint64_t segment_last;
    struct tael_place next; /* where the next block would stand; segment 0: no segment was begun */
    uint32_t in_flight_max; /* K of that segment; TAEL_LOG_IN_FLIGHT_MAX where none was begun */
    uint64_t sequence_last; /* of the last good block */
    tael_u128 checksum_last;
    uint64_t incarnation_last;
    uint64_t op_last;
    uint64_t timestamp_last;
    bool confirmed; /* the last block is empty and confirms all before it, or there is none */
    uint64_t blocks;
    uint64_t requests;
    uint64_t bytes; /* of good blocks, as they stand in the log */
    uint64_t segment_size;
    const char *stop_reason; /* NULL where nothing but zeros stands there */
    const char *
        next_segment_problem; /* why the log does not go on in the next segment; NULL: there is none, or it goes on later */
};
const struct tael_reader_state *tael_reader_state(const struct tael_reader *reader);

/* The raw bytes from `place` on, a window at a time, to the end of the last segment: 1 and a piece of one segment, 0 at the
 * end, or a negative errno with a report. The blocks' reading ends with the first call of seek. */
int tael_reader_seek(struct tael_reader *reader, struct tael_place place);
int tael_reader_raw(struct tael_reader *reader, const uint8_t **data, uint32_t *size, struct tael_place *place);

/* The header of a segment as it stands on the disk: 0, -EBADMSG where it does not hold (`problem` says why), or another
 * negative errno with a report. */
int tael_reader_segment_header(struct tael_reader *reader, uint64_t number, struct tael_segment_header *header,
                               const char **problem);

#endif
