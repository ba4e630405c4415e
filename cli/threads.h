/* The threads of workers 1 and on (engine/team.h); worker 0 is the caller's own. Who waits spins for a moment, then sleeps in the kernel. */
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

/* How so many workers wait for each other, the leader included. Where they outnumber the processors that the process may use, who
 * waits holds up the one it waits for, so nobody spins. */
struct tael_sleeping tael_threads_sleeping(uint32_t workers);

/* Starts the threads of a crew of so many workers, and keeps each worker, the caller included, on the processor that the map has for
 * it; NULL: wherever the kernel puts them. One that can't be kept there runs elsewhere. 0 or a negative errno; then those
 * that were started are ended again. */
int tael_threads_begin(struct tael_threads *threads, struct tael_crew *crew, uint32_t workers,
                       const struct tael_core_map *map);
/* Ends them, between passes, and lets the caller run anywhere again; nothing where none were begun. */
void tael_threads_end(struct tael_threads *threads);

#endif
