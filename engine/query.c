#include "engine/query.h"

#include <string.h>

#include <tael/bits.h>
#include <tael/flag.h>
#include <tael/operation.h>

#include "engine/ledger_state.h"
#include "engine/lookup.h"

/* ---- checking a body ---- */

static uint32_t capped(uint32_t limit, uint32_t limit_max) { return limit < limit_max ? limit : limit_max; }

static uint32_t trial_balance_rows(const struct tael_trial_balance_filter *filter) {
    return filter->limit == 0 ? TAEL_LEDGERS_PER_REPLY_MAX : capped(filter->limit, TAEL_LEDGERS_PER_REPLY_MAX);
}

static enum tael_eviction_reason check_bare(uint8_t operation, const void *body, uint32_t body_size,
                                            const struct tael_operation_info *info, uint32_t *reply_size_max) {
    if (body_size == 0 || body_size % info->event_size != 0) return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    if (body_size != info->event_size) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    if (operation == TAEL_OPERATION_trial_balance) {
        *reply_size_max = (1 + trial_balance_rows(body)) * info->result_size;
    } else {
        const struct tael_change_events_filter *filter = body;
        *reply_size_max = capped(filter->limit, TAEL_CHANGE_EVENTS_MAX) * info->result_size;
    }
    return 0;
}

/* The limit of the filter at `bytes`. */
static uint32_t filter_limit(uint8_t operation, const uint8_t *bytes) {
    const size_t offset = operation == TAEL_OPERATION_query_accounts || operation == TAEL_OPERATION_query_transfers
                              ? offsetof(struct tael_query_filter, limit)
                              : offsetof(struct tael_account_filter, limit);
    uint32_t limit;
    memcpy(&limit, bytes + offset, sizeof limit);
    return limit;
}

enum tael_eviction_reason tael_query_body_check(uint8_t operation, const void *body, uint32_t body_size,
                                                uint32_t *reply_size_max) {
    const struct tael_operation_info info = tael_operation_info(operation);
    TAEL_ASSERT(info.kind == TAEL_OPERATION_READ);
    if (!info.multi_batch) return check_bare(operation, body, body_size, &info, reply_size_max);
    struct tael_multi_batch batches;
    switch (tael_multi_batch_decode(body, body_size, info.event_size, &batches)) {
    case TAEL_MULTI_BATCH_BAD_SIZE:
        return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    case TAEL_MULTI_BATCH_BAD_TRAILER:
        return TAEL_EVICTION_INVALID_REQUEST_BODY;
    case TAEL_MULTI_BATCH_OK:
        break;
    }
    uint64_t results = batches.element_count;
    if (info.filters) {
        results = 0;
        for (uint32_t i = 0; i < batches.batch_count; i++) {
            if (tael_multi_batch_count(&batches, i) != 1) return TAEL_EVICTION_INVALID_REQUEST_BODY;
            const uint8_t *filter = batches.payload + (size_t)i * info.event_size;
            results += capped(filter_limit(operation, filter), TAEL_EVENTS_MAX);
        }
    }
    const uint64_t size =
        results * info.result_size + tael_multi_batch_trailer_size(batches.batch_count, info.result_size);
    if (size > TAEL_BODY_SIZE_MAX) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    *reply_size_max = (uint32_t)size;
    return 0;
}

/* ---- a read under way ---- */

struct tael_query {
    struct tael_lookups *lookups; /* who finds many ids together; NULL: nobody does */
    struct tael_ledger *ledger;
    struct tael_operation_info info;
    uint8_t operation;
    bool done;
    const uint8_t *events; /* of the sub-batch under way */
    struct tael_multi_batch batches;
    uint32_t batch; /* index of the sub-batch under way */
    bool batch_begun;
    uint32_t result_count; /* of the sub-batch under way */
    uint8_t *reply;
    uint32_t reply_size;
    uint64_t op;
    uint64_t timestamp;

