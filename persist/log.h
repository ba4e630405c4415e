/* The log's writer: makes blocks durable, a few in flight, and announces them in order.
 *
 * Invariants (docs/log-format.md has the format and the rules of recovery):
 * 1. Block q is submitted only when q - K was announced, K being that of the segment's header. Where K changes with a new
 *    segment, the smaller of the two counts until the old segment is announced whole and the new one's header is durable.
 * 2. Announced is announced in order: block q only after q - 1, and only after the header of its segment is durable.
 * 3. Segments are prepared ahead, full of zeros, in the background. Running out of disk is seen there, and shows as a lack
 *    of room (tael_log_room), never as a failed write.
 * 4. A write or sync that failed or came up short is the end: tael_log_poll returns its error from then on, nothing more
 *    is announced, and nothing is tried again. Only a restart, by recovery, tells what the disk really holds.
 * 5. When idle, and at the end, an empty block confirms the last one (`durable` in its header).
 *
 * Use, by the sequencer's thread, which owns the log:
 *   admit a request only while its block still fits tael_log_room; close a block of tael_log_size_min and more; submit it;
 *   poll once a turn; reuse a block's buffer when its sequence <= tael_log_durable_sequence (and all else is done with it).
 * No allocation after init. Time is handed in. */
#ifndef TAEL_PERSIST_LOG_H
#define TAEL_PERSIST_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/block.h>
#include <tael/watermark.h>

#include "persist/disk.h"
#include "persist/report.h"

struct tael_log;

/* Where the log goes on: what recovery found. */
struct tael_log_position {
    uint64_t segment; /* that the next block goes to; 0 where none was begun */
    uint64_t offset; /* in it */
    uint32_t in_flight_max; /* K of that segment */
    uint64_t segment_last; /* the last one that exists; those behind `segment` are full of zeros */
    uint64_t sequence_last; /* of the last block; 0 where there is none */
    tael_u128 checksum_last;
    uint64_t op_last;
    uint64_t timestamp_last;
    bool confirmed; /* the last block is empty and confirms all before it, or there is none */
};

/* Faults planted in the log, to prove that the tests find them. Tests only; 0 in production. */
enum tael_log_fault {
    TAEL_LOG_FAULT_NO_SYNC = 1u << 0, /* blocks are announced when written, not when durable */
    TAEL_LOG_FAULT_OUT_OF_ORDER = 1u << 1, /* a block is announced though one before it is not durable */
    TAEL_LOG_FAULT_WINDOW = 1u << 2, /* twice K blocks are in flight */
    TAEL_LOG_FAULT_HEADER_LATE = 1u << 3, /* a block is announced though its segment's header is not durable */
    TAEL_LOG_FAULT_NO_DIRECTORY_SYNC = 1u << 4, /* a segment is used before its name is durable */
};

/* Zero stands for the default, but in in_flight_max. */
struct tael_log_options {
    uint32_t in_flight_max; /* K of new segments, 1 .. TAEL_LOG_IN_FLIGHT_MAX; TAEL_LOG_IN_FLIGHT_DEFAULT */
    uint32_t block_size_max; /* of any block; TAEL_BLOCK_SIZE_MAX */
    uint32_t segments_ahead; /* prepared and not yet begun, at most TAEL_LOG_SEGMENTS_AHEAD_MAX */
    uint64_t idle_ns; /* without a block, before an empty one confirms the last */
    uint64_t space_retry_ns; /* between looking for space where there was none */
    void (*notice)(void *context,
                   const char *text); /* one line for the operator: space is low, gone, back; may be NULL */
    void *context;
    uint32_t faults; /* enum tael_log_fault; tests only */
};

#define TAEL_LOG_SEGMENTS_AHEAD_DEFAULT 4
#define TAEL_LOG_SEGMENTS_AHEAD_MAX 16
#define TAEL_LOG_IDLE_NS_DEFAULT (20u * 1000 * 1000)
#define TAEL_LOG_SPACE_RETRY_NS_DEFAULT TAEL_NS_PER_S

size_t tael_log_size_bytes(const struct tael_log_options *options);

/* Opens the log for writing where recovery ended. 0 or a negative errno with a report. */
int tael_log_init(struct tael_arena *arena, const struct tael_log_options *options, struct tael_disk *disk,
                  const struct tael_superblock *superblock, const struct tael_log_position *position,
                  struct tael_log **log, struct tael_report *report);

/* True when a block may be submitted now: a write slot is free and nothing has failed. */
bool tael_log_can_submit(const struct tael_log *log);

/* The size in bytes from which a block is worth writing now; UINT32_MAX when none may be submitted. A small one costs the disk and the
 * kernel as much as one of many requests: while some are in flight it had better wait for company. */
uint32_t tael_log_size_min(const struct tael_log *log);

/* Writes a closed block. Sets block->sequence, fills in its header, pads its last sector with zeros; from then on its data is
 * only read, and must stay until the block is announced. Only when tael_log_can_submit, and within tael_log_room. A block
 * without requests (first_op = last_op + 1, size = TAEL_BLOCK_HEADER_SIZE) is legal. */
void tael_log_submit(struct tael_log *log, struct tael_block *block);

/* One bounded turn: announces, prepares segments, confirms when idle. Returns how much it did, or a negative errno, which is
 * fatal: the process must stop acknowledging and be restarted. */
int tael_log_poll(struct tael_log *log, uint64_t now_ns);

/* When the log wants to be polled at the latest though no completion arrived; UINT64_MAX where it does not care. */
uint64_t tael_log_deadline_ns(const struct tael_log *log);

/* The last op that is durable, and everything before it; as a watermark, for other threads. */
uint64_t tael_log_durable_op(const struct tael_log *log);
const struct tael_watermark *tael_log_durable_watermark(const struct tael_log *log);
/* The last block that is durable, and everything before it. */
uint64_t tael_log_durable_sequence(const struct tael_log *log);

/* Bytes certain to be available: blocks whose sizes, each rounded up to a sector, add up to no more than this can be submitted
 * without waiting for a segment, however they fall on the segments' ends. It shrinks by what is submitted, and grows when
 * a segment was prepared. */
uint64_t tael_log_room(const struct tael_log *log);

enum tael_log_space {
    TAEL_LOG_SPACE_OK,
    TAEL_LOG_SPACE_LOW, /* the disk has little left beyond what is prepared */
    TAEL_LOG_SPACE_NONE, /* no further segment can be prepared: what exceeds tael_log_room must be refused, not awaited */
};
/* Tells a lack of room that will pass by itself (OK, LOW: a segment is being prepared) from one that will not (NONE). */
enum tael_log_space tael_log_space(const struct tael_log *log);

struct tael_log_counters {
    uint64_t blocks; /* announced, empty ones included */
    uint64_t blocks_empty;
    uint64_t bytes; /* of announced blocks, as they stand in the log */
    uint64_t commit_ns; /* from each block's submission to its announcement, all together */
    uint64_t segments_begun;
    uint64_t segments_prepared;
    uint64_t segments_refused; /* times that there was no space for one */
    uint64_t bytes_wasted; /* at the ends of segments */
    uint64_t bytes_free; /* of the disk, when last looked at */
    uint32_t segments_ready;
    uint32_t in_flight;
};
struct tael_log_counters tael_log_counters(const struct tael_log *log);

/* Waits for the blocks in flight, confirms the last one with an empty block and waits for that too, then closes the log's
 * files. For the end of a process: it blocks. 0, or the error that made the log stop. */
int tael_log_close(struct tael_log *log);

#endif
