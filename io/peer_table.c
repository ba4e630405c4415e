/* Peers stand in chains by a hash of their key. Invariants:
 *  1. A peer is in exactly one chain while its count is above 0, and in the free chain otherwise.
 *  2. There are as many peers as connections, so a connection always finds one. */
#include "io/peer_table.h"

#include <netinet/in.h>
#include <string.h>

#include <xxhash.h>

#include <tael/assert.h>
#include <tael/bits.h>

enum { KEY_SIZE = 16 };

struct peer {
    uint8_t key[KEY_SIZE];
    uint32_t count;
    uint32_t next; /* in its chain, TAEL_PEER_NONE at the end */
};

struct tael_peer_table {
    struct peer *peers;
    uint32_t *chains; /* first peer of each */
    uint32_t chains_mask;
    uint32_t free;
};

size_t tael_peer_table_size_bytes(uint32_t peers_max) {
    return tael_arena_share(sizeof(struct tael_peer_table)) + tael_arena_share(peers_max * sizeof(struct peer)) +
           tael_arena_share(tael_power_of_two(peers_max) * sizeof(uint32_t));
}

struct tael_peer_table *tael_peer_table_init(struct tael_arena *arena, uint32_t peers_max) {
    TAEL_ASSERT(peers_max > 0);
    struct tael_peer_table *table = tael_arena_take(arena, sizeof *table);
    table->peers = tael_arena_take(arena, peers_max * sizeof(struct peer));
    table->chains_mask = tael_power_of_two(peers_max) - 1;
    table->chains = tael_arena_take(arena, tael_power_of_two(peers_max) * sizeof(uint32_t));
    for (uint32_t i = 0; i <= table->chains_mask; i++) table->chains[i] = TAEL_PEER_NONE;
    for (uint32_t i = 0; i < peers_max; i++) table->peers[i].next = i + 1 < peers_max ? i + 1 : TAEL_PEER_NONE;
    table->free = 0;
    return table;
}

static void key_fill(uint8_t key[KEY_SIZE], const struct tael_address *address) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(key, 0, KEY_SIZE);
    const uint8_t *raw = (const uint8_t *)&address->storage;
    if (address->storage.ss_family == AF_INET) {
        memcpy(key, mapped, sizeof mapped);
        memcpy(key + sizeof mapped, raw + offsetof(struct sockaddr_in, sin_addr), 4);
    } else {
        raw += offsetof(struct sockaddr_in6, sin6_addr);
        memcpy(key, raw, memcmp(raw, mapped, sizeof mapped) == 0 ? KEY_SIZE : KEY_SIZE / 2);
    }
}

static uint32_t *chain_of(struct tael_peer_table *table, const uint8_t key[KEY_SIZE]) {
    return &table->chains[(uint32_t)XXH3_64bits(key, KEY_SIZE) & table->chains_mask];
}

static uint32_t peer_new(struct tael_peer_table *table, uint32_t *chain, const uint8_t key[KEY_SIZE]) {
    const uint32_t index = table->free;
    TAEL_ASSERT(index != TAEL_PEER_NONE);
    struct peer *peer = &table->peers[index];
    table->free = peer->next;
    memcpy(peer->key, key, KEY_SIZE);
    peer->count = 0;
    peer->next = *chain;
    *chain = index;
    return index;
}

uint32_t tael_peer_table_enter(struct tael_peer_table *table, const struct tael_address *address, uint32_t limit) {
    TAEL_ASSERT(limit > 0);
    uint8_t key[KEY_SIZE];
    key_fill(key, address);
    uint32_t *chain = chain_of(table, key);
    uint32_t index = *chain;
    while (index != TAEL_PEER_NONE && memcmp(table->peers[index].key, key, KEY_SIZE) != 0) {
        index = table->peers[index].next;
    }
    if (index == TAEL_PEER_NONE) index = peer_new(table, chain, key);
    if (table->peers[index].count >= limit) return TAEL_PEER_NONE;
    table->peers[index].count++;
    return index;
}

void tael_peer_table_leave(struct tael_peer_table *table, uint32_t peer) {
    struct peer *leaving = &table->peers[peer];
    TAEL_ASSERT(leaving->count > 0);
    leaving->count--;
    if (leaving->count > 0) return;
    uint32_t *link = chain_of(table, leaving->key);
    while (*link != peer) link = &table->peers[*link].next;
    *link = leaving->next;
    leaving->next = table->free;
    table->free = peer;
}
