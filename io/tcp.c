/* Connections' lives, deadlines, and the turn. See io/tcp_internal.h for how the parts fit. Invariants:
 *  1. A connection's file descriptor is closed, and its memory used again, only when nothing of it is in flight.
 *  2. A handle names one connection for ever: the generation is raised when the connection is freed.
 *  3. A completion only notes what happened; what follows is done in the next turn, when the time is known. */
#include "io/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <tael/assert.h>

#include "io/tcp_internal.h"
#include "io/uring.h"

enum { BACKLOG = 4096, TURN_CONNECTIONS_MAX = 1024 };

#define ACCEPT_RETRY_NS (TAEL_NS_PER_S / 10)
#define CLUSTER_LOG_INTERVAL_NS (10 * TAEL_NS_PER_S)
#define CONNECTION_NONE UINT32_MAX

/* --- options and memory --- */

struct tael_tcp_options tael_tcp_options_default(void) {
    return (struct tael_tcp_options){
        .connections_max = 4096,
        .connections_per_address_max = 2048,
        .messages_max = 4096,
        .small_buffers = 6144, /* one for each connection's half-sent frame, the kernel's, and what is lent out */
        .small_buffer_size = 8192,
        .large_buffers = 64,
        .frame_deadline_ns = 10 * TAEL_NS_PER_S,
        .send_deadline_ns = 5 * TAEL_NS_PER_S,
        .send_stall_ns = TAEL_NS_PER_S / 4,
    };
}

static struct tael_receive_pool_options pool_options(const struct tael_tcp_options *options) {
    return (struct tael_receive_pool_options){.small_count = options->small_buffers,
                                              .small_size = options->small_buffer_size,
                                              .large_count = options->large_buffers,
                                              .group = options->buffer_group};
}

static uint32_t replies_max(const struct tael_tcp_options *options) {
    uint32_t sum = 0;
    for (uint32_t pool = 0; pool < TAEL_TCP_REPLY_POOLS_MAX; pool++) sum += options->reply_buffers[pool];
    return sum;
}

size_t tael_tcp_size_bytes(const struct tael_tcp_options *options) {
    const struct tael_receive_pool_options pool = pool_options(options);
    return tael_arena_share(sizeof(struct tael_tcp)) +
           tael_arena_share(options->connections_max * sizeof(struct tael_tcp_connection)) +
           tael_arena_share(options->messages_max * sizeof(struct tael_tcp_message)) +
           tael_arena_share(replies_max(options) * sizeof(struct tael_tcp_unsent)) +
           tael_peer_table_size_bytes(options->connections_max) + tael_receive_pool_size_bytes(&pool);
}

/* --- what the parts share --- */

static void log_line(struct tael_tcp *tcp, const char *line) {
    if (tcp->options.log != NULL) tcp->options.log(tcp->options.log_context, line);
}

struct io_uring_sqe *tael_tcp_submission(struct tael_tcp *tcp) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(tcp->ring);
    if (sqe != NULL) return sqe;
    (void)io_uring_submit(tcp->ring); /* full: an early submission makes room, unless the kernel is behind itself */
    return io_uring_get_sqe(tcp->ring);
}

void tael_tcp_ready(struct tael_tcp_connection *connection) {
    struct tael_tcp *tcp = connection->tcp;
    if (!tael_list_empty(&connection->ready)) return;
    tael_list_append(&tcp->ready, &connection->ready);
    tcp->ready_count++;
}

tael_connection tael_tcp_handle(const struct tael_tcp_connection *connection) {
    const uint64_t index = (uint64_t)(connection - connection->tcp->connections);
    return ((uint64_t)connection->generation << 32) | index;
}

struct tael_tcp_connection *tael_tcp_find(struct tael_tcp *tcp, tael_connection handle) {
    const uint32_t index = (uint32_t)handle;
    if (index >= tcp->options.connections_max) return NULL;
    struct tael_tcp_connection *connection = &tcp->connections[index];
    const bool current = connection->generation == handle >> 32 && connection->state == TAEL_TCP_STATE_OPEN;
    return current ? connection : NULL;
}

/* --- opening --- */

/* The peer's address; all zeros when the peer is gone already. */
static struct tael_address peer_address(int fd) {
    struct tael_address address;
    memset(&address, 0, sizeof address);
    address.size = sizeof address.storage;
    if (getpeername(fd, (struct sockaddr *)&address.storage, &address.size) != 0) address.storage.ss_family = AF_INET;
    return address;
}

