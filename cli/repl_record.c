/* The tables of repl_record.h. */
#include "cli/repl_record.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/flag.h>
#include <tael/limits.h>
#include <tael/operation.h>

/* X(struct, field, member, kind, use), in the order in which people see them. */
/* clang-format off */
#define ID_FIELDS(X, S)                                     \
    X(S, id, id, NUMBER, KEY)

#define ACCOUNT_FIELDS(X, S)                                \
    X(S, id, id, NUMBER, KEY)                               \
    X(S, debits_pending, debits_pending, NUMBER, OUT)       \
    X(S, debits_posted, debits_posted, NUMBER, OUT)         \
    X(S, credits_pending, credits_pending, NUMBER, OUT)     \
    X(S, credits_posted, credits_posted, NUMBER, OUT)       \
    X(S, user_data_128, user_data_128, NUMBER, MORE)        \
    X(S, user_data_64, user_data_64, NUMBER, MORE)          \
    X(S, user_data_32, user_data_32, NUMBER, MORE)          \
    X(S, ledger, ledger, NUMBER, MAIN)                      \
    X(S, code, code, NUMBER, MAIN)                          \
    X(S, flags, flags, ACCOUNT_FLAGS, MORE)                 \
    X(S, timestamp, timestamp, TIME, MAIN)

#define TRANSFER_FIELDS(X, S)                               \
    X(S, id, id, NUMBER, KEY)                               \
    X(S, debit_account_id, debit_account_id, NUMBER, MAIN)  \
    X(S, credit_account_id, credit_account_id, NUMBER, MAIN) \
    X(S, amount, amount, NUMBER, MAIN)                      \
    X(S, pending_id, pending_id, NUMBER, MORE)              \
    X(S, user_data_128, user_data_128, NUMBER, MORE)        \
    X(S, user_data_64, user_data_64, NUMBER, MORE)          \
    X(S, user_data_32, user_data_32, NUMBER, MORE)          \
    X(S, timeout, timeout, NUMBER, MORE)                    \
    X(S, ledger, ledger, NUMBER, MAIN)                      \
    X(S, code, code, NUMBER, MAIN)                          \
    X(S, flags, flags, TRANSFER_FLAGS, MORE)                \
    X(S, timestamp, timestamp, TIME, MAIN)

#define ACCOUNT_FILTER_FIELDS(X, S)                         \
    X(S, account_id, account_id, NUMBER, KEY)               \
    X(S, user_data_128, user_data_128, NUMBER, MORE)        \
    X(S, user_data_64, user_data_64, NUMBER, MORE)          \
    X(S, user_data_32, user_data_32, NUMBER, MORE)          \
    X(S, code, code, NUMBER, MORE)                          \
    X(S, timestamp_min, timestamp_min, TIME, MORE)          \
    X(S, timestamp_max, timestamp_max, TIME, MORE)          \
    X(S, limit, limit, NUMBER, MORE)                        \
    X(S, flags, flags, ACCOUNT_FILTER_FLAGS, MORE)

#define QUERY_FILTER_FIELDS(X, S)                           \
    X(S, user_data_128, user_data_128, NUMBER, MORE)        \
    X(S, user_data_64, user_data_64, NUMBER, MORE)          \
    X(S, user_data_32, user_data_32, NUMBER, MORE)          \
    X(S, ledger, ledger, NUMBER, MORE)                      \
    X(S, code, code, NUMBER, MORE)                          \
    X(S, timestamp_min, timestamp_min, TIME, MORE)          \
    X(S, timestamp_max, timestamp_max, TIME, MORE)          \
    X(S, limit, limit, NUMBER, MORE)                        \
    X(S, flags, flags, QUERY_FILTER_FLAGS, MORE)

#define CHANGE_EVENTS_FILTER_FIELDS(X, S)                   \
    X(S, timestamp_min, timestamp_min, TIME, MORE)          \
    X(S, timestamp_max, timestamp_max, TIME, MORE)          \
    X(S, limit, limit, NUMBER, MORE)