    /* The filter of the sub-batch under way, and where its scan stands. */
    union {
        struct tael_account_filter account;
        struct tael_query_filter query;
        struct tael_change_events_filter changes;
        struct tael_trial_balance_filter trial;
    } filter;
    uint32_t limit;
    bool reversed;
    uint64_t position_low; /* transfers: the range that the filter's timestamps and the op leave, [low, high) */
    uint64_t position_high;
    uint64_t journal_count; /* transfers there were when the read began */
    uint32_t account_number; /* account filters */
    bool listed; /* account filters: the cursor is set */
    struct tael_list_cursor cursor;
    uint64_t number_next; /* query_accounts: next to look at */
    uint64_t number_bound; /* query_accounts: younger accounts are looked at when all sub-batches are done */
    uint32_t number_count;
    uint32_t numbers[TAEL_EVENTS_MAX]; /* query_accounts: the matches of all sub-batches, one behind the other */

    uint8_t found[TAEL_EVENTS_MAX]; /* lookups: by id, as struct tael_lookup has it */

    uint16_t counts[TAEL_BATCHES_MAX];
};

size_t tael_query_size_bytes(void) { return tael_arena_share(sizeof(struct tael_query)); }

struct tael_query *tael_query_init(struct tael_arena *arena, struct tael_lookups *lookups) {
    struct tael_query *query = tael_arena_take(arena, sizeof(struct tael_query));
    query->lookups = lookups;
    return query;
}

static void *next_result(struct tael_query *query) {
    void *result = query->reply + query->reply_size;
    query->reply_size += query->info.result_size;
    query->result_count++;
    return result;
}

static bool timestamps_valid(uint64_t timestamp_min, uint64_t timestamp_max) {
    if (timestamp_min > TAEL_TIMESTAMP_MAX || timestamp_max > TAEL_TIMESTAMP_MAX) return false;
    return timestamp_max == 0 || timestamp_min <= timestamp_max;
}

/* Transfers from timestamp_min to timestamp_max (0: no bound), as they stand now. */
static void set_positions(struct tael_query *query, uint64_t timestamp_min, uint64_t timestamp_max) {
    const struct tael_journal *journal = &query->ledger->journal;
    query->position_low = tael_journal_position_from(journal, timestamp_min);
    query->position_high = timestamp_max == 0 ? journal->count : tael_journal_position_from(journal, timestamp_max + 1);
    if (query->position_high > query->journal_count) query->position_high = query->journal_count;
}

/* ---- lookups ---- */

static bool is_lookup(const struct tael_query *query) {
    return query->operation == TAEL_OPERATION_lookup_accounts || query->operation == TAEL_OPERATION_lookup_transfers;
}

/* All sub-batches at once: their ids stand one behind the other, and so do the results. */
static void look_up(struct tael_query *query) {
    const struct tael_lookup lookup = {
        .ledger = query->ledger,
        .accounts = query->operation == TAEL_OPERATION_lookup_accounts,
        .ids = query->events,
        .count = query->batches.element_count,
        .records = query->reply,
        .found = query->found,
    };
    query->reply_size = tael_lookups_run(query->lookups, &lookup) * query->info.result_size;
    const uint8_t *found = query->found;
    for (uint32_t i = 0; i < query->batches.batch_count; i++) {
        const uint32_t ids = tael_multi_batch_count(&query->batches, i);
        uint32_t count = 0;
        for (uint32_t j = 0; j < ids; j++) count += found[j];
        query->counts[i] = (uint16_t)count;
        found += ids;
    }
}

/* ---- transfers and balances of an account ---- */

static bool account_filter_valid(const struct tael_account_filter *filter) {
    const uint32_t sides = TAEL_ACCOUNT_FILTER_FLAG_debits | TAEL_ACCOUNT_FILTER_FLAG_credits;
    if (filter->account_id == 0 || filter->account_id == TAEL_U128_MAX) return false;
    if (!timestamps_valid(filter->timestamp_min, filter->timestamp_max)) return false;
    if (filter->limit == 0 || (filter->flags & sides) == 0) return false;
    if ((filter->flags & ~(uint32_t)TAEL_ACCOUNT_FILTER_FLAGS_DEFINED) != 0) return false;
    return tael_bytes_are_zero(filter->reserved, sizeof filter->reserved);
}

