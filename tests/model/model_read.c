/* Reads of the model: each looks at everything there is and keeps what matches. And its digest. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <tael/assert.h>
#include <tael/flag.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>

#include "tests/model/model_state.h"

/* Where the results of one filter go. */
struct results {
    uint8_t *out;
    uint32_t count;
    uint32_t limit;
    uint32_t element_size;
};

/* False when there is no more room. */
static bool put(struct results *results, const void *element) {
    if (results->count == results->limit) return false;
    memcpy(results->out + (size_t)results->count * results->element_size, element, results->element_size);
    results->count++;
    return true;
}

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

static bool all_zero(const void *bytes, size_t size_bytes) {
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size_bytes; i++) {
        if (byte[i] != 0) return false;
    }
    return true;
}

static bool times_valid(uint64_t min, uint64_t max) {
    if (min > TAEL_TIMESTAMP_MAX || max > TAEL_TIMESTAMP_MAX) return false;
    return max == 0 || min <= max;
}

static bool within(uint64_t timestamp, uint64_t min, uint64_t max) {
    return timestamp >= min && (max == 0 || timestamp <= max);
}

/* --- lookups --- */

static void lookup_account(const struct tael_model *model, const void *id, struct results *results) {
    tael_u128 wanted;
    memcpy(&wanted, id, sizeof wanted);
    const uint32_t found = model_find_account(model, wanted);
    if (found != MODEL_NONE) (void)put(results, &model->accounts[found]);
}

static void lookup_transfer(const struct tael_model *model, const void *id, struct results *results) {
    tael_u128 wanted;
    memcpy(&wanted, id, sizeof wanted);
    const uint32_t found = model_find_transfer(model, wanted);
    if (found != MODEL_NONE) (void)put(results, &model->transfers[found].record);
}

/* --- by account --- */

static bool account_filter_valid(const struct tael_account_filter *filter) {
    if (filter->account_id == 0 || filter->account_id == TAEL_U128_MAX) return false;
    if (!times_valid(filter->timestamp_min, filter->timestamp_max)) return false;
    if (filter->limit == 0) return false;
    if ((filter->flags & (TAEL_ACCOUNT_FILTER_FLAG_debits | TAEL_ACCOUNT_FILTER_FLAG_credits)) == 0) return false;
    if ((filter->flags & ~7u) != 0) return false;
    return all_zero(filter->reserved, sizeof filter->reserved);
}

static bool account_filter_matches(const struct tael_account_filter *filter, const struct tael_transfer *transfer) {
    const bool debit =
        (filter->flags & TAEL_ACCOUNT_FILTER_FLAG_debits) != 0 && transfer->debit_account_id == filter->account_id;
    const bool credit =
        (filter->flags & TAEL_ACCOUNT_FILTER_FLAG_credits) != 0 && transfer->credit_account_id == filter->account_id;
    if (!debit && !credit) return false;
    if (filter->user_data_128 != 0 && filter->user_data_128 != transfer->user_data_128) return false;
    if (filter->user_data_64 != 0 && filter->user_data_64 != transfer->user_data_64) return false;
    if (filter->user_data_32 != 0 && filter->user_data_32 != transfer->user_data_32) return false;
    if (filter->code != 0 && filter->code != transfer->code) return false;
    return within(transfer->timestamp, filter->timestamp_min, filter->timestamp_max);
}

static struct tael_account_balance balance_after(const struct tael_change_event *event, tael_u128 account_id) {
    const struct tael_change_event_account *account =
        event->debit_account.id == account_id ? &event->debit_account : &event->credit_account;
    return (struct tael_account_balance){
        .debits_pending = account->debits_pending,
        .debits_posted = account->debits_posted,
        .credits_pending = account->credits_pending,
        .credits_posted = account->credits_posted,
        .timestamp = event->timestamp,
    };
}

static void account_transfers(const struct tael_model *model, const struct tael_account_filter *filter, bool balances,
                              struct results *results) {
    if (!account_filter_valid(filter)) return;
    results->limit = smaller(filter->limit, TAEL_EVENTS_MAX);
    if (balances) {
        const uint32_t account = model_find_account(model, filter->account_id);
        if (account == MODEL_NONE) return;
        if ((model->accounts[account].flags & TAEL_ACCOUNT_FLAG_history) == 0) return;
    }
    const uint32_t count = model->transfer_ids.count;
    const bool reversed = (filter->flags & TAEL_ACCOUNT_FILTER_FLAG_reversed) != 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct model_transfer *transfer = &model->transfers[reversed ? count - 1 - i : i];
        if (!account_filter_matches(filter, &transfer->record)) continue;
        const struct tael_account_balance balance = balance_after(&model->events[transfer->event], filter->account_id);
        if (!put(results, balances ? (const void *)&balance : &transfer->record)) return;
    }
}

