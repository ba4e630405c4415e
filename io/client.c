/* The client library's public functions; see tael/client.h and client_internal.h. */
#include <tael/client.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tael/datagram.h>

#include "io/aegis.h"
#include "io/client_internal.h"

#define NS_PER_MS 1000000ull
#define QUEUE_MAX_DEFAULT 16384
#define TIMEOUT_DEFAULT_NS (60 * TAEL_NS_PER_S)
#define CONNECT_TIMEOUT_DEFAULT_NS (10 * TAEL_NS_PER_S)
#define RETRANSMIT_DEFAULT_NS (600 * NS_PER_MS) /* of TCP */
#define TIMEOUT_MAX_NS (1ull << 62) /* so that a deadline never overflows */

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static struct timespec timespec_of(uint64_t time_ns) {
    return (struct timespec){.tv_sec = (time_t)(time_ns / TAEL_NS_PER_S), .tv_nsec = (long)(time_ns % TAEL_NS_PER_S)};
}

/* --- submitting --- */

/* Waits for a free slot until the deadline, with the mutex held. */
static int room_await(struct tael_client *client, uint64_t deadline_ns) {
    const struct timespec until = timespec_of(deadline_ns);
    int error = 0;
    client->waiters++;
    while (client->queue.free == TAEL_CLIENT_SLOT_NONE && !client->is_closing && error == 0) {
        error = pthread_cond_timedwait(&client->room, &client->mutex, &until);
    }
    client->waiters--;
    if (client->is_closing) {
        if (client->waiters == 0) pthread_cond_broadcast(&client->changed);
        return -ESHUTDOWN;
    }
    return client->queue.free == TAEL_CLIENT_SLOT_NONE ? -EAGAIN : 0;
}

static int submit_locked(struct tael_client *client, const struct tael_client_submit *submit, uint32_t results_max) {
    if (client->is_closing) return -ESHUTDOWN;
    const uint64_t deadline_ns = tael_client_now_ns() + submit->timeout_ns;
    if (client->queue.free == TAEL_CLIENT_SLOT_NONE) {
        if ((submit->flags & TAEL_CLIENT_WAIT) == 0) return -EAGAIN;
        const int error = room_await(client, deadline_ns);
        if (error != 0) return error;
    }
    const bool is_taken = tael_client_queue_push(&client->queue, submit, results_max, deadline_ns);
    TAEL_ASSERT(is_taken);
    tael_client_wake(client, deadline_ns);
    return 0;
}

int tael_client_submit(struct tael_client *client, const struct tael_client_submit *submit) {
    uint32_t results_max = 0;
    struct tael_client_submit whole = *submit;
    int error = tael_client_submit_check(&whole, &results_max);
    if (error != 0) return error;
    if ((whole.flags & TAEL_CLIENT_WAIT) != 0 && pthread_equal(pthread_self(), client->thread)) return -EDEADLK;
    if (whole.timeout_ns == 0) whole.timeout_ns = client->timeout_ns;
    whole.timeout_ns = earlier(whole.timeout_ns, TIMEOUT_MAX_NS);
    tael_client_lock(client);
    error = submit_locked(client, &whole, results_max);
    tael_client_unlock(client);
    return error;
}

struct call {
    sem_t done;
    void *results;
    uint32_t results_max;
    uint32_t result_size;
    int status;
    struct tael_client_reply *reply;
};

static void call_complete(void *context, const struct tael_client_result *result) {
    struct call *call = context;
    call->status = result->status;
    if (result->count > call->results_max) {
        call->status = -ENOBUFS;
    } else if (result->count > 0) {
        memcpy(call->results, result->results, (size_t)result->count * call->result_size);
    }
    if (call->reply != NULL) {
        *call->reply =
            (struct tael_client_reply){.count = result->count, .op = result->op, .timestamp = result->timestamp};
        snprintf(call->reply->why, sizeof call->reply->why, "%s",
                 call->status == -ENOBUFS ? "there are more results than there is room for" : result->why);
    }
    sem_post(&call->done);
}

