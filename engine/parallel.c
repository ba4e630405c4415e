#include "engine/parallel.h"

#include <immintrin.h>

#include <tael/flag.h>
#include <tael/operation.h>

#include "engine/feed.h"
#include "engine/relay.h"
#include "engine/step.h"

/* Short legs, the first ones shorter still: nothing is applied while the first one is looked up. */
enum { LEGS = 4, LEG_EVENTS = 256, LEG_EVENTS_FIRST = 64 };

struct tael_parallel {
    struct tael_parallel_options options;
    struct tael_ledger *ledger;
    struct tael_parallel_counters counters;
    struct tael_step *now; /* the step under way */
    struct tael_step *next; /* the one that is routed meanwhile; without events: none */
    uint32_t backoff; /* steps' worth of events that are to be applied one by one at once */
    uint32_t backoff_next; /* how many there will be when the next step is undone */
    struct tael_leg *leg_done; /* applied, its claims not settled yet; NULL: none */
    struct tael_leg *leg_now; /* being applied */
    struct tael_leg *leg_next; /* in the other worker's hands; without events: none */
    struct tael_leg *legs; /* LEGS of them */
    uint32_t leg_room; /* events of the next one */
    struct tael_feed feed;
    /* Where exceptions go. */
    struct tael_exception *exceptions;
    uint32_t exception_count;
    struct tael_outcome *outcomes;
    uint32_t exception_first;
    uint32_t outcome_count; /* requests whose outcome has begun */
};

/* Two workers run in a relay, more in steps: see docs/concurrency.md for why. */
static bool is_relay(uint32_t workers) { return workers == 2; }

size_t tael_parallel_size_bytes(uint32_t workers) {
    const size_t own = tael_arena_share(sizeof(struct tael_parallel));
    return own +
           (is_relay(workers) ? tael_arena_share(LEGS * sizeof(struct tael_leg)) : 2 * tael_step_size_bytes(workers));
}

struct tael_parallel *tael_parallel_init(struct tael_arena *arena, const struct tael_parallel_options *options,
                                         struct tael_ledger *ledger) {
    const uint32_t workers = options->team.workers;
    const uint32_t events_max = is_relay(workers) ? LEG_EVENTS : TAEL_STEP_EVENTS_MAX;
    struct tael_parallel *parallel = tael_arena_take(arena, sizeof *parallel);
    *parallel = (struct tael_parallel){.options = *options, .ledger = ledger};
    if (options->step_events == 0 || options->step_events > events_max) parallel->options.step_events = events_max;
    if (options->backoff_max == 0) parallel->options.backoff_max = TAEL_PARALLEL_BACKOFF_MAX;
    parallel->backoff_next = 1;
    if (is_relay(workers)) {
        TAEL_ASSERT(ledger->index.partition_count == 1);
        parallel->legs = tael_arena_take(arena, LEGS * sizeof *parallel->legs);
        for (uint32_t i = 0; i < LEGS; i++) parallel->legs[i].ledger = ledger;
    } else {
        parallel->now = tael_step_init(arena, ledger, workers);
        parallel->next = tael_step_init(arena, ledger, workers);
    }
    return parallel;
}

/* --- which requests --- */

static bool is_imported(const struct tael_request *request) {
    const struct tael_transfer *events = tael_request_payload(request);
    for (uint32_t i = 0; i < request->batch_count; i++) {
        const uint32_t count = tael_request_batch_events(request, i);
        if (count > 0 && (events->flags & TAEL_TRANSFER_FLAG_imported)) return true;
        events += count;
    }
    return false;
}

static bool is_for_steps(const struct tael_request *request) {
    if (tael_operation_info(request->operation).kind != TAEL_OPERATION_CREATE) return false;
    return !tael_operation_creates_accounts(request->operation) && !is_imported(request);
}

