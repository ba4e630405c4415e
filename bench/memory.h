/* Memory of benchmarks: mapped as the server maps its own, and touched before anything is timed. */
#ifndef TAEL_BENCH_MEMORY_H
#define TAEL_BENCH_MEMORY_H

#include <stddef.h>

#include <tael/arena.h>

/* Maps `size` zeroed bytes that cost memory once they are touched; ends the process if it cannot. */
struct tael_arena tael_bench_map(size_t size);
void tael_bench_unmap(struct tael_arena *arena);

/* Touches the pages of `size` bytes at `base`: the first touch of a page takes longer than what is to be measured. */
void tael_bench_populate(void *base, size_t size);

#endif
