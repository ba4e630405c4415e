/* The trial balance: what the server sums up for each ledger at one op, fetched, judged and printed. */
#ifndef TAEL_CLI_TRIAL_BALANCE_H
#define TAEL_CLI_TRIAL_BALANCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <tael/record.h>

#include "io/client.h"

struct tael_trial_balance {
    const struct tael_trial_balance_row *rows; /* in the client's reply buffer: valid until its next call */
    uint32_t count;
    uint64_t ledgers; /* that match; more than `count` when one reply couldn't hold them */
    uint64_t op;
    bool is_balanced; /* of what is in rows: debits equal credits, pending and posted */
};

/* 0; or an error of tael_client_request; -EPROTO: the reply is no trial balance. */
int tael_trial_balance_fetch(struct tael_client *client, uint32_t ledger_min, uint32_t ledger_max, uint64_t timeout_ns,
                             struct tael_trial_balance *out);

/* 0; -EPROTO: the reply is no trial balance, `out` is untouched. */
int tael_trial_balance_read(const struct tael_client_reply *reply, struct tael_trial_balance *out);

void tael_trial_balance_print(const struct tael_trial_balance *balance);

/* {"balanced": ..., "op": ..., "ledgers": [...]}; sums are strings, since they may have 78 digits. NULL: no memory. */
json_t *tael_trial_balance_json(const struct tael_trial_balance *balance);

enum { TAEL_SUM_TEXT_SIZE = 80 };

/* 256 bits in decimal. Returns a pointer into `text`. */
const char *tael_sum_format(const struct tael_trial_balance_sum *sum, char text[static TAEL_SUM_TEXT_SIZE]);

#endif
