/* `tael verify`: reads a ledger's whole log, applies it again and audits what comes of it. Changes nothing. */
#include <string.h>

#include <jansson.h>

#include <tael/limits.h>

#include "cli/command.h"
#include "cli/offline.h"
#include "cli/output.h"
#include "cli/state.h"
#include "cli/threads.h"
#include "cli/touch.h"

#define VERIFY_OPTIONS(X, S)                                                                                           \
    X(S, NUMBER, until, "OP", 1, UINT64_MAX, UINT64_MAX, "stop behind this op: the state and digest as of then")       \
    X(S, NUMBER, workers, "N", 1, TAEL_WORKERS_MAX, 1, "threads that apply the log together; the digest is the same")  \
    X(S, FLAG, json, "", 0, 0, false, "print one JSON object")
TAEL_OPTIONS_DEFINE(verify_options, VERIFY_OPTIONS);

/* What was found. `problem` is NULL where all is well. */
struct finding {
    uint64_t op;
    uint64_t accounts;
    uint64_t transfers;
    bool balanced;
    bool scratch;
    tael_u128 digest;
    char log[512]; /* what the log holds, in words */
    const char *problem;
};

static int print_finding(const struct verify_options *options, const struct finding *finding) {
    char digest[33];
    (void)snprintf(digest, sizeof digest, "%016" PRIx64 "%016" PRIx64, tael_u128_high(finding->digest),
                   tael_u128_low(finding->digest));
    const int status = finding->problem == NULL ? TAEL_EXIT_DONE : TAEL_EXIT_FAILED;
    if (options->json) {
        const int printed = tael_json_print(json_pack(
            "{s:b, s:I, s:I, s:I, s:b, s:b, s:s}", "ok", finding->problem == NULL, "op", (json_int_t)finding->op,
            "accounts", (json_int_t)finding->accounts, "transfers", (json_int_t)finding->transfers, "balanced",
            finding->balanced, "scratch", finding->scratch, "digest", digest));
        return status == TAEL_EXIT_DONE ? printed : status;
    }
    char accounts[TAEL_NUMBER_TEXT_SIZE], transfers[TAEL_NUMBER_TEXT_SIZE];
    printf("log        %s\n", finding->log);
    printf("op         %" PRIu64 "\n", finding->op);
    printf("accounts   %s\n", tael_number_format(finding->accounts, accounts));
    printf("transfers  %s, burnt ids included\n", tael_number_format(finding->transfers, transfers));
    printf("balanced   %s\n", finding->balanced ? "yes: debits equal credits in every ledger" : "NO");
    printf("digest     %s\n", digest);
    if (finding->scratch) printf("scratch    " TAEL_SCRATCH_TEXT "\n");
    return status;
}

static void audit(struct tael_state *state, struct finding *finding) {
    const struct tael_ledger_usage usage = tael_ledger_usage(state->ledger);
    finding->op = usage.op;
    finding->accounts = usage.accounts;
    finding->transfers = usage.transfers;
    finding->balanced = tael_ledger_balanced(state->ledger);
    finding->digest = tael_state_digest(state);
    if (!finding->balanced) finding->problem = "debits and credits differ";
}

/* Replays and audits. An enum tael_exit: FAILED only where it could not be looked at, or the log is damaged. */
static int examine(struct tael_offline *offline, const struct verify_options *options, const char *path,
                   struct finding *finding) {
    const struct tael_state_options state_options = {
        .superblock = &offline->superblock,
        .blocks_max = 1,
        .reads_max = 1,
        .queries_max = 1,
        .workers = (uint32_t)options->workers,
        .idle = tael_threads_are_crowded((uint32_t)options->workers) ? TAEL_IDLE_SLEEP_AT_ONCE : TAEL_IDLE_SLEEP};
    struct tael_budget budget = {0};
    tael_state_budget(&state_options, &budget);
    struct tael_arena arena;
    const int unmapped = tael_memory_map(&arena, tael_budget_total(&budget));
    if (unmapped != 0) {
        tael_error(&tael_command_verify, "no memory for a ledger of this size: %s", strerror(-unmapped));
        return TAEL_EXIT_FAILED;
    }
    struct tael_state state;
    struct tael_report report = {0};
    struct tael_recovery_result result;
    tael_state_init(&state, &arena, &state_options);
    const struct tael_state_recovery recovery = {.disk = offline->disk,
                                                 .superblock = &offline->superblock,
                                                 .read_only = true,
                                                 .until = options->until,
                                                 .wants_digest = true};
    struct tael_touch touch = {0};
    struct tael_threads threads = {0};
    int error = tael_threads_begin(&threads, state.crew, (uint32_t)options->workers, NULL);
    if (error != 0) tael_report_set(&report, "no thread for a worker: %s", strerror(-error));
    tael_touch_begin(&touch, &arena);
    if (error == 0) error = tael_state_recover(&state, &recovery, &result, &report);
    tael_touch_end(&touch);
    if (error == 0) audit(&state, finding);
    tael_threads_end(&threads);
    if (error == 0) {
        (void)tael_recovery_describe(&result, finding->log, sizeof finding->log);
    } else {
        finding->problem = "the log is damaged or cannot be read";
        tael_error(&tael_command_verify, "%s: %s", path, report.text);
    }
    tael_memory_unmap(&arena);
    return error == 0 ? TAEL_EXIT_DONE : TAEL_EXIT_FAILED;
}

static int verify_run(const void *options_any, int operands_count, char **operands) {
    const struct verify_options *options = options_any;
    (void)operands_count;
    struct tael_offline offline;
    const struct tael_data_directory_options directory = {.read_only = true};
    const int opened = tael_offline_open(&offline, &tael_command_verify, operands[0], &directory);
    if (opened != TAEL_EXIT_DONE) return opened;
    struct finding finding = {.scratch = offline.superblock.scratch != 0};
    int status = examine(&offline, options, operands[0], &finding);
    tael_offline_close(&offline);
    if (status == TAEL_EXIT_DONE || options->json) {
        const int printed = print_finding(options, &finding);
        if (status == TAEL_EXIT_DONE) status = printed;
    }
    if (finding.problem != NULL) tael_error(&tael_command_verify, "%s: %s", operands[0], finding.problem);
    return status;
}

const struct tael_command tael_command_verify = {
    .name = "verify",
    .summary = "Checks a ledger offline: its log, double entry, its digest",
    .details =
        "Reads the whole log with all checksums and the chain of its blocks, applies it again from the first op,\n"
        "and adds up every account. The digest (docs/digest.md) is the same for every ledger that applied the\n"
        "same log. Nothing is changed; the server must be stopped.",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    TAEL_OPTIONS_OF(verify_options),
    .run = verify_run,
};
