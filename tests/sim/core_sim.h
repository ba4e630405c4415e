/* One simulated life of a server's core: sequencer, worker, ledger, real log and real recovery on the simulated disk, with a
 * few clients on a network that loses, repeats and delays. Some come by datagram: their sessions have slots, their requests overtake
 * each other and come cut into parts, and they ask what became of them. Driven by a seed through several crashes and restarts.
 *
 * What must hold:
 *   1. Whatever a reply showed, a read's too, is still there after any crash.
 *   2. No request is executed twice: each transfer is created once, however often its request is sent.
 *   3. A repeated request gets the same reply, byte for byte, before and after a restart.
 *   4. A client is evicted only where its session is gone, and everybody is answered in the end.
 *   5. The log gives the same state again: the digest of a replay is that of the live server. */
#ifndef TAEL_TESTS_CORE_SIM_H
#define TAEL_TESTS_CORE_SIM_H

#include <stdbool.h>
#include <stdint.h>

struct core_sim_options {
    uint64_t seed;
    uint64_t steps; /* of the whole life */
    uint32_t log_faults; /* enum tael_log_fault: to show that the checks see something */
    bool verbose;
};

struct core_sim_result {
    char failure[1400]; /* empty: everything held */
    uint32_t starts;
    uint32_t starts_after_power_cut;
    uint32_t cuts; /* starts that cut something */
    uint64_t ops; /* at the end */
    uint64_t answered; /* requests */
    uint64_t reads; /* of them */
    uint64_t repeated; /* replies that came again, and were compared */
    uint64_t evictions;
    uint64_t polls; /* sent by clients with slots */
    uint64_t notices; /* about their requests in flight */
    uint64_t pulses;
    uint64_t refused; /* requests, the disk being full */
};

void core_sim_run(const struct core_sim_options *options, struct core_sim_result *result);

#endif
