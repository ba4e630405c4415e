/* `tael inspect`: what stands in a ledger's directory, for people: superblock, segments, blocks, requests, events. Reads only, applies
 * nothing; goes as far as the log can be read and says where and why that ends. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tael/bits.h>
#include <tael/flag.h>
#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/record.h>
#include <tael/request.h>

#include "cli/command.h"
#include "cli/offline.h"
#include "cli/output.h"
#include "cli/wide.h"
#include "persist/reader.h"

#define INSPECT_OPTIONS(X, S)                                                                                          \
    X(S, NUMBER, from, "OP", 1, UINT64_MAX, 0, "show the blocks from the one with this op on, not the last ones")      \
    X(S, NUMBER, blocks, "N", 0, 1000, 5, "how many blocks are shown")                                                 \
    X(S, NUMBER, requests, "N", 0, UINT32_MAX, 20, "how many requests of each block are shown")                        \
    X(S, NUMBER, events, "N", 0, UINT32_MAX, 0, "how many events of each request are shown")                           \
    X(S, NUMBER, segments, "N", 0, UINT32_MAX, 10, "how many segments are shown, the last ones")                       \
    X(S, FLAG, json, "", 0, 0, false, "print one JSON object")
TAEL_OPTIONS_DEFINE(inspect_options, INSPECT_OPTIONS);

/* A copy of a block that was read. */
struct kept {
    struct tael_log_block *block;
    size_t room;
    struct tael_place place;
};

/* The blocks to be shown: a ring of the last ones read, or the first ones from --from on. */
struct selection {
    struct kept *kept;
    uint64_t room;
    uint64_t count; /* that were put in; the ring holds the last `room` of them */
};

struct inspection {
    const struct inspect_options *options;
    struct tael_offline offline;
    struct tael_reader *reader;
    struct selection selection;
    bool is_read_to_end;
    struct tael_report report; /* of a read that failed; empty otherwise */
};

/* --- values --- */

static json_t *u128_json(tael_u128 value) {
    char text[TAEL_WIDE_TEXT_SIZE];
    return json_string(tael_wide_format(value, text));
}

static json_t *time_json(uint64_t timestamp_ns) {
    char text[64] = "", whole[128];
    const time_t seconds = (time_t)(timestamp_ns / TAEL_NS_PER_S);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) != NULL) strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(whole, sizeof whole, "%s.%09" PRIu64 "Z", text, (uint64_t)(timestamp_ns % TAEL_NS_PER_S));
    return json_string(whole);
}

static json_t *number_json(uint64_t number) { return json_integer((json_int_t)number); }

#define FLAG_NAME(bit, name)                                                                                           \
    if ((flags & (1u << (bit))) != 0) json_array_append_new(names, json_string(#name));

static json_t *account_flags_json(uint16_t flags) {
    json_t *names = json_array();
    TAEL_ACCOUNT_FLAG_TABLE(FLAG_NAME)
    return names;
}

static json_t *transfer_flags_json(uint16_t flags) {
    json_t *names = json_array();
    TAEL_TRANSFER_FLAG_TABLE(FLAG_NAME)
    return names;
}

/* --- what stands in the directory, as JSON; the text is made of it --- */

static json_t *account_json(const struct tael_account *account) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "id", u128_json(account->id), "ledger",
                     number_json(account->ledger), "code", number_json(account->code), "flags",
                     account_flags_json(account->flags), "user_data_128", u128_json(account->user_data_128),
                     "user_data_64", u128_json(account->user_data_64), "user_data_32",
                     (json_int_t)account->user_data_32);
}

static json_t *transfer_json(const struct tael_transfer *transfer) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "id", u128_json(transfer->id),
                     "debit_account_id", u128_json(transfer->debit_account_id), "credit_account_id",
                     u128_json(transfer->credit_account_id), "amount", u128_json(transfer->amount), "pending_id",
                     u128_json(transfer->pending_id), "ledger", number_json(transfer->ledger), "code",
                     number_json(transfer->code), "flags", transfer_flags_json(transfer->flags), "timeout",
                     number_json(transfer->timeout), "user_data_128", u128_json(transfer->user_data_128),
                     "user_data_64", u128_json(transfer->user_data_64), "user_data_32",
                     (json_int_t)transfer->user_data_32);
}

