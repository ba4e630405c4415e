/* How many connections each peer address holds, so that one machine cannot take all of them.
 *
 * An IPv4 address counts by itself, also when it comes mapped into IPv6; IPv6 addresses count by their first 64 bits, since
 * whoever has one usually has all of those.
 *
 * Owned by one thread. No allocation after init. */
#ifndef TAEL_IO_PEER_TABLE_H
#define TAEL_IO_PEER_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>

#include "io/address.h"

#define TAEL_PEER_NONE UINT32_MAX

struct tael_peer_table;

size_t tael_peer_table_size_bytes(uint32_t peers_max);

/* `peers_max` is the number of connections: each may come from an address of its own. */
struct tael_peer_table *tael_peer_table_init(struct tael_arena *arena, uint32_t peers_max);

/* Counts one more connection from `address`. Its peer, to be handed to leave; TAEL_PEER_NONE when it holds `limit` already. */
uint32_t tael_peer_table_enter(struct tael_peer_table *table, const struct tael_address *address, uint32_t limit);

/* One connection less. */
void tael_peer_table_leave(struct tael_peer_table *table, uint32_t peer);

#endif
