/* From bytes to requests. Invariants:
 *  1. At most one receive is in flight a connection, and it writes only behind `filled`.
 *  2. Frames are used in place, so one begins at a multiple of 16: whatever would not, or would not fit, is moved first, and
 *     never over bytes that are lent out.
 *  3. A large frame's body is received only once a large buffer is granted to it, first come, first served.
 *  4. A connection waits in at most one list, and its deadline stands still while the wait is ours. */
#include "io/tcp_internal.h"

#include <errno.h>
#include <string.h>

#include <tael/assert.h>

enum { FRAME_ALIGNMENT = 16, TURN_RELEASED_MAX = 4096 };

/* What became of the bytes that are there. */
enum progress {
    PROGRESS_RECEIVE, /* used up as far as possible: receive on */
    PROGRESS_STOP, /* waiting for somebody, or closed */
};

static struct tael_frame *frame_at_start(const struct tael_tcp_connection *connection) {
    uint8_t *data = tael_receive_pool_data(connection->tcp->pool, connection->buffer);
    return (struct tael_frame *)(void *)(data + connection->start);
}

static uint32_t available(const struct tael_tcp_connection *connection) {
    return connection->filled - connection->start;
}

/* --- deadlines and waiting --- */

static void deadline_start(struct tael_tcp_connection *connection) {
    if (!tael_list_empty(&connection->frame_deadline)) return;
    connection->frame_since_ns = connection->tcp->now_ns;
    tael_list_append(&connection->tcp->frame_deadlines, &connection->frame_deadline);
}

static void deadline_stop(struct tael_tcp_connection *connection) { tael_list_remove(&connection->frame_deadline); }

static enum progress wait_in(struct tael_tcp_connection *connection, struct tael_list *list, uint64_t *counter) {
    TAEL_ASSERT(tael_list_empty(&connection->waiting));
    deadline_stop(connection);
    tael_list_append(list, &connection->waiting);
    connection->waits_in = list;
    *counter += 1;
    return PROGRESS_STOP;
}

/* --- buffers --- */

static void buffer_forget(struct tael_tcp_connection *connection) {
    connection->buffer = TAEL_RECEIVE_NONE;
    connection->start = 0;
    connection->filled = 0;
}

static void buffer_drop(struct tael_tcp_connection *connection) {
    tael_receive_pool_drop(connection->tcp->pool, connection->buffer);
    buffer_forget(connection);
}

/* Moves the rest to the beginning of `to`, which becomes the connection's buffer. */
static void move_rest(struct tael_tcp_connection *connection, uint32_t to) {
    struct tael_receive_pool *pool = connection->tcp->pool;
    const uint32_t rest = available(connection);
    TAEL_ASSERT(rest <= tael_receive_pool_buffer_size(pool, to));
    memmove(tael_receive_pool_data(pool, to), tael_receive_pool_data(pool, connection->buffer) + connection->start,
            rest);
    if (to != connection->buffer) tael_receive_pool_drop(pool, connection->buffer);
    connection->buffer = to;
    connection->start = 0;
    connection->filled = rest;
}

/* Moves the rest to the beginning of a small buffer: its own, unless earlier requests in it are lent out. False when there
 * is none; each of those requests coming back, or any buffer, will do. */
static bool move_to_beginning(struct tael_tcp_connection *connection) {
    struct tael_receive_pool *pool = connection->tcp->pool;
    uint32_t to = connection->buffer;
    if (!tael_receive_pool_held_once(pool, to)) to = tael_receive_pool_take_small(pool);
    if (to == TAEL_RECEIVE_NONE) return false;
    move_rest(connection, to);
    return true;
}

/* Sees to it that a frame of `size` bytes at start fits where it is. */
static enum progress make_room(struct tael_tcp_connection *connection, uint32_t size) {
    struct tael_tcp *tcp = connection->tcp;
    if (connection->start + size <= tael_receive_pool_buffer_size(tcp->pool, connection->buffer)) {
        return PROGRESS_RECEIVE;
    }
    if (move_to_beginning(connection)) return PROGRESS_RECEIVE;
    return wait_in(connection, &tcp->wait_small, &tcp->counters.waits_small);
}

static enum progress ask_for_large(struct tael_tcp_connection *connection) {
    struct tael_tcp *tcp = connection->tcp;
    const uint32_t buffer =
        tael_list_empty(&tcp->wait_large) ? tael_receive_pool_take_large(tcp->pool) : TAEL_RECEIVE_NONE;
    if (buffer == TAEL_RECEIVE_NONE) return wait_in(connection, &tcp->wait_large, &tcp->counters.waits_large);
    move_rest(connection, buffer);
    return PROGRESS_RECEIVE;
}

