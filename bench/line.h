/* How far two processors are from each other. On a virtual machine that changes while one looks on: the host moves its threads, and a cache
 * line takes 30 ns from one to the other in one minute and 125 in the next. So whatever several threads take is told together
 * with this. */
#ifndef TAEL_BENCH_LINE_H
#define TAEL_BENCH_LINE_H

#include <stdint.h>

#include "bench/team.h"

/* Measures what it takes the caller to read a cache line that worker 1 has just written, ns, each read waiting for the one before; some
 * 50 us. */
uint64_t tael_bench_line_ns(const struct tael_bench_team *team);

#endif