static const char *submit_error_text(int error) {
    switch (error) {
    case -EAGAIN:
        return "the queue was full";
    case -EINVAL:
        return "the request is none: no such operation, or not one filter";
    case -EMSGSIZE:
        return "too many events for one request, or too many results for its reply";
    case -EDEADLK:
        return "a completion must not wait";
    case -ESHUTDOWN:
        return "the client is being closed";
    default:
        return strerror(-error);
    }
}

int tael_client_call(struct tael_client *client, uint8_t operation, const void *events, uint32_t event_count,
                     void *results, uint32_t results_max, uint64_t timeout_ns, struct tael_client_reply *reply) {
    struct call call = {.results = results,
                        .results_max = results_max,
                        .result_size = tael_operation_info(operation).result_size,
                        .reply = reply};
    const struct tael_client_submit submit = {.operation = operation,
                                              .event_count = event_count,
                                              .events = events,
                                              .timeout_ns = timeout_ns,
                                              .flags = TAEL_CLIENT_WAIT,
                                              .completion = call_complete,
                                              .context = &call};
    if (sem_init(&call.done, 0, 0) != 0) return -errno;
    const int error = tael_client_submit(client, &submit);
    if (error == 0) {
        while (sem_wait(&call.done) != 0) continue; /* a signal interrupts it */
    } else if (reply != NULL) {
        *reply = (struct tael_client_reply){0};
        snprintf(reply->why, sizeof reply->why, "%s", submit_error_text(error));
    }
    sem_destroy(&call.done);
    return error != 0 ? error : call.status;
}

bool tael_client_outcome_is_unknown(int status) {
    return status == -ETIMEDOUT || status == -ECONNABORTED || status == -EPROTO || status == -ESHUTDOWN;
}

struct tael_client_counters tael_client_counters(const struct tael_client *client) {
    /* Relaxed: numbers by themselves. */
    return (struct tael_client_counters){
        .submits = atomic_load_explicit(&client->submits, memory_order_relaxed),
        .requests = atomic_load_explicit(&client->requests, memory_order_relaxed),
        .retransmissions = atomic_load_explicit(&client->wire.retransmissions, memory_order_relaxed),
        .reconnects = atomic_load_explicit(&client->wire.reconnects, memory_order_relaxed),
        .busy = atomic_load_explicit(&client->wire.busy, memory_order_relaxed),
        .sessions = atomic_load_explicit(&client->wire.sessions, memory_order_relaxed),
    };
}

/* --- opening and closing --- */

static int random_fill(void *out, size_t size) {
    for (size_t filled = 0; filled < size;) {
        const ssize_t got = getrandom((uint8_t *)out + filled, size - filled, 0);
        if (got < 0 && errno != EINTR) return -errno;
        if (got > 0) filled += (size_t)got;
    }
    return 0;
}

static int wire_init(struct tael_client *client, const struct tael_client_options *options) {
    struct tael_client_wire *wire = &client->wire;
    wire->cluster = options->cluster;
    wire->retransmit_ns = options->retransmit_ns;
    if (wire->retransmit_ns == 0 && options->transport == TAEL_CLIENT_TCP) wire->retransmit_ns = RETRANSMIT_DEFAULT_NS;
    wire->datagram_max = options->datagram_max == 0 ? TAEL_DATAGRAM_SIZE_ETHERNET : options->datagram_max;
    wire->has_faults = options->faults != NULL;
    if (wire->has_faults && tael_faults_parse(options->faults, &wire->faults) != 0) return -EINVAL;
    wire->event = tael_client_event_take;
    wire->event_context = client;
    wire->timer_ns = TAEL_CLIENT_NEVER;
    wire->waiting = options->waiting;
    wire->waiting_context = options->waiting_context;
    int error = random_fill(&wire->ids.secret, sizeof wire->ids.secret);
    if (error == 0) error = random_fill(&wire->random, sizeof wire->random);
    if (error != 0) return error;
    wire->random |= 1;
    wire->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (wire->epoll < 0) return -errno;
    client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (client->wake_fd < 0) return -errno;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    return epoll_ctl(wire->epoll, EPOLL_CTL_ADD, client->wake_fd, &event) == 0 ? 0 : -errno;
}

