#include "fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>
#include <tael/record.h>

#include "io/frame.h"

enum { CONNECTIONS_MAX = 64, CLIENTS_MAX = 256 };

struct connection {
    int socket; /* -1: none */
    uint32_t received;
    struct tael_frame *request; /* TAEL_MESSAGE_SIZE_MAX bytes, taken for the first connection in this place */
    bool is_held; /* it is whole, and not answered yet */
};

struct fake_server {
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below but what the thread alone uses */
    bool is_stopping;
    bool holds;
    struct fake_seen seen;
    char script[128];
    size_t at; /* in the script */
    int listener;
    uint16_t port;
    tael_u128 cluster;
    char address[32];
    /* The thread's: */
    struct connection connections[CONNECTIONS_MAX];
    uint32_t held[CONNECTIONS_MAX]; /* the connections whose requests wait, in order */
    struct {
        tael_u128 client, checksum; /* of its last request */
    } clients[CLIENTS_MAX];
    struct tael_frame *reply;
};

static void listen_again(struct fake_server *server) {
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(server->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int one = 1;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    TAEL_ASSERT(server->listener >= 0);
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    TAEL_ASSERT(bind(server->listener, (const struct sockaddr *)&address, sizeof address) == 0);
    TAEL_ASSERT(listen(server->listener, CONNECTIONS_MAX) == 0);
}

static void hang_up(struct connection *connection) {
    if (connection->socket >= 0) close(connection->socket);
    connection->socket = -1;
    connection->received = 0;
    connection->is_held = false;
}

static void sleep_ms(long ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL); }

