#include "cli/core.h"

enum { BLOCKS_SPARE = 4 }; /* beyond those that the log writes at once: one open, others being applied or answered */

static uint32_t blocks_max(const struct tael_core_options *options) {
    return options->log.in_flight_max + BLOCKS_SPARE;
}

static struct tael_state_options state_options(const struct tael_core_options *options) {
    return (struct tael_state_options){
        .superblock = options->superblock,
        .blocks_max = blocks_max(options),
        .reads_max = options->reads_max,
        .queries_max = options->queries_max,
        .workers = options->workers,
        .idle = options->idle,
    };
}

static struct tael_sequencer_options sequencer_options(const struct tael_core_options *options) {
    return (struct tael_sequencer_options){
        .cluster = options->superblock->cluster,
        .accounts_max = options->superblock->limits.accounts_max,
        .transfers_max = options->superblock->limits.transfers_max,
        .sessions_max = (uint32_t)options->superblock->limits.sessions_max,
        .blocks_max = blocks_max(options),
        .replies_small = options->replies_small,
        .replies_large = options->replies_large,
        .reads_max = options->reads_max,
        .acknowledges_early = options->superblock->scratch != 0,
    };
}

void tael_core_budget(const struct tael_core_options *options, struct tael_budget *budget) {
    const struct tael_state_options state = state_options(options);
    const struct tael_sequencer_options sequencer = sequencer_options(options);
    tael_state_budget(&state, budget);
    tael_budget_add(budget, "blocks and reply buffers", tael_sequencer_size_bytes(&sequencer), "--buffers-large");
    tael_budget_add(budget, "log", tael_log_size_bytes(&options->log), NULL);
}

void tael_core_init(struct tael_core *core, struct tael_arena *arena, const struct tael_core_options *options) {
    *core = (struct tael_core){.options = *options};
    const struct tael_state_options state = state_options(options);
    tael_state_init(&core->state, arena, &state);
}

int tael_core_recover(struct tael_core *core, struct tael_report *report) {
    const struct tael_state_recovery recovery = {
        .disk = core->options.disk, .superblock = core->options.superblock, .until = UINT64_MAX};
    return tael_state_recover(&core->state, &recovery, &core->recovery, report);
}

int tael_core_open(struct tael_core *core, struct tael_arena *arena, struct tael_link *links, uint32_t link_count,
                   struct tael_report *report) {
    const struct tael_core_options *options = &core->options;
    const int error = tael_log_init(arena, &options->log, options->disk, options->superblock, &core->recovery.position,
                                    &core->log, report);
    if (error != 0) return error;
    const struct tael_sequencer_options sequencer = sequencer_options(options);
    core->sequencer = tael_sequencer_init(arena, &sequencer, core->state.sessions, links, link_count,
                                          tael_worker_link(core->state.worker));
    tael_sequencer_start(core->sequencer, core->state.replay.op, core->state.replay.timestamp);
    size_t size;
    void *memory = tael_sequencer_block_memory(core->sequencer, &size);
    (void)tael_disk_register_buffers(options->disk, memory, size); /* without it writes work as well */
    return 0;
}

static uint32_t log_feed(struct tael_core *core) {
    struct tael_ring *blocks = tael_sequencer_blocks(core->sequencer);
    uint32_t work = 0;
    while (tael_log_can_submit(core->log)) {
        struct tael_block *block = tael_ring_pop(blocks);
        if (block == NULL) break;
        tael_log_submit(core->log, block);
        core->log_taken += tael_sequencer_size_in_log(block->size);
        work++;
    }
    return work;
}

uint32_t tael_core_sequence(struct tael_core *core, uint64_t wall_ns) {
    const bool taken_all = tael_ring_peek(tael_sequencer_blocks(core->sequencer)) == NULL;
    const struct tael_sequencer_input input = {
        .wall_ns = wall_ns,
        .durable = tael_log_durable_op(core->log),
        .log_size_min = taken_all ? tael_log_size_min(core->log) : UINT32_MAX,
        .log_capacity = core->log_taken + tael_log_room(core->log),
        .log_grows = tael_log_space(core->log) != TAEL_LOG_SPACE_NONE,
    };
    const uint32_t work = tael_sequencer_poll(core->sequencer, &input);
    return work + log_feed(core);
}

uint32_t tael_core_apply(struct tael_core *core) { return tael_worker_poll(core->state.worker); }

int tael_core_log(struct tael_core *core, uint64_t now_ns) { return tael_log_poll(core->log, now_ns); }

bool tael_core_is_idle(const struct tael_core *core) { return tael_sequencer_is_idle(core->sequencer); }
