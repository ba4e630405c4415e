/* `tael start`: runs the server on a data directory. */
#include <tael/limits.h>

#include "cli/command.h"
#include "cli/ingress_tcp.h"
#include "cli/server.h"
#include "engine/parallel.h"
#include "io/address.h"

#define START_OPTIONS(X, S)                                                                                            \
    X(S, TEXT, listen, "ADDR:PORT", 0, 0, "127.0.0.1:3000", "where clients connect")                                   \
    X(S, NUMBER, accounts_max, "N", TAEL_ACCOUNTS_MIN, TAEL_ACCOUNTS_MAX, 0, "raises the limit, for good")             \
    X(S, NUMBER, transfers_max, "N", TAEL_TRANSFERS_MIN, TAEL_TRANSFERS_MAX, 0, "raises the limit, for good")          \
    X(S, NUMBER, sessions_max, "N", TAEL_SESSIONS_MIN, TAEL_SESSIONS_MAX, 0, "raises the limit, for good")             \
    X(S, NUMBER, connections_max, "N", 1, 65536, 4096, "most connections at once")                                     \
    X(S, NUMBER, buffers_large, "N", 4, 4096, TAEL_BUFFERS_LARGE_DEFAULT,                                              \
      "buffers of 1 MiB, for large requests and for large replies each")                                               \
    X(S, NUMBER, log_in_flight, "N", 1, TAEL_LOG_IN_FLIGHT_MAX, TAEL_LOG_IN_FLIGHT_DEFAULT,                            \
      "blocks of the log written at once")                                                                             \
    X(S, NUMBER, workers, "N", 1, TAEL_WORKERS_MAX, 0,                                                                 \
      "threads that apply transfers and answer lookups together; each takes a core while there is work. Default: "     \
      "one, "                                                                                                          \
      "or as --cores has it")                                                                                          \
    X(S, TEXT, cores, "MAP", 0, 0, NULL,                                                                               \
      "where roles run: auto, or as net=0,log=0,worker=1-3. Default: one thread that goes anywhere; with --workers, "  \
      "auto")                                                                                                          \
    X(S, TEXT, idle, "HOW", 0, 0, "sleep", "what a role does that has nothing to do: sleep, after a moment, or spin")  \
    X(S, FLAG, lazy_memory, "", 0, 0, false,                                                                           \
      "leave memory untouched until it is needed, instead of touching it behind")                                      \
    X(S, FLAG, accept_clock, "", 0, 0, false, "start though the wall clock contradicts the ledger")
TAEL_OPTIONS_DEFINE(start_options, START_OPTIONS);

static int start_run(const void *options_any, int operands_count, char **operands) {
    const struct start_options *options = options_any;
    (void)operands_count;
    struct tael_address address;
    if (tael_address_parse(options->listen, &address) != 0) {
        tael_error(&tael_command_start, "--listen %s is no ADDR:PORT", options->listen);
        return TAEL_EXIT_USAGE;
    }
    struct tael_ingress_tcp tcp = {.listen = options->listen, .connections_max = (uint32_t)options->connections_max};
    struct tael_server_options server = {
        .path = operands[0],
        .ingresses = {tael_ingress_tcp(&tcp)},
        .ingress_count = 1,
        .accounts_max = options->accounts_max,
        .transfers_max = options->transfers_max,
        .sessions_max = options->sessions_max,
        .log_in_flight = (uint32_t)options->log_in_flight,
        .replies_large = (uint32_t)options->buffers_large,
        .lazy_memory = options->lazy_memory,
        .accept_clock = options->accept_clock,
    };
    const uint32_t workers = (uint32_t)options->workers;
    if (!tael_placement_make(&tael_command_start, workers, options->cores, options->idle, &server.placement)) {
        return TAEL_EXIT_USAGE;
    }
    return tael_server_run(&server);
}

const struct tael_command tael_command_start = {
    .name = "start",
    .summary = "Runs the server on a ledger",
    .details = "SIGTERM and SIGINT finish what was begun, flush and end with 0; the second one ends at once. SIGHUP\n"
               "confirms that the wall clock is right after a leap, SIGUSR1 prints the counters.",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    TAEL_OPTIONS_OF(start_options),
    .run = start_run,
};
