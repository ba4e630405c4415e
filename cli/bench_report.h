/* What `tael bench` found, for people and as JSON. */
#ifndef TAEL_CLI_BENCH_REPORT_H
#define TAEL_CLI_BENCH_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/load/load.h"
#include "cli/ingress.h"
#include "cli/trial_balance.h"

/* One run, measured. */
struct tael_bench_run {
    struct tael_load_result load;
    double server_cpu; /* processors that a server of our own used; below 0: not known */
    struct tael_server_times times; /* where its time went; of a run in process */
};

struct tael_bench_report {
    const struct tael_load_options *options;
    uint64_t rate; /* that was asked for; 0: closed loop */
    uint64_t accounts_opened;
    double make_cost_ns; /* of making one transfer */
    double load_average; /* of the machine's last minute, before: what else runs takes part in the figures */
    struct tael_bench_run *runs; /* in the order of their transfers a second: see tael_bench_runs_sort */
    uint32_t runs_count;
    bool is_in_process;
    const struct tael_trial_balance *balance;
};

double tael_bench_rate(const struct tael_load_result *load); /* transfers answered a second */

void tael_bench_runs_sort(struct tael_bench_run *runs, uint32_t count);

/* The run in the middle, of sorted ones. */
const struct tael_bench_run *tael_bench_median(const struct tael_bench_report *report);

/* Whether the generator, not the server, set the figures: a sentence, or NULL when it didn't. */
const char *tael_bench_generator_limit(const struct tael_bench_run *run, uint64_t rate);

/* Whether replies kept up with the rate: the run took at most a fiftieth longer. True in a closed loop. */
bool tael_bench_rate_is_held(const struct tael_bench_run *run, uint64_t rate);

void tael_bench_print(const struct tael_bench_report *report);
json_t *tael_bench_json(const struct tael_bench_report *report);

#endif
