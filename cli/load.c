/* `tael load`: ACH files into the ledger. Each file is read twice: first it is checked whole, then what is sound is
 * posted. docs/ach.md is the description for people.
 *
 * 1. Nothing is sent before the whole file has been read and found well formed.
 * 2. Nothing of a batch is sent whose control doesn't match.
 * 3. A transfer is the same to the byte each time its file is loaded, so the ledger itself tells what it has already. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/record.h>
#include <tael/status.h>

#include "cli/ach.h"
#include "cli/ach_file.h"
#include "cli/command.h"
#include "cli/connect.h"
#include "cli/id_set.h"
#include "cli/output.h"

#define ACH_LEDGER_DEFAULT 840 /* the US dollar in ISO 4217 */

#define LOAD_OPTIONS(X, S)                                                                                             \
    TAEL_CONNECT_OPTIONS(X, S)                                                                                         \
    X(S, NUMBER, ledger, "N", 1, UINT32_MAX, ACH_LEDGER_DEFAULT, "the ledger of all accounts and transfers")           \
    X(S, NUMBER, receiver_code, "N", 1, UINT16_MAX, 1, "the code of receivers' accounts")                              \
    X(S, NUMBER, settlement_code, "N", 1, UINT16_MAX, 2, "the code of originators' settlement accounts")               \
    X(S, NUMBER, batch, "N", 1, TAEL_EVENTS_MAX, TAEL_EVENTS_MAX, "transfers in one request")                          \
    X(S, NUMBER, problems, "N", 1, 1000000, 20, "how many problems of a file are shown")                               \
    X(S, FLAG, check, "", 0, 0, false, "check the files only: no server is needed, nothing is posted")
TAEL_OPTIONS_DEFINE(load_options, LOAD_OPTIONS);

#define LOAD_DETAILS                                                                                                   \
    "FILE is an ACH file in the NACHA format, packed by gzip or not. It is checked whole before anything is\n"         \
    "posted: of a malformed file nothing is, of a batch whose control does not match nothing either. Each\n"           \
    "entry becomes a transfer between the originator's settlement account and the receiver's account;\n"               \
    "accounts are opened as they appear. To load a file again, or after a load that was interrupted, is safe:\n"       \
    "each entry is posted once.\n"                                                                                     \
    "Prenotes, notices and remittance without an amount are counted and not posted; returns are posted the\n"          \
    "other way round. The exit status is 1 when anything was rejected. docs/ach.md tells the whole."

/* Why entries were not posted: the reader's reasons, the server's statuses, and what went for whole batches and files.
 * Numbered in this order. */
enum {
    CAUSE_BATCH_WRONG = TAEL_ACH_REASONS,
    CAUSE_FILE_WRONG,
    CAUSE_STATUS_FIRST,
    CAUSES = CAUSE_STATUS_FIRST + 128, /* by status of create_transfers; all are below */
};

struct cause {
    uint64_t count;
    uint64_t first_line;
};

/* What one file came to; or all of them. */
struct tally {
    struct tael_ach_totals totals; /* of all entries, as read */
    uint64_t batches, batches_wrong;
    uint64_t dispositions[TAEL_ACH_DISPOSITIONS]; /* of the entries of batches that match */
    uint64_t posted, duplicates, rejected;
    uint64_t posted_debits_cents, posted_credits_cents;
    uint64_t accounts_opened, accounts_known;
    uint64_t problems;
    uint64_t post_ns;
    bool is_control_matched;
    bool is_interrupted; /* the server or the file failed midway */
    struct cause causes[CAUSES];
    struct cause account_statuses[128];
};

struct load {
    const struct load_options *options;
    struct tael_client *client; /* NULL with --check */
    struct tael_id_set accounts_seen; /* sent already by this run */
    struct tael_account *accounts; /* to be sent: up to TAEL_EVENTS_MAX */
    struct tael_transfer *transfers; /* as many */
    struct tael_create_result *results; /* of either */
    uint32_t accounts_count, transfers_count;
    bool has_failed; /* the client or memory: nothing more can be sent */

    /* The file at hand. */
    const char *path;
    struct tael_ach *ach;
    struct tally tally;
    struct tally batch; /* the batch at hand while checking: counts only when its control matches */
    bool *batches_matched;
    uint32_t batches_count, batches_room;
    tael_u128 key;
    struct tael_progress progress;
};

static void memory_failed(struct load *load) {
    if (!load->has_failed) tael_error(&tael_command_load, "out of memory");
    load->has_failed = true;
}