/* False: the result is empty. */
static bool account_filter_begin(struct tael_query *query) {
    struct tael_account_filter *filter = &query->filter.account;
    memcpy(filter, query->events, sizeof *filter);
    if (!account_filter_valid(filter)) return false;
    const struct tael_account_table *accounts = &query->ledger->accounts;
    const struct tael_account_line *line = tael_account_table_find_id(accounts, filter->account_id);
    if (line == NULL) return false;
    if (query->operation == TAEL_OPERATION_get_account_balances && (line->flags & TAEL_ACCOUNT_FLAG_history) == 0) {
        return false;
    }
    query->account_number = line->number;
    query->limit = capped(filter->limit, TAEL_EVENTS_MAX);
    query->reversed = (filter->flags & TAEL_ACCOUNT_FILTER_FLAG_reversed) != 0;
    query->listed = false;
    set_positions(query, filter->timestamp_min, filter->timestamp_max);
    return true;
}

static bool account_filter_matches(const struct tael_query *query, uint64_t position) {
    const struct tael_account_filter *filter = &query->filter.account;
    const struct tael_transfer_trace *trace = tael_journal_trace(&query->ledger->journal, position);
    const bool side =
        (trace->debit_number == query->account_number && (filter->flags & TAEL_ACCOUNT_FILTER_FLAG_debits)) ||
        (trace->credit_number == query->account_number && (filter->flags & TAEL_ACCOUNT_FILTER_FLAG_credits));
    if (!side) return false;
    const struct tael_transfer *body = tael_journal_body(&query->ledger->journal, position);
    if (filter->user_data_128 != 0 && filter->user_data_128 != body->user_data_128) return false;
    if (filter->user_data_64 != 0 && filter->user_data_64 != body->user_data_64) return false;
    if (filter->user_data_32 != 0 && filter->user_data_32 != body->user_data_32) return false;
    return filter->code == 0 || filter->code == body->code;
}

static void account_balance_result(struct tael_query *query, uint64_t position) {
    const struct tael_ledger *ledger = query->ledger;
    const struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, position);
    tael_u128 values[2 * TAEL_BALANCES];
    tael_history_read(&ledger->history, &ledger->history.transfers[position], trace->after, values);
    const tael_u128 *own = trace->debit_number == query->account_number ? values : values + TAEL_BALANCES;
    *(struct tael_account_balance *)next_result(query) = (struct tael_account_balance){
        .debits_pending = own[TAEL_DEBITS_PENDING],
        .debits_posted = own[TAEL_DEBITS_POSTED],
        .credits_pending = own[TAEL_CREDITS_PENDING],
        .credits_posted = own[TAEL_CREDITS_POSTED],
        .timestamp = tael_journal_body(&ledger->journal, position)->timestamp,
    };
}

/* True when the sub-batch is done. */
static bool account_filter_step(struct tael_query *query, uint32_t *budget) {
    struct tael_account_lists *lists = &query->ledger->lists;
    if (lists->covered < query->position_high) {
        *budget -= tael_account_lists_extend(lists, &query->ledger->accounts, &query->ledger->journal, *budget);
        if (lists->covered < query->position_high) return false;
    }
    if (!query->listed) {
        query->cursor = tael_account_lists_begin(&query->ledger->accounts.cold[query->account_number], query->reversed);
        query->listed = true;
    }
    uint64_t position;
    for (; *budget > 0; --*budget) {
        if (query->result_count == query->limit) return true;
        if (!tael_account_lists_next(lists, &query->cursor, &position)) return true;
        if (position < query->position_low || position >= query->position_high) {
            const bool beyond = query->reversed ? position < query->position_low : position >= query->position_high;
            if (beyond) return true;
            continue;
        }
        if (!account_filter_matches(query, position)) continue;
        if (query->operation == TAEL_OPERATION_get_account_balances) {
            account_balance_result(query, position);
        } else {
            memcpy(next_result(query), tael_journal_body(&query->ledger->journal, position),
                   sizeof(struct tael_transfer));
        }
    }
    return false;
}

/* ---- query_transfers ---- */

/* False: the result is empty. */
static bool query_filter_begin(struct tael_query *query) {
    struct tael_query_filter *filter = &query->filter.query;
    memcpy(filter, query->events, sizeof *filter);
    if (!timestamps_valid(filter->timestamp_min, filter->timestamp_max)) return false;
    if (filter->limit == 0 || (filter->flags & ~(uint32_t)TAEL_QUERY_FILTER_FLAGS_DEFINED) != 0) return false;
    if (!tael_bytes_are_zero(filter->reserved, sizeof filter->reserved)) return false;
    query->limit = capped(filter->limit, TAEL_EVENTS_MAX);
    query->reversed = (filter->flags & TAEL_QUERY_FILTER_FLAG_reversed) != 0;
    return true;
}

