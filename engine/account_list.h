/* Lists of transfers by account, for account filters: built behind, never on the way of a transfer.
 *
 * 1. A list holds the positions of an account's transfers, debits and credits alike, rising, in chunks of one cache line that
 *    are chained both ways. Its head stands in the account's cold part.
 * 2. Lists cover the journal up to `covered`, which only rises and only covers transfers that are certain.
 * Owned by one worker; pure. */
#ifndef TAEL_ENGINE_ACCOUNT_LIST_H
#define TAEL_ENGINE_ACCOUNT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>

#include "engine/account_table.h"
#include "engine/journal.h"

#define TAEL_LIST_CHUNK_ENTRIES 14

struct tael_list_chunk {
    uint32_t next; /* chunk numbers count from 1; 0 is none */
    uint32_t previous;
    uint32_t positions[TAEL_LIST_CHUNK_ENTRIES];
};
static_assert(sizeof(struct tael_list_chunk) == TAEL_CACHE_LINE, "one miss for fourteen transfers");

struct tael_account_lists {
    struct tael_list_chunk *chunks; /* by number; 0 unused */
    uint64_t chunk_count;
    uint64_t chunk_count_max;
    uint64_t covered; /* transfers below this position are listed */
};

/* A place in an account's list, moving forward or backward. */
struct tael_list_cursor {
    uint32_t chunk; /* 0: at the end */
    uint32_t index; /* in the chunk */
    uint32_t remaining; /* entries from here on to the end, this one included */
    bool backward;
};

size_t tael_account_lists_size_bytes(uint64_t accounts_max, uint64_t transfers_max);
void tael_account_lists_init(struct tael_account_lists *lists, struct tael_arena *arena, uint64_t accounts_max,
                             uint64_t transfers_max);

/* Extends the lists by at most `budget` transfers of the journal; returns how many. */
uint32_t tael_account_lists_extend(struct tael_account_lists *lists, struct tael_account_table *accounts,
                                   const struct tael_journal *journal, uint32_t budget);

/* A cursor at the oldest transfer, or, backward, at the youngest. */
struct tael_list_cursor tael_account_lists_begin(const struct tael_account_cold *account, bool backward);

/* The position at the cursor, which moves on. False at the end. */
bool tael_account_lists_next(const struct tael_account_lists *lists, struct tael_list_cursor *cursor,
                             uint64_t *position);

#endif
