/* What joins one net role with the sequencer: four rings, and what travels in them.
 *
 * Ownership is the ring's direction: a message is net's own, lent to the sequencer from `requests` until it comes back in
 * `released`; a reply is the sequencer's own, lent to net from `replies` until it comes back in `sent`. The pools behind
 * both are bounded, so each ring is made as large as the pool whose entries it returns, and returning never fails. */
#ifndef TAEL_LINK_H
#define TAEL_LINK_H

#include <stdint.h>

#include <tael/frame.h>
#include <tael/ring.h>

/* Which connection of which client: an index and a generation, net's own. Stale handles are harmless: net drops what is
 * sent to them. */
typedef uint64_t tael_connection;
#define TAEL_CONNECTION_NONE 0

/* A frame with command REQUEST that net has checked: size, both checksums, protocol, zero fields, cluster. Nothing of
 * its meaning is checked yet. */
struct tael_message {
    const struct tael_frame *frame;
    const uint8_t *body; /* frame->size - TAEL_FRAME_HEADER_SIZE bytes, aligned to 16 */
    tael_connection connection;
};

/* A frame to send. The sequencer fills all of it but the two checksums. */
struct tael_reply {
    tael_connection connection;
    struct tael_frame *frame; /* the body stands behind it */
    uint32_t capacity; /* bytes at frame */
    uint32_t pool; /* which of the sequencer's pools it returns to */
};

struct tael_link {
    struct tael_ring requests; /* net -> sequencer: struct tael_message */
    struct tael_ring released; /* sequencer -> net: struct tael_message */
    struct tael_ring replies; /* sequencer -> net: struct tael_reply */
    struct tael_ring sent; /* net -> sequencer: struct tael_reply */
};

#endif
