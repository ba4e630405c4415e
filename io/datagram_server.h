/* The server's side of the datagram protocol: a net role that speaks it over a carrier and a struct tael_link.
 *
 * Datagrams are handed in, answers leave through the carrier; requests go to the sequencer in the packet buffers in which they
 * came. docs/datagram-protocol.md has the rules in full. Everything that a client can hold on to is bounded, for it and for all,
 * and holding on has a deadline; who has not shown that its address is its own costs nothing but the answer to its datagram, which is no
 * longer than that. Lost is what the carrier has no buffer for, or the server no room: the client asks again.
 *
 * Pure: no clock, no sockets, no randomness of its own, no allocation after init. Owned by one thread. The parts: datagram_cookie
 * (addresses), datagram_peers (who may speak, and what each holds), datagram_reassembly (requests of several parts),
 * datagram_messages (what is lent to the sequencer), datagram_replies (replies of several parts), datagram_sender. */
#ifndef TAEL_IO_DATAGRAM_SERVER_H
#define TAEL_IO_DATAGRAM_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/link.h>

#include "io/carrier.h"
#include "io/datagram_cookie.h"
#include "io/datagram_counters.h"
#include "io/datagram_peers.h"

#define TAEL_DATAGRAM_BURST_MAX 32

struct tael_datagram_server;

struct tael_datagram_server_options {
    tael_u128 ledger;
    bool is_scratch;
    uint16_t datagram_max; /* bytes that the path carries: TAEL_DATAGRAM_SIZE_ETHERNET to TAEL_DATAGRAM_SIZE_MAX */
    uint16_t window; /* parts of requests that a client lets be on the way */
    uint16_t slots_max; /* of a session, as the sequencer has it */
    uint32_t peers_max;
    uint32_t peers_per_address_max;
    uint32_t parts_max; /* packet buffers that half-sent and lent requests of several parts may keep */
    uint32_t
        messages_max; /* requests lent to the sequencer; each of one part keeps a packet buffer; link->released holds as many */
    uint32_t messages_per_peer_max;
    uint32_t small_bodies; /* for all but creates: TAEL_COPIED_BODY_SMALL each */
    uint32_t large_bodies; /* likewise, TAEL_COPIED_BODY_LARGE */
    uint32_t replies_held_max[TAEL_DATAGRAM_REPLY_POOLS_MAX]; /* of each pool's reply buffers; less than there are */
    struct tael_cookie_key cookie_key; /* random */
    uint64_t (*random)(void *context); /* 64 bits that nobody can guess */
    void *random_context;
    struct tael_carrier carrier;
};

/* The defaults; ledger, replies_held_max, cookie_key, random and carrier remain to be filled in. */
struct tael_datagram_server_options tael_datagram_server_options_default(void);

size_t tael_datagram_server_size_bytes(const struct tael_datagram_server_options *options);
struct tael_datagram_server *tael_datagram_server_init(struct tael_arena *arena,
                                                       const struct tael_datagram_server_options *options,
                                                       struct tael_link *link);

/* A datagram has come, at monotonic time `now_ns`. True: the buffer, and with it `payload`, is kept until the carrier's release, in a
 * later call. */
bool tael_datagram_server_receive(struct tael_datagram_server *server, const uint8_t *payload, uint32_t size,
                                  const struct tael_endpoint *from, void *buffer, uint64_t now_ns);

struct tael_datagram_received {
    const uint8_t *payload;
    uint32_t size;
    struct tael_endpoint from;
    void *buffer;
};

/* Up to TAEL_DATAGRAM_BURST_MAX of them, which hides some of the way to memory. Bit i: buffer i is kept. */
uint32_t tael_datagram_server_receive_burst(struct tael_datagram_server *server,
                                            const struct tael_datagram_received *received, uint32_t count,
                                            uint64_t now_ns);

/* One bounded turn: takes back messages, hands on what became whole, takes replies, sends, gives up what is too old. How much it did. */
uint32_t tael_datagram_server_poll(struct tael_datagram_server *server, uint64_t now_ns);

/* When the next turn is due though nothing comes; UINT64_MAX: never. In the past: now. */
uint64_t tael_datagram_server_deadline_ns(const struct tael_datagram_server *server);

/* Takes no more requests. Those that were handed on are still answered. */
void tael_datagram_server_drain(struct tael_datagram_server *server);
/* No request is lent to the sequencer, and no reply waits to be sent or read, which has an end in ten seconds. */
bool tael_datagram_server_drained(const struct tael_datagram_server *server);

/* Drains, and gives up all that is half sent. To be polled until it is closed. */
void tael_datagram_server_close(struct tael_datagram_server *server);
/* Every packet buffer and reply is given back. */
bool tael_datagram_server_closed(const struct tael_datagram_server *server);

const struct tael_datagram_counters *tael_datagram_server_counters(const struct tael_datagram_server *server);
/* Endpoints that are known now. */
uint32_t tael_datagram_server_peers(const struct tael_datagram_server *server);

#endif