/* --- frames --- */

/* The frame at start is done with. */
static void consume(struct tael_tcp_connection *connection, uint32_t size) {
    connection->start += size;
    connection->header_checked = false;
    connection->body_checked = false;
    deadline_stop(connection);
}

/* Lends the frame at start to the sequencer. False when that has no room. */
static bool lend(struct tael_tcp_connection *connection) {
    struct tael_tcp *tcp = connection->tcp;
    struct tael_tcp_message *message = tcp->messages_free;
    if (message == NULL) return false;
    const struct tael_frame *frame = frame_at_start(connection);
    tael_message_of_frame(&message->message, frame, tael_tcp_handle(connection));
    message->buffer = connection->buffer;
    if (!tael_ring_push(&tcp->link->requests, &message->message)) return false;
    tcp->messages_free = message->next_free;
    tcp->messages_lent++;
    tcp->counters.requests++;
    tael_receive_pool_hold(tcp->pool, connection->buffer);
    connection->in_progress = message;
    consume(connection, frame->size);
    return true;
}

static enum progress take_request(struct tael_tcp_connection *connection) {
    struct tael_tcp *tcp = connection->tcp;
    /* Who waits already goes first. */
    if (tael_list_empty(&tcp->wait_requests) && lend(connection)) return PROGRESS_RECEIVE;
    return wait_in(connection, &tcp->wait_requests, &tcp->counters.waits_requests);
}

/* The frame at start is whole. */
static enum progress take_frame(struct tael_tcp_connection *connection) {
    const struct tael_frame *frame = frame_at_start(connection);
    if (!connection->body_checked) {
        const enum tael_frame_verdict verdict = tael_frame_check_body(frame);
        if (verdict != TAEL_FRAME_ok) {
            tael_tcp_connection_reject(connection, verdict);
            return PROGRESS_STOP;
        }
        connection->body_checked = true;
    }
    if (frame->command == TAEL_COMMAND_REQUEST) return take_request(connection);
    tael_tcp_send_pong(connection, frame);
    consume(connection, frame->size);
    return PROGRESS_RECEIVE;
}

/* A client that repeats what the sequencer has in hand would only fill the queue in front of it. Once it is released, only
 * the sequencer can tell a repetition of what it executes from one of what it dropped. */
static bool is_repeated(const struct tael_tcp_connection *connection, const struct tael_frame *frame) {
    return connection->in_progress != NULL && connection->in_progress->message.checksum == frame->checksum;
}

/* Looks at the header at start, of a frame not looked at before. */
static enum progress take_header(struct tael_tcp_connection *connection) {
    struct tael_tcp *tcp = connection->tcp;
    const struct tael_frame *frame = frame_at_start(connection);
    const enum tael_frame_verdict verdict = tael_frame_check_incoming(frame, tcp->options.cluster);
    if (verdict != TAEL_FRAME_ok) {
        tael_tcp_connection_reject(connection, verdict);
        return PROGRESS_STOP;
    }
    connection->header_checked = true;
    if (is_repeated(connection, frame)) {
        tcp->counters.requests_repeated++;
        connection->discard = frame->size;
    }
    return PROGRESS_RECEIVE;
}

/* Passes over what is there of a frame that is skipped. */
static void discard(struct tael_tcp_connection *connection) {
    const uint32_t size = connection->discard < available(connection) ? connection->discard : available(connection);
    connection->discard -= size;
    if (connection->discard == 0) {
        consume(connection, size);
    } else {
        connection->start += size;
    }
}

/* Looks at the beginning of the frame at start: PROGRESS_RECEIVE with *again when there is more to do with what is there. */
static enum progress take_start(struct tael_tcp_connection *connection, bool *again) {
    struct tael_tcp *tcp = connection->tcp;
    *again = false;
    if (connection->start % FRAME_ALIGNMENT != 0 && !move_to_beginning(connection)) {
        return wait_in(connection, &tcp->wait_small, &tcp->counters.waits_small);
    }
    if (available(connection) < TAEL_FRAME_HEADER_SIZE) return make_room(connection, TAEL_FRAME_HEADER_SIZE);
    *again = true;
    if (!connection->header_checked) return take_header(connection);
    const uint32_t size = frame_at_start(connection)->size;
    if (available(connection) >= size) return take_frame(connection);
    *again = false;
    if (size > tael_receive_pool_buffer_size(tcp->pool, connection->buffer)) return ask_for_large(connection);
    return make_room(connection, size);
}