/* --- queries --- */

static bool query_filter_valid(const struct tael_query_filter *filter) {
    if (!times_valid(filter->timestamp_min, filter->timestamp_max)) return false;
    if (filter->limit == 0) return false;
    if ((filter->flags & ~1u) != 0) return false;
    return all_zero(filter->reserved, sizeof filter->reserved);
}

/* The fields that accounts and transfers can be queried by. */
struct queried {
    tael_u128 user_data_128;
    uint64_t user_data_64;
    uint32_t user_data_32;
    uint32_t ledger;
    uint16_t code;
    uint64_t timestamp;
};

static bool query_filter_matches(const struct tael_query_filter *filter, const struct queried *of) {
    if (filter->user_data_128 != 0 && filter->user_data_128 != of->user_data_128) return false;
    if (filter->user_data_64 != 0 && filter->user_data_64 != of->user_data_64) return false;
    if (filter->user_data_32 != 0 && filter->user_data_32 != of->user_data_32) return false;
    if (filter->ledger != 0 && filter->ledger != of->ledger) return false;
    if (filter->code != 0 && filter->code != of->code) return false;
    return within(of->timestamp, filter->timestamp_min, filter->timestamp_max);
}

static void query(const struct tael_model *model, const struct tael_query_filter *filter, bool accounts,
                  struct results *results) {
    if (!query_filter_valid(filter)) return;
    results->limit = smaller(filter->limit, TAEL_EVENTS_MAX);
    const uint32_t count = accounts ? model->account_ids.count : model->transfer_ids.count;
    const bool reversed = (filter->flags & TAEL_QUERY_FILTER_FLAG_reversed) != 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t index = reversed ? count - 1 - i : i;
        struct queried of;
        const void *record;
        if (accounts) {
            const struct tael_account *a = &model->accounts[index];
            of = (struct queried){a->user_data_128, a->user_data_64, a->user_data_32, a->ledger, a->code, a->timestamp};
            record = a;
        } else {
            const struct tael_transfer *t = &model->transfers[index].record;
            of = (struct queried){t->user_data_128, t->user_data_64, t->user_data_32, t->ledger, t->code, t->timestamp};
            record = t;
        }
        if (query_filter_matches(filter, &of) && !put(results, record)) return;
    }
}

/* --- change events --- */

/* Stable by timestamp: an imported transfer may be older than an expiry that happened before it. */
static int compare_events(const void *left, const void *right) {
    const struct tael_change_event *a = *(const struct tael_change_event *const *)left;
    const struct tael_change_event *b = *(const struct tael_change_event *const *)right;
    if (a->timestamp != b->timestamp) return a->timestamp < b->timestamp ? -1 : 1;
    return a < b ? -1 : 1;
}

static void change_events(const struct tael_model *model, const struct tael_change_events_filter *filter,
                          struct results *results) {
    if (!times_valid(filter->timestamp_min, filter->timestamp_max)) return;
    if (filter->limit == 0 || !all_zero(filter->reserved, sizeof filter->reserved)) return;
    results->limit = smaller(filter->limit, TAEL_CHANGE_EVENTS_MAX);
    const struct tael_change_event **sorted = malloc(((size_t)model->event_count + 1) * sizeof(void *));
    TAEL_ASSERT(sorted != NULL);
    for (uint32_t i = 0; i < model->event_count; i++) sorted[i] = &model->events[i];
    qsort(sorted, model->event_count, sizeof *sorted, compare_events);
    for (uint32_t i = 0; i < model->event_count; i++) {
        if (!within(sorted[i]->timestamp, filter->timestamp_min, filter->timestamp_max)) continue;
        if (!put(results, sorted[i])) break;
    }
    free(sorted);
}

/* --- trial balance --- */

static void add_balance(struct tael_trial_balance_sum *sum, tael_u128 balance) {
    const uint64_t addends[4] = {tael_u128_low(balance), tael_u128_high(balance), 0, 0};
    uint64_t carry = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const tael_u128 word = (tael_u128)sum->words[i] + addends[i] + carry;
        sum->words[i] = tael_u128_low(word);
        carry = tael_u128_high(word);
    }
}

