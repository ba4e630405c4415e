/* Prints what the slow model makes of a ledger's log, as one JSON object: op, accounts, transfers, balanced, digest.
 *
 * The log is read with the reader of persist/, up to the last block that holds, as recovery does; nothing is written. Each
 * request goes to the model of tests/model. Sessions are kept here, in a plain list, with their replies whole: a second
 * reading of what engine/sessions.c does in a bounded pool. The digest is that of docs/digest.md, kinds 1 to 7.
 *
 * Usage: model_digest DIR, of a ledger that is not being served. */
#include <inttypes.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <tael/datagram.h>
#include <tael/frame.h>
#include <tael/multi_batch.h>
#include <tael/request.h>
#include <tael/status.h>

#include "persist/data_directory.h"
#include "persist/disk_uring.h"
#include "persist/reader.h"
#include "tests/model/model.h"

#define SESSION_KIND 7
#define RING_ENTRIES 256

/* docs/digest.md, kind 7. */
struct session_record {
    tael_u128 client;
    tael_u128 checksum;
    tael_u128 context;
    uint64_t session;
    uint64_t op;
    uint32_t request;
    uint32_t capabilities;
    uint8_t operation;
    uint8_t slot;
    uint16_t slots;
    uint8_t reserved_a[4];
    uint64_t token;
    uint8_t reserved_b[24];
    tael_u128 reply_body_digest;
};
static_assert(sizeof(struct session_record) == 128, "docs/digest.md");

struct replay {
    struct tael_model *model;
    struct session_record *sessions; /* one for each slot, in no order */
    uint32_t session_count;
    uint32_t session_capacity;
    struct tael_create_result results[TAEL_EVENTS_MAX + 1];
    uint8_t body[TAEL_BODY_SIZE_MAX];
    uint16_t counts[TAEL_BATCHES_MAX];
};

static struct session_record *slot_find(struct replay *replay, tael_u128 client, uint16_t slot) {
    for (uint32_t i = 0; i < replay->session_count; i++) {
        if (replay->sessions[i].client == client && replay->sessions[i].slot == slot) return &replay->sessions[i];
    }
    return NULL;
}

static struct session_record *slot_add(struct replay *replay, const struct tael_request *request, uint16_t slot) {
    if (replay->session_count == replay->session_capacity) {
        replay->session_capacity = replay->session_capacity * 2 + 16;
        replay->sessions = realloc(replay->sessions, replay->session_capacity * sizeof *replay->sessions);
        TAEL_ASSERT(replay->sessions != NULL);
    }
    struct session_record *session = &replay->sessions[replay->session_count++];
    *session = (struct session_record){
        .client = request->client,
        .session = request->op,
        .capabilities = request->capabilities,
        .slot = (uint8_t)slot,
        .slots = request->slots,
        .token = request->token,
    };
    return session;
}

/* The body of the reply to a create, as the client got it. Returns its size. */
static uint32_t create_reply(struct replay *replay, const struct tael_request *request) {
    const bool sparse = tael_operation_is_sparse(request->operation);
    const uint32_t element_size = tael_operation_info(request->operation).result_size;
    const struct tael_create_result *result = replay->results;
    uint32_t size = 0;
    for (uint32_t batch = 0; batch < request->batch_count; batch++) {
        const uint32_t begun = size;
        for (uint32_t i = 0; i < tael_request_batch_events(request, batch); i++, result++) {
            if (sparse && result->status == TAEL_STATUS_CREATED) continue;
            const struct tael_create_result_sparse failure = {.index = i, .status = result->status};
            memcpy(replay->body + size, sparse ? (const void *)&failure : (const void *)result, element_size);
            size += element_size;
        }
        replay->counts[batch] = (uint16_t)((size - begun) / element_size);
    }
    return tael_multi_batch_encode(replay->body, size, replay->counts, request->batch_count, element_size);
}

static uint32_t register_reply(struct replay *replay, const struct tael_request *request) {
    if (request->token != 0) {
        const struct tael_datagram_registered registered = {.token = request->token, .slots = request->slots};
        memcpy(replay->body, &registered, sizeof registered);
        return sizeof registered;
    }
    const struct tael_register_result result = {.batch_size_limit = TAEL_BODY_SIZE_MAX};
    memcpy(replay->body, &result, sizeof result);
    return sizeof result;
}

static tael_u128 hash_value(XXH128_hash_t hash) { return tael_u128_make(hash.high64, hash.low64); }

