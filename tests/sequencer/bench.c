#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <tael/log_format.h>

#define WRITTEN_MAX (64u << 20)
#define ROUNDS_MAX 100000

/* Zeroed pages that cost nothing until they are touched. */
static void *pages(size_t size) {
    void *taken = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (taken == MAP_FAILED) abort();
    return taken;
}

static struct tael_worker_options worker_options(const struct bench_options *options) {
    return (struct tael_worker_options){
        .blocks_max = options->blocks_max,
        .reads_max = options->reads_max,
        .queries_max = 4,
        .skipped_ops = &options->skipped_op,
        .skipped_ops_count = options->skipped_op != 0 ? 1 : 0,
    };
}

static struct tael_sessions_options sessions_options(const struct bench_options *options) {
    return (struct tael_sessions_options){
        .sessions_max = options->sessions_max,
        .reply_chunks =
            options->reply_chunks != 0 ? options->reply_chunks : tael_sessions_reply_chunks(options->sessions_max),
        .hash_key = tael_u128_make(0x1234, 0x5678),
    };
}

static struct tael_sequencer_options sequencer_options(const struct bench_options *options) {
    return (struct tael_sequencer_options){
        .cluster = BENCH_CLUSTER,
        .accounts_max = options->accounts_max,
        .transfers_max = options->transfers_max,
        .sessions_max = options->sessions_max,
        .blocks_max = options->blocks_max,
        .replies_small = options->replies_small,
        .replies_large = options->replies_large,
        .reads_max = options->reads_max,
        .acknowledges_early = options->acknowledges_early,
    };
}

static void link_open(struct bench *bench, const struct bench_options *options) {
    uint32_t replies = 1;
    while (replies < options->replies_small + options->replies_large) replies *= 2;
    tael_ring_init(&bench->link.requests, &bench->arena, BENCH_MESSAGES);
    tael_ring_init(&bench->link.released, &bench->arena, BENCH_MESSAGES);
    tael_ring_init(&bench->link.replies, &bench->arena, replies);
    tael_ring_init(&bench->link.sent, &bench->arena, replies);
    bench->messages = calloc(BENCH_MESSAGES, sizeof *bench->messages);
    bench->frames = pages((size_t)BENCH_MESSAGES * TAEL_MESSAGE_SIZE_MAX);
    for (uint32_t i = 0; i < BENCH_MESSAGES; i++) {
        bench->messages[i].frame = (struct tael_frame *)(void *)(bench->frames + (size_t)i * TAEL_MESSAGE_SIZE_MAX);
        bench->messages[i].body = (uint8_t *)(bench->messages[i].frame + 1);
    }
}

void bench_open(struct bench *bench, const struct bench_options *options) {
    *bench = (struct bench){.input = {.wall_ns = 1000000, .log_capacity = UINT64_MAX / 2, .log_grows = true}};
    const struct tael_worker_options for_worker = worker_options(options);
    const struct tael_sessions_options for_sessions = sessions_options(options);
    const struct tael_sequencer_options for_sequencer = sequencer_options(options);
    const struct tael_ledger_options for_ledger = {0};
    const size_t size = tael_sessions_size_bytes(&for_sessions) + tael_worker_size_bytes(&for_worker) +
                        tael_sequencer_size_bytes(&for_sequencer) + tael_ledger_size_bytes(&for_ledger) +
                        tael_replay_size_bytes() + 4 * tael_ring_size_bytes(4096) + TAEL_SECTOR_SIZE;
    bench->memory = pages(size);
    bench->arena = (struct tael_arena){.base = bench->memory, .size = size};
    fake_ledger_reset();
    bench->sessions = tael_sessions_init(&bench->arena, &for_sessions);
    bench->worker = tael_worker_init(&bench->arena, &for_worker, tael_ledger_init(&bench->arena, &for_ledger));
    link_open(bench, options);
    bench->sequencer = tael_sequencer_init(&bench->arena, &for_sequencer, bench->sessions, &bench->link, 1,
                                           tael_worker_link(bench->worker));
    bench->written = pages(WRITTEN_MAX);
    tael_replay_init(&bench->replay, &bench->arena, bench->worker, bench->sessions);
    tael_arena_freeze(&bench->arena);
}

void bench_close(struct bench *bench) {
    (void)munmap(bench->frames, (size_t)BENCH_MESSAGES * TAEL_MESSAGE_SIZE_MAX);
    (void)munmap(bench->written, WRITTEN_MAX);
    (void)munmap(bench->memory, bench->arena.size);
    free(bench->messages);
}

static void take_released(struct bench *bench) {
    struct tael_message *message;
    while ((message = tael_ring_pop(&bench->link.released)) != NULL) {
        ((struct bench_message *)(void *)message)->lent = false;
    }
}

