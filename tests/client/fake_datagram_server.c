#include "fake_datagram_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>
#include <tael/record.h>

struct fake_datagram_server {
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    bool is_stopping, holds, is_wrong;
    char script[128];
    size_t at;
    int socket;
    char address[32];
    struct datagram_model *model;
};

static void send_to(void *context, uint64_t peer, const void *datagram, uint32_t size) {
    const struct fake_datagram_server *server = context;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = (in_port_t)peer, .sin_addr.s_addr = (in_addr_t)(peer >> 16)};
    (void)sendto(server->socket, datagram, size, MSG_NOSIGNAL, (const struct sockaddr *)&address, sizeof address);
}

static enum datagram_model_verdict judge(void *context, const struct datagram_model_request *request,
                                         struct tael_datagram_notice *notice) {
    struct fake_datagram_server *server = context;
    const char letter = server->script[server->at];
    if (server->holds && request->operation != TAEL_OPERATION_register) return DATAGRAM_MODEL_LATER;
    if (letter == '\0') return DATAGRAM_MODEL_EXECUTE;
    server->at++;
    switch (letter) {
    case 's':
        return DATAGRAM_MODEL_IGNORE;
    case 'm':
        return DATAGRAM_MODEL_MUTE;
    case 'k':
        return DATAGRAM_MODEL_RESTART;
    case 'e':
        return DATAGRAM_MODEL_FORGET;
    case 'B':
        notice->code = TAEL_NOTICE_BUSY_TRANSFERS;
        notice->wait_ms = 5;
        return DATAGRAM_MODEL_NOTICE;
    case '4':
    case '5':
    case '6':
        notice->code = (uint16_t)(letter - '0');
        return DATAGRAM_MODEL_NOTICE;
    case 'w':
        server->is_wrong = true;
        return DATAGRAM_MODEL_EXECUTE;
    default:
        TAEL_ASSERT(letter == 'r');
        return DATAGRAM_MODEL_EXECUTE;
    }
}

static uint32_t execute(void *context, const struct datagram_model_request *request, uint8_t *reply) {
    static uint16_t counts[TAEL_BATCHES_MAX];
    struct fake_datagram_server *server = context;
    const struct tael_operation_info info = tael_operation_info(request->operation);
    TAEL_ASSERT(info.kind == TAEL_OPERATION_CREATE);
    struct tael_multi_batch batches = {.element_count = request->body_size / info.event_size, .batch_count = 1};
    counts[0] = (uint16_t)batches.element_count;
    if ((request->flags & TAEL_DATAGRAM_ONE_BATCH) == 0) {
        TAEL_ASSERT(tael_multi_batch_decode(request->body, request->body_size, info.event_size, &batches) ==
                    TAEL_MULTI_BATCH_OK);
        for (uint32_t i = 0; i < batches.batch_count; i++) counts[i] = (uint16_t)tael_multi_batch_count(&batches, i);
    }
    for (uint32_t i = 0; i < batches.element_count; i++) {
        struct tael_create_result result = {.status = UINT32_MAX};
        memcpy(&result.timestamp, request->body + (size_t)i * info.event_size, sizeof result.timestamp);
        memcpy(reply + (size_t)i * sizeof result, &result, sizeof result);
    }
    const uint32_t size =
        tael_multi_batch_encode(reply, batches.element_count * (uint32_t)sizeof(struct tael_create_result), counts,
                                batches.batch_count, sizeof(struct tael_create_result));
    const bool is_wrong = server->is_wrong;
    server->is_wrong = false;
    return is_wrong ? size - 16 : size;
}

static void receive(struct fake_datagram_server *server) {
    static uint8_t datagram[TAEL_DATAGRAM_SIZE_MAX];
    struct sockaddr_in from = {0};
    for (int i = 0; i < 256; i++) {
        socklen_t from_size = sizeof from;
        const ssize_t size =
            recvfrom(server->socket, datagram, sizeof datagram, MSG_DONTWAIT, (struct sockaddr *)&from, &from_size);
        if (size < 0) return;
        const uint64_t peer = (uint64_t)from.sin_addr.s_addr << 16 | from.sin_port;
        datagram_model_receive(server->model, peer, datagram, (uint32_t)size, false);
    }
}

static void *run(void *argument) {
    struct fake_datagram_server *server = argument;
    for (bool is_stopping = false; !is_stopping;) {
        struct pollfd entry = {.fd = server->socket, .events = POLLIN};
        (void)poll(&entry, 1, 2);
        pthread_mutex_lock(&server->mutex);
        receive(server);
        if (!server->holds) datagram_model_execute(server->model);
        is_stopping = server->is_stopping;
        pthread_mutex_unlock(&server->mutex);
    }
    return NULL;
}

struct fake_datagram_server *fake_datagram_server_start(const char *script, tael_u128 ledger, uint32_t slots_max) {
    struct fake_datagram_server *server = calloc(1, sizeof *server);
    TAEL_ASSERT(server != NULL);
    const struct datagram_model_options options = {.ledger = ledger,
                                                   .datagram_max = TAEL_DATAGRAM_SIZE_MAX,
                                                   .window = 64,
                                                   .slots_max = slots_max,
                                                   .context = server,
                                                   .send = send_to,
                                                   .judge = judge,
                                                   .execute = execute};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    server->model = datagram_model_new(&options);
    pthread_mutex_init(&server->mutex, NULL);
    snprintf(server->script, sizeof server->script, "%s", script);
    server->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    TAEL_ASSERT(server->socket >= 0);
    TAEL_ASSERT(bind(server->socket, (const struct sockaddr *)&address, sizeof address) == 0);
    TAEL_ASSERT(getsockname(server->socket, (struct sockaddr *)&address, &size) == 0);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%u", ntohs(address.sin_port));
    TAEL_ASSERT(pthread_create(&server->thread, NULL, run, server) == 0);
    return server;
}

const char *fake_datagram_server_address(const struct fake_datagram_server *server) { return server->address; }

void fake_datagram_server_follow(struct fake_datagram_server *server, const char *script) {
    pthread_mutex_lock(&server->mutex);
    snprintf(server->script, sizeof server->script, "%s", script);
    server->at = 0;
    pthread_mutex_unlock(&server->mutex);
}

void fake_datagram_server_hold(struct fake_datagram_server *server, bool holds) {
    pthread_mutex_lock(&server->mutex);
    server->holds = holds;
    pthread_mutex_unlock(&server->mutex);
}

bool fake_datagram_server_await_held(struct fake_datagram_server *server, uint32_t count) {
    for (int i = 0; i < 5000; i++) {
        pthread_mutex_lock(&server->mutex);
        const uint32_t held = datagram_model_counters(server->model).waiting;
        pthread_mutex_unlock(&server->mutex);
        if (held >= count) return true;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return false;
}

struct datagram_model_counters fake_datagram_server_stop(struct fake_datagram_server *server) {
    pthread_mutex_lock(&server->mutex);
    server->is_stopping = true;
    pthread_mutex_unlock(&server->mutex);
    pthread_join(server->thread, NULL);
    const struct datagram_model_counters counters = datagram_model_counters(server->model);
    close(server->socket);
    datagram_model_free(server->model);
    pthread_mutex_destroy(&server->mutex);
    free(server);
    return counters;
}
