/* The process's long-lived memory: one region for all parts, and what it goes to.
 *
 * Huge pages and where memory comes from are decided here and nowhere else. */
#ifndef TAEL_CLI_MEMORY_H
#define TAEL_CLI_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <tael/arena.h>

/* Maps `size` zeroed bytes, on transparent huge pages where the kernel has them. Pages cost memory only once they are
 * touched. 0, or a negative errno. */
int tael_memory_map(struct tael_arena *arena, size_t size);
void tael_memory_unmap(struct tael_arena *arena);

/* Bytes that the machine has, all processes together. */
size_t tael_memory_of_machine(void);

/* Where the memory goes, line by line. */
struct tael_budget_line {
    const char *name;
    size_t size_bytes;
    const char *option; /* the option that it grows with; NULL where there is none */
};

#define TAEL_BUDGET_LINES_MAX 32

struct tael_budget {
    struct tael_budget_line lines[TAEL_BUDGET_LINES_MAX];
    uint32_t count;
};

void tael_budget_add(struct tael_budget *budget, const char *name, size_t size_bytes, const char *option);
size_t tael_budget_total(const struct tael_budget *budget);
/* Without what is set aside for cases that hardly occur: lines whose names end in "(reserve)". */
size_t tael_budget_needed(const struct tael_budget *budget);
void tael_budget_print(const struct tael_budget *budget, FILE *out);

#endif