static void cause_add(struct cause *cause, uint64_t count, uint64_t line) {
    if (count == 0) return;
    if (cause->count == 0 || line < cause->first_line) cause->first_line = line;
    cause->count += count;
}

static const char *cause_name(int cause) {
    if (cause == CAUSE_BATCH_WRONG) return "batch_wrong";
    if (cause == CAUSE_FILE_WRONG) return "file_wrong";
    if (cause < TAEL_ACH_REASONS) return tael_ach_reason_name((enum tael_ach_reason)cause);
    const char *name = tael_transfer_status_name((uint32_t)(cause - CAUSE_STATUS_FIRST));
    return name == NULL ? "unknown_status" : name;
}

static const char *cause_text(int cause) {
    if (cause == CAUSE_BATCH_WRONG) return "the batch's control doesn't match, or the batch is wrong otherwise";
    if (cause == CAUSE_FILE_WRONG) return "the file is malformed, or its control doesn't match";
    if (cause < TAEL_ACH_REASONS) return tael_ach_reason_text((enum tael_ach_reason)cause);
    const char *text = tael_transfer_status_text((uint32_t)(cause - CAUSE_STATUS_FIRST));
    return text == NULL ? "a status that this program doesn't know" : text;
}

/* --- the first reading: check --- */

static void check_problem(void *context, enum tael_ach_level level, uint64_t line, const char *text) {
    struct load *load = context;
    if (load->tally.problems++ >= load->options->problems) return;
    tael_progress_end(&load->progress);
    fprintf(stderr, "%s:%" PRIu64 ": %s%s\n", load->path, line, level == TAEL_ACH_BATCH_WRONG ? "(batch) " : "", text);
}

static void check_entry(void *context, const struct tael_ach_batch *batch, const struct tael_ach_entry *entry) {
    struct load *load = context;
    (void)batch;
    load->batch.dispositions[entry->disposition]++;
    if (entry->disposition == TAEL_ACH_REJECTED) cause_add(&load->batch.causes[entry->reason], 1, entry->line);
}

static bool batches_grow(struct load *load) {
    const uint32_t room = load->batches_room == 0 ? 64 : 2 * load->batches_room;
    bool *grown = realloc(load->batches_matched, room * sizeof *grown);
    if (grown == NULL) return false;
    load->batches_matched = grown;
    load->batches_room = room;
    return true;
}

static void check_batch_end(void *context, const struct tael_ach_batch *batch, bool is_matched,
                            const struct tael_ach_totals *totals) {
    struct load *load = context;
    struct tally *tally = &load->tally;
    if (load->batches_count == load->batches_room && !batches_grow(load)) {
        memory_failed(load);
        return;
    }
    load->batches_matched[load->batches_count++] = is_matched;
    tally->batches++;
    if (is_matched) {
        for (int i = 0; i < TAEL_ACH_DISPOSITIONS; i++) tally->dispositions[i] += load->batch.dispositions[i];
        for (int i = 0; i < TAEL_ACH_REASONS; i++) {
            cause_add(&tally->causes[i], load->batch.causes[i].count, load->batch.causes[i].first_line);
        }
        tally->rejected += load->batch.dispositions[TAEL_ACH_REJECTED];
    } else {
        tally->batches_wrong++;
        tally->rejected += totals->entries;
        cause_add(&tally->causes[CAUSE_BATCH_WRONG], totals->entries, batch->line);
    }
    memset(&load->batch, 0, sizeof load->batch);
}

/* Nothing of the file is posted, so every entry that was read counts as rejected, for this one cause. */
static void file_reject(struct tally *tally) {
    memset(tally->causes, 0, sizeof tally->causes);
    memset(tally->dispositions, 0, sizeof tally->dispositions);
    tally->rejected = tally->totals.entries;
    cause_add(&tally->causes[CAUSE_FILE_WRONG], tally->totals.entries, 1);
    tally->is_control_matched = false;
}

/* Reads the file once, with `events`; false when the file can't be read or is malformed, which has been said. */
static bool file_read(struct load *load, int file, const struct tael_ach_events *events, const char *what,
                      struct tael_ach_totals *totals) {
    char why[128];
    load->ach = tael_ach_new(events);
    if (load->ach == NULL) {
        tael_error(&tael_command_load, "out of memory");
        return false;
    }
    tael_progress_begin(&load->progress, what, "bytes", 0);
    const bool is_read = tael_ach_file_feed(file, load->ach, &load->progress, why);
    tael_progress_end(&load->progress);
    if (!is_read) {
        tael_error(&tael_command_load, "%s: %s", load->path, why);
        load->tally.problems++;
    }
    const bool is_sound = is_read && tael_ach_finish(load->ach);
    *totals = tael_ach_totals(load->ach);
    load->key = tael_ach_key(load->ach);
    tael_ach_free(load->ach);
    load->ach = NULL;
    return is_sound;
}

