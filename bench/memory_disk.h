/* A log in memory, to be read as if a disk did it: one segment, whose reads cost no time of their own. What copying takes is told, so
 * that it can be left out: a disk writes to memory by itself. */
#ifndef TAEL_BENCH_MEMORY_DISK_H
#define TAEL_BENCH_MEMORY_DISK_H

#include <stdint.h>

#include "persist/disk.h"

#define TAEL_BENCH_READS_MAX 64

struct tael_bench_disk {
    struct tael_disk disk;
    const uint8_t *segment;
    uint64_t size;
    uint64_t copied_ns; /* so far, what `copied` took included */
    void (*copied)(void *context); /* behind each copy */
    void *context;
    struct tael_disk_request *done[TAEL_BENCH_READS_MAX]; /* carried out, not told yet */
    uint32_t done_count;
};

/* Over a segment with the number 1, which outlives it. */
void tael_bench_disk_open(struct tael_bench_disk *disk, const void *segment, uint64_t size);

#endif
