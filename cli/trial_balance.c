/* `tael trial-balance`; see trial_balance.h. */
#include "cli/trial_balance.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tael/limits.h>
#include <tael/operation.h>

#include "cli/command.h"
#include "cli/connect.h"
#include "cli/output.h"

/* Divides the sum by ten and returns the remainder. */
static unsigned sum_divide(uint64_t words[4]) {
    uint64_t rest = 0;
    for (int i = 3; i >= 0; i--) {
        const tael_u128 part = tael_u128_make(rest, words[i]);
        words[i] = (uint64_t)(part / 10);
        rest = (uint64_t)(part % 10);
    }
    return (unsigned)rest;
}

const char *tael_sum_format(const struct tael_trial_balance_sum *sum, char text[static TAEL_SUM_TEXT_SIZE]) {
    uint64_t words[4];
    memcpy(words, sum->words, sizeof words);
    char *place = text + TAEL_SUM_TEXT_SIZE - 1;
    *place = '\0';
    do {
        *--place = (char)('0' + sum_divide(words));
    } while ((words[0] | words[1] | words[2] | words[3]) != 0);
    return place;
}

static bool sums_equal(const struct tael_trial_balance_sum *a, const struct tael_trial_balance_sum *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

static bool row_is_balanced(const struct tael_trial_balance_row *row) {
    return sums_equal(&row->debits_pending, &row->credits_pending) &&
           sums_equal(&row->debits_posted, &row->credits_posted);
}

int tael_trial_balance_read(const struct tael_trial_balance_row *rows, uint32_t count, uint64_t op,
                            struct tael_trial_balance *out) {
    if (count == 0) return -EPROTO;
    struct tael_trial_balance balance = {
        .rows = rows + 1,
        .count = count - 1,
        .ledgers = rows[0].accounts,
        .op = op,
        .is_balanced = true,
    };
    if (rows[0].ledger != 0 || balance.ledgers < balance.count) return -EPROTO;
    for (uint32_t i = 0; i < balance.count; i++) balance.is_balanced &= row_is_balanced(&balance.rows[i]);
    *out = balance;
    return 0;
}

int tael_trial_balance_fetch(struct tael_client *client, uint32_t ledger_min, uint32_t ledger_max,
                             struct tael_trial_balance *out, char why[static TAEL_CLIENT_WHY_SIZE]) {
    const struct tael_trial_balance_filter filter = {.ledger_min = ledger_min, .ledger_max = ledger_max};
    const uint32_t rows_max = TAEL_LEDGERS_PER_REPLY_MAX + 1;
    struct tael_client_reply reply;
    struct tael_trial_balance_row *rows = calloc(rows_max, sizeof *rows);
    if (rows == NULL) {
        snprintf(why, TAEL_CLIENT_WHY_SIZE, "out of memory");
        return -ENOMEM;
    }
    int error = tael_client_call(client, TAEL_OPERATION_trial_balance, &filter, 1, rows, rows_max, 0, &reply);
    if (error != 0) {
        snprintf(why, TAEL_CLIENT_WHY_SIZE, "%s", reply.why);
    } else {
        error = tael_trial_balance_read(rows, reply.count, reply.op, out);
        if (error != 0) snprintf(why, TAEL_CLIENT_WHY_SIZE, "the server's reply is no trial balance");
    }
    if (error == 0) out->memory = rows;
    if (error != 0) free(rows);
    return error;
}

void tael_trial_balance_free(struct tael_trial_balance *balance) { free(balance->memory); }

static void sums_print(FILE *out, const char *name, const struct tael_trial_balance_sum *debits,
                       const struct tael_trial_balance_sum *credits) {
    char debits_text[TAEL_SUM_TEXT_SIZE], credits_text[TAEL_SUM_TEXT_SIZE];
    fprintf(out, "  %-9s%32s%32s  %s\n", name, tael_sum_format(debits, debits_text),
            tael_sum_format(credits, credits_text), sums_equal(debits, credits) ? "equal" : "DIFFERENT");
}

void tael_trial_balance_print(FILE *out, const struct tael_trial_balance *balance) {
    char number[TAEL_NUMBER_TEXT_SIZE];
    fprintf(out, "trial balance at op %" PRIu64 "\n", balance->op);
    for (uint32_t i = 0; i < balance->count; i++) {
        const struct tael_trial_balance_row *row = &balance->rows[i];
        fprintf(out, "ledger %" PRIu32 ", %s accounts\n", row->ledger, tael_number_format(row->accounts, number));
        fprintf(out, "  %-9s%32s%32s\n", "", "debits", "credits");
        sums_print(out, "posted", &row->debits_posted, &row->credits_posted);
        sums_print(out, "pending", &row->debits_pending, &row->credits_pending);
    }
    if (balance->count == 0) fprintf(out, "no accounts\n");
    fprintf(out, "%s\n", balance->is_balanced ? "balanced" : "NOT BALANCED");
}

static json_t *row_json(const struct tael_trial_balance_row *row) {
    char text[4][TAEL_SUM_TEXT_SIZE];
    return json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:b}", "ledger", (json_int_t)row->ledger, "accounts",
                     (json_int_t)row->accounts, "debits_posted", tael_sum_format(&row->debits_posted, text[0]),
                     "credits_posted", tael_sum_format(&row->credits_posted, text[1]), "debits_pending",
                     tael_sum_format(&row->debits_pending, text[2]), "credits_pending",
                     tael_sum_format(&row->credits_pending, text[3]), "balanced", (int)row_is_balanced(row));
}

