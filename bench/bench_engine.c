/* The whole engine: the same transfers as in the rules' benchmarks, through all that stands around them.
 *
 * replay: a block as it is read from the log: its checksum, the check of what it means, worker, sessions and kept replies.
 * sequenced: messages as the network hands them over: admission, blocks, worker, sessions, replies; with a log that has
 * everything durable at once. `sequencer_ns` is the sequencer's part of it. Counters as in bench_rules.c. */
#include <stdlib.h>
#include <string.h>

#include <tael/multi_batch.h>

#include "bench/fixture.h"
#include "bench/harness.h"
#include "bench/limit.h"
#include "bench/memory.h"
#include "bench/ticks.h"
#include "bench/workload.h"
#include "engine/replay.h"
#include "engine/sequencer.h"
#include "persist/block_check.h"
#include "persist/format.h"

#define ACCOUNTS 1000000u
#define CLIENTS_MAX 512

static const struct tael_worker_options worker_options = {.blocks_max = 16, .reads_max = 1, .queries_max = 1};
static const struct tael_sessions_options sessions_options = {.sessions_max = CLIENTS_MAX, .reply_chunks = 65536};

/* ---- replay ---- */

struct player {
    struct tael_bench_ledger *fixture;
    struct tael_replay replay;
    struct tael_log_block *block;
    struct tael_bench_workload workload;
    uint64_t sequence;
};

static void block_begin(struct player *player) {
    player->replay.op = player->fixture->ledger->op;
    *player->block = (struct tael_log_block){
        .sequence = ++player->sequence,
        .op_first = player->replay.op + 1,
        .op_last = player->replay.op,
        .timestamp_last = player->fixture->ledger->timestamp,
        .size = TAEL_BLOCK_HEADER_SIZE,
    };
}

static void block_add(struct player *player, enum tael_operation operation, uint32_t events) {
    struct tael_log_block *block = player->block;
    struct tael_request *request = (struct tael_request *)(void *)((uint8_t *)block + block->size);
    tael_bench_request_begin(request, operation, events, &block->op_last, &block->timestamp_last);
    /* Sessions may go backward in nothing: the number is the op of the register. */
    if (operation == TAEL_OPERATION_register) {
        player->workload.transfers = 0;
        request->session = 0;
        request->batch_count = 0;
    }
    tael_bench_workload_fill(&player->workload, (struct tael_transfer *)(void *)(request + 1), events);
    block->size += tael_request_size_in_block(request->size);
    block->request_count++;
}

static uint64_t block_play(struct player *player) {
    const struct tael_block_context context = {.op_last = player->replay.op,
                                               .timestamp_last = player->fixture->ledger->timestamp};
    struct tael_block_problem problem;
    tael_log_block_seal(player->block);
    const uint64_t start = tael_bench_clock_ns();
    TAEL_ASSERT(tael_log_block_body_holds(player->block));
    TAEL_ASSERT(tael_block_check(player->block, &context, &problem));
    tael_replay_block(&player->replay, player->block, UINT64_MAX);
    return tael_bench_clock_ns() - start;
}

/* The same number of transfers by the ledger alone. */
static uint64_t ledger_alone(struct player *player, uint32_t requests) {
    uint64_t ns = 0;
    for (uint32_t i = 0; i < requests; i++) {
        tael_bench_workload_fill(&player->workload, player->fixture->events, TAEL_EVENTS_MAX);
        tael_bench_ledger_request(player->fixture, TAEL_EVENTS_MAX);
        ns += tael_bench_ledger_apply(player->fixture);
    }
    return ns;
}

static void player_open(struct player *player, struct tael_arena *arena) {
    const size_t size = tael_worker_size_bytes(&worker_options) + tael_sessions_size_bytes(&sessions_options) +
                        tael_replay_size_bytes() + tael_arena_share_aligned(TAEL_BLOCK_SIZE_MAX);
    *arena = tael_bench_map(size);
    tael_bench_populate(arena->base, size);
    player->fixture = tael_bench_ledger_get(ACCOUNTS, 0);
    player->workload.accounts = ACCOUNTS;
    struct tael_sessions *sessions = tael_sessions_init(arena, &sessions_options);
    tael_replay_init(&player->replay, arena, tael_worker_init(arena, &worker_options, player->fixture->ledger),
                     sessions);
    player->block = tael_arena_take_aligned(arena, TAEL_BLOCK_SIZE_MAX);
    block_begin(player);
    block_add(player, TAEL_OPERATION_register, 0);
    (void)block_play(player);
}

