#include <string.h>

#include <tael/assert.h>
#include <tael/operation.h>

#include "engine/body.h"
#include "engine/query.h"
#include "engine/sequencer_state.h"

#define CAPABILITIES_KNOWN TAEL_CAPABILITY_BUSY
#define NOTICE_NONE ((enum tael_datagram_notice_code)0)

/* --- what is not executed --- */

static enum tael_verdict refuse(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                                enum tael_eviction_reason reason) {
    tael_answer_refusal(sequencer, link, message, reason);
    return TAEL_VERDICT_DONE;
}

/* Counts it. Who sent a frame hears nothing, and tries again; who sent a datagram is told, unless there is nothing to tell. */
static enum tael_verdict pass_over(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                                   enum tael_datagram_notice_code notice, uint64_t *counter) {
    (*counter)++;
    if (tael_message_is_datagram(message) && notice != NOTICE_NONE) {
        tael_answer_notice(sequencer, link, message, notice, 0);
    }
    return TAEL_VERDICT_DONE;
}

/* No room: silence, and the client tries again; or a word, for those that asked for it. */
static enum tael_verdict refuse_room(struct tael_sequencer *sequencer, uint32_t link,
                                     const struct tael_message *message, uint32_t capabilities,
                                     enum tael_busy_reason reason, uint64_t *counter) {
    tael_answer_busy(sequencer, link, message, capabilities, reason);
    (*counter)++;
    return TAEL_VERDICT_DONE;
}

/* The slot is not through with an earlier request. */
static enum tael_verdict refuse_queue(struct tael_sequencer *sequencer, uint32_t link,
                                      const struct tael_message *message) {
    sequencer->counters.dropped_in_progress++;
    if (tael_message_is_datagram(message)) {
        tael_answer_notice(sequencer, link, message, TAEL_NOTICE_BUSY_QUEUE, TAEL_BUSY_WAIT_MS);
    }
    return TAEL_VERDICT_DONE;
}

/* --- evictions --- */

static bool has_read(const struct tael_sequencer *sequencer, uint32_t root) {
    for (uint32_t i = root; i != TAEL_SESSION_NONE; i = tael_sessions_at(sequencer->sessions, i)->slot_next) {
        if (sequencer->flights[i].read != NULL) return true;
    }
    return false;
}

/* The root of the session to evict: the one whose last logged op is oldest, with no request in flight, and not `self`. Where
 * chunks are short, one that holds none is no help. A read in flight protects a session while there is another. */
static uint32_t victim_find(const struct tael_sequencer *sequencer, uint32_t self, bool for_chunks) {
    const struct tael_sessions *sessions = sequencer->sessions;
    uint32_t reading = TAEL_SESSION_NONE;
    for (uint32_t root = tael_sessions_oldest(sessions); root != TAEL_SESSION_NONE;
         root = tael_sessions_newer(sessions, root)) {
        if (tael_sessions_at(sessions, root)->op_last > sequencer->op_answered) break; /* so are all newer ones */
        if (root == self) continue;
        if (for_chunks && tael_sessions_chunks_held(sessions, root) == 0) continue;
        if (!has_read(sequencer, root)) return root;
        if (reading == TAEL_SESSION_NONE) reading = root;
    }
    return reading;
}

/* Logs the end of a session; false where there is no block for it. */
static bool evict(struct tael_sequencer *sequencer, uint32_t victim) {
    if (!tael_sequencer_block_reserve(sequencer, 0)) return false;
    const struct tael_request request = {
        .client = tael_sessions_at(sequencer->sessions, victim)->client,
        .operation = TAEL_OPERATION_evict,
    };
    for (uint32_t i = victim; i != TAEL_SESSION_NONE; i = tael_sessions_at(sequencer->sessions, i)->slot_next) {
        sequencer->flights[i] = (struct tael_flight){0};
    }
    (void)tael_sessions_sequence(sequencer->sessions, tael_sequencer_append(sequencer, &request, 0));
    sequencer->counters.sessions_evicted++;
    return true;
}

