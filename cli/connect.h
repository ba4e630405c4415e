/* Options that all commands share which talk to a server, and the opening of their client. */
#ifndef TAEL_CLI_CONNECT_H
#define TAEL_CLI_CONNECT_H

#include <tael/client.h>

#include "cli/command.h"

#define TAEL_CONNECT_OPTIONS(X, S)                                                                                     \
    X(S, TEXT, to, "ADDR:PORT", 0, 0, "127.0.0.1:3000", "the server's address")                                        \
    X(S, FLAG, udp, "", 0, 0, false, "by datagrams: the address is that of the server's datagram port")                \
    X(S, WIDE, cluster, "N", 0, 0, 0, "the ledger's cluster number")                                                   \
    X(S, NUMBER, timeout, "SECONDS", 1, 86400, 60, "how long one request may take, retries and restarts included")     \
    X(S, FLAG, json, "", 0, 0, false, "print one JSON object")

/* A client of one session, whose requests take up to `timeout_s`; NULL when that failed, which has been said. */
struct tael_client *tael_connect(const struct tael_command *command, const char *to, bool udp, tael_u128 cluster,
                                 uint64_t timeout_s);

#endif
