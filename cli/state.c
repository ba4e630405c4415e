#include "cli/state.h"

#include <immintrin.h>
#include <stdatomic.h>

#include "cli/output.h"

static struct tael_ledger_options ledger_options(const struct tael_state_options *options) {
    const struct tael_superblock *superblock = options->superblock;
    return (struct tael_ledger_options){
        .workers = options->workers,
        .accounts_max = superblock->limits.accounts_max,
        .transfers_max = superblock->limits.transfers_max,
        .hash_key = superblock->hash_key,
    };
}

static struct tael_sessions_options sessions_options(const struct tael_superblock *superblock) {
    const uint32_t sessions_max = (uint32_t)superblock->limits.sessions_max;
    return (struct tael_sessions_options){
        .sessions_max = sessions_max,
        .reply_chunks = tael_sessions_reply_chunks(sessions_max),
        .hash_key = superblock->hash_key,
    };
}

static struct tael_worker_options worker_options(const struct tael_state_options *options) {
    const struct tael_superblock *superblock = options->superblock;
    uint32_t skipped = 0;
    while (skipped < TAEL_SKIPPED_OPS_MAX && superblock->skipped_ops[skipped] != 0) skipped++;
    return (struct tael_worker_options){
        .blocks_max = options->blocks_max,
        .reads_max = options->reads_max,
        .queries_max = options->queries_max,
        .skipped_ops = superblock->skipped_ops,
        .skipped_ops_count = skipped,
    };
}

void tael_state_budget(const struct tael_state_options *options, struct tael_budget *budget) {
    const struct tael_ledger_options ledger = ledger_options(options);
    const struct tael_sessions_options sessions = sessions_options(options->superblock);
    const struct tael_worker_options worker = worker_options(options);
    const char *name;
    size_t size;
    size_t listed = 0;
    for (uint32_t i = 0; tael_ledger_budget(&ledger, i, &name, &size); i++) {
        tael_budget_add(budget, name, size, NULL);
        listed += size;
    }
    tael_budget_add(budget, "sessions and kept replies", tael_sessions_size_bytes(&sessions), "--sessions-max");
    tael_budget_add(
        budget, "worker",
        tael_ledger_size_bytes(&ledger) - listed + tael_worker_size_bytes(&worker) + tael_replay_size_bytes(), NULL);
    if (options->workers <= 1) return;
    tael_budget_add(budget, "steps of several workers",
                    tael_crew_size_bytes(options->workers) + tael_parallel_size_bytes(options->workers) +
                        tael_lookups_size_bytes(options->workers),
                    "--workers");
}

/* The crew, and what it does together: before its threads are there nobody may have it do anything. */
static void workers_init(struct tael_state *state, struct tael_arena *arena, const struct tael_state_options *options) {
    state->crew = NULL;
    state->parallel = NULL;
    state->lookups = NULL;
    state->digest = (struct tael_digest){0};
    if (options->workers <= 1) return;
    const struct tael_sleeping sleeping = tael_threads_sleeping(options->idle);
    state->crew = tael_crew_init(arena, options->workers, &sleeping);
    const struct tael_team team = tael_crew_team(state->crew);
    const struct tael_parallel_options parallel = {
        .team = team, .events_min = TAEL_PARALLEL_EVENTS_MIN, .request_events_min = TAEL_PARALLEL_REQUEST_EVENTS_MIN};
    const struct tael_lookups_options lookups = {.team = team, .ids_min = TAEL_LOOKUP_IDS_MIN};
    state->parallel = tael_parallel_init(arena, &parallel, state->ledger);
    state->lookups = tael_lookups_init(arena, &lookups);
}

void tael_state_init(struct tael_state *state, struct tael_arena *arena, const struct tael_state_options *options) {
    const struct tael_ledger_options ledger = ledger_options(options);
    const struct tael_sessions_options sessions = sessions_options(options->superblock);
    struct tael_worker_options worker = worker_options(options);
    state->ledger = tael_ledger_init(arena, &ledger);
    workers_init(state, arena, options);
    worker.parallel = state->parallel;
    worker.lookups = state->lookups;
    state->sessions = tael_sessions_init(arena, &sessions);
    state->worker = tael_worker_init(arena, &worker, state->ledger);
    tael_replay_init(&state->replay, arena, state->worker, state->sessions);
}

struct recovery_context {
    struct tael_state *state;
    uint64_t until;
    struct tael_progress progress;
};

static int recover_block(void *context_any, const struct tael_log_block *block, const struct tael_place *place) {
    struct recovery_context *context = context_any;
    (void)place;
    if (block->op_first <= context->until) tael_replay_block(&context->state->replay, block, context->until);
    return 0;
}

static void recover_progress(void *context_any, uint64_t bytes, uint64_t bytes_total, uint64_t op) {
    struct recovery_context *context = context_any;
    (void)op;
    context->progress.total = bytes_total;
    tael_progress_show(&context->progress, bytes);
}

/* The disk is waited for by the leader. */
struct waiting {
    struct tael_state *state;
    struct tael_disk *disk;
    int error;
    atomic_bool is_over;
};

static void pass_wait(void *argument, uint32_t worker) {
    struct waiting *waiting = argument;
    struct tael_state *state = waiting->state;
    if (worker == 0) {
        waiting->error = tael_disk_wait(waiting->disk);
        atomic_store_explicit(&waiting->is_over, true, memory_order_relaxed); /* relaxed: a hint */
        return;
    }
    while (!atomic_load_explicit(&waiting->is_over, memory_order_relaxed)) { /* relaxed: a hint */
        if (!tael_digest_advance(&state->digest, state->ledger, worker)) return;
    }
}

static int recover_wait(void *context_any, struct tael_disk *disk) {
    const struct recovery_context *context = context_any;
    struct waiting waiting = {.state = context->state, .disk = disk};
    const struct tael_team team = tael_crew_team(context->state->crew);
    _mm_sfence(); /* the leader may have written transfers past the caches */
    team.run(team.context, pass_wait, &waiting);
    return waiting.error;
}

int tael_state_recover(struct tael_state *state, const struct tael_state_recovery *recovery,
                       struct tael_recovery_result *result, struct tael_report *report) {
    struct recovery_context context = {.state = state, .until = recovery->until};
    const struct tael_recovery_options options = {
        .disk = recovery->disk,
        .superblock = recovery->superblock,
        .block = recover_block,
        .progress = recover_progress,
        .context = &context,
        .read_only = recovery->read_only,
        .wait = state->crew == NULL || !recovery->wants_digest ? NULL : recover_wait,
    };
    tael_progress_begin(&context.progress, "replaying the log", "bytes", 0);
    const int error = tael_recovery_run(&options, result, report);
    tael_progress_end(&context.progress);
    return error;
}

tael_u128 tael_state_digest(struct tael_state *state) {
    const tael_u128 sessions = tael_sessions_digest(state->sessions);
    if (state->crew == NULL) return tael_ledger_digest(state->ledger) + sessions;
    const struct tael_team team = tael_crew_team(state->crew);
    struct tael_digest digest = state->digest;
    return tael_digest_end(&digest, state->ledger, &team) + sessions;
}