/* Makes room for a session of that many slots. False: later, when what is in flight is answered. */
static bool make_room_for_session(struct tael_sequencer *sequencer, uint32_t entries) {
    for (;;) {
        const struct tael_sessions_usage usage = tael_sessions_usage(sequencer->sessions);
        TAEL_ASSERT(entries <= usage.sessions_max);
        if (usage.sessions + entries <= usage.sessions_max) return true;
        const uint32_t victim = victim_find(sequencer, TAEL_SESSION_NONE, false);
        if (victim == TAEL_SESSION_NONE || !evict(sequencer, victim)) return false;
    }
}

enum room { ROOM, ROOM_LATER, ROOM_NONE };

/* Makes room for a reply of that many chunks in a slot. What others have reserved comes back when it is applied, so
 * nobody is evicted while waiting helps. There is none where the session's own slots hold all that it lacks. */
static enum room make_room_for_reply(struct tael_sequencer *sequencer, uint32_t index, uint32_t chunks_needed) {
    for (;;) {
        const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
        const struct tael_sessions_usage usage = tael_sessions_usage(sequencer->sessions);
        if (usage.chunks_free + session->chunk_count >= chunks_needed) return ROOM;
        const uint32_t reserved_own = session->answered ? 0 : session->chunk_count;
        if (usage.chunks_reserved > reserved_own) return ROOM_LATER;
        if (tael_sessions_chunks_held(sequencer->sessions, session->root) == usage.chunks_max - usage.chunks_free) {
            return ROOM_NONE;
        }
        const uint32_t victim = victim_find(sequencer, session->root, true);
        if (victim == TAEL_SESSION_NONE || !evict(sequencer, victim)) return ROOM_LATER;
    }
}

/* --- requests that came before --- */

static void flight_note(struct tael_sequencer *sequencer, uint32_t index, uint32_t link,
                        const struct tael_message *message) {
    struct tael_flight *flight = &sequencer->flights[index];
    flight->connection = message->connection;
    flight->link = link;
    flight->release = message->release;
}

/* The slot's last logged request once more, or a poll for it; `in_progress` is what the latter hears meanwhile. */
static enum tael_verdict answer_again(struct tael_sequencer *sequencer, uint32_t link,
                                      const struct tael_message *message, uint32_t index,
                                      enum tael_datagram_notice_code in_progress) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    flight_note(sequencer, index, link, message);
    if (session->op > sequencer->op_answered) {
        return pass_over(sequencer, link, message, in_progress, &sequencer->counters.dropped_in_progress);
    }
    if (!tael_answer_kept(sequencer, index)) {
        return pass_over(sequencer, link, message, NOTICE_NONE, &sequencer->counters.dropped_no_buffer);
    }
    sequencer->counters.replies_kept++;
    return TAEL_VERDICT_DONE;
}

/* The same request number as the last logged request's. */
static enum tael_verdict admit_repeated(struct tael_sequencer *sequencer, uint32_t link,
                                        const struct tael_message *message, uint32_t index) {
    if (message->checksum != tael_sessions_at(sequencer->sessions, index)->checksum) {
        return pass_over(sequencer, link, message, TAEL_NOTICE_OTHER, &sequencer->counters.dropped_checksum);
    }
    return answer_again(sequencer, link, message, index, NOTICE_NONE);
}

/* What became of the request with this number? */
static enum tael_verdict admit_poll(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                                    uint32_t index) {
    const uint32_t last = tael_sessions_at(sequencer->sessions, index)->request;
    struct tael_read *read = sequencer->flights[index].read;
    if (message->request == last) return answer_again(sequencer, link, message, index, TAEL_NOTICE_EXECUTING);
    enum tael_datagram_notice_code notice = TAEL_NOTICE_UNSEEN;
    if (message->request < last || (read != NULL && message->request < read->request)) {
        notice = TAEL_NOTICE_TOO_OLD;
    } else if (read != NULL && message->request == read->request) {
        tael_read_readdress(read, message, link);
        notice = TAEL_NOTICE_EXECUTING;
    }
    tael_answer_notice(sequencer, link, message, notice, 0);
    return TAEL_VERDICT_DONE;
}

