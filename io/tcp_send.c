/* From replies to bytes. Invariants:
 *  1. At most one send is in flight a connection; it covers the first frames of the queue, which stay there until they are
 *     gone whole. So frames leave in the order in which they were queued, never mixed.
 *  2. Every reply that comes through `replies` goes back through `sent`, exactly once, whatever becomes of its connection.
 *  3. `send_deadline` runs exactly while something is unsent, from the last progress. */
#include "io/tcp_internal.h"

#include <errno.h>
#include <string.h>

#include <tael/assert.h>

enum { TURN_REPLIES_MAX = 1024 };

static void return_reply(struct tael_tcp *tcp, struct tael_reply *reply) {
    TAEL_ASSERT(tcp->replies_held[reply->pool] > 0);
    tcp->replies_held[reply->pool]--;
    TAEL_ASSERT(tael_ring_push(&tcp->link->sent, reply));
}

static bool is_large(const struct tael_frame *frame) { return frame->size > TAEL_TCP_LARGE_REPLY_SIZE; }

/* --- the queue --- */

static void queue_append(struct tael_tcp_connection *connection, struct tael_tcp_unsent *entry) {
    entry->next = NULL;
    if (connection->unsent_first == NULL) {
        connection->unsent_first = entry;
        connection->send_since_ns = connection->tcp->now_ns;
        tael_list_append(&connection->tcp->send_deadlines, &connection->send_deadline);
    } else {
        connection->unsent_last->next = entry;
        if (is_large(entry->frame)) connection->unsent_large++;
    }
    connection->unsent_last = entry;
    connection->unsent_count++;
    tael_tcp_ready(connection);
}

/* Takes the first frame out, and returns its reply. */
static void queue_pop(struct tael_tcp_connection *connection) {
    struct tael_tcp *tcp = connection->tcp;
    struct tael_tcp_unsent *entry = connection->unsent_first;
    connection->unsent_first = entry->next;
    connection->unsent_count--;
    connection->sent = 0;
    if (entry->next != NULL && is_large(entry->next->frame)) connection->unsent_large--;
    if (entry->reply == NULL) {
        connection->pong_unsent = false;
        return;
    }
    return_reply(tcp, entry->reply);
    entry->next = tcp->unsent_free;
    tcp->unsent_free = entry;
}

/* --- replies --- */

static void reply_queue(struct tael_tcp_connection *connection, struct tael_reply *reply) {
    struct tael_tcp *tcp = connection->tcp;
    struct tael_tcp_unsent *entry = tcp->unsent_free;
    TAEL_ASSERT(entry != NULL); /* there is one for each reply buffer */
    tcp->unsent_free = entry->next;
    tael_frame_seal(reply->frame);
    *entry = (struct tael_tcp_unsent){.frame = reply->frame, .reply = reply};
    queue_append(connection, entry);
    tcp->counters.replies++;
}

static void reply_take(struct tael_tcp *tcp, struct tael_reply *reply) {
    TAEL_ASSERT(reply->pool < TAEL_TCP_REPLY_POOLS_MAX);
    TAEL_ASSERT(reply->frame->size <= reply->capacity);
    TAEL_ASSERT(tcp->replies_held[reply->pool] < tcp->options.reply_buffers[reply->pool]);
    tcp->replies_held[reply->pool]++;
    struct tael_tcp_connection *connection = tael_tcp_find(tcp, reply->connection);
    if (connection == NULL) {
        tcp->counters.replies_stale++;
        return_reply(tcp, reply);
    } else if (is_large(reply->frame) && connection->unsent_large > 0) {
        /* One is being sent and one waits: a peer that asks for more than it reads. It can ask again. */
        tcp->counters.replies_dropped++;
        return_reply(tcp, reply);
    } else {
        reply_queue(connection, reply);
    }
}

uint32_t tael_tcp_send_turn(struct tael_tcp *tcp) {
    uint32_t taken = 0;
    struct tael_reply *reply;
    while (taken < TURN_REPLIES_MAX && (reply = tael_ring_pop(&tcp->link->replies)) != NULL) {
        reply_take(tcp, reply);
        taken++;
    }
    return taken;
}

bool tael_tcp_send_short(const struct tael_tcp *tcp) {
    for (uint32_t pool = 0; pool < TAEL_TCP_REPLY_POOLS_MAX; pool++) {
        const uint32_t count = tcp->options.reply_buffers[pool];
        if (count > 0 && tcp->replies_held[pool] == count) return true;
    }
    return false;
}

