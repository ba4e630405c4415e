/* The trial balance: what the server sums up for each ledger at one op, fetched, judged and printed. */
#ifndef TAEL_CLI_TRIAL_BALANCE_H
#define TAEL_CLI_TRIAL_BALANCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <tael/client.h>

struct tael_trial_balance {
    const struct tael_trial_balance_row *rows; /* one a ledger, behind the head */
    void *memory; /* that holds them, where tael_trial_balance_fetch took it */
    uint32_t count;
    uint64_t ledgers; /* that match; more than `count` when one reply couldn't hold them */
    uint64_t op;
    bool is_balanced; /* of what is in rows: debits equal credits, pending and posted */
};

/* 0, to be given back with tael_trial_balance_free; or an error, with a sentence for people in `why`. */
int tael_trial_balance_fetch(struct tael_client *client, uint32_t ledger_min, uint32_t ledger_max,
                             struct tael_trial_balance *out, char why[static TAEL_CLIENT_WHY_SIZE]);
void tael_trial_balance_free(struct tael_trial_balance *balance);

/* The trial balance in the `count` rows of a reply, head included. -EPROTO: it is none, `out` is untouched. */
int tael_trial_balance_read(const struct tael_trial_balance_row *rows, uint32_t count, uint64_t op,
                            struct tael_trial_balance *out);

void tael_trial_balance_print(FILE *out, const struct tael_trial_balance *balance);

/* {"balanced": ..., "op": ..., "ledgers": [...]}; sums are strings, since they may have 78 digits. NULL: no memory. */
json_t *tael_trial_balance_json(const struct tael_trial_balance *balance);

enum { TAEL_SUM_TEXT_SIZE = 80 };

/* 256 bits in decimal. Returns a pointer into `text`. */
const char *tael_sum_format(const struct tael_trial_balance_sum *sum, char text[static TAEL_SUM_TEXT_SIZE]);

#endif