static void connection_start(struct tael_tcp *tcp, int fd, uint32_t peer) {
    const uint32_t index = tcp->connections_free;
    TAEL_ASSERT(index != CONNECTION_NONE);
    struct tael_tcp_connection *connection = &tcp->connections[index];
    TAEL_ASSERT(connection->state == TAEL_TCP_STATE_FREE);
    tcp->connections_free = connection->next_free;
    tcp->connections_count++;
    connection->state = TAEL_TCP_STATE_OPEN;
    connection->fd = fd;
    connection->peer = peer;
    tael_tcp_receive_init(connection);
    tael_tcp_send_init(connection);
    tael_tcp_ready(connection);
}

static void connection_accept(struct tael_tcp *tcp, int fd) {
    enum tael_tcp_close refusal = TAEL_TCP_CLOSE_shutdown;
    tcp->counters.accepted++;
    if (!tcp->draining) {
        refusal = TAEL_TCP_CLOSE_connections_max;
        if (tcp->connections_free != CONNECTION_NONE) {
            const struct tael_address address = peer_address(fd);
            const uint32_t peer = tael_peer_table_enter(tcp->peers, &address, tcp->options.connections_per_address_max);
            if (peer != TAEL_PEER_NONE) {
                connection_start(tcp, fd, peer);
                return;
            }
            refusal = TAEL_TCP_CLOSE_address_limit;
        }
    }
    tcp->counters.closed[refusal]++;
    close(fd);
}

/* --- closing --- */

/* Ends what is in flight, by shutting the socket down; connection_finish does the rest. */
static void connection_end(struct tael_tcp_connection *connection) {
    TAEL_ASSERT(connection->state == TAEL_TCP_STATE_OPEN);
    connection->state = TAEL_TCP_STATE_CLOSING;
    tael_list_remove(&connection->waiting);
    tael_list_remove(&connection->frame_deadline);
    tael_list_remove(&connection->send_deadline);
    (void)shutdown(connection->fd, SHUT_RDWR); /* fails only when the peer was faster */
    tael_tcp_ready(connection);
}

void tael_tcp_connection_close(struct tael_tcp_connection *connection, enum tael_tcp_close reason) {
    connection->tcp->counters.closed[reason]++;
    connection_end(connection);
}

static void cluster_text(tael_u128 cluster, char text[48]) {
    if (tael_u128_high(cluster) == 0) {
        snprintf(text, 48, "%" PRIu64, tael_u128_low(cluster));
    } else {
        snprintf(text, 48, "0x%" PRIx64 "%016" PRIx64, tael_u128_high(cluster), tael_u128_low(cluster));
    }
}

/* Its user sees a client that waits for ever, so the server has to say it. */
static void log_wrong_cluster(struct tael_tcp_connection *connection) {
    struct tael_tcp *tcp = connection->tcp;
    if (tcp->now_ns < tcp->cluster_log_after_ns) {
        tcp->cluster_log_unsaid++;
        return;
    }
    char from[TAEL_ADDRESS_TEXT_SIZE];
    const struct tael_address address = peer_address(connection->fd);
    tael_address_format(&address, from);
    char own[48];
    cluster_text(tcp->options.cluster, own);
    char line[256];
    snprintf(line, sizeof line,
             "a client at %s is set to another cluster, this one is %s: connection closed (%" PRIu64
             " more since the last such line)",
             from, own, tcp->cluster_log_unsaid);
    log_line(tcp, line);
    tcp->cluster_log_unsaid = 0;
    tcp->cluster_log_after_ns = tcp->now_ns + CLUSTER_LOG_INTERVAL_NS;
}

void tael_tcp_connection_reject(struct tael_tcp_connection *connection, enum tael_frame_verdict verdict) {
    TAEL_ASSERT(verdict != TAEL_FRAME_ok);
    if (verdict == TAEL_FRAME_cluster) log_wrong_cluster(connection);
    connection->tcp->counters.rejected[verdict]++;
    connection_end(connection);
}

