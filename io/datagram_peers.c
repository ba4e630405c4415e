/* Invariants:
 *  1. A peer that is not free stands in one chain, in the list of all, and in that of its address; both lists are in order of heard_ns.
 *  2. A handle names one peer for ever: the generation is raised when it is freed.
 *  3. There are as many entries for addresses as peers, and each that is not free has a peer: so one is always found. */
#include "io/datagram_peers.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/completion.h>

#define NONE UINT32_MAX

struct address {
    uint32_t address;
    uint32_t count;
    uint32_t next; /* in its chain, or free */
    struct tael_list heard; /* its peers, the one heard longest ago first */
};

struct tael_datagram_peers {
    struct tael_datagram_peer *peers;
    struct address *addresses;
    uint32_t *chains; /* of peers, */
    uint32_t *address_chains; /* and of addresses */
    uint32_t mask;
    uint32_t peers_max;
    uint32_t per_address_max;
    uint32_t count;
    uint32_t free;
    uint32_t addresses_free;
    uint64_t seed;
    struct tael_list heard;
};

size_t tael_datagram_peers_size_bytes(uint32_t peers_max) {
    return tael_arena_share(sizeof(struct tael_datagram_peers)) +
           tael_arena_share(peers_max * sizeof(struct tael_datagram_peer)) +
           tael_arena_share(peers_max * sizeof(struct address)) +
           2 * tael_arena_share(tael_power_of_two(peers_max) * sizeof(uint32_t));
}

struct tael_datagram_peers *tael_datagram_peers_init(struct tael_arena *arena, uint32_t peers_max,
                                                     uint32_t per_address_max, uint64_t seed) {
    TAEL_ASSERT(peers_max > 0);
    TAEL_ASSERT(per_address_max > 0);
    struct tael_datagram_peers *peers = tael_arena_take(arena, sizeof *peers);
    const uint32_t chains = tael_power_of_two(peers_max);
    *peers = (struct tael_datagram_peers){
        .peers = tael_arena_take(arena, peers_max * sizeof(struct tael_datagram_peer)),
        .addresses = tael_arena_take(arena, peers_max * sizeof(struct address)),
        .chains = tael_arena_take(arena, chains * sizeof(uint32_t)),
        .address_chains = tael_arena_take(arena, chains * sizeof(uint32_t)),
        .mask = chains - 1,
        .peers_max = peers_max,
        .per_address_max = per_address_max,
        .seed = seed,
    };
    tael_list_init(&peers->heard);
    for (uint32_t i = 0; i < chains; i++) {
        peers->chains[i] = NONE;
        peers->address_chains[i] = NONE;
    }
    for (uint32_t i = 0; i < peers_max; i++) {
        const uint32_t next = i + 1 < peers_max ? i + 1 : NONE;
        peers->addresses[i].next = next;
        struct tael_datagram_peer *peer = &peers->peers[i];
        *peer = (struct tael_datagram_peer){.next = next, .generation = 1, .address = NONE};
        tael_list_init(&peer->heard);
        tael_list_init(&peer->heard_address);
        tael_list_init(&peer->unsaid);
        for (uint32_t pool = 0; pool < TAEL_DATAGRAM_REPLY_POOLS_MAX; pool++) tael_list_init(&peer->replies[pool]);
    }
    return peers;
}

/* --- addresses --- */

static uint32_t *address_chain(struct tael_datagram_peers *peers, uint32_t address) {
    return &peers->address_chains[(uint32_t)XXH3_64bits_withSeed(&address, sizeof address, peers->seed) & peers->mask];
}

/* The entry of an address, NONE when it has no peers. */
static uint32_t address_find(struct tael_datagram_peers *peers, uint32_t address) {
    uint32_t index = *address_chain(peers, address);
    while (index != NONE && peers->addresses[index].address != address) index = peers->addresses[index].next;
    return index;
}

static uint32_t address_new(struct tael_datagram_peers *peers, uint32_t address) {
    const uint32_t index = peers->addresses_free;
    TAEL_ASSERT(index != NONE);
    struct address *entry = &peers->addresses[index];
    peers->addresses_free = entry->next;
    uint32_t *chain = address_chain(peers, address);
    *entry = (struct address){.address = address, .next = *chain};
    *chain = index;
    tael_list_init(&entry->heard);
    return index;
}

static void address_join(struct tael_datagram_peers *peers, struct tael_datagram_peer *peer) {
    uint32_t index = address_find(peers, peer->endpoint.address);
    if (index == NONE) index = address_new(peers, peer->endpoint.address);
    peer->address = index;
    peers->addresses[index].count++;
    tael_list_append(&peers->addresses[index].heard, &peer->heard_address);
}

static void address_leave(struct tael_datagram_peers *peers, struct tael_datagram_peer *peer) {
    struct address *entry = &peers->addresses[peer->address];
    TAEL_ASSERT(entry->count > 0);
    tael_list_remove(&peer->heard_address);
    entry->count--;
    if (entry->count > 0) return;
    TAEL_ASSERT(tael_list_empty(&entry->heard));
    uint32_t *link = address_chain(peers, entry->address);
    while (*link != peer->address) link = &peers->addresses[*link].next;
    *link = entry->next;
    entry->next = peers->addresses_free;
    peers->addresses_free = peer->address;
}

/* --- peers --- */

uint64_t tael_datagram_peers_hash(const struct tael_datagram_peers *peers, const struct tael_endpoint *endpoint) {
    const uint64_t key = (uint64_t)endpoint->port << 32 | endpoint->address;
    return XXH3_64bits_withSeed(&key, sizeof key, peers->seed);
}

