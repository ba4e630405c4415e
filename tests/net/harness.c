#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <tael/bits.h>
#include <tael/completion.h>

enum { RING_ENTRIES = 256, PATIENCE_MS = 2000 };

static uint64_t real_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct harness_options harness_options_default(void) {
    struct harness_options options = {.tcp = tael_tcp_options_default(), .requests_capacity = 4096};
    options.tcp.cluster = HARNESS_CLUSTER;
    options.tcp.connections_max = 64;
    options.tcp.small_buffers = 256;
    options.tcp.large_buffers = 4;
    options.tcp.reply_buffers[HARNESS_POOL_SMALL] = 256;
    options.tcp.reply_buffers[HARNESS_POOL_LARGE] = 4;
    return options;
}

static void keep_log(void *context, const char *line) {
    struct harness *harness = context;
    harness->log_lines++;
    snprintf(harness->log_last, sizeof harness->log_last, "%s", line);
}

static void replies_init(struct harness *harness) {
    const uint32_t *counts = harness->options.reply_buffers;
    harness->replies = calloc(counts[0] + counts[1], sizeof *harness->replies);
    assert_non_null(harness->replies);
    struct tael_reply *reply = harness->replies;
    for (uint32_t pool = 0; pool < 2; pool++) {
        harness->replies_free[pool] = calloc(counts[pool] + 1, sizeof reply);
        assert_non_null(harness->replies_free[pool]);
        for (uint32_t i = 0; i < counts[pool]; i++, reply++) {
            reply->pool = pool;
            reply->capacity = pool == HARNESS_POOL_SMALL ? HARNESS_SMALL_CAPACITY : TAEL_MESSAGE_SIZE_MAX;
            reply->frame = aligned_alloc(64, reply->capacity);
            assert_non_null(reply->frame);
            harness->replies_free[pool][harness->replies_free_count[pool]++] = reply;
        }
    }
}

static void files_raise(void) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 16384 ? limit.rlim_max : 16384;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

void harness_start(struct harness *harness, const struct harness_options *options) {
    *harness = (struct harness){.options = options->tcp, .now_ns = 1};
    files_raise();
    harness->options.log = keep_log;
    harness->options.log_context = harness;
    const uint32_t replies = tael_power_of_two(options->tcp.reply_buffers[HARNESS_POOL_SMALL] +
                                               options->tcp.reply_buffers[HARNESS_POOL_LARGE]);
    const uint32_t released = tael_power_of_two(options->tcp.messages_max);
    harness->arena.size = tael_tcp_size_bytes(&harness->options) + tael_ring_size_bytes(options->requests_capacity) +
                          tael_ring_size_bytes(released) + 2 * tael_ring_size_bytes(replies);
    harness->arena.size = (harness->arena.size + 4095) & ~(size_t)4095;
    harness->arena.base = aligned_alloc(4096, harness->arena.size);
    assert_non_null(harness->arena.base);
    memset(harness->arena.base, 0, harness->arena.size);
    tael_ring_init(&harness->link.requests, &harness->arena, options->requests_capacity);
    tael_ring_init(&harness->link.released, &harness->arena, released);
    tael_ring_init(&harness->link.replies, &harness->arena, replies);
    tael_ring_init(&harness->link.sent, &harness->arena, replies);
    harness->echo.kept = calloc(released, sizeof(struct tael_message *));
    replies_init(harness);
    assert_int_equal(io_uring_queue_init(RING_ENTRIES, &harness->ring, 0), 0);
    assert_int_equal(tael_tcp_init(&harness->tcp, &harness->arena, &harness->options, &harness->ring, &harness->link),
                     0);
    tael_arena_freeze(&harness->arena);
    assert_int_equal(tael_tcp_listen(harness->tcp, "127.0.0.1:0"), 0);
    assert_true(tael_tcp_port(harness->tcp) != 0);
    if (!options->stands_still) harness_settle(harness);
}

