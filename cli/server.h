/* The server: joins ingresses, sequencer, worker and log, and runs them until told to stop.
 *
 * Roles are polled (cli/loop.h): net, one for each ingress, the log with the sequencer, and worker 0, which leads the others (cli/threads.h).
 * Those that the map puts on one processor are polled by one thread; the log's is the caller.
 *
 * Signals: SIGTERM and SIGINT drain, flush and end (the second one ends at once), SIGHUP confirms a leap of the wall clock,
 * SIGUSR1 prints the counters. */
#ifndef TAEL_CLI_SERVER_H
#define TAEL_CLI_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/ingress.h"
#include "cli/placement.h"

#define TAEL_BUFFERS_LARGE_DEFAULT 64
#define TAEL_INGRESSES_MAX 2

struct tael_server_options {
    const char *path; /* the data directory */
    /* How requests come in; all are polled on net's processor, and lead to the same sequencer. */
    struct tael_ingress ingresses[TAEL_INGRESSES_MAX];
    uint32_t ingress_count; /* at least 1 */
    /* Limits to raise; 0 leaves one as it is. */
    uint64_t accounts_max;
    uint64_t transfers_max;
    uint64_t sessions_max;
    uint32_t log_in_flight; /* blocks written at once, for new segments */
    uint32_t replies_large; /* 1 MiB buffers for replies, and for requests */
    struct tael_placement placement; /* who runs where */
    bool lazy_memory; /* touch no memory ahead of need */
    bool accept_clock; /* whatever the wall clock says */
    bool is_quiet; /* tells errors and warnings only */
};

/* Runs until it is told to stop, or cannot go on. An enum tael_exit; what went wrong has been said on stderr. */
int tael_server_run(const struct tael_server_options *options);

#endif