uint32_t tael_parallel_run_length(const struct tael_parallel *parallel, const struct tael_request *first,
                                  uint32_t count, uint32_t *alone) {
    const struct tael_request *request = first;
    uint32_t length = 0;
    uint64_t events = 0;
    TAEL_ASSERT(count > 0);
    *alone = count;
    /* A trial balance under way watches every change of a balance, in their order. */
    if (parallel->ledger->audit.passed != NULL) return 0;
    while (length < count && is_for_steps(request)) {
        events += request->event_count;
        request = tael_request_next(request);
        length++;
    }
    *alone = length == 0 ? 1 : length;
    const bool is_worth_it =
        events >= parallel->options.events_min && events >= (uint64_t)length * parallel->options.request_events_min;
    return is_worth_it ? length : 0;
}

/* --- steps --- */

/* Fills a step with what comes next, as far as it goes. */
static void step_fill(struct tael_parallel *parallel, struct tael_step *step) {
    struct tael_ledger_part part;
    uint32_t request;
    tael_step_begin(step);
    while (tael_feed_take(&parallel->feed, parallel->options.step_events - step->count, &part, &request)) {
        tael_step_add(step, &part, request);
    }
}

/* Where the exceptions of request `number` begin, and those of the requests before it that had none. */
static void outcomes_begin(struct tael_parallel *parallel, uint32_t number) {
    while (parallel->outcome_count <= number) {
        parallel->outcomes[parallel->outcome_count++] =
            (struct tael_outcome){.exception_first = parallel->exception_first + parallel->exception_count};
    }
}

static void exceptions_note(struct tael_parallel *parallel, const struct tael_step *step) {
    const struct tael_step_segment *segment = step->segments;
    for (uint32_t i = 0; i < step->failed_count; i++) {
        const uint32_t event = step->failed[i];
        while (event >= segment->first + segment->part.count) segment++;
        outcomes_begin(parallel, segment->request);
        parallel->exceptions[parallel->exception_count++] = (struct tael_exception){
            .timestamp = step->timestamp[event],
            .status = step->refusal[event],
            .index = segment->part.index_first + (event - segment->first),
        };
        parallel->outcomes[segment->request].exception_count++;
    }
}

static void part_apply(struct tael_parallel *parallel, const struct tael_ledger_part *part, uint32_t request) {
    outcomes_begin(parallel, request);
    parallel->counters.events_alone += part->count;
    const uint32_t count =
        tael_ledger_apply_part(parallel->ledger, part, parallel->exceptions + parallel->exception_count);
    _mm_sfence(); /* bodies and history were written past the caches; others read ids there in the next pass */
    parallel->exception_count += count;
    parallel->outcomes[request].exception_count += count;
}

static void pass_route(void *argument, uint32_t worker) {
    tael_step_route(((struct tael_parallel *)argument)->now, worker);
}
static void pass_resolve(void *argument, uint32_t worker) {
    tael_step_resolve(((struct tael_parallel *)argument)->now, worker);
}
static void pass_intern(void *argument, uint32_t worker) {
    tael_step_intern(((struct tael_parallel *)argument)->now, worker);
}
static void pass_undo(void *argument, uint32_t worker) {
    tael_step_undo(((struct tael_parallel *)argument)->now, worker);
}

static void pass_apply(void *argument, uint32_t worker) {
    tael_step_apply(((struct tael_parallel *)argument)->now, worker);
}

static void pass_write(void *argument, uint32_t worker) {
    const struct tael_parallel *parallel = argument;
    tael_step_write(parallel->now, worker);
    tael_step_route(parallel->next, worker);
}

static void run(struct tael_parallel *parallel, void (*pass)(void *argument, uint32_t worker)) {
    /* A pass is at events of several requests, by several workers: there is no one op to name. */
    tael_panic_context.op = 0;
    tael_panic_context.event_index = 0;
    tael_panic_context.state = NULL;
    parallel->options.team.run(parallel->options.team.context, pass, parallel);
}

/* `reasons` are bits by enum tael_sequential. */
static void step_apply_sequentially(struct tael_parallel *parallel, uint8_t reasons) {
    struct tael_step *step = parallel->now;
    TAEL_ASSERT(reasons != 0);
    parallel->counters.steps_sequential++;
    parallel->counters.sequential[__builtin_ctz(reasons)]++;
    for (uint32_t i = 0; i < step->segment_count; i++) {
        part_apply(parallel, &step->segments[i].part, step->segments[i].request);
    }
    step->count = 0;
    parallel->backoff = parallel->backoff_next;
    parallel->backoff_next *= 2;
    if (parallel->backoff_next > parallel->options.backoff_max) {
        parallel->backoff_next = parallel->options.backoff_max;
    }
}

