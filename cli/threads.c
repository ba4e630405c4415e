#include "cli/threads.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tael/assert.h>

/* Some 20 us: about what it takes to be woken. Passes follow each other faster than that, and who waits longer had better leave
 * the processor to those that complete the disk's writes. */
#define SPINS 500

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, TAEL_WORKERS_MAX, NULL, NULL, 0);
}

struct tael_sleeping tael_threads_sleeping(void) {
    return (struct tael_sleeping){.wait = futex_wait, .wake = futex_wake, .spins = SPINS};
}

static void stay_on(uint32_t processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

static void *thread_run(void *context) {
    const struct tael_thread *thread = context;
    if (thread->processor >= 0) stay_on((uint32_t)thread->processor);
    tael_crew_work(thread->crew, thread->worker);
    return NULL;
}

/* Signals are for the first thread. */
static int thread_begin(struct tael_thread *thread) {
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&thread->thread, NULL, thread_run, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

int tael_threads_begin(struct tael_threads *threads, struct tael_crew *crew, uint32_t workers,
                       const struct tael_core_map *map) {
    TAEL_ASSERT(workers <= TAEL_WORKERS_MAX);
    *threads = (struct tael_threads){.crew = crew};
    for (uint32_t worker = 1; worker < workers; worker++) {
        struct tael_thread *thread = &threads->threads[threads->count];
        *thread = (struct tael_thread){
            .crew = crew, .worker = worker, .processor = map == NULL ? -1 : (int)map->workers[worker]};
        const int error = thread_begin(thread);
        if (error != 0) {
            tael_threads_end(threads);
            return error;
        }
        threads->count++;
    }
    if (map != NULL && workers > 1) stay_on(map->workers[0]);
    return 0;
}

void tael_threads_end(struct tael_threads *threads) {
    if (threads->count == 0) return;
    tael_crew_dismiss(threads->crew);
    for (uint32_t i = 0; i < threads->count; i++) (void)pthread_join(threads->threads[i].thread, NULL);
    threads->count = 0;
}