/* Takes all that is there. Bounded by the buffer: every frame has 256 bytes at least. */
static enum progress take_all(struct tael_tcp_connection *connection) {
    bool again = true;
    while (again && connection->buffer != TAEL_RECEIVE_NONE) {
        if (connection->discard > 0) discard(connection);
        if (available(connection) == 0) {
            buffer_drop(connection);
            break;
        }
        const enum progress progress = take_start(connection, &again);
        if (progress == PROGRESS_STOP) return progress;
    }
    return PROGRESS_RECEIVE;
}

/* --- receiving --- */

static void receive_done(struct tael_completion *completion, int32_t result, uint32_t flags) {
    struct tael_tcp_connection *connection =
        TAEL_CONTAINER_OF(completion, struct tael_tcp_connection, receive.completion);
    connection->receive.result = result;
    connection->receive.flags = flags;
    connection->receive.in_flight = false;
    connection->receive.done = true;
    tael_tcp_ready(connection);
}

/* Into a small buffer that the kernel picks when there is something. */
static void submit_anywhere(struct tael_tcp_connection *connection, struct io_uring_sqe *sqe) {
    const struct tael_tcp *tcp = connection->tcp;
    io_uring_prep_recv(sqe, connection->fd, NULL, tcp->options.small_buffer_size, 0);
    io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
    sqe->buf_group = tcp->options.buffer_group;
}

/* Behind what is there: of a small buffer all that fits, of a large one its own frame and nothing behind it. */
static void submit_behind(struct tael_tcp_connection *connection, struct io_uring_sqe *sqe) {
    const struct tael_tcp *tcp = connection->tcp;
    uint8_t *to = tael_receive_pool_data(tcp->pool, connection->buffer) + connection->filled;
    const uint32_t buffer_size = tael_receive_pool_buffer_size(tcp->pool, connection->buffer);
    const bool large = buffer_size > tcp->options.small_buffer_size;
    const uint32_t end = large ? frame_at_start(connection)->size : buffer_size;
    TAEL_ASSERT(end > connection->filled);
    io_uring_prep_recv(sqe, connection->fd, to, end - connection->filled, large ? MSG_WAITALL : 0);
}

static void receive_submit(struct tael_tcp_connection *connection) {
    struct io_uring_sqe *sqe = tael_tcp_submission(connection->tcp);
    if (sqe == NULL) {
        tael_tcp_ready(connection);
        return;
    }
    if (connection->buffer == TAEL_RECEIVE_NONE) {
        submit_anywhere(connection, sqe);
    } else {
        submit_behind(connection, sqe);
    }
    if (connection->socket_drained) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    io_uring_sqe_set_data(sqe, &connection->receive.completion);
    connection->receive.in_flight = true;
    if (connection->buffer != TAEL_RECEIVE_NONE || connection->discard > 0) deadline_start(connection);
}

void tael_tcp_receive_continue(struct tael_tcp_connection *connection) {
    if (connection->receive.in_flight || !tael_list_empty(&connection->waiting)) return;
    if (connection->tcp->draining) {
        deadline_stop(connection);
        return;
    }
    if (take_all(connection) == PROGRESS_STOP) return;
    if (connection->unsent_count >= TAEL_TCP_UNSENT_MAX) {
        /* The peer should read first; each completed send comes by here again. */
        deadline_stop(connection);
        return;
    }
    receive_submit(connection);
}

/* Takes over the buffer that the kernel picked, also when nobody wants what is in it any more. */
static void buffer_arrived(struct tael_tcp_connection *connection, uint32_t flags) {
    TAEL_ASSERT(connection->buffer == TAEL_RECEIVE_NONE);
    connection->buffer = flags >> IORING_CQE_BUFFER_SHIFT;
    tael_receive_pool_arrived(connection->tcp->pool, connection->buffer);
    if (connection->receive.result <= 0) buffer_drop(connection);
}

static void receive_failed(struct tael_tcp_connection *connection, int32_t error) {
    struct tael_tcp *tcp = connection->tcp;
    switch (error) {
    case -ENOBUFS:
        (void)wait_in(connection, &tcp->wait_small, &tcp->counters.waits_small);
        return;
    case -EINTR:
    case -EAGAIN:
        return;
    case -ECONNRESET:
        tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_by_peer);
        return;
    default:
        tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_error);
    }
}