static json_t *events_json(const struct tael_request *request, uint64_t most) {
    json_t *events = json_array();
    const void *payload = tael_request_payload(request);
    const bool are_accounts = tael_operation_creates_accounts(request->operation);
    for (uint32_t i = 0; i < request->event_count && i < most; i++) {
        json_t *event = are_accounts ? account_json((const struct tael_account *)payload + i)
                                     : transfer_json((const struct tael_transfer *)payload + i);
        json_array_append_new(events, event);
    }
    return events;
}

static json_t *request_json(const struct tael_request *request, uint64_t events_most) {
    const char *name = tael_operation_info(request->operation).name;
    return json_pack("{s:I, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:o}", "op", (json_int_t)request->op, "operation",
                     name == NULL ? "unknown" : name, "time", time_json(request->timestamp), "client",
                     u128_json(request->client), "session", (json_int_t)request->session, "request",
                     (json_int_t)request->request, "batch_count", (json_int_t)request->batch_count, "event_count",
                     (json_int_t)request->event_count, "events", events_json(request, events_most));
}

static json_t *block_json(const struct kept *kept, const struct inspect_options *options) {
    const struct tael_log_block *block = kept->block;
    json_t *requests = json_array();
    const struct tael_request *request = (const struct tael_request *)((const uint8_t *)block + TAEL_BLOCK_HEADER_SIZE);
    for (uint32_t i = 0; i < block->request_count && i < options->requests; i++) {
        json_array_append_new(requests, request_json(request, options->events));
        request = tael_request_next(request);
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "sequence", (json_int_t)block->sequence,
                     "segment", (json_int_t)kept->place.segment, "offset", (json_int_t)kept->place.offset, "size",
                     (json_int_t)block->size, "op_first", (json_int_t)block->op_first, "op_last",
                     (json_int_t)block->op_last, "request_count", (json_int_t)block->request_count, "incarnation",
                     (json_int_t)block->incarnation, "term", (json_int_t)block->term, "durable",
                     (json_int_t)block->durable, "requests", requests);
}

static json_t *superblock_json(const struct tael_superblock *superblock) {
    json_t *skipped = json_array();
    for (int i = 0; i < TAEL_SKIPPED_OPS_MAX; i++) {
        if (superblock->skipped_ops[i] != 0) json_array_append_new(skipped, number_json(superblock->skipped_ops[i]));
    }
    const struct tael_superblock_limits *limits = &superblock->limits;
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:b, s:o}", "format_version",
                     (json_int_t)superblock->format_version, "version", (json_int_t)superblock->version, "incarnation",
                     (json_int_t)superblock->incarnation, "term", (json_int_t)superblock->term, "cluster",
                     u128_json(superblock->cluster), "format_time", time_json(superblock->format_time), "accounts_max",
                     (json_int_t)limits->accounts_max, "transfers_max", (json_int_t)limits->transfers_max,
                     "sessions_max", (json_int_t)limits->sessions_max, "segment_size", (json_int_t)limits->segment_size,
                     "scratch", superblock->scratch != 0, "skipped_ops", skipped);
}

static json_t *segment_json(struct inspection *inspection, uint64_t number) {
    struct tael_segment_header header;
    const char *problem = NULL;
    const int error = tael_reader_segment_header(inspection->reader, number, &header, &problem);
    if (error == -EBADMSG && tael_bytes_are_zero(&header, sizeof header)) {
        return json_pack("{s:I, s:s}", "number", (json_int_t)number, "state", "prepared");
    }
    if (error != 0) {
        return json_pack("{s:I, s:s}", "number", (json_int_t)number, "problem",
                         problem != NULL ? problem : strerror(-error));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "number", (json_int_t)header.number, "sequence_first",
                     (json_int_t)header.sequence_first, "op_first", (json_int_t)header.op_first, "in_flight_max",
                     (json_int_t)header.in_flight_max, "incarnation", (json_int_t)header.incarnation, "size",
                     (json_int_t)header.size);
}

