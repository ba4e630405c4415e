#include "engine/worker.h"

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/operation.h>

#include "engine/query.h"

struct running {
    struct tael_query *query;
    struct tael_read_job *job; /* NULL where the place is free */
};

struct tael_worker {
    struct tael_worker_options options;
    struct tael_ledger *ledger;
    struct tael_worker_link link;
    struct running *running; /* queries_max of them */
    uint32_t running_count;
    uint32_t running_turn; /* whose slice is next */
    bool slice_owed; /* new reads had the last slice, though others ran already */
    uint64_t account_events;
    uint64_t transfer_events;
};

size_t tael_worker_size_bytes(const struct tael_worker_options *options) {
    return tael_arena_share(sizeof(struct tael_worker)) + tael_ring_size_bytes(tael_power_of_two(options->blocks_max)) +
           2 * tael_ring_size_bytes(tael_power_of_two(options->reads_max)) +
           tael_arena_share(options->queries_max * sizeof(struct running)) +
           options->queries_max * tael_query_size_bytes();
}

static void publish(struct tael_worker *worker) {
    struct tael_worker_board *board = &worker->link.board;
    const struct tael_ledger_usage usage = tael_ledger_usage(worker->ledger);
    /* Relaxed: ordered by the release stores that follow. */
    atomic_store_explicit(&board->accounts, usage.accounts, memory_order_relaxed);
    atomic_store_explicit(&board->transfers, usage.transfers, memory_order_relaxed);
    atomic_store_explicit(&board->expiry_next, usage.expiry_next, memory_order_relaxed);
    atomic_store_explicit(&board->account_events, worker->account_events, memory_order_release); /* B1 */
    atomic_store_explicit(&board->transfer_events, worker->transfer_events, memory_order_release); /* B1 */
    tael_watermark_publish(&board->applied, usage.op);
}

struct tael_worker *tael_worker_init(struct tael_arena *arena, const struct tael_worker_options *options,
                                     struct tael_ledger *ledger) {
    TAEL_ASSERT(options->blocks_max > 0);
    TAEL_ASSERT(options->reads_max > 0);
    TAEL_ASSERT(options->queries_max > 0);
    struct tael_worker *worker = tael_arena_take(arena, sizeof *worker);
    worker->options = *options;
    worker->ledger = ledger;
    tael_ring_init(&worker->link.blocks, arena, tael_power_of_two(options->blocks_max));
    tael_ring_init(&worker->link.reads, arena, tael_power_of_two(options->reads_max));
    tael_ring_init(&worker->link.reads_done, arena, tael_power_of_two(options->reads_max));
    worker->running = tael_arena_take(arena, options->queries_max * sizeof(struct running));
    for (uint32_t i = 0; i < options->queries_max; i++)
        worker->running[i].query = tael_query_init(arena, options->lookups);
    publish(worker);
    return worker;
}

struct tael_worker_link *tael_worker_link(struct tael_worker *worker) {
    return &worker->link;
}

/* --- blocks --- */

bool tael_worker_skips(const struct tael_worker *worker, uint64_t op) {
    for (uint32_t i = 0; i < worker->options.skipped_ops_count; i++) {
        if (worker->options.skipped_ops[i] == op) return true;
    }
    return false;
}

static void panic_dump(FILE *out, const void *state) {
    const struct tael_request *request = state;
    if (request == NULL) {
        fprintf(out, "  several workers were at several requests: applied with --workers 1 it shows at which\n");
        return;
    }
    const char *name = tael_operation_info(request->operation).name;
    fprintf(out, "  request: %s, %" PRIu32 " events in %" PRIu32 " batches, timestamp %" PRIu64 "\n",
            name != NULL ? name : "unknown operation", request->event_count, request->batch_count, request->timestamp);
    fprintf(out, "  client %016" PRIx64 "%016" PRIx64 ", session %" PRIu64 ", request %" PRIu32 "\n",
            tael_u128_high(request->client), tael_u128_low(request->client), request->session, request->request);
}