static bool query_filter_matches(const struct tael_query_filter *filter, tael_u128 user_data_128, uint64_t user_data_64,
                                 uint32_t user_data_32, uint32_t ledger, uint16_t code) {
    if (filter->user_data_128 != 0 && filter->user_data_128 != user_data_128) return false;
    if (filter->user_data_64 != 0 && filter->user_data_64 != user_data_64) return false;
    if (filter->user_data_32 != 0 && filter->user_data_32 != user_data_32) return false;
    if (filter->ledger != 0 && filter->ledger != ledger) return false;
    return filter->code == 0 || filter->code == code;
}

/* True when the sub-batch is done. */
static bool query_transfers_step(struct tael_query *query, uint32_t *budget) {
    for (; *budget > 0; --*budget) {
        if (query->result_count == query->limit || query->position_low >= query->position_high) return true;
        const uint64_t position = query->reversed ? --query->position_high : query->position_low++;
        const struct tael_transfer *body = tael_journal_body(&query->ledger->journal, position);
        if (query_filter_matches(&query->filter.query, body->user_data_128, body->user_data_64, body->user_data_32,
                                 body->ledger, body->code)) {
            memcpy(next_result(query), body, sizeof *body);
        }
    }
    return false;
}

/* ---- query_accounts ---- */

/* The fields that it filters by never change, so matches are collected in slices, sub-batch by sub-batch, among the accounts
 * that there were when the read began. Then those that were created meanwhile are looked at, and at that point, which is
 * the read's place in the order, the matches of all sub-batches are read. */

static bool account_matches(const struct tael_query *query, uint64_t number) {
    const struct tael_query_filter *filter = &query->filter.query;
    const struct tael_account_cold *cold = &query->ledger->accounts.cold[number];
    if (cold->timestamp < filter->timestamp_min) return false;
    if (filter->timestamp_max != 0 && cold->timestamp > filter->timestamp_max) return false;
    return query_filter_matches(filter, cold->user_data_128, cold->user_data_64, cold->user_data_32, cold->ledger,
                                cold->code);
}

static void query_accounts_begin(struct tael_query *query) {
    const struct tael_account_table *accounts = &query->ledger->accounts;
    query->number_next = query->reversed ? query->number_bound
                                         : tael_account_table_number_from(accounts, query->filter.query.timestamp_min);
}

/* Collects the sub-batch's matches. True when it is done. */
static bool query_accounts_step(struct tael_query *query, uint32_t *budget) {
    for (; *budget > 0; --*budget) {
        const bool at_end = query->reversed ? query->number_next == 0 : query->number_next > query->number_bound;
        if (query->result_count == query->limit || at_end) return true;
        const uint64_t number = query->reversed ? query->number_next-- : query->number_next++;
        if (!account_matches(query, number)) continue;
        TAEL_ASSERT(query->number_count < TAEL_EVENTS_MAX);
        query->numbers[query->number_count++] = (uint32_t)number;
        query->result_count++;
    }
    return false;
}

/* Adds a match that is younger than all others of its sub-batch, whose matches begin at `first`. At the end, as long as the
 * limit allows; reversed, in front, and the oldest falls off a full result. */
static void add_youngest(struct tael_query *query, uint32_t batch, uint32_t first, uint64_t number) {
    const bool full = query->counts[batch] == query->limit;
    if (full && !query->reversed) return;
    const uint32_t place = query->reversed ? first : first + query->counts[batch];
    const uint32_t end = full ? first + query->limit - 1 : query->number_count;
    TAEL_ASSERT(end < TAEL_EVENTS_MAX);
    memmove(&query->numbers[place + 1], &query->numbers[place], (end - place) * sizeof *query->numbers);
    query->numbers[place] = (uint32_t)number;
    if (full) return;
    query->counts[batch]++;
    query->number_count++;
}

