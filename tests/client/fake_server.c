#include "fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/operation.h>

#include "io/frame.h"

struct fake_server {
    pthread_t thread;
    atomic_bool is_stopping;
    int listener;
    int connection; /* -1: none */
    uint16_t port;
    tael_u128 cluster;
    char address[32];
    char script[64];
    size_t at; /* in the script */
    struct fake_seen seen;
    tael_u128 last_checksum;
    struct tael_frame *request;
    struct tael_frame *reply;
};

static void listen_again(struct fake_server *server) {
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(server->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int one = 1;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TAEL_ASSERT(server->listener >= 0);
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    TAEL_ASSERT(bind(server->listener, (const struct sockaddr *)&address, sizeof address) == 0);
    TAEL_ASSERT(listen(server->listener, 4) == 0);
}

static void hang_up(struct fake_server *server) {
    if (server->connection >= 0) close(server->connection);
    server->connection = -1;
}

static void sleep_ms(long ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL); }

static void send_all(struct fake_server *server, const void *bytes, size_t size) {
    for (size_t sent = 0; sent < size;) {
        const ssize_t now = send(server->connection, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
        if (now <= 0) return;
        sent += (size_t)now;
    }
}

static bool receive_all(struct fake_server *server, void *bytes, size_t size) {
    for (size_t got = 0; got < size;) {
        struct pollfd entry = {.fd = server->connection, .events = POLLIN};
        if (atomic_load(&server->is_stopping)) return false;
        if (poll(&entry, 1, 10) <= 0) continue;
        const ssize_t now = recv(server->connection, (char *)bytes + got, size - got, 0);
        if (now <= 0) return false;
        got += (size_t)now;
    }
    return true;
}

/* A header of `command` for the client in the request at hand, release and cluster filled in. */
static struct tael_frame answer_header(const struct fake_server *server, uint8_t command) {
    return (struct tael_frame){.cluster = server->cluster,
                               .size = TAEL_FRAME_HEADER_SIZE,
                               .release = server->request->release,
                               .command = command};
}

static void reply_build(struct fake_server *server) {
    const struct tael_frame *request = server->request;
    struct tael_frame *reply = server->reply;
    const bool is_register = request->request.operation == TAEL_OPERATION_register;
    uint32_t body_size = is_register ? 64 : tael_frame_body_size(request);
    *reply = answer_header(server, TAEL_COMMAND_REPLY);
    reply->size += body_size;
    reply->reply = (struct tael_frame_reply){.request_checksum = request->checksum,
                                             .context = request->checksum ^ 1,
                                             .client = request->request.client,
                                             .op = 7 + request->request.request,
                                             .commit = 7 + request->request.request,
                                             .timestamp = 1,
                                             .request = request->request.request,
                                             .operation = request->request.operation};
    if (is_register) {
        const struct tael_register_result result = {.batch_size_limit = TAEL_BODY_SIZE_MAX};
        memcpy(reply + 1, &result, sizeof result);
    } else {
        memcpy(reply + 1, request + 1, body_size);
    }
    tael_frame_seal(reply);
}

static void send_header(struct fake_server *server, struct tael_frame header) {
    tael_frame_seal(&header);
    send_all(server, &header, sizeof header);
}

static void send_eviction(struct fake_server *server, tael_u128 client, uint8_t reason) {
    struct tael_frame header = answer_header(server, TAEL_COMMAND_EVICTION);
    header.eviction.client = client;
    header.eviction.reason = reason;
    send_header(server, header);
}

static void send_busy(struct fake_server *server) {
    struct tael_frame header = answer_header(server, TAEL_COMMAND_BUSY);
    header.busy.request_checksum = server->request->checksum;
    header.busy.client = server->request->request.client;
    header.busy.request = server->request->request.request;
    header.busy.reason = TAEL_BUSY_TRANSFERS;
    header.busy.wait_ms = 5;
    send_header(server, header);
}

static void send_reply(struct fake_server *server) { send_all(server, server->reply, server->reply->size); }

static void act(struct fake_server *server, char action) {
    struct tael_frame *reply = server->reply;
    const tael_u128 client = server->request->request.client;
    reply_build(server);
    switch (action) {
    case 's':
        return;
    case 'c':
        hang_up(server);
        return;
    case 'k':
        close(server->listener);
        hang_up(server);
        sleep_ms(150);
        listen_again(server);
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
    case '2':
        send_all(server, reply, reply->size / 2);
        return;
    case 'x':
        reply->reply.client ^= 2;
        tael_frame_seal(reply);
        send_reply(server);
        send_eviction(server, client ^ 2, TAEL_EVICTION_NO_SESSION);
        reply_build(server);
        break;
    case 'p':
        send_header(server, answer_header(server, TAEL_COMMAND_PONG_CLIENT));
        break;
    case 't':
        send_reply(server);
        break;
    case 'B':
        send_busy(server);
        return;
    case '1':
    case '4':
    case '5':
    case '6':
        send_eviction(server, client, (uint8_t)(action - '0'));
        return;
    default:
        TAEL_ASSERT(action == 'r');
    }
    send_reply(server);
}

static bool request_receive(struct fake_server *server) {
    struct tael_frame *request = server->request;
    if (!receive_all(server, request, TAEL_FRAME_HEADER_SIZE)) return false;
    TAEL_ASSERT(tael_frame_check_incoming(request, server->cluster) == TAEL_FRAME_ok);
    if (!receive_all(server, request + 1, tael_frame_body_size(request))) return false;
    TAEL_ASSERT(tael_frame_check_body(request) == TAEL_FRAME_ok);
    server->seen.requests++;
    if (request->checksum != server->last_checksum) server->seen.distinct++;
    server->last_checksum = request->checksum;
    server->seen.last = *request;
    if (request->request.operation == TAEL_OPERATION_register) {
        memcpy(&server->seen.register_capabilities, (const char *)(request + 1) + TAEL_CAPABILITIES_OFFSET, 4);
    }
    return true;
}

static void *run(void *argument) {
    struct fake_server *server = argument;
    while (!atomic_load(&server->is_stopping)) {
        if (server->connection < 0) {
            struct pollfd entry = {.fd = server->listener, .events = POLLIN};
            if (poll(&entry, 1, 10) <= 0) continue;
            server->connection = accept(server->listener, NULL, NULL);
            server->seen.connections++;
            const int one = 1;
            setsockopt(server->connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        } else if (request_receive(server)) {
            const char action = server->script[server->at];
            if (action != '\0') server->at++;
            act(server, action == '\0' ? 'r' : action);
        } else {
            hang_up(server);
        }
    }
    return NULL;
}

struct fake_server *fake_server_start(const char *script, tael_u128 cluster) {
    struct fake_server *server = calloc(1, sizeof *server);
    server->request = aligned_alloc(64, TAEL_MESSAGE_SIZE_MAX);
    server->reply = aligned_alloc(64, TAEL_MESSAGE_SIZE_MAX);
    server->connection = -1;
    server->cluster = cluster;
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

const char *fake_server_address(const struct fake_server *server) { return server->address; }

struct fake_seen fake_server_stop(struct fake_server *server) {
    atomic_store(&server->is_stopping, true);
    pthread_join(server->thread, NULL);
    hang_up(server);
    close(server->listener);
    const struct fake_seen seen = server->seen;
    free(server->request);
    free(server->reply);
    free(server);
    return seen;
}
