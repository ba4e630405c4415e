/* `tael format`: makes an empty ledger in a data directory. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <jansson.h>

#include <tael/limits.h>

#include "cli/clock.h"
#include "cli/command.h"
#include "cli/offline.h"
#include "cli/output.h"
#include "cli/wide.h"
#include "persist/data_directory.h"

#define FORMAT_OPTIONS(X, S)                                                                                           \
    X(S, WIDE, cluster, "N", 0, 0, 0, "the ledger's number, which clients name")                                       \
    X(S, NUMBER, accounts_max, "N", TAEL_ACCOUNTS_MIN, TAEL_ACCOUNTS_MAX, TAEL_ACCOUNTS_DEFAULT,                       \
      "most accounts; `tael start` can raise it")                                                                      \
    X(S, NUMBER, transfers_max, "N", TAEL_TRANSFERS_MIN, TAEL_TRANSFERS_MAX, TAEL_TRANSFERS_DEFAULT,                   \
      "most transfers; `tael start` can raise it")                                                                     \
    X(S, NUMBER, sessions_max, "N", TAEL_SESSIONS_MIN, TAEL_SESSIONS_MAX, TAEL_SESSIONS_DEFAULT,                       \
      "most clients at once, by datagram each slot counts; `tael start` can raise it")                                 \
    X(S, SIZE, segment_size, "BYTES", TAEL_SEGMENT_SIZE_MIN, TAEL_SEGMENT_SIZE_MAX, TAEL_SEGMENT_SIZE_DEFAULT,         \
      "of the log's files; for good")                                                                                  \
    X(S, FLAG, scratch, "", 0, 0, false, "for measuring: acknowledges before it is durable; for good")                 \
    X(S, FLAG, json, "", 0, 0, false, "print one JSON object")
TAEL_OPTIONS_DEFINE(format_options, FORMAT_OPTIONS);

/* `size` random bytes that nobody can guess. 0, or a negative errno. */
static int random_fill(void *bytes, size_t size) {
    const ssize_t got = getrandom(bytes, size, 0); /* up to 256 bytes come whole */
    if (got < 0) return -errno;
    return (size_t)got == size ? 0 : -EIO;
}

static int ledger_make(const struct format_options *options, struct tael_disk *disk, struct tael_superblock *superblock,
                       struct tael_report *report) {
    struct tael_format_options format = {
        .cluster = options->cluster,
        .format_time_ns = tael_clock_read().wall_ns,
        .limits =
            {
                .accounts_max = options->accounts_max,
                .transfers_max = options->transfers_max,
                .sessions_max = options->sessions_max,
                .segment_size = options->segment_size,
            },
        .scratch = options->scratch,
        .segments = 1,
    };
    int error = random_fill(&format.log_id, sizeof format.log_id);
    if (error == 0) error = random_fill(&format.hash_key, sizeof format.hash_key);
    if (error != 0) {
        tael_report_set(report, "the kernel gives no random numbers: %s", strerror(-error));
        return error;
    }
    return tael_data_directory_format(disk, &format, superblock, report);
}

static int print_made(const struct format_options *options, const char *path,
                      const struct tael_superblock *superblock) {
    const struct tael_superblock_limits *limits = &superblock->limits;
    char cluster_buffer[TAEL_WIDE_TEXT_SIZE];
    const char *cluster = tael_wide_format(options->cluster, cluster_buffer);
    if (options->json) {
        return tael_json_print(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "directory", path, "cluster", cluster,
                                         "accounts_max", (json_int_t)limits->accounts_max, "transfers_max",
                                         (json_int_t)limits->transfers_max, "sessions_max",
                                         (json_int_t)limits->sessions_max, "segment_size",
                                         (json_int_t)limits->segment_size, "scratch", superblock->scratch != 0));
    }
    char accounts[TAEL_NUMBER_TEXT_SIZE], transfers[TAEL_NUMBER_TEXT_SIZE], sessions[TAEL_NUMBER_TEXT_SIZE];
    printf("formatted %s: cluster %s, up to %s accounts, %s transfers, %s sessions\n", path, cluster,
           tael_number_format(limits->accounts_max, accounts), tael_number_format(limits->transfers_max, transfers),
           tael_number_format(limits->sessions_max, sessions));
    if (superblock->scratch != 0) printf(TAEL_SCRATCH_TEXT "\n");
    return TAEL_EXIT_DONE;
}

static int format_run(const void *options_any, int operands_count, char **operands) {
    const struct format_options *options = options_any;
    (void)operands_count;
    const char *path = operands[0];
    struct tael_report report = {0};
    struct tael_offline offline;
    const int opened = tael_offline_open_disk(&offline, &tael_command_format, path, true);
    if (opened != TAEL_EXIT_DONE) return opened;
    const int error = ledger_make(options, offline.disk, &offline.superblock, &report);
    tael_offline_close(&offline);
    if (error != 0) {
        tael_error(&tael_command_format, "%s: %s", path, report.text);
        return TAEL_EXIT_FAILED;
    }
    return print_made(options, path, &offline.superblock);
}

const struct tael_command tael_command_format = {
    .name = "format",
    .summary = "Makes an empty ledger in a directory",
    .details = "DIR is made where it is missing, and must be empty. Its key and log id are random; nothing in it is a\n"
               "password, but whoever can read it can read the ledger.",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    TAEL_OPTIONS_OF(format_options),
    .run = format_run,
};
