#include "cli/touch.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tael/assert.h>

#include "cli/memory.h"
#include "cli/threads.h"

#define STEP_SIZE ((size_t)8 << 20) /* between two looks at `stop` and at what the machine has left */

/* Bytes that processes could still have without swapping; none where the kernel does not say. */
static size_t available_bytes(void) {
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL) return 0;
    unsigned long long kib = 0;
    char line[128];
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) break;
    }
    (void)fclose(file);
    return (size_t)kib * 1024;
}

/* Touching ahead must not be what drives the machine out of memory. */
static bool memory_is_short(void) { return available_bytes() < tael_memory_of_machine() / 8; }

/* The whole pages from `begin` to `end`. False: stop altogether. */
static bool touch_stretch(struct tael_touch *touch, size_t begin, size_t end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    while (begin < end) {
        /* Relaxed: a flag with nothing behind it. */
        if (atomic_load_explicit(&touch->stop, memory_order_relaxed) || memory_is_short()) return false;
        const size_t size = end - begin < STEP_SIZE ? end - begin : STEP_SIZE;
        /* Contents stay as they are, also where the ledger is writing meanwhile. Kernels before 5.14 do not know it. */
        if (madvise(touch->arena.base + begin, size, MADV_POPULATE_WRITE) != 0) return false;
        begin += size;
    }
    return true;
}

void tael_touch_run(struct tael_touch *touch) {
    const struct tael_arena *arena = &touch->arena;
    size_t begin = 0;
    for (uint32_t i = 0; i < arena->reserve_count; i++) {
        const struct tael_arena_reserve *reserve = &arena->reserves[i];
        TAEL_ASSERT(reserve->offset >= begin);
        if (!touch_stretch(touch, begin, reserve->offset)) return;
        begin = reserve->offset + reserve->size;
    }
    (void)touch_stretch(touch, begin, arena->used);
}

static void *thread_run(void *context) {
    struct tael_touch *touch = context;
    (void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    tael_touch_run(touch);
    atomic_store_explicit(&touch->done, true, memory_order_relaxed); /* relaxed: a flag with nothing behind it */
    return NULL;
}

void tael_touch_begin(struct tael_touch *touch, const struct tael_arena *arena) {
    TAEL_ASSERT(!touch->begun);
    touch->arena = *arena;
    atomic_store_explicit(&touch->stop, false, memory_order_relaxed); /* relaxed: before there is a thread */
    touch->begun = tael_thread_begin(&touch->thread, "touch", thread_run, touch) == 0;
}

bool tael_touch_is_done(const struct tael_touch *touch) {
    return !touch->begun || atomic_load_explicit(&touch->done, memory_order_relaxed);
}

void tael_touch_end(struct tael_touch *touch) {
    if (!touch->begun) return;
    atomic_store_explicit(&touch->stop, true, memory_order_relaxed); /* relaxed: a flag with nothing behind it */
    (void)pthread_join(touch->thread, NULL);
    touch->begun = false;
}
