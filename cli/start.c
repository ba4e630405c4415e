/* `tael start`: runs the server on a data directory. */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <tael/limits.h>

#include "cli/command.h"
#include "cli/ingress_tcp.h"
#include "cli/output.h"
#include "cli/server.h"
#include "engine/parallel.h"
#include "io/address.h"

#define START_OPTIONS(X, S)                                                                                            \
    X(S, TEXT, listen, "ADDR:PORT", 0, 0, "127.0.0.1:3000", "where clients connect")                                   \
    X(S, NUMBER, accounts_max, "N", TAEL_ACCOUNTS_MIN, TAEL_ACCOUNTS_MAX, 0, "raises the limit, for good")             \
    X(S, NUMBER, transfers_max, "N", TAEL_TRANSFERS_MIN, TAEL_TRANSFERS_MAX, 0, "raises the limit, for good")          \
    X(S, NUMBER, sessions_max, "N", TAEL_SESSIONS_MIN, TAEL_SESSIONS_MAX, 0, "raises the limit, for good")             \
    X(S, NUMBER, connections_max, "N", 1, 65536, 4096, "most connections at once")                                     \
    X(S, NUMBER, buffers_large, "N", 4, 4096, 64, "buffers of 1 MiB, for large requests and for large replies each")   \
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

/* Who runs where. False where the options are wrong, or the machine tells nothing of itself; which has been said. */
static bool map_make(const struct start_options *options, struct tael_server_options *server) {
    const bool has_cores = options->cores != NULL;
    const uint32_t workers = (uint32_t)options->workers;
    struct tael_topology topology;
    struct tael_report report = {0};
    if (!has_cores && workers <= 1) {
        server->map = (struct tael_core_map){.worker_count = 1};
        return true;
    }
    const int error = tael_topology_read(&topology);
    if (error != 0) {
        tael_error(&tael_command_start, "cannot tell what processors there are: %s", strerror(-error));
        return false;
    }
    if (!tael_core_map_parse(has_cores ? options->cores : "auto", &topology, workers, &server->map, &report)) {
        tael_error(&tael_command_start, "--cores %s: %s", has_cores ? options->cores : "auto", report.text);
        return false;
    }
    server->is_bound = true;
    return true;
}

/* Whether the map has a role for each processor that the process may use. */
static bool is_machine_taken(const struct tael_core_map *map) {
    cpu_set_t left;
    if (sched_getaffinity(0, sizeof left, &left) != 0) return false;
    CPU_CLR(map->net, &left);
    CPU_CLR(map->log, &left);
    for (uint32_t w = 0; w < map->worker_count; w++) CPU_CLR(map->workers[w], &left);
    return CPU_COUNT(&left) == 0;
}

/* What idle roles do. False where the option is wrong, which has been said. */
static bool idle_make(const struct start_options *options, struct tael_server_options *server) {
    const bool spins = strcmp(options->idle, "spin") == 0;
    const uint32_t crowded = server->map.workers_crowded;
    if (!spins && strcmp(options->idle, "sleep") != 0) {
        tael_error(&tael_command_start, "--idle is sleep or spin, not %s", options->idle);
        return false;
    }
    if (spins && crowded > 0) {
        tael_error(&tael_command_start, "--idle spin: %" PRIu32 " workers have no processor of their own", crowded);
        return false;
    }
    if (crowded > 0) {
        tael_say("%" PRIu32 " workers share a processor and wait for each other there: fewer are faster", crowded);
    }
    if (spins && is_machine_taken(&server->map)) {
        tael_say("--idle spin leaves the kernel no processor to complete the disk's writes on: commits will take "
                 "milliseconds");
    }
    server->idle = spins ? TAEL_IDLE_SPIN : crowded > 0 ? TAEL_IDLE_SLEEP_AT_ONCE : TAEL_IDLE_SLEEP;
    return true;
}

static void map_tell(const struct tael_server_options *server) {
    char text[TAEL_CORE_MAP_TEXT_SIZE];
    if (!server->is_bound) return;
    tael_core_map_describe(&server->map, text, sizeof text);
    printf("processors: %s\n", text);
}

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
        .ingress = tael_ingress_tcp(&tcp),
        .accounts_max = options->accounts_max,
        .transfers_max = options->transfers_max,
        .sessions_max = options->sessions_max,
        .log_in_flight = (uint32_t)options->log_in_flight,
        .replies_large = (uint32_t)options->buffers_large,
        .lazy_memory = options->lazy_memory,
        .accept_clock = options->accept_clock,
    };
    if (!map_make(options, &server) || !idle_make(options, &server)) return TAEL_EXIT_USAGE;
    map_tell(&server);
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
