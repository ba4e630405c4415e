/* A whole server under simulation. A failure prints its seed; `test_server_sim --seed S --verbose` plays it again.
 *
 *   test_server_sim [--seed S] [--seeds N]   N lives from seed S on; everything must hold in each. With TAEL_TEST_LONG set
 *                                            there are 25 times as many
 *   test_server_sim --planted                with the log's sync removed some life must fail: the checks see it */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "persist/log.h"
#include "tests/sim/server_sim.h"

#define PLANTED_SEEDS_MAX 100
#define LONG_TIMES 25

static uint64_t seed_now;

/* An assertion of the server's or of a client's failed. */
static void aborted(int number) {
    (void)number;
    (void)fprintf(stderr, "seed %llu\n", (unsigned long long)seed_now);
}

static void life(const struct server_sim_options *options, struct server_sim_result *result) {
    seed_now = options->seed;
    server_sim_run(options, result);
}

static void result_add(struct server_sim_result *sum, const struct server_sim_result *result) {
#define X(name, text) sum->name += result->name;
    SERVER_SIM_COUNT_TABLE(X)
#undef X
}

static void result_print(const struct server_sim_result *sum) {
#define X(name, text) printf("%10llu %s\n", (unsigned long long)sum->name, text);
    SERVER_SIM_COUNT_TABLE(X)
#undef X
}

static int lives(struct server_sim_options options, uint64_t seeds) {
    struct server_sim_result sum = {0};
    const uint64_t first = options.seed;
    for (; options.seed < first + seeds; options.seed++) {
        struct server_sim_result result;
        life(&options, &result);
        if (result.failure[0] != '\0') {
            printf("seed %llu: %s\n", (unsigned long long)options.seed, result.failure);
            return 1;
        }
        result_add(&sum, &result);
    }
    printf("seeds %llu to %llu: all held\n", (unsigned long long)first, (unsigned long long)(first + seeds - 1));
    result_print(&sum);
    return 0;
}

static int planted(struct server_sim_options options) {
    options.log_faults = TAEL_LOG_FAULT_NO_SYNC;
    const uint64_t first = options.seed;
    for (; options.seed < first + PLANTED_SEEDS_MAX; options.seed++) {
        struct server_sim_result result;
        life(&options, &result);
        if (result.failure[0] == '\0') continue;
        printf("the sync removed: found after %llu seeds: %s\n", (unsigned long long)(options.seed - first + 1),
               result.failure);
        return 0;
    }
    printf("the sync removed: not found in %d seeds\n", PLANTED_SEEDS_MAX);
    return 1;
}

int main(int argc, char **argv) {
    static const struct option long_options[] = {{"seed", required_argument, NULL, 's'},
                                                 {"seeds", required_argument, NULL, 'n'},
                                                 {"planted", no_argument, NULL, 'p'},
                                                 {"verbose", no_argument, NULL, 'v'},
                                                 {0}};
    struct server_sim_options options = {.seed = 1};
    uint64_t seeds = 1;
    bool plant = false;
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 's') options.seed = strtoull(optarg, NULL, 10);
        if (option == 'n') seeds = strtoull(optarg, NULL, 10);
        if (option == 'v') options.verbose = true;
        if (option == 'p') plant = true;
        if (option == '?') return 2;
    }
    (void)signal(SIGABRT, aborted);
    if (getenv("TAEL_TEST_LONG") != NULL) seeds *= LONG_TIMES;
    return plant ? planted(options) : lives(options, seeds);
}