void tael_datagram_peers_prefetch_chain(const struct tael_datagram_peers *peers, uint64_t hash) {
    __builtin_prefetch(&peers->chains[(uint32_t)hash & peers->mask]);
}

void tael_datagram_peers_prefetch_peer(const struct tael_datagram_peers *peers, uint64_t hash) {
    const uint32_t index = peers->chains[(uint32_t)hash & peers->mask];
    if (index != NONE) __builtin_prefetch(&peers->peers[index]);
}

struct tael_datagram_peer *tael_datagram_peers_find(struct tael_datagram_peers *peers,
                                                    const struct tael_endpoint *endpoint, uint64_t hash) {
    uint32_t index = peers->chains[(uint32_t)hash & peers->mask];
    while (index != NONE) {
        struct tael_datagram_peer *peer = &peers->peers[index];
        if (tael_endpoint_equal(&peer->endpoint, endpoint)) return peer;
        index = peer->next;
    }
    return NULL;
}

/* Whatever others put into its lists leaves them; what it stands for, they find gone by its handle. */
static void lists_leave(struct tael_datagram_peer *peer) {
    struct tael_list *link;
    while ((link = tael_list_first(&peer->unsaid)) != NULL) tael_list_remove(link);
    for (uint32_t pool = 0; pool < TAEL_DATAGRAM_REPLY_POOLS_MAX; pool++) {
        while ((link = tael_list_first(&peer->replies[pool])) != NULL) tael_list_remove(link);
    }
}

static void peer_free(struct tael_datagram_peers *peers, struct tael_datagram_peer *peer) {
    const uint32_t index = (uint32_t)(peer - peers->peers);
    uint32_t *link = &peers->chains[(uint32_t)tael_datagram_peers_hash(peers, &peer->endpoint) & peers->mask];
    while (*link != index) link = &peers->peers[*link].next;
    *link = peer->next;
    lists_leave(peer);
    tael_list_remove(&peer->heard);
    address_leave(peers, peer);
    peer->address = NONE;
    peer->generation = peer->generation == UINT32_MAX ? 1 : peer->generation + 1;
    peer->next = peers->free;
    peers->free = index;
    TAEL_ASSERT(peers->count > 0);
    peers->count--;
}

/* Who has to go for one more of this address; NULL: nobody. */
static struct tael_datagram_peer *victim(struct tael_datagram_peers *peers, uint32_t address) {
    const uint32_t index = address_find(peers, address);
    if (index != NONE && peers->addresses[index].count >= peers->per_address_max) {
        return TAEL_CONTAINER_OF(tael_list_first(&peers->addresses[index].heard), struct tael_datagram_peer,
                                 heard_address);
    }
    if (peers->free != NONE) return NULL;
    return TAEL_CONTAINER_OF(tael_list_first(&peers->heard), struct tael_datagram_peer, heard);
}

struct tael_datagram_peer *tael_datagram_peers_enter(struct tael_datagram_peers *peers,
                                                     const struct tael_endpoint *endpoint, uint64_t now_ns,
                                                     bool *evicted) {
    struct tael_datagram_peer *leaving = victim(peers, endpoint->address);
    *evicted = leaving != NULL;
    if (leaving != NULL) peer_free(peers, leaving);
    const uint32_t index = peers->free;
    struct tael_datagram_peer *peer = &peers->peers[index];
    uint32_t *chain = &peers->chains[(uint32_t)tael_datagram_peers_hash(peers, endpoint) & peers->mask];
    peers->free = peer->next;
    peers->count++;
    peer->endpoint = *endpoint;
    peer->next = *chain;
    *chain = index;
    peer->heard_ns = now_ns;
    peer->messages = 0;
    peer->large_bodies = 0;
    peer->parts = 0;
    peer->parts_unsaid = 0;
    peer->refused_ns = 0;
    peer->refused_request = 0;
    peer->refused_slot = 0;
    for (uint32_t pool = 0; pool < TAEL_DATAGRAM_REPLY_POOLS_MAX; pool++) peer->held[pool] = 0;
    tael_list_append(&peers->heard, &peer->heard);
    address_join(peers, peer);
    return peer;
}

void tael_datagram_peers_heard(struct tael_datagram_peers *peers, struct tael_datagram_peer *peer,
                               const struct tael_endpoint *endpoint, uint64_t now_ns) {
    peer->endpoint = *endpoint;
    if (now_ns - peer->heard_ns < TAEL_PEER_HEARD_NS) return;
    peer->heard_ns = now_ns;
    tael_list_append(&peers->heard, &peer->heard);
    tael_list_append(&peers->addresses[peer->address].heard, &peer->heard_address);
}

tael_connection tael_datagram_peers_handle(const struct tael_datagram_peers *peers,
                                           const struct tael_datagram_peer *peer) {
    return (uint64_t)peer->generation << 32 | (uint64_t)(peer - peers->peers);
}

struct tael_datagram_peer *tael_datagram_peers_get(struct tael_datagram_peers *peers, tael_connection handle) {
    const uint32_t index = (uint32_t)handle;
    if (index >= peers->peers_max) return NULL;
    struct tael_datagram_peer *peer = &peers->peers[index];
    return peer->generation == handle >> 32 && peer->address != NONE ? peer : NULL;
}

void tael_datagram_peers_prefetch_handle(const struct tael_datagram_peers *peers, tael_connection handle) {
    const uint32_t index = (uint32_t)handle;
    if (index < peers->peers_max) __builtin_prefetch(&peers->peers[index]);
}

uint32_t tael_datagram_peers_count(const struct tael_datagram_peers *peers) { return peers->count; }
