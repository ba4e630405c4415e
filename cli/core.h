/* The core of a server, without its network: what the log makes, the sequencer, the worker and the log, joined.
 *
 * Everything from outside is handed in: disk, time, and the links by which requests come. So the simulation
 * (tests/sim/core_sim.c) runs the very core that `start` runs. Owned by one thread. */
#ifndef TAEL_CLI_CORE_H
#define TAEL_CLI_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/link.h>
#include <tael/log_format.h>

#include "cli/memory.h"
#include "cli/state.h"
#include "engine/sequencer.h"
#include "persist/disk.h"
#include "persist/log.h"
#include "persist/recovery.h"
#include "persist/report.h"

struct tael_core_options {
    struct tael_disk *disk;
    const struct tael_superblock *superblock; /* as tael_data_directory_open gave it; outlives the core */
    struct tael_log_options log;
    uint32_t replies_small; /* as struct tael_sequencer_options has them */
    uint32_t replies_large;
    uint32_t reads_max;
    uint32_t queries_max; /* reads that run side by side */
    uint32_t workers; /* as struct tael_state_options has them */
    enum tael_idle idle;
};

struct tael_core {
    struct tael_core_options options;
    struct tael_state state;
    struct tael_recovery_result recovery;
    struct tael_sequencer *sequencer;
    struct tael_log *log;
    uint64_t log_taken; /* bytes of blocks that the log took since the start */
};

/* Adds the lines of what the core takes. */
void tael_core_budget(const struct tael_core_options *options, struct tael_budget *budget);

/* Takes the memory of the ledger and its sessions, which are empty. */
void tael_core_init(struct tael_core *core, struct tael_arena *arena, const struct tael_core_options *options);

/* Replays the log. 0, or a negative errno with a report. */
int tael_core_recover(struct tael_core *core, struct tael_report *report);

/* Opens the log for writing and begins to sequence. 0, or a negative errno with a report. */
int tael_core_open(struct tael_core *core, struct tael_arena *arena, struct tael_link *links, uint32_t link_count,
                   struct tael_report *report);

/* The parts of a turn; each returns how much it did, the last one also a negative errno of the log, which is the end.
 * Sequence, then have the disk's queue submitted, then apply, so that the disk works meanwhile. */
uint32_t tael_core_sequence(struct tael_core *core, uint64_t wall_ns);
uint32_t tael_core_apply(struct tael_core *core);
int tael_core_log(struct tael_core *core, uint64_t now_ns);

/* True when nothing is open, in flight or unsent. */
bool tael_core_is_idle(const struct tael_core *core);

#endif