/* Looks at an account that was created while the read was under way, for every sub-batch. */
static void look_at_younger(struct tael_query *query, uint64_t number) {
    uint32_t first = 0;
    for (uint32_t batch = 0; batch < query->batches.batch_count; batch++) {
        query->events = query->batches.payload + (size_t)batch * query->info.event_size;
        if (query_filter_begin(query) && account_matches(query, number)) add_youngest(query, batch, first, number);
        first += query->counts[batch];
    }
}

/* Reads the matches of all sub-batches. False where more accounts must be looked at first. */
static bool query_accounts_end(struct tael_query *query, uint32_t budget) {
    const struct tael_account_table *accounts = &query->ledger->accounts;
    while (query->number_bound < accounts->count) {
        if (budget == 0) return false;
        budget -= budget < query->batches.batch_count ? budget : query->batches.batch_count;
        look_at_younger(query, ++query->number_bound);
    }
    for (uint32_t i = 0; i < query->number_count; i++) {
        tael_account_table_record(accounts, &accounts->lines[query->numbers[i]], next_result(query));
    }
    return true;
}

/* ---- change events ---- */

static void change_event_account(const struct tael_ledger *ledger, const struct tael_account_line *line,
                                 const tael_u128 balances[TAEL_BALANCES], bool closed,
                                 struct tael_change_event_account *out) {
    const struct tael_account_cold *cold = &ledger->accounts.cold[line->number];
    const uint16_t fixed = (uint16_t)(line->flags & TAEL_ACCOUNT_FLAGS_DEFINED & ~TAEL_ACCOUNT_FLAG_closed);
    *out = (struct tael_change_event_account){
        .id = line->id,
        .debits_pending = balances[TAEL_DEBITS_PENDING],
        .debits_posted = balances[TAEL_DEBITS_POSTED],
        .credits_pending = balances[TAEL_CREDITS_PENDING],
        .credits_posted = balances[TAEL_CREDITS_POSTED],
        .user_data_128 = cold->user_data_128,
        .user_data_64 = cold->user_data_64,
        .user_data_32 = cold->user_data_32,
        .code = cold->code,
        .flags = (uint16_t)(fixed | (closed ? TAEL_ACCOUNT_FLAG_closed : 0)),
    };
}

static enum tael_change_event_type change_event_type(const struct tael_transfer *body, bool expired) {
    if (expired) return TAEL_CHANGE_TWO_PHASE_EXPIRED;
    if (body->flags & TAEL_TRANSFER_FLAG_pending) return TAEL_CHANGE_TWO_PHASE_PENDING;
    if (body->flags & TAEL_TRANSFER_FLAG_post_pending_transfer) return TAEL_CHANGE_TWO_PHASE_POSTED;
    if (body->flags & TAEL_TRANSFER_FLAG_void_pending_transfer) return TAEL_CHANGE_TWO_PHASE_VOIDED;
    return TAEL_CHANGE_SINGLE_PHASE;
}

void tael_ledger_change_event(const struct tael_ledger *ledger, uint64_t position,
                              const struct tael_expiry_entry *expiry, struct tael_change_event *out) {
    const struct tael_transfer *body = tael_journal_body(&ledger->journal, position);
    const struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, position);
    const struct tael_history_entry *entry = expiry == NULL ? &ledger->history.transfers[position] : &expiry->balances;
    const uint8_t mark = expiry == NULL ? trace->after : expiry->after;
    const struct tael_account_line *debit = &ledger->accounts.lines[trace->debit_number];
    const struct tael_account_line *credit = &ledger->accounts.lines[trace->credit_number];
    tael_u128 balances[2 * TAEL_BALANCES];
    tael_history_read(&ledger->history, entry, mark, balances);
    *out = (struct tael_change_event){
        .transfer_id = body->id,
        .transfer_amount = body->amount,
        .transfer_pending_id = body->pending_id,
        .transfer_user_data_128 = body->user_data_128,
        .transfer_user_data_64 = body->user_data_64,
        .transfer_user_data_32 = body->user_data_32,
        .transfer_timeout = body->timeout,
        .transfer_code = body->code,
        .transfer_flags = body->flags,
        .ledger = body->ledger,
        .type = (uint8_t)change_event_type(body, expiry != NULL),
        .timestamp = expiry == NULL ? body->timestamp : expiry->timestamp,
        .transfer_timestamp = body->timestamp,
        .debit_account_timestamp = ledger->accounts.cold[debit->number].timestamp,
        .credit_account_timestamp = ledger->accounts.cold[credit->number].timestamp,
    };
    change_event_account(ledger, debit, balances, mark & TAEL_HISTORY_DEBIT_CLOSED, &out->debit_account);
    change_event_account(ledger, credit, balances + TAEL_BALANCES, mark & TAEL_HISTORY_CREDIT_CLOSED,
                         &out->credit_account);
}

