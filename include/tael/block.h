/* The block: an aligned buffer that is at once the unit of group commit and the batch that workers execute.
 *
 * Life: free -> open (the sequencer copies whole requests in) -> closed (handed to the log and to the workers, both only
 * read `data`; the log alone writes the block header) -> durable and applied -> replies built -> free.
 * Owner: the sequencer's thread, except that `outcomes` and `exceptions` are the worker's from hand-over until it
 * publishes the block's last op as applied. */
#ifndef TAEL_BLOCK_H
#define TAEL_BLOCK_H

#include <stdint.h>

#include <tael/limits.h>
#include <tael/log_format.h>
#include <tael/request.h>

/* Where a request's exceptions stand in its block's array. */
struct tael_outcome {
    uint32_t exception_first;
    uint32_t exception_count;
};

#define TAEL_EXCEPTIONS_PER_BLOCK_MAX (TAEL_BLOCK_SIZE_MAX / TAEL_RECORD_SIZE)

struct tael_block {
    uint8_t *data; /* TAEL_BLOCK_SIZE_MAX bytes, sector aligned: struct tael_log_block, then requests */
    uint32_t size; /* bytes used, the header included; the log pads to a sector */
    uint32_t request_count;
    uint64_t first_op; /* first_op > last_op means no requests */
    uint64_t last_op;
    uint64_t sequence; /* set by the log when it is submitted */
    struct tael_outcome *outcomes; /* request_count of them, at most TAEL_REQUESTS_PER_BLOCK_MAX */
    struct tael_exception *exceptions; /* at most TAEL_EXCEPTIONS_PER_BLOCK_MAX */
};

static inline const struct tael_request *tael_block_first_request(const struct tael_block *block) {
    return (const struct tael_request *)(block->data + TAEL_BLOCK_HEADER_SIZE);
}

#endif
