/* What port.c and port_open.c share. */
#ifndef TAEL_IO_PORT_INTERNAL_H
#define TAEL_IO_PORT_INTERNAL_H

#include "io/port.h"

enum { TAEL_ETHER_HEADER_SIZE = 14 };

struct tael_port {
    struct rte_mempool *pool;
    uint16_t port_id;
    uint16_t queue;
    uint32_t frame_max; /* bytes of the largest frame that may be sent */
    unsigned offloads; /* enum tael_host_offloads */
    uint64_t transmit_flags; /* what asks the device for them */
    uint8_t mac[TAEL_MAC_SIZE];
    uint32_t pending_count;
    struct rte_mbuf *pending[TAEL_PORT_PENDING_MAX]; /* sent, and not handed to the device yet; the oldest first */
    uint64_t stuck_since; /* ticks: when the device last took all it was offered, or something; 0: it takes all */
    struct tael_port_counters counters; /* written by the owner, read by any */
};

#endif