static struct tael_trial_balance_row sum_of_ledger(const struct tael_model *model, uint32_t ledger) {
    struct tael_trial_balance_row row = {.ledger = ledger};
    for (uint32_t i = 0; i < model->account_ids.count; i++) {
        const struct tael_account *account = &model->accounts[i];
        if (account->ledger != ledger) continue;
        row.accounts++;
        add_balance(&row.debits_pending, account->debits_pending);
        add_balance(&row.debits_posted, account->debits_posted);
        add_balance(&row.credits_pending, account->credits_pending);
        add_balance(&row.credits_posted, account->credits_posted);
    }
    return row;
}

/* The smallest ledger from `ledger` on that has an account; 0 where there is none. */
static uint32_t next_ledger(const struct tael_model *model, uint64_t ledger) {
    uint32_t best = 0;
    for (uint32_t i = 0; i < model->account_ids.count; i++) {
        const uint32_t has = model->accounts[i].ledger;
        if (has >= ledger && (best == 0 || has < best)) best = has;
    }
    return best;
}

static void trial_balance(const struct tael_model *model, const struct tael_trial_balance_filter *filter,
                          struct results *results) {
    struct tael_trial_balance_row head = {.ledger = 0};
    if (filter->ledger_max != 0 && filter->ledger_min > filter->ledger_max) return;
    if (!all_zero(filter->reserved, sizeof filter->reserved)) return;
    const bool some = filter->limit != 0 && filter->limit < TAEL_LEDGERS_PER_REPLY_MAX;
    results->limit = 1 + (some ? filter->limit : TAEL_LEDGERS_PER_REPLY_MAX);
    (void)put(results, &head);
    uint32_t ledger = next_ledger(model, filter->ledger_min);
    while (ledger != 0 && (filter->ledger_max == 0 || ledger <= filter->ledger_max)) {
        const struct tael_trial_balance_row row = sum_of_ledger(model, ledger);
        (void)put(results, &row);
        head.accounts++;
        ledger = next_ledger(model, (uint64_t)ledger + 1);
    }
    memcpy(results->out, &head, sizeof head);
}

/* --- bodies --- */

static void read_one(const struct tael_model *model, uint8_t operation, const void *element, struct results *results) {
    union {
        struct tael_account_filter account;
        struct tael_query_filter query;
        struct tael_change_events_filter change_events;
        struct tael_trial_balance_filter trial_balance;
    } filter;
    memset(&filter, 0, sizeof filter);
    memcpy(&filter, element, tael_operation_info(operation).event_size);
    switch (operation) {
    case TAEL_OPERATION_lookup_accounts:
        lookup_account(model, element, results);
        return;
    case TAEL_OPERATION_lookup_transfers:
        lookup_transfer(model, element, results);
        return;
    case TAEL_OPERATION_get_account_transfers:
        account_transfers(model, &filter.account, false, results);
        return;
    case TAEL_OPERATION_get_account_balances:
        account_transfers(model, &filter.account, true, results);
        return;
    case TAEL_OPERATION_query_accounts:
        query(model, &filter.query, true, results);
        return;
    case TAEL_OPERATION_query_transfers:
        query(model, &filter.query, false, results);
        return;
    case TAEL_OPERATION_get_change_events:
        change_events(model, &filter.change_events, results);
        return;
    case TAEL_OPERATION_trial_balance:
        trial_balance(model, &filter.trial_balance, results);
        return;
    default:
        TAEL_ASSERT(false);
    }
}

uint32_t tael_model_read(const struct tael_model *model, uint8_t operation, const void *body, uint32_t body_size,
                         void *reply) {
    const struct tael_operation_info info = tael_operation_info(operation);
    struct results results = {.out = reply, .limit = UINT32_MAX, .element_size = info.result_size};
    if (!info.multi_batch) {
        TAEL_ASSERT(body_size == info.event_size);
        read_one(model, operation, body, &results);
        return results.count * info.result_size;
    }
    struct tael_multi_batch batches;
    TAEL_ASSERT(tael_multi_batch_decode(body, body_size, info.event_size, &batches) == TAEL_MULTI_BATCH_OK);
    uint16_t *counts = calloc(batches.batch_count, sizeof *counts);
    TAEL_ASSERT(counts != NULL);
    const uint8_t *element = batches.payload;
    uint32_t total = 0;
    for (uint32_t i = 0; i < batches.batch_count; i++) {
        results = (struct results){.out = (uint8_t *)reply + (size_t)total * info.result_size,
                                   .limit = UINT32_MAX,
                                   .element_size = info.result_size};
        for (uint32_t j = 0; j < tael_multi_batch_count(&batches, i); j++) {
            read_one(model, operation, element, &results);
            element += info.event_size;
        }
        counts[i] = (uint16_t)results.count;
        total += results.count;
    }
    const uint32_t size =
        tael_multi_batch_encode(reply, total * info.result_size, counts, batches.batch_count, info.result_size);
    free(counts);
    return size;
}

