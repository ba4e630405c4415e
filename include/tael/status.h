/* Statuses of created events: closed enums, frozen on the wire (TigerBeetle 0.17).
 *
 * Each is one row: number, name, kind, text. The rows generate the enums, the names, the texts and the check of which
 * failures burn an id. They stand in order of number; the order in which they are *checked* is the rules' own
 * (engine/account_rules.c, engine/transfer_rules.c), since it differs: "the exists chain" checks 44 before 37.
 *
 * kind: FINAL, or TRANSIENT: the same event could succeed later, so its id is burnt (68 id_already_failed from then on).
 */
#ifndef TAEL_STATUS_H
#define TAEL_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
#define TAEL_ACCOUNT_STATUS_TABLE(X)                                                                                              \
    X(1, linked_event_failed, FINAL, "another event of its chain failed")                                                         \
    X(2, linked_event_chain_open, FINAL, "the chain was still open at the end of the batch")                                      \
    X(3, timestamp_must_be_zero, FINAL, "timestamp must be zero unless imported")                                                 \
    X(4, reserved_field, FINAL, "a reserved field is not zero")                                                                   \
    X(5, reserved_flag, FINAL, "a reserved flag is set")                                                                          \
    X(6, id_must_not_be_zero, FINAL, "id must not be zero")                                                                       \
    X(7, id_must_not_be_int_max, FINAL, "id must not be the largest integer")                                                     \
    X(8, flags_are_mutually_exclusive, FINAL, "an account may limit its debits or its credits, not both")                         \
    X(9, debits_pending_must_be_zero, FINAL, "debits_pending must be zero")                                                       \
    X(10, debits_posted_must_be_zero, FINAL, "debits_posted must be zero")                                                        \
    X(11, credits_pending_must_be_zero, FINAL, "credits_pending must be zero")                                                    \
    X(12, credits_posted_must_be_zero, FINAL, "credits_posted must be zero")                                                      \
    X(13, ledger_must_not_be_zero, FINAL, "ledger must not be zero")                                                              \
    X(14, code_must_not_be_zero, FINAL, "code must not be zero")                                                                  \
    X(15, exists_with_different_flags, FINAL, "the id exists with other flags")                                                   \
    X(16, exists_with_different_user_data_128, FINAL, "the id exists with another user_data_128")                                 \
    X(17, exists_with_different_user_data_64, FINAL, "the id exists with another user_data_64")                                   \
    X(18, exists_with_different_user_data_32, FINAL, "the id exists with another user_data_32")                                   \
    X(19, exists_with_different_ledger, FINAL, "the id exists with another ledger")                                               \
    X(20, exists_with_different_code, FINAL, "the id exists with another code")                                                   \
    X(21, exists, FINAL, "the same account exists already")                                                                       \
    X(22, imported_event_expected, FINAL, "the batch began with an imported event, this one is not")                              \
    X(23, imported_event_not_expected, FINAL, "the batch began with an event that is not imported, this one is")                  \
    X(24, imported_event_timestamp_out_of_range, FINAL, "an imported timestamp must lie in 1 .. 2^63 - 1")                        \
    X(25, imported_event_timestamp_must_not_advance, FINAL, "an imported timestamp must lie in the past")                         \
    X(26, imported_event_timestamp_must_not_regress, FINAL, "an imported timestamp must follow every earlier one of its kind")

