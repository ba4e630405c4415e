/* The ledger's records: on the wire, in the log and in memory, byte for byte the same. Little-endian, no padding.
 * Layouts follow TigerBeetle 0.17, so that its clients read and write them unchanged. */
#ifndef TAEL_RECORD_H
#define TAEL_RECORD_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/u128.h>

struct tael_account {
    tael_u128 id;
    tael_u128 debits_pending;
    tael_u128 debits_posted;
    tael_u128 credits_pending;
    tael_u128 credits_posted;
    tael_u128 user_data_128;
    uint64_t user_data_64;
    uint32_t user_data_32;
    uint32_t reserved; /* zero */
    uint32_t ledger;
    uint16_t code;
    uint16_t flags; /* enum tael_account_flag */
    uint64_t timestamp; /* ns since 1970 */
};
static_assert(sizeof(struct tael_account) == 128, "two cache lines");
static_assert(offsetof(struct tael_account, user_data_128) == 80, "wire format");
static_assert(offsetof(struct tael_account, ledger) == 112, "wire format");
static_assert(offsetof(struct tael_account, timestamp) == 120, "wire format");

struct tael_transfer {
    tael_u128 id;
    tael_u128 debit_account_id;
    tael_u128 credit_account_id;
    tael_u128 amount;
    tael_u128 pending_id;
    tael_u128 user_data_128;
    uint64_t user_data_64;
    uint32_t user_data_32;
    uint32_t timeout; /* seconds; 0 never expires */
    uint32_t ledger;
    uint16_t code;
    uint16_t flags; /* enum tael_transfer_flag */
    uint64_t timestamp; /* ns since 1970 */
};
static_assert(sizeof(struct tael_transfer) == 128, "two cache lines");
static_assert(offsetof(struct tael_transfer, pending_id) == 64, "wire format");
static_assert(offsetof(struct tael_transfer, timeout) == 108, "wire format");
static_assert(offsetof(struct tael_transfer, timestamp) == 120, "wire format");

/* One per event of a create request, dense and in order (operations 146, 147). */
struct tael_create_result {
    uint64_t timestamp;
    uint32_t status; /* enum tael_account_status or tael_transfer_status */
    uint32_t reserved;
};
static_assert(sizeof(struct tael_create_result) == 16, "wire format");

/* Failures only (operations 138, 139). */
struct tael_create_result_sparse {
    uint32_t index; /* of the event in its sub-batch */
    uint32_t status;
};
static_assert(sizeof(struct tael_create_result_sparse) == 8, "wire format");

struct tael_account_filter {
    tael_u128 account_id;
    tael_u128 user_data_128;
    uint64_t user_data_64;
    uint32_t user_data_32;
    uint16_t code;
    uint8_t reserved[58];
    uint64_t timestamp_min; /* inclusive; 0 none */
    uint64_t timestamp_max;
    uint32_t limit;
    uint32_t flags; /* enum tael_account_filter_flag */
};
static_assert(sizeof(struct tael_account_filter) == 128, "wire format");
static_assert(offsetof(struct tael_account_filter, timestamp_min) == 104, "wire format");

struct tael_query_filter {
    tael_u128 user_data_128;
    uint64_t user_data_64;
    uint32_t user_data_32;
    uint32_t ledger;
    uint16_t code;
    uint8_t reserved[6];
    uint64_t timestamp_min;
    uint64_t timestamp_max;
    uint32_t limit;
    uint32_t flags; /* enum tael_query_filter_flag */
};
static_assert(sizeof(struct tael_query_filter) == 64, "wire format");
static_assert(offsetof(struct tael_query_filter, timestamp_min) == 40, "wire format");

struct tael_account_balance {
    tael_u128 debits_pending;
    tael_u128 debits_posted;
    tael_u128 credits_pending;
    tael_u128 credits_posted;
    uint64_t timestamp; /* of the transfer after which the balance is taken */
    uint8_t reserved[56];
};
static_assert(sizeof(struct tael_account_balance) == 128, "wire format");

struct tael_change_events_filter {
    uint64_t timestamp_min;
    uint64_t timestamp_max;
    uint32_t limit;
    uint8_t reserved[44];
};
static_assert(sizeof(struct tael_change_events_filter) == 64, "wire format");

enum tael_change_event_type {
    TAEL_CHANGE_SINGLE_PHASE = 0,
    TAEL_CHANGE_TWO_PHASE_PENDING = 1,
    TAEL_CHANGE_TWO_PHASE_POSTED = 2,
    TAEL_CHANGE_TWO_PHASE_VOIDED = 3,
    TAEL_CHANGE_TWO_PHASE_EXPIRED = 4,
};

struct tael_change_event_account {
    tael_u128 id;
    tael_u128 debits_pending;
    tael_u128 debits_posted;
    tael_u128 credits_pending;
    tael_u128 credits_posted;
    tael_u128 user_data_128;
    uint64_t user_data_64;
    uint32_t user_data_32;
    uint16_t code;
    uint16_t flags;
};
static_assert(sizeof(struct tael_change_event_account) == 112, "wire format");

struct tael_change_event {
    tael_u128 transfer_id;
    tael_u128 transfer_amount;
    tael_u128 transfer_pending_id;
    tael_u128 transfer_user_data_128;
    uint64_t transfer_user_data_64;
    uint32_t transfer_user_data_32;
    uint32_t transfer_timeout;
    uint16_t transfer_code;
    uint16_t transfer_flags;
    uint32_t ledger;
    uint8_t type; /* enum tael_change_event_type */
    uint8_t reserved[39];
    struct tael_change_event_account debit_account;
    struct tael_change_event_account credit_account;
    uint64_t timestamp; /* of the event: the transfer's own, or the expiry's */
    uint64_t transfer_timestamp; /* of the transfer that was created or expired */
    uint64_t debit_account_timestamp;
    uint64_t credit_account_timestamp;
};
static_assert(sizeof(struct tael_change_event) == 384, "wire format");
static_assert(offsetof(struct tael_change_event, type) == 88, "wire format");
static_assert(offsetof(struct tael_change_event, debit_account) == 128, "wire format");
static_assert(offsetof(struct tael_change_event, credit_account) == 240, "wire format");
static_assert(offsetof(struct tael_change_event, timestamp) == 352, "wire format");

/* One row of a trial balance (operation 200): the sums over all accounts of a ledger, at one op. A sum of 2^32 balances
 * of 128 bits needs 160; each stands as 256 bits, least significant word first. */
struct tael_trial_balance_sum {
    uint64_t words[4];
};
struct tael_trial_balance_row {
    uint32_t ledger;
    uint32_t reserved;
    uint64_t accounts;
    struct tael_trial_balance_sum debits_pending;
    struct tael_trial_balance_sum debits_posted;
    struct tael_trial_balance_sum credits_pending;
    struct tael_trial_balance_sum credits_posted;
    uint8_t padding[112]; /* zero */
};
static_assert(sizeof(struct tael_trial_balance_row) == 256, "wire format");

/* The filter of operation 200. Rows come in order of ledger, beginning with `ledger_min`. The reply's first row is a
 * head: ledger 0, `accounts` the number of ledgers that match, which may be more than the rows that follow. An invalid
 * filter (ledger_min above ledger_max, a reserved byte not zero) gets an empty reply, without the head. */
struct tael_trial_balance_filter {
    uint32_t ledger_min;
    uint32_t ledger_max; /* 0: no upper bound */
    uint32_t limit; /* rows; 0 and anything above the reply's room mean as many as fit */
    uint8_t reserved[116];
};
static_assert(sizeof(struct tael_trial_balance_filter) == 128, "wire format");

#endif