static void connection_finish(struct tael_tcp_connection *connection) {
    struct tael_tcp *tcp = connection->tcp;
    if (connection->receive.in_flight || connection->send.in_flight) return;
    tael_tcp_receive_abandon(connection);
    tael_tcp_send_abandon(connection);
    tael_peer_table_leave(tcp->peers, connection->peer);
    close(connection->fd);
    connection->state = TAEL_TCP_STATE_FREE;
    connection->generation = connection->generation == UINT32_MAX ? 1 : connection->generation + 1;
    connection->next_free = tcp->connections_free;
    tcp->connections_free = (uint32_t)(connection - tcp->connections);
    TAEL_ASSERT(tcp->connections_count > 0);
    tcp->connections_count--;
}

/* --- accepting --- */

static void accept_done(struct tael_completion *completion, int32_t result, uint32_t flags) {
    struct tael_tcp *tcp = TAEL_CONTAINER_OF(completion, struct tael_tcp, accepted);
    if ((flags & IORING_CQE_F_MORE) == 0) tcp->accept_in_flight = false;
    if (result >= 0) {
        connection_accept(tcp, result);
    } else if (!tcp->draining) {
        /* Mostly out of file descriptors or memory: the next try would fail as well, and spin. */
        tcp->counters.accept_errors++;
        tcp->accept_after_ns = tcp->now_ns + ACCEPT_RETRY_NS;
    }
}

static void listen_end(struct tael_tcp *tcp) {
    if (tcp->listen_fd < 0 || tcp->accept_in_flight) return;
    close(tcp->listen_fd);
    tcp->listen_fd = -1;
}

static void accept_continue(struct tael_tcp *tcp) {
    if (tcp->draining) {
        listen_end(tcp);
        return;
    }
    if (tcp->listen_fd < 0 || tcp->accept_in_flight || tcp->now_ns < tcp->accept_after_ns) return;
    struct io_uring_sqe *sqe = tael_tcp_submission(tcp);
    if (sqe == NULL) return;
    io_uring_prep_multishot_accept(sqe, tcp->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data(sqe, &tcp->accepted);
    tcp->accept_in_flight = true;
}

static int set_option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

/* Accepted sockets inherit these. Keepalive finds peers that vanished without a word. */
static int listen_options(int fd) {
    int error = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (error == 0) error = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (error == 0) error = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (error == 0) error = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    if (error == 0) error = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    return error == 0 ? set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 6) : error;
}

int tael_tcp_listen(struct tael_tcp *tcp, const char *text) {
    TAEL_ASSERT(tcp->listen_fd < 0);
    struct tael_address address;
    int error = tael_address_parse(text, &address);
    if (error != 0) return error;
    const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    error = listen_options(fd);
    if (error != 0) goto fail_socket;
    if (bind(fd, (const struct sockaddr *)&address.storage, address.size) != 0 || listen(fd, BACKLOG) != 0) {
        error = -errno;
        goto fail_socket;
    }
    tcp->listen_fd = fd;
    accept_continue(tcp);
    return 0;

fail_socket:
    close(fd);
    return error;
}

uint16_t tael_tcp_port(const struct tael_tcp *tcp) {
    struct tael_address address = {.size = sizeof address.storage};
    if (getsockname(tcp->listen_fd, (struct sockaddr *)&address.storage, &address.size) != 0) return 0;
    return tael_address_port(&address);
}

/* --- the turn --- */

static void connection_advance(struct tael_tcp_connection *connection) {
    if (connection->receive.done) tael_tcp_receive_result(connection);
    if (connection->send.done) tael_tcp_send_result(connection);
    if (connection->state == TAEL_TCP_STATE_OPEN) tael_tcp_receive_continue(connection);
    if (connection->state == TAEL_TCP_STATE_OPEN) tael_tcp_send_continue(connection);
    if (connection->state == TAEL_TCP_STATE_CLOSING) connection_finish(connection);
}

/* Those that are ready now; who becomes ready meanwhile has the next turn. */
static uint32_t ready_turn(struct tael_tcp *tcp) {
    const uint32_t count = tcp->ready_count < TURN_CONNECTIONS_MAX ? tcp->ready_count : TURN_CONNECTIONS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        struct tael_tcp_connection *connection =
            TAEL_CONTAINER_OF(tael_list_first(&tcp->ready), struct tael_tcp_connection, ready);
        tael_list_remove(&connection->ready);
        tcp->ready_count--;
        connection_advance(connection);
    }
    return count;
}

