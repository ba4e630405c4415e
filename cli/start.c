/* `tael start`: runs the server on a data directory. */
#include <string.h>

#include <tael/datagram.h>
#include <tael/limits.h>

#include "cli/command.h"
#include "cli/ingress_datagram.h"
#include "cli/ingress_tcp.h"
#include "cli/server.h"
#include "engine/parallel.h"
#include "io/address.h"
#include "io/host_address.h"

#define TAEL_START_LISTEN_DEFAULT "127.0.0.1:3000"
#define TAEL_START_UDP_PORT_DEFAULT 3000
/* Four largest requests: a client may have a quarter. */
#define TAEL_START_PARTS_MIN (4 * TAEL_PARTS_MAX)

#define START_OPTIONS(X, S)                                                                                            \
    X(S, TEXT, listen, "ADDR:PORT", 0, 0, NULL,                                                                        \
      "where clients connect by TCP. Default: 127.0.0.1:3000, and with --eal nowhere")                                 \
    X(S, TEXT, eal, "ARGS", 0, 0, NULL,                                                                                \
      "take datagrams from a port of DPDK: EAL's arguments, in one string (docs/dpdk.md)")                             \
    X(S, TEXT, address, "ADDR[:PORT]", 0, 0, NULL,                                                                     \
      "with --eal: the server's own IPv4 address, and its UDP port, 3000")                                             \
    X(S, NUMBER, port, "N", 0, 255, 0, "with --eal: which of EAL's devices")                                           \
    X(S, NUMBER, mtu, "BYTES", 1500, 9000, 1500, "with --eal: the largest IP packet on that network")                  \
    X(S, NUMBER, parts_max, "N", TAEL_START_PARTS_MIN, 1u << 20, 16384,                                                \
      "with --eal: packets that half-sent requests may keep, 2 KiB each, or as much as --mtu")                         \
    X(S, NUMBER, peers_max, "N", 1, 1u << 20, 16384, "with --eal: addresses of clients that are remembered")           \
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

static int wrong(const char *text) {
    tael_error(&tael_command_start, "%s; see 'tael start --help'", text);
    return TAEL_EXIT_USAGE;
}

/* "ADDR" or "ADDR:PORT" of a host on a port of DPDK. */
static bool address_parse(const char *text, uint32_t *address, uint16_t *port) {
    struct tael_address with_port;
    struct tael_host_address alone;
    *port = TAEL_START_UDP_PORT_DEFAULT;
    if (tael_host_address_parse(text, &alone) == 0) {
        *address = alone.address;
        return alone.prefix_length == 32;
    }
    if (strchr(text, '.') == NULL || tael_address_parse(text, &with_port) != 0) return false;
    return tael_address_ipv4(&with_port, address, port);
}

static int datagrams_choose(const struct start_options *options, struct tael_ingress_datagram *datagram,
                            struct tael_server_options *server) {
    if (options->eal == NULL) {
        return options->address == NULL ? TAEL_EXIT_DONE : wrong("--address is for --eal");
    }
    *datagram = (struct tael_ingress_datagram){
        .eal = options->eal,
        .port_id = (uint16_t)options->port,
        .mtu = (uint16_t)options->mtu,
        .parts_max = (uint32_t)options->parts_max,
        .peers_max = (uint32_t)options->peers_max,
        .spins = server->placement.idle == TAEL_IDLE_SPIN,
    };
    if (options->address == NULL) return wrong("--eal needs an --address");
    if (!address_parse(options->address, &datagram->address, &datagram->udp_port) ||
        !tael_address_is_unicast(datagram->address)) {
        return wrong("--address takes the IPv4 address of one host, and a port if you like: 10.0.0.1:3000");
    }
    server->ingresses[server->ingress_count++] = tael_ingress_datagram(datagram);
    return TAEL_EXIT_DONE;
}

static int tcp_choose(const struct start_options *options, struct tael_ingress_tcp *tcp,
                      struct tael_server_options *server) {
    struct tael_address address;
    const char *listen = options->listen;
    if (listen == NULL && options->eal != NULL) return TAEL_EXIT_DONE;
    if (listen == NULL) listen = TAEL_START_LISTEN_DEFAULT;
    if (tael_address_parse(listen, &address) != 0) {
        tael_error(&tael_command_start, "--listen %s is no ADDR:PORT", listen);
        return TAEL_EXIT_USAGE;
    }
    *tcp = (struct tael_ingress_tcp){.listen = listen, .connections_max = (uint32_t)options->connections_max};
    server->ingresses[server->ingress_count++] = tael_ingress_tcp(tcp);
    return TAEL_EXIT_DONE;
}

static int start_run(const void *options_any, int operands_count, char **operands) {
    const struct start_options *options = options_any;
    (void)operands_count;
    struct tael_ingress_tcp tcp;
    struct tael_ingress_datagram datagram;
    struct tael_server_options server = {
        .path = operands[0],
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
    int status = tcp_choose(options, &tcp, &server);
    if (status == TAEL_EXIT_DONE) status = datagrams_choose(options, &datagram, &server);
    return status == TAEL_EXIT_DONE ? tael_server_run(&server) : status;
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