static int links_init(struct tael_client *client, enum tael_client_transport transport, uint32_t count) {
    return transport == TAEL_CLIENT_UDP ? tael_client_links_udp(&client->wire, count, &client->links)
                                        : tael_client_links_tcp(&client->wire, count, &client->links);
}

static int lanes_init(struct tael_client *client, uint32_t lanes_max) {
    client->lanes = calloc(lanes_max, sizeof *client->lanes);
    client->idle.lanes = calloc(lanes_max, sizeof *client->idle.lanes);
    client->closed.lanes = calloc(lanes_max, sizeof *client->closed.lanes);
    if (client->lanes == NULL || client->idle.lanes == NULL || client->closed.lanes == NULL) return -ENOMEM;
    for (; client->lanes_count < lanes_max; client->lanes_count++) {
        struct tael_client_lane *lane = &client->lanes[client->lanes_count];
        lane->link = client->links.links[client->lanes_count];
        lane->link->lane = client->lanes_count;
        lane->parts = malloc(TAEL_CLIENT_PARTS_MAX * sizeof *lane->parts);
        if (lane->parts == NULL) return -ENOMEM;
    }
    return 0;
}

static int sync_init(struct tael_client *client) {
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&client->mutex, NULL) != 0) return -ENOMEM;
    if (pthread_condattr_init(&attributes) != 0) return -ENOMEM;
    int error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0) error = pthread_cond_init(&client->room, &attributes);
    if (error == 0) error = pthread_cond_init(&client->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return -error;
}

/* Gives back all that a client without a thread has. */
static void client_free(struct tael_client *client) {
    for (uint32_t i = 0; i < client->lanes_count; i++) free(client->lanes[i].parts);
    if (client->links.free != NULL) client->links.free(&client->links);
    if (client->wake_fd >= 0) close(client->wake_fd);
    if (client->wire.epoll >= 0) close(client->wire.epoll);
    tael_client_queue_free(&client->queue);
    free(client->lanes);
    free(client->idle.lanes);
    free(client->closed.lanes);
    pthread_cond_destroy(&client->changed);
    pthread_cond_destroy(&client->room);
    pthread_mutex_destroy(&client->mutex);
    free(client);
}

/* The program's signals are not for the library's thread. */
static int thread_start(struct tael_client *client) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&client->thread, NULL, tael_client_loop, client);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) pthread_setname_np(client->thread, "tael-client");
    return -error;
}

/* Waits until all sessions are open, with the reason in client->connect_why where they aren't. */
static int sessions_await(struct tael_client *client) {
    const struct timespec until = timespec_of(tael_client_now_ns() + client->connect_timeout_ns);
    int error = 0;
    tael_client_lock(client);
    while (client->opened < client->lanes_count && !client->is_refused && error == 0) {
        error = pthread_cond_timedwait(&client->changed, &client->mutex, &until);
    }
    const bool is_open = client->opened == client->lanes_count;
    const bool is_refused = client->is_refused;
    tael_client_unlock(client);
    if (is_open) return 0;
    return is_refused ? -ECONNABORTED : -ETIMEDOUT;
}

static int options_check(const struct tael_client_options *options, struct tael_address *address) {
    if (options->address == NULL || tael_address_parse(options->address, address) != 0) return -EINVAL;
    if (options->sessions > TAEL_CLIENT_SESSIONS_MAX || options->queue_max > TAEL_CLIENT_QUEUE_MAX) return -EINVAL;
    if (options->transport != TAEL_CLIENT_TCP && options->transport != TAEL_CLIENT_UDP) return -EINVAL;
    if (options->transport == TAEL_CLIENT_UDP && address->storage.ss_family != AF_INET) return -EINVAL;
    if (options->transport == TAEL_CLIENT_TCP && (options->faults != NULL || options->datagram_max != 0))
        return -EINVAL;
    if (options->datagram_max != 0 &&
        (options->datagram_max < TAEL_DATAGRAM_SIZE_ETHERNET || options->datagram_max > TAEL_DATAGRAM_SIZE_MAX)) {
        return -EINVAL;
    }
    return tael_aegis_supported() ? 0 : -ENOTSUP;
}

