#include "engine/sequencer.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/operation.h>

#include "engine/sequencer_state.h"

/* --- set-up --- */

/* Buffers for replies, of each pool. */
struct reply_counts {
    uint32_t of[TAEL_REPLY_POOLS];
};

static struct reply_counts reply_counts(const struct tael_sequencer_options *options) {
    return (struct reply_counts){
        .of = {[TAEL_REPLY_POOL_SMALL] = options->replies_small, [TAEL_REPLY_POOL_LARGE] = options->replies_large}};
}

static size_t block_size_bytes(void) {
    return TAEL_BLOCK_SIZE_MAX + tael_arena_share(TAEL_REQUESTS_PER_BLOCK_MAX * sizeof(struct tael_outcome)) +
           tael_arena_share(TAEL_EXCEPTIONS_PER_BLOCK_MAX * sizeof(struct tael_exception));
}

size_t tael_sequencer_size_bytes(const struct tael_sequencer_options *options) {
    const struct reply_counts replies = reply_counts(options);
    return tael_arena_share(sizeof(struct tael_sequencer)) +
           tael_arena_share(options->sessions_max * sizeof(struct tael_flight)) +
           tael_ring_size_bytes(tael_power_of_two(options->blocks_max)) +
           tael_arena_share(options->blocks_max * sizeof(struct tael_block)) +
           2 * tael_arena_share(options->blocks_max * sizeof(struct tael_block *)) + tael_arena_share_aligned(0) +
           options->blocks_max * block_size_bytes() + tael_arena_share(TAEL_TRAILER_SIZE_MAX) +
           tael_reply_pools_size_bytes(replies.of) + tael_reads_size_bytes(options->reads_max);
}

static void block_push(struct tael_block_queue *queue, struct tael_block *block) {
    TAEL_ASSERT(queue->count < queue->capacity);
    queue->entries[(queue->first + queue->count) % queue->capacity] = block;
    queue->count++;
}

static struct tael_block *block_at(const struct tael_block_queue *queue, uint32_t position) {
    TAEL_ASSERT(position < queue->count);
    return queue->entries[(queue->first + position) % queue->capacity];
}

