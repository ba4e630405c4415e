/* What the client library's public functions (client.c) and its thread (client_loop.c) share.
 *
 * Submits go into the queue under the mutex. The thread gives them to idle sessions, sleeps in epoll until a socket, a
 * timer, a deadline or a submit wakes it, and completes.
 *
 * Invariants:
 *  1. `mutex` guards the queue and what stands under "guarded". All else is the thread's, or does not change.
 *  2. No completion is called, nothing is sent and no body is built with the mutex held.
 *  3. A slot is free again before its completion is called: that may submit as many as complete, unless others are
 *     faster.
 *  4. The thread sleeps only after it has found, with the mutex held, that there is nothing waiting for which it has a
 *     session; from then on every submit for which it has one wakes it. */
#ifndef TAEL_IO_CLIENT_INTERNAL_H
#define TAEL_IO_CLIENT_INTERNAL_H

#include <pthread.h>
#include <time.h>

#include <tael/assert.h>
#include <tael/client.h>
#include <tael/limits.h>

#include "io/client_link.h"
#include "io/client_queue.h"

/* A way to the server and the request that it has in flight. */
struct tael_client_lane {
    struct tael_client_link *link;
    struct tael_client_part *parts; /* TAEL_CLIENT_PARTS_MAX */
    uint32_t parts_count;
    uint32_t parts_live; /* of them, not completed yet */
    uint8_t operation;
    bool is_opening;
    bool has_expired; /* some of its parts did, in the round of deadlines under way */
    uint64_t open_until_ns; /* while it registers: how long without anything waiting for it */
};

/* A stack of lanes. */
struct tael_client_lanes {
    uint32_t *lanes;
    uint32_t count;
};

struct tael_client {
    pthread_t thread;
    struct tael_client_wire wire;
    struct tael_client_links links;
    struct tael_client_lane *lanes;
    uint32_t lanes_count;
    struct tael_client_lanes idle; /* open, without a request */
    struct tael_client_lanes closed; /* to be opened when there is need */
    uint32_t opening; /* lanes that register */
    uint64_t reopen_ns; /* no session is opened before */
    uint64_t timeout_ns;
    uint64_t connect_timeout_ns;
    int wake_fd;
    char why[TAEL_CLIENT_WHY_SIZE]; /* for the completion at hand */
    _Atomic uint64_t submits; /* completed; relaxed, as those of the wire */
    _Atomic uint64_t requests;

    pthread_mutex_t mutex;
    pthread_cond_t room; /* slots were freed, or the client is closing */
    pthread_cond_t changed; /* of the two that wait for the thread or for the waiters: connect, close */
    /* Guarded: */
    struct tael_client_queue queue;
    uint64_t asleep_until_ns; /* 0: it isn't asleep */
    uint64_t close_at_ns; /* what is outstanding then fails */
    uint32_t waiters; /* in tael_client_submit, for room */
    uint32_t opened; /* sessions, in all */
    bool wants_submits; /* asleep, with a session to send them */
    bool is_closing;
    bool is_refused; /* the last session that the server was asked for */
    char refused_why[192]; /* the server's reason */
};

static inline void tael_client_lock(struct tael_client *client) {
    const int error = pthread_mutex_lock(&client->mutex);
    TAEL_ASSERT(error == 0);
}

static inline void tael_client_unlock(struct tael_client *client) {
    const int error = pthread_mutex_unlock(&client->mutex);
    TAEL_ASSERT(error == 0);
}

static inline uint64_t tael_client_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The library's thread; its argument is the client. */
void *tael_client_loop(void *client);

/* What a link tells; `client` is the client. */
void tael_client_event_take(void *client, struct tael_client_link *link, enum tael_client_event event);

/* Wakes the thread where it sleeps and has something to do with a submit of that deadline. With the mutex held, so that the client
 * outlives it. */
void tael_client_wake(struct tael_client *client, uint64_t deadline_ns);

/* What keeps the sessions from taking a submit, or from being open. With the mutex held. */
const char *tael_client_sessions_trouble(const struct tael_client *client);

#endif