/* An op that is left out only moves the ledger's op and timestamp forward, as an eviction does. */
static uint32_t apply_skipped(struct tael_worker *worker, const struct tael_request *request) {
    const struct tael_request stand_in = {
        .client = request->client,
        .op = request->op,
        .timestamp = request->timestamp,
        .operation = TAEL_OPERATION_evict,
    };
    return tael_ledger_apply(worker->ledger, &stand_in, NULL);
}

static void panic_tell(const struct tael_request *request) {
    tael_panic_context.op = request->op;
    tael_panic_context.event_index = 0;
    tael_panic_context.dump = panic_dump;
    tael_panic_context.state = request;
}

static void events_count(struct tael_worker *worker, const struct tael_request *request) {
    if (tael_operation_info(request->operation).kind != TAEL_OPERATION_CREATE) return;
    if (tael_operation_creates_accounts(request->operation)) {
        worker->account_events += request->event_count;
    } else {
        worker->transfer_events += request->event_count;
    }
}

static uint32_t apply_request(struct tael_worker *worker, const struct tael_request *request,
                              struct tael_exception *exceptions) {
    panic_tell(request);
    events_count(worker, request);
    if (TAEL_UNLIKELY(tael_worker_skips(worker, request->op))) return apply_skipped(worker, request);
    const uint32_t count = tael_ledger_apply(worker->ledger, request, exceptions);
    TAEL_ASSERT(count <= request->event_count);
    return count;
}

/* How many requests from this one on several workers can apply together; 0: so many are for one worker. An op that is left out is,
 * by itself. */
static uint32_t run_length(const struct tael_worker *worker, const struct tael_request *request, uint32_t count,
                           uint32_t *alone) {
    *alone = count;
    if (worker->options.parallel == NULL) return 0;
    for (uint32_t i = 0; i < worker->options.skipped_ops_count; i++) {
        const uint64_t skipped = worker->options.skipped_ops[i];
        if (skipped >= request->op && skipped - request->op < count) count = (uint32_t)(skipped - request->op);
    }
    *alone = 1;
    return count == 0 ? 0 : tael_parallel_run_length(worker->options.parallel, request, count, alone);
}

/* Returns the request behind the run. */
static const struct tael_request *apply_run(struct tael_worker *worker, const struct tael_block *block, uint32_t index,
                                            const struct tael_request *first, uint32_t length,
                                            uint32_t *exception_count) {
    panic_tell(first);
    *exception_count +=
        tael_parallel_apply(worker->options.parallel, first, length, block->exceptions + *exception_count,
                            block->outcomes + index, *exception_count);
    const struct tael_request *request = first;
    for (uint32_t i = 0; i < length; i++) {
        TAEL_ASSERT(request->op == block->first_op + index + i);
        events_count(worker, request);
        request = tael_request_next(request);
    }
    return request;
}

/* Requests ahead of the one being applied, for as many steps as the ledger looks ahead; two apart, as long as a miss takes. */
enum { LOOKS = 3, LOOK_DISTANCE = 2 };

struct look {
    const struct tael_request *request; /* the next one to look at */
    uint32_t index; /* in the block */
};

/* Blocks of single transfers take 0.63 of the time that they take without this, replayed, and 0.73 sequenced. */
static void look_ahead(const struct tael_worker *worker, const struct tael_block *block, struct look looks[LOOKS],
                       uint32_t index) {
    for (uint32_t i = 0; i < LOOKS; i++) {
        struct look *look = &looks[i];
        const uint32_t steps_left = i + 1;
        while (look->index < block->request_count && look->index <= index + steps_left * LOOK_DISTANCE) {
            if (look->index >= index) tael_ledger_look_ahead(worker->ledger, look->request, steps_left);
            look->request = tael_request_next(look->request);
            look->index++;
        }
    }
}

