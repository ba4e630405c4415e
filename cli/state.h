/* What the log makes: ledger and sessions, rebuilt from it by the worker's own code. Shared by `start` and `verify`. */
#ifndef TAEL_CLI_STATE_H
#define TAEL_CLI_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/log_format.h>

#include "cli/memory.h"
#include "cli/threads.h"
#include "engine/digest.h"
#include "engine/ledger.h"
#include "engine/lookup.h"
#include "engine/parallel.h"
#include "engine/replay.h"
#include "engine/sessions.h"
#include "engine/team.h"
#include "engine/worker.h"
#include "persist/disk.h"
#include "persist/recovery.h"

struct tael_state_options {
    const struct tael_superblock *superblock; /* its limits, key and skipped ops; outlives the state */
    uint32_t blocks_max; /* as struct tael_worker_options has them */
    uint32_t reads_max;
    uint32_t queries_max;
    uint32_t workers; /* that apply and look up together; 0 and 1: one. Who wants more starts their threads */
    enum tael_idle idle; /* what those do that wait */
};

struct tael_state {
    struct tael_ledger *ledger;
    struct tael_sessions *sessions;
    struct tael_worker *worker;
    struct tael_crew *crew; /* NULL where there is one worker */
    struct tael_parallel *parallel; /* the same */
    struct tael_lookups *lookups; /* the same */
    struct tael_digest digest; /* what several workers added up while the disk was waited for */
    struct tael_replay replay;
};

/* Adds the lines of what tael_state_init takes. */
void tael_state_budget(const struct tael_state_options *options, struct tael_budget *budget);
void tael_state_init(struct tael_state *state, struct tael_arena *arena, const struct tael_state_options *options);

struct tael_state_recovery {
    struct tael_disk *disk;
    const struct tael_superblock *superblock;
    bool read_only;
    uint64_t until; /* the last op to replay; UINT64_MAX for all */
    bool wants_digest; /* it will be asked for: several workers add it up while they wait for the disk */
};

/* Replays the log into a state that is new. 0, or a negative errno with a report, as tael_recovery_run. */
int tael_state_recover(struct tael_state *state, const struct tael_state_recovery *recovery,
                       struct tael_recovery_result *result, struct tael_report *report);

/* The digest of the whole state, docs/digest.md; by all workers, whose threads are there. */
tael_u128 tael_state_digest(struct tael_state *state);

#endif
