/* A host that sends each datagram back, for tests from outside: EAL, one port, one host.
 * usage: echo_host EAL-ARGUMENTS ADDRESS UDP-PORT MTU
 * Says "ready MAC" on stdout when it can be asked; ends with SIGTERM, its counters on stdout. */
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include <tael/limits.h>

#include "io/eal.h"
#include "io/host_address.h"
#include "io/port.h"

static volatile sig_atomic_t is_over;

static void end(int signal_number) {
    (void)signal_number;
    is_over = 1;
}

static void echo(struct tael_port *port, const struct tael_host *host, struct rte_mbuf *packet) {
    struct tael_host_received received;
    if (tael_port_take(port, host, packet, &received) != TAEL_HOST_DATAGRAM) return;
    if (received.payload_size > host->mtu - TAEL_HOST_MTU_HEADERS_SIZE) {
        rte_pktmbuf_free(packet); /* a peer with a larger MTU can send what we cannot send back */
        return;
    }
    tael_port_send(port, host, &received.from, packet, received.payload_size);
}

static uint32_t turn(struct tael_port *port, const struct tael_host *host) {
    struct rte_mbuf *packets[TAEL_PORT_BURST_MAX];
    const uint32_t count = tael_port_receive(port, packets);
    for (uint32_t i = 0; i < count; i++) echo(port, host, packets[i]);
    tael_port_flush(port);
    return count;
}

static void serve(struct tael_port *port, const struct tael_host *host) {
    uint32_t idle = 0;
    bool was_up = false;
    while (!is_over) {
        idle = turn(port, host) > 0 ? 0 : idle + 1;
        if (idle < 1000) continue;
        /* What asks stands on the same few processors. */
        usleep(50);
        const bool is_up = tael_port_is_up(port);
        if (is_up && !was_up) tael_port_announce(port, host);
        was_up = is_up;
    }
}

static void tell(const struct tael_port *port) {
    struct tael_port_counters counters;
    tael_port_counters(port, &counters);
#define X(name, text) printf(#name " %llu\n", (unsigned long long)counters.name);
    TAEL_PORT_COUNTER_TABLE(X)
#undef X
    for (unsigned reason = 0; reason < TAEL_HOST_DROPS; reason++)
        printf("drop_%s %llu\n", tael_host_drop_name(reason), (unsigned long long)counters.drops[reason]);
}

static int complain(const char *why) {
    fprintf(stderr, "echo_host: %s\n", why);
    return EXIT_FAILURE;
}

/* Between the start of EAL and its stop. */
static int run(const struct tael_port_options *options, struct tael_host *host) {
    static alignas(TAEL_SECTOR_SIZE) uint8_t memory[1 << 16];
    struct tael_arena arena = {.base = memory, .size = sizeof memory};
    char why[TAEL_WHY_SIZE];
    char mac[TAEL_MAC_TEXT_SIZE];
    struct tael_port *port;
    if (tael_port_open(&port, &arena, options, why) != 0) return complain(why);
    tael_port_mac(port, host->mac);
    const int error = tael_host_check(host);
    if (error == 0) {
        printf("ready %s\n", tael_mac_format(host->mac, mac));
        fflush(stdout);
        serve(port, host);
        tell(port);
    }
    tael_port_close(&port, 1);
    return error == 0 ? EXIT_SUCCESS : complain("no host can be like that");
}

int main(int argc, char **argv) {
    struct tael_port_options options = tael_port_options_default();
    struct tael_host_address address;
    char why[TAEL_WHY_SIZE];
    if (argc != 5 || tael_host_address_parse(argv[2], &address) != 0)
        return complain("usage: echo_host EAL-ARGUMENTS ADDRESS UDP-PORT MTU");
    struct tael_host host = {.address = address.address,
                             .port = (uint16_t)strtoul(argv[3], NULL, 10),
                             .mtu = (uint16_t)strtoul(argv[4], NULL, 10)};
    options.mtu = host.mtu;
    options.address = host.address;
    const struct tael_eal_options eal = {.arguments = argv[1], .memory_mib = tael_port_memory_mib(&options)};
    signal(SIGTERM, end);
    if (tael_eal_start(&eal, why) != 0) return complain(why);
    const int status = run(&options, &host);
    tael_eal_stop();
    return status;
}
