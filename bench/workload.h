/* Requests to measure with: always the same ones, from a seed.
 *
 * Accounts have the ids 1 .. N. Transfers count their ids up; the engine's hash scatters them. Every transfer passes. */
#ifndef TAEL_BENCH_WORKLOAD_H
#define TAEL_BENCH_WORKLOAD_H

#include <stdint.h>

#include <tael/record.h>
#include <tael/request.h>

#include "tests/support/random.h"

enum tael_bench_mix {
    TAEL_BENCH_PLAIN, /* two accounts at random */
    TAEL_BENCH_CHAINS, /* the same, linked by fours */
    TAEL_BENCH_TWO_PHASE, /* every other one is pending, the others post one of those, some 100 thousand transfers later */
};

struct tael_bench_workload {
    uint64_t accounts;
    enum tael_bench_mix mix;
    struct test_random random;
    uint64_t transfers; /* made so far: the id of the last */
    uint64_t pending_first; /* the id of the first pending transfer that may be posted */
};

/* Writes the next `count` events; `transfers` is the id of the first but one. */
void tael_bench_workload_fill(struct tael_bench_workload *workload, struct tael_transfer *events, uint32_t count);

/* Forgets the pending transfers made so far: the ledger has. */
void tael_bench_workload_restart(struct tael_bench_workload *workload);

/* The header of a create request with that many events; the op and timestamp that follow `op` and `timestamp` by just
 * enough are set in it and there. */
void tael_bench_request_begin(struct tael_request *request, enum tael_operation operation, uint32_t events,
                              uint64_t *op, uint64_t *timestamp);

#endif