static json_t *segments_json(struct inspection *inspection) {
    json_t *segments = json_array();
    const struct tael_reader_state *state = tael_reader_state(inspection->reader);
    if (state->segment_first == 0) return segments;
    const uint64_t count = state->segment_last - state->segment_first + 1;
    const uint64_t shown = count < inspection->options->segments ? count : inspection->options->segments;
    for (uint64_t number = state->segment_last - shown + 1; number <= state->segment_last; number++) {
        json_array_append_new(segments, segment_json(inspection, number));
    }
    return segments;
}

static json_t *blocks_json(const struct inspection *inspection) {
    json_t *blocks = json_array();
    const struct selection *selection = &inspection->selection;
    const uint64_t shown = selection->count < selection->room ? selection->count : selection->room;
    for (uint64_t i = selection->count - shown; i < selection->count; i++) {
        json_array_append_new(blocks, block_json(&selection->kept[i % selection->room], inspection->options));
    }
    return blocks;
}

/* What was read of the log, and why that ended. */
static json_t *end_json(const struct inspection *inspection) {
    const struct tael_reader_state *state = tael_reader_state(inspection->reader);
    const char *reason = "nothing stands behind the last block";
    if (state->stop_reason != NULL) reason = state->stop_reason;
    if (!inspection->is_read_to_end) reason = "as many blocks as asked for were found";
    if (inspection->report.text[0] != '\0') reason = inspection->report.text;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s}", "blocks", (json_int_t)state->blocks, "requests",
                     (json_int_t)state->requests, "bytes", (json_int_t)state->bytes, "op_last",
                     (json_int_t)state->op_last, "sequence_last", (json_int_t)state->sequence_last, "segment",
                     (json_int_t)state->next.segment, "offset", (json_int_t)state->next.offset, "clean",
                     (int)(inspection->is_read_to_end && state->confirmed && state->stop_reason == NULL), "reason",
                     reason);
}

/* --- the text --- */

/* Prints a scalar, or an array of strings joined by '+'. */
static void value_print(const json_t *value) {
    if (json_is_string(value)) printf("%s", json_string_value(value));
    if (json_is_integer(value)) printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (json_is_boolean(value)) printf("%s", json_is_true(value) ? "yes" : "no");
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i > 0) putchar('+');
        value_print(json_array_get(value, i));
    }
    if (json_is_array(value) && json_array_size(value) == 0) putchar('-');
}

/* One line: the object's members but `nested`, which is printed below by the caller. */
static void line_print(int indent, const char *title, json_t *object, const char *nested) {
    const char *key;
    json_t *value;
    printf("%*s%s", indent, "", title);
    json_object_foreach(object, key, value) {
        if (nested != NULL && strcmp(key, nested) == 0) continue;
        printf("  %s ", key);
        value_print(value);
    }
    putchar('\n');
}

static void block_print(json_t *block) {
    line_print(0, "block", block, "requests");
    const json_t *requests = json_object_get(block, "requests");
    for (size_t i = 0; i < json_array_size(requests); i++) {
        json_t *request = json_array_get(requests, i);
        line_print(2, "request", request, "events");
        const json_t *events = json_object_get(request, "events");
        for (size_t j = 0; j < json_array_size(events); j++) line_print(4, "event", json_array_get(events, j), NULL);
    }
}

static void inspection_print(json_t *object) {
    const json_t *segments = json_object_get(object, "segments"), *blocks = json_object_get(object, "blocks");
    line_print(0, "superblock", json_object_get(object, "superblock"), NULL);
    for (size_t i = 0; i < json_array_size(segments); i++) line_print(0, "segment", json_array_get(segments, i), NULL);
    for (size_t i = 0; i < json_array_size(blocks); i++) block_print(json_array_get(blocks, i));
    line_print(0, "end", json_object_get(object, "end"), NULL);
}

/* --- reading --- */

