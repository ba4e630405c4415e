/* The load generator as an ingress: requests made in the server's own process and handed to the sequencer by the link, without a
 * network, its frames and its checksums. It shows what the rest of a server takes.
 *
 * Each session has one request in flight. It opens sessions and accounts, waits until the server is settled, makes its runs, asks for
 * the trial balance, and has the process stopped. Requests are made by the net role's thread, while those before are on their way. */
#ifndef TAEL_CLI_GENERATOR_H
#define TAEL_CLI_GENERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/record.h>

#include "bench/load/histogram.h"
#include "bench/load/mix.h"
#include "cli/ingress.h"

struct tael_generator_options {
    struct tael_mix_options mix; /* a stream a session */
    uint64_t transfers; /* of a run; UINT64_MAX: as many as its time holds */
    uint64_t duration_ns; /* of a run; UINT64_MAX: until so many transfers are sent */
    uint64_t warm_up_ns; /* before each run; no longer than it takes to send so many */
    uint64_t warm_up_transfers;
    uint32_t runs;
};

/* What a run came to. */
struct tael_generator_run {
    uint64_t elapsed_ns; /* from the first send to the last reply */
    uint64_t requests;
    uint64_t transfers; /* answered */
    uint64_t created;
    struct tael_histogram latency_ns; /* of requests */
    struct tael_server_times times; /* during the run */
};

struct tael_generator;

/* NULL: out of memory. */
struct tael_generator *tael_generator_make(const struct tael_generator_options *options);
void tael_generator_free(struct tael_generator *generator); /* NULL is fine */
struct tael_ingress tael_generator_ingress(struct tael_generator *generator);

/* Once the server has ended. NULL where all is well, else what went wrong. */
const char *tael_generator_problem(const struct tael_generator *generator);
uint32_t tael_generator_runs(const struct tael_generator *generator, const struct tael_generator_run **runs);
uint64_t tael_generator_accounts_opened(const struct tael_generator *generator);
double tael_generator_make_cost_ns(const struct tael_generator *generator); /* of one transfer */
/* The rows of the trial balance after the last run, head included, and how many; as of `op`. */
const struct tael_trial_balance_row *tael_generator_balance(const struct tael_generator *generator, uint32_t *count,
                                                            uint64_t *op);

#endif
