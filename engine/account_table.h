/* Accounts by number: a cache line each with all that a transfer needs, a cold part, and an index of their ids.
 *
 * 1. Accounts are numbered from 1 in order of creation, which is also the order of their timestamps.
 * 2. An account never moves and is never removed, except that the youngest one can be taken back (a chain's rollback).
 * 3. Balances are u64 in the line. Once one needs more, the account is wide for good: all four stand as u128 in a side table
 *    with a place for every account (address space, untouched until needed). Results are the same either way.
 * Owned by one worker; pure. */
#ifndef TAEL_ENGINE_ACCOUNT_TABLE_H
#define TAEL_ENGINE_ACCOUNT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/assert.h>
#include <tael/flag.h>
#include <tael/record.h>

#include "engine/hash.h"
#include "engine/id_index.h"

enum tael_balance { TAEL_DEBITS_PENDING, TAEL_DEBITS_POSTED, TAEL_CREDITS_PENDING, TAEL_CREDITS_POSTED, TAEL_BALANCES };

struct tael_balances {
    tael_u128 value[TAEL_BALANCES];
};

/* In `flags`, above all that are defined on the wire. */
#define TAEL_ACCOUNT_LINE_WIDE 0x8000u
/* While a step is under way: why the account is unsafe in it, an enum tael_listed; 0: it is safe. See engine/step.h. */
#define TAEL_ACCOUNT_LINE_UNSAFE 0x7c00u
#define TAEL_ACCOUNT_LINE_UNSAFE_SHIFT 10
#define TAEL_ACCOUNT_RESERVED_MAX ((1ull << 48) - 1)

struct tael_account_line {
    tael_u128 id; /* 0: there is no such account */
    uint64_t balance[TAEL_BALANCES];
    uint32_t ledger;
    uint32_t number;
    uint16_t flags; /* enum tael_account_flag, and those above */
    uint16_t reserved_high; /* what a step reserved, 48 bits: 0 when none is under way */
    uint32_t reserved_low;
};
static_assert(sizeof(struct tael_account_line) == TAEL_CACHE_LINE, "one miss an account");
static_assert((TAEL_ACCOUNT_FLAGS_DEFINED & (TAEL_ACCOUNT_LINE_WIDE | TAEL_ACCOUNT_LINE_UNSAFE)) == 0,
              "the marks must not be flags of the wire");

struct tael_account_cold {
    tael_u128 user_data_128;
    uint64_t user_data_64;
    uint64_t timestamp;
    uint32_t user_data_32;
    uint32_t ledger; /* again, for scans that need no balance */
    uint16_t code;
    uint16_t reserved;
    uint32_t list_first; /* of its transfers, see account_list.h */
    uint32_t list_last;
    uint32_t list_count;
    uint32_t padding[2];
};
static_assert(sizeof(struct tael_account_cold) == TAEL_CACHE_LINE, "one miss an account");

struct tael_account_table {
    struct tael_account_line *lines; /* by number; 0 unused */
    struct tael_account_cold *cold; /* by number */
    struct tael_balances *wide; /* by number */
    uint64_t count;
    uint64_t count_max;
    struct tael_id_index index; /* of ids: to numbers */
    struct tael_hash hash;
};

/* Bytes of arena by part: the table proper, and the address space of wide balances. */
size_t tael_account_table_size_bytes(uint64_t accounts_max);
size_t tael_account_table_wide_size_bytes(uint64_t accounts_max);
void tael_account_table_init(struct tael_account_table *table, struct tael_arena *arena, uint64_t accounts_max,
                             struct tael_hash hash);

/* Enters an account that does not exist, with zero balances. There must be room. */
struct tael_account_line *tael_account_table_insert(struct tael_account_table *table,
                                                    const struct tael_account *account, uint64_t timestamp);

/* Takes the youngest account back. It must have no balance. */
void tael_account_table_remove_youngest(struct tael_account_table *table);

/* The number of the first account with a timestamp of at least `timestamp`; count + 1 where there is none. */
uint64_t tael_account_table_number_from(const struct tael_account_table *table, uint64_t timestamp);

/* The account as the wire shows it. */
void tael_account_table_record(const struct tael_account_table *table, const struct tael_account_line *line,
                               struct tael_account *out);

/* Moves an account to wide balances; nothing if it is wide already. */
void tael_account_table_widen(struct tael_account_table *table, struct tael_account_line *line);

/* The account with this id and the hash that goes with it; NULL where there is none. */
static inline struct tael_account_line *tael_account_table_find(const struct tael_account_table *table, tael_u128 id,
                                                                uint64_t hash) {
    struct tael_index_probe probe = tael_index_probe_begin(&table->index, hash);
    uint64_t number;
    while (tael_index_probe_next(&table->index, &probe, &number)) {
        if (TAEL_LIKELY(table->lines[number].id == id)) return &table->lines[number];
    }
    return NULL;
}

/* The account that an id with this hash nearly always is, without a look at its line; NULL where there is certainly none. */
static inline struct tael_account_line *tael_account_table_guess(const struct tael_account_table *table,
                                                                 uint64_t hash) {
    struct tael_index_probe probe = tael_index_probe_begin(&table->index, hash);
    uint64_t number;
    return tael_index_probe_next(&table->index, &probe, &number) ? &table->lines[number] : NULL;
}

static inline struct tael_account_line *tael_account_table_find_id(const struct tael_account_table *table,
                                                                   tael_u128 id) {
    return tael_account_table_find(table, id, tael_hash_id(&table->hash, id));
}

static inline bool tael_account_line_is_wide(const struct tael_account_line *line) {
    return (line->flags & TAEL_ACCOUNT_LINE_WIDE) != 0;
}

static inline tael_u128 tael_account_table_balance(const struct tael_account_table *table,
                                                   const struct tael_account_line *line, enum tael_balance balance) {
    if (TAEL_LIKELY(!tael_account_line_is_wide(line))) return line->balance[balance];
    return table->wide[line->number].value[balance];
}

static inline void tael_account_table_balance_set(struct tael_account_table *table, struct tael_account_line *line,
                                                  enum tael_balance balance, tael_u128 value) {
    if (TAEL_UNLIKELY(tael_u128_high(value) != 0)) tael_account_table_widen(table, line);
    if (TAEL_LIKELY(!tael_account_line_is_wide(line))) {
        line->balance[balance] = tael_u128_low(value);
    } else {
        table->wide[line->number].value[balance] = value;
    }
}

#endif