/* --- registers --- */

/* The body of a request that is no create; NULL where there is none. */
static const uint8_t *whole_body(const struct tael_message *message) {
    TAEL_ASSERT(!message->is_one_batch);
    if (message->body_size == 0) return NULL;
    TAEL_ASSERT(message->part_count == 1);
    TAEL_ASSERT((uintptr_t)message->parts->data % 16 == 0);
    return message->parts->data;
}

static bool is_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) return false;
    }
    return true;
}

/* Whether a register's body is one: nothing (older clients), or zeros and the capabilities. */
static enum tael_eviction_reason register_frame_check(const struct tael_message *message,
                                                      struct tael_request *request) {
    if (message->body_size == 0) return 0;
    if (message->body_size != tael_operation_info(TAEL_OPERATION_register).event_size) {
        return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    }
    const uint8_t *body = whole_body(message);
    if (!is_zero(body, TAEL_CAPABILITIES_OFFSET)) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    memcpy(&request->capabilities, body + TAEL_CAPABILITIES_OFFSET, sizeof request->capabilities);
    request->capabilities &= CAPABILITIES_KNOWN;
    return 0;
}

/* The same of one by datagram, which wishes for slots and gets as many as there can be. */
static enum tael_eviction_reason register_datagram_check(const struct tael_message *message, uint32_t sessions_max,
                                                         struct tael_request *request) {
    struct tael_datagram_register body;
    if (message->body_size != sizeof body) return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    memcpy(&body, whole_body(message), sizeof body);
    if (body.slots == 0) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    if (!is_zero(body.reserved, sizeof body.reserved)) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    const uint32_t slots_max = sessions_max < TAEL_SLOTS_MAX ? sessions_max : TAEL_SLOTS_MAX;
    request->slots = body.slots < slots_max ? body.slots : (uint16_t)slots_max;
    request->token = message->token;
    return 0;
}

/* A register of a client that has a session. */
static enum tael_verdict admit_register_again(struct tael_sequencer *sequencer, uint32_t link,
                                              const struct tael_message *message, uint32_t index) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    const bool same_way = (session->token != 0) == tael_message_is_datagram(message);
    if (same_way && session->request == 0 && session->checksum == message->checksum) {
        return admit_repeated(sequencer, link, message, index);
    }
    const bool too_old = same_way && session->request != 0;
    return pass_over(sequencer, link, message, too_old ? TAEL_NOTICE_TOO_OLD : TAEL_NOTICE_OTHER,
                     &sequencer->counters.dropped_register);
}

static enum tael_verdict admit_register(struct tael_sequencer *sequencer, uint32_t link,
                                        const struct tael_message *message) {
    if (message->request != 0 || message->session != 0 || message->slot != 0) {
        return pass_over(sequencer, link, message, TAEL_NOTICE_NO_SESSION, &sequencer->counters.dropped_malformed);
    }
    const uint32_t known = tael_sessions_find(sequencer->sessions, message->client, 0);
    if (known != TAEL_SESSION_NONE) return admit_register_again(sequencer, link, message, known);
    struct tael_request request = {
        .client = message->client, .checksum = message->checksum, .operation = TAEL_OPERATION_register};
    const enum tael_eviction_reason reason =
        tael_message_is_datagram(message) ? register_datagram_check(message, sequencer->options.sessions_max, &request)
                                          : register_frame_check(message, &request);
    if (reason != 0) return refuse(sequencer, link, message, reason);
    if (!tael_sequencer_log_has_room(sequencer, 0, TAEL_SEQUENCER_LOG_RESERVE)) {
        if (sequencer->input.log_grows) return TAEL_VERDICT_WAIT;
        return refuse_room(sequencer, link, message, request.capabilities, TAEL_BUSY_DISK,
                           &sequencer->counters.dropped_room_log);
    }
    if (!make_room_for_session(sequencer, tael_sessions_entries_needed(request.slots))) return TAEL_VERDICT_WAIT;
    if (!tael_sequencer_block_reserve(sequencer, 0)) return TAEL_VERDICT_WAIT;
    const uint32_t index = tael_sessions_sequence(sequencer->sessions, tael_sequencer_append(sequencer, &request, 0));
    for (uint32_t i = index; i != TAEL_SESSION_NONE; i = tael_sessions_at(sequencer->sessions, i)->slot_next) {
        sequencer->flights[i] = (struct tael_flight){0};
    }
    flight_note(sequencer, index, link, message);
    return TAEL_VERDICT_DONE;
}

