/* Requests by datagrams over a port of DPDK: io/datagram_server.h as an ingress. */
#ifndef TAEL_CLI_INGRESS_DATAGRAM_H
#define TAEL_CLI_INGRESS_DATAGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/ingress.h"
#include "io/datagram_server.h"
#include "io/port_carrier.h"

struct tael_ingress_datagram {
    const char *eal; /* EAL's arguments */
    uint32_t address; /* IPv4, the host's own, in the machine's byte order */
    uint16_t udp_port;
    uint16_t port_id; /* which of EAL's devices */
    uint16_t mtu;
    uint32_t parts_max; /* packets that half-sent requests may keep */
    uint32_t peers_max; /* addresses that are remembered */
    bool spins; /* it is never left unpolled */
    /* Its own. */
    struct tael_port *port;
    struct tael_port_carrier carrier;
    struct tael_datagram_server *server;
    uint64_t heard_ns; /* when something came last */
    uint64_t now_ns; /* of the last turn */
    uint64_t link_looked_ns;
    bool is_up; /* the link, when it was looked at last */
};

/* `datagram`, zeroed but for the options, outlives it. */
struct tael_ingress tael_ingress_datagram(struct tael_ingress_datagram *datagram);

#endif