/* As many events as a step might have, one by one. False where the next chain is longer. */
static bool step_back_off(struct tael_parallel *parallel) {
    struct tael_ledger_part part;
    uint32_t request;
    uint32_t count = 0;
    while (tael_feed_take(&parallel->feed, parallel->options.step_events - count, &part, &request)) {
        part_apply(parallel, &part, request);
        count += part.count;
    }
    if (count == 0) return false;
    TAEL_ASSERT(parallel->backoff > 0);
    parallel->backoff--;
    parallel->counters.steps_backed_off++;
    return true;
}

/* The step under way, which is routed; the next one is routed meanwhile. */
static void step_apply(struct tael_parallel *parallel) {
    struct tael_step *step = parallel->now;
    tael_step_place(step);
    struct tael_step_worker found = tael_step_findings(step);
    step->resolves = found.resolves > 0;
    if (found.sequential == 0 && step->resolves) {
        run(parallel, pass_resolve);
        found = tael_step_findings(step);
    }
    if (found.sequential != 0) {
        step_apply_sequentially(parallel, found.sequential);
        return;
    }
    run(parallel, pass_intern);
    found = tael_step_findings(step);
    if (found.sequential != 0) {
        run(parallel, pass_undo);
        step_apply_sequentially(parallel, found.sequential);
        return;
    }
    parallel->counters.steps++;
    parallel->counters.events += step->count;
    if (found.listed > 0) parallel->counters.events_listed += tael_step_residue(step, parallel->counters.listed);
    step_fill(parallel, parallel->next);
    run(parallel, pass_apply);
    run(parallel, pass_write);
    tael_step_commit(step);
    exceptions_note(parallel, step);
    parallel->backoff_next = 1;
    parallel->now = parallel->next;
    parallel->next = step;
}

/* A chain that is longer than a step or leg. */
static void chain_apply(struct tael_parallel *parallel) {
    struct tael_ledger_part part;
    uint32_t request;
    parallel->counters.chains_alone++;
    tael_feed_take_chain(&parallel->feed, &part, &request);
    part_apply(parallel, &part, request);
}

/* Fills a step where none was filled ahead. False where the next chain is longer than one. */
static bool step_begin(struct tael_parallel *parallel) {
    step_fill(parallel, parallel->now);
    if (parallel->now->count == 0) return false;
    run(parallel, pass_route);
    return true;
}

static void steps_run(struct tael_parallel *parallel) {
    parallel->now->count = 0;
    while (parallel->now->count > 0 || !tael_feed_is_empty(&parallel->feed)) {
        if (parallel->now->count > 0) {
            step_apply(parallel);
        } else if (parallel->backoff > 0 ? !step_back_off(parallel) : !step_begin(parallel)) {
            chain_apply(parallel);
        }
    }
}

/* --- legs --- */

static void leg_take(struct tael_parallel *parallel, struct tael_leg *leg, uint32_t events_max) {
    struct tael_ledger_part part;
    uint32_t request;
    while (tael_feed_take(&parallel->feed, events_max - leg->count, &part, &request)) {
        tael_leg_add(leg, &part, request);
    }
}

static void leg_fill(struct tael_parallel *parallel, struct tael_leg *leg, struct tael_leg *before) {
    const uint32_t events_max = parallel->options.step_events;
    tael_leg_begin(leg, before);
    leg_take(parallel, leg, parallel->leg_room);
    if (leg->count == 0) leg_take(parallel, leg, events_max); /* a long chain comes next, or nothing */
    parallel->leg_room = 2 * parallel->leg_room < events_max ? 2 * parallel->leg_room : events_max;
}