/* --- creates and reads --- */

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
                            uint32_t index, const struct tael_body *body) {
    const struct tael_multi_batch *batches = &body->batches;
    const struct tael_request request = {
        .client = message->client,
        .checksum = message->checksum,
        .session = tael_sessions_at(sequencer->sessions, index)->session,
        .request = message->request,
        .slot = message->slot,
        .size = tael_request_payload_size(batches->element_count, batches->batch_count),
        .event_count = batches->element_count,
        .batch_count = batches->batch_count,
        .operation = message->operation,
    };
    struct tael_request *appended = tael_sequencer_append(sequencer, &request, request.event_count);
    tael_body_copy(body, (uint8_t *)(appended + 1)); /* the one copy there is */
    payload_pad(appended);
    if (tael_operation_creates_accounts(message->operation)) {
        sequencer->account_events += request.event_count;
    } else {
        sequencer->transfer_events += request.event_count;
    }
    const uint32_t sequenced = tael_sessions_sequence(sequencer->sessions, appended);
    TAEL_ASSERT(sequenced == index);
    flight_note(sequencer, index, link, message);
}

static enum tael_verdict admit_create(struct tael_sequencer *sequencer, uint32_t link,
                                      const struct tael_message *message, uint32_t index) {
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
    if (!tael_sequencer_log_has_room(sequencer, payload_size, TAEL_SEQUENCER_LOG_RESERVE)) {
        if (sequencer->input.log_grows) return TAEL_VERDICT_WAIT;
        return refuse_room(sequencer, link, message, session->capabilities, TAEL_BUSY_DISK,
                           &sequencer->counters.dropped_room_log);
    }
    const uint32_t chunks_needed = tael_sessions_chunks_needed(batches->element_count, batches->batch_count);
    const enum room room = make_room_for_reply(sequencer, index, chunks_needed);
    if (room == ROOM_LATER) return TAEL_VERDICT_WAIT;
    if (room == ROOM_NONE) {
        return refuse_room(sequencer, link, message, session->capabilities, TAEL_BUSY_SESSIONS,
                           &sequencer->counters.dropped_room_replies);
    }
    if (!tael_sequencer_block_reserve(sequencer, payload_size)) return TAEL_VERDICT_WAIT;
    sequence_create(sequencer, link, message, index, &body);
    return TAEL_VERDICT_DONE;
}

static enum tael_verdict admit_read(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message,
                                    uint32_t index) {
    uint32_t reply_size_max = 0;
    const enum tael_eviction_reason reason =
        tael_query_body_check(message->operation, whole_body(message), message->body_size, &reply_size_max);
    if (reason != 0) return refuse(sequencer, link, message, reason);
    TAEL_ASSERT(reply_size_max <= TAEL_BODY_SIZE_MAX);
    struct tael_read *read = tael_reads_begin(&sequencer->reads, message, link, index, reply_size_max);
    if (read == NULL) return TAEL_VERDICT_WAIT;
    sequencer->flights[index].read = read;
    sequencer->counters.reads++;
    return TAEL_VERDICT_HELD;
}

/* A request in a slot that has a read in flight. True where that settles it. */
static bool read_in_flight_settles(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                                   uint32_t index) {
    struct tael_read *read = sequencer->flights[index].read;
    if (read == NULL || message->request > read->request) return false;
    if (message->request < read->request) {
        (void)pass_over(sequencer, link, message, TAEL_NOTICE_TOO_OLD, &sequencer->counters.dropped_old);
    } else if (message->checksum != read->checksum) {
        (void)pass_over(sequencer, link, message, TAEL_NOTICE_OTHER, &sequencer->counters.dropped_checksum);
    } else {
        tael_read_readdress(read, message, link);
        (void)pass_over(sequencer, link, message, NOTICE_NONE, &sequencer->counters.dropped_in_progress);
    }
    return true;
}

