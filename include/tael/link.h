/* What joins one net role with the sequencer: four rings, and what travels in them.
 *
 * Ownership is the ring's direction: a message is net's own, lent to the sequencer from `requests` until it comes back in
 * `released`; a reply is the sequencer's own, lent to net from `replies` until it comes back in `sent`. The pools behind
 * both are bounded, so each ring is made as large as the pool whose entries it returns, and returning never fails. */
#ifndef TAEL_LINK_H
#define TAEL_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/frame.h>
#include <tael/ring.h>

/* Which connection of which client: an index and a generation, net's own. Stale handles are harmless: net drops what is
 * sent to them. */
typedef uint64_t tael_connection;
#define TAEL_CONNECTION_NONE 0

/* Some bytes of a body. */
struct tael_part {
    const uint8_t *data;
    uint32_t size;
};

enum tael_message_kind {
    TAEL_MESSAGE_REQUEST = 0,
    TAEL_MESSAGE_POLL, /* by datagram: what became of the request with these names? It has no body */
};

/* A request that net has taken in whole, its checksums right. Nothing of its meaning is checked yet. What stands behind `parts`
 * is lent with it. */
struct tael_message {
    tael_u128 client;
    tael_u128 checksum; /* tells a repeated request from another one with the same number */
    tael_u128 parent; /* frames: the context of the previous reply */
    uint64_t session; /* frames: the session's number */
    uint64_t token; /* datagrams: the session's, never 0; of a register, one drawn at random. Frames: 0 */
    tael_connection connection;
    uint32_t request;
    uint32_t release; /* frames */
    uint16_t slot; /* frames: 0 */
    uint8_t operation;
    uint8_t kind; /* enum tael_message_kind */
    bool is_one_batch; /* the body is one batch without a trailer. Only of creates: to a read net appends the trailer */
    uint32_t body_size; /* bytes, of all parts */
    uint32_t part_count; /* at least 1 where there is a body */
    const struct tael_part *parts; /* of any size and alignment, those of creates; all others have one, aligned to 16 */
    struct tael_part whole; /* for net's use: the only part, where there is one */
};

static inline bool tael_message_is_datagram(const struct tael_message *message) { return message->token != 0; }

/* Describes a frame with command REQUEST, which stands as long as the message is lent. The message must not be moved. */
static inline void tael_message_of_frame(struct tael_message *message, const struct tael_frame *frame,
                                         tael_connection connection) {
    message->client = frame->request.client;
    message->checksum = frame->checksum;
    message->parent = frame->request.parent;
    message->session = frame->request.session;
    message->token = 0;
    message->connection = connection;
    message->request = frame->request.request;
    message->release = frame->release;
    message->slot = 0;
    message->operation = frame->request.operation;
    message->kind = TAEL_MESSAGE_REQUEST;
    message->is_one_batch = false;
    message->body_size = frame->size - TAEL_FRAME_HEADER_SIZE;
    message->part_count = 1;
    message->parts = &message->whole;
    message->whole.data = (const uint8_t *)(frame + 1);
    message->whole.size = message->body_size;
}

/* What the sequencer answers. To a frame: a frame to send, of which it fills in all but the two checksums. To a datagram: a
 * reply, whose body stands behind the frame and whose op, timestamp and operation stand in frame->reply; or a notice, of
 * which there stands the operation alone. */
struct tael_reply {
    tael_connection connection;
    struct tael_frame *frame; /* the body stands behind it: frame->size - TAEL_FRAME_HEADER_SIZE bytes */
    uint32_t capacity; /* bytes at frame */
    uint32_t pool; /* which of the sequencer's pools it returns to */
    uint64_t token; /* datagrams: of the request; 0 for a register */
    uint32_t request; /* datagrams: its number */
    uint16_t slot; /* datagrams */
    uint16_t notice; /* datagrams: enum tael_datagram_notice_code, 0 for a reply */
    uint16_t wait_ms; /* datagrams: how long to wait, where the notice is a busy one */
};

struct tael_link {
    struct tael_ring requests; /* net -> sequencer: struct tael_message */
    struct tael_ring released; /* sequencer -> net: struct tael_message */
    struct tael_ring replies; /* sequencer -> net: struct tael_reply */
    struct tael_ring sent; /* net -> sequencer: struct tael_reply */
};

#endif
