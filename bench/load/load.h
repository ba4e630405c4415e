/* The load generator: drives a running ledger through the client library, and measures.
 *
 * There are as many lanes as batches outstanding at once. A lane sends its next batch after the reply to its last one:
 * at once in a closed loop; at a given rate when the next batch is due, whichever lane is free. A lane's next batch is
 * made while its last one is on its way, so making it costs processor time but no latency, as far as there is time.
 *
 *  1. A batch's latency counts from when it was meant to be sent, to the completion. In a closed loop that is when it
 *     was sent; at a rate it is when it was due, so one that waits for a free lane counts its wait.
 *  2. All that a phase sends is answered, or has failed, when the phase is over.
 *  3. The first request that fails ends the load: what comes after it would measure something else.
 *
 * Completions run on the threads of the clients and share a lock with the thread that runs the phase; it is held for a
 * few instructions a batch. */
#ifndef TAEL_BENCH_LOAD_H
#define TAEL_BENCH_LOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <tael/client.h>

#include "bench/load/histogram.h"
#include "bench/load/mix.h"

struct tael_load;

struct tael_load_options {
    const char *address;
    tael_u128 cluster;
    bool udp; /* by datagrams */
    uint32_t datagram_max; /* of them; 0: the client library's own */
    const char *faults; /* of them, on purpose; NULL: none */
    uint64_t timeout_ns; /* of a request */
    uint32_t clients; /* threads of the generator */
    uint32_t sessions; /* over all clients, a connection or a slot each; one a client at least */
    uint32_t outstanding; /* batches at once; with more than sessions, the client library puts several in one request */
    struct tael_mix_options mix; /* `streams` is set here */
};

enum { TAEL_LOAD_STATUSES = 128 };

struct tael_load_phase {
    uint64_t transfers; /* ends when so many are sent; UINT64_MAX: never */
    uint64_t duration_ns; /* or after so long; UINT64_MAX: never */
    uint64_t rate; /* transfers a second; 0: closed loop */
    const volatile sig_atomic_t *stop; /* ends soon when set */
    void (*progress)(void *context, uint64_t transfers); /* some times a second */
    void *progress_context;
};

struct tael_load_result {
    uint64_t elapsed_ns; /* from the first send to the last reply */
    uint64_t batches; /* answered */
    uint64_t transfers; /* answered: created or rejected */
    uint64_t created;
    uint64_t rejected[TAEL_LOAD_STATUSES]; /* by status; 0: one that this program doesn't know */
    uint64_t requests; /* answered, that carried the batches */
    uint64_t retransmissions, reconnects, busy;
    uint64_t failed; /* batches without results */
    int failed_status; /* of the first of those, and why */
    char failed_why[TAEL_CLIENT_WHY_SIZE];
    struct tael_histogram latency_ns; /* of batches */
    struct tael_histogram
        late_ns; /* at a rate: how late a batch was sent though a lane was free. The generator's doing */
    uint64_t waited; /* at a rate: batches that found no lane free when due */
    /* Shares of one processor. Busy is what the busiest client's thread ran or waited to run. */
    double client_busy;
    double cpu; /* of all of this process */
};

/* Connects. 0, or a negative errno and a sentence for people. */
int tael_load_open(const struct tael_load_options *options, struct tael_load **out,
                   char why[static TAEL_CLIENT_WHY_SIZE]);
void tael_load_close(struct tael_load *load); /* NULL is fine */

/* A client, for other requests while no phase runs. */
struct tael_client *tael_load_client(struct tael_load *load);

/* Opens the accounts that aren't there yet; -ECANCELED when told to stop. */
int tael_load_accounts_open(struct tael_load *load, const struct tael_load_phase *phase, uint64_t *opened,
                            char why[static TAEL_CLIENT_WHY_SIZE]);

/* What making a transfer takes, in ns of processor time, by making some thousand of them. */
double tael_load_make_cost_ns(struct tael_load *load);

void tael_load_run(struct tael_load *load, const struct tael_load_phase *phase, struct tael_load_result *result);

#endif