static int client_new(const struct tael_client_options *options, const struct tael_address *address,
                      struct tael_client **out) {
    struct tael_client *client = calloc(1, sizeof *client);
    if (client == NULL) return -ENOMEM;
    client->wake_fd = -1;
    client->wire.epoll = -1;
    client->wire.address = *address;
    client->timeout_ns = options->timeout_ns == 0 ? TIMEOUT_DEFAULT_NS : options->timeout_ns;
    client->connect_timeout_ns = options->connect_timeout_ns == 0
                                     ? CONNECT_TIMEOUT_DEFAULT_NS
                                     : earlier(options->connect_timeout_ns, TIMEOUT_MAX_NS);
    int error = sync_init(client);
    if (error == 0) error = wire_init(client, options);
    const uint32_t lanes = options->sessions == 0 ? 1 : options->sessions;
    if (error == 0) error = links_init(client, options->transport, lanes);
    if (error == 0) error = lanes_init(client, lanes);
    if (error == 0) {
        error =
            tael_client_queue_init(&client->queue, options->queue_max == 0 ? QUEUE_MAX_DEFAULT : options->queue_max);
    }
    if (error == 0) error = thread_start(client);
    if (error != 0) {
        client_free(client);
        return error;
    }
    *out = client;
    return 0;
}

/* Why it could not even begin. */
static void begin_why(const struct tael_client_options *options, int error, char why[TAEL_CLIENT_WHY_SIZE]) {
    switch (error) {
    case -EINVAL:
        snprintf(why, TAEL_CLIENT_WHY_SIZE, "'%s' is no address, or an option is out of its range",
                 options->address == NULL ? "" : options->address);
        break;
    case -ENOTSUP:
        snprintf(why, TAEL_CLIENT_WHY_SIZE, "this processor lacks AES-NI, AVX2 or BMI2");
        break;
    default:
        snprintf(why, TAEL_CLIENT_WHY_SIZE, "%s", strerror(-error));
    }
}

/* Why the sessions of a stopped client were not opened. */
static void sessions_why(const struct tael_client *client, int error, char why[TAEL_CLIENT_WHY_SIZE]) {
    char address[TAEL_ADDRESS_TEXT_SIZE];
    tael_address_format(&client->wire.address, address);
    if (error == -ECONNABORTED) {
        snprintf(why, TAEL_CLIENT_WHY_SIZE, "%s", client->refused_why);
    } else {
        snprintf(why, TAEL_CLIENT_WHY_SIZE, "no reply from %s within %.3g s (%s)", address,
                 (double)client->connect_timeout_ns / (double)TAEL_NS_PER_S, tael_client_sessions_trouble(client));
    }
}

/* Ends the thread and lets those go that wait for room. */
static void client_stop(struct tael_client *client, uint64_t wait_ns) {
    tael_client_lock(client);
    client->close_at_ns = tael_client_now_ns() + earlier(wait_ns, TIMEOUT_MAX_NS);
    client->is_closing = true;
    client->wants_submits = true;
    pthread_cond_broadcast(&client->room);
    tael_client_wake(client, 0);
    tael_client_unlock(client);
    pthread_join(client->thread, NULL);
    tael_client_lock(client);
    while (client->waiters > 0) pthread_cond_wait(&client->changed, &client->mutex);
    tael_client_unlock(client);
}

int tael_client_connect(const struct tael_client_options *options, struct tael_client **out,
                        char why[TAEL_CLIENT_WHY_SIZE]) {
    struct tael_address address;
    struct tael_client *client = NULL;
    int error = options_check(options, &address);
    if (error == 0) error = client_new(options, &address, &client);
    if (error != 0) {
        if (why != NULL) begin_why(options, error, why);
        return error;
    }
    error = sessions_await(client);
    if (error == 0) {
        *out = client;
        return 0;
    }
    client_stop(client, 0);
    if (why != NULL) sessions_why(client, error, why);
    client_free(client);
    return error;
}

void tael_client_close(struct tael_client *client, uint64_t wait_ns) {
    if (client == NULL) return;
    TAEL_ASSERT(!pthread_equal(pthread_self(), client->thread));
    client_stop(client, wait_ns);
    client_free(client);
}