void tael_tcp_receive_result(struct tael_tcp_connection *connection) {
    const int32_t result = connection->receive.result;
    const uint32_t flags = connection->receive.flags;
    connection->receive.done = false;
    if (flags & IORING_CQE_F_BUFFER) buffer_arrived(connection, flags);
    if (connection->state != TAEL_TCP_STATE_OPEN) return;
    if (result < 0) {
        receive_failed(connection, result);
    } else if (result == 0) {
        tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_by_peer);
    } else {
        connection->filled += (uint32_t)result;
        connection->socket_drained = (flags & IORING_CQE_F_SOCK_NONEMPTY) == 0;
        connection->tcp->counters.bytes_received += (uint64_t)result;
    }
}

void tael_tcp_receive_init(struct tael_tcp_connection *connection) {
    connection->receive = (struct tael_tcp_operation){.completion = {.done = receive_done}};
    buffer_forget(connection);
    connection->discard = 0;
    connection->header_checked = false;
    connection->body_checked = false;
    connection->socket_drained = false;
    connection->in_progress = NULL;
    connection->waits_in = NULL;
}

void tael_tcp_receive_abandon(struct tael_tcp_connection *connection) {
    TAEL_ASSERT(!connection->receive.in_flight);
    TAEL_ASSERT(tael_list_empty(&connection->waiting));
    if (connection->buffer != TAEL_RECEIVE_NONE) buffer_drop(connection);
}

/* --- the turn --- */

static struct tael_tcp_connection *first_waiting(struct tael_list *list) {
    struct tael_list *link = tael_list_first(list);
    return link == NULL ? NULL : TAEL_CONTAINER_OF(link, struct tael_tcp_connection, waiting);
}

static void wait_over(struct tael_tcp_connection *connection) {
    tael_list_remove(&connection->waiting);
    connection->waits_in = NULL;
    tael_tcp_ready(connection);
}

static void take_back(struct tael_tcp *tcp, struct tael_message *lent) {
    struct tael_tcp_message *message = TAEL_CONTAINER_OF(lent, struct tael_tcp_message, message);
    struct tael_tcp_connection *connection = tael_tcp_find(tcp, lent->connection);
    tael_receive_pool_drop(tcp->pool, message->buffer);
    message->next_free = tcp->messages_free;
    tcp->messages_free = message;
    TAEL_ASSERT(tcp->messages_lent > 0);
    tcp->messages_lent--;
    if (connection == NULL) return;
    if (connection->in_progress == message) connection->in_progress = NULL;
    /* It may have waited for just this one, to move within its own buffer, whoever stands before it. */
    if (connection->waits_in == &tcp->wait_small && connection->buffer == message->buffer &&
        tael_receive_pool_held_once(tcp->pool, message->buffer)) {
        TAEL_ASSERT(move_to_beginning(connection));
        wait_over(connection);
    }
}

static void serve_small(struct tael_tcp *tcp) {
    uint32_t in_kernel = tael_receive_pool_in_kernel(tcp->pool);
    struct tael_tcp_connection *connection;
    while ((connection = first_waiting(&tcp->wait_small)) != NULL) {
        if (connection->buffer != TAEL_RECEIVE_NONE) {
            if (!move_to_beginning(connection)) return;
        } else {
            if (in_kernel == 0) return;
            in_kernel--;
        }
        wait_over(connection);
    }
}

static void serve_large(struct tael_tcp *tcp) {
    struct tael_tcp_connection *connection;
    while ((connection = first_waiting(&tcp->wait_large)) != NULL) {
        const uint32_t buffer = tael_receive_pool_take_large(tcp->pool);
        if (buffer == TAEL_RECEIVE_NONE) return;
        move_rest(connection, buffer);
        wait_over(connection);
    }
}

static void serve_requests(struct tael_tcp *tcp) {
    struct tael_tcp_connection *connection;
    while (!tcp->draining && (connection = first_waiting(&tcp->wait_requests)) != NULL) {
        if (!lend(connection)) return;
        wait_over(connection);
    }
}

uint32_t tael_tcp_receive_turn(struct tael_tcp *tcp) {
    uint32_t released = 0;
    struct tael_message *message;
    while (released < TURN_RELEASED_MAX && (message = tael_ring_pop(&tcp->link->released)) != NULL) {
        take_back(tcp, message);
        released++;
    }
    tael_receive_pool_refill(tcp->pool);
    serve_requests(tcp);
    serve_large(tcp);
    serve_small(tcp);
    return released;
}
