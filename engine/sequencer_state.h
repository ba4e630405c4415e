/* The inside of the sequencer: its state, and what its parts are to each other.
 *
 *   sequencer.c   set-up, blocks from open to answered, the turn
 *   admission.c   what becomes of a message; who has to go to make room
 *   answers.c     what is sent: replies, refusals, notices
 *
 * Nobody else includes this. */
#ifndef TAEL_ENGINE_SEQUENCER_STATE_H
#define TAEL_ENGINE_SEQUENCER_STATE_H

#include <tael/datagram.h>

#include "engine/reads.h"
#include "engine/sequencer.h"

/* What the log does not know of a slot: who waits for its reply, and where. */
struct tael_flight {
    tael_connection connection; /* of the client's last use */
    uint32_t link;
    uint32_t release; /* of the request's last (re)transmission */
    struct tael_read *read; /* NULL where none is in flight */
};

/* A bounded first-in first-out queue of blocks. */
struct tael_block_queue {
    struct tael_block **entries;
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
};

struct tael_sequencer {
    struct tael_sequencer_options options;
    struct tael_sessions *sessions;
    struct tael_flight *flights; /* by entry of the sessions */
    struct tael_link *links;
    uint32_t link_count;
    uint32_t link_turn;
    struct tael_worker_link *worker;
    struct tael_ring to_log;
    bool draining;

    uint64_t op;
    uint64_t timestamp;
    uint64_t op_answered; /* all up to it are durable, applied, kept and answered */
    uint64_t pulse_op; /* of the last pulse */
    uint64_t account_events; /* sequenced since the start */
    uint64_t transfer_events;

    uint8_t *block_memory; /* the data of all blocks, end to end */
    struct tael_block *open; /* NULL where none is */
    struct tael_block_queue blocks_free;
    struct tael_block_queue blocks_closed; /* with the log or the worker, oldest first */
    uint32_t
        blocks_answered; /* of those, the oldest: all that is in them is answered, they wait until they are durable */
    uint32_t closed_answered; /* requests of the block behind those that are answered */
    const struct tael_request *closed_next; /* the request behind those */
    uint64_t log_bytes; /* of all blocks closed since the start, padded */
    uint8_t *trailer; /* scratch: of a body whose parts cut it */

    struct tael_reply_pools replies;
    struct tael_reads reads;

    struct tael_sequencer_input input; /* of this turn */
    struct tael_sequencer_counters counters;
};

/* What became of a message. */
enum tael_verdict {
    TAEL_VERDICT_DONE, /* give it back */
    TAEL_VERDICT_HELD, /* a read has it */
    TAEL_VERDICT_WAIT, /* it stays in the ring: try again next turn */
};

/* --- sequencer.c --- */

/* Sees to an open block with room for a request of that payload; false where there is no free block. */
bool tael_sequencer_block_reserve(struct tael_sequencer *sequencer, uint32_t payload_size);

/* Whether the log can take a request of that payload and leave `reserve` bytes free. */
bool tael_sequencer_log_has_room(const struct tael_sequencer *sequencer, uint32_t payload_size, uint64_t reserve);

/* Gives `request` its place in the order, `timestamps` timestamps, and a place in the open block, which has room. The
 * caller then fills in the payload. */
struct tael_request *tael_sequencer_append(struct tael_sequencer *sequencer, const struct tael_request *request,
                                           uint32_t timestamps);

/* --- admission.c --- */

/* Decides about a message. A small reply buffer must be free. */
enum tael_verdict tael_admit(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message);

/* --- answers.c --- */

/* The reply to a slot's last logged request, from what is kept of it: the first one and every later one. False where
 * there is no buffer. */
bool tael_answer_kept(struct tael_sequencer *sequencer, uint32_t index);

/* The reply to a read, which tael_reads_take_durable has handed out. */
void tael_answer_read(struct tael_sequencer *sequencer, const struct tael_read *read);

/* What is wrong with a message: an eviction or, by datagram, a notice with the same number. */
void tael_answer_refusal(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                         enum tael_eviction_reason reason);

/* That there is no room now. Frames: only to those that asked for it with TAEL_CAPABILITY_BUSY. */
void tael_answer_busy(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                      uint32_t capabilities, enum tael_busy_reason reason);

/* To a datagram. */
void tael_answer_notice(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                        enum tael_datagram_notice_code code, uint16_t wait_ms);

#endif