static void leg_apply(struct tael_parallel *parallel, struct tael_leg *leg) {
    for (uint32_t i = 0; i < leg->part_count; i++) {
        const struct tael_leg_part *part = &leg->parts[i];
        outcomes_begin(parallel, part->request);
        const uint32_t count = tael_leg_apply(leg, part, parallel->exceptions + parallel->exception_count);
        parallel->exception_count += count;
        parallel->outcomes[part->request].exception_count += count;
    }
    atomic_store_explicit(&leg->applied, true, memory_order_relaxed); /* relaxed: a hint */
    _mm_sfence(); /* bodies and history were written past the caches; the worker ahead reads ids there */
}

static void pass_leg(void *argument, uint32_t worker) {
    struct tael_parallel *parallel = argument;
    if (worker == 0) {
        if (parallel->leg_now != NULL) leg_apply(parallel, parallel->leg_now);
        return;
    }
    if (parallel->leg_done != NULL) tael_leg_settle(parallel->leg_done);
    if (parallel->leg_next->count > 0) tael_leg_claim(parallel->leg_next);
}

static void pass_reclaim(void *argument, uint32_t worker) {
    struct tael_parallel *parallel = argument;
    if (worker == 0) return;
    tael_leg_reclaim(parallel->leg_done, parallel->leg_next->count > 0 ? parallel->leg_next : NULL);
}

/* Legs move on: the one that was applied is done. Where ids of it are free again, the index is put right first. Legs are taken
 * in turn, so that what became of the events of the two legs before is there while one is applied: an event may repeat one of
 * the leg before that posted one of the leg before that. */
static void legs_advance(struct tael_parallel *parallel) {
    parallel->leg_done = parallel->leg_now;
    if (parallel->leg_done != NULL) {
        parallel->counters.steps++;
        parallel->counters.events += parallel->leg_done->count;
        if (parallel->leg_done->vacated) {
            parallel->counters.legs_reclaimed++;
            run(parallel, pass_reclaim);
            parallel->leg_done = NULL;
        }
    }
    parallel->leg_now = parallel->leg_next->count > 0 ? parallel->leg_next : NULL;
    parallel->leg_next = &parallel->legs[(parallel->leg_next - parallel->legs + 1) % LEGS];
}

static void relay_run(struct tael_parallel *parallel) {
    parallel->leg_done = NULL;
    parallel->leg_now = NULL;
    parallel->leg_next = &parallel->legs[0];
    parallel->leg_room =
        LEG_EVENTS_FIRST < parallel->options.step_events ? LEG_EVENTS_FIRST : parallel->options.step_events;
    do {
        leg_fill(parallel, parallel->leg_next, parallel->leg_now);
        if (parallel->leg_now == NULL && parallel->leg_next->count == 0 && parallel->leg_done == NULL) {
            if (!tael_feed_is_empty(&parallel->feed)) chain_apply(parallel);
        } else {
            run(parallel, pass_leg);
            parallel->leg_done = NULL;
            legs_advance(parallel);
        }
    } while (parallel->leg_now != NULL || parallel->leg_done != NULL || !tael_feed_is_empty(&parallel->feed));
}

/* --- the interface --- */

uint32_t tael_parallel_apply(struct tael_parallel *parallel, const struct tael_request *first, uint32_t count,
                             struct tael_exception *exceptions, struct tael_outcome *outcomes,
                             uint32_t exception_first) {
    TAEL_ASSERT(count > 0);
    _mm_sfence(); /* as after a part that is applied one by one: what was applied before this */
    parallel->feed = tael_feed_begin(first, count);
    parallel->exceptions = exceptions;
    parallel->exception_count = 0;
    parallel->outcomes = outcomes;
    parallel->outcome_count = 0;
    parallel->exception_first = exception_first;
    if (is_relay(parallel->options.team.workers)) {
        relay_run(parallel);
    } else {
        steps_run(parallel);
    }
    outcomes_begin(parallel, count - 1);
    const struct tael_request *last = first;
    for (uint32_t i = 1; i < count; i++) last = tael_request_next(last);
    tael_ledger_requests_end(parallel->ledger, first, last);
    return parallel->exception_count;
}

struct tael_parallel_counters tael_parallel_counters(const struct tael_parallel *parallel) {
    return parallel->counters;
}
