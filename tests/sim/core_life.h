/* A server's core on the simulated disk, from process to process: formatted, started as `start` does it, crashed, ended, and begun
 * again. What talks to it through the link is the caller's. */
#ifndef TAEL_TESTS_SIM_CORE_LIFE_H
#define TAEL_TESTS_SIM_CORE_LIFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/link.h>

#include "cli/core.h"
#include "persist/data_directory.h"
#include "tests/sim/disk_sim.h"

struct core_life {
    struct disk_sim *disk;
    struct tael_superblock superblock;
    struct tael_report report;
    struct tael_arena arena;
    struct tael_core core;
    struct tael_link link;
    char why[1400]; /* what went wrong */
};

/* The first process makes the ledger, and ends. 0, or a negative errno with the report. */
int core_life_format(struct core_life *life, const struct tael_format_options *options);

struct core_life_process {
    struct tael_core_options core; /* disk and superblock are filled in */
    uint32_t messages; /* entries of the link's rings */
    uint32_t replies;
    size_t room; /* bytes of the arena for the caller, who freezes it */
    uint64_t op_min; /* was shown to somebody, so the log has it */
};

/* Begins a process. False: life->why tells. */
bool core_life_start(struct core_life *life, const struct core_life_process *process);

/* Everything in memory is gone. */
void core_life_crash(struct core_life *life, enum disk_sim_crash kind);

/* How an idle core ended. */
struct core_life_end {
    uint64_t op;
    tael_u128 digest;
};

/* Ends the idle core as SIGTERM does; the books balance. The process is still to be crashed: all is synced. */
bool core_life_end(struct core_life *life, struct core_life_end *end);

/* Whether the process that was begun after it has made the same of the log. */
bool core_life_resumes(struct core_life *life, const struct core_life_end *end);

#endif