static bool file_check(struct load *load, int file) {
    const struct tael_ach_events events = {
        .context = load, .entry = check_entry, .batch_end = check_batch_end, .problem = check_problem};
    struct tally *tally = &load->tally;
    memset(&load->batch, 0, sizeof load->batch);
    load->batches_count = 0;
    const bool is_sound = file_read(load, file, &events, "checking", &tally->totals);
    if (tally->problems > load->options->problems) {
        fprintf(stderr, "%s: %" PRIu64 " more problems, not shown (see --problems)\n", load->path,
                tally->problems - load->options->problems);
    }
    tally->is_control_matched = is_sound && tally->batches_wrong == 0;
    if (!is_sound) file_reject(tally);
    return is_sound;
}

/* --- the second reading: post --- */

/* Sends events and returns their results, one each; NULL when that failed, which has been said. */
static const struct tael_create_result *events_send(struct load *load, uint8_t operation, const void *events,
                                                    uint32_t count) {
    struct tael_client_reply reply;
    if (tael_client_call(load->client, operation, events, count, load->results, TAEL_EVENTS_MAX, 0, &reply) == 0) {
        return load->results;
    }
    load->has_failed = true;
    load->tally.is_interrupted = true;
    tael_progress_end(&load->progress);
    tael_error(&tael_command_load, "%s", reply.why);
    return NULL;
}

static void accounts_flush(struct load *load) {
    if (load->accounts_count == 0 || load->has_failed) return;
    struct tally *tally = &load->tally;
    const struct tael_create_result *results =
        events_send(load, TAEL_OPERATION_create_accounts, load->accounts, load->accounts_count);
    for (uint32_t i = 0; results != NULL && i < load->accounts_count; i++) {
        const uint32_t status = results[i].status;
        if (status == TAEL_STATUS_CREATED) {
            tally->accounts_opened++;
        } else {
            tally->accounts_known++;
            if (status != TAEL_ACCOUNT_exists) cause_add(&tally->account_statuses[status & 127], 1, 0);
        }
    }
    load->accounts_count = 0;
}

static void transfer_count(struct tally *tally, const struct tael_transfer *transfer, uint32_t status) {
    if (status == TAEL_TRANSFER_exists) {
        tally->duplicates++;
    } else if (status != TAEL_STATUS_CREATED) {
        tally->rejected++;
        cause_add(&tally->causes[CAUSE_STATUS_FIRST + (status & 127)], 1, transfer->user_data_32);
    } else {
        const uint64_t cents = tael_u128_low(transfer->amount);
        const bool is_debit = transfer->code % 10 >= 5;
        tally->posted++;
        if (is_debit) tally->posted_debits_cents += cents;
        if (!is_debit) tally->posted_credits_cents += cents;
    }
}

/* Accounts first: a transfer whose account is missing would burn its id. */
static void transfers_flush(struct load *load) {
    accounts_flush(load);
    if (load->transfers_count == 0 || load->has_failed) return;
    const struct tael_create_result *results =
        events_send(load, TAEL_OPERATION_create_transfers, load->transfers, load->transfers_count);
    if (results == NULL) return;
    for (uint32_t i = 0; i < load->transfers_count; i++) {
        transfer_count(&load->tally, &load->transfers[i], results[i].status);
    }
    load->transfers_count = 0;
}

static void account_appear(struct load *load, tael_u128 id, uint16_t code, uint64_t routing) {
    const int added = tael_id_set_add(&load->accounts_seen, id);
    if (added < 0) memory_failed(load);
    if (added <= 0) return;
    if (load->accounts_count == TAEL_EVENTS_MAX) accounts_flush(load);
    load->accounts[load->accounts_count++] = (struct tael_account){
        .id = id, .user_data_64 = routing, .ledger = (uint32_t)load->options->ledger, .code = code};
}

static uint64_t routing_number(const struct tael_ach_entry *entry) {
    uint64_t number = 0;
    for (int i = 0; i < TAEL_ACH_ROUTING_SIZE; i++) number = number * 10 + (uint64_t)(entry->routing[i] - '0');
    return number;
}

