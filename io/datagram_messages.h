/* Requests on loan to the sequencer, and what they stand in.
 *
 * What is created stays in the packet buffers in which it came, until the sequencer gives the message back. All other bodies, those
 * of reads and registers, are copied, together and aligned, with their trailers, into buffers of their own, and their packets are given back at
 * once: small buffers for what fits a packet, and a few large ones. Of messages and large buffers a peer has a share, and no more.
 *
 * Owned by one thread. Pure; no allocation after init. */
#ifndef TAEL_IO_DATAGRAM_MESSAGES_H
#define TAEL_IO_DATAGRAM_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/link.h>

#include "io/datagram_peers.h"
#include "io/datagram_reassembly.h"
#include "io/datagram_sender.h"

#define TAEL_COPIED_BODY_SMALL 2048u
#define TAEL_COPIED_BODY_LARGE (256u << 10)

struct tael_datagram_messages;

struct tael_datagram_messages_options {
    uint32_t messages_max; /* link->released holds as many */
    uint32_t per_peer_max;
    uint32_t small_bodies;
    uint32_t large_bodies;
    uint64_t (*random)(void *context); /* 64 random bits, for tokens */
    void *random_context;
};

enum tael_datagram_loan {
    TAEL_LOAN_MADE = 0,
    TAEL_LOAN_NO_MESSAGE, /* all are lent, or the sequencer's ring is full */
    TAEL_LOAN_NO_SHARE, /* the peer has its share of the messages */
    TAEL_LOAN_NO_BODY, /* no buffer to copy the body into, or the peer has its share of the large ones */
    TAEL_LOAN_SIZE, /* larger than any buffer, or no whole number of events */
};

size_t tael_datagram_messages_size_bytes(const struct tael_datagram_messages_options *options);
struct tael_datagram_messages *
tael_datagram_messages_init(struct tael_arena *arena, const struct tael_datagram_messages_options *options,
                            struct tael_datagram_peers *peers, struct tael_datagram_reassembly *reassembly,
                            const struct tael_datagram_sender *sender, struct tael_link *link);

/* Lends a request of one part. *kept: its buffer belongs to the loan. */
enum tael_datagram_loan tael_datagram_messages_lend(struct tael_datagram_messages *messages,
                                                    struct tael_datagram_peer *peer,
                                                    const struct tael_datagram_view *view, void *buffer, bool *kept);

/* Lends a request that is whole. When the loan is made, the assembly may be gone already. */
enum tael_datagram_loan tael_datagram_messages_lend_assembly(struct tael_datagram_messages *messages,
                                                             struct tael_datagram_peer *peer,
                                                             struct tael_datagram_assembly *assembly);

/* Asks the sequencer what became of the request of `header`. */
enum tael_datagram_loan tael_datagram_messages_lend_poll(struct tael_datagram_messages *messages,
                                                         struct tael_datagram_peer *peer,
                                                         const struct tael_datagram *header);

/* Takes back what the sequencer has released, up to a bound: how many. */
uint32_t tael_datagram_messages_take_back(struct tael_datagram_messages *messages);

/* How many are lent. */
uint32_t tael_datagram_messages_lent(const struct tael_datagram_messages *messages);

#endif
