#include "engine/account_rules.h"

static uint32_t check_exists(const struct tael_account_table *accounts, const struct tael_account_line *line,
                             const struct tael_account *account) {
    const struct tael_account_cold *cold = &accounts->cold[line->number];
    const uint16_t flags = (uint16_t)(line->flags & ~TAEL_ACCOUNT_LINE_WIDE);
    if (account->flags != flags) return TAEL_ACCOUNT_exists_with_different_flags;
    if (account->user_data_128 != cold->user_data_128) return TAEL_ACCOUNT_exists_with_different_user_data_128;
    if (account->user_data_64 != cold->user_data_64) return TAEL_ACCOUNT_exists_with_different_user_data_64;
    if (account->user_data_32 != cold->user_data_32) return TAEL_ACCOUNT_exists_with_different_user_data_32;
    if (account->ledger != line->ledger) return TAEL_ACCOUNT_exists_with_different_ledger;
    if (account->code != cold->code) return TAEL_ACCOUNT_exists_with_different_code;
    return TAEL_ACCOUNT_exists;
}

static uint32_t check_fields(const struct tael_account *account) {
    const uint32_t limits =
        TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits | TAEL_ACCOUNT_FLAG_credits_must_not_exceed_debits;
    if ((account->flags & limits) == limits) return TAEL_ACCOUNT_flags_are_mutually_exclusive;
    if (account->debits_pending != 0) return TAEL_ACCOUNT_debits_pending_must_be_zero;
    if (account->debits_posted != 0) return TAEL_ACCOUNT_debits_posted_must_be_zero;
    if (account->credits_pending != 0) return TAEL_ACCOUNT_credits_pending_must_be_zero;
    if (account->credits_posted != 0) return TAEL_ACCOUNT_credits_posted_must_be_zero;
    if (account->ledger == 0) return TAEL_ACCOUNT_ledger_must_not_be_zero;
    if (account->code == 0) return TAEL_ACCOUNT_code_must_not_be_zero;
    return TAEL_STATUS_CREATED;
}

/* An imported account must be younger than every account, and no transfer may have its timestamp. */
static bool import_regresses(const struct tael_ledger *ledger, uint64_t timestamp) {
    if (timestamp <= ledger->accounts.cold[ledger->accounts.count].timestamp) return true;
    const uint64_t position = tael_journal_position_from(&ledger->journal, timestamp);
    return position < ledger->journal.count && tael_journal_body(&ledger->journal, position)->timestamp == timestamp;
}

uint32_t tael_account_create(struct tael_ledger *ledger, const struct tael_account *account, uint64_t *timestamp) {
    if (account->reserved != 0) return TAEL_ACCOUNT_reserved_field;
    if ((account->flags & ~TAEL_ACCOUNT_FLAGS_DEFINED) != 0) return TAEL_ACCOUNT_reserved_flag;
    if (account->id == 0) return TAEL_ACCOUNT_id_must_not_be_zero;
    if (account->id == TAEL_U128_MAX) return TAEL_ACCOUNT_id_must_not_be_int_max;

    const struct tael_account_line *existing = tael_account_table_find_id(&ledger->accounts, account->id);
    if (existing != NULL) {
        const uint32_t status = check_exists(&ledger->accounts, existing, account);
        if (status == TAEL_ACCOUNT_exists) *timestamp = ledger->accounts.cold[existing->number].timestamp;
        return status;
    }
    const uint32_t status = check_fields(account);
    if (status != TAEL_STATUS_CREATED) return status;
    if (account->flags & TAEL_ACCOUNT_FLAG_imported) {
        if (import_regresses(ledger, account->timestamp)) return TAEL_ACCOUNT_imported_event_timestamp_must_not_regress;
        *timestamp = account->timestamp;
    }

    const struct tael_account_line *line = tael_account_table_insert(&ledger->accounts, account, *timestamp);
    if (tael_audit_passed(&ledger->audit, line)) tael_audit_account(&ledger->audit, line, true);
    return TAEL_STATUS_CREATED;
}

void tael_account_take_back(struct tael_ledger *ledger) {
    TAEL_ASSERT(ledger->accounts.count > 0);
    const struct tael_account_line *line = &ledger->accounts.lines[ledger->accounts.count];
    if (tael_audit_passed(&ledger->audit, line)) tael_audit_account(&ledger->audit, line, false);
    tael_account_table_remove_youngest(&ledger->accounts);
}
