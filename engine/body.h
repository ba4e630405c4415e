/* The body of a create, as it came: in parts of any size and alignment, with a trailer or, where its message says so, as one
 * batch without. It is checked where it lies; then its events are copied, once, into the block.
 *
 * Pure. The parts' sizes, which net has summed up, add up to the message's body_size. */
#ifndef TAEL_ENGINE_BODY_H
#define TAEL_ENGINE_BODY_H

#include <stdint.h>

#include <tael/link.h>
#include <tael/multi_batch.h>

/* Stays valid as long as the message is lent and the scratch is not used for another body. */
struct tael_body {
    const struct tael_part *parts;
    uint32_t part_count;
    struct tael_multi_batch batches; /* without a payload in one piece; of one batch no count is looked at */
};

/* Checks a create's body whole: its size, its trailer, that the trailer's counts add up. Returns 0, or the eviction reason (5 or 6);
 * then `out` is untouched. A trailer that lies in one part is looked at in place, others are gathered into `scratch`, which has room
 * for TAEL_TRAILER_SIZE_MAX bytes. */
enum tael_eviction_reason tael_body_check(const struct tael_message *message, uint8_t *scratch, struct tael_body *out);

/* Writes what stands behind the request's header in a block: the events, then, where there is more than one batch, their
 * counts. `payload` has room for tael_request_payload_size. */
void tael_body_copy(const struct tael_body *body, uint8_t *payload);

#endif
