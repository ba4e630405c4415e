/* Replies of several parts: kept until the client has them all.
 *
 * A reply stays in the sequencer's buffer, and goes back through `sent` exactly once: when the client has all parts, when it asks
 * something newer in that slot, a second after it last had more of it, ten seconds after it was begun, or when others need the
 * buffer. What was given up the client gets by asking again.
 *
 * A peer holds a quarter of what may be held of a pool, and no more. Where all of it is held, a peer that holds less takes from the
 * one that holds most. Among equals each reply has a slice of time in which it is not given up, so that at least that many
 * get on, and not each takes the buffer from the other before it has read: who comes meanwhile is not kept, and asks again.
 *
 * Sending: no more parts that the client has not said to have than its window. What it has is what it said last, not what it ever
 * said, since a read that is run again may come with other bytes. A part is sent again when the client has later ones, beyond what
 * reordering makes likely, and not a second time before it has some that were sent after that; or when the client says nothing
 * new: then it has waited in vain, and all that is missing is sent. The server itself never repeats anything.
 *
 * Owned by one thread. Pure; no allocation after init. */
#ifndef TAEL_IO_DATAGRAM_REPLIES_H
#define TAEL_IO_DATAGRAM_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/link.h>

#include "io/datagram_peers.h"
#include "io/datagram_sender.h"

/* Without progress, and in all. */
#define TAEL_REPLY_IDLE_NS TAEL_NS_PER_S
#define TAEL_REPLY_AGE_NS (10 * TAEL_NS_PER_S)
/* So long it is left in peace. */
#define TAEL_REPLY_SLICE_NS (TAEL_NS_PER_S / 5)
/* Within this time after the last part was sent, a client cannot have waited in vain. */
#define TAEL_REPLY_QUIET_NS (TAEL_NS_PER_S / 200)

struct tael_datagram_replies;

struct tael_datagram_replies_options {
    uint32_t held_max[TAEL_DATAGRAM_REPLY_POOLS_MAX]; /* of each pool; 0: there is no such pool */
    uint64_t seed; /* random */
};

size_t tael_datagram_replies_size_bytes(const struct tael_datagram_replies_options *options);
struct tael_datagram_replies *tael_datagram_replies_init(struct tael_arena *arena,
                                                         const struct tael_datagram_replies_options *options,
                                                         struct tael_datagram_peers *peers,
                                                         const struct tael_datagram_sender *sender,
                                                         struct tael_ring *sent);

/* Keeps a reply of several parts, where there is room, and begins to send it with the next turn; `header` is that of its parts. If the
 * same one is kept already, that one is sent on, and this buffer goes back. */
void tael_datagram_replies_hold(struct tael_datagram_replies *replies, struct tael_datagram_peer *peer,
                                struct tael_reply *reply, const struct tael_datagram *header, uint64_t now_ns);

/* The client has these parts, and not all, of the reply to the request of `header`; NULL: it asks, and has said nothing of what it
 * has. False: no such reply is kept; what the client has of it is remembered for a while, for when the sequencer has found it. */
bool tael_datagram_replies_heard(struct tael_datagram_replies *replies, struct tael_datagram_peer *peer,
                                 const struct tael_datagram *header, const struct tael_datagram_have *have,
                                 uint64_t now_ns);

/* The client sends a request with this header: what is kept of an older one in its slot has arrived, or is not wanted. */
void tael_datagram_replies_newer(struct tael_datagram_replies *replies, struct tael_datagram_peer *peer,
                                 const struct tael_datagram *header);

/* Sends up to so many parts, of one reply after the other: how many. */
uint32_t tael_datagram_replies_send(struct tael_datagram_replies *replies, uint32_t parts_max, uint64_t now_ns);

/* Gives up what is too old, a bounded number: how many. */
uint32_t tael_datagram_replies_expire(struct tael_datagram_replies *replies, uint64_t now_ns);
/* When there will be something to do though nothing comes; UINT64_MAX: never. */
uint64_t tael_datagram_replies_deadline_ns(const struct tael_datagram_replies *replies);

/* Gives up all. */
void tael_datagram_replies_close(struct tael_datagram_replies *replies);

/* How many are kept. */
uint32_t tael_datagram_replies_count(const struct tael_datagram_replies *replies);

#endif
