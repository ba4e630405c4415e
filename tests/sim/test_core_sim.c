/* A server's core under simulation. A failure prints its seed; `test_core_sim --seed S --verbose` plays it again.
 *
 *   test_core_sim [--seed S] [--seeds N] [--steps N]   N lives from seed S on; everything must hold in each
 *   test_core_sim --planted                            with the log's sync removed some life must fail: the checks see it */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "persist/log.h"
#include "tests/sim/core_sim.h"

#define PLANTED_SEEDS_MAX 200

static int lives(struct core_sim_options options, uint64_t seeds) {
    struct core_sim_result sum = {0};
    const uint64_t first = options.seed;
    for (; options.seed < first + seeds; options.seed++) {
        struct core_sim_result result;
        core_sim_run(&options, &result);
        if (result.failure[0] != '\0') {
            printf("seed %llu: %s\n", (unsigned long long)options.seed, result.failure);
            return 1;
        }
        sum.starts += result.starts;
        sum.starts_after_power_cut += result.starts_after_power_cut;
        sum.cuts += result.cuts;
        sum.ops += result.ops;
        sum.answered += result.answered;
        sum.reads += result.reads;
        sum.repeated += result.repeated;
        sum.evictions += result.evictions;
        sum.polls += result.polls;
        sum.notices += result.notices;
        sum.pulses += result.pulses;
        sum.refused += result.refused;
    }
    printf(
        "seeds %llu to %llu: all held. %u starts (%u after a power cut, %u cut a tail), %llu ops, %llu pulses among "
        "them; %llu requests answered (%llu reads), %llu replies repeated and the same, %llu evictions, %llu refusals "
        "while the disk was full; %llu polls, %llu notices about requests in flight\n",
        (unsigned long long)first, (unsigned long long)(first + seeds - 1), sum.starts, sum.starts_after_power_cut,
        sum.cuts, (unsigned long long)sum.ops, (unsigned long long)sum.pulses, (unsigned long long)sum.answered,
        (unsigned long long)sum.reads, (unsigned long long)sum.repeated, (unsigned long long)sum.evictions,
        (unsigned long long)sum.refused, (unsigned long long)sum.polls, (unsigned long long)sum.notices);
    return 0;
}

static int planted(struct core_sim_options options) {
    options.log_faults = TAEL_LOG_FAULT_NO_SYNC;
    const uint64_t first = options.seed;
    for (; options.seed < first + PLANTED_SEEDS_MAX; options.seed++) {
        struct core_sim_result result;
        core_sim_run(&options, &result);
        if (result.failure[0] == '\0') continue;
        printf("the sync removed: found after %llu seeds: %s\n", (unsigned long long)(options.seed - first + 1),
               result.failure);
        return 0;
    }
    printf("the sync removed: not found in %d seeds\n", PLANTED_SEEDS_MAX);
    return 1;
}

int main(int argc, char **argv) {
    static const struct option long_options[] = {
        {"seed", required_argument, NULL, 's'},  {"seeds", required_argument, NULL, 'n'},
        {"steps", required_argument, NULL, 't'}, {"planted", no_argument, NULL, 'p'},
        {"verbose", no_argument, NULL, 'v'},     {0}};
    struct core_sim_options options = {.seed = 1, .steps = 10000};
    uint64_t seeds = 1;
    bool plant = false;
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 's') options.seed = strtoull(optarg, NULL, 10);
        if (option == 'n') seeds = strtoull(optarg, NULL, 10);
        if (option == 't') options.steps = strtoull(optarg, NULL, 10);
        if (option == 'v') options.verbose = true;
        if (option == 'p') plant = true;
        if (option == '?') return 2;
    }
    return plant ? planted(options) : lives(options, seeds);
}
