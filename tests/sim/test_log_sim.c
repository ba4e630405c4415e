/* The log under simulation. A failure prints its seed; `test_log_sim --seed S --verbose` plays it again.
 *
 *   test_log_sim [--seed S] [--seeds N]    N lives from seed S on; every promise must hold in each
 *   test_log_sim --planted                 plants each fault and counts the seeds until a life shows it; all must be found
 *   test_log_sim --fault NAME ...          lives with one fault planted */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/log.h"
#include "persist/recovery.h"
#include "tests/sim/log_sim.h"

#define PLANTED_SEEDS_MAX 3000

static const struct {
    const char *name;
    const char *text;
    uint32_t log_faults;
    uint32_t recovery_faults;
} faults[] = {
    {"no-sync", "the sync removed", TAEL_LOG_FAULT_NO_SYNC, 0},
    {"out-of-order", "durability announced out of order", TAEL_LOG_FAULT_OUT_OF_ORDER, 0},
    {"window", "the window K exceeded", TAEL_LOG_FAULT_WINDOW, 0},
    {"old-is-no-evidence", "blocks of older incarnations taken for no evidence", 0,
     TAEL_RECOVERY_FAULT_OLD_IS_NO_EVIDENCE},
    {"header-late", "a block announced before its segment's header is durable", TAEL_LOG_FAULT_HEADER_LATE, 0},
    {"no-directory-sync", "a segment used before its name is durable", TAEL_LOG_FAULT_NO_DIRECTORY_SYNC, 0},
};
#define FAULTS (sizeof faults / sizeof faults[0])

static void add(struct log_sim_result *sum, const struct log_sim_result *result) {
    sum->starts += result->starts;
    sum->starts_after_power_cut += result->starts_after_power_cut;
    sum->starts_broken_off += result->starts_broken_off;
    sum->cuts += result->cuts;
    sum->blocks += result->blocks;
    sum->rot_refused += result->rot_refused;
    sum->rot_refused_older += result->rot_refused_older;
    sum->read_errors_refused += result->read_errors_refused;
    sum->write_errors += result->write_errors;
    sum->full_disks += result->full_disks;
}

static int lives(struct log_sim_options options, uint64_t seeds) {
    struct log_sim_result sum = {0};
    const uint64_t first = options.seed;
    for (; options.seed < first + seeds; options.seed++) {
        struct log_sim_result result;
        log_sim_run(&options, &result);
        if (result.failure[0] != '\0') {
            printf("seed %llu: %s\n", (unsigned long long)options.seed, result.failure);
            return 1;
        }
        add(&sum, &result);
    }
    printf("seeds %llu to %llu: all held. %u starts (%u after a power cut, %u cut a tail, %u more broken off by one), "
           "%llu blocks recovered, refused: %u flipped bits (%u in blocks older than the last life) and %u read "
           "errors; %u write errors stopped the log, "
           "%u times the disk was full\n",
           (unsigned long long)first, (unsigned long long)(first + seeds - 1), sum.starts, sum.starts_after_power_cut,
           sum.cuts, sum.starts_broken_off, (unsigned long long)sum.blocks, sum.rot_refused, sum.rot_refused_older,
           sum.read_errors_refused, sum.write_errors, sum.full_disks);
    return 0;
}

static int planted(struct log_sim_options options) {
    int missed = 0;
    for (size_t i = 0; i < FAULTS; i++) {
        options.log_faults = faults[i].log_faults;
        options.recovery_faults = faults[i].recovery_faults;
        struct log_sim_result result = {0};
        uint64_t seed = options.seed;
        for (; seed < options.seed + PLANTED_SEEDS_MAX && result.failure[0] == '\0'; seed++) {
            struct log_sim_options one = options;
            one.seed = seed;
            log_sim_run(&one, &result);
        }
        if (result.failure[0] == '\0') {
            printf("%s (%s): NOT found in %d seeds\n", faults[i].name, faults[i].text, PLANTED_SEEDS_MAX);
            missed++;
            continue;
        }
        printf("%s (%s): found after %llu seeds: %s\n", faults[i].name, faults[i].text,
               (unsigned long long)(seed - options.seed), result.failure);
    }
    return missed == 0 ? 0 : 1;
}

static int usage(void) {
    fprintf(stderr, "usage: test_log_sim [--seed S] [--seeds N] [--planted] [--fault NAME] [--verbose]\n");
    return 2;
}

static bool fault_choose(struct log_sim_options *options, const char *name) {
    for (size_t i = 0; i < FAULTS; i++) {
        if (strcmp(faults[i].name, name) != 0) continue;
        options->log_faults |= faults[i].log_faults;
        options->recovery_faults |= faults[i].recovery_faults;
        return true;
    }
    return false;
}

int main(int argc, char **argv) {
    static const struct option long_options[] = {
        {"seed", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'n'},
        {"planted", no_argument, NULL, 'p'},    {"fault", required_argument, NULL, 'f'},
        {"verbose", no_argument, NULL, 'v'},    {NULL, 0, NULL, 0},
    };
    struct log_sim_options options = {.seed = 1};
    uint64_t seeds = 1;
    bool plant = false;
    int option;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 's')
            options.seed = strtoull(optarg, NULL, 10);
        else if (option == 'n')
            seeds = strtoull(optarg, NULL, 10);
        else if (option == 'p')
            plant = true;
        else if (option == 'v')
            options.verbose = true;
        else if (option != 'f' || !fault_choose(&options, optarg))
            return usage();
    }
    return plant ? planted(options) : lives(options, seeds);
}