/* Notes in a slot that the request was its last one, and that its reply's body is what stands in `body`. */
static void slot_advance(const struct replay *replay, struct session_record *slot, const struct tael_request *request,
                         uint32_t body_size) {
    slot->checksum = request->checksum;
    slot->context = tael_u128_make(request->timestamp, request->op);
    slot->op = request->op;
    slot->request = request->request;
    slot->operation = request->operation;
    slot->reply_body_digest = hash_value(XXH3_128bits(replay->body, body_size));
}

static void session_open(struct replay *replay, const struct tael_request *request) {
    const uint32_t body_size = register_reply(replay, request);
    const uint16_t slots = request->slots == 0 ? 1 : request->slots;
    for (uint16_t i = 0; i < slots; i++) {
        TAEL_ASSERT(slot_find(replay, request->client, i) == NULL);
        slot_advance(replay, slot_add(replay, request, i), request, body_size);
    }
}

static void session_end(struct replay *replay, tael_u128 client) {
    const uint32_t before = replay->session_count;
    for (uint32_t i = before; i-- > 0;) {
        if (replay->sessions[i].client == client) replay->sessions[i] = replay->sessions[--replay->session_count];
    }
    TAEL_ASSERT(replay->session_count < before);
}

static void apply(struct replay *replay, const struct tael_request *request) {
    tael_model_apply(replay->model, request, replay->results);
    switch (tael_operation_info(request->operation).kind) {
    case TAEL_OPERATION_SESSION:
        session_open(replay, request);
        return;
    case TAEL_OPERATION_CREATE: {
        struct session_record *slot = slot_find(replay, request->client, request->slot);
        TAEL_ASSERT(slot != NULL);
        TAEL_ASSERT(slot->session == request->session);
        slot_advance(replay, slot, request, create_reply(replay, request));
        return;
    }
    default:
        if (request->operation == TAEL_OPERATION_evict) session_end(replay, request->client);
    }
}

static void apply_block(struct replay *replay, const struct tael_log_block *block) {
    const struct tael_request *request = (const void *)((const uint8_t *)block + TAEL_BLOCK_HEADER_SIZE);
    for (uint32_t i = 0; i < block->request_count; i++, request = tael_request_next(request)) apply(replay, request);
}

static tael_u128 digest(const struct replay *replay) {
    tael_u128 sum = tael_model_digest(replay->model);
    for (uint32_t i = 0; i < replay->session_count; i++) {
        sum += tael_model_digest_element(SESSION_KIND, &replay->sessions[i], sizeof replay->sessions[i]);
    }
    return sum;
}

static int replay_log(struct replay *replay, struct tael_disk *disk, struct tael_report *report) {
    const struct tael_data_directory_options read_only = {.read_only = true};
    struct tael_superblock superblock;
    int error = tael_data_directory_open(disk, &read_only, &superblock, report);
    if (error != 0) return error;
    struct tael_reader *reader;
    error = tael_reader_open(&(struct tael_reader_options){.disk = disk, .superblock = &superblock}, &reader, report);
    if (error != 0) return error;
    const struct tael_log_block *block;
    struct tael_place place;
    while ((error = tael_reader_next(reader, &block, &place)) > 0) apply_block(replay, block);
    tael_reader_close(reader);
    return error;
}

static void print(const struct replay *replay) {
    const struct tael_model_usage usage = tael_model_usage(replay->model);
    const tael_u128 sum = digest(replay);
    printf("{\"op\": %" PRIu64 ", \"accounts\": %" PRIu64 ", \"transfers\": %" PRIu32 ", \"balanced\": %s, "
           "\"digest\": \"%016" PRIx64 "%016" PRIx64 "\"}\n",
           usage.op, usage.accounts, tael_model_counts(replay->model).transfers,
           tael_model_balanced(replay->model) ? "true" : "false", tael_u128_high(sum), tael_u128_low(sum));
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: model_digest DIR\n");
        return 2;
    }
    static struct replay replay;
    struct io_uring ring;
    struct tael_report report = {.text = ""};
    struct tael_disk *disk = NULL;
    if (io_uring_queue_init(RING_ENTRIES, &ring, 0) != 0) return 1;
    int error = tael_disk_uring_open(&(struct tael_disk_uring_options){.path = argv[1], .ring = &ring}, &disk);
    if (error == 0) {
        replay.model = tael_model_new();
        error = replay_log(&replay, disk, &report);
        tael_disk_destroy(disk);
    }
    io_uring_queue_exit(&ring);
    if (error != 0) {
        fprintf(stderr, "model_digest: %s: %s %s\n", argv[1], strerror(-error), report.text);
        return 1;
    }
    print(&replay);
    tael_model_free(replay.model);
    free(replay.sessions);
    return 0;
}
