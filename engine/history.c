#include "engine/history.h"

size_t tael_history_size_bytes(uint64_t transfers_max) {
    return tael_arena_share_aligned(transfers_max * sizeof(struct tael_history_entry));
}

size_t tael_history_reserve_size_bytes(uint64_t transfers_max) {
    return tael_arena_share_aligned(transfers_max * sizeof(struct tael_expiry_entry)) +
           tael_arena_share_aligned(2 * transfers_max * sizeof(tael_u128[2 * TAEL_BALANCES]));
}

void tael_history_init(struct tael_history *history, struct tael_arena *arena, uint64_t transfers_max) {
    *history = (struct tael_history){
        .transfers = tael_arena_take_aligned(arena, transfers_max * sizeof(struct tael_history_entry)),
        .expiries = tael_arena_take_reserve(arena, transfers_max * sizeof(struct tael_expiry_entry)),
        .wide = tael_arena_take_reserve(arena, 2 * transfers_max * sizeof(tael_u128[2 * TAEL_BALANCES])),
        .count_max = transfers_max,
    };
}

void tael_history_write_wide(struct tael_history *history, struct tael_history_entry *entry,
                             const struct tael_account_table *accounts, const struct tael_account_line *debit,
                             const struct tael_account_line *credit) {
    TAEL_ASSERT(history->wide_count < 2 * history->count_max);
    tael_u128 *values = history->wide[history->wide_count];
    for (int i = 0; i < TAEL_BALANCES; i++) {
        values[i] = tael_account_table_balance(accounts, debit, (enum tael_balance)i);
        values[TAEL_BALANCES + i] = tael_account_table_balance(accounts, credit, (enum tael_balance)i);
    }
    *entry = (struct tael_history_entry){.value = {history->wide_count++}};
}

void tael_history_read(const struct tael_history *history, const struct tael_history_entry *entry, uint8_t mark,
                       tael_u128 out[2 * TAEL_BALANCES]) {
    for (int i = 0; i < 2 * TAEL_BALANCES; i++) {
        out[i] = mark & TAEL_HISTORY_WIDE ? history->wide[entry->value[0]][i] : entry->value[i];
    }
}
