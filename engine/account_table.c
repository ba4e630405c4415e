#include "engine/account_table.h"

#include <string.h>

size_t tael_account_table_size_bytes(uint64_t accounts_max) {
    return tael_arena_share_aligned((accounts_max + 1) * sizeof(struct tael_account_line)) +
           tael_arena_share_aligned((accounts_max + 1) * sizeof(struct tael_account_cold)) +
           tael_id_index_size_bytes(accounts_max, 1);
}

size_t tael_account_table_wide_size_bytes(uint64_t accounts_max) {
    return tael_arena_share_aligned((accounts_max + 1) * sizeof(struct tael_balances));
}

void tael_account_table_init(struct tael_account_table *table, struct tael_arena *arena, uint64_t accounts_max,
                             struct tael_hash hash) {
    TAEL_ASSERT(accounts_max > 0);
    TAEL_ASSERT(accounts_max <= TAEL_ACCOUNTS_MAX);
    *table = (struct tael_account_table){
        .lines = tael_arena_take_aligned(arena, (accounts_max + 1) * sizeof(struct tael_account_line)),
        .cold = tael_arena_take_aligned(arena, (accounts_max + 1) * sizeof(struct tael_account_cold)),
        .wide = tael_arena_take_reserve(arena, (accounts_max + 1) * sizeof(struct tael_balances)),
        .count_max = accounts_max,
        .hash = hash,
    };
    tael_id_index_init(&table->index, arena, accounts_max, 1);
}

struct tael_account_line *tael_account_table_insert(struct tael_account_table *table,
                                                    const struct tael_account *account, uint64_t timestamp) {
    TAEL_ASSERT(table->count < table->count_max);
    TAEL_ASSERT(account->id != 0);
    TAEL_ASSERT(timestamp > table->cold[table->count].timestamp);
    struct tael_index_probe probe = tael_index_probe_begin(&table->index, tael_hash_id(&table->hash, account->id));
    uint64_t other;
    while (tael_index_probe_next(&table->index, &probe, &other)) TAEL_ASSERT(table->lines[other].id != account->id);
    const uint32_t number = (uint32_t)++table->count;
    tael_id_index_insert(&table->index, &probe, number);
    table->lines[number] = (struct tael_account_line){
        .id = account->id, .ledger = account->ledger, .number = number, .flags = account->flags};
    table->cold[number] = (struct tael_account_cold){
        .user_data_128 = account->user_data_128,
        .user_data_64 = account->user_data_64,
        .timestamp = timestamp,
        .user_data_32 = account->user_data_32,
        .ledger = account->ledger,
        .code = account->code,
    };
    return &table->lines[number];
}

void tael_account_table_remove_youngest(struct tael_account_table *table) {
    TAEL_ASSERT(table->count > 0);
    struct tael_account_cold *cold = &table->cold[table->count];
    struct tael_account_line *line = &table->lines[table->count];
    TAEL_ASSERT(line->number == table->count);
    TAEL_ASSERT(cold->list_count == 0);
    TAEL_ASSERT(!tael_account_line_is_wide(line));
    for (int i = 0; i < TAEL_BALANCES; i++) TAEL_ASSERT(line->balance[i] == 0);
    tael_id_index_remove_youngest(&table->index, tael_hash_id(&table->hash, line->id), table->count);
    *line = (struct tael_account_line){0};
    *cold = (struct tael_account_cold){0};
    table->count--;
}

uint64_t tael_account_table_number_from(const struct tael_account_table *table, uint64_t timestamp) {
    uint64_t low = 1;
    uint64_t high = table->count + 1;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (table->cold[middle].timestamp < timestamp) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void tael_account_table_record(const struct tael_account_table *table, const struct tael_account_line *line,
                               struct tael_account *out) {
    const struct tael_account_cold *cold = &table->cold[line->number];
    *out = (struct tael_account){
        .id = line->id,
        .debits_pending = tael_account_table_balance(table, line, TAEL_DEBITS_PENDING),
        .debits_posted = tael_account_table_balance(table, line, TAEL_DEBITS_POSTED),
        .credits_pending = tael_account_table_balance(table, line, TAEL_CREDITS_PENDING),
        .credits_posted = tael_account_table_balance(table, line, TAEL_CREDITS_POSTED),
        .user_data_128 = cold->user_data_128,
        .user_data_64 = cold->user_data_64,
        .user_data_32 = cold->user_data_32,
        .ledger = line->ledger,
        .code = cold->code,
        .flags = (uint16_t)(line->flags & ~TAEL_ACCOUNT_LINE_WIDE),
        .timestamp = cold->timestamp,
    };
}

void tael_account_table_widen(struct tael_account_table *table, struct tael_account_line *line) {
    if (tael_account_line_is_wide(line)) return;
    struct tael_balances *wide = &table->wide[line->number];
    for (int i = 0; i < TAEL_BALANCES; i++) {
        wide->value[i] = line->balance[i];
        line->balance[i] = 0;
    }
    line->flags |= TAEL_ACCOUNT_LINE_WIDE;
}
