/* Reads from their admission to their reply. The sequencer decides which are admitted and sends what comes of them; in
 * between they are here:
 *
 *   waiting   for a buffer of the pool that their reply needs; first come, first served
 *   lent      to the worker, through its rings
 *   done      their message is not needed any more; they wait until the op that they show is durable
 *
 * Invariants:
 *   1. At most reads_max are in flight; each has its place from tael_reads_begin to tael_reads_end.
 *   2. Reads never take a pool's last buffers: the replies to logged requests hold up more (tael_reply_reserve).
 *   3. No read is handed out to be answered before the op that it shows is durable.
 *
 * No allocation after init. Owned by the sequencer's thread. */
#ifndef TAEL_ENGINE_READS_H
#define TAEL_ENGINE_READS_H

#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/link.h>
#include <tael/u128.h>

#include "engine/reply_pool.h"
#include "engine/worker.h"

struct tael_read {
    struct tael_read_job job;
    struct tael_message *message; /* lent by net while the job needs its body */
    uint32_t message_link; /* the link that it came by */
    struct tael_reply *reply; /* its header is written when it is handed out to be answered */
    struct tael_read *next;
    uint32_t reply_size_max;
    uint32_t session_index; /* entry of the slot */
    /* What its reply needs; the session may be gone by then. */
    tael_u128 client;
    tael_u128 checksum;
    tael_connection connection; /* these three: of the request's last (re)transmission */
    uint32_t link;
    uint32_t release;
    uint32_t request;
    uint64_t token;
    uint16_t slot;
};

struct tael_read_queue {
    struct tael_read *first;
    struct tael_read *last;
};

struct tael_reads {
    struct tael_worker_link *worker;
    struct tael_reply_pools *replies;
    struct tael_read *free;
    uint32_t in_flight;
    struct tael_read_queue waiting[TAEL_REPLY_POOLS]; /* for a buffer of that pool */
    struct tael_read_queue done;
};

size_t tael_reads_size_bytes(uint32_t reads_max);
/* `worker` and `replies` outlive the reads. */
void tael_reads_init(struct tael_reads *reads, struct tael_arena *arena, uint32_t reads_max,
                     struct tael_worker_link *worker, struct tael_reply_pools *replies);

/* Takes in a request that is a read, whose reply has at most `reply_size_max` bytes of body. It keeps the message until
 * tael_reads_collect hands the read out. NULL where reads_max are in flight. */
struct tael_read *tael_reads_begin(struct tael_reads *reads, struct tael_message *message, uint32_t link,
                                   uint32_t session_index, uint32_t reply_size_max);

/* The request came again, or somebody asked what became of it: its reply goes where it last came from. */
void tael_read_readdress(struct tael_read *read, const struct tael_message *message, uint32_t link);

/* Lends waiting reads to the worker as buffers allow. Returns how many. */
uint32_t tael_reads_lend(struct tael_reads *reads);

/* The next read that the worker has given back; NULL where there is none. The caller takes its message back. */
struct tael_read *tael_reads_collect(struct tael_reads *reads);

/* All reads that are done and show an op up to `durable`, linked by `next`, the header of each one's reply written; NULL
 * where there are none. The caller sends each reply and ends the read. */
struct tael_read *tael_reads_take_durable(struct tael_reads *reads, uint64_t durable);
void tael_reads_end(struct tael_reads *reads, struct tael_read *read);

#endif