/* `size`: events a request; as many requests as fit a block. */
static void run_replay(struct tael_bench *run, const struct tael_bench_case *self) {
    enum { BLOCKS = 16 };
    const uint32_t events = (uint32_t)self->size;
    struct tael_arena arena;
    struct player player = {0};
    struct tael_bench_limits limits = {0};
    tael_bench_limit_open();
    player_open(&player, &arena);
    const struct tael_session *session = tael_sessions_at(player.replay.sessions, 0);
    uint64_t items = 0;
    uint64_t total_ns = 0;
    uint64_t alone_ns = 0;
    while (tael_bench_next(run)) {
        uint64_t ns = 0;
        uint32_t done = 0;
        for (uint32_t i = 0; i < BLOCKS; i++) {
            block_begin(&player);
            const uint32_t size_max = events == 1 ? TAEL_BLOCK_SIZE_TARGET : TAEL_BLOCK_SIZE_MAX;
            while (player.block->size + tael_request_size_in_block(events * TAEL_RECORD_SIZE) <= size_max) {
                struct tael_request *request =
                    (struct tael_request *)(void *)((uint8_t *)player.block + player.block->size);
                block_add(&player, TAEL_OPERATION_create_transfers, events);
                request->session = session->session;
                request->request = (uint32_t)request->op;
                done += events;
            }
            ns += block_play(&player);
        }
        tael_bench_time(run, ns);
        total_ns += ns;
        items += done;
        alone_ns += ledger_alone(&player, BLOCKS);
        tael_bench_limits_measure(&limits, ACCOUNTS);
    }
    tael_bench_limits_report(&limits, run, total_ns, items);
    const double alone = (double)alone_ns / ((double)limits.kernel_items);
    tael_bench_counter(run, "alone_ns", alone);
    tael_bench_counter(run, "of_alone", alone / ((double)total_ns / (double)items));
    tael_bench_unmap(&arena);
}

/* ---- sequenced ---- */

/* One client with one request in flight. */
struct client {
    struct tael_message message;
    struct tael_frame *frame; /* the body stands behind it */
    tael_connection connection;
    uint64_t session;
    uint32_t request;
    tael_u128 parent; /* context of the last reply */
    uint32_t replies;
};

struct stage {
    struct tael_bench_ledger *fixture;
    struct tael_bench_workload workload;
    struct tael_worker *worker;
    struct tael_sequencer *sequencer;
    struct tael_link link;
    struct tael_sequencer_input input;
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    uint32_t replies;
    uint64_t sequencer_ticks;
};

static void stage_take_replies(struct stage *stage) {
    struct tael_reply *reply;
    while ((reply = tael_ring_pop(&stage->link.replies)) != NULL) {
        TAEL_ASSERT(reply->frame->command == TAEL_COMMAND_REPLY);
        struct client *client = &stage->clients[reply->connection - 1];
        if (client->session == 0) client->session = reply->frame->reply.commit;
        client->parent = reply->frame->reply.context;
        client->request++;
        stage->replies++;
        const bool pushed = tael_ring_push(&stage->link.sent, reply);
        TAEL_ASSERT(pushed);
    }
    while (tael_ring_pop(&stage->link.released) != NULL) {
    }
}

static void stage_turn(struct stage *stage) {
    struct tael_block *block;
    const uint64_t start = tael_bench_ticks();
    (void)tael_sequencer_poll(stage->sequencer, &stage->input);
    stage->sequencer_ticks += tael_bench_ticks() - start;
    while ((block = tael_ring_pop(tael_sequencer_blocks(stage->sequencer))) != NULL) {
        stage->input.durable = block->last_op;
    }
    (void)tael_worker_poll(stage->worker);
    stage_take_replies(stage);
}

static void client_prepare(struct stage *stage, struct client *client, uint8_t operation, uint32_t body_size) {
    *client->frame = (struct tael_frame){
        .checksum = tael_u128_make(client->request, client->connection),
        .size = TAEL_FRAME_HEADER_SIZE + body_size,
        .command = TAEL_COMMAND_REQUEST,
        .release = 0x1108,
        .request = {.parent = client->parent,
                    .client = client->connection,
                    .session = client->session,
                    .request = client->request,
                    .operation = operation},
    };
    tael_message_of_frame(&client->message, client->frame, client->connection);
    stage->replies = 0;
}

/* Every client sends what was prepared; until all have their reply. */
static uint64_t stage_round(struct stage *stage) {
    const uint64_t start = tael_bench_clock_ns();
    for (uint32_t i = 0; i < stage->client_count; i++) {
        const bool pushed = tael_ring_push(&stage->link.requests, &stage->clients[i].message);
        TAEL_ASSERT(pushed);
    }
    for (uint32_t turns = 0; stage->replies < stage->client_count; turns++) {
        TAEL_ASSERT(turns < 100000);
        stage_turn(stage);
    }
    return tael_bench_clock_ns() - start;
}