#define TAEL_TRANSFER_STATUS_TABLE(X)                                                                                             \
    X(1, linked_event_failed, FINAL, "another event of its chain failed")                                                         \
    X(2, linked_event_chain_open, FINAL, "the chain was still open at the end of the batch")                                      \
    X(3, timestamp_must_be_zero, FINAL, "timestamp must be zero unless imported")                                                 \
    X(4, reserved_flag, FINAL, "a reserved flag is set")                                                                          \
    X(5, id_must_not_be_zero, FINAL, "id must not be zero")                                                                       \
    X(6, id_must_not_be_int_max, FINAL, "id must not be the largest integer")                                                     \
    X(7, flags_are_mutually_exclusive, FINAL, "these flags exclude each other")                                                   \
    X(8, debit_account_id_must_not_be_zero, FINAL, "debit_account_id must not be zero")                                           \
    X(9, debit_account_id_must_not_be_int_max, FINAL, "debit_account_id must not be the largest integer")                         \
    X(10, credit_account_id_must_not_be_zero, FINAL, "credit_account_id must not be zero")                                        \
    X(11, credit_account_id_must_not_be_int_max, FINAL, "credit_account_id must not be the largest integer")                      \
    X(12, accounts_must_be_different, FINAL, "the two accounts must be different")                                                \
    X(13, pending_id_must_be_zero, FINAL, "pending_id is only for a post or a void")                                              \
    X(14, pending_id_must_not_be_zero, FINAL, "a post or a void needs a pending_id")                                              \
    X(15, pending_id_must_not_be_int_max, FINAL, "pending_id must not be the largest integer")                                    \
    X(16, pending_id_must_be_different, FINAL, "pending_id must differ from id")                                                  \
    X(17, timeout_reserved_for_pending_transfer, FINAL, "only a pending transfer has a timeout")                                  \
    X(19, ledger_must_not_be_zero, FINAL, "ledger must not be zero")                                                              \
    X(20, code_must_not_be_zero, FINAL, "code must not be zero")                                                                  \
    X(21, debit_account_not_found, TRANSIENT, "the debit account does not exist")                                                 \
    X(22, credit_account_not_found, TRANSIENT, "the credit account does not exist")                                               \
    X(23, accounts_must_have_the_same_ledger, FINAL, "the two accounts are on different ledgers")                                 \
    X(24, transfer_must_have_the_same_ledger_as_accounts, FINAL, "the transfer's ledger is not that of its accounts")             \
    X(25, pending_transfer_not_found, TRANSIENT, "the pending transfer does not exist")                                           \
    X(26, pending_transfer_not_pending, FINAL, "the transfer that pending_id names is not a pending one")                         \
    X(27, pending_transfer_has_different_debit_account_id, FINAL, "the pending transfer has another debit account")               \
    X(28, pending_transfer_has_different_credit_account_id, FINAL, "the pending transfer has another credit account")             \
    X(29, pending_transfer_has_different_ledger, FINAL, "the pending transfer has another ledger")                                \
    X(30, pending_transfer_has_different_code, FINAL, "the pending transfer has another code")                                    \
    X(31, exceeds_pending_transfer_amount, FINAL, "the amount is more than was pending")                                          \
    X(32, pending_transfer_has_different_amount, FINAL, "a void must name the whole pending amount, or 0")                        \
    X(33, pending_transfer_already_posted, FINAL, "the pending transfer was posted already")                                      \
    X(34, pending_transfer_already_voided, FINAL, "the pending transfer was voided already")                                      \
    X(35, pending_transfer_expired, FINAL, "the pending transfer has expired")                                                    \
    X(36, exists_with_different_flags, FINAL, "the id exists with other flags")                                                   \
    X(37, exists_with_different_debit_account_id, FINAL, "the id exists with another debit account")                              \
    X(38, exists_with_different_credit_account_id, FINAL, "the id exists with another credit account")                            \
    X(39, exists_with_different_amount, FINAL, "the id exists with another amount")                                               \
    X(40, exists_with_different_pending_id, FINAL, "the id exists with another pending_id")                                       \
    X(41, exists_with_different_user_data_128, FINAL, "the id exists with another user_data_128")                                 \
    X(42, exists_with_different_user_data_64, FINAL, "the id exists with another user_data_64")                                   \
    X(43, exists_with_different_user_data_32, FINAL, "the id exists with another user_data_32")                                   \
    X(44, exists_with_different_timeout, FINAL, "the id exists with another timeout")                                             \
    X(45, exists_with_different_code, FINAL, "the id exists with another code")                                                   \
    X(46, exists, FINAL, "the same transfer exists already")                                                                      \
    X(47, overflows_debits_pending, FINAL, "the debit account's pending debits would overflow")                                   \
    X(48, overflows_credits_pending, FINAL, "the credit account's pending credits would overflow")                                \
    X(49, overflows_debits_posted, FINAL, "the debit account's posted debits would overflow")                                     \
    X(50, overflows_credits_posted, FINAL, "the credit account's posted credits would overflow")                                  \
    X(51, overflows_debits, FINAL, "the debit account's pending and posted debits together would overflow")                       \
    X(52, overflows_credits, FINAL, "the credit account's pending and posted credits together would overflow")                    \
    X(53, overflows_timeout, FINAL, "timestamp and timeout together would overflow")                                              \
    X(54, exceeds_credits, TRANSIENT, "the debit account's debits would exceed its posted credits")                               \
    X(55, exceeds_debits, TRANSIENT, "the credit account's credits would exceed its posted debits")                               \
    X(56, imported_event_expected, FINAL, "the batch began with an imported event, this one is not")                              \
    X(57, imported_event_not_expected, FINAL, "the batch began with an event that is not imported, this one is")                  \
    X(58, imported_event_timestamp_out_of_range, FINAL, "an imported timestamp must lie in 1 .. 2^63 - 1")                        \
    X(59, imported_event_timestamp_must_not_advance, FINAL, "an imported timestamp must lie in the past")                         \
    X(60, imported_event_timestamp_must_not_regress, FINAL, "an imported timestamp must follow every earlier one of its kind")    \
    X(61, imported_event_timestamp_must_postdate_debit_account, FINAL, "an imported transfer must be younger than its debit account") \
    X(62, imported_event_timestamp_must_postdate_credit_account, FINAL, "an imported transfer must be younger than its credit account") \
    X(63, imported_event_timeout_must_be_zero, FINAL, "an imported transfer has no timeout")                                      \
    X(64, closing_transfer_must_be_pending, FINAL, "a transfer that closes an account must be pending")                           \
    X(65, debit_account_already_closed, TRANSIENT, "the debit account is closed")                                                 \
    X(66, credit_account_already_closed, TRANSIENT, "the credit account is closed")                                               \
    X(67, exists_with_different_ledger, FINAL, "the id exists with another ledger")                                               \
    X(68, id_already_failed, FINAL, "the id failed before in a way that could pass today; use a new id")
