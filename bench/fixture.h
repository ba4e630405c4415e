/* A ledger to measure: full of accounts, its index as large as that of 60 million transfers (100 million slots), all that
 * a run touches touched before. One at a time; the next one that is asked for takes its place. */
#ifndef TAEL_BENCH_FIXTURE_H
#define TAEL_BENCH_FIXTURE_H

#include <stdint.h>

#include <tael/record.h>
#include <tael/request.h>

#include "engine/ledger_state.h"

#define TAEL_BENCH_TRANSFERS_MAX 60000000u /* the index's size */
#define TAEL_BENCH_TRANSFERS_TOUCHED ((uint64_t)1 << 22) /* as many as one run may make */

struct tael_bench_ledger {
    struct tael_arena arena;
    struct tael_ledger *ledger;
    uint64_t accounts; /* ids 1 .. accounts */
    uint16_t account_flags;
    uint32_t workers; /* the partitions of its index */
    struct tael_request *request; /* room for a full one */
    struct tael_transfer *events; /* its payload */
    struct tael_exception *exceptions; /* room for a full request's */
};

/* With accounts and without transfers. Their balances may be those that an earlier run has left. */
struct tael_bench_ledger *tael_bench_ledger_get(uint64_t accounts, uint16_t account_flags);
/* The same for several workers that apply steps together. */
struct tael_bench_ledger *tael_bench_ledger_get_for(uint64_t accounts, uint16_t account_flags, uint32_t workers);

/* Fills the index up to `percent` of its slots with burnt ids. */
void tael_bench_ledger_fill_index(struct tael_bench_ledger *fixture, uint32_t percent);

/* Makes the request that creates the `count` transfers that stand in `events`. */
void tael_bench_ledger_request(struct tael_bench_ledger *fixture, uint32_t count);
/* Applies it; all of it must pass. Returns ns. */
uint64_t tael_bench_ledger_apply(struct tael_bench_ledger *fixture);

#endif