uint32_t bench_lent(struct bench *bench) {
    take_released(bench);
    uint32_t count = 0;
    for (uint32_t i = 0; i < BENCH_MESSAGES; i++) count += bench->messages[i].lent;
    return count;
}

static struct bench_message *message_take(struct bench *bench) {
    take_released(bench);
    for (uint32_t i = 0; i < BENCH_MESSAGES; i++) {
        if (bench->messages[i].lent) continue;
        bench->messages[i].lent = true;
        return &bench->messages[i];
    }
    abort();
}

static void make_datagram(struct tael_message *message, const struct bench_request *request) {
    message->token = request->token;
    message->slot = request->slot;
    message->kind = request->kind;
    message->is_one_batch = request->is_one_batch;
    if (request->part_count == 0) return;
    message->parts = request->parts;
    message->part_count = request->part_count;
    for (uint32_t i = 0; i < request->part_count; i++) message->body_size += request->parts[i].size;
}

tael_u128 bench_send(struct bench *bench, const struct bench_request *request) {
    struct bench_message *message = message_take(bench);
    if (request->body_size > 0) memcpy(message->body, request->body, request->body_size);
    *message->frame = (struct tael_frame){
        .checksum = request->checksum != 0 ? request->checksum : tael_u128_make(0xc0ffee, 0) + ++bench->checksum_last,
        .cluster = BENCH_CLUSTER,
        .size = TAEL_FRAME_HEADER_SIZE + request->body_size,
        .release = request->release != 0 ? request->release : BENCH_RELEASE,
        .command = TAEL_COMMAND_REQUEST,
        .request =
            {
                .parent = request->parent,
                .client = request->client,
                .session = request->session,
                .request = request->request,
                .operation = request->operation,
            },
    };
    tael_message_of_frame(&message->message, message->frame,
                          request->connection != 0 ? request->connection
                                                   : BENCH_CONNECTION + tael_u128_low(request->client));
    if (request->token != 0) make_datagram(&message->message, request);
    if (!tael_ring_push(&bench->link.requests, &message->message)) abort();
    return message->frame->checksum;
}

/* The log's side: takes a block whole, at once. */
static uint32_t log_poll(struct bench *bench) {
    uint32_t work = 0;
    struct tael_block *block;
    while (!bench->log_stalled && (block = tael_ring_pop(tael_sequencer_blocks(bench->sequencer))) != NULL) {
        const size_t size = (block->size + (size_t)TAEL_SECTOR_SIZE - 1) & ~(size_t)(TAEL_SECTOR_SIZE - 1);
        if (bench->written_size + size > WRITTEN_MAX) abort();
        uint8_t *at = bench->written + bench->written_size;
        memcpy(at, block->data, block->size);
        *(struct tael_log_block *)(void *)at = (struct tael_log_block){
            .size = block->size,
            .sequence = ++bench->written_sequence,
            .op_first = block->first_op,
            .op_last = block->last_op,
            .request_count = block->request_count,
        };
        bench->written_size += size;
        bench->written_op = block->last_op;
        work++;
    }
    if (!bench->durable_held && bench->input.durable != bench->written_op) {
        bench->input.durable = bench->written_op;
        work++;
    }
    bench->input.log_size_min = bench->log_stalled ? UINT32_MAX : bench->log_size_min;
    return work;
}

void bench_run(struct bench *bench) {
    for (uint32_t i = 0; i < ROUNDS_MAX; i++) {
        uint32_t work = tael_sequencer_poll(bench->sequencer, &bench->input);
        work += log_poll(bench);
        if (!bench->worker_stalled) work += tael_worker_poll(bench->worker);
        if (work == 0) return;
    }
    abort();
}

struct tael_reply *bench_reply(struct bench *bench) {
    return tael_ring_pop(&bench->link.replies);
}

void bench_sent(struct bench *bench, struct tael_reply *reply) {
    if (!tael_ring_push(&bench->link.sent, reply)) abort();
}

uint32_t bench_body(uint8_t *body, const struct tael_transfer *events, const uint16_t *counts, uint32_t batch_count) {
    uint32_t event_count = 0;
    for (uint32_t i = 0; i < batch_count; i++) event_count += counts[i];
    if (event_count > 0) memcpy(body, events, event_count * sizeof *events);
    return tael_multi_batch_encode(body, event_count * (uint32_t)sizeof *events, counts, batch_count, sizeof *events);
}

void bench_replay(const struct bench *from, struct bench *to) {
    size_t offset = 0;
    while (offset < from->written_size) {
        const struct tael_log_block *header = (const void *)(from->written + offset);
        tael_replay_block(&to->replay, header, UINT64_MAX);
        offset += ((size_t)header->size + TAEL_SECTOR_SIZE - 1) & ~(size_t)(TAEL_SECTOR_SIZE - 1);
    }
    tael_sequencer_start(to->sequencer, to->replay.op, to->replay.timestamp);
    to->input.durable = to->replay.op;
    to->written_op = to->replay.op;
}