/* clang-format on */

#define TAEL_STATUS_CREATED 0xFFFFFFFFu /* success, of accounts and transfers alike */

enum tael_account_status {
#define X(number, name, kind, text) TAEL_ACCOUNT_##name = number,
    TAEL_ACCOUNT_STATUS_TABLE(X)
#undef X
};

enum tael_transfer_status {
#define X(number, name, kind, text) TAEL_TRANSFER_##name = number,
    TAEL_TRANSFER_STATUS_TABLE(X)
#undef X
};

#define TAEL_STATUS_IS_FINAL false
#define TAEL_STATUS_IS_TRANSIENT true

/* True for the failures of transfers that burn their id. */
static inline bool tael_transfer_status_is_transient(uint32_t status) {
    switch (status) {
#define X(number, name, kind, text)                                                                                    \
    case number:                                                                                                       \
        return TAEL_STATUS_IS_##kind;
        TAEL_TRANSFER_STATUS_TABLE(X)
#undef X
    default:
        return false;
    }
}

#define TAEL_STATUS_CASE_NAME(number, name, kind, text)                                                                \
    case number:                                                                                                       \
        return #name;
#define TAEL_STATUS_CASE_TEXT(number, name, kind, text)                                                                \
    case number:                                                                                                       \
        return text;
#define TAEL_STATUS_STRINGS(function, TABLE, CASE)                                                                     \
    static inline const char *function(uint32_t status) {                                                              \
        switch (status) {                                                                                              \
        case TAEL_STATUS_CREATED:                                                                                      \
            return "created";                                                                                          \
            TABLE(CASE)                                                                                                \
        default:                                                                                                       \
            return NULL;                                                                                               \
        }                                                                                                              \
    }

/* The name and the explanation of a status; NULL for a number that is none. Static strings. */
TAEL_STATUS_STRINGS(tael_account_status_name, TAEL_ACCOUNT_STATUS_TABLE, TAEL_STATUS_CASE_NAME)
TAEL_STATUS_STRINGS(tael_account_status_text, TAEL_ACCOUNT_STATUS_TABLE, TAEL_STATUS_CASE_TEXT)
TAEL_STATUS_STRINGS(tael_transfer_status_name, TAEL_TRANSFER_STATUS_TABLE, TAEL_STATUS_CASE_NAME)
TAEL_STATUS_STRINGS(tael_transfer_status_text, TAEL_TRANSFER_STATUS_TABLE, TAEL_STATUS_CASE_TEXT)

#endif