/* --- what tests ask --- */

tael_u128 tael_model_digest_element(uint64_t kind, const void *bytes, uint32_t size_bytes) {
    const XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, size_bytes, kind);
    return tael_u128_make(hash.high64, hash.low64);
}

tael_u128 tael_model_digest(const struct tael_model *model) {
    tael_u128 sum = 0;
    for (uint32_t i = 0; i < model->account_ids.count; i++) {
        sum += tael_model_digest_element(1, &model->accounts[i], sizeof model->accounts[i]);
    }
    for (uint32_t i = 0; i < model->transfer_ids.count; i++) {
        const struct model_transfer *transfer = &model->transfers[i];
        sum += tael_model_digest_element(2, &transfer->record, sizeof transfer->record);
        if (transfer->status == MODEL_NEVER_PENDING) continue;
        struct {
            tael_u128 id;
            uint64_t status;
            uint64_t expiry;
        } pending = {transfer->record.id, transfer->status, model_expiry(&transfer->record)};
        sum += tael_model_digest_element(3, &pending, sizeof pending);
    }
    for (uint32_t i = 0; i < model->burnt_ids.count; i++) {
        sum += tael_model_digest_element(4, &model->burnt_ids.ids[i], sizeof model->burnt_ids.ids[i]);
    }
    for (uint32_t i = 0; i < model->event_count; i++) {
        sum += tael_model_digest_element(5, &model->events[i], sizeof model->events[i]);
    }
    const uint64_t last[2] = {model->op, model->timestamp};
    return sum + tael_model_digest_element(6, last, sizeof last);
}

bool tael_model_balanced(const struct tael_model *model) {
    for (uint32_t ledger = next_ledger(model, 0); ledger != 0; ledger = next_ledger(model, (uint64_t)ledger + 1)) {
        const struct tael_trial_balance_row row = sum_of_ledger(model, ledger);
        if (memcmp(&row.debits_pending, &row.credits_pending, sizeof row.debits_pending) != 0) return false;
        if (memcmp(&row.debits_posted, &row.credits_posted, sizeof row.debits_posted) != 0) return false;
    }
    return true;
}

struct tael_model_usage tael_model_usage(const struct tael_model *model) {
    struct tael_model_usage usage = {
        .accounts = model->account_ids.count,
        .transfers = (uint64_t)model->transfer_ids.count + model->burnt_ids.count,
        .op = model->op,
        .timestamp = model->timestamp,
        .expiry_next = UINT64_MAX,
    };
    for (uint32_t i = 0; i < model->transfer_ids.count; i++) {
        const uint64_t expiry = model_expiry(&model->transfers[i].record);
        if (model->transfers[i].status != MODEL_PENDING || expiry == 0) continue;
        if (expiry < usage.expiry_next) usage.expiry_next = expiry;
    }
    return usage;
}

struct tael_model_counts tael_model_counts(const struct tael_model *model) {
    return (struct tael_model_counts){model->account_ids.count, model->transfer_ids.count, model->burnt_ids.count};
}

const struct tael_account *tael_model_account(const struct tael_model *model, uint32_t index) {
    TAEL_ASSERT(index < model->account_ids.count);
    return &model->accounts[index];
}

const struct tael_transfer *tael_model_transfer(const struct tael_model *model, uint32_t index) {
    TAEL_ASSERT(index < model->transfer_ids.count);
    return &model->transfers[index].record;
}

tael_u128 tael_model_burnt_id(const struct tael_model *model, uint32_t index) {
    TAEL_ASSERT(index < model->burnt_ids.count);
    return model->burnt_ids.ids[index];
}

uint32_t tael_model_pending_status(const struct tael_model *model, uint32_t transfer_index) {
    TAEL_ASSERT(transfer_index < model->transfer_ids.count);
    return model->transfers[transfer_index].status;
}
