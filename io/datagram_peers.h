/* The endpoints that have shown that their address is their own, and what each holds on to.
 *
 * A bounded table by address and port, in chains by a hash with a seed of its own, so that nobody can choose to collide. When it is full, or
 * one address has its share, whoever was not heard longest goes: of all, or of that address. "Longest" to a
 * tenth of a second, so that a busy peer's place in the lists is not moved with each datagram.
 *
 * Owned by one thread. No allocation after init. */
#ifndef TAEL_IO_DATAGRAM_PEERS_H
#define TAEL_IO_DATAGRAM_PEERS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/limits.h>
#include <tael/link.h>

#include "io/endpoint.h"
#include "io/list.h"

/* More pools of reply buffers than any sequencer has. */
#define TAEL_DATAGRAM_REPLY_POOLS_MAX 4
/* Who was heard so short a time ago keeps its place. */
#define TAEL_PEER_HEARD_NS (TAEL_NS_PER_S / 10)

struct tael_datagram_peer {
    _Alignas(TAEL_CACHE_LINE) struct tael_endpoint endpoint;
    uint32_t generation; /* never 0 */
    uint32_t next; /* in its chain, or free */
    uint16_t datagram_max; /* bytes of the largest that it takes, and that is sent */
    uint16_t window; /* parts of a reply */
    uint64_t heard_ns; /* when it was put at the end of the lists */
    /* What it holds, for bounds: */
    uint32_t messages; /* lent to the sequencer */
    uint32_t large_bodies; /* of those messages */
    uint32_t parts; /* set aside for its requests */
    uint32_t parts_unsaid; /* arrived since it was last told */
    uint16_t held[TAEL_DATAGRAM_REPLY_POOLS_MAX]; /* replies that are kept for it, by pool */
    /* So far on one cache line: all that a request of one part needs. */
    struct tael_list unsaid; /* its assemblies with such parts */
    /* The last request that was refused for want of room, so that not each of its parts is answered. */
    uint64_t refused_ns;
    uint32_t refused_request;
    uint8_t refused_slot;
    struct tael_list heard; /* among all, by heard_ns */
    struct tael_list heard_address; /* among those of its address */
    uint32_t address; /* its entry among the addresses */
    struct tael_list replies[TAEL_DATAGRAM_REPLY_POOLS_MAX]; /* those that are kept for it, the oldest first */
};

static_assert(offsetof(struct tael_datagram_peer, held) + sizeof(((struct tael_datagram_peer *)0)->held) <=
                  TAEL_CACHE_LINE,
              "a request of one part touches one line of its peer");

struct tael_datagram_peers;

size_t tael_datagram_peers_size_bytes(uint32_t peers_max);

/* An address has `per_address_max` of the `peers_max` at most. `seed` is random. */
struct tael_datagram_peers *tael_datagram_peers_init(struct tael_arena *arena, uint32_t peers_max,
                                                     uint32_t per_address_max, uint64_t seed);

/* A lookup in three steps, so that others can be begun meanwhile: the hash; the chain's head; the peer. */
uint64_t tael_datagram_peers_hash(const struct tael_datagram_peers *peers, const struct tael_endpoint *endpoint);
void tael_datagram_peers_prefetch_chain(const struct tael_datagram_peers *peers, uint64_t hash);
void tael_datagram_peers_prefetch_peer(const struct tael_datagram_peers *peers, uint64_t hash);

/* The peer of an endpoint, NULL when there is none. */
struct tael_datagram_peer *tael_datagram_peers_find(struct tael_datagram_peers *peers,
                                                    const struct tael_endpoint *endpoint, uint64_t hash);

/* A new one; somebody else may have to go, which sets *evicted: its lists are left by all that stood in them. */
struct tael_datagram_peer *tael_datagram_peers_enter(struct tael_datagram_peers *peers,
                                                     const struct tael_endpoint *endpoint, uint64_t now_ns,
                                                     bool *evicted);

/* It was heard, by this way. */
void tael_datagram_peers_heard(struct tael_datagram_peers *peers, struct tael_datagram_peer *peer,
                               const struct tael_endpoint *endpoint, uint64_t now_ns);

tael_connection tael_datagram_peers_handle(const struct tael_datagram_peers *peers,
                                           const struct tael_datagram_peer *peer);
/* The peer of a handle, NULL when it is gone. */
struct tael_datagram_peer *tael_datagram_peers_get(struct tael_datagram_peers *peers, tael_connection handle);
/* For a handle that will be looked up soon. */
void tael_datagram_peers_prefetch_handle(const struct tael_datagram_peers *peers, tael_connection handle);

uint32_t tael_datagram_peers_count(const struct tael_datagram_peers *peers);

#endif