void harness_stop(struct harness *harness) {
    harness_release(harness, harness->echo.kept_count);
    harness->echo.stopped = false;
    harness->echo.keeps_messages = false;
    tael_tcp_close(harness->tcp);
    const uint64_t give_up_ms = real_ms() + PATIENCE_MS;
    while (!tael_tcp_closed(harness->tcp) && real_ms() < give_up_ms) harness_turn(harness, 1000);
    harness_settle(harness);
    assert_true(tael_tcp_closed(harness->tcp));
    assert_true(tael_tcp_drained(harness->tcp));
    assert_int_equal(harness->echo.bad, 0);
    for (uint32_t pool = 0; pool < 2; pool++) {
        assert_int_equal(harness->replies_free_count[pool], harness->options.reply_buffers[pool]);
    }
    io_uring_queue_exit(&harness->ring);
    for (uint32_t i = 0; i < harness->replies_free_count[0] + harness->replies_free_count[1]; i++) {
        free(harness->replies[i].frame);
    }
    for (uint32_t pool = 0; pool < 2; pool++) free(harness->replies_free[pool]);
    free(harness->replies);
    free(harness->echo.kept);
    free(harness->arena.base);
}

/* --- the echo --- */

static struct tael_reply *reply_take(struct harness *harness, uint32_t size) {
    const uint32_t pool = size <= HARNESS_SMALL_CAPACITY ? HARNESS_POOL_SMALL : HARNESS_POOL_LARGE;
    if (harness->replies_free_count[pool] == 0) return NULL;
    return harness->replies_free[pool][--harness->replies_free_count[pool]];
}

static void reply_fill(struct tael_reply *reply, const struct tael_message *message, uint32_t size) {
    struct tael_frame *frame = reply->frame;
    memset(frame, 0, TAEL_FRAME_HEADER_SIZE);
    frame->cluster = HARNESS_CLUSTER;
    frame->size = size;
    frame->release = message->release;
    frame->command = TAEL_COMMAND_REPLY;
    frame->reply.request_checksum = message->checksum;
    frame->reply.client = message->client;
    frame->reply.request = message->request;
    frame->reply.operation = message->operation;
    const uint32_t body = message->body_size;
    const uint32_t room = size - TAEL_FRAME_HEADER_SIZE;
    memset(frame + 1, 0, room);
    memcpy(frame + 1, message->parts->data, body < room ? body : room);
    reply->connection = message->connection;
}

static bool describes(const struct tael_message *message, const struct tael_frame *frame) {
    return message->client == frame->request.client && message->checksum == frame->checksum &&
           message->parent == frame->request.parent && message->session == frame->request.session &&
           message->request == frame->request.request && message->release == frame->release &&
           message->operation == frame->request.operation && message->token == 0 && message->slot == 0 &&
           message->body_size == frame->size - TAEL_FRAME_HEADER_SIZE;
}

/* What include/tael/link.h says of a message. */
static bool message_is_sound(const struct tael_message *message) {
    const struct tael_frame *frame = (const struct tael_frame *)(const void *)message->parts->data - 1;
    return (uintptr_t)frame % 16 == 0 && message->part_count == 1 && message->parts->size == message->body_size &&
           tael_frame_check_incoming(frame, HARNESS_CLUSTER) == TAEL_FRAME_ok &&
           tael_frame_check_body(frame) == TAEL_FRAME_ok && frame->command == TAEL_COMMAND_REQUEST &&
           describes(message, frame) && message->connection != TAEL_CONNECTION_NONE;
}