/* A request with a number above the last logged one's: new, unless it repeats the read in flight. */
static enum tael_verdict admit_new(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message,
                                   uint32_t index) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    if (read_in_flight_settles(sequencer, link, message, index)) return TAEL_VERDICT_DONE;
    switch (tael_operation_info(message->operation).kind) {
    case TAEL_OPERATION_CREATE:
        return admit_create(sequencer, link, message, index);
    case TAEL_OPERATION_READ:
        /* Who was not answered yet cannot know that there is more to ask: not what an honest client does, unless it has given up, and
         * it would read the ledger as of before its own request, on an empty ledger as of no op at all. */
        if (session->op > sequencer->op_answered) return refuse_queue(sequencer, link, message);
        /* One in flight per slot: a client that sends the next has dropped the last. */
        if (sequencer->flights[index].read != NULL) return refuse_queue(sequencer, link, message);
        return admit_read(sequencer, link, message, index);
    default:
        return refuse(sequencer, link, message, TAEL_EVICTION_INVALID_REQUEST_OPERATION);
    }
}

/* --- either way --- */

/* What only a frame says: the session's number, and after which reply it was sent. True where that settles it. */
static bool frame_settles(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                          const struct tael_session *session) {
    struct tael_sequencer_counters *counters = &sequencer->counters;
    if (message->session < session->session) {
        (void)refuse(sequencer, link, message, TAEL_EVICTION_SESSION_TOO_LOW);
        return true;
    }
    /* Of the requests before this one only the last logged one's reply is known. */
    const bool follows = message->request != session->request + 1 ||
                         message->parent == tael_session_context(session->op, session->timestamp);
    uint64_t *counter = NULL;
    if (message->session > session->session) {
        counter = &counters->dropped_session_newer;
    } else if (message->request == 0) {
        counter = &counters->dropped_malformed;
    } else if (!follows) {
        counter = &counters->dropped_parent;
    }
    if (counter != NULL) (*counter)++;
    return counter != NULL;
}

/* A request or poll in a slot that there is. */
static enum tael_verdict admit_in_slot(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message,
                                       uint32_t index) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    if (!tael_message_is_datagram(message) && frame_settles(sequencer, link, message, session)) {
        return TAEL_VERDICT_DONE;
    }
    if (message->kind == TAEL_MESSAGE_POLL) return admit_poll(sequencer, link, message, index);
    if (message->request < session->request) {
        return pass_over(sequencer, link, message, TAEL_NOTICE_TOO_OLD, &sequencer->counters.dropped_old);
    }
    if (message->request == session->request) return admit_repeated(sequencer, link, message, index);
    return admit_new(sequencer, link, message, index);
}

enum tael_verdict tael_admit(struct tael_sequencer *sequencer, uint32_t link, struct tael_message *message) {
    if (message->client == 0) {
        return pass_over(sequencer, link, message, TAEL_NOTICE_NO_SESSION, &sequencer->counters.dropped_malformed);
    }
    if (message->operation == TAEL_OPERATION_register) {
        /* Nothing tells a poll for one's own register from a stranger's, who must not learn the token. */
        if (message->kind == TAEL_MESSAGE_POLL) {
            tael_answer_notice(sequencer, link, message, TAEL_NOTICE_UNSEEN, 0);
            return TAEL_VERDICT_DONE;
        }
        return admit_register(sequencer, link, message);
    }
    const uint32_t index = tael_sessions_find(sequencer->sessions, message->client, message->slot);
    /* Who names no token has no part in a session that has one, nor the other way round. */
    if (index == TAEL_SESSION_NONE || tael_sessions_at(sequencer->sessions, index)->token != message->token) {
        return refuse(sequencer, link, message, TAEL_EVICTION_NO_SESSION);
    }
    return admit_in_slot(sequencer, link, message, index);
}
