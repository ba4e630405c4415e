#include "engine/audit.h"

#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/limits.h>

#define AUDIT_SLOTS 8192 /* a power of two, and sparse even with every row in use */
static_assert(TAEL_LEDGERS_PER_REPLY_MAX <= AUDIT_SLOTS / 2 + 1, "probes stay short");

size_t tael_audit_size_bytes(void) { return tael_arena_share(AUDIT_SLOTS * sizeof(struct tael_trial_balance_row)); }

void tael_audit_init(struct tael_audit *audit, struct tael_arena *arena) {
    *audit = (struct tael_audit){.rows = tael_arena_take(arena, AUDIT_SLOTS * sizeof(struct tael_trial_balance_row))};
}

void tael_audit_begin(struct tael_audit *audit, const void *owner, uint32_t ledger_min, uint32_t ledger_max) {
    TAEL_ASSERT(audit->owner == NULL);
    TAEL_ASSERT(owner != NULL);
    memset(audit->rows, 0, AUDIT_SLOTS * sizeof *audit->rows);
    *audit =
        (struct tael_audit){.owner = owner, .rows = audit->rows, .ledger_min = ledger_min, .ledger_max = ledger_max};
}

void tael_sum_add(struct tael_trial_balance_sum *a, tael_u128 b) {
    const uint64_t addend[2] = {tael_u128_low(b), tael_u128_high(b)};
    uint64_t carry = 0;
    for (int i = 0; i < 4; i++) {
        const tael_u128 sum = (tael_u128)a->words[i] + (i < 2 ? addend[i] : 0) + carry;
        a->words[i] = tael_u128_low(sum);
        carry = tael_u128_high(sum);
    }
}

void tael_sum_subtract(struct tael_trial_balance_sum *a, tael_u128 b) {
    const uint64_t subtrahend[2] = {tael_u128_low(b), tael_u128_high(b)};
    uint64_t borrow = 0;
    for (int i = 0; i < 4; i++) {
        const tael_u128 difference = (tael_u128)a->words[i] - (i < 2 ? subtrahend[i] : 0) - borrow;
        a->words[i] = tael_u128_low(difference);
        borrow = tael_u128_high(difference) != 0;
    }
}

/* The row of a ledger, made if need be; NULL where it is filtered out or there is no room. */
static struct tael_trial_balance_row *row_of(struct tael_audit *audit, uint32_t ledger) {
    if (ledger < audit->ledger_min || ledger > audit->ledger_max) return NULL;
    uint32_t slot = (ledger * 2654435761u) >> 19;
    static_assert(AUDIT_SLOTS == 1u << (32 - 19), "the hash gives a slot");
    while (audit->rows[slot].ledger != 0) {
        if (audit->rows[slot].ledger == ledger) return &audit->rows[slot];
        slot = (slot + 1) & (AUDIT_SLOTS - 1);
    }
    if (audit->row_count == TAEL_LEDGERS_PER_REPLY_MAX) {
        audit->overflowed = true;
        return NULL;
    }
    audit->row_count++;
    audit->rows[slot].ledger = ledger;
    return &audit->rows[slot];
}

static struct tael_trial_balance_sum *sum_of(struct tael_trial_balance_row *row, enum tael_balance balance) {
    switch (balance) {
    case TAEL_DEBITS_PENDING:
        return &row->debits_pending;
    case TAEL_DEBITS_POSTED:
        return &row->debits_posted;
    case TAEL_CREDITS_PENDING:
        return &row->credits_pending;
    case TAEL_CREDITS_POSTED:
        return &row->credits_posted;
    case TAEL_BALANCES:
        break;
    }
    TAEL_UNREACHABLE("no balance has this number");
}

