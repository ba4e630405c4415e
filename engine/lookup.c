#include "engine/lookup.h"

#include <immintrin.h>
#include <string.h>

#include "engine/ledger_state.h"

/* Where a worker's range begins and how many records it has. On a line of its own: all write theirs at the end of a pass. */
struct range {
    _Alignas(TAEL_CACHE_LINE) uint32_t first;
    uint32_t found;
};

struct tael_lookups {
    struct tael_lookups_options options;
    struct tael_lookups_counters counters;
    const struct tael_lookup *now; /* of the pass under way */
    struct range *ranges; /* by worker */
};

size_t tael_lookups_size_bytes(uint32_t workers) {
    return tael_arena_share(sizeof(struct tael_lookups)) + tael_arena_share(workers * sizeof(struct range));
}

struct tael_lookups *tael_lookups_init(struct tael_arena *arena, const struct tael_lookups_options *options) {
    TAEL_ASSERT(options->team.workers > 0);
    TAEL_ASSERT(options->team.workers <= TAEL_WORKERS_MAX);
    struct tael_lookups *lookups = tael_arena_take(arena, sizeof *lookups);
    lookups->options = *options;
    lookups->ranges = tael_arena_take(arena, options->team.workers * sizeof *lookups->ranges);
    return lookups;
}

/* --- a range of ids --- */

/* How far ahead buckets of the index are fetched, then what they lead to. */
enum { AHEAD = 16, AHEAD_RECORD = 8 };

static tael_u128 id_at(const struct tael_lookup *lookup, uint32_t index) {
    tael_u128 id;
    memcpy(&id, lookup->ids + (size_t)index * sizeof id, sizeof id);
    return id;
}

static uint64_t hash_at(const struct tael_lookup *lookup, uint32_t index) {
    return tael_ledger_hash(lookup->ledger, id_at(lookup, index));
}

static void accounts_ahead(const struct tael_lookup *lookup, uint32_t index, uint32_t end) {
    const struct tael_account_table *accounts = &lookup->ledger->accounts;
    if (index + AHEAD < end) tael_id_index_fetch(&accounts->index, hash_at(lookup, index + AHEAD));
    if (index + AHEAD_RECORD >= end) return;
    const struct tael_account_line *line = tael_account_table_guess(accounts, hash_at(lookup, index + AHEAD_RECORD));
    if (line == NULL) return;
    __builtin_prefetch(line);
    __builtin_prefetch(&accounts->cold[line - accounts->lines]);
}

/* Finds the accounts of ids [first, end); their records stand from the place of the first id on. Returns how many. */
static uint32_t accounts_find(const struct tael_lookup *lookup, uint32_t first, uint32_t end) {
    const struct tael_account_table *accounts = &lookup->ledger->accounts;
    struct tael_account *const records = (struct tael_account *)lookup->records + first;
    uint32_t found = 0;
    for (uint32_t i = first; i < end; i++) {
        accounts_ahead(lookup, i, end);
        const struct tael_account_line *line = tael_account_table_find_id(accounts, id_at(lookup, i));
        lookup->found[i] = line != NULL;
        if (line != NULL) tael_account_table_record(accounts, line, &records[found++]);
    }
    return found;
}

static void transfers_ahead(const struct tael_lookup *lookup, uint32_t index, uint32_t end) {
    const struct tael_ledger *ledger = lookup->ledger;
    if (index + AHEAD < end) tael_id_index_fetch(&ledger->index, hash_at(lookup, index + AHEAD));
    uint64_t position;
    if (index + AHEAD_RECORD < end &&
        tael_ledger_guess_transfer(ledger, hash_at(lookup, index + AHEAD_RECORD), &position)) {
        tael_journal_prefetch(&ledger->journal, position);
    }
}

/* The same for transfers. */
static uint32_t transfers_find(const struct tael_lookup *lookup, uint32_t first, uint32_t end) {
    const struct tael_ledger *ledger = lookup->ledger;
    struct tael_transfer *const records = (struct tael_transfer *)lookup->records + first;
    uint32_t found = 0;
    for (uint32_t i = first; i < end; i++) {
        transfers_ahead(lookup, i, end);
        struct tael_index_probe probe;
        uint64_t position;
        const enum tael_id_state state =
            tael_ledger_find_transfer(ledger, id_at(lookup, i), hash_at(lookup, i), &probe, &position);
        lookup->found[i] = state == TAEL_ID_TRANSFER;
        if (state == TAEL_ID_TRANSFER) records[found++] = *tael_journal_body(&ledger->journal, position);
    }
    return found;
}

static uint32_t find(const struct tael_lookup *lookup, uint32_t first, uint32_t end) {
    return lookup->accounts ? accounts_find(lookup, first, end) : transfers_find(lookup, first, end);
}

/* --- together --- */

static void pass_find(void *argument, uint32_t worker) {
    struct tael_lookups *lookups = argument;
    const uint64_t count = lookups->now->count;
    const uint32_t workers = lookups->options.team.workers;
    const uint32_t first = (uint32_t)(count * worker / workers);
    const uint32_t end = (uint32_t)(count * (worker + 1) / workers);
    lookups->ranges[worker] = (struct range){.first = first, .found = find(lookups->now, first, end)};
}

/* Moves the ranges' records together; returns how many there are. */
static uint32_t gather(const struct tael_lookups *lookups) {
    uint8_t *records = lookups->now->records;
    uint32_t count = 0;
    for (uint32_t i = 0; i < lookups->options.team.workers; i++) {
        const struct range *range = &lookups->ranges[i];
        TAEL_ASSERT(count <= range->first);
        TAEL_ASSERT(range->first + range->found <= lookups->now->count);
        if (count < range->first) {
            memmove(records + (size_t)count * TAEL_RECORD_SIZE, records + (size_t)range->first * TAEL_RECORD_SIZE,
                    (size_t)range->found * TAEL_RECORD_SIZE);
        }
        count += range->found;
    }
    return count;
}

static uint32_t find_together(struct tael_lookups *lookups, const struct tael_lookup *lookup) {
    lookups->now = lookup;
    lookups->counters.lookups++;
    lookups->counters.ids += lookup->count;
    _mm_sfence(); /* the leader may have written bodies past the caches; the others read them */
    lookups->options.team.run(lookups->options.team.context, pass_find, lookups);
    return gather(lookups);
}

uint32_t tael_lookups_run(struct tael_lookups *lookups, const struct tael_lookup *lookup) {
    TAEL_ASSERT(lookup->count <= TAEL_EVENTS_MAX);
    if (lookups == NULL || lookup->count < lookups->options.ids_min) return find(lookup, 0, lookup->count);
    return find_together(lookups, lookup);
}

struct tael_lookups_counters tael_lookups_counters(const struct tael_lookups *lookups) {
    return lookups->counters;
}