json_t *tael_trial_balance_json(const struct tael_trial_balance *balance) {
    json_t *ledgers = json_array();
    for (uint32_t i = 0; i < balance->count; i++) json_array_append_new(ledgers, row_json(&balance->rows[i]));
    return json_pack("{s:b, s:I, s:o}", "balanced", (int)balance->is_balanced, "op", (json_int_t)balance->op, "ledgers",
                     ledgers);
}

#define TRIAL_BALANCE_OPTIONS(X, S)                                                                                    \
    TAEL_CONNECT_OPTIONS(X, S)                                                                                         \
    X(S, NUMBER, ledger_min, "N", 0, UINT32_MAX, 0, "leave out the ledgers below")                                     \
    X(S, NUMBER, ledger_max, "N", 1, UINT32_MAX, UINT32_MAX, "leave out the ledgers above")
TAEL_OPTIONS_DEFINE(trial_balance_options, TRIAL_BALANCE_OPTIONS);

/* A part of the ledgers, however balanced, is no answer to whether the books balance. */
static int incomplete_report(const struct tael_trial_balance *balance) {
    tael_error(&tael_command_trial_balance,
               "%" PRIu64 " ledgers match, but one reply holds %" PRIu32 " of them, up to ledger %" PRIu32
               "; ask for fewer with --ledger-min and --ledger-max",
               balance->ledgers, balance->count, balance->count == 0 ? 0 : balance->rows[balance->count - 1].ledger);
    return TAEL_EXIT_FAILED;
}

static int balance_report(const struct tael_trial_balance *balance, bool is_json) {
    if (balance->ledgers > balance->count) return incomplete_report(balance);
    int status = TAEL_EXIT_DONE;
    if (is_json) {
        status = tael_json_print(tael_trial_balance_json(balance));
    } else {
        tael_trial_balance_print(stdout, balance);
    }
    return balance->is_balanced ? status : TAEL_EXIT_FAILED;
}

static int trial_balance_run(const void *options_any, int operands_count, char **operands) {
    const struct trial_balance_options *options = options_any;
    (void)operands_count;
    (void)operands;
    if (options->ledger_min > options->ledger_max) {
        tael_error(&tael_command_trial_balance, "--ledger-min is above --ledger-max: no ledger would match");
        return TAEL_EXIT_USAGE;
    }
    struct tael_client *client =
        tael_connect(&tael_command_trial_balance, options->to, options->udp, options->cluster, options->timeout);
    if (client == NULL) return TAEL_EXIT_FAILED;
    struct tael_trial_balance balance;
    char why[TAEL_CLIENT_WHY_SIZE];
    int status = TAEL_EXIT_FAILED;
    if (tael_trial_balance_fetch(client, (uint32_t)options->ledger_min, (uint32_t)options->ledger_max, &balance, why) ==
        0) {
        status = balance_report(&balance, options->json);
        tael_trial_balance_free(&balance);
    } else {
        tael_error(&tael_command_trial_balance, "%s", why);
    }
    tael_client_close(client, 0);
    return status;
}

const struct tael_command tael_command_trial_balance = {
    .name = "trial-balance",
    .summary = "Sums debits and credits of each ledger at one op, and fails when they differ",
    .details =
        "The server adds up all accounts at one op, so the sums never differ for being taken under load: if they do,\n"
        "the books are wrong, and the exit status is 1. --json prints balanced, op and ledgers; sums are strings,\n"
        "since they may be wider than any number in JSON.",
    .operands = "",
    TAEL_OPTIONS_OF(trial_balance_options),
    .run = trial_balance_run,
};
