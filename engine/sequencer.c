#include "engine/sequencer.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/operation.h>

#include "engine/body.h"
#include "engine/query.h"
#include "engine/reads.h"

#define CAPABILITIES_KNOWN TAEL_CAPABILITY_BUSY

/* What the log does not know of a session: who waits for its reply, and where. */
struct flight {
    tael_connection connection; /* of the client's last use */
    uint32_t link;
    uint32_t release; /* of the request's last (re)transmission */
    struct tael_read *read; /* NULL where none is in flight */
};

/* A bounded first-in first-out queue of blocks. */
struct block_queue {
    struct tael_block **entries;
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
};

struct tael_sequencer {
    struct tael_sequencer_options options;
    struct tael_sessions *sessions;
    struct flight *flights; /* by session number */
    struct tael_link *links;
    uint32_t link_count;
    uint32_t link_turn;
    struct tael_worker_link *worker;
    struct tael_ring to_log;
    bool draining;

    uint64_t op;
    uint64_t timestamp;
    uint64_t op_answered; /* all up to it are durable, applied, kept and answered */
    uint64_t pulse_op; /* of the last pulse */
    uint64_t account_events; /* sequenced since the start */
    uint64_t transfer_events;

    uint8_t *block_memory; /* the data of all blocks, end to end */
    struct tael_block *open; /* NULL where none is */
    struct block_queue blocks_free;
    struct block_queue blocks_closed; /* with the log or the worker, oldest first */
    uint32_t closed_answered; /* requests of the oldest closed block that are answered */
    const struct tael_request *closed_next; /* the request behind those */
    uint64_t log_bytes; /* of all blocks closed since the start, padded */
    uint8_t *trailer; /* scratch: of a body whose parts cut it */

    struct tael_reply_pools replies;
    struct tael_reads reads;

    struct tael_sequencer_input input; /* of this turn */
    struct tael_sequencer_counters counters;
};

/* What became of a message. */
enum verdict {
    VERDICT_DONE, /* give it back */
    VERDICT_HELD, /* a read has it */
    VERDICT_WAIT, /* it stays in the ring: try again next turn */
};

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
           tael_arena_share(options->sessions_max * sizeof(struct flight)) +
           tael_ring_size_bytes(tael_power_of_two(options->blocks_max)) +
           tael_arena_share(options->blocks_max * sizeof(struct tael_block)) +
           2 * tael_arena_share(options->blocks_max * sizeof(struct tael_block *)) + tael_arena_share_aligned(0) +
           options->blocks_max * block_size_bytes() + tael_arena_share(TAEL_TRAILER_SIZE_MAX) +
           tael_reply_pools_size_bytes(replies.of) + tael_reads_size_bytes(options->reads_max);
}

static void block_push(struct block_queue *queue, struct tael_block *block) {
    TAEL_ASSERT(queue->count < queue->capacity);
    queue->entries[(queue->first + queue->count) % queue->capacity] = block;
    queue->count++;
}

