#include "bench/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cli/memory.h"

#define PAGE_SIZE ((uintptr_t)4096)

static void check(int error, const char *what) {
    if (error == 0) return;
    fprintf(stderr, "bench: %s: %s\n", what, strerror(-error));
    exit(1);
}

struct tael_arena tael_bench_map(size_t size) {
    struct tael_arena arena;
    check(tael_memory_map(&arena, size), "cannot map memory");
    return arena;
}

void tael_bench_unmap(struct tael_arena *arena) { tael_memory_unmap(arena); }

void tael_bench_populate(void *base, size_t size) {
    const uintptr_t first = (uintptr_t)base & ~(PAGE_SIZE - 1);
    const uintptr_t end = ((uintptr_t)base + size + (PAGE_SIZE - 1)) & ~(PAGE_SIZE - 1);
    check(madvise((void *)first, end - first, MADV_POPULATE_WRITE) == 0 ? 0 : -errno, "cannot touch memory");
}
