#include "cli/threads.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tael/assert.h>

/* A look takes some 15 ns. To be woken takes 50 us and more on a virtual machine, while passes of one block follow each other within a few: so a
 * worker looks for the next one for about as long as it would take to be woken, then leaves the processor to those that complete
 * the disk's writes. The leader, who waits for a worker at work, is in no such hurry to sleep. */
#define SPINS_IDLE 5000
#define SPINS_PASS 50000

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, TAEL_WORKERS_MAX, NULL, NULL, 0);
}

struct tael_sleeping tael_threads_sleeping(uint32_t workers) {
    cpu_set_t allowed;
    const bool is_known = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
    const bool is_crowded = is_known && workers > (uint32_t)CPU_COUNT(&allowed);
    return (struct tael_sleeping){
        .wait = futex_wait,
        .wake = futex_wake,
        .spins_idle = is_crowded ? 0 : SPINS_IDLE,
        .spins_pass = is_crowded ? 0 : SPINS_PASS,
    };
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
    if (map != NULL && workers > 1 && sched_getaffinity(0, sizeof threads->before, &threads->before) == 0) {
        threads->is_bound = true;
        stay_on(map->workers[0]);
    }
    return 0;
}

void tael_threads_end(struct tael_threads *threads) {
    if (threads->count == 0) return;
    tael_crew_dismiss(threads->crew);
    for (uint32_t i = 0; i < threads->count; i++) (void)pthread_join(threads->threads[i].thread, NULL);
    threads->count = 0;
    if (threads->is_bound) (void)sched_setaffinity(0, sizeof threads->before, &threads->before);
    threads->is_bound = false;
}
