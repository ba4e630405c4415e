/* History: both accounts' balances right after every transfer and every expiry. It answers change events and the balances
 * of accounts with the history flag.
 *
 * 1. Transfers and expiries stand apart, each in order of timestamp (an import may be older than the last expiry); a reader
 *    merges them.
 * 2. Eight u64 an entry, one cache line; where one of the two accounts is wide, the entry holds the place of eight u128 in
 *    a side array instead (address space, untouched until needed).
 * Owned by one worker; pure. */
#ifndef TAEL_ENGINE_HISTORY_H
#define TAEL_ENGINE_HISTORY_H

#include <immintrin.h>
#include <stdint.h>

#include <tael/arena.h>

#include "engine/account_table.h"

enum tael_history_mark {
    TAEL_HISTORY_DEBIT_CLOSED = 1,
    TAEL_HISTORY_CREDIT_CLOSED = 2,
    TAEL_HISTORY_WIDE = 4,
};

struct tael_history_entry {
    uint64_t value[2 * TAEL_BALANCES]; /* the debit account's balances, then the credit account's */
};
static_assert(sizeof(struct tael_history_entry) == TAEL_CACHE_LINE, "bytes a transfer, docs/architecture.md");

struct tael_expiry_entry {
    struct tael_history_entry balances;
    uint64_t timestamp; /* of the expiry */
    uint32_t position; /* of the transfer that expired */
    uint8_t after; /* enum tael_history_mark */
    uint8_t reserved[3];
};
static_assert(sizeof(struct tael_expiry_entry) == 80, "docs/architecture.md");

struct tael_history {
    struct tael_history_entry *transfers; /* by position in the journal */
    struct tael_expiry_entry *expiries;
    uint64_t expiry_count;
    tael_u128 (*wide)[2 * TAEL_BALANCES];
    uint64_t wide_count;
    uint64_t count_max;
};

size_t tael_history_size_bytes(uint64_t transfers_max);
/* The address space of expiries and wide entries. */
size_t tael_history_reserve_size_bytes(uint64_t transfers_max);
void tael_history_init(struct tael_history *history, struct tael_arena *arena, uint64_t transfers_max);

/* For an account pair with a wide one: writes the entry; see tael_history_write. */
void tael_history_write_wide(struct tael_history *history, struct tael_history_entry *entry,
                             const struct tael_account_table *accounts, const struct tael_account_line *debit,
                             const struct tael_account_line *credit);

/* Reads the entry back: the debit account's balances, then the credit account's. */
void tael_history_read(const struct tael_history *history, const struct tael_history_entry *entry, uint8_t mark,
                       tael_u128 out[2 * TAEL_BALANCES]);

/* Writes an entry, neither of whose accounts is wide, past the caches, as the body (engine/journal.h). Whole lines only: two workers that
 * each write half a line in this way take three times as long. */
static inline void tael_history_write_narrow(struct tael_history_entry *entry, const uint64_t debit[TAEL_BALANCES],
                                             const uint64_t credit[TAEL_BALANCES]) {
    long long *out = (long long *)(void *)entry->value;
    for (int i = 0; i < TAEL_BALANCES; i++) _mm_stream_si64(out + i, (long long)debit[i]);
    for (int i = 0; i < TAEL_BALANCES; i++) _mm_stream_si64(out + TAEL_BALANCES + i, (long long)credit[i]);
}

/* Writes the two accounts' balances as they are now and returns the mark that belongs to them. */
static inline uint8_t tael_history_write(struct tael_history *history, struct tael_history_entry *entry,
                                         const struct tael_account_table *accounts,
                                         const struct tael_account_line *debit,
                                         const struct tael_account_line *credit) {
    uint8_t mark = 0;
    if (debit->flags & TAEL_ACCOUNT_FLAG_closed) mark |= TAEL_HISTORY_DEBIT_CLOSED;
    if (credit->flags & TAEL_ACCOUNT_FLAG_closed) mark |= TAEL_HISTORY_CREDIT_CLOSED;
    if (TAEL_UNLIKELY(((debit->flags | credit->flags) & TAEL_ACCOUNT_LINE_WIDE) != 0)) {
        tael_history_write_wide(history, entry, accounts, debit, credit);
        return mark | TAEL_HISTORY_WIDE;
    }
    tael_history_write_narrow(entry, debit->balance, credit->balance);
    return mark;
}

#endif