static struct tael_transfer transfer_of(const struct load *load, const struct tael_ach_batch *batch,
                                        const struct tael_ach_entry *entry) {
    const uint32_t ledger = (uint32_t)load->options->ledger;
    const tael_u128 receiver = tael_ach_receiver_id(entry, ledger);
    const tael_u128 settlement = tael_ach_settlement_id(batch, ledger);
    /* A debit takes from the receiver; a return goes against the direction of what it returns. */
    const bool takes = entry->is_debit != (entry->disposition == TAEL_ACH_POST_RETURN);
    return (struct tael_transfer){
        .id = tael_ach_transfer_id(load->key, entry->ordinal),
        .debit_account_id = takes ? receiver : settlement,
        .credit_account_id = takes ? settlement : receiver,
        .amount = entry->amount_cents,
        .user_data_128 = load->key,
        .user_data_64 = entry->trace,
        .user_data_32 = (uint32_t)entry->line,
        .ledger = ledger,
        .code = entry->code,
    };
}

static void post_entry(void *context, const struct tael_ach_batch *batch, const struct tael_ach_entry *entry) {
    struct load *load = context;
    if (load->has_failed || batch->index >= load->batches_count || !load->batches_matched[batch->index]) return;
    if (entry->disposition != TAEL_ACH_POST && entry->disposition != TAEL_ACH_POST_RETURN) return;
    const struct tael_transfer transfer = transfer_of(load, batch, entry);
    account_appear(load, tael_ach_settlement_id(batch, transfer.ledger), (uint16_t)load->options->settlement_code, 0);
    account_appear(load, tael_ach_receiver_id(entry, transfer.ledger), (uint16_t)load->options->receiver_code,
                   routing_number(entry));
    load->transfers[load->transfers_count++] = transfer;
    if (load->transfers_count == load->options->batch) transfers_flush(load);
}

static void file_post(struct load *load, int file) {
    const struct tael_ach_events events = {.context = load, .entry = post_entry};
    const tael_u128 key_checked = load->key;
    const uint64_t begun_ns = tael_monotonic_ns();
    struct tael_ach_totals totals;
    load->accounts_count = 0;
    load->transfers_count = 0;
    const bool is_sound = file_read(load, file, &events, "posting", &totals);
    const bool is_same = is_sound && load->key == key_checked;
    transfers_flush(load);
    load->tally.post_ns = tael_monotonic_ns() - begun_ns;
    if (is_same) return;
    load->tally.is_interrupted = true;
    tael_error(&tael_command_load, "%s changed while it was being loaded; restore it and load it again", load->path);
}

/* --- the report --- */

static uint64_t rate_per_s(const struct tally *tally) {
    const uint64_t done = tally->posted + tally->duplicates;
    return tally->post_ns == 0 ? 0 : (uint64_t)((double)done * 1e9 / (double)tally->post_ns);
}

static void count_print(const char *name, uint64_t count) {
    char number[TAEL_NUMBER_TEXT_SIZE];
    printf("  %-14s%20s\n", name, tael_number_format(count, number));
}

static void cents_print(const char *name, uint64_t cents) {
    char number[TAEL_NUMBER_TEXT_SIZE];
    printf("  %-14s%20s\n", name, tael_cents_format(cents, number));
}

static void causes_print(const struct tally *tally) {
    for (int i = 0; i < CAUSES; i++) {
        const struct cause *cause = &tally->causes[i];
        if (cause->count == 0) continue;
        printf("    %" PRIu64 " %s: %s (first at line %" PRIu64 ")\n", cause->count, cause_name(i), cause_text(i),
               cause->first_line);
        if (i >= CAUSE_STATUS_FIRST && tael_transfer_status_is_transient((uint32_t)(i - CAUSE_STATUS_FIRST))) {
            printf("      such a failure uses the entry's id up: loading the file again gives id_already_failed\n");
        }
    }
    for (uint32_t status = 0; status < 128; status++) {
        if (tally->account_statuses[status].count == 0) continue;
        const char *text = tael_account_status_text(status);
        printf("    %" PRIu64 " accounts are in the ledger, but not as this load would open them: %s\n",
               tally->account_statuses[status].count, text == NULL ? "a status unknown to this program" : text);
    }
}