void tael_worker_apply(struct tael_worker *worker, const struct tael_block *block) {
    TAEL_ASSERT(block->request_count <= TAEL_REQUESTS_PER_BLOCK_MAX);
    const struct tael_request *request = tael_block_first_request(block);
    struct look looks[LOOKS] = {{.request = request}, {.request = request}, {.request = request}};
    uint32_t exception_count = 0;
    uint32_t asked = 0; /* those below are known to be for one worker */
    for (uint32_t i = 0; i < block->request_count;) {
        TAEL_ASSERT(request->op == block->first_op + i);
        uint32_t alone = 0;
        const uint32_t length = i < asked ? 0 : run_length(worker, request, block->request_count - i, &alone);
        asked = i + alone > asked ? i + alone : asked;
        if (length > 0) {
            request = apply_run(worker, block, i, request, length, &exception_count);
            i += length;
            continue;
        }
        look_ahead(worker, block, looks, i);
        const uint32_t count = apply_request(worker, request, block->exceptions + exception_count);
        block->outcomes[i] = (struct tael_outcome){.exception_first = exception_count, .exception_count = count};
        exception_count += count;
        request = tael_request_next(request);
        i++;
    }
    TAEL_ASSERT((const uint8_t *)request == block->data + block->size);
    tael_panic_context = (struct tael_panic_context){0};
    publish(worker);
}

/* --- reads --- */

/* Gives a read back when this slice ended it. */
static bool read_step(struct tael_worker *worker, struct running *running) {
    if (!tael_query_step(running->query, TAEL_READ_SLICE)) return false;
    struct tael_read_job *job = running->job;
    job->reply_size = tael_query_reply_size(running->query);
    job->op = tael_query_op(running->query);
    job->timestamp = tael_query_timestamp(running->query);
    running->job = NULL;
    worker->running_count--;
    const bool pushed = tael_ring_push(&worker->link.reads_done, job);
    TAEL_ASSERT(pushed);
    return true;
}

static struct running *read_place(struct tael_worker *worker) {
    if (worker->running_count == worker->options.queries_max) return NULL;
    struct running *running = worker->running;
    while (running->job != NULL) running++;
    return running;
}

/* About how many records a read touches in its first slice; lookups end in it, however many ids they have. Where workers share
 * them it is less. */
static uint32_t read_cost(const struct tael_read_job *job) { return 64 + job->body_size / (uint32_t)sizeof(tael_u128); }

static uint32_t reads_begin(struct tael_worker *worker, uint32_t *spent) {
    uint32_t begun = 0;
    while (*spent < TAEL_READ_SLICE) {
        struct running *running = read_place(worker);
        if (running == NULL) break;
        struct tael_read_job *job = tael_ring_pop(&worker->link.reads);
        if (job == NULL) break;
        running->job = job;
        worker->running_count++;
        tael_query_begin(running->query, worker->ledger, job->operation, job->body, job->body_size, job->reply_body);
        const uint32_t cost = read_cost(job); /* the job is the sequencer's again once the step ends it */
        *spent += read_step(worker, running) ? cost : TAEL_READ_SLICE;
        begun++;
    }
    return begun;
}

static uint32_t reads_advance(struct tael_worker *worker) {
    if (worker->running_count == 0) return 0;
    struct running *running;
    do {
        running = &worker->running[worker->running_turn];
        worker->running_turn = (worker->running_turn + 1) % worker->options.queries_max;
    } while (running->job == NULL);
    (void)read_step(worker, running);
    return 1;
}

/* New reads get their first slice before those that run get another, so short ones don't wait for long ones; but not twice in a
 * row, so that long ones end, however many short ones there are. */
static uint32_t reads_turn(struct tael_worker *worker) {
    const uint32_t running = worker->running_count;
    uint32_t spent = 0;
    const uint32_t begun = worker->slice_owed && running > 0 ? 0 : reads_begin(worker, &spent);
    worker->slice_owed = spent >= TAEL_READ_SLICE && running > 0;
    return spent >= TAEL_READ_SLICE ? begun : begun + reads_advance(worker);
}

uint32_t tael_worker_poll(struct tael_worker *worker) {
    uint32_t work = 0;
    const struct tael_block *block = tael_ring_pop(&worker->link.blocks);
    if (block != NULL) {
        tael_worker_apply(worker, block);
        work++;
    }
    work += reads_turn(worker);
    if (work == 0) work += tael_ledger_index_behind(worker->ledger, TAEL_INDEX_SLICE);
    return work;
}