bool tael_audit_scan(struct tael_audit *audit, const struct tael_account_table *accounts, uint64_t budget) {
    const struct tael_account_line *const end = accounts->lines + accounts->count_max + 1;
    const struct tael_account_line *line = audit->passed == NULL ? accounts->lines : audit->passed;
    for (; line < end && budget > 0; line++, budget--) {
        if (line->id == 0) continue;
        struct tael_trial_balance_row *row = row_of(audit, line->ledger);
        if (row == NULL) continue;
        row->accounts++;
        for (int i = 0; i < TAEL_BALANCES; i++) {
            const enum tael_balance balance = (enum tael_balance)i;
            tael_sum_add(sum_of(row, balance), tael_account_table_balance(accounts, line, balance));
        }
    }
    audit->passed = line;
    return line == end;
}

void tael_audit_account(struct tael_audit *audit, const struct tael_account_line *line, bool created) {
    struct tael_trial_balance_row *row = row_of(audit, line->ledger);
    if (row == NULL) return;
    TAEL_ASSERT(created || row->accounts > 0);
    row->accounts += created ? 1 : (uint64_t)-1;
}

void tael_audit_balance(struct tael_audit *audit, const struct tael_account_line *line, enum tael_balance balance,
                        tael_u128 amount, bool add) {
    struct tael_trial_balance_row *row = row_of(audit, line->ledger);
    if (row == NULL) return;
    (add ? tael_sum_add : tael_sum_subtract)(sum_of(row, balance), amount);
}

static int compare_ledgers(const void *a, const void *b) {
    const uint32_t left = ((const struct tael_trial_balance_row *)a)->ledger;
    const uint32_t right = ((const struct tael_trial_balance_row *)b)->ledger;
    return (left > right) - (left < right);
}

uint32_t tael_audit_end(struct tael_audit *audit, struct tael_trial_balance_row *out, uint32_t limit) {
    uint32_t matching = 0;
    for (uint32_t slot = 0; slot < AUDIT_SLOTS; slot++) {
        /* A chain's rollback can leave a ledger without accounts. */
        if (audit->rows[slot].accounts == 0) continue;
        audit->rows[matching++] = audit->rows[slot];
    }
    qsort(audit->rows, matching, sizeof *audit->rows, compare_ledgers);
    const uint32_t rows = audit->overflowed ? 0 : matching < limit ? matching : limit;
    out[0] = (struct tael_trial_balance_row){.accounts = (uint64_t)matching + (audit->overflowed ? 1 : 0)};
    memcpy(out + 1, audit->rows, rows * sizeof *out);
    audit->passed = NULL;
    audit->owner = NULL;
    return rows + 1;
}

static bool rows_balance(const struct tael_audit *audit) {
    for (uint32_t slot = 0; slot < AUDIT_SLOTS; slot++) {
        const struct tael_trial_balance_row *row = &audit->rows[slot];
        if (memcmp(&row->debits_pending, &row->credits_pending, sizeof row->debits_pending) != 0) return false;
        if (memcmp(&row->debits_posted, &row->credits_posted, sizeof row->debits_posted) != 0) return false;
    }
    return true;
}

bool tael_audit_balanced(struct tael_audit *audit, const struct tael_account_table *accounts) {
    bool balanced = true;
    uint64_t ledger_min = 1;
    uint32_t ledger_max = UINT32_MAX;
    while (balanced && ledger_min <= UINT32_MAX) {
        tael_audit_begin(audit, accounts, (uint32_t)ledger_min, ledger_max);
        while (!tael_audit_scan(audit, accounts, accounts->count_max + 1)) {
        }
        const bool overflowed = audit->overflowed;
        balanced = overflowed || rows_balance(audit);
        audit->passed = NULL;
        audit->owner = NULL;
        if (overflowed) {
            ledger_max = (uint32_t)(ledger_min + (ledger_max - ledger_min) / 2); /* fewer ledgers at a time */
        } else {
            ledger_min = (uint64_t)ledger_max + 1;
            ledger_max = UINT32_MAX;
        }
    }
    return balanced;
}