static bool changes_filter_valid(const struct tael_change_events_filter *filter) {
    if (!timestamps_valid(filter->timestamp_min, filter->timestamp_max)) return false;
    return filter->limit != 0 && tael_bytes_are_zero(filter->reserved, sizeof filter->reserved);
}

static uint64_t expiry_from(const struct tael_history *history, uint64_t timestamp) {
    uint64_t low = 0;
    uint64_t high = history->expiry_count;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (history->expiries[middle].timestamp < timestamp) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Merges transfers and expiries by timestamp. Bounded by the limit, so it takes one slice. */
static void get_change_events(struct tael_query *query) {
    struct tael_change_events_filter *filter = &query->filter.changes;
    memcpy(filter, query->events, sizeof *filter);
    if (!changes_filter_valid(filter)) return;
    const struct tael_ledger *ledger = query->ledger;
    const uint32_t limit = capped(filter->limit, TAEL_CHANGE_EVENTS_MAX);
    set_positions(query, filter->timestamp_min, filter->timestamp_max);
    uint64_t position = query->position_low;
    uint64_t expiry = expiry_from(&ledger->history, filter->timestamp_min);
    const uint64_t expiry_end = filter->timestamp_max == 0 ? ledger->history.expiry_count
                                                           : expiry_from(&ledger->history, filter->timestamp_max + 1);
    while (query->result_count < limit) {
        const bool transfers_left = position < query->position_high;
        const bool expiries_left = expiry < expiry_end;
        if (!transfers_left && !expiries_left) return;
        const struct tael_expiry_entry *entry = &ledger->history.expiries[expiry];
        if (transfers_left && (!expiries_left || ledger->journal.bodies[position].timestamp < entry->timestamp)) {
            tael_ledger_change_event(ledger, position++, NULL, next_result(query));
        } else {
            tael_ledger_change_event(ledger, entry->position, entry, next_result(query));
            expiry++;
        }
    }
}

/* ---- the trial balance ---- */

static bool trial_balance_filter_valid(const struct tael_trial_balance_filter *filter) {
    if (filter->ledger_max != 0 && filter->ledger_min > filter->ledger_max) return false;
    return tael_bytes_are_zero(filter->reserved, sizeof filter->reserved);
}

/* True when it is done. Waits, without progress, while another one is under way. */
static bool trial_balance_step(struct tael_query *query, uint32_t *budget) {
    struct tael_audit *audit = &query->ledger->audit;
    const struct tael_trial_balance_filter *filter = &query->filter.trial;
    if (audit->owner != query) {
        if (audit->owner != NULL) {
            *budget = 0;
            return false;
        }
        tael_audit_begin(audit, query, filter->ledger_min, filter->ledger_max == 0 ? UINT32_MAX : filter->ledger_max);
    }
    const uint64_t slots = *budget;
    *budget = 0;
    if (!tael_audit_scan(audit, &query->ledger->accounts, slots)) return false;
    const uint32_t rows =
        tael_audit_end(audit, (struct tael_trial_balance_row *)(void *)query->reply, trial_balance_rows(filter));
    query->reply_size = rows * query->info.result_size;
    return true;
}

/* ---- sub-batches, slices ---- */

/* Begins the sub-batch; true when it is done already. */
static bool batch_begin(struct tael_query *query) {
    query->batch_begun = true;
    query->result_count = 0;
    switch (query->operation) {
    case TAEL_OPERATION_get_change_events:
        get_change_events(query);
        return true;
    case TAEL_OPERATION_get_account_transfers:
    case TAEL_OPERATION_get_account_balances:
        return !account_filter_begin(query);
    case TAEL_OPERATION_query_transfers:
        if (!query_filter_begin(query)) return true;
        set_positions(query, query->filter.query.timestamp_min, query->filter.query.timestamp_max);
        return false;
    case TAEL_OPERATION_query_accounts:
        if (!query_filter_begin(query)) return true;
        query_accounts_begin(query);
        return false;
    case TAEL_OPERATION_trial_balance:
        memcpy(&query->filter.trial, query->events, sizeof query->filter.trial);
        return !trial_balance_filter_valid(&query->filter.trial);
    default:
        TAEL_UNREACHABLE("a read of unknown operation");
    }
}

static bool batch_step(struct tael_query *query, uint32_t *budget) {
    switch (query->operation) {
    case TAEL_OPERATION_get_account_transfers:
    case TAEL_OPERATION_get_account_balances:
        return account_filter_step(query, budget);
    case TAEL_OPERATION_query_transfers:
        return query_transfers_step(query, budget);
    case TAEL_OPERATION_query_accounts:
        return query_accounts_step(query, budget);
    default:
        TAEL_ASSERT(query->operation == TAEL_OPERATION_trial_balance);
        return trial_balance_step(query, budget);
    }
}

void tael_query_begin(struct tael_query *query, struct tael_ledger *ledger, uint8_t operation, const void *body,
                      uint32_t body_size, void *reply) {
    query->ledger = ledger;
    query->operation = operation;
    query->info = tael_operation_info(operation);
    TAEL_ASSERT(query->info.kind == TAEL_OPERATION_READ);
    query->done = false;
    query->batch = 0;
    query->batch_begun = false;
    query->events = body;
    query->reply = reply;
    query->reply_size = 0;
    query->op = ledger->op;
    query->timestamp = ledger->timestamp;
    query->journal_count = ledger->journal.count;
    query->number_bound = ledger->accounts.count;
    query->number_count = 0;
    if (query->info.multi_batch) {
        const enum tael_multi_batch_error error =
            tael_multi_batch_decode(body, body_size, query->info.event_size, &query->batches);
        TAEL_ASSERT(error == TAEL_MULTI_BATCH_OK);
    } else {
        query->batches = (struct tael_multi_batch){.batch_count = 1};
    }
}

/* Whether it reads balances when it ends; everything else reads what was there when it began and never changes. */
static bool reads_at_its_end(const struct tael_query *query) {
    return query->operation == TAEL_OPERATION_query_accounts || query->operation == TAEL_OPERATION_trial_balance;
}

static void finish(struct tael_query *query) {
    query->done = true;
    if (reads_at_its_end(query)) {
        query->op = query->ledger->op;
        query->timestamp = query->ledger->timestamp;
    }
    if (query->info.multi_batch) {
        query->reply_size = tael_multi_batch_encode(query->reply, query->reply_size, query->counts,
                                                    query->batches.batch_count, query->info.result_size);
    }
}

bool tael_query_step(struct tael_query *query, uint32_t budget) {
    TAEL_ASSERT(!query->done);
    if (is_lookup(query)) {
        look_up(query);
        finish(query);
        return true;
    }
    TAEL_ASSERT(query->info.filters); /* one a sub-batch */
    while (query->batch < query->batches.batch_count) {
        const bool done = query->batch_begun ? batch_step(query, &budget) : batch_begin(query);
        if (!done) {
            if (budget == 0) return false;
            continue;
        }
        query->counts[query->batch] = (uint16_t)query->result_count;
        query->events += query->info.event_size;
        query->batch++;
        query->batch_begun = false;
        budget -= budget < 1 + query->result_count ? budget : 1 + query->result_count;
        if (budget == 0 && query->batch < query->batches.batch_count) return false;
    }
    if (query->operation == TAEL_OPERATION_query_accounts && !query_accounts_end(query, budget)) return false;
    finish(query);
    return true;
}

uint32_t tael_query_reply_size(const struct tael_query *query) {
    TAEL_ASSERT(query->done);
    return query->reply_size;
}

uint64_t tael_query_op(const struct tael_query *query) {
    TAEL_ASSERT(query->done);
    return query->op;
}

uint64_t tael_query_timestamp(const struct tael_query *query) {
    TAEL_ASSERT(query->done);
    return query->timestamp;
}
