/* Pending transfers with a timeout, the earliest expiry first: a binary heap by (expiry, position).
 *
 * An entry is entered when the transfer's chain is certain, and stays when the transfer is posted or voided: whoever looks
 * at the top drops what is no longer pending. So it needs a place for every transfer at the most (address space, untouched
 * until needed) and its top is exact. Owned by one worker; pure. */
#ifndef TAEL_ENGINE_EXPIRY_QUEUE_H
#define TAEL_ENGINE_EXPIRY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>

struct tael_expiry {
    uint64_t expires_at; /* ns */
    uint64_t position; /* in the journal, so in order of timestamp */
};

struct tael_expiry_queue {
    struct tael_expiry *heap;
    uint64_t count;
    uint64_t count_max;
};

size_t tael_expiry_queue_size_bytes(uint64_t transfers_max);
void tael_expiry_queue_init(struct tael_expiry_queue *queue, struct tael_arena *arena, uint64_t transfers_max);
void tael_expiry_queue_push(struct tael_expiry_queue *queue, struct tael_expiry expiry);
/* The earliest; NULL where there is none. Valid until the next push or pop. */
const struct tael_expiry *tael_expiry_queue_top(const struct tael_expiry_queue *queue);
/* Drops the earliest; there must be one. */
void tael_expiry_queue_pop(struct tael_expiry_queue *queue);

#endif
