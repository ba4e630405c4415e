/* The meaning of a block: whether the requests behind a header that holds are ones that the ledger may apply.
 *
 * Checksums are the reader's business; this is about sizes, order and operations. Pure, and safe on any bytes: nothing beyond
 * `header->size` is read. The log checks what it writes with the same function that recovery checks what it reads. */
#ifndef TAEL_PERSIST_BLOCK_CHECK_H
#define TAEL_PERSIST_BLOCK_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/log_format.h>

/* What went before the block. */
struct tael_block_context {
    uint64_t op_last; /* 0 before the first */
    uint64_t timestamp_last;
};

struct tael_block_problem {
    const char *text; /* what is wrong */
    uint64_t op; /* of the request that is wrong; 0 where it is the block itself */
};

/* True where block and requests make sense after `context`; `problem` is set where they do not. `header->size` bytes, at
 * least a header and at most TAEL_BLOCK_SIZE_MAX, can be read at `header`, which is aligned to 16. */
bool tael_block_check(const struct tael_log_block *header, const struct tael_block_context *context,
                      struct tael_block_problem *problem);

#endif
