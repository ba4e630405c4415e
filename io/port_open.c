#include "io/port_internal.h"

#include <errno.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <tael/bits.h>

#include "io/host_address.h"
#include "io/port_telemetry.h"

enum {
    CACHE_SIZE = 256, /* packets of a pool that its thread has at hand */
    FRAME_OVERHEAD = TAEL_ETHER_HEADER_SIZE + 4 + 4, /* a VLAN tag and the FCS, which devices count in */
    BUFFER_UNIT = 1024, /* some devices round a buffer's size down to that */
    DRIVER_MEMORY_MIB = 32, /* descriptors and whatever else EAL takes */
};

struct tael_port_options tael_port_options_default(void) {
    return (struct tael_port_options){
        .queues = 1,
        .receive_descriptors = 1024,
        .transmit_descriptors = 1024,
        .mtu = 1500,
        .packets_kept_max = 4096,
    };
}

size_t tael_port_size_bytes(const struct tael_port_options *options) {
    return options->queues * tael_arena_share(sizeof(struct tael_port));
}

/* Packets of one queue's pool: those in the device's rings, in the owner's hands, in a burst each way, and in the pool's cache. */
static uint32_t pool_packets(const struct tael_port_options *options, uint32_t receive_descriptors,
                             uint32_t transmit_descriptors) {
    return receive_descriptors + transmit_descriptors + options->packets_kept_max + TAEL_PORT_BURST_MAX +
           TAEL_PORT_PENDING_MAX + 2 * CACHE_SIZE;
}

/* The bytes of a buffer that a frame is received into. */
static uint32_t buffer_size(const struct tael_port_options *options) {
    const uint32_t frame = options->mtu + (uint32_t)FRAME_OVERHEAD;
    return (frame + BUFFER_UNIT - 1) / BUFFER_UNIT * BUFFER_UNIT;
}

uint32_t tael_port_memory_mib(const struct tael_port_options *options) {
    const uint32_t packet =
        buffer_size(options) + RTE_PKTMBUF_HEADROOM + (uint32_t)sizeof(struct rte_mbuf) + 2 * RTE_CACHE_LINE_SIZE;
    const uint64_t packets = pool_packets(options, options->receive_descriptors, options->transmit_descriptors);
    /* In small pages a packet does not cross from one into the next. */
    return (uint32_t)((options->queues * packets * tael_power_of_two(packet)) >> 20) + DRIVER_MEMORY_MIB;
}

/* What is known of a device while it is opened. */
struct opening {
    const struct tael_port_options *options;
    struct rte_eth_dev_info info;
    struct rte_eth_conf conf;
    uint16_t receive_descriptors; /* as the device has them */
    uint16_t transmit_descriptors;
    char *why; /* TAEL_WHY_SIZE */
};

static int opening_fail(const struct opening *opening, int error, const char *what) {
    return tael_why(opening->why, error, "port %u (%s): %s: %s", opening->options->port_id,
                    opening->info.driver_name == NULL ? "unknown" : opening->info.driver_name, what, strerror(-error));
}

static int describe(struct opening *opening) {
    const struct tael_port_options *options = opening->options;
    if (!rte_eth_dev_is_valid_port(options->port_id))
        return tael_why(opening->why, -ENODEV, "there is no port %u: EAL has found %u", options->port_id,
                        rte_eth_dev_count_avail());
    const int error = rte_eth_dev_info_get(options->port_id, &opening->info);
    if (error != 0) return opening_fail(opening, error, "cannot ask what it is");
    const uint16_t receive = opening->info.max_rx_queues;
    const uint16_t transmit = opening->info.max_tx_queues;
    const uint16_t queues_max = receive < transmit ? receive : transmit;
    if (options->queues == 0 || options->queues > queues_max || options->queues > TAEL_PORT_QUEUES_MAX)
        return tael_why(opening->why, -ENOTSUP, "port %u (%s) has no %u queues: it has %u", options->port_id,
                        opening->info.driver_name, options->queues, queues_max);
    return 0;
}

/* Several queues want the packets spread by the sender's address and port, so that a session stays with one role. Drivers without RSS
 * spread by means of their own, or give all to the first queue. */
static void rss_choose(struct opening *opening) {
    const uint64_t known = opening->info.flow_type_rss_offloads;
    uint64_t by = known & RTE_ETH_RSS_NONFRAG_IPV4_UDP;
    if (by == 0) by = known & (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER);
    if (opening->options->queues == 1 || by == 0) return;
    opening->conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    opening->conf.rx_adv_conf.rss_conf.rss_hf = by;
}

