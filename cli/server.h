/* The server: joins network, sequencer, worker and log on one thread and one io_uring, and runs them until told to stop.
 *
 * Each role is a function that is polled and says how much it did; when none had work the thread sleeps in the kernel until
 * a completion or the next deadline. It never spins; other workers, where there are any, do so briefly (cli/threads.h).
 *
 * Signals: SIGTERM and SIGINT drain, flush and end (the second one ends at once), SIGHUP confirms a leap of the wall clock,
 * SIGUSR1 prints the counters. */
#ifndef TAEL_CLI_SERVER_H
#define TAEL_CLI_SERVER_H

#include <stdbool.h>
#include <stdint.h>

struct tael_server_options {
    const char *path; /* the data directory */
    const char *listen; /* ADDR:PORT */
    /* Limits to raise; 0 leaves one as it is. */
    uint64_t accounts_max;
    uint64_t transfers_max;
    uint64_t sessions_max;
    uint32_t connections_max;
    uint32_t log_in_flight; /* blocks written at once, for new segments */
    uint32_t replies_large; /* 1 MiB buffers for replies, and for requests */
    uint32_t workers; /* that apply transfers */
    bool lazy_memory; /* touch no memory ahead of need */
    bool accept_clock; /* whatever the wall clock says */
};

/* Runs until it is told to stop, or cannot go on. An enum tael_exit; what went wrong has been said on stderr. */
int tael_server_run(const struct tael_server_options *options);

#endif
