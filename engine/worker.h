/* The worker: sole owner of a ledger. Applies closed blocks in their order and runs reads beside them.
 *
 * Pure: no clock, no I/O. One thread polls it; it is joined to the sequencer by three rings and a board.
 *
 * Invariants:
 *   1. Blocks are applied whole, in the order of the ring, each before any slice of a read in the same turn: a read never
 *      holds up a block for longer than one slice (TAEL_READ_SLICE records); a lookup, which can't be cut, for at most
 *      TAEL_EVENTS_MAX records, which all workers share (engine/lookup.h).
 *   2. What a block's requests came to stands in its outcomes and exceptions before its last op is published as applied.
 *   3. A turn is bounded: one block, then reads for one slice or what a lookup takes, then index work for one slice.
 *
 * Publishing (the board): B1 worker stores the ledger's fill, then the counts of events applied (release)
 *   -> A1 sequencer reads the counts (acquire), then the fill: the fill is at least as new as the counts, so
 *      fill + (sequenced - counts) never understates what is taken. */
#ifndef TAEL_ENGINE_WORKER_H
#define TAEL_ENGINE_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/block.h>
#include <tael/ring.h>
#include <tael/watermark.h>

#include "engine/ledger.h"
#include "engine/lookup.h"
#include "engine/parallel.h"

/* Records that a turn may read on behalf of reads: some 0.1 ms. */
#define TAEL_READ_SLICE 2048
/* Transfers that a turn without a block adds to the lists by account: some 0.1 ms. */
#define TAEL_INDEX_SLICE 1024

/* A read, lent by the sequencer until it comes back in `reads_done`. */
struct tael_read_job {
    /* The sequencer's part: unchanged while it is lent. */
    const void *body;
    uint32_t body_size;
    uint8_t operation;
    void *reply_body; /* room for what tael_query_body_check said */
    /* The worker's part: what came of it. */
    uint32_t reply_size;
    uint64_t op; /* as of which it reads */
    uint64_t timestamp;
};

/* What the worker tells about its ledger. Written by the worker only. */
struct tael_worker_board {
    struct tael_watermark applied; /* last op applied; published after the rest */
    _Alignas(TAEL_CACHE_LINE) _Atomic uint64_t accounts;
    _Atomic uint64_t transfers; /* transfers and burnt ids */
    _Atomic uint64_t expiry_next; /* a hint; UINT64_MAX where nothing expires */
    _Atomic uint64_t account_events; /* of create requests applied since the start */
    _Atomic uint64_t transfer_events;
};

struct tael_worker_link {
    struct tael_ring blocks; /* sequencer -> worker: struct tael_block, closed */
    struct tael_ring reads; /* sequencer -> worker: struct tael_read_job */
    struct tael_ring reads_done; /* worker -> sequencer: struct tael_read_job */
    struct tael_worker_board board;
};

struct tael_worker_options {
    uint32_t blocks_max; /* blocks there are */
    uint32_t reads_max; /* reads that may be lent at once */
    uint32_t queries_max; /* reads that run side by side */
    const uint64_t *skipped_ops; /* ops that are left out, see docs/operations.md; 0 is none */
    uint32_t skipped_ops_count;
    struct tael_parallel *parallel; /* applies what several workers can apply together; NULL: nobody does */
    struct tael_lookups *lookups; /* the same for lookups */
};

struct tael_worker;

size_t tael_worker_size_bytes(const struct tael_worker_options *options);
struct tael_worker *tael_worker_init(struct tael_arena *arena, const struct tael_worker_options *options,
                                     struct tael_ledger *ledger);

struct tael_worker_link *tael_worker_link(struct tael_worker *worker);

/* One turn. Returns how much it did; 0 means that there was nothing to do. */
uint32_t tael_worker_poll(struct tael_worker *worker);

/* Applies a block's requests, writes its outcomes and exceptions and publishes what came of it. Called by the turn, and by
 * recovery, which has no ring. Does not look at block->sequence: the log may be writing it. */
void tael_worker_apply(struct tael_worker *worker, const struct tael_block *block);

/* True for an op that an administrator had left out: it changes nothing, and its client's session ends. */
bool tael_worker_skips(const struct tael_worker *worker, uint64_t op);

#endif