static struct tael_block *block_pop(struct tael_block_queue *queue) {
    TAEL_ASSERT(queue->count > 0);
    struct tael_block *block = queue->entries[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    return block;
}

static void blocks_init(struct tael_sequencer *sequencer, struct tael_arena *arena) {
    const uint32_t count = sequencer->options.blocks_max;
    struct tael_block_queue *queues[2] = {&sequencer->blocks_free, &sequencer->blocks_closed};
    for (uint32_t i = 0; i < 2; i++) {
        queues[i]->capacity = count;
        queues[i]->entries = tael_arena_take(arena, count * sizeof(struct tael_block *));
    }
    struct tael_block *blocks = tael_arena_take(arena, count * sizeof(struct tael_block));
    sequencer->block_memory = tael_arena_take_aligned(arena, count * (size_t)TAEL_BLOCK_SIZE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        blocks[i].data = sequencer->block_memory + i * (size_t)TAEL_BLOCK_SIZE_MAX;
        blocks[i].outcomes = tael_arena_take(arena, TAEL_REQUESTS_PER_BLOCK_MAX * sizeof(struct tael_outcome));
        blocks[i].exceptions = tael_arena_take(arena, TAEL_EXCEPTIONS_PER_BLOCK_MAX * sizeof(struct tael_exception));
        block_push(&sequencer->blocks_free, &blocks[i]);
    }
}

struct tael_sequencer *tael_sequencer_init(struct tael_arena *arena, const struct tael_sequencer_options *options,
                                           struct tael_sessions *sessions, struct tael_link *links, uint32_t link_count,
                                           struct tael_worker_link *worker) {
    TAEL_ASSERT(options->blocks_max >= 2);
    TAEL_ASSERT(link_count <= TAEL_LINKS_MAX);
    TAEL_ASSERT(options->sessions_max == tael_sessions_usage(sessions).sessions_max);
    struct tael_sequencer *sequencer = tael_arena_take(arena, sizeof *sequencer);
    sequencer->options = *options;
    sequencer->sessions = sessions;
    sequencer->links = links;
    sequencer->link_count = link_count;
    sequencer->worker = worker;
    sequencer->flights = tael_arena_take(arena, options->sessions_max * sizeof(struct tael_flight));
    tael_ring_init(&sequencer->to_log, arena, tael_power_of_two(options->blocks_max));
    blocks_init(sequencer, arena);
    sequencer->trailer = tael_arena_take(arena, TAEL_TRAILER_SIZE_MAX);
    const struct reply_counts replies = reply_counts(options);
    tael_reply_pools_init(&sequencer->replies, arena, replies.of);
    tael_reads_init(&sequencer->reads, arena, options->reads_max, worker, &sequencer->replies);
    return sequencer;
}

void tael_sequencer_start(struct tael_sequencer *sequencer, uint64_t op, uint64_t timestamp) {
    TAEL_ASSERT(sequencer->op == 0);
    TAEL_ASSERT(tael_watermark_read(&sequencer->worker->board.applied) == op);
    sequencer->op = op;
    sequencer->op_answered = op;
    sequencer->timestamp = timestamp;
    /* What recovery applied counts as sequenced, too. */
    const struct tael_worker_board *board = &sequencer->worker->board;
    sequencer->account_events = atomic_load_explicit(&board->account_events, memory_order_acquire); /* B1 */
    sequencer->transfer_events = atomic_load_explicit(&board->transfer_events, memory_order_acquire); /* B1 */
}

/* --- blocks --- */

/* The requests of this block are answered next. */
static void answer_from(struct tael_sequencer *sequencer, const struct tael_block *block) {
    sequencer->closed_answered = 0;
    sequencer->closed_next = tael_block_first_request(block);
}

static void block_close(struct tael_sequencer *sequencer) {
    struct tael_block *block = sequencer->open;
    TAEL_ASSERT(block->request_count > 0);
    TAEL_ASSERT(block->size <= TAEL_BLOCK_SIZE_MAX);
    sequencer->open = NULL;
    sequencer->log_bytes += tael_sequencer_size_in_log(block->size);
    if (sequencer->blocks_answered == sequencer->blocks_closed.count) answer_from(sequencer, block);
    block_push(&sequencer->blocks_closed, block);
    const bool pushed_log = tael_ring_push(&sequencer->to_log, block);
    TAEL_ASSERT(pushed_log);
    const bool pushed_worker = tael_ring_push(&sequencer->worker->blocks, block);
    TAEL_ASSERT(pushed_worker);
    sequencer->counters.blocks++;
}

/* Whether the open block is where a request that takes `size` bytes goes. */
static bool block_takes(const struct tael_block *open, uint32_t size) {
    return open->size < TAEL_BLOCK_SIZE_TARGET && open->size + size <= TAEL_BLOCK_SIZE_MAX;
}

bool tael_sequencer_block_reserve(struct tael_sequencer *sequencer, uint32_t payload_size) {
    const uint32_t size = tael_request_size_in_block(payload_size);
    if (sequencer->open != NULL) {
        if (block_takes(sequencer->open, size)) return true;
        if (sequencer->blocks_free.count == 0) return false;
        block_close(sequencer);
    }
    if (sequencer->blocks_free.count == 0) return false;
    struct tael_block *block = block_pop(&sequencer->blocks_free);
    memset(block->data, 0, TAEL_BLOCK_HEADER_SIZE);
    block->size = TAEL_BLOCK_HEADER_SIZE;
    block->request_count = 0;
    block->first_op = sequencer->op + 1;
    block->last_op = sequencer->op;
    block->sequence = 0;
    sequencer->open = block;
    return true;
}

bool tael_sequencer_log_has_room(const struct tael_sequencer *sequencer, uint32_t payload_size, uint64_t reserve) {
    const uint32_t size = tael_request_size_in_block(payload_size);
    uint64_t bytes = sequencer->log_bytes;
    if (sequencer->open == NULL) {
        bytes += tael_sequencer_size_in_log(TAEL_BLOCK_HEADER_SIZE + size);
    } else if (block_takes(sequencer->open, size)) {
        bytes += tael_sequencer_size_in_log(sequencer->open->size + size);
    } else {
        bytes += tael_sequencer_size_in_log(sequencer->open->size) +
                 tael_sequencer_size_in_log(TAEL_BLOCK_HEADER_SIZE + size);
    }
    return bytes + reserve <= sequencer->input.log_capacity;
}

struct tael_request *tael_sequencer_append(struct tael_sequencer *sequencer, const struct tael_request *request,
                                           uint32_t timestamps) {
    struct tael_block *block = sequencer->open;
    const uint32_t size = tael_request_size_in_block(request->size);
    TAEL_ASSERT(block->size + size <= TAEL_BLOCK_SIZE_MAX);
    struct tael_request *appended = (struct tael_request *)(void *)(block->data + block->size);
    const uint64_t now = sequencer->input.wall_ns;
    const uint64_t next = sequencer->timestamp + 1;
    sequencer->op++;
    sequencer->timestamp = (next > now ? next : now) + timestamps;
    TAEL_ASSERT(sequencer->timestamp <= TAEL_TIMESTAMP_MAX);
    *appended = *request;
    appended->op = sequencer->op;
    appended->timestamp = sequencer->timestamp;
    block->size += size;
    block->request_count++;
    block->last_op = sequencer->op;
    sequencer->counters.logged++;
    return appended;
}

static void message_release(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message) {
    const bool pushed = tael_ring_push(&sequencer->links[link].released, message);
    TAEL_ASSERT(pushed);
}

/* --- the turn's parts --- */

static uint32_t take_sent(struct tael_sequencer *sequencer) {
    uint32_t work = 0;
    for (uint32_t i = 0; i < sequencer->link_count; i++) {
        struct tael_reply *reply;
        while ((reply = tael_ring_pop(&sequencer->links[i].sent)) != NULL) {
            tael_reply_give_back(&sequencer->replies, reply);
            work++;
        }
    }
    return work;
}

/* Keeps and answers one request that is durable and applied. False where there is no buffer. */
static bool answer(struct tael_sequencer *sequencer, const struct tael_block *block, uint32_t position,
                   const struct tael_request *request) {
    const enum tael_operation_kind kind = tael_operation_info(request->operation).kind;
    if (kind != TAEL_OPERATION_CREATE && kind != TAEL_OPERATION_SESSION) return true;
    const uint32_t index = tael_sessions_find(sequencer->sessions, request->client, request->slot);
    if (index == TAEL_SESSION_NONE) return true;
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    if (session->op != request->op) return true; /* gone on: it has proved that nobody waits for this reply */
    if (!session->answered) {
        const struct tael_outcome *outcome = &block->outcomes[position];
        (void)tael_sessions_keep(sequencer->sessions, request, block->exceptions + outcome->exception_first,
                                 outcome->exception_count);
    }
    if (!tael_answer_kept(sequencer, index)) return false;
    sequencer->counters.replies++;
    return true;
}

/* The last op that a reply may show. */
static uint64_t may_be_shown(const struct tael_sequencer *sequencer) {
    return sequencer->options.acknowledges_early ? sequencer->op : sequencer->input.durable;
}

/* Blocks are written again only when they are durable. */
static void give_back_blocks(struct tael_sequencer *sequencer) {
    struct tael_block_queue *closed = &sequencer->blocks_closed;
    while (sequencer->blocks_answered > 0 && block_at(closed, 0)->last_op <= sequencer->input.durable) {
        block_push(&sequencer->blocks_free, block_pop(closed));
        sequencer->blocks_answered--;
    }
}

static uint32_t answer_blocks(struct tael_sequencer *sequencer) {
    const struct tael_block_queue *closed = &sequencer->blocks_closed;
    const uint64_t applied = tael_watermark_read(&sequencer->worker->board.applied);
    const uint64_t shown_max = may_be_shown(sequencer);
    const uint64_t finished = applied < shown_max ? applied : shown_max;
    uint32_t work = 0;
    while (sequencer->blocks_answered < closed->count && work < TAEL_SEQUENCER_TURN) {
        const struct tael_block *block = block_at(closed, sequencer->blocks_answered);
        const struct tael_request *request = sequencer->closed_next;
        if (sequencer->closed_answered < block->request_count) {
            if (request->op > finished) break;
            if (!answer(sequencer, block, sequencer->closed_answered, request)) break;
            sequencer->op_answered = request->op;
            sequencer->closed_next = tael_request_next(request);
            sequencer->closed_answered++;
            work++;
            continue;
        }
        sequencer->blocks_answered++;
        if (sequencer->blocks_answered < closed->count) {
            answer_from(sequencer, block_at(closed, sequencer->blocks_answered));
        }
    }
    give_back_blocks(sequencer);
    return work;
}

static void read_end(struct tael_sequencer *sequencer, struct tael_read *read) {
    struct tael_flight *flight = &sequencer->flights[read->session_index];
    if (flight->read == read) flight->read = NULL;
    tael_reads_end(&sequencer->reads, read);
    sequencer->counters.replies++;
}

static uint32_t answer_reads(struct tael_sequencer *sequencer) {
    uint32_t work = 0;
    struct tael_read *read;
    while ((read = tael_reads_collect(&sequencer->reads)) != NULL) {
        message_release(sequencer, read->message_link, read->message);
        read->message = NULL;
        work++;
    }
    struct tael_read *next;
    for (read = tael_reads_take_durable(&sequencer->reads, may_be_shown(sequencer)); read != NULL; read = next) {
        next = read->next;
        tael_answer_read(sequencer, read);
        read_end(sequencer, read);
        work++;
    }
    return work;
}

uint64_t tael_sequencer_due_ns(const struct tael_sequencer *sequencer) {
    const struct tael_worker_board *board = &sequencer->worker->board;
    if (sequencer->draining) return UINT64_MAX;
    /* The hint is stale until the last pulse is applied. */
    if (tael_watermark_read(&board->applied) < sequencer->pulse_op) return UINT64_MAX;
    return atomic_load_explicit(&board->expiry_next, memory_order_relaxed); /* relaxed: a hint */
}

static uint32_t insert_pulse(struct tael_sequencer *sequencer) {
    const uint64_t next = sequencer->timestamp + 1;
    const uint64_t now = sequencer->input.wall_ns > next ? sequencer->input.wall_ns : next;
    if (tael_sequencer_due_ns(sequencer) > now) return 0;
    if (!tael_sequencer_log_has_room(sequencer, 0, TAEL_SEQUENCER_LOG_RESERVE / 2)) return 0;
    if (!tael_sequencer_block_reserve(sequencer, 0)) return 0;
    const struct tael_request request = {.operation = TAEL_OPERATION_pulse};
    (void)tael_sessions_sequence(sequencer->sessions, tael_sequencer_append(sequencer, &request, TAEL_EXPIRIES_MAX));
    sequencer->pulse_op = sequencer->op;
    sequencer->counters.pulses++;
    return 1;
}

/* Takes messages from one link until one has to wait. */
static uint32_t take_requests(struct tael_sequencer *sequencer, uint32_t link, uint32_t budget) {
    struct tael_link *from = &sequencer->links[link];
    uint32_t taken = 0;
    struct tael_message *message;
    while (taken < budget && (message = tael_ring_peek(&from->requests)) != NULL) {
        if (tael_replies_free(&sequencer->replies, TAEL_REPLY_POOL_SMALL) == 0) break;
        const enum tael_verdict verdict = tael_admit(sequencer, link, message);
        if (verdict == TAEL_VERDICT_WAIT) break;
        (void)tael_ring_pop(&from->requests);
        if (verdict == TAEL_VERDICT_DONE) message_release(sequencer, link, message);
        sequencer->counters.requests++;
        taken++;
    }
    return taken;
}

/* All links in turn, another first each time, so that none is served at another's cost. */
static uint32_t take_links(struct tael_sequencer *sequencer) {
    if (sequencer->draining) return 0;
    uint32_t work = 0;
    for (uint32_t i = 0; i < sequencer->link_count && work < TAEL_SEQUENCER_TURN; i++) {
        const uint32_t link = (sequencer->link_turn + i) % sequencer->link_count;
        work += take_requests(sequencer, link, TAEL_SEQUENCER_TURN - work);
    }
    if (sequencer->link_count > 0) sequencer->link_turn = (sequencer->link_turn + 1) % sequencer->link_count;
    return work;
}

static uint32_t close_when_due(struct tael_sequencer *sequencer) {
    if (sequencer->open == NULL) return 0;
    if (sequencer->open->request_count == 0) return 0;
    const uint32_t size = sequencer->open->size;
    if (size < sequencer->input.log_size_min && size < TAEL_BLOCK_SIZE_TARGET) return 0;
    block_close(sequencer);
    return 1;
}

uint32_t tael_sequencer_poll(struct tael_sequencer *sequencer, const struct tael_sequencer_input *input) {
    TAEL_ASSERT(input->durable <= sequencer->op);
    sequencer->input = *input;
    uint32_t work = take_sent(sequencer);
    work += answer_blocks(sequencer);
    work += answer_reads(sequencer);
    work += insert_pulse(sequencer);
    work += take_links(sequencer);
    work += tael_reads_lend(&sequencer->reads);
    work += close_when_due(sequencer);
    return work;
}

struct tael_ring *tael_sequencer_blocks(struct tael_sequencer *sequencer) {
    return &sequencer->to_log;
}

void *tael_sequencer_block_memory(const struct tael_sequencer *sequencer, size_t *size_bytes) {
    *size_bytes = sequencer->options.blocks_max * (size_t)TAEL_BLOCK_SIZE_MAX;
    return sequencer->block_memory;
}

void tael_sequencer_drain(struct tael_sequencer *sequencer) { sequencer->draining = true; }

bool tael_sequencer_is_idle(const struct tael_sequencer *sequencer) {
    if (sequencer->open != NULL && sequencer->open->request_count > 0) return false;
    if (sequencer->blocks_closed.count > 0 || sequencer->reads.in_flight > 0) return false;
    return tael_replies_all_home(&sequencer->replies);
}

uint64_t tael_sequencer_op(const struct tael_sequencer *sequencer) { return sequencer->op; }
uint64_t tael_sequencer_timestamp(const struct tael_sequencer *sequencer) { return sequencer->timestamp; }
const struct tael_sequencer_counters *tael_sequencer_counters(const struct tael_sequencer *sequencer) {
    return &sequencer->counters;
}