static struct tael_tcp_connection *first_half_sent(const struct tael_tcp *tcp) {
    struct tael_list *link = tael_list_first(&tcp->frame_deadlines);
    return link == NULL ? NULL : TAEL_CONTAINER_OF(link, struct tael_tcp_connection, frame_deadline);
}

static struct tael_tcp_connection *first_unsent(const struct tael_tcp *tcp) {
    struct tael_list *link = tael_list_first(&tcp->send_deadlines);
    return link == NULL ? NULL : TAEL_CONTAINER_OF(link, struct tael_tcp_connection, send_deadline);
}

static void frame_deadlines_turn(struct tael_tcp *tcp) {
    struct tael_tcp_connection *connection;
    while ((connection = first_half_sent(tcp)) != NULL) {
        if (tcp->now_ns - connection->frame_since_ns < tcp->options.frame_deadline_ns) return;
        tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_frame_deadline);
    }
}

/* Where reply buffers are short, only the one that has stalled longest goes, once a turn: its buffers may be enough. */
static void send_deadlines_turn(struct tael_tcp *tcp) {
    struct tael_tcp_connection *connection;
    while ((connection = first_unsent(tcp)) != NULL) {
        if (tcp->now_ns - connection->send_since_ns < tcp->options.send_deadline_ns) break;
        tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_send_deadline);
    }
    if (connection == NULL || !tael_tcp_send_short(tcp)) return;
    if (tcp->now_ns - connection->send_since_ns < tcp->options.send_stall_ns) return;
    tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_reply_buffers);
}

