/* The sequencer: makes one total order of what the clients ask for.
 *
 * It decides all that is not a function of the log: whether a request is new, whether there is room for its worst case,
 * its op and timestamps, when a pulse is due, whose session has to go. It copies a request's events, once, into the open
 * block, hands closed blocks to the log and to the worker, and answers when an op is both durable and applied.
 *
 * Pure: time and the log's state are handed in. No allocation after init. Owned by one thread.
 *
 * Invariants:
 *   1. Ops rise by one without gaps, timestamps rise; whatever has an op number stands in a block.
 *   2. A request without room for its worst case never gets an op number: accounts, transfers (counting all that is in
 *      flight), chunks of its reply, log.
 *   3. Whole requests only: a block is closed when the log can take it, when it holds TAEL_BLOCK_SIZE_TARGET or when the
 *      next request does not fit. There is no timer.
 *   4. Nothing is answered before it is durable and applied, and no read before the op that it shows is durable.
 *   5. A block is used again only when it is durable, applied and all its replies are built.
 *   6. Every queue is bounded. What has no place stays in net's ring, which stops net reading; nothing waits for a client.
 *   7. A session with a logged request in flight, in any slot, is never evicted; one with a read in flight only where there is no
 *      other. It ends with all its slots. */
#ifndef TAEL_ENGINE_SEQUENCER_H
#define TAEL_ENGINE_SEQUENCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/block.h>
#include <tael/frame.h>
#include <tael/link.h>
#include <tael/ring.h>
#include <tael/watermark.h>

#include "engine/reply_pool.h"
#include "engine/sessions.h"
#include "engine/worker.h"

#define TAEL_LINKS_MAX 16
/* Messages taken and replies made in one turn. */
#define TAEL_SEQUENCER_TURN 512
/* Log room kept free: half of it for what the sequencer adds itself, half for the log's own empty blocks. */
#define TAEL_SEQUENCER_LOG_RESERVE (256u << 10)
/* What a busy frame tells the client to wait. */
#define TAEL_BUSY_WAIT_MS 50

struct tael_sequencer_options {
    tael_u128 cluster;
    uint64_t accounts_max;
    uint64_t transfers_max;
    uint32_t sessions_max; /* as the sessions' own: slots */
    uint32_t blocks_max; /* at least 2 */
    uint32_t replies_small; /* buffers of TAEL_REPLY_SMALL_SIZE; at least 2 */
    uint32_t replies_large; /* buffers of TAEL_REPLY_LARGE_SIZE; at least 2 */
    uint32_t reads_max; /* reads waiting and running */
    /* Answers when applied, durable or not: for measuring. Invariant 4 does not hold then. */
    bool acknowledges_early;
};

/* What the turn needs to know of the world. */
struct tael_sequencer_input {
    uint64_t wall_ns; /* ns since 1970, by the clock policy */
    uint64_t durable; /* last op announced as durable by the log */
    uint32_t
        log_size_min; /* bytes; a smaller block stays open until it has grown; UINT32_MAX: the log takes none now */
    uint64_t log_capacity; /* bytes of blocks that the log took since the start and could still take, together */
    bool log_grows; /* a lack of room in the log will pass by itself: a segment is being prepared */
};

/* Everything that was decided, for the counters. Dropped means that the client hears nothing and tries again; by
 * datagram most of these are told, by a notice. */
#define TAEL_SEQUENCER_COUNTER_TABLE(X)                                                                                \
    X(requests, "requests taken from the network")                                                                     \
    X(logged, "requests given an op number, the sequencer's own included")                                             \
    X(reads, "reads begun")                                                                                            \
    X(replies, "replies to logged requests and reads")                                                                 \
    X(replies_kept, "kept replies sent again")                                                                         \
    X(blocks, "blocks closed")                                                                                         \
    X(pulses, "pulses inserted")                                                                                       \
    X(sessions_evicted, "sessions evicted to make room")                                                               \
    X(evictions_sent, "eviction frames sent")                                                                          \
    X(notices_sent, "datagrams: notices sent")                                                                         \
    X(busy_sent, "busy frames sent")                                                                                   \
    X(dropped_in_progress, "dropped: repeated while in progress")                                                      \
    X(dropped_old, "dropped: request number below the last one's")                                                     \
    X(dropped_checksum, "dropped: same request number, another request")                                               \
    X(dropped_parent, "dropped: does not follow the previous reply")                                                   \
    X(dropped_session_newer, "dropped: a session that was never given out")                                            \
    X(dropped_register, "dropped: register of a known client")                                                         \
    X(dropped_malformed, "dropped: header fields that no client sends")                                                \
    X(dropped_room_accounts, "dropped or busy: no room for accounts")                                                  \
    X(dropped_room_transfers, "dropped or busy: no room for transfers")                                                \
    X(dropped_room_log, "dropped or busy: no room in the log")                                                         \
    X(dropped_room_replies, "dropped or busy: no room for the reply, which the session's other slots take")            \
    X(dropped_no_buffer, "dropped: no buffer to send a kept reply again")

struct tael_sequencer_counters {
#define X(name, text) uint64_t name;
    TAEL_SEQUENCER_COUNTER_TABLE(X)
#undef X
};

struct tael_sequencer;

size_t tael_sequencer_size_bytes(const struct tael_sequencer_options *options);
/* `links` (at most TAEL_LINKS_MAX, set up by the caller) and `worker` outlive the sequencer. A link's `replies` and
 * `released` rings must have room for all reply buffers and all of net's messages. */
struct tael_sequencer *tael_sequencer_init(struct tael_arena *arena, const struct tael_sequencer_options *options,
                                           struct tael_sessions *sessions, struct tael_link *links, uint32_t link_count,
                                           struct tael_worker_link *worker);

/* Where the log stands after recovery: the next op is op + 1, the next timestamp above `timestamp`. Once, before the first
 * turn; `sessions` and the worker's board must be as of the same op. */
void tael_sequencer_start(struct tael_sequencer *sequencer, uint64_t op, uint64_t timestamp);

/* One turn. Returns how much it did; 0 means that there was nothing to do until something else moves. */
uint32_t tael_sequencer_poll(struct tael_sequencer *sequencer, const struct tael_sequencer_input *input);

/* Closed blocks for the log, oldest first; the consumer's end is the log's. */
struct tael_ring *tael_sequencer_blocks(struct tael_sequencer *sequencer);
/* What a block of that size takes in the log: whole sectors. */
static inline uint64_t tael_sequencer_size_in_log(uint32_t block_size) {
    return ((uint64_t)block_size + (TAEL_SECTOR_SIZE - 1)) & ~(uint64_t)(TAEL_SECTOR_SIZE - 1);
}

/* The memory that all blocks' data lies in, to be registered with the disk. */
void *tael_sequencer_block_memory(const struct tael_sequencer *sequencer, size_t *size_bytes);

/* When the next turn is due though nothing else moves: the next expiry, ns since 1970; UINT64_MAX for never. */
uint64_t tael_sequencer_due_ns(const struct tael_sequencer *sequencer);

/* Takes no more requests from now on; what has an op number is finished. */
void tael_sequencer_drain(struct tael_sequencer *sequencer);
/* True when nothing is open, in flight or unsent. */
bool tael_sequencer_is_idle(const struct tael_sequencer *sequencer);

uint64_t tael_sequencer_op(const struct tael_sequencer *sequencer); /* the last one given */
uint64_t tael_sequencer_timestamp(const struct tael_sequencer *sequencer); /* the last one given */
const struct tael_sequencer_counters *tael_sequencer_counters(const struct tael_sequencer *sequencer);

#endif
