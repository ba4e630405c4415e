/* A server of one's own: a new ledger in a directory, a child process that serves it on a port of the kernel's choice. */
#ifndef TAEL_CLI_OWN_SERVER_H
#define TAEL_CLI_OWN_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "cli/command.h"

struct tael_own_server_options {
    const char *directory; /* new or empty, and kept afterwards; NULL: one in $TMPDIR or /var/tmp that is removed */
    tael_u128 cluster;
    uint64_t accounts_max;
    uint64_t transfers_max;
    uint64_t sessions_max;
};

/* Zeroed is none. */
struct tael_own_server {
    const struct tael_command *command; /* in whose name errors are told */
    char directory[4096];
    char address[128]; /* where it listens */
    FILE *errors; /* what it says on stderr; shown when it fails */
    pid_t process;
    bool is_temporary;
};

/* Formats only: there is a ledger, and no process. False when that failed, which has been said; all is cleaned up then. */
bool tael_own_server_format(const struct tael_command *command, const struct tael_own_server_options *options,
                            struct tael_own_server *server);
/* Formats and starts. Returns when it listens. False when that failed, which has been said; all is cleaned up then. */
bool tael_own_server_start(const struct tael_command *command, const struct tael_own_server_options *options,
                           struct tael_own_server *server);

/* Whether a thread of lowest priority still works in it: a fresh server touches its memory behind, and until that is done
 * what is measured is the kernel clearing pages. False without one. */
bool tael_own_server_is_settling(const struct tael_own_server *server);

/* What processor time it took so far, in ns; 0 without one. */
uint64_t tael_own_server_cpu_ns(const struct tael_own_server *server);

/* Stops it cleanly, and removes what is temporary. False when it didn't end well, which has been said. Without one, true. */
bool tael_own_server_stop(struct tael_own_server *server);

#endif
