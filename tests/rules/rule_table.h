/* Tables of rules: each row is one way to break one rule, rows stand in the order of the checks. The runner sends, to a
 * ledger under test, the base event broken in the way of each row, then broken in the ways of every two rows that can go
 * together: the earlier one must answer. After every rejection accounts and digest must be what they were.
 *
 * That two neighbours in the order of checks were never tried together is a failure, unless the table lists the pair as
 * one that cannot be. */
#ifndef TAEL_TESTS_RULE_TABLE_H
#define TAEL_TESTS_RULE_TABLE_H

#include "tests/support/story.h"

/* Which fields of `event` a row sets. Accounts and transfers share the numbering, by offset / 4. */
#define FIELD(type, name) (1ull << (offsetof(type, name) / 4))
#define ACCOUNT_FIELD(name) FIELD(struct tael_account, name)
#define TRANSFER_FIELD(name) FIELD(struct tael_transfer, name)

/* Timestamps, and a pending id, that are only known when the event is sent. */
enum rule_symbol {
    AT_BATCH = 1001, /* of the batch itself */
    AT_ACCOUNT_LAST, /* equal to the youngest account's */
    AT_TRANSFER_LAST, /* equal to the youngest transfer's */
    AT_GAP, /* older than now, and free */
    OWN_ID, /* for pending_id */
};

struct rule_row {
    uint32_t status;
    uint32_t also; /* a later rule that this row breaks by itself too; 0 none */
    uint64_t fields;
    uint16_t flags_set;
    uint16_t flags_clear;
    /* The event comes second in its batch, behind one that fails for its id of zero and has these flags. */
    bool second;
    uint16_t before_set;
    uint16_t before_clear;
    union {
        struct tael_account account;
        struct tael_transfer transfer;
        uint8_t bytes[TAEL_RECORD_SIZE];
    };
};

struct rule_pair {
    uint32_t first;
    uint32_t second;
};

struct rule_table {
    bool accounts;
    const void *base; /* a good event; its id is replaced by a fresh one unless a row or keep_id says otherwise */
    bool keep_id;
    const struct rule_row *rows;
    uint32_t row_count;
    /* Neighbours that no event can break together. */
    const struct rule_pair *exclusive;
    uint32_t exclusive_count;
    /* What the symbols stand for. */
    uint64_t account_last;
    uint64_t transfer_last;
    uint64_t gap;
};

void rule_table_run(struct story *story, const struct rule_table *table);

/* Sends the base event changed by one row (NULL: as it is) and returns the outcome. */
struct tael_create_result rule_table_send(struct story *story, const struct rule_table *table,
                                          const struct rule_row *row);

/* Adds the statuses that a table reaches to a set, for the test that none was left out. */
void rule_table_cover(const struct rule_table *table, bool *reached);

#define COUNT_OF(array) ((uint32_t)(sizeof(array) / sizeof(array)[0]))

#endif
