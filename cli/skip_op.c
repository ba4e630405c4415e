/* `tael skip-op`: has one op left out of every later replay. For the day when an op always fails an assertion. */
#include <tael/request.h>

#include "cli/command.h"
#include "cli/offline.h"
#include "persist/recovery.h"

#define SKIP_OP_OPTIONS(X, S)                                                                                          \
    X(S, NUMBER, op, "N", 1, UINT64_MAX, 0, "the op to leave out; the failed assertion names it")
TAEL_OPTIONS_DEFINE(skip_op_options, SKIP_OP_OPTIONS);

/* What the op is, found in the log. */
struct search {
    uint64_t op;
    uint64_t op_last;
    struct tael_request found; /* op 0: it is not there */
};

static int search_block(void *context, const struct tael_log_block *block, const struct tael_place *place) {
    struct search *search = context;
    (void)place;
    search->op_last = block->op_last;
    if (search->op < block->op_first || search->op > block->op_last) return 0;
    const struct tael_request *request =
        (const struct tael_request *)(const void *)((const uint8_t *)block + TAEL_BLOCK_HEADER_SIZE);
    for (uint64_t op = block->op_first; op < search->op; op++) request = tael_request_next(request);
    search->found = *request;
    return 0;
}

/* Reads the log, which needs no applying for this. An enum tael_exit. */
static int search_log(const char *path, struct search *search) {
    struct tael_offline offline;
    const struct tael_data_directory_options directory = {.read_only = true};
    const int opened = tael_offline_open(&offline, &tael_command_skip_op, path, &directory);
    if (opened != TAEL_EXIT_DONE) return opened;
    struct tael_report report = {0};
    struct tael_recovery_result result;
    const struct tael_recovery_options options = {.disk = offline.disk,
                                                  .superblock = &offline.superblock,
                                                  .block = search_block,
                                                  .context = search,
                                                  .read_only = true};
    const int error = tael_recovery_run(&options, &result, &report);
    tael_offline_close(&offline);
    if (error != 0) {
        tael_error(&tael_command_skip_op, "%s: %s", path, report.text);
        return TAEL_EXIT_FAILED;
    }
    if (search->found.op == 0) {
        tael_error(&tael_command_skip_op, "%s: there is no op %" PRIu64 ", the last one is %" PRIu64, path, search->op,
                   search->op_last);
        return TAEL_EXIT_FAILED;
    }
    return TAEL_EXIT_DONE;
}

static int skip_op_run(const void *options_any, int operands_count, char **operands) {
    const struct skip_op_options *options = options_any;
    (void)operands_count;
    if (options->op == 0) {
        tael_error(&tael_command_skip_op, "--op is missing: which op?");
        return TAEL_EXIT_USAGE;
    }
    struct search search = {.op = options->op};
    const int searched = search_log(operands[0], &search);
    if (searched != TAEL_EXIT_DONE) return searched;
    struct tael_offline offline;
    const struct tael_data_directory_options directory = {.skip_op = options->op};
    const int opened = tael_offline_open(&offline, &tael_command_skip_op, operands[0], &directory);
    if (opened != TAEL_EXIT_DONE) return opened;
    tael_offline_close(&offline);
    printf("op %" PRIu64 " (%s, %" PRIu32 " events, of client %016" PRIx64 "%016" PRIx64
           ") is left out from now on; that client's session ends there\n",
           options->op, tael_operation_info(search.found.operation).name, search.found.event_count,
           tael_u128_high(search.found.client), tael_u128_low(search.found.client));
    return TAEL_EXIT_DONE;
}

const struct tael_command tael_command_skip_op = {
    .name = "skip-op",
    .summary = "Leaves one op out of the ledger, where it always fails an assertion",
    .details =
        "The last resort, see docs/operations.md, \"When an assertion fails\": keep a copy of the directory first.\n"
        "The op stays in the log and is never applied again; its client is evicted and has to open a new session.",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    TAEL_OPTIONS_OF(skip_op_options),
    .run = skip_op_run,
};
