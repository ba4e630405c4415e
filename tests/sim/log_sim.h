/* One simulated life of a log: the real writer and the real recovery on the simulated disk, driven by a seed through several
 * crashes and restarts, with everything checked that the design promises. */
#ifndef TAEL_TESTS_LOG_SIM_H
#define TAEL_TESTS_LOG_SIM_H

#include <stdbool.h>
#include <stdint.h>

struct log_sim_options {
    uint64_t seed;
    uint32_t log_faults; /* enum tael_log_fault */
    uint32_t recovery_faults; /* enum tael_recovery_fault */
    bool verbose;
};

struct log_sim_result {
    char failure[1400]; /* empty: everything held */
    uint32_t starts;
    uint32_t starts_after_power_cut;
    uint32_t starts_broken_off; /* the power failed during the start */
    uint32_t cuts; /* starts that cut something */
    uint64_t blocks; /* recovered, over all starts */
    uint32_t rot_refused; /* flipped bits that were refused */
    uint32_t rot_refused_older; /* of them, in blocks written before the last restart but one */
    uint32_t read_errors_refused;
    uint32_t write_errors; /* that stopped the log */
    uint32_t full_disks; /* times that space ran out and came back */
};

void log_sim_run(const struct log_sim_options *options, struct log_sim_result *result);

#endif