static void tally_print(const char *path, const struct tally *tally) {
    char number[TAEL_NUMBER_TEXT_SIZE];
    printf("%s: %s\n", path,
           tally->is_control_matched ? "sound, all control totals match"
           : tally->batches_wrong > 0 && tally->causes[CAUSE_FILE_WRONG].count == 0
               ? "batches whose control does not match were left out"
               : "refused");
    count_print("batches", tally->batches);
    count_print("entries", tally->totals.entries);
    if (tally->totals.addenda > 0) count_print("addenda", tally->totals.addenda);
    cents_print("debits", tally->totals.debits_cents);
    cents_print("credits", tally->totals.credits_cents);
    count_print("posted", tally->posted);
    count_print("duplicates", tally->duplicates);
    if (tally->dispositions[TAEL_ACH_PRENOTE] > 0) count_print("prenotes", tally->dispositions[TAEL_ACH_PRENOTE]);
    if (tally->dispositions[TAEL_ACH_REMITTANCE] > 0) {
        count_print("remittances", tally->dispositions[TAEL_ACH_REMITTANCE]);
    }
    if (tally->dispositions[TAEL_ACH_NOTICE] > 0) count_print("notices", tally->dispositions[TAEL_ACH_NOTICE]);
    count_print("rejected", tally->rejected);
    causes_print(tally);
    if (tally->post_ns == 0) return;
    count_print("new accounts", tally->accounts_opened);
    printf("  %-14s%20s a second (%.2f s)\n", "rate", tael_number_format(rate_per_s(tally), number),
           (double)tally->post_ns / 1e9);
    if (tally->is_interrupted) printf("  interrupted: load the file again; what is posted is not posted twice\n");
}

static json_t *causes_json(const struct tally *tally) {
    json_t *array = json_array();
    for (int i = 0; i < CAUSES; i++) {
        const struct cause *cause = &tally->causes[i];
        if (cause->count == 0) continue;
        const bool burns =
            i >= CAUSE_STATUS_FIRST && tael_transfer_status_is_transient((uint32_t)(i - CAUSE_STATUS_FIRST));
        json_array_append_new(array, json_pack("{s:s, s:s, s:I, s:I, s:b}", "reason", cause_name(i), "text",
                                               cause_text(i), "count", (json_int_t)cause->count, "first_line",
                                               (json_int_t)cause->first_line, "id_used_up", (int)burns));
    }
    return array;
}

/* The keys that a tally has alone and as a sum. */
static json_t *tally_json(const struct tally *tally) {
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:I}",
        "entries", (json_int_t)tally->totals.entries, "posted", (json_int_t)tally->posted, "duplicates",
        (json_int_t)tally->duplicates, "rejected", (json_int_t)tally->rejected, "debits",
        (json_int_t)tally->totals.debits_cents, "credits", (json_int_t)tally->totals.credits_cents, "control_matched",
        (int)tally->is_control_matched, "addenda", (json_int_t)tally->totals.addenda, "batches",
        (json_int_t)tally->batches, "batches_rejected", (json_int_t)tally->batches_wrong, "problems",
        (json_int_t)tally->problems, "prenotes", (json_int_t)tally->dispositions[TAEL_ACH_PRENOTE], "remittances",
        (json_int_t)tally->dispositions[TAEL_ACH_REMITTANCE], "notices",
        (json_int_t)tally->dispositions[TAEL_ACH_NOTICE], "returns",
        (json_int_t)tally->dispositions[TAEL_ACH_POST_RETURN], "posted_debits", (json_int_t)tally->posted_debits_cents,
        "posted_credits", (json_int_t)tally->posted_credits_cents, "accounts_opened",
        (json_int_t)tally->accounts_opened, "interrupted", (int)tally->is_interrupted, "seconds",
        (double)tally->post_ns / 1e9, "rate", (json_int_t)rate_per_s(tally));
}

static json_t *file_json(const char *path, const struct tally *tally) {
    json_t *object = tally_json(tally);
    json_t *name = json_string(path); /* NULL when it isn't UTF-8 */
    json_object_set_new(object, "file", name == NULL ? json_string("?") : name);
    json_object_set_new(object, "rejections", causes_json(tally));
    return object;
}

