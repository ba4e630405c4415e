/* Applies requests in steps, by several workers at once, with exactly the results of tael_ledger_apply (engine/step.h). One worker
 * leads: it owns this, cuts requests into steps, and runs what is left to one worker. How the others are made to join in a pass
 * is the caller's affair (struct tael_team). */
#ifndef TAEL_ENGINE_PARALLEL_H
#define TAEL_ENGINE_PARALLEL_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/block.h>
#include <tael/request.h>

#include "engine/ledger.h"
#include "engine/step_reason.h"

#define TAEL_WORKERS_MAX 64

/* Below this it costs more to join in than to do it alone. */
#define TAEL_PARALLEL_EVENTS_MIN 256

/* So many events a request, on average over a run: with one in each, what is done for requests takes most of the time, and who does it by itself
 * looks ahead over them. Replay by two workers over one, 1 million accounts: of requests of one 0.86, of two 1.15, of four 1.50. */
#define TAEL_PARALLEL_REQUEST_EVENTS_MIN 2

/* After a step that was undone, what would be the next ones is applied one by one at once: one step's events the first time, twice as many each
 * time that the next attempt is undone too, up to this many; one again once a step was applied together. So a ledger of
 * amounts that no step can have pays for one attempt in 65. */
#define TAEL_PARALLEL_BACKOFF_MAX 64

/* Workers that do as they are told, together. */
struct tael_team {
    uint32_t workers;
    /* Runs `pass(argument, w)` for each worker w, the caller being worker 0; returns when all have ended. What was written before is
     * seen in the pass, and what is written in it is seen afterwards; but for stores past the caches, which whoever makes
     * them has to fence. */
    void (*run)(void *context, void (*pass)(void *argument, uint32_t worker), void *argument);
    void *context;
};

struct tael_parallel_options {
    struct tael_team team;
    uint32_t events_min; /* TAEL_PARALLEL_EVENTS_MIN; tests take 1 */
    uint32_t request_events_min; /* TAEL_PARALLEL_REQUEST_EVENTS_MIN; 0: any */
    uint32_t step_events; /* of one step at the most; 0: TAEL_STEP_EVENTS_MAX */
    uint32_t backoff_max; /* steps; 0: TAEL_PARALLEL_BACKOFF_MAX */
};

struct tael_parallel_counters {
    uint64_t steps; /* or legs, applied together */
    uint64_t events; /* in them */
    uint64_t events_listed; /* decided in the residue; by reason: */
    uint64_t listed[TAEL_LISTED_REASONS];
    uint64_t steps_sequential; /* undone, and their events applied one by one; by reason: */
    uint64_t sequential[TAEL_SEQUENTIAL_REASONS];
    uint64_t steps_backed_off; /* applied one by one at once, since one before was undone */
    uint64_t chains_alone; /* longer than a step or leg, so applied one by one */
    uint64_t events_alone; /* applied one by one for these reasons */
    uint64_t legs_reclaimed; /* whose ids, in part, became free again */
};

struct tael_parallel;

size_t tael_parallel_size_bytes(uint32_t workers);
/* The ledger is made for as many workers as the team has. */
struct tael_parallel *tael_parallel_init(struct tael_arena *arena, const struct tael_parallel_options *options,
                                         struct tael_ledger *ledger);

/* How many requests from this one on, of at most `count` that stand one behind the other, can be applied together; 0 when this
 * one is for tael_ledger_apply, and then so are the first `alone`, at least 1: it need not be asked for those again. */
uint32_t tael_parallel_run_length(const struct tael_parallel *parallel, const struct tael_request *first,
                                  uint32_t count, uint32_t *alone);

/* Applies `count` such requests. Writes the exceptions of all of them, one request's behind the other's, and where they stand;
 * `exception_first` is the place of the first in the block. Returns how many exceptions. */
uint32_t tael_parallel_apply(struct tael_parallel *parallel, const struct tael_request *first, uint32_t count,
                             struct tael_exception *exceptions, struct tael_outcome *outcomes,
                             uint32_t exception_first);

struct tael_parallel_counters tael_parallel_counters(const struct tael_parallel *parallel);

#endif