static struct tael_block *block_pop(struct block_queue *queue) {
    TAEL_ASSERT(queue->count > 0);
    struct tael_block *block = queue->entries[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    return block;
}

static void blocks_init(struct tael_sequencer *sequencer, struct tael_arena *arena) {
    const uint32_t count = sequencer->options.blocks_max;
    struct block_queue *queues[2] = {&sequencer->blocks_free, &sequencer->blocks_closed};
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
    sequencer->flights = tael_arena_take(arena, options->sessions_max * sizeof(struct flight));
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

/* --- replies --- */

static void reply_send(struct tael_sequencer *sequencer, struct tael_reply *reply, enum tael_frame_command command,
                       uint32_t body_size, uint32_t link, tael_connection connection, uint32_t release) {
    struct tael_frame *frame = reply->frame;
    frame->cluster = sequencer->options.cluster;
    frame->size = TAEL_FRAME_HEADER_SIZE + body_size;
    frame->release = release;
    frame->command = (uint8_t)command;
    reply->connection = connection;
    const bool pushed = tael_ring_push(&sequencer->links[link].replies, reply);
    TAEL_ASSERT(pushed);
}

static void *reply_body(struct tael_reply *reply) { return reply->frame + 1; }

/* The reply to a session's last logged request, from what is kept of it: the first one and every later one. False where
 * there is no buffer. */
static bool reply_send_kept(struct tael_sequencer *sequencer, uint32_t index) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    const struct flight *flight = &sequencer->flights[index];
    struct tael_reply *reply = tael_reply_take(&sequencer->replies, tael_sessions_reply_size_max(session), 0);
    if (reply == NULL) return false;
    const uint32_t body_size = tael_sessions_reply_encode(sequencer->sessions, index, reply_body(reply));
    reply->frame->reply = (struct tael_frame_reply){
        .request_checksum = session->checksum,
        .context = tael_session_context(session->op, session->timestamp),
        .client = session->client,
        .op = session->op,
        .commit = session->op,
        .timestamp = session->timestamp,
        .request = session->request,
        .operation = session->operation,
    };
    reply_send(sequencer, reply, TAEL_COMMAND_REPLY, body_size, flight->link, flight->connection, flight->release);
    return true;
}

/* Every message is looked at only while a small buffer is free, so a short frame always has one. */
static struct tael_reply *reply_take_short(struct tael_sequencer *sequencer) {
    struct tael_reply *reply = tael_reply_take(&sequencer->replies, 0, 0);
    TAEL_ASSERT(reply != NULL);
    return reply;
}

static enum verdict refuse(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                           enum tael_eviction_reason reason) {
    struct tael_reply *reply = reply_take_short(sequencer);
    reply->frame->eviction.client = message->client;
    reply->frame->eviction.reason = (uint8_t)reason;
    reply_send(sequencer, reply, TAEL_COMMAND_EVICTION, 0, link, message->connection, message->release);
    sequencer->counters.evictions_sent++;
    return VERDICT_DONE;
}

static enum verdict drop(uint64_t *counter) {
    (*counter)++;
    return VERDICT_DONE;
}

/* No room: silence, and the client tries again; or a word, for those that asked for it. */
static enum verdict refuse_room(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                                uint32_t capabilities, enum tael_busy_reason reason, uint64_t *counter) {
    if ((capabilities & TAEL_CAPABILITY_BUSY) != 0) {
        struct tael_reply *reply = reply_take_short(sequencer);
        reply->frame->busy = (struct tael_frame_busy){
            .request_checksum = message->checksum,
            .client = message->client,
            .request = message->request,
            .reason = (uint32_t)reason,
            .wait_ms = TAEL_BUSY_WAIT_MS,
        };
        reply_send(sequencer, reply, TAEL_COMMAND_BUSY, 0, link, message->connection, message->release);
        sequencer->counters.busy_sent++;
    }
    return drop(counter);
}

/* --- blocks --- */

static void block_close(struct tael_sequencer *sequencer) {
    struct tael_block *block = sequencer->open;
    TAEL_ASSERT(block->request_count > 0);
    TAEL_ASSERT(block->size <= TAEL_BLOCK_SIZE_MAX);
    sequencer->open = NULL;
    sequencer->log_bytes += tael_sequencer_size_in_log(block->size);
    if (sequencer->blocks_closed.count == 0) {
        sequencer->closed_answered = 0;
        sequencer->closed_next = tael_block_first_request(block);
    }
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

/* Sees to an open block with room for a request of that payload; false where there is no free block. */
static bool block_reserve(struct tael_sequencer *sequencer, uint32_t payload_size) {
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

/* Whether the log can take a request of that payload and leave `reserve` bytes free. */
static bool log_has_room(const struct tael_sequencer *sequencer, uint32_t payload_size, uint64_t reserve) {
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

/* Gives `request` its place in the order, `timestamps` timestamps, and a place in the open block, which has room. The
 * caller then fills in the payload. */
static struct tael_request *append(struct tael_sequencer *sequencer, const struct tael_request *request,
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

/* --- evictions --- */

/* The session to evict: the one whose last logged op is oldest, with no request in flight, and not `self`. Where chunks
 * are short, one that holds none is no help. A read in flight protects a session while there is another. */
static uint32_t victim_find(const struct tael_sequencer *sequencer, uint32_t self, bool for_chunks) {
    uint32_t reading = TAEL_SESSION_NONE;
    for (uint32_t i = tael_sessions_oldest(sequencer->sessions); i != TAEL_SESSION_NONE;
         i = tael_sessions_newer(sequencer->sessions, i)) {
        const struct tael_session *session = tael_sessions_at(sequencer->sessions, i);
        if (session->op > sequencer->op_answered) break; /* so are all newer ones */
        if (i == self) continue;
        if (for_chunks && session->chunk_count == 0) continue;
        if (sequencer->flights[i].read == NULL) return i;
        if (reading == TAEL_SESSION_NONE) reading = i;
    }
    return reading;
}

/* Logs the end of a session; false where there is no block for it. */
static bool evict(struct tael_sequencer *sequencer, uint32_t victim) {
    if (!block_reserve(sequencer, 0)) return false;
    const struct tael_request request = {
        .client = tael_sessions_at(sequencer->sessions, victim)->client,
        .operation = TAEL_OPERATION_evict,
    };
    (void)tael_sessions_sequence(sequencer->sessions, append(sequencer, &request, 0));
    sequencer->flights[victim] = (struct flight){0};
    sequencer->counters.sessions_evicted++;
    return true;
}

/* Makes room for one more session. False: later, when what is in flight is answered. */
static bool make_room_for_session(struct tael_sequencer *sequencer) {
    const struct tael_sessions_usage usage = tael_sessions_usage(sequencer->sessions);
    if (usage.sessions < usage.sessions_max) return true;
    const uint32_t victim = victim_find(sequencer, TAEL_SESSION_NONE, false);
    return victim != TAEL_SESSION_NONE && evict(sequencer, victim);
}

/* Makes room for a reply of that many chunks to `self`. What others have reserved comes back when it is applied, so
 * nobody is evicted while waiting helps. False: later. */
static bool make_room_for_reply(struct tael_sequencer *sequencer, uint32_t self, uint32_t chunks_needed) {
    for (;;) {
        const struct tael_session *session = tael_sessions_at(sequencer->sessions, self);
        const struct tael_sessions_usage usage = tael_sessions_usage(sequencer->sessions);
        if (usage.chunks_free + session->chunk_count >= chunks_needed) return true;
        const uint32_t reserved_own = session->answered ? 0 : session->chunk_count;
        if (usage.chunks_reserved > reserved_own) return false;
        const uint32_t victim = victim_find(sequencer, self, true);
        if (victim == TAEL_SESSION_NONE || !evict(sequencer, victim)) return false;
    }
}

/* --- admission --- */

static void flight_note(struct tael_sequencer *sequencer, uint32_t index, uint32_t link,
                        const struct tael_message *message) {
    struct flight *flight = &sequencer->flights[index];
    flight->connection = message->connection;
    flight->link = link;
    flight->release = message->release;
}

/* The same request number as the last logged request's. */
static enum verdict admit_repeated(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                                   uint32_t index) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    if (message->checksum != session->checksum) return drop(&sequencer->counters.dropped_checksum);
    flight_note(sequencer, index, link, message);
    if (session->op > sequencer->op_answered) return drop(&sequencer->counters.dropped_in_progress);
    if (!reply_send_kept(sequencer, index)) return drop(&sequencer->counters.dropped_no_buffer);
    sequencer->counters.replies_kept++;
    return VERDICT_DONE;
}

/* The body of a request that is no create; NULL where there is none. */
static const uint8_t *whole_body(const struct tael_message *message) {
    TAEL_ASSERT(!message->is_one_batch);
    if (message->body_size == 0) return NULL;
    TAEL_ASSERT(message->part_count == 1);
    TAEL_ASSERT((uintptr_t)message->parts->data % 16 == 0);
    return message->parts->data;
}

/* Whether a register's body is one: nothing (older clients), or zeros and the capabilities. */
static enum tael_eviction_reason register_body_check(const struct tael_message *message, uint32_t *capabilities) {
    const uint32_t size = message->body_size;
    *capabilities = 0;
    if (size == 0) return 0;
    if (size != tael_operation_info(TAEL_OPERATION_register).event_size) {
        return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    }
    const uint8_t *body = whole_body(message);
    for (uint32_t i = 0; i < TAEL_CAPABILITIES_OFFSET; i++) {
        if (body[i] != 0) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    }
    memcpy(capabilities, body + TAEL_CAPABILITIES_OFFSET, sizeof *capabilities);
    *capabilities &= CAPABILITIES_KNOWN;
    return 0;
}

static enum verdict admit_register(struct tael_sequencer *sequencer, uint32_t link,
                                   const struct tael_message *message) {
    if (message->request != 0 || message->session != 0) return drop(&sequencer->counters.dropped_malformed);
    const uint32_t known = tael_sessions_find(sequencer->sessions, message->client);
    if (known != TAEL_SESSION_NONE) {
        const struct tael_session *session = tael_sessions_at(sequencer->sessions, known);
        const bool same = session->request == 0 && session->checksum == message->checksum;
        if (!same) return drop(&sequencer->counters.dropped_register);
        return admit_repeated(sequencer, link, message, known);
    }
    uint32_t capabilities;
    const enum tael_eviction_reason reason = register_body_check(message, &capabilities);
    if (reason != 0) return refuse(sequencer, link, message, reason);
    if (!log_has_room(sequencer, 0, TAEL_SEQUENCER_LOG_RESERVE)) {
        if (sequencer->input.log_grows) return VERDICT_WAIT;
        return refuse_room(sequencer, link, message, capabilities, TAEL_BUSY_DISK,
                           &sequencer->counters.dropped_room_log);
    }
    if (!make_room_for_session(sequencer)) return VERDICT_WAIT;
    if (!block_reserve(sequencer, 0)) return VERDICT_WAIT;
    const struct tael_request request = {
        .client = message->client,
        .checksum = message->checksum,
        .operation = TAEL_OPERATION_register,
        .capabilities = capabilities,
    };
    const uint32_t index = tael_sessions_sequence(sequencer->sessions, append(sequencer, &request, 0));
    sequencer->flights[index] = (struct flight){0};
    flight_note(sequencer, index, link, message);
    return VERDICT_DONE;
}

/* Whether the ledger has room for `event_count` more, all in flight included. */
static bool ledger_has_room(const struct tael_sequencer *sequencer, bool accounts, uint32_t event_count) {
    const struct tael_worker_board *board = &sequencer->worker->board;
    const _Atomic uint64_t *applied = accounts ? &board->account_events : &board->transfer_events;
    const _Atomic uint64_t *taken = accounts ? &board->accounts : &board->transfers;
    const uint64_t sequenced = accounts ? sequencer->account_events : sequencer->transfer_events;
    const uint64_t max = accounts ? sequencer->options.accounts_max : sequencer->options.transfers_max;
    /* The order of the two loads matters, see worker.h. */
    const uint64_t in_flight = sequenced - atomic_load_explicit(applied, memory_order_acquire); /* B1 */
    const uint64_t fill = atomic_load_explicit(taken, memory_order_relaxed); /* relaxed: after B1 */
    return fill + in_flight + event_count <= max;
}

/* Zeroes what lies between the payload and the next request. */
static void payload_pad(struct tael_request *request) {
    uint8_t *end = (uint8_t *)(request + 1) + request->size;
    memset(end, 0, tael_request_size_in_block(request->size) - TAEL_REQUEST_HEADER_SIZE - request->size);
}

static void sequence_create(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                            const struct tael_body *body) {
    const struct tael_multi_batch *batches = &body->batches;
    const struct tael_request request = {
        .client = message->client,
        .checksum = message->checksum,
        .session = message->session,
        .request = message->request,
        .size = tael_request_payload_size(batches->element_count, batches->batch_count),
        .event_count = batches->element_count,
        .batch_count = batches->batch_count,
        .operation = message->operation,
    };
    struct tael_request *appended = append(sequencer, &request, request.event_count);
    tael_body_copy(body, (uint8_t *)(appended + 1)); /* the one copy there is */
    payload_pad(appended);
    if (tael_operation_creates_accounts(message->operation)) {
        sequencer->account_events += request.event_count;
    } else {
        sequencer->transfer_events += request.event_count;
    }
    const uint32_t index = tael_sessions_sequence(sequencer->sessions, appended);
    flight_note(sequencer, index, link, message);
}

static enum verdict admit_create(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                                 uint32_t index) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    struct tael_body body;
    const enum tael_eviction_reason reason = tael_body_check(message, sequencer->trailer, &body);
    if (reason != 0) return refuse(sequencer, link, message, reason);
    const struct tael_multi_batch *batches = &body.batches;
    const bool accounts = tael_operation_creates_accounts(message->operation);
    if (!ledger_has_room(sequencer, accounts, batches->element_count)) {
        return refuse_room(
            sequencer, link, message, session->capabilities, accounts ? TAEL_BUSY_ACCOUNTS : TAEL_BUSY_TRANSFERS,
            accounts ? &sequencer->counters.dropped_room_accounts : &sequencer->counters.dropped_room_transfers);
    }
    const uint32_t payload_size = tael_request_payload_size(batches->element_count, batches->batch_count);
    if (!log_has_room(sequencer, payload_size, TAEL_SEQUENCER_LOG_RESERVE)) {
        if (sequencer->input.log_grows) return VERDICT_WAIT;
        return refuse_room(sequencer, link, message, session->capabilities, TAEL_BUSY_DISK,
                           &sequencer->counters.dropped_room_log);
    }
    const uint32_t chunks_needed = tael_sessions_chunks_needed(batches->element_count, batches->batch_count);
    if (!make_room_for_reply(sequencer, index, chunks_needed)) return VERDICT_WAIT;
    if (!block_reserve(sequencer, payload_size)) return VERDICT_WAIT;
    sequence_create(sequencer, link, message, &body);
    return VERDICT_DONE;
}

static enum verdict admit_read(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message,
                               uint32_t index) {
    uint32_t reply_size_max = 0;
    const enum tael_eviction_reason reason =
        tael_query_body_check(message->operation, whole_body(message), message->body_size, &reply_size_max);
    if (reason != 0) return refuse(sequencer, link, message, reason);
    TAEL_ASSERT(reply_size_max <= TAEL_BODY_SIZE_MAX);
    struct tael_read *read = tael_reads_begin(&sequencer->reads, message, link, index, reply_size_max);
    if (read == NULL) return VERDICT_WAIT;
    sequencer->flights[index].read = read;
    sequencer->counters.reads++;
    return VERDICT_HELD;
}

/* A request of a session that has a read in flight. True where that settles it. */
static bool read_in_flight_settles(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                                   uint32_t index) {
    struct tael_read *read = sequencer->flights[index].read;
    if (read == NULL || message->request > read->request) return false;
    if (message->request < read->request) {
        sequencer->counters.dropped_old++;
    } else if (message->checksum != read->checksum) {
        sequencer->counters.dropped_checksum++;
    } else {
        tael_read_readdress(read, message, link);
        sequencer->counters.dropped_in_progress++;
    }
    return true;
}

/* A request with a number above the last logged one's: new, unless it repeats the read in flight. */
static enum verdict admit_new(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message,
                              uint32_t index) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    /* Of the requests before this one only the last logged one's reply is known. */
    if (message->request == session->request + 1 &&
        message->parent != tael_session_context(session->op, session->timestamp)) {
        return drop(&sequencer->counters.dropped_parent);
    }
    if (read_in_flight_settles(sequencer, link, message, index)) return VERDICT_DONE;
    switch (tael_operation_info(message->operation).kind) {
    case TAEL_OPERATION_CREATE:
        return admit_create(sequencer, link, message, index);
    case TAEL_OPERATION_READ:
        /* Who was not answered yet cannot know that there is more to ask: not what an honest client does, and it would read the
         * ledger as of before its own request, on an empty ledger as of no op at all. */
        if (session->op > sequencer->op_answered) return drop(&sequencer->counters.dropped_in_progress);
        /* One in flight per session: a client that sends the next has dropped the last. */
        if (sequencer->flights[index].read != NULL) return drop(&sequencer->counters.dropped_in_progress);
        return admit_read(sequencer, link, message, index);
    default:
        return refuse(sequencer, link, message, TAEL_EVICTION_INVALID_REQUEST_OPERATION);
    }
}

static enum verdict admit(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message) {
    if (message->client == 0) return drop(&sequencer->counters.dropped_malformed);
    if (message->operation == TAEL_OPERATION_register) return admit_register(sequencer, link, message);
    const uint32_t index = tael_sessions_find(sequencer->sessions, message->client);
    if (index == TAEL_SESSION_NONE) return refuse(sequencer, link, message, TAEL_EVICTION_NO_SESSION);
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    if (message->session < session->session) return refuse(sequencer, link, message, TAEL_EVICTION_SESSION_TOO_LOW);
    if (message->session > session->session) return drop(&sequencer->counters.dropped_session_newer);
    if (message->request == 0) return drop(&sequencer->counters.dropped_malformed);
    if (message->request < session->request) return drop(&sequencer->counters.dropped_old);
    if (message->request == session->request) return admit_repeated(sequencer, link, message, index);
    return admit_new(sequencer, link, message, index);
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
    const uint32_t index = tael_sessions_find(sequencer->sessions, request->client);
    if (index == TAEL_SESSION_NONE) return true;
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    if (session->op != request->op) return true; /* gone on: it has proved that nobody waits for this reply */
    if (!session->answered) {
        const struct tael_outcome *outcome = &block->outcomes[position];
        (void)tael_sessions_keep(sequencer->sessions, request, block->exceptions + outcome->exception_first,
                                 outcome->exception_count);
    }
    if (!reply_send_kept(sequencer, index)) return false;
    sequencer->counters.replies++;
    return true;
}

static uint32_t answer_blocks(struct tael_sequencer *sequencer) {
    const uint64_t applied = tael_watermark_read(&sequencer->worker->board.applied);
    const uint64_t finished = applied < sequencer->input.durable ? applied : sequencer->input.durable;
    uint32_t work = 0;
    while (sequencer->blocks_closed.count > 0 && work < TAEL_SEQUENCER_TURN) {
        struct tael_block *block = sequencer->blocks_closed.entries[sequencer->blocks_closed.first];
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
        block_push(&sequencer->blocks_free, block_pop(&sequencer->blocks_closed));
        sequencer->closed_answered = 0;
        if (sequencer->blocks_closed.count > 0) {
            block = sequencer->blocks_closed.entries[sequencer->blocks_closed.first];
            sequencer->closed_next = tael_block_first_request(block);
        }
    }
    return work;
}

static void read_answer(struct tael_sequencer *sequencer, struct tael_read *read) {
    reply_send(sequencer, read->reply, TAEL_COMMAND_REPLY, read->job.reply_size, read->link, read->connection,
               read->release);
    struct flight *flight = &sequencer->flights[read->session_index];
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
    for (read = tael_reads_take_durable(&sequencer->reads, sequencer->input.durable); read != NULL; read = next) {
        next = read->next;
        read_answer(sequencer, read);
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
    if (!log_has_room(sequencer, 0, TAEL_SEQUENCER_LOG_RESERVE / 2)) return 0;
    if (!block_reserve(sequencer, 0)) return 0;
    const struct tael_request request = {.operation = TAEL_OPERATION_pulse};
    (void)tael_sessions_sequence(sequencer->sessions, append(sequencer, &request, TAEL_EXPIRIES_MAX));
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
        const enum verdict verdict = admit(sequencer, link, message);
        if (verdict == VERDICT_WAIT) break;
        (void)tael_ring_pop(&from->requests);
        if (verdict == VERDICT_DONE) message_release(sequencer, link, message);
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