static void send_all(struct connection *connection, const void *bytes, size_t size) {
    for (size_t sent = 0; sent < size && connection->socket >= 0;) {
        const ssize_t now = send(connection->socket, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
        if (now <= 0) return;
        sent += (size_t)now;
    }
}

static void send_drops(struct connection *connection, const void *bytes, size_t size) {
    for (size_t sent = 0; sent < size; sent += 100) {
        send_all(connection, (const char *)bytes + sent, size - sent < 100 ? size - sent : 100);
        if (sent < 1000) sleep_ms(1);
    }
}

/* --- replies --- */

static struct tael_frame answer_header(const struct fake_server *server, const struct tael_frame *request,
                                       uint8_t command) {
    return (struct tael_frame){
        .cluster = server->cluster, .size = TAEL_FRAME_HEADER_SIZE, .release = request->release, .command = command};
}

static tael_u128 id_at(const uint8_t *events, uint32_t size, uint32_t index) {
    tael_u128 id;
    memcpy(&id, events + (size_t)index * size, sizeof id);
    return id;
}

/* The results of one sub-batch, as fake_server.h says. */
static uint32_t results_write(uint8_t operation, const uint8_t *events, uint32_t count, uint8_t *out) {
    const struct tael_operation_info info = tael_operation_info(operation);
    uint32_t written = 0;
    if (operation == TAEL_OPERATION_get_account_transfers) {
        struct tael_account_filter filter;
        memcpy(&filter, events, sizeof filter);
        for (; written < filter.limit; written++) {
            const struct tael_transfer transfer = {.id = filter.account_id + written};
            memcpy(out + (size_t)written * sizeof transfer, &transfer, sizeof transfer);
        }
    } else if (operation == TAEL_OPERATION_lookup_accounts) {
        for (uint32_t i = 0; i < count; i++) {
            const struct tael_account account = {.id = id_at(events, info.event_size, i)};
            if (account.id % 3 == 0) continue;
            memcpy(out + (size_t)written++ * sizeof account, &account, sizeof account);
        }
    } else {
        TAEL_ASSERT(info.result_size == sizeof(struct tael_create_result));
        for (; written < count; written++) {
            const struct tael_create_result result = {.timestamp = (uint64_t)id_at(events, info.event_size, written),
                                                      .status = UINT32_MAX};
            memcpy(out + (size_t)written * sizeof result, &result, sizeof result);
        }
    }
    return written;
}

static uint32_t body_write(const struct tael_frame *request, uint8_t *body) {
    const uint8_t operation = request->request.operation;
    const struct tael_operation_info info = tael_operation_info(operation);
    if (operation == TAEL_OPERATION_register) {
        const struct tael_register_result result = {.batch_size_limit = TAEL_BODY_SIZE_MAX};
        memcpy(body, &result, sizeof result);
        return sizeof result;
    }
    if (!info.multi_batch) {
        memset(body, 0, 2 * (size_t)info.result_size);
        return 2 * info.result_size;
    }
    static uint16_t counts[TAEL_BATCHES_MAX];
    struct tael_multi_batch batches;
    TAEL_ASSERT(tael_multi_batch_decode(request + 1, tael_frame_body_size(request), info.event_size, &batches) ==
                TAEL_MULTI_BATCH_OK);
    const uint8_t *events = batches.payload;
    uint32_t size = 0;
    for (uint32_t i = 0; i < batches.batch_count; i++) {
        const uint32_t count = tael_multi_batch_count(&batches, i);
        counts[i] = (uint16_t)results_write(operation, events, count, body + size);
        size += counts[i] * info.result_size;
        events += (size_t)count * info.event_size;
    }
    return tael_multi_batch_encode(body, size, counts, batches.batch_count, info.result_size);
}

static void reply_build(struct fake_server *server, const struct tael_frame *request) {
    struct tael_frame *reply = server->reply;
    *reply = answer_header(server, request, TAEL_COMMAND_REPLY);
    reply->size += body_write(request, (uint8_t *)(reply + 1));
    reply->reply = (struct tael_frame_reply){.request_checksum = request->checksum,
                                             .context = request->checksum ^ 1,
                                             .client = request->request.client,
                                             .op = 7 + request->request.request,
                                             .commit = 7 + request->request.request,
                                             .timestamp = 1,
                                             .request = request->request.request,
                                             .operation = request->request.operation};
    tael_frame_seal(reply);
}

static void send_header(struct connection *connection, struct tael_frame header) {
    tael_frame_seal(&header);
    send_all(connection, &header, sizeof header);
}

static void send_eviction(const struct fake_server *server, struct connection *connection, tael_u128 client,
                          uint8_t reason) {
    struct tael_frame header = answer_header(server, connection->request, TAEL_COMMAND_EVICTION);
    header.eviction.client = client;
    header.eviction.reason = reason;
    send_header(connection, header);
}

static void send_busy(const struct fake_server *server, struct connection *connection) {
    struct tael_frame header = answer_header(server, connection->request, TAEL_COMMAND_BUSY);
    header.busy.request_checksum = connection->request->checksum;
    header.busy.client = connection->request->request.client;
    header.busy.request = connection->request->request.request;
    header.busy.reason = TAEL_BUSY_TRANSFERS;
    header.busy.wait_ms = 5;
    send_header(connection, header);
}

static void restart(struct fake_server *server) {
    close(server->listener);
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) hang_up(&server->connections[i]);
    server->seen.held = 0;
    sleep_ms(150);
    listen_again(server);
}

/* Answers the request of a connection as the letter says. */
static void act(struct fake_server *server, struct connection *connection, char action) {
    struct tael_frame *reply = server->reply;
    const tael_u128 client = connection->request->request.client;
    reply_build(server, connection->request);
    switch (action) {
    case 's':
        return;
    case 'c':
        hang_up(connection);
        return;
    case 'k':
        restart(server);
        return;
    case 'h':
        reply->checksum ^= 1;
        break;
    case 'b':
        ((uint8_t *)(reply + 1))[0] ^= 1;
        break;
    case 'C':
        reply->cluster ^= 1;
        tael_frame_seal(reply);
        break;
    case 'q':
        reply->reply.request_checksum ^= 1;
        tael_frame_seal(reply);
        break;
    case 'o':
        reply->reply.operation ^= 1;
        tael_frame_seal(reply);
        break;
    case 'u':
        reply->command = 77;
        tael_frame_seal(reply);
        break;
    case 'w':
        reply->size -= 16;
        tael_frame_seal(reply);
        break;
    case 'd':
        send_drops(connection, reply, reply->size);
        return;
    case 'z':
        sleep_ms(100);
        break;
    case '2':
        send_all(connection, reply, reply->size / 2);
        return;
    case 'x':
        reply->reply.client ^= 2;
        tael_frame_seal(reply);
        send_all(connection, reply, reply->size);
        send_eviction(server, connection, client ^ 2, TAEL_EVICTION_NO_SESSION);
        reply_build(server, connection->request);
        break;
    case 'p':
        send_header(connection, answer_header(server, connection->request, TAEL_COMMAND_PONG_CLIENT));
        break;
    case 't':
        send_all(connection, reply, reply->size);
        break;
    case 'B':
        send_busy(server, connection);
        return;
    case '1':
    case '4':
    case '5':
    case '6':
    case '7':
        send_eviction(server, connection, client, (uint8_t)(action - '0'));
        return;
    default:
        TAEL_ASSERT(action == 'r');
    }
    send_all(connection, reply, reply->size);
}

