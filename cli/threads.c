#include "cli/threads.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
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

bool tael_threads_are_crowded(uint32_t threads) {
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 && threads > (uint32_t)CPU_COUNT(&allowed);
}

struct tael_sleeping tael_threads_sleeping(enum tael_idle idle) {
    struct tael_sleeping sleeping = {.wait = futex_wait, .wake = futex_wake};
    switch (idle) {
    case TAEL_IDLE_SLEEP:
        sleeping.spins_idle = SPINS_IDLE;
        sleeping.spins_pass = SPINS_PASS;
        break;
    case TAEL_IDLE_SLEEP_AT_ONCE:
        break;
    case TAEL_IDLE_SPIN:
        sleeping.spins_idle = sleeping.spins_pass =
            UINT32_MAX; /* a minute; then they sleep until woken, which does no harm */
        break;
    }
    return sleeping;
}

void tael_thread_stay_on(uint32_t processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

static void *thread_run(void *context) {
    const struct tael_thread *thread = context;
    if (thread->processor >= 0) tael_thread_stay_on((uint32_t)thread->processor);
    tael_crew_work(thread->crew, thread->worker);
    return NULL;
}

/* Signals are for the first thread. */
int tael_thread_begin(pthread_t *thread, const char *name, void *(*run)(void *context), void *context) {
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(thread, NULL, run, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) (void)pthread_setname_np(*thread, name);
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
        char name[16];
        (void)snprintf(name, sizeof name, "worker %u", (unsigned)worker);
        const int error = tael_thread_begin(&thread->thread, name, thread_run, thread);
        if (error != 0) {
            tael_threads_end(threads);
            return error;
        }
        threads->count++;
    }
    if (map != NULL && workers > 1 && sched_getaffinity(0, sizeof threads->before, &threads->before) == 0) {
        threads->is_bound = true;
        tael_thread_stay_on(map->workers[0]);
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
