#include "cli/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tael/assert.h>

#define HUGE_PAGE_SIZE ((size_t)2 << 20)

int tael_memory_map(struct tael_arena *arena, size_t size) {
    const size_t mapped = (size + (HUGE_PAGE_SIZE - 1)) & ~(HUGE_PAGE_SIZE - 1);
    /* Only what is touched counts, so reserving more than the machine has is fine: limits are chosen with room to grow. */
    void *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return -errno;
    (void)madvise(base, mapped, MADV_HUGEPAGE); /* without it everything works, more slowly */
    *arena = (struct tael_arena){.base = base, .size = mapped};
    return 0;
}

void tael_memory_unmap(struct tael_arena *arena) {
    if (arena->base != NULL) (void)munmap(arena->base, arena->size);
    *arena = (struct tael_arena){0};
}

size_t tael_memory_of_machine(void) { return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE); }

void tael_budget_add(struct tael_budget *budget, const char *name, size_t size_bytes, const char *option) {
    TAEL_ASSERT(budget->count < TAEL_BUDGET_LINES_MAX);
    budget->lines[budget->count++] =
        (struct tael_budget_line){.name = name, .size_bytes = size_bytes, .option = option};
}

size_t tael_budget_total(const struct tael_budget *budget) {
    size_t total = 0;
    for (uint32_t i = 0; i < budget->count; i++) total += budget->lines[i].size_bytes;
    return total;
}

size_t tael_budget_needed(const struct tael_budget *budget) {
    size_t needed = 0;
    for (uint32_t i = 0; i < budget->count; i++) {
        if (strstr(budget->lines[i].name, "(reserve)") == NULL) needed += budget->lines[i].size_bytes;
    }
    return needed;
}

void tael_budget_print(const struct tael_budget *budget, FILE *out) {
    for (uint32_t i = 0; i < budget->count; i++) {
        const struct tael_budget_line *line = &budget->lines[i];
        fprintf(out, "  %-28s%9.1f MiB", line->name, (double)line->size_bytes / (1 << 20));
        if (line->option != NULL) fprintf(out, "  %s", line->option);
        fputc('\n', out);
    }
    fprintf(out, "  %-28s%9.1f MiB\n", "in all", (double)tael_budget_total(budget) / (1 << 20));
}
