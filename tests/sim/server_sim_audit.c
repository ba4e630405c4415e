/* The log of a simulated server against what its clients know: each logged request goes to the slow model, whose answers are
 * compared with those that clients got. */
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/request.h>

#include "persist/reader.h"
#include "tests/model/model.h"
#include "tests/sim/server_sim_parts.h"

struct audit {
    struct run *run;
    struct tael_model *model;
    const struct asked **reads; /* by op */
    uint32_t read_count;
    uint32_t read_next;
    bool *has_evict; /* of run->ended */
    struct tael_create_result results[TAEL_EVENTS_MAX + 1];
    uint8_t reply[TAEL_BODY_SIZE_MAX];
};

/* What it names itself; NULL: nobody's. */
static struct asked *asked_of(struct run *run, const struct tael_request *request) {
    const struct tael_transfer *first = tael_request_payload(request);
    static_assert(offsetof(struct tael_transfer, user_data_64) == offsetof(struct tael_account, user_data_64),
                  "where the tag stands");
    if (request->event_count == 0) return NULL;
    const uint64_t tag = first->user_data_64;
    return tag == 0 || tag > run->asked_count ? NULL : &run->asked[tag - 1];
}

static void create_audit(struct audit *audit, const struct tael_request *request) {
    struct run *run = audit->run;
    struct asked *asked = asked_of(run, request);
    const unsigned long long op = request->op;
    if (asked == NULL) {
        sim_fail(run, "op %llu was asked for by nobody", op);
        return;
    }
    if (++asked->executed > 1) sim_fail(run, "op %llu is there a second time", op);
    const bool is_same =
        asked->client == request->client && asked->slot == request->slot && asked->operation == request->operation &&
        asked->events == request->event_count &&
        asked->events_hash == sim_hash(tael_request_payload(request), (size_t)asked->events * TAEL_RECORD_SIZE);
    if (!is_same) sim_fail(run, "op %llu is not what was asked for", op);
    if (asked->outcome != ANSWERED) return;
    const void *body;
    const uint32_t size = tael_model_reply(audit->model, request->client, request->slot, &body);
    if (asked->op != op || asked->timestamp != request->timestamp) {
        sim_fail(run, "op %llu was answered as op %llu", op, (unsigned long long)asked->op);
    }
    if (asked->answer_hash != sim_hash(body, size)) sim_fail(run, "the answer to op %llu is not the model's", op);
}

static void reads_audit(struct audit *audit, uint64_t op) {
    for (; audit->read_next < audit->read_count && audit->reads[audit->read_next]->op <= op; audit->read_next++) {
        const struct asked *asked = audit->reads[audit->read_next];
        const uint32_t size =
            tael_model_read(audit->model, asked->operation, asked->body, asked->body_size, audit->reply);
        if (asked->op == op && asked->answer_hash == sim_hash(audit->reply, size)) continue;
        sim_fail(audit->run, "a read at op %llu was not answered as by the model", (unsigned long long)op);
        return;
    }
}

static void evict_audit(struct audit *audit, tael_u128 client) {
    for (uint32_t i = 0; i < audit->run->ended_count; i++) {
        if (audit->run->ended[i] == client) audit->has_evict[i] = true;
    }
}

static void request_audit(struct audit *audit, const struct tael_request *request) {
    tael_model_apply(audit->model, request, audit->results);
    if (tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE) create_audit(audit, request);
    if (request->operation == TAEL_OPERATION_evict) evict_audit(audit, request->client);
    reads_audit(audit, request->op);
}

static void block_audit(struct audit *audit, const struct tael_log_block *block) {
    const struct tael_request *request = (const void *)((const uint8_t *)block + TAEL_BLOCK_HEADER_SIZE);
    for (uint32_t i = 0; i < block->request_count && !sim_failed(audit->run); i++) {
        request_audit(audit, request);
        request = tael_request_next(request);
    }
}