static bool echo_one(struct harness *harness) {
    struct harness_echo *echo = &harness->echo;
    struct tael_message *message = tael_ring_peek(&harness->link.requests);
    if (echo->stopped || message == NULL) return false;
    const uint32_t size = echo->reply_size != 0 ? echo->reply_size : TAEL_FRAME_HEADER_SIZE + message->body_size;
    struct tael_reply *reply = echo->keeps_messages ? NULL : reply_take(harness, size);
    if (reply == NULL && !echo->keeps_messages) return false;
    (void)tael_ring_pop(&harness->link.requests);
    echo->taken++;
    echo->bad += message_is_sound(message) ? 0 : 1;
    echo->last_connection = message->connection;
    if (echo->keeps_messages) {
        echo->kept[echo->kept_count++] = message;
        return true;
    }
    reply_fill(reply, message, size);
    assert_true(tael_ring_push(&harness->link.released, message));
    assert_true(tael_ring_push(&harness->link.replies, reply));
    return true;
}

static uint32_t echo_turn(struct harness *harness) {
    uint32_t work = 0;
    struct tael_reply *sent;
    while ((sent = tael_ring_pop(&harness->link.sent)) != NULL) {
        harness->replies_free[sent->pool][harness->replies_free_count[sent->pool]++] = sent;
        work++;
    }
    while (echo_one(harness)) work++;
    return work;
}

void harness_release(struct harness *harness, uint32_t count) {
    struct harness_echo *echo = &harness->echo;
    assert_true(count <= echo->kept_count);
    for (uint32_t i = 0; i < count; i++) {
        echo->bad += message_is_sound(echo->kept[i]) ? 0 : 1; /* untouched all the while */
        assert_true(tael_ring_push(&harness->link.released, echo->kept[i]));
    }
    echo->kept_count -= count;
    memmove(echo->kept, echo->kept + count, echo->kept_count * sizeof echo->kept[0]);
}

void harness_reply_to(struct harness *harness, tael_connection connection) {
    struct tael_reply *reply = reply_take(harness, TAEL_FRAME_HEADER_SIZE);
    assert_non_null(reply);
    const struct tael_frame frame = {.size = TAEL_FRAME_HEADER_SIZE, .request.client = 1};
    struct tael_message message;
    tael_message_of_frame(&message, &frame, connection);
    reply_fill(reply, &message, TAEL_FRAME_HEADER_SIZE);
    assert_true(tael_ring_push(&harness->link.replies, reply));
}

/* --- the turn --- */

static uint32_t dispatch(struct harness *harness) {
    struct io_uring_cqe *cqe;
    unsigned head;
    uint32_t count = 0;
    io_uring_for_each_cqe(&harness->ring, head, cqe) {
        tael_completion_dispatch(cqe->user_data, cqe->res, cqe->flags);
        count++;
    }
    io_uring_cq_advance(&harness->ring, count);
    return count;
}

uint32_t harness_turn(struct harness *harness, uint32_t wait_us) {
    const uint32_t work = tael_tcp_poll(harness->tcp, harness->now_ns) + echo_turn(harness);
    struct __kernel_timespec wait = {.tv_nsec = (long long)wait_us * 1000};
    struct io_uring_cqe *cqe;
    if (work > 0 || wait_us == 0) {
        (void)io_uring_submit_and_get_events(&harness->ring);
    } else {
        (void)io_uring_submit_and_wait_timeout(&harness->ring, &cqe, 1, &wait, NULL);
    }
    return work + dispatch(harness);
}

void harness_settle(struct harness *harness) {
    /* Loopback delivers at once, so a few idle turns in a row mean rest. */
    for (int idle = 0; idle < 3; idle++) {
        if (harness_turn(harness, 200) > 0) idle = -1;
    }
}

void harness_pass(struct harness *harness, uint64_t duration_ns) {
    harness->now_ns += duration_ns;
    harness_settle(harness);
}

const struct tael_tcp_counters *harness_counters(const struct harness *harness) {
    return tael_tcp_counters(harness->tcp);
}

/* --- clients --- */