uint32_t tael_tcp_poll(struct tael_tcp *tcp, uint64_t now_ns) {
    TAEL_ASSERT(now_ns >= tcp->now_ns);
    tcp->now_ns = now_ns;
    accept_continue(tcp);
    const uint32_t released = tael_tcp_receive_turn(tcp);
    const uint32_t replies = tael_tcp_send_turn(tcp);
    const uint32_t advanced = ready_turn(tcp);
    frame_deadlines_turn(tcp);
    send_deadlines_turn(tcp);
    return released + replies + advanced + tcp->ready_count;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t tael_tcp_deadline_ns(const struct tael_tcp *tcp) {
    uint64_t deadline = UINT64_MAX;
    const struct tael_tcp_connection *half_sent = first_half_sent(tcp);
    if (half_sent != NULL) deadline = half_sent->frame_since_ns + tcp->options.frame_deadline_ns;
    const struct tael_tcp_connection *unsent = first_unsent(tcp);
    if (unsent != NULL) {
        const uint64_t patience = tael_tcp_send_short(tcp) ? tcp->options.send_stall_ns : tcp->options.send_deadline_ns;
        deadline = earlier(deadline, unsent->send_since_ns + patience);
    }
    const bool accepts_later = tcp->listen_fd >= 0 && !tcp->accept_in_flight && !tcp->draining;
    return accepts_later ? earlier(deadline, tcp->accept_after_ns) : deadline;
}

/* --- the end --- */

void tael_tcp_drain(struct tael_tcp *tcp) {
    if (tcp->draining) return;
    tcp->draining = true;
    if (tcp->listen_fd >= 0) (void)shutdown(tcp->listen_fd, SHUT_RDWR); /* ends the multishot accept */
    listen_end(tcp);
}

bool tael_tcp_drained(const struct tael_tcp *tcp) {
    uint32_t held = 0;
    for (uint32_t pool = 0; pool < TAEL_TCP_REPLY_POOLS_MAX; pool++) held += tcp->replies_held[pool];
    const bool taken = tael_ring_peek(&tcp->link->replies) == NULL;
    return tcp->draining && tcp->messages_lent == 0 && held == 0 && taken;
}

void tael_tcp_close(struct tael_tcp *tcp) {
    tael_tcp_drain(tcp);
    for (uint32_t i = 0; i < tcp->options.connections_max; i++) {
        struct tael_tcp_connection *connection = &tcp->connections[i];
        if (connection->state != TAEL_TCP_STATE_OPEN) continue;
        tael_tcp_connection_close(connection, TAEL_TCP_CLOSE_shutdown);
    }
}

bool tael_tcp_closed(const struct tael_tcp *tcp) {
    return tcp->draining && tcp->connections_count == 0 && tcp->listen_fd < 0;
}

/* --- start --- */

static void connections_init(struct tael_tcp *tcp) {
    const uint32_t count = tcp->options.connections_max;
    for (uint32_t i = 0; i < count; i++) {
        struct tael_tcp_connection *connection = &tcp->connections[i];
        connection->tcp = tcp;
        connection->generation = 1;
        connection->next_free = i + 1 < count ? i + 1 : CONNECTION_NONE;
        tael_list_init(&connection->ready);
        tael_list_init(&connection->waiting);
        tael_list_init(&connection->frame_deadline);
        tael_list_init(&connection->send_deadline);
    }
    tcp->connections_free = 0;
}

static void lists_init(struct tael_tcp *tcp) {
    tael_list_init(&tcp->ready);
    tael_list_init(&tcp->wait_requests);
    tael_list_init(&tcp->wait_small);
    tael_list_init(&tcp->wait_large);
    tael_list_init(&tcp->frame_deadlines);
    tael_list_init(&tcp->send_deadlines);
}

static void chains_init(struct tael_tcp *tcp, struct tael_arena *arena) {
    const uint32_t messages = tcp->options.messages_max;
    struct tael_tcp_message *message = tael_arena_take(arena, messages * sizeof *message);
    for (uint32_t i = 0; i < messages; i++) message[i].next_free = i + 1 < messages ? &message[i + 1] : NULL;
    tcp->messages_free = message;
    const uint32_t replies = replies_max(&tcp->options);
    struct tael_tcp_unsent *unsent = tael_arena_take(arena, replies * sizeof *unsent);
    for (uint32_t i = 0; i < replies; i++) unsent[i].next = i + 1 < replies ? &unsent[i + 1] : NULL;
    tcp->unsent_free = unsent;
}

static void options_check(const struct tael_tcp_options *options, const struct tael_link *link) {
    TAEL_ASSERT(options->connections_max > 0);
    TAEL_ASSERT(options->connections_per_address_max > 0);
    TAEL_ASSERT(options->messages_max > 0);
    TAEL_ASSERT(replies_max(options) > 0);
    TAEL_ASSERT(options->small_buffer_size < TAEL_MESSAGE_SIZE_MAX);
    TAEL_ASSERT(link->released.capacity >= options->messages_max);
    TAEL_ASSERT(link->sent.capacity >= replies_max(options));
}

int tael_tcp_init(struct tael_tcp **out, struct tael_arena *arena, const struct tael_tcp_options *options,
                  struct io_uring *ring, struct tael_link *link) {
    options_check(options, link);
    struct tael_tcp *tcp = tael_arena_take(arena, sizeof *tcp);
    *tcp = (struct tael_tcp){.options = *options, .ring = ring, .link = link, .listen_fd = -1};
    tcp->accepted.done = accept_done;
    const char *missing = tael_uring_missing(ring);
    if (missing != NULL) {
        char line[128];
        snprintf(line, sizeof line, "this kernel lacks %s", missing);
        log_line(tcp, line);
        return -EOPNOTSUPP;
    }
    lists_init(tcp);
    tcp->connections = tael_arena_take(arena, options->connections_max * sizeof(struct tael_tcp_connection));
    connections_init(tcp);
    chains_init(tcp, arena);
    tcp->peers = tael_peer_table_init(arena, options->connections_max);
    const struct tael_receive_pool_options pool = pool_options(options);
    const int error = tael_receive_pool_init(&tcp->pool, arena, &pool, ring);
    if (error != 0) {
        log_line(tcp, "this kernel's io_uring takes no ring of buffers; Tael needs Linux 5.19 or newer");
        return error;
    }
    *out = tcp;
    return 0;
}

/* --- what can be seen --- */

const struct tael_tcp_counters *tael_tcp_counters(const struct tael_tcp *tcp) { return &tcp->counters; }

uint32_t tael_tcp_connections(const struct tael_tcp *tcp) { return tcp->connections_count; }

const char *tael_tcp_close_text(enum tael_tcp_close reason) {
    static const char *const texts[TAEL_TCP_CLOSES] = {
#define X(name, text) [TAEL_TCP_CLOSE_##name] = text,
        TAEL_TCP_CLOSE_TABLE(X)
#undef X
    };
    TAEL_ASSERT(reason < TAEL_TCP_CLOSES);
    return texts[reason];
}