#define TRIAL_BALANCE_FILTER_FIELDS(X, S)                   \
    X(S, ledger_min, ledger_min, NUMBER, MORE)              \
    X(S, ledger_max, ledger_max, NUMBER, MORE)

#define ACCOUNT_BALANCE_FIELDS(X, S)                        \
    X(S, timestamp, timestamp, TIME, OUT)                   \
    X(S, debits_pending, debits_pending, NUMBER, OUT)       \
    X(S, debits_posted, debits_posted, NUMBER, OUT)         \
    X(S, credits_pending, credits_pending, NUMBER, OUT)     \
    X(S, credits_posted, credits_posted, NUMBER, OUT)

#define CHANGE_EVENT_ACCOUNT_FIELDS(X, S, side)                             \
    X(S, side##_id, side.id, NUMBER, OUT)                                   \
    X(S, side##_debits_pending, side.debits_pending, NUMBER, OUT)           \
    X(S, side##_debits_posted, side.debits_posted, NUMBER, OUT)             \
    X(S, side##_credits_pending, side.credits_pending, NUMBER, OUT)         \
    X(S, side##_credits_posted, side.credits_posted, NUMBER, OUT)           \
    X(S, side##_user_data_128, side.user_data_128, NUMBER, REST)            \
    X(S, side##_user_data_64, side.user_data_64, NUMBER, REST)              \
    X(S, side##_user_data_32, side.user_data_32, NUMBER, REST)              \
    X(S, side##_code, side.code, NUMBER, OUT)                               \
    X(S, side##_flags, side.flags, ACCOUNT_FLAGS, REST)                     \
    X(S, side##_timestamp, side##_timestamp, TIME, OUT)

#define CHANGE_EVENT_FIELDS(X, S)                                           \
    X(S, timestamp, timestamp, TIME, OUT)                                   \
    X(S, type, type, CHANGE_TYPE, OUT)                                      \
    X(S, ledger, ledger, NUMBER, OUT)                                       \
    X(S, transfer_id, transfer_id, NUMBER, OUT)                             \
    X(S, transfer_amount, transfer_amount, NUMBER, OUT)                     \
    X(S, transfer_pending_id, transfer_pending_id, NUMBER, REST)            \
    X(S, transfer_user_data_128, transfer_user_data_128, NUMBER, REST)      \
    X(S, transfer_user_data_64, transfer_user_data_64, NUMBER, REST)        \
    X(S, transfer_user_data_32, transfer_user_data_32, NUMBER, REST)        \
    X(S, transfer_timeout, transfer_timeout, NUMBER, REST)                  \
    X(S, transfer_code, transfer_code, NUMBER, OUT)                         \
    X(S, transfer_flags, transfer_flags, TRANSFER_FLAGS, REST)              \
    X(S, transfer_timestamp, transfer_timestamp, TIME, OUT)                 \
    CHANGE_EVENT_ACCOUNT_FIELDS(X, S, debit_account)                        \
    CHANGE_EVENT_ACCOUNT_FIELDS(X, S, credit_account)

/*    operation              event                 result            summary, example */
#define REQUEST_TABLE(X)                                                                                               \
    X(create_accounts,       account,              NULL,             "opens accounts",                                 \
      "create_accounts id=1 ledger=700 code=10 flags=history, id=2 ledger=700 code=10;")                               \
    X(create_transfers,      transfer,             NULL,             "moves amounts between accounts",                 \
      "create_transfers id=1 debit_account_id=1 credit_account_id=2 amount=10 ledger=700 code=10;")                    \
    X(lookup_accounts,       id,                   &record_account,  "shows accounts by id",                           \
      "lookup_accounts id=1, id=2;")                                                                                   \
    X(lookup_transfers,      id,                   &record_transfer, "shows transfers by id",                          \
      "lookup_transfers id=1;")                                                                                        \
    X(get_account_transfers, account_filter,       &record_transfer, "shows the transfers of an account",              \
      "get_account_transfers account_id=1 flags=debits|reversed limit=10;")                                            \
    X(get_account_balances,  account_filter,       &record_account_balance,                                            \
      "shows the balances of an account opened with flags=history",                                                    \
      "get_account_balances account_id=1 limit=10;")                                                                   \
    X(query_accounts,        query_filter,         &record_account,  "shows the accounts with these values",           \
      "query_accounts ledger=700 limit=10;")                                                                           \
    X(query_transfers,       query_filter,         &record_transfer, "shows the transfers with these values",          \
      "query_transfers ledger=700 code=10 flags=reversed limit=10;")                                                   \
    X(get_change_events,     change_events_filter, &record_change_event,                                               \
      "shows all that has happened, with the balances behind it", "get_change_events limit=10;")                       \
    X(trial_balance,         trial_balance_filter, NULL,             "sums debits and credits of each ledger",         \
      "trial_balance ledger_min=700 ledger_max=700;")
/* clang-format on */

#define FIELD_ROW(S, field, member, field_kind, field_use)                                                             \
    {.name = #field,                                                                                                   \
     .kind = TAEL_REPL_##field_kind,                                                                                   \
     .use = TAEL_REPL_##field_use,                                                                                     \
     .offset = offsetof(struct S, member),                                                                             \
     .width = sizeof(((struct S *)0)->member)},

#define RECORD_DEFINE(short_name, S, text, TABLE)                                                                      \
    static const struct tael_repl_field fields_##short_name[] = {TABLE(FIELD_ROW, S)};                                 \
    static_assert(sizeof fields_##short_name / sizeof fields_##short_name[0] <= TAEL_REPL_FIELDS_MAX,                  \
                  "a row a field");                                                                                    \
    static const struct tael_repl_record record_##short_name = {.name = text,                                          \
                                                                .fields = fields_##short_name,                         \
                                                                .fields_count = sizeof fields_##short_name /           \
                                                                                sizeof fields_##short_name[0]}

RECORD_DEFINE(id, tael_repl_id, "lookup", ID_FIELDS);
RECORD_DEFINE(account, tael_account, "account", ACCOUNT_FIELDS);
RECORD_DEFINE(transfer, tael_transfer, "transfer", TRANSFER_FIELDS);
RECORD_DEFINE(account_filter, tael_account_filter, "account filter", ACCOUNT_FILTER_FIELDS);
RECORD_DEFINE(query_filter, tael_query_filter, "query filter", QUERY_FILTER_FIELDS);
RECORD_DEFINE(change_events_filter, tael_change_events_filter, "change events filter", CHANGE_EVENTS_FILTER_FIELDS);
RECORD_DEFINE(trial_balance_filter, tael_trial_balance_filter, "trial balance filter", TRIAL_BALANCE_FILTER_FIELDS);
RECORD_DEFINE(account_balance, tael_account_balance, "balance", ACCOUNT_BALANCE_FIELDS);
RECORD_DEFINE(change_event, tael_change_event, "change event", CHANGE_EVENT_FIELDS);

const struct tael_repl_request tael_repl_requests[] = {
#define X(name, event_name, result_record, summary_text, example_text)                                                 \
    {.operation = TAEL_OPERATION_##name,                                                                               \
     .event = &record_##event_name,                                                                                    \
     .result = result_record,                                                                                          \
     .summary = summary_text,                                                                                          \
     .example = example_text},
    REQUEST_TABLE(X)
#undef X
};
const size_t tael_repl_requests_count = sizeof tael_repl_requests / sizeof tael_repl_requests[0];

#define FLAG_ROW(bit, name) {#name, 1u << (bit)},
static const struct tael_repl_name account_flags[] = {TAEL_ACCOUNT_FLAG_TABLE(FLAG_ROW)};
static const struct tael_repl_name transfer_flags[] = {TAEL_TRANSFER_FLAG_TABLE(FLAG_ROW)};
static const struct tael_repl_name account_filter_flags[] = {TAEL_ACCOUNT_FILTER_FLAG_TABLE(FLAG_ROW)};
static const struct tael_repl_name query_filter_flags[] = {TAEL_QUERY_FILTER_FLAG_TABLE(FLAG_ROW)};
static const struct tael_repl_name change_types[] = {
    {"single_phase", TAEL_CHANGE_SINGLE_PHASE},           {"two_phase_pending", TAEL_CHANGE_TWO_PHASE_PENDING},
    {"two_phase_posted", TAEL_CHANGE_TWO_PHASE_POSTED},   {"two_phase_voided", TAEL_CHANGE_TWO_PHASE_VOIDED},
    {"two_phase_expired", TAEL_CHANGE_TWO_PHASE_EXPIRED},
};

#define NAMES_OF(array) (*count = sizeof(array) / sizeof(array)[0], (array))

const struct tael_repl_name *tael_repl_names(enum tael_repl_kind kind, size_t *count) {
    *count = 0;
    switch (kind) {
    case TAEL_REPL_NUMBER:
    case TAEL_REPL_TIME:
        return NULL;
    case TAEL_REPL_ACCOUNT_FLAGS:
        return NAMES_OF(account_flags);
    case TAEL_REPL_TRANSFER_FLAGS:
        return NAMES_OF(transfer_flags);
    case TAEL_REPL_ACCOUNT_FILTER_FLAGS:
        return NAMES_OF(account_filter_flags);
    case TAEL_REPL_QUERY_FILTER_FLAGS:
        return NAMES_OF(query_filter_flags);
    case TAEL_REPL_CHANGE_TYPE:
        return NAMES_OF(change_types);
    }
    TAEL_UNREACHABLE("every kind is above");
}

const struct tael_repl_request *tael_repl_request_of(uint8_t operation) {
    for (size_t i = 0; i < tael_repl_requests_count; i++) {
        if (tael_repl_requests[i].operation == operation) return &tael_repl_requests[i];
    }
    return NULL;
}

static bool name_is(const char *name, const char *text, size_t size) {
    return strlen(name) == size && memcmp(name, text, size) == 0;
}

const struct tael_repl_request *tael_repl_request_named(const char *name, size_t size) {
    for (size_t i = 0; i < tael_repl_requests_count; i++) {
        const struct tael_repl_request *request = &tael_repl_requests[i];
        if (name_is(tael_operation_info(request->operation).name, name, size)) return request;
    }
    return NULL;
}

const struct tael_repl_field *tael_repl_field_named(const struct tael_repl_record *record, const char *name,
                                                    size_t size) {
    for (size_t i = 0; i < record->fields_count; i++) {
        if (name_is(record->fields[i].name, name, size)) return &record->fields[i];
    }
    return NULL;
}

uint32_t tael_repl_limit(const struct tael_repl_request *request, const void *event) {
    const uint32_t most =
        request->operation == TAEL_OPERATION_get_change_events ? TAEL_CHANGE_EVENTS_MAX : TAEL_EVENTS_MAX;
    const struct tael_repl_field *field = tael_repl_field_named(request->event, "limit", strlen("limit"));
    if (field == NULL || event == NULL) return most;
    const tael_u128 limit = tael_repl_field_get(field, event);
    return limit < most ? (uint32_t)limit : most;
}

tael_u128 tael_repl_field_get(const struct tael_repl_field *field, const void *record) {
    tael_u128 value = 0;
    TAEL_ASSERT(field->width <= sizeof value);
    memcpy(&value, (const char *)record + field->offset, field->width);
    return value;
}

void tael_repl_field_set(const struct tael_repl_field *field, void *record, tael_u128 value) {
    TAEL_ASSERT(value <= tael_repl_field_max(field));
    memcpy((char *)record + field->offset, &value, field->width);
}

tael_u128 tael_repl_field_max(const struct tael_repl_field *field) {
    TAEL_ASSERT(field->width >= 1 && field->width <= sizeof(tael_u128));
    return TAEL_U128_MAX >> (8 * (sizeof(tael_u128) - field->width));
}
