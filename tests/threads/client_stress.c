/* Many threads on one client of a few sessions, a small queue and a server that drops, restarts and refuses: each submit is
 * completed once, with the results of its own events. ThreadSanitizer watches.
 *
 * Half of the threads call and wait, the other half submit and go on. Whoever finds the queue full waits for room.
 *
 * Usage: client_stress ROUNDS */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/client.h>
#include <tael/limits.h>

#include "tests/client/fake_server.h"

enum { THREADS = 8, SESSIONS = 3, QUEUE = 12, EVENTS_MAX = 40, WORKS = 64 };

static struct tael_client *client;
static uint32_t rounds;
static _Atomic uint64_t wrong;
static _Atomic uint64_t unknown;

struct worker {
    pthread_t thread;
    uint64_t number;
    struct work {
        struct worker *worker;
        atomic_bool is_in_flight;
        uint32_t count;
        struct tael_transfer transfers[EVENTS_MAX];
    } works[WORKS];
    _Atomic uint32_t completed;
};

static void judge(const struct work *work, int status, const struct tael_create_result *results, uint32_t count) {
    if (tael_client_outcome_is_unknown(status)) {
        atomic_fetch_add_explicit(&unknown, 1, memory_order_relaxed); /* relaxed: only counted */
        return;
    }
    bool is_right = status == 0 && count == work->count;
    for (uint32_t i = 0; is_right && i < count; i++) {
        is_right = results[i].timestamp == (uint64_t)work->transfers[i].id;
    }
    if (!is_right) atomic_fetch_add_explicit(&wrong, 1, memory_order_relaxed);
}

static void completed(void *context, const struct tael_client_result *result) {
    struct work *work = context;
    judge(work, result->status, result->results, result->count);
    if (!atomic_exchange_explicit(&work->is_in_flight, false, memory_order_release)) { /* partner: work_take */
        atomic_fetch_add_explicit(&wrong, 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&work->worker->completed, 1, memory_order_relaxed);
}

/* Fills the round's work, which must be free; NULL when it is not yet. */
static struct work *work_take(struct worker *worker, uint32_t round) {
    struct work *work = &worker->works[round % WORKS];
    if (atomic_load_explicit(&work->is_in_flight, memory_order_acquire)) return NULL; /* partner: completed */
    work->worker = worker;
    work->count = (uint32_t)(worker->number + round) % (EVENTS_MAX + 1);
    for (uint32_t i = 0; i < work->count; i++) {
        work->transfers[i].id = worker->number << 32 | (uint64_t)round * EVENTS_MAX | i;
    }
    return work;
}

static void *run_calls(void *argument) {
    struct worker *worker = argument;
    for (uint32_t round = 0; round < rounds; round++) {
        struct work *work = work_take(worker, round);
        struct tael_create_result results[EVENTS_MAX];
        struct tael_client_reply reply;
        const int status = tael_client_call(client, TAEL_OPERATION_create_transfers, work->transfers, work->count,
                                            results, EVENTS_MAX, 0, &reply);
        judge(work, status, results, reply.count);
    }
    atomic_store_explicit(&worker->completed, rounds, memory_order_relaxed);
    return NULL;
}

static void *run_submits(void *argument) {
    struct worker *worker = argument;
    uint32_t submitted = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        struct work *work = work_take(worker, round);
        if (work == NULL) continue;
        const struct tael_client_submit submit = {.operation = TAEL_OPERATION_create_transfers,
                                                  .event_count = work->count,
                                                  .events = work->transfers,
                                                  .flags = TAEL_CLIENT_WAIT | (round % 7 == 0 ? TAEL_CLIENT_ALONE : 0u),
                                                  .completion = completed,
                                                  .context = work};
        atomic_store_explicit(&work->is_in_flight, true,
                              memory_order_relaxed); /* relaxed: the submit's lock orders it */
        TAEL_ASSERT(tael_client_submit(client, &submit) == 0);
        submitted++;
    }
    worker->number = submitted; /* for the count after the end */
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: client_stress ROUNDS\n");
        return 2;
    }
    rounds = (uint32_t)strtoul(argv[1], NULL, 10);
    static struct worker workers[THREADS];
    struct fake_server *server = fake_server_start("rrrrchsBBxrtrrpkrrrrrbrrBrr1rrrdrrrkrrrr", 42);
    const struct tael_client_options options = {.address = fake_server_address(server),
                                                .cluster = 42,
                                                .sessions = SESSIONS,
                                                .queue_max = QUEUE,
                                                .retransmit_ns = TAEL_NS_PER_S / 10};
    char why[TAEL_CLIENT_WHY_SIZE];
    if (tael_client_connect(&options, &client, why) != 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    for (uint64_t i = 0; i < THREADS; i++) {
        workers[i].number = i + 1;
        TAEL_ASSERT(pthread_create(&workers[i].thread, NULL, i % 2 == 0 ? run_calls : run_submits, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
    const struct tael_client_counters counters = tael_client_counters(client);
    tael_client_close(client, 60 * TAEL_NS_PER_S);
    uint64_t lost = 0;
    for (int i = 0; i < THREADS; i++) {
        const uint64_t expected = i % 2 == 0 ? rounds : workers[i].number;
        lost += expected - atomic_load_explicit(&workers[i].completed, memory_order_relaxed);
    }
    const struct fake_seen seen = fake_server_stop(server);
    printf("%llu submits in %llu requests over %u connections, %llu of unknown outcome, %llu wrong, %llu lost\n",
           (unsigned long long)counters.submits, (unsigned long long)counters.requests, seen.connections,
           (unsigned long long)unknown, (unsigned long long)wrong, (unsigned long long)lost);
    return wrong == 0 && lost == 0 ? 0 : 1;
}
