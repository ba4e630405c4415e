/* The ledger's digest and its double entry, recomputed from the whole state. docs/digest.md defines the digest. */
#include <xxhash.h>

#include "engine/ledger_state.h"

enum digest_kind {
    DIGEST_ACCOUNT = 1,
    DIGEST_TRANSFER = 2,
    DIGEST_PENDING = 3,
    DIGEST_BURNT = 4,
    DIGEST_HISTORY = 5,
    DIGEST_LAST = 6,
};

static tael_u128 element(enum digest_kind kind, const void *record, size_t size) {
    return tael_hash_u128(XXH3_128bits_withSeed(record, size, (XXH64_hash_t)kind));
}

static tael_u128 digest_accounts(const struct tael_ledger *ledger) {
    tael_u128 digest = 0;
    for (uint64_t number = 1; number <= ledger->accounts.count; number++) {
        struct tael_account record;
        tael_account_table_record(&ledger->accounts, &ledger->accounts.lines[number], &record);
        digest += element(DIGEST_ACCOUNT, &record, sizeof record);
    }
    return digest;
}

static tael_u128 digest_transfers(const struct tael_ledger *ledger) {
    tael_u128 digest = 0;
    for (uint64_t position = 0; position < ledger->journal.count; position++) {
        const struct tael_transfer *body = tael_journal_body(&ledger->journal, position);
        digest += element(DIGEST_TRANSFER, body, sizeof *body);
        if ((body->flags & TAEL_TRANSFER_FLAG_pending) == 0) continue;
        const struct {
            tael_u128 id;
            uint64_t status;
            uint64_t expires_at;
        } pending = {body->id, ledger->journal.traces[position].pending_status, tael_transfer_expires_at(body)};
        static_assert(sizeof pending == 32, "docs/digest.md");
        digest += element(DIGEST_PENDING, &pending, sizeof pending);
    }
    return digest;
}

static tael_u128 digest_history(const struct tael_ledger *ledger) {
    tael_u128 digest = 0;
    struct tael_change_event event;
    for (uint64_t position = 0; position < ledger->journal.count; position++) {
        tael_ledger_change_event(ledger, position, NULL, &event);
        digest += element(DIGEST_HISTORY, &event, sizeof event);
    }
    for (uint64_t i = 0; i < ledger->history.expiry_count; i++) {
        const struct tael_expiry_entry *expiry = &ledger->history.expiries[i];
        tael_ledger_change_event(ledger, expiry->position, expiry, &event);
        digest += element(DIGEST_HISTORY, &event, sizeof event);
    }
    return digest;
}

tael_u128 tael_ledger_digest(const struct tael_ledger *ledger) {
    tael_u128 digest = digest_accounts(ledger) + digest_transfers(ledger) + digest_history(ledger);
    for (uint64_t i = 0; i < ledger->journal.burnt_count; i++) {
        digest += element(DIGEST_BURNT, &ledger->journal.burnt[i], sizeof ledger->journal.burnt[i]);
    }
    const uint64_t last[2] = {ledger->op, ledger->timestamp};
    return digest + element(DIGEST_LAST, last, sizeof last);
}

bool tael_ledger_balanced(struct tael_ledger *ledger) { return tael_audit_balanced(&ledger->audit, &ledger->accounts); }