static int keep(struct selection *selection, const struct tael_log_block *block, const struct tael_place *place) {
    if (selection->room == 0) return 0;
    struct kept *kept = &selection->kept[selection->count % selection->room];
    if (kept->room < block->size) {
        struct tael_log_block *grown = realloc(kept->block, block->size);
        if (grown == NULL) return -ENOMEM;
        kept->block = grown;
        kept->room = block->size;
    }
    memcpy(kept->block, block, block->size);
    kept->place = *place;
    selection->count++;
    return 0;
}

/* Reads until the end, or until enough was found from --from on. */
static int blocks_read(struct inspection *inspection) {
    const uint64_t from = inspection->options->from;
    struct tael_progress progress;
    tael_progress_begin(&progress, "reading the log", "blocks", 0);
    int error = 0;
    while (error == 0 && (from == 0 || inspection->selection.count < inspection->options->blocks)) {
        const struct tael_log_block *block;
        struct tael_place place;
        const int found = tael_reader_next(inspection->reader, &block, &place);
        inspection->is_read_to_end = found == 0;
        if (found == 0) break;
        error = found < 0 ? found : 0;
        if (error == 0 && block->op_last >= from) error = keep(&inspection->selection, block, &place);
        tael_progress_show(&progress, tael_reader_state(inspection->reader)->blocks);
    }
    tael_progress_end(&progress);
    return error;
}

static int inspection_report(struct inspection *inspection) {
    json_t *object =
        json_pack("{s:o, s:o, s:o, s:o}", "superblock", superblock_json(&inspection->offline.superblock), "segments",
                  segments_json(inspection), "blocks", blocks_json(inspection), "end", end_json(inspection));
    if (inspection->options->json || object == NULL) return tael_json_print(object);
    inspection_print(object);
    json_decref(object);
    return TAEL_EXIT_DONE;
}

static int inspection_run(struct inspection *inspection) {
    const struct tael_reader_options options = {.disk = inspection->offline.disk,
                                                .superblock = &inspection->offline.superblock};
    int error = tael_reader_open(&options, &inspection->reader, &inspection->report);
    if (error != 0) {
        tael_error(&tael_command_inspect, "%s", inspection->report.text);
        return TAEL_EXIT_FAILED;
    }
    inspection->selection.room = inspection->options->blocks;
    inspection->selection.kept = calloc(inspection->options->blocks + 1, sizeof *inspection->selection.kept);
    error = inspection->selection.kept == NULL ? -ENOMEM : blocks_read(inspection);
    const int status = inspection_report(inspection);
    if (error != 0) {
        tael_error(&tael_command_inspect, "%s",
                   inspection->report.text[0] != '\0' ? inspection->report.text : strerror(-error));
    }
    tael_reader_close(inspection->reader);
    return error == 0 ? status : TAEL_EXIT_FAILED;
}

static int inspect_run(const void *options_any, int operands_count, char **operands) {
    struct inspection inspection = {.options = options_any};
    (void)operands_count;
    const struct tael_data_directory_options directory = {.read_only = true};
    int status = tael_offline_open(&inspection.offline, &tael_command_inspect, operands[0], &directory);
    if (status != TAEL_EXIT_DONE) return status;
    status = inspection_run(&inspection);
    for (uint64_t i = 0; i < inspection.selection.room && inspection.selection.kept != NULL; i++) {
        free(inspection.selection.kept[i].block);
    }
    free(inspection.selection.kept);
    tael_offline_close(&inspection.offline);
    return status;
}

const struct tael_command tael_command_inspect = {
    .name = "inspect",
    .summary = "Shows what stands in a ledger's log: segments, blocks, requests, events",
    .details =
        "Reads the log from its beginning, as far as it holds, and shows the last blocks, or those from an op on.\n"
        "Nothing is changed; the server must be stopped. 'end' says what was read and why it ended there; 'clean'\n"
        "is what a server that was stopped leaves. Whether a damaged end is the tail of a crash or a loss is for\n"
        "'tael verify' to say.",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    TAEL_OPTIONS_OF(inspect_options),
    .run = inspect_run,
};