static bool is_driver(const struct opening *opening, const char *name) {
    return strcmp(opening->info.driver_name, name) == 0;
}

/* What the device is told of the MTU. af_packet takes frames as large as its slots and the interface's own MTU, and says that it takes
 * none above 1518 bytes: it is not asked. */
static uint16_t mtu_told(const struct opening *opening) {
    const bool is_too_much = is_driver(opening, "net_af_packet") && opening->options->mtu > RTE_ETHER_MTU;
    return is_too_much ? (uint16_t)RTE_ETHER_MTU : opening->options->mtu;
}

static int configure(struct opening *opening) {
    const struct tael_port_options *options = opening->options;
    opening->conf.rxmode.offloads =
        opening->info.rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
    opening->conf.txmode.offloads =
        opening->info.tx_offload_capa & (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
    opening->conf.rxmode.mtu = mtu_told(opening);
    rss_choose(opening);
    int error = rte_eth_dev_configure(options->port_id, options->queues, options->queues, &opening->conf);
    if (error != 0) return opening_fail(opening, error, "cannot configure it for these queues and this MTU");
    opening->receive_descriptors = options->receive_descriptors;
    opening->transmit_descriptors = options->transmit_descriptors;
    error = rte_eth_dev_adjust_nb_rx_tx_desc(options->port_id, &opening->receive_descriptors,
                                             &opening->transmit_descriptors);
    return error == 0 ? 0 : opening_fail(opening, error, "cannot choose descriptors");
}

/* af_packet wants room for a whole slot of its ring, whatever the MTU, and slots are powers of two. */
static uint32_t buffer_size_of(const struct opening *opening) {
    const uint32_t size = RTE_MAX(buffer_size(opening->options), opening->info.min_rx_bufsize);
    return is_driver(opening, "net_af_packet") ? tael_power_of_two(size) : size;
}

static int pool_make(const struct opening *opening, struct tael_port *port) {
    const uint32_t packets =
        pool_packets(opening->options, opening->receive_descriptors, opening->transmit_descriptors);
    const uint32_t size = buffer_size_of(opening) + RTE_PKTMBUF_HEADROOM;
    char name[RTE_MEMPOOL_NAMESIZE];
    if (size > UINT16_MAX) return opening_fail(opening, -ENOTSUP, "its buffers are larger than DPDK's");
    snprintf(name, sizeof name, "tael_%u_%u", port->port_id, port->queue);
    port->pool =
        rte_pktmbuf_pool_create(name, packets, CACHE_SIZE, 0, (uint16_t)size, rte_eth_dev_socket_id(port->port_id));
    if (port->pool != NULL) return 0;
    return tael_why(opening->why, -rte_errno, "port %u: no memory for %u packets of %u bytes: EAL needs more (-m)",
                    port->port_id, packets, size);
}

static int queue_make(const struct opening *opening, struct tael_port *port) {
    const int socket = rte_eth_dev_socket_id(port->port_id);
    struct rte_eth_rxconf receive = opening->info.default_rxconf;
    struct rte_eth_txconf transmit = opening->info.default_txconf;
    receive.offloads = opening->conf.rxmode.offloads;
    transmit.offloads = opening->conf.txmode.offloads;
    int error = pool_make(opening, port);
    if (error != 0) return error;
    error = rte_eth_rx_queue_setup(port->port_id, port->queue, opening->receive_descriptors, (unsigned)socket, &receive,
                                   port->pool);
    if (error != 0) return opening_fail(opening, error, "cannot set up a receive queue");
    error =
        rte_eth_tx_queue_setup(port->port_id, port->queue, opening->transmit_descriptors, (unsigned)socket, &transmit);
    return error == 0 ? 0 : opening_fail(opening, error, "cannot set up a transmit queue");
}

/* What a queue knows of its device. */
static void queue_describe(const struct opening *opening, struct tael_port *port, uint16_t queue) {
    const uint64_t offloads = opening->conf.txmode.offloads;
    port->port_id = opening->options->port_id;
    port->queue = queue;
    port->frame_max = (uint32_t)TAEL_ETHER_HEADER_SIZE + opening->options->mtu;
    if (offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) {
        port->offloads |= TAEL_HOST_OFFLOAD_IP;
        port->transmit_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
    }
    if (offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) {
        port->offloads |= TAEL_HOST_OFFLOAD_UDP;
        port->transmit_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
    }
}

/* Configuring tells most drivers, but some only in this way; what has no MTU of its own takes any. The usual one needs no saying. */
static int mtu_set(const struct opening *opening) {
    if (mtu_told(opening) == RTE_ETHER_MTU) return 0;
    const int error = rte_eth_dev_set_mtu(opening->options->port_id, opening->options->mtu);
    return error == 0 || error == -ENOTSUP ? 0 : opening_fail(opening, error, "cannot set the MTU");
}

/* Where the device cannot be given a MAC, it hands up what is for any, and the host looks. */
static int mac_set(const struct opening *opening, const uint8_t mac[static TAEL_MAC_SIZE]) {
    struct rte_ether_addr address;
    memcpy(address.addr_bytes, mac, sizeof address.addr_bytes);
    /* A tap has one MAC, that of the kernel's end: changing it would change both. */
    if (!is_driver(opening, "net_tap") && rte_eth_dev_default_mac_addr_set(opening->options->port_id, &address) == 0)
        return 0;
    const int error = rte_eth_promiscuous_enable(opening->options->port_id);
    return error == 0 || error == -ENOTSUP ? 0 : opening_fail(opening, error, "cannot give it a MAC");
}

static int mac_choose(const struct opening *opening, uint8_t mac[static TAEL_MAC_SIZE]) {
    struct rte_ether_addr address;
    const int error = rte_eth_macaddr_get(opening->options->port_id, &address);
    if (error != 0) return opening_fail(opening, error, "cannot ask for its MAC");
    const bool has_own = tael_mac_is_unicast(address.addr_bytes) && !is_driver(opening, "net_tap");
    if (tael_mac_is_unicast(opening->options->mac)) {
        memcpy(mac, opening->options->mac, TAEL_MAC_SIZE);
    } else if (has_own) {
        memcpy(mac, address.addr_bytes, TAEL_MAC_SIZE);
    } else {
        tael_mac_from_address(opening->options->address, mac);
    }
    return memcmp(mac, address.addr_bytes, TAEL_MAC_SIZE) == 0 ? 0 : mac_set(opening, mac);
}

static int start(const struct opening *opening, struct tael_port *ports[]) {
    uint8_t mac[TAEL_MAC_SIZE];
    int error = mtu_set(opening);
    if (error == 0) error = mac_choose(opening, mac);
    if (error != 0) return error;
    error = rte_eth_dev_start(opening->options->port_id);
    if (error != 0) return opening_fail(opening, error, "cannot start it");
    for (uint16_t queue = 0; queue < opening->options->queues; queue++) {
        memcpy(ports[queue]->mac, mac, sizeof mac);
        tael_port_telemetry_add(ports[queue]);
    }
    return 0;
}

static int open_all(struct opening *opening, struct tael_port *ports[]) {
    int error = configure(opening);
    for (uint16_t queue = 0; error == 0 && queue < opening->options->queues; queue++) {
        queue_describe(opening, ports[queue], queue);
        error = queue_make(opening, ports[queue]);
    }
    return error == 0 ? start(opening, ports) : error;
}

static void pools_free(struct tael_port *ports[], uint16_t queues) {
    for (uint16_t queue = 0; queue < queues; queue++) {
        rte_mempool_free(ports[queue]->pool);
        ports[queue]->pool = NULL;
    }
}

int tael_port_open(struct tael_port *ports[], struct tael_arena *arena, const struct tael_port_options *options,
                   char why[static TAEL_WHY_SIZE]) {
    struct opening opening = {.options = options, .why = why};
    int error = describe(&opening);
    if (error != 0) return error;
    for (uint16_t queue = 0; queue < options->queues; queue++)
        ports[queue] = tael_arena_take(arena, sizeof(struct tael_port));
    error = open_all(&opening, ports);
    if (error == 0) return 0;
    rte_eth_dev_close(options->port_id);
    pools_free(ports, options->queues);
    return error;
}

void tael_port_close(struct tael_port *ports[], uint16_t queues) {
    for (uint16_t queue = 0; queue < queues; queue++) {
        tael_port_flush(ports[queue]);
        tael_port_telemetry_remove(ports[queue]);
    }
    rte_eth_dev_stop(ports[0]->port_id);
    rte_eth_dev_close(ports[0]->port_id);
    pools_free(ports, queues);
}