/* --- requests --- */

static void request_log(struct fake_server *server, const struct tael_frame *request) {
    const struct tael_operation_info info = tael_operation_info(request->request.operation);
    struct fake_seen *seen = &server->seen;
    const uint32_t index = seen->log_count++;
    if (index >= FAKE_SEEN_MAX) return;
    struct tael_multi_batch batches = {.batch_count = 1, .element_count = 1};
    if (info.multi_batch) {
        tael_multi_batch_decode(request + 1, tael_frame_body_size(request), info.event_size, &batches);
    }
    seen->log[index] = (struct fake_request){.client = request->request.client,
                                             .request = request->request.request,
                                             .batches = batches.batch_count,
                                             .events = batches.element_count,
                                             .operation = request->request.operation};
}

static void request_note(struct fake_server *server, const struct tael_frame *request) {
    struct fake_seen *seen = &server->seen;
    uint32_t place = 0;
    while (server->clients[place].client != 0 && server->clients[place].client != request->request.client) place++;
    TAEL_ASSERT(place + 1 < CLIENTS_MAX);
    seen->requests++;
    seen->last = *request;
    if (server->clients[place].checksum == request->checksum) return;
    server->clients[place].client = request->request.client;
    server->clients[place].checksum = request->checksum;
    seen->distinct++;
    if (request->request.operation == TAEL_OPERATION_register) {
        seen->registers++;
        memcpy(&seen->register_capabilities, (const char *)(request + 1) + TAEL_CAPABILITIES_OFFSET, 4);
    } else {
        request_log(server, request);
    }
}

static void request_answer(struct fake_server *server, struct connection *connection) {
    const char action = server->script[server->at];
    if (action != '\0') server->at++;
    connection->is_held = false;
    connection->received = 0;
    act(server, connection, action == '\0' ? 'r' : action);
}

static void held_answer(struct fake_server *server) {
    for (uint32_t i = 0; i < server->seen.held; i++) {
        struct connection *connection = &server->connections[server->held[i]];
        if (connection->is_held) request_answer(server, connection);
    }
    server->seen.held = 0;
}

/* Reads what has come; a whole request is noted, and answered or held. */
static void request_receive(struct fake_server *server, struct connection *connection) {
    struct tael_frame *request = connection->request;
    const uint32_t want = connection->received < TAEL_FRAME_HEADER_SIZE ? TAEL_FRAME_HEADER_SIZE : request->size;
    if (want > connection->received) {
        const ssize_t got =
            recv(connection->socket, (char *)request + connection->received, want - connection->received, MSG_DONTWAIT);
        if (got <= 0) {
            hang_up(connection);
            return;
        }
        connection->received += (uint32_t)got;
    }
    if (connection->received < TAEL_FRAME_HEADER_SIZE) return;
    TAEL_ASSERT(tael_frame_check_incoming(request, server->cluster) == TAEL_FRAME_ok);
    if (connection->received < request->size) return;
    TAEL_ASSERT(tael_frame_check_body(request) == TAEL_FRAME_ok);
    request_note(server, request);
    if (server->holds && request->request.operation != TAEL_OPERATION_register) {
        connection->is_held = true;
        server->held[server->seen.held++] = (uint32_t)(connection - server->connections);
    } else {
        request_answer(server, connection);
    }
}

