/* The trial balance: the sums of all accounts' balances, per ledger, at one op, without stopping the ledger.
 *
 * 1. A scan sums the table's lines in order of number, some at a time. Between its slices the ledger goes on, and whatever
 *    changes in a line that was summed already is added here too; so when the scan reaches the end, the sums are those of
 *    that very moment. A line that no scan has passed costs the ledger one comparison.
 * 2. One scan at a time. Sums are 256 bits wide; ledgers beyond the table's room are not summed but told.
 * Owned by one worker; pure. */
#ifndef TAEL_ENGINE_AUDIT_H
#define TAEL_ENGINE_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/record.h>

#include "engine/account_table.h"

struct tael_audit {
    const struct tael_account_line *passed; /* lines below are in the sums; NULL where no scan is under way */
    const void *owner; /* who scans; NULL: nobody */
    struct tael_trial_balance_row *rows; /* open addressing by ledger; ledger 0 is free */
    uint32_t row_count;
    uint32_t ledger_min;
    uint32_t ledger_max;
    bool overflowed; /* more ledgers than rows */
};

size_t tael_audit_size_bytes(void);
void tael_audit_init(struct tael_audit *audit, struct tael_arena *arena);

/* Begins a scan over the ledgers ledger_min .. ledger_max. Nobody else may be scanning. */
void tael_audit_begin(struct tael_audit *audit, const void *owner, uint32_t ledger_min, uint32_t ledger_max);

/* Looks at `budget` lines more at the most, in use or not. True when all are in. */
bool tael_audit_scan(struct tael_audit *audit, const struct tael_account_table *accounts, uint64_t budget);

/* Ends the scan: writes the head row and at most `limit` rows in order of ledger. Returns the rows written. */
uint32_t tael_audit_end(struct tael_audit *audit, struct tael_trial_balance_row *out, uint32_t limit);

/* What changed in a line that the scan has passed (see tael_audit_passed). */
void tael_audit_account(struct tael_audit *audit, const struct tael_account_line *line, bool created);
void tael_audit_balance(struct tael_audit *audit, const struct tael_account_line *line, enum tael_balance balance,
                        tael_u128 amount, bool add);

/* Whether the books balance: in every ledger debits equal credits, pending and posted. Scans as often as the number of
 * ledgers takes. Nobody may be scanning. */
bool tael_audit_balanced(struct tael_audit *audit, const struct tael_account_table *accounts);

static inline bool tael_audit_passed(const struct tael_audit *audit, const struct tael_account_line *line) {
    return TAEL_UNLIKELY(line < audit->passed);
}

/* a += b, and a -= b, modulo 2^256. */
void tael_sum_add(struct tael_trial_balance_sum *a, tael_u128 b);
void tael_sum_subtract(struct tael_trial_balance_sum *a, tael_u128 b);

#endif
