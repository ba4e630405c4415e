/* Threads, and those of workers 1 and on (engine/team.h); worker 0 is the caller's own. */
#ifndef TAEL_CLI_THREADS_H
#define TAEL_CLI_THREADS_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/core_map.h"
#include "engine/team.h"

struct tael_threads {
    struct tael_crew *crew;
    uint32_t count;
    bool is_bound; /* the caller, to its processor; before that it had these */
    cpu_set_t before;
    struct tael_thread {
        pthread_t thread;
        struct tael_crew *crew;
        uint32_t worker;
        int processor; /* -1: any */
    } threads[TAEL_WORKERS_MAX];
};

/* What those do that have nothing to do. */
enum tael_idle {
    TAEL_IDLE_SLEEP, /* spin for a moment, then sleep */
    TAEL_IDLE_SLEEP_AT_ONCE, /* they share processors: who waits holds up the one it waits for */
    TAEL_IDLE_SPIN, /* never sleep: each has a processor that nothing else needs */
};

/* Whether so many threads outnumber the processors that the process may use. */
bool tael_threads_are_crowded(uint32_t threads);

/* How workers wait for each other, the leader included. */
struct tael_sleeping tael_threads_sleeping(enum tael_idle idle);

/* Starts a thread, to which no signals go, under a name of up to 15 letters by which `top -H` shows it. 0 or a negative errno. */
int tael_thread_begin(pthread_t *thread, const char *name, void *(*run)(void *context), void *context);
/* Keeps the calling thread on one processor, if that is possible. */
void tael_thread_stay_on(uint32_t processor);

/* Starts the threads of a crew of so many workers, and keeps each worker, the caller included, on the processor that the map has for
 * it; NULL: wherever the kernel puts them. One that can't be kept there runs elsewhere. 0 or a negative errno; then those
 * that were started are ended again. */
int tael_threads_begin(struct tael_threads *threads, struct tael_crew *crew, uint32_t workers,
                       const struct tael_core_map *map);
/* Ends them, between passes, and lets the caller run anywhere again; nothing where none were begun. */
void tael_threads_end(struct tael_threads *threads);

#endif
