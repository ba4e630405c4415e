#include "engine/account_list.h"

#include <tael/assert.h>

/* An account's chunks hold its entries, two a transfer over all accounts, and at most one chunk each is not full. */
static uint64_t chunks_for(uint64_t accounts_max, uint64_t transfers_max) {
    return accounts_max + 2 * transfers_max / TAEL_LIST_CHUNK_ENTRIES + 2;
}

size_t tael_account_lists_size_bytes(uint64_t accounts_max, uint64_t transfers_max) {
    return tael_arena_share_aligned(chunks_for(accounts_max, transfers_max) * sizeof(struct tael_list_chunk));
}

void tael_account_lists_init(struct tael_account_lists *lists, struct tael_arena *arena, uint64_t accounts_max,
                             uint64_t transfers_max) {
    const uint64_t chunks = chunks_for(accounts_max, transfers_max);
    TAEL_ASSERT(chunks <= UINT32_MAX);
    *lists = (struct tael_account_lists){
        .chunks = tael_arena_take_aligned(arena, chunks * sizeof(struct tael_list_chunk)),
        .chunk_count_max = chunks - 1,
    };
}

static void list_append(struct tael_account_lists *lists, struct tael_account_cold *account, uint32_t position) {
    const uint32_t index = account->list_count % TAEL_LIST_CHUNK_ENTRIES;
    if (index == 0) {
        TAEL_ASSERT(lists->chunk_count < lists->chunk_count_max);
        const uint32_t chunk = (uint32_t)++lists->chunk_count;
        lists->chunks[chunk].previous = account->list_last;
        if (account->list_last != 0) {
            lists->chunks[account->list_last].next = chunk;
        } else {
            account->list_first = chunk;
        }
        account->list_last = chunk;
    }
    lists->chunks[account->list_last].positions[index] = position;
    account->list_count++;
}

/* How far ahead cold parts, then chunks are fetched. */
enum { AHEAD_COLD = 16, AHEAD_CHUNKS = 8 };

static void prefetch_ahead(const struct tael_account_lists *lists, const struct tael_account_table *accounts,
                           const struct tael_journal *journal, uint64_t position) {
    if (position + AHEAD_COLD < journal->count) {
        const struct tael_transfer_trace *trace = tael_journal_trace(journal, position + AHEAD_COLD);
        __builtin_prefetch(&accounts->cold[trace->debit_number], 1);
        __builtin_prefetch(&accounts->cold[trace->credit_number], 1);
    }
    if (position + AHEAD_CHUNKS < journal->count) {
        const struct tael_transfer_trace *trace = tael_journal_trace(journal, position + AHEAD_CHUNKS);
        __builtin_prefetch(&lists->chunks[accounts->cold[trace->debit_number].list_last], 1);
        __builtin_prefetch(&lists->chunks[accounts->cold[trace->credit_number].list_last], 1);
    }
}

uint32_t tael_account_lists_extend(struct tael_account_lists *lists, struct tael_account_table *accounts,
                                   const struct tael_journal *journal, uint32_t budget) {
    TAEL_ASSERT(lists->covered <= journal->count);
    uint32_t done = 0;
    for (; done < budget && lists->covered < journal->count; done++, lists->covered++) {
        prefetch_ahead(lists, accounts, journal, lists->covered);
        const struct tael_transfer_trace *trace = tael_journal_trace(journal, lists->covered);
        const uint32_t position = (uint32_t)lists->covered;
        list_append(lists, &accounts->cold[trace->debit_number], position);
        list_append(lists, &accounts->cold[trace->credit_number], position);
    }
    return done;
}

struct tael_list_cursor tael_account_lists_begin(const struct tael_account_cold *account, bool backward) {
    if (account->list_count == 0) return (struct tael_list_cursor){0};
    return (struct tael_list_cursor){
        .chunk = backward ? account->list_last : account->list_first,
        .index = backward ? (account->list_count - 1) % TAEL_LIST_CHUNK_ENTRIES : 0,
        .remaining = account->list_count,
        .backward = backward,
    };
}

bool tael_account_lists_next(const struct tael_account_lists *lists, struct tael_list_cursor *cursor,
                             uint64_t *position) {
    if (cursor->remaining == 0) return false;
    TAEL_ASSERT(cursor->chunk != 0);
    const struct tael_list_chunk *chunk = &lists->chunks[cursor->chunk];
    *position = chunk->positions[cursor->index];
    cursor->remaining--;
    if (cursor->backward) {
        if (cursor->index-- == 0) {
            cursor->chunk = chunk->previous;
            cursor->index = TAEL_LIST_CHUNK_ENTRIES - 1;
        }
    } else if (++cursor->index == TAEL_LIST_CHUNK_ENTRIES) {
        cursor->chunk = chunk->next;
        cursor->index = 0;
        if (cursor->chunk != 0) __builtin_prefetch(&lists->chunks[lists->chunks[cursor->chunk].next]);
    }
    return true;
}