void tael_tcp_send_pong(struct tael_tcp_connection *connection, const struct tael_frame *ping) {
    struct tael_tcp *tcp = connection->tcp;
    tcp->counters.pings++;
    if (connection->pong_unsent) {
        tcp->counters.pings_skipped++;
        return;
    }
    struct tael_frame *pong = &connection->pong;
    memset(pong, 0, sizeof *pong);
    pong->cluster = tcp->options.cluster;
    pong->size = TAEL_FRAME_HEADER_SIZE;
    pong->release = ping->release;
    pong->command = TAEL_COMMAND_PONG_CLIENT;
    pong->pong_client.timestamp_monotonic = ping->ping_client.timestamp_monotonic;
    tael_frame_seal(pong);
    connection->pong_unsent = true;
    connection->pong_entry = (struct tael_tcp_unsent){.frame = pong};
    queue_append(connection, &connection->pong_entry);
}

/* --- sending --- */

static void send_done(struct tael_completion *completion, int32_t result, uint32_t flags) {
    struct tael_tcp_connection *connection = TAEL_CONTAINER_OF(completion, struct tael_tcp_connection, send.completion);
    connection->send.result = result;
    connection->send.flags = flags;
    connection->send.in_flight = false;
    connection->send.done = true;
    tael_tcp_ready(connection);
}

/* Lists the first frames of the queue, without what is gone of the first. How many. */
static size_t gather(struct tael_tcp_connection *connection) {
    size_t count = 0;
    size_t skip = connection->sent;
    for (struct tael_tcp_unsent *entry = connection->unsent_first; entry != NULL && count < TAEL_TCP_GATHER_MAX;
         entry = entry->next) {
        connection->gather_parts[count] =
            (struct iovec){.iov_base = (uint8_t *)entry->frame + skip, .iov_len = entry->frame->size - skip};
        count++;
        skip = 0;
    }
    return count;
}

void tael_tcp_send_continue(struct tael_tcp_connection *connection) {
    if (connection->send.in_flight || connection->unsent_first == NULL) return;
    struct io_uring_sqe *sqe = tael_tcp_submission(connection->tcp);
    if (sqe == NULL) {
        tael_tcp_ready(connection);
        return;
    }
    const size_t count = gather(connection);
    const struct iovec *first = &connection->gather_parts[0];
    if (count == 1) {
        io_uring_prep_send(sqe, connection->fd, first->iov_base, first->iov_len, MSG_NOSIGNAL);
    } else {
        connection->gather = (struct msghdr){.msg_iov = connection->gather_parts, .msg_iovlen = count};
        io_uring_prep_sendmsg(sqe, connection->fd, &connection->gather, MSG_NOSIGNAL);
    }
    io_uring_sqe_set_data(sqe, &connection->send.completion);
    connection->send.in_flight = true;
}

/* `size` more bytes are gone. */
static void advance(struct tael_tcp_connection *connection, size_t size) {
    size_t gone = connection->sent + size;
    while (connection->unsent_first != NULL && gone >= connection->unsent_first->frame->size) {
        gone -= connection->unsent_first->frame->size;
        queue_pop(connection);
    }
    TAEL_ASSERT(connection->unsent_first != NULL || gone == 0);
    connection->sent = (uint32_t)gone;
    tael_list_remove(&connection->send_deadline);
    if (connection->unsent_first == NULL) return;
    connection->send_since_ns = connection->tcp->now_ns;
    tael_list_append(&connection->tcp->send_deadlines, &connection->send_deadline);
}

void tael_tcp_send_result(struct tael_tcp_connection *connection) {
    const int32_t result = connection->send.result;
    connection->send.done = false;
    if (connection->state != TAEL_TCP_STATE_OPEN) return;
    if (result > 0) {
        connection->tcp->counters.bytes_sent += (uint64_t)result;
        advance(connection, (size_t)result);
    } else if (result == -EPIPE || result == -ECONNRESET) {
        tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_by_peer);
    } else if (result != -EINTR && result != -EAGAIN) {
        tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_error);
    }
}

void tael_tcp_send_init(struct tael_tcp_connection *connection) {
    connection->send = (struct tael_tcp_operation){.completion = {.done = send_done}};
    connection->unsent_first = NULL;
    connection->unsent_last = NULL;
    connection->unsent_count = 0;
    connection->unsent_large = 0;
    connection->sent = 0;
    connection->pong_unsent = false;
}

void tael_tcp_send_abandon(struct tael_tcp_connection *connection) {
    TAEL_ASSERT(!connection->send.in_flight);
    while (connection->unsent_first != NULL) queue_pop(connection);
}