static void tally_sum(struct tally *sum, const struct tally *tally) {
    sum->totals.entries += tally->totals.entries;
    sum->totals.addenda += tally->totals.addenda;
    sum->totals.debits_cents += tally->totals.debits_cents;
    sum->totals.credits_cents += tally->totals.credits_cents;
    sum->batches += tally->batches;
    sum->batches_wrong += tally->batches_wrong;
    for (int i = 0; i < TAEL_ACH_DISPOSITIONS; i++) sum->dispositions[i] += tally->dispositions[i];
    sum->posted += tally->posted;
    sum->duplicates += tally->duplicates;
    sum->rejected += tally->rejected;
    sum->posted_debits_cents += tally->posted_debits_cents;
    sum->posted_credits_cents += tally->posted_credits_cents;
    sum->accounts_opened += tally->accounts_opened;
    sum->accounts_known += tally->accounts_known;
    sum->problems += tally->problems;
    sum->post_ns += tally->post_ns;
    sum->is_control_matched &= tally->is_control_matched;
    sum->is_interrupted |= tally->is_interrupted;
    for (int i = 0; i < CAUSES; i++) cause_add(&sum->causes[i], tally->causes[i].count, tally->causes[i].first_line);
    for (int i = 0; i < 128; i++) cause_add(&sum->account_statuses[i], tally->account_statuses[i].count, 0);
}

/* --- the command --- */

static void file_load(struct load *load, const char *path) {
    memset(&load->tally, 0, sizeof load->tally);
    load->path = path;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        tael_error(&tael_command_load, "%s: %s", path, strerror(errno));
        load->tally.problems = 1;
        return;
    }
    const bool is_sound = file_check(load, file);
    if (is_sound && load->client != NULL && !load->has_failed) file_post(load, file);
    if (load->has_failed) load->tally.is_interrupted = true;
    close(file);
}

static bool tally_is_clean(const struct tally *tally) {
    return tally->is_control_matched && tally->rejected == 0 && tally->problems == 0 && !tally->is_interrupted;
}

static int files_load(struct load *load, int count, char **paths) {
    struct tally *sum = calloc(1, sizeof *sum);
    json_t *files = json_array();
    int status = sum == NULL || files == NULL ? TAEL_EXIT_FAILED : TAEL_EXIT_DONE;
    if (status == TAEL_EXIT_DONE) sum->is_control_matched = true;
    for (int i = 0; i < count && sum != NULL; i++) {
        file_load(load, paths[i]);
        if (!tally_is_clean(&load->tally)) status = TAEL_EXIT_FAILED;
        if (load->options->json) json_array_append_new(files, file_json(paths[i], &load->tally));
        if (!load->options->json) tally_print(paths[i], &load->tally);
        tally_sum(sum, &load->tally);
        if (load->has_failed) break; /* the server is gone: the rest would fare the same */
    }
    if (sum != NULL && load->options->json) {
        json_t *object = tally_json(sum);
        json_object_set_new(object, "rejections", causes_json(sum));
        json_object_set(object, "files", files);
        if (tael_json_print(object) != TAEL_EXIT_DONE) status = TAEL_EXIT_FAILED;
    } else if (sum != NULL && count > 1) {
        tally_print("all files", sum);
    }
    json_decref(files);
    free(sum);
    return status;
}

static bool load_init(struct load *load, const struct load_options *options) {
    *load = (struct load){.options = options};
    load->accounts = malloc((size_t)TAEL_EVENTS_MAX * sizeof *load->accounts);
    load->transfers = malloc((size_t)TAEL_EVENTS_MAX * sizeof *load->transfers);
    load->results = malloc((size_t)TAEL_EVENTS_MAX * sizeof *load->results);
    if (load->accounts == NULL || load->transfers == NULL || load->results == NULL) {
        tael_error(&tael_command_load, "out of memory");
        return false;
    }
    if (options->check) return true;
    load->client = tael_connect(&tael_command_load, options->to, options->udp, options->cluster, options->timeout);
    return load->client != NULL;
}

static int load_run(const void *options_any, int operands_count, char **operands) {
    struct load *load = malloc(sizeof *load);
    if (load == NULL) return TAEL_EXIT_FAILED;
    int status = TAEL_EXIT_FAILED;
    if (load_init(load, options_any)) status = files_load(load, operands_count, operands);
    tael_client_close(load->client, 0);
    tael_id_set_free(&load->accounts_seen);
    free(load->batches_matched);
    free(load->accounts);
    free(load->transfers);
    free(load->results);
    free(load);
    return status;
}

const struct tael_command tael_command_load = {
    .name = "load",
    .summary = "Posts the entries of ACH files",
    .details = LOAD_DETAILS,
    .operands = "FILE...",
    .operands_min = 1,
    .operands_max = INT32_MAX,
    TAEL_OPTIONS_OF(load_options),
    .run = load_run,
};