static void log_audit(struct audit *audit) {
    struct run *run = audit->run;
    const struct tael_data_directory_options read_only = {.read_only = true};
    struct tael_disk *disk = disk_sim_disk(run->life.disk);
    struct tael_reader *reader;
    const struct tael_log_block *block;
    struct tael_place place;
    int result = tael_data_directory_open(disk, &read_only, &run->life.superblock, &run->life.report);
    if (result == 0) {
        const struct tael_reader_options options = {.disk = disk, .superblock = &run->life.superblock};
        result = tael_reader_open(&options, &reader, &run->life.report);
    }
    if (result != 0) {
        sim_fail(run, "the log cannot be read: %s", run->life.report.text);
        return;
    }
    reads_audit(audit, 0);
    while (!sim_failed(run) && (result = tael_reader_next(reader, &block, &place)) > 0) block_audit(audit, block);
    tael_reader_close(reader);
    if (result < 0) sim_fail(run, "the log cannot be read: %s", run->life.report.text);
}

static int read_compare(const void *a, const void *b) {
    const struct asked *const *left = a, *const *right = b;
    return ((*left)->op > (*right)->op) - ((*left)->op < (*right)->op);
}

static void reads_sort(struct audit *audit) {
    const struct run *run = audit->run;
    for (uint32_t i = 0; i < run->asked_count; i++) {
        const struct asked *asked = &run->asked[i];
        if (asked->is_read && asked->outcome == ANSWERED) audit->reads[audit->read_count++] = asked;
    }
    qsort(audit->reads, audit->read_count, sizeof(const struct asked *), read_compare);
}

/* What the log has of it is what its client knows. */
static void outcome_audit(struct run *run, const struct asked *asked) {
    const unsigned number = (unsigned)(asked - run->asked);
    if (asked->is_read) return;
    switch (asked->outcome) {
    case IN_FLIGHT:
        sim_fail(run, "request %u was never answered", number);
        return;
    case ANSWERED:
        if (asked->executed != 1) sim_fail(run, "request %u was answered, but is not there", number);
        return;
    case REFUSED:
    case UNSENT:
        if (asked->executed != 0) sim_fail(run, "request %u is there, but was refused or not sent", number);
        return;
    case UNKNOWN:
        if ((asked->found > 0) != (asked->executed == 1)) {
            sim_fail(run, "request %u was found %u times, and is there %u times", number, asked->found,
                     asked->executed);
        }
        return;
    }
}

static void verdict(struct audit *audit, const struct core_life_end *end) {
    struct run *run = audit->run;
    for (uint32_t i = 0; i < run->asked_count; i++) outcome_audit(run, &run->asked[i]);
    for (uint32_t i = 0; i < run->ended_count; i++) {
        if (!audit->has_evict[i]) sim_fail(run, "a session was ended that is not evicted in the log");
    }
    if (audit->read_next < audit->read_count) sim_fail(run, "a read showed an op that is not there");
    const struct tael_model_usage usage = tael_model_usage(audit->model);
    if (usage.op != end->op) sim_fail(run, "the log does not end with the last op");
    if (tael_model_digest(audit->model) + tael_model_sessions_digest(audit->model) != end->digest) {
        sim_fail(run, "the model's digest differs");
    }
}

void audit(struct run *run, const struct core_life_end *end) {
    struct audit *audit = calloc(1, sizeof *audit);
    TAEL_ASSERT(audit != NULL);
    audit->run = run;
    audit->model = tael_model_new();
    audit->reads = calloc(run->asked_count + 1, sizeof(const struct asked *));
    audit->has_evict = calloc(run->ended_count + 1, sizeof *audit->has_evict);
    TAEL_ASSERT(audit->reads != NULL);
    TAEL_ASSERT(audit->has_evict != NULL);
    reads_sort(audit);
    log_audit(audit);
    if (!sim_failed(run)) verdict(audit, end);
    disk_sim_crash(run->life.disk, DISK_SIM_CRASH_PROCESS);
    tael_model_free(audit->model);
    free(audit->reads);
    free(audit->has_evict);
    free(audit);
}