static uint64_t stage_transfers(struct stage *stage, uint16_t events) {
    for (uint32_t i = 0; i < stage->client_count; i++) {
        struct client *client = &stage->clients[i];
        void *body = client->frame + 1;
        tael_bench_workload_fill(&stage->workload, body, events);
        const uint32_t size = tael_multi_batch_encode(body, (uint32_t)events * TAEL_RECORD_SIZE, &events, 1, 128);
        client_prepare(stage, client, TAEL_OPERATION_create_transfers, size);
    }
    return stage_round(stage);
}

static void stage_clients_open(struct stage *stage, struct tael_arena *arena, uint32_t count, size_t frame_size) {
    stage->client_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct client *client = &stage->clients[i];
        client->frame = tael_arena_take_aligned(arena, frame_size);
        client->connection = i + 1;
        client_prepare(stage, client, TAEL_OPERATION_register, 0);
    }
    (void)stage_round(stage);
}

static void stage_open(struct stage *stage, struct tael_arena *arena, uint32_t clients, size_t frame_size) {
    const struct tael_sequencer_options options = {
        .accounts_max = ACCOUNTS,
        .transfers_max = TAEL_BENCH_TRANSFERS_MAX,
        .sessions_max = CLIENTS_MAX,
        .blocks_max = 16,
        .replies_small = CLIENTS_MAX,
        .replies_large = 16,
        .reads_max = 1,
    };
    const size_t size = tael_worker_size_bytes(&worker_options) + tael_sessions_size_bytes(&sessions_options) +
                        tael_sequencer_size_bytes(&options) + 4 * tael_ring_size_bytes(1024) +
                        clients * tael_arena_share_aligned(frame_size) + TAEL_SECTOR_SIZE;
    *arena = tael_bench_map(size);
    tael_bench_populate(arena->base, size);
    stage->fixture = tael_bench_ledger_get(ACCOUNTS, 0);
    stage->workload.accounts = ACCOUNTS;
    stage->worker = tael_worker_init(arena, &worker_options, stage->fixture->ledger);
    struct tael_sessions *sessions = tael_sessions_init(arena, &sessions_options);
    struct tael_ring *const rings[] = {&stage->link.requests, &stage->link.released, &stage->link.replies,
                                       &stage->link.sent};
    for (int i = 0; i < 4; i++) tael_ring_init(rings[i], arena, 1024);
    stage->sequencer = tael_sequencer_init(arena, &options, sessions, &stage->link, 1, tael_worker_link(stage->worker));
    stage->input =
        (struct tael_sequencer_input){.wall_ns = stage->fixture->ledger->timestamp, .log_capacity = UINT64_MAX / 2};
    stage->input.durable = stage->fixture->ledger->op;
    tael_sequencer_start(stage->sequencer, stage->fixture->ledger->op, stage->fixture->ledger->timestamp);
    stage_clients_open(stage, arena, clients, frame_size);
}

/* `size`: events a request; `variant`: clients. */
static void run_sequenced(struct tael_bench *run, const struct tael_bench_case *self) {
    static struct stage stage;
    stage = (struct stage){0};
    const uint32_t clients = (uint32_t)self->variant;
    const uint16_t events = (uint16_t)self->size;
    const size_t body_size = ((size_t)events + 1) * TAEL_RECORD_SIZE;
    const uint32_t rounds = 65536 / (clients * events) + 1;
    struct tael_bench_limits limits = {0};
    struct tael_arena arena;
    tael_bench_limit_open();
    stage_open(&stage, &arena, clients, TAEL_FRAME_HEADER_SIZE + body_size);
    stage.sequencer_ticks = 0;
    uint64_t items = 0;
    uint64_t total_ns = 0;
    while (tael_bench_next(run)) {
        uint64_t ns = 0;
        for (uint32_t i = 0; i < rounds; i++) ns += stage_transfers(&stage, events);
        tael_bench_limits_measure(&limits, ACCOUNTS);
        tael_bench_time(run, ns);
        total_ns += ns;
        items += (uint64_t)rounds * clients * events;
    }
    tael_bench_limits_report(&limits, run, total_ns, items);
    tael_bench_counter(run, "sequencer_ns", (double)stage.sequencer_ticks * tael_bench_tick_ns() / (double)items);
    tael_bench_unmap(&arena);
}

const struct tael_bench_case tael_bench_engine_cases[] = {
    {.name = "engine/replay/batches", .run = run_replay, .iterations = 6, .size = TAEL_EVENTS_MAX},
    {.name = "engine/replay/singles", .run = run_replay, .iterations = 6, .size = 1},
    {.name = "engine/sequenced/batches", .run = run_sequenced, .iterations = 12, .size = TAEL_EVENTS_MAX, .variant = 4},
    {.name = "engine/sequenced/singles", .run = run_sequenced, .iterations = 6, .size = 1, .variant = CLIENTS_MAX},
    {0},
};