static void connection_accept(struct fake_server *server) {
    uint32_t place = 0;
    while (server->connections[place].socket >= 0) place++;
    TAEL_ASSERT(place + 1 < CONNECTIONS_MAX);
    struct connection *connection = &server->connections[place];
    connection->socket = accept(server->listener, NULL, NULL);
    if (connection->socket < 0) return; /* a restart was faster */
    const int one = 1;
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connection->request == NULL) connection->request = aligned_alloc(64, TAEL_MESSAGE_SIZE_MAX);
    TAEL_ASSERT(connection->request != NULL);
    server->seen.connections++;
}

/* One turn: waits a little for something to come, and deals with it. A connection whose request is held is not read. */
static void turn(struct fake_server *server) {
    struct pollfd entries[CONNECTIONS_MAX + 1];
    struct connection *connections[CONNECTIONS_MAX + 1];
    nfds_t count = 0;
    entries[count++] = (struct pollfd){.fd = server->listener, .events = POLLIN};
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *connection = &server->connections[i];
        if (connection->socket < 0 || connection->is_held) continue;
        connections[count] = connection;
        entries[count++] = (struct pollfd){.fd = connection->socket, .events = POLLIN};
    }
    if (poll(entries, count, 2) <= 0) return;
    pthread_mutex_lock(&server->mutex);
    for (nfds_t i = 1; i < count; i++) {
        /* A restart on the way has closed the others. */
        if (entries[i].revents != 0 && connections[i]->socket == entries[i].fd) request_receive(server, connections[i]);
    }
    if (entries[0].revents != 0 && entries[0].fd == server->listener) connection_accept(server);
    pthread_mutex_unlock(&server->mutex);
}

static void *run(void *argument) {
    struct fake_server *server = argument;
    for (bool is_stopping = false; !is_stopping;) {
        turn(server);
        pthread_mutex_lock(&server->mutex);
        if (!server->holds) held_answer(server);
        is_stopping = server->is_stopping;
        pthread_mutex_unlock(&server->mutex);
    }
    return NULL;
}

struct fake_server *fake_server_start(const char *script, tael_u128 cluster) {
    struct fake_server *server = calloc(1, sizeof *server);
    TAEL_ASSERT(server != NULL);
    server->reply = aligned_alloc(64, TAEL_MESSAGE_SIZE_MAX);
    TAEL_ASSERT(server->reply != NULL);
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) server->connections[i].socket = -1;
    server->cluster = cluster;
    pthread_mutex_init(&server->mutex, NULL);
    snprintf(server->script, sizeof server->script, "%s", script);
    listen_again(server); /* port 0: the kernel chooses one, which is kept */
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    TAEL_ASSERT(getsockname(server->listener, (struct sockaddr *)&address, &size) == 0);
    server->port = ntohs(address.sin_port);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%u", server->port);
    TAEL_ASSERT(pthread_create(&server->thread, NULL, run, server) == 0);
    return server;
}

void fake_server_follow(struct fake_server *server, const char *script) {
    pthread_mutex_lock(&server->mutex);
    snprintf(server->script, sizeof server->script, "%s", script);
    server->at = 0;
    pthread_mutex_unlock(&server->mutex);
}

const char *fake_server_address(const struct fake_server *server) { return server->address; }

void fake_server_hold(struct fake_server *server, bool holds) {
    pthread_mutex_lock(&server->mutex);
    server->holds = holds;
    pthread_mutex_unlock(&server->mutex);
}

struct fake_seen fake_server_seen(struct fake_server *server) {
    pthread_mutex_lock(&server->mutex);
    const struct fake_seen seen = server->seen;
    pthread_mutex_unlock(&server->mutex);
    return seen;
}

bool fake_server_await_held(struct fake_server *server, uint32_t count) {
    for (int i = 0; i < 5000; i++) {
        if (fake_server_seen(server).held >= count) return true;
        sleep_ms(2);
    }
    return false;
}

struct fake_seen fake_server_stop(struct fake_server *server) {
    pthread_mutex_lock(&server->mutex);
    server->is_stopping = true;
    pthread_mutex_unlock(&server->mutex);
    pthread_join(server->thread, NULL);
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        hang_up(&server->connections[i]);
        free(server->connections[i].request);
    }
    close(server->listener);
    const struct fake_seen seen = server->seen;
    pthread_mutex_destroy(&server->mutex);
    free(server->reply);
    free(server);
    return seen;
}