int client_connect(const struct harness *harness) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    const int on = 1; /* otherwise a second write waits for the first one's acknowledgement */
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(tael_tcp_port(harness->tcp)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void client_send(struct harness *harness, int fd, const void *data, size_t size) {
    const uint8_t *at = data;
    const uint64_t give_up_ms = real_ms() + PATIENCE_MS;
    while (size > 0 && real_ms() < give_up_ms) {
        const ssize_t sent = send(fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
        } else if (errno != EAGAIN) {
            return; /* closed: what the test asks next will tell */
        }
        harness_turn(harness, 0);
    }
}

bool client_receive(struct harness *harness, int fd, void *data, size_t size) {
    uint8_t *at = data;
    const uint64_t give_up_ms = real_ms() + PATIENCE_MS;
    while (size > 0) {
        const ssize_t received = recv(fd, at, size, MSG_DONTWAIT);
        if (received > 0) {
            at += received;
            size -= (size_t)received;
        } else if (received == 0 || errno != EAGAIN || real_ms() > give_up_ms) {
            return false;
        } else {
            harness_turn(harness, 1000);
        }
    }
    return true;
}

bool client_receive_frame(struct harness *harness, int fd, struct tael_frame *frame) {
    if (!client_receive(harness, fd, frame, TAEL_FRAME_HEADER_SIZE)) return false;
    if (tael_frame_check_header(frame, HARNESS_CLUSTER) != TAEL_FRAME_ok) return false;
    if (!client_receive(harness, fd, frame + 1, tael_frame_body_size(frame))) return false;
    return tael_frame_check_body(frame) == TAEL_FRAME_ok;
}

bool client_is_closed(struct harness *harness, int fd) {
    uint8_t rest[65536];
    harness_settle(harness);
    /* What the sockets still hold comes first. */
    for (int silent = 0; silent < 10; silent++) {
        ssize_t received;
        while ((received = recv(fd, rest, sizeof rest, MSG_DONTWAIT)) > 0) silent = 0;
        if (received == 0 || errno == ECONNRESET) return true;
        harness_turn(harness, 1000);
    }
    return false;
}

/* --- frames --- */

void frame_request(struct tael_frame *frame, uint32_t size, uint64_t client, uint32_t request) {
    memset(frame, 0, TAEL_FRAME_HEADER_SIZE);
    frame->cluster = HARNESS_CLUSTER;
    frame->size = size;
    frame->release = HARNESS_RELEASE;
    frame->command = TAEL_COMMAND_REQUEST;
    frame->request.client = client;
    frame->request.session = 1;
    frame->request.request = request;
    frame->request.operation = 147;
    uint8_t *body = (uint8_t *)(frame + 1);
    for (uint32_t i = 0; i < size - TAEL_FRAME_HEADER_SIZE; i++) body[i] = (uint8_t)(i * 7 + request);
    tael_frame_seal(frame);
}

void frame_ping(struct tael_frame *frame, uint64_t client, uint64_t timestamp) {
    memset(frame, 0, TAEL_FRAME_HEADER_SIZE);
    frame->cluster = HARNESS_CLUSTER;
    frame->size = TAEL_FRAME_HEADER_SIZE;
    frame->release = HARNESS_RELEASE;
    frame->command = TAEL_COMMAND_PING_CLIENT;
    frame->ping_client.client = client;
    frame->ping_client.timestamp_monotonic = timestamp;
    tael_frame_seal(frame);
}

struct tael_frame *frame_new(void) {
    struct tael_frame *frame = aligned_alloc(64, TAEL_MESSAGE_SIZE_MAX);
    assert_non_null(frame);
    return frame;
}

bool client_round_trip(struct harness *harness, int fd, uint32_t size, uint64_t client, uint32_t request) {
    struct tael_frame *frame = frame_new();
    struct tael_frame *reply = frame_new();
    frame_request(frame, size, client, request);
    client_send(harness, fd, frame, size);
    const bool answered = client_receive_frame(harness, fd, reply) && reply->size == size &&
                          reply->reply.request_checksum == frame->checksum && reply->reply.request == request &&
                          reply->reply.client == client &&
                          memcmp(frame + 1, reply + 1, size - TAEL_FRAME_HEADER_SIZE) == 0;
    free(frame);
    free(reply);
    return answered;
}
