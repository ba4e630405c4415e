#include "tests/sim/core_life.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static bool fail(struct core_life *life, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(life->why, sizeof life->why, format, arguments);
    va_end(arguments);
    return false;
}

int core_life_format(struct core_life *life, const struct tael_format_options *options) {
    const int error = tael_data_directory_format(disk_sim_disk(life->disk), options, &life->superblock, &life->report);
    disk_sim_crash(life->disk, DISK_SIM_CRASH_PROCESS);
    return error;
}

static void link_open(struct core_life *life, const struct core_life_process *process) {
    life->link = (struct tael_link){0};
    tael_ring_init(&life->link.requests, &life->arena, process->messages);
    tael_ring_init(&life->link.released, &life->arena, process->messages);
    tael_ring_init(&life->link.replies, &life->arena, process->replies);
    tael_ring_init(&life->link.sent, &life->arena, process->replies);
}

bool core_life_start(struct core_life *life, const struct core_life_process *process) {
    const struct tael_data_directory_options directory = {0};
    struct tael_core_options options = process->core;
    options.disk = disk_sim_disk(life->disk);
    options.superblock = &life->superblock;
    if (tael_data_directory_open(options.disk, &directory, &life->superblock, &life->report) != 0) {
        return fail(life, "the directory cannot be opened: %s", life->report.text);
    }
    struct tael_budget budget = {0};
    tael_core_budget(&options, &budget);
    const size_t rings =
        2 * tael_ring_size_bytes(process->messages) + 2 * tael_ring_size_bytes(process->replies) + TAEL_SECTOR_SIZE;
    if (tael_memory_map(&life->arena, tael_budget_total(&budget) + rings + process->room) != 0) {
        return fail(life, "no memory");
    }
    tael_core_init(&life->core, &life->arena, &options);
    if (tael_core_recover(&life->core, &life->report) != 0) {
        return fail(life, "a start after a crash was refused: %s", life->report.text);
    }
    const uint64_t op = life->core.state.replay.op;
    if (op < process->op_min) {
        return fail(life, "op %" PRIu64 " was shown to a client, the log ends with %" PRIu64, process->op_min, op);
    }
    link_open(life, process);
    if (tael_core_open(&life->core, &life->arena, &life->link, 1, &life->report) != 0) {
        return fail(life, "the log cannot be opened: %s", life->report.text);
    }
    return true;
}

void core_life_crash(struct core_life *life, enum disk_sim_crash kind) {
    disk_sim_crash(life->disk, kind);
    tael_memory_unmap(&life->arena);
}

bool core_life_end(struct core_life *life, struct core_life_end *end) {
    tael_sequencer_drain(life->core.sequencer);
    end->op = tael_sequencer_op(life->core.sequencer);
    end->digest = tael_state_digest(&life->core.state);
    if (!tael_ledger_balanced(life->core.state.ledger)) return fail(life, "debits and credits differ");
    if (tael_log_close(life->core.log) != 0) return fail(life, "the log cannot be closed");
    return true;
}

bool core_life_resumes(struct core_life *life, const struct core_life_end *end) {
    if (life->core.recovery.cut) return fail(life, "something was cut after a clean end");
    if (life->core.state.replay.op != end->op) return fail(life, "the last op differs after a clean end");
    if (tael_state_digest(&life->core.state) != end->digest) return fail(life, "the digest of the replay differs");
    return true;
}
