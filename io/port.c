#include "io/port_internal.h"

#include <string.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <tael/assert.h>

enum {
    IP_HEADER_SIZE = 20,
    FLUSH_TRIES = 2, /* in a row in which the device takes nothing */
};

/* Relaxed: one thread writes, and a reader is content with any value of late. */
static void count(uint64_t *counter, uint64_t more) {
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}

void tael_port_mac(const struct tael_port *port, uint8_t mac[static TAEL_MAC_SIZE]) {
    memcpy(mac, port->mac, TAEL_MAC_SIZE);
}

bool tael_port_is_up(const struct tael_port *port) {
    struct rte_eth_link link;
    return rte_eth_link_get_nowait(port->port_id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

unsigned tael_port_offloads(const struct tael_port *port) { return port->offloads; }
uint16_t tael_port_id(const struct tael_port *port) { return port->port_id; }
uint16_t tael_port_queue(const struct tael_port *port) { return port->queue; }

uint32_t tael_port_receive(struct tael_port *port, struct rte_mbuf *packets[static TAEL_PORT_BURST_MAX]) {
    const uint16_t received = rte_eth_rx_burst(port->port_id, port->queue, packets, TAEL_PORT_BURST_MAX);
    uint64_t bytes = 0;
    if (received == 0) return 0;
    for (uint16_t i = 0; i < received; i++) {
        rte_prefetch0(rte_pktmbuf_mtod(packets[i], void *));
        bytes += rte_pktmbuf_pkt_len(packets[i]);
    }
    count(&port->counters.bursts, 1);
    count(&port->counters.received, received);
    count(&port->counters.received_bytes, bytes);
    return received;
}

/* With both bits set the checksum is not there, and the device vouches for the bytes all the same: another virtual machine sent them. */
static unsigned checksums_known(const struct rte_mbuf *packet) {
    const uint64_t ip = packet->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    const uint64_t udp = packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    unsigned known = 0;
    if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD) known |= TAEL_HOST_IP_WRONG;
    if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE) known |= TAEL_HOST_IP_GOOD;
    if (udp == RTE_MBUF_F_RX_L4_CKSUM_BAD) known |= TAEL_HOST_UDP_WRONG;
    if (udp == RTE_MBUF_F_RX_L4_CKSUM_GOOD || udp == RTE_MBUF_F_RX_L4_CKSUM_NONE) known |= TAEL_HOST_UDP_GOOD;
    return known;
}

/* Sets how much of the packet is sent, and what the device is asked to do to it. */
static void packet_finish(struct rte_mbuf *packet, uint32_t size, uint64_t flags) {
    packet->data_len = (uint16_t)size;
    packet->pkt_len = size;
    packet->ol_flags = (packet->ol_flags & ~RTE_MBUF_F_TX_OFFLOAD_MASK) | flags;
    packet->l2_len = TAEL_ETHER_HEADER_SIZE;
    packet->l3_len = IP_HEADER_SIZE;
}

enum tael_host_verdict tael_port_take(struct tael_port *port, const struct tael_host *host, struct rte_mbuf *packet,
                                      struct tael_host_received *out) {
    if (packet->nb_segs == 1) {
        tael_host_receive(host, rte_pktmbuf_mtod(packet, void *), rte_pktmbuf_data_len(packet), checksums_known(packet),
                          out);
    } else {
        *out = (struct tael_host_received){.verdict = TAEL_HOST_DROP, .drop = TAEL_HOST_DROP_segments};
    }
    switch (out->verdict) {
    case TAEL_HOST_DATAGRAM:
        count(&port->counters.datagrams, 1);
        return out->verdict;
    case TAEL_HOST_ANSWER:
        count(&port->counters.answers, 1);
        packet_finish(packet, out->answer_size, 0);
        tael_port_transmit(port, packet);
        return out->verdict;
    case TAEL_HOST_NEIGHBOUR:
        count(&port->counters.neighbours, 1);
        break;
    case TAEL_HOST_DROP:
        count(&port->counters.drops[out->drop], 1);
        break;
    }
    rte_pktmbuf_free(packet);
    return out->verdict;
}

struct rte_mbuf *tael_port_packet(struct tael_port *port) {
    struct rte_mbuf *packet = rte_pktmbuf_alloc(port->pool);
    if (packet == NULL) count(&port->counters.no_packet, 1);
    return packet;
}

uint8_t *tael_port_payload(struct rte_mbuf *packet) {
    return rte_pktmbuf_mtod_offset(packet, uint8_t *, TAEL_HOST_HEADERS_SIZE);
}

void tael_port_send(struct tael_port *port, const struct tael_host *host, const struct tael_endpoint *to,
                    struct rte_mbuf *packet, uint32_t payload_size) {
    TAEL_ASSERT(TAEL_HOST_HEADERS_SIZE + payload_size <= port->frame_max);
    TAEL_ASSERT(TAEL_HOST_HEADERS_SIZE + payload_size <= (uint32_t)packet->buf_len - packet->data_off);
    const uint32_t size = tael_host_seal(host, to, rte_pktmbuf_mtod(packet, void *), payload_size, port->offloads);
    packet_finish(packet, size, port->transmit_flags);
    tael_port_transmit(port, packet);
}

void tael_port_transmit(struct tael_port *port, struct rte_mbuf *packet) {
    if (port->pending_count == TAEL_PORT_PENDING_MAX) {
        count(&port->counters.transmit_full, 1);
        rte_pktmbuf_free(packet);
        return;
    }
    port->pending[port->pending_count++] = packet;
    if (port->pending_count % TAEL_PORT_BURST_MAX == 0) tael_port_flush(port);
}

bool tael_port_is_full(const struct tael_port *port) {
    return port->pending_count > TAEL_PORT_PENDING_MAX - TAEL_PORT_ROOM_MIN;
}

static bool transmit_arp(struct tael_port *port, const struct tael_host *host, uint32_t address) {
    struct rte_mbuf *packet = tael_port_packet(port);
    if (packet == NULL) return false;
    packet_finish(packet, tael_host_resolve_request(host, address, rte_pktmbuf_mtod(packet, void *)), 0);
    tael_port_transmit(port, packet);
    return true;
}

/* An announcement is a request for one's own address. */
bool tael_port_announce(struct tael_port *port, const struct tael_host *host) {
    return transmit_arp(port, host, host->address);
}

bool tael_port_resolve(struct tael_port *port, const struct tael_host *host, uint32_t address) {
    return transmit_arp(port, host, address);
}

/* Packets that were handed over are the device's, which may have freed them: their sizes are added up before. */
static uint32_t hand_over(struct tael_port *port, uint32_t from) {
    uint16_t sizes[TAEL_PORT_BURST_MAX];
    uint64_t bytes = 0;
    const uint32_t left = port->pending_count - from;
    const uint16_t offered = (uint16_t)(left < TAEL_PORT_BURST_MAX ? left : TAEL_PORT_BURST_MAX);
    for (uint32_t i = 0; i < offered; i++) sizes[i] = rte_pktmbuf_data_len(port->pending[from + i]);
    const uint16_t taken = rte_eth_tx_burst(port->port_id, port->queue, port->pending + from, offered);
    for (uint32_t i = 0; i < taken; i++) bytes += sizes[i];
    count(&port->counters.sent, taken);
    count(&port->counters.sent_bytes, bytes);
    return taken;
}

/* The device has taken `done` packets of those that wait. Drops the others where it has taken nothing for too long: its peer may be gone. */
static void pending_keep(struct tael_port *port, uint32_t done) {
    const uint64_t now = rte_rdtsc();
    if (done > 0 || port->stuck_since == 0) port->stuck_since = now;
    port->pending_count -= done;
    if ((now - port->stuck_since) * 1000 > rte_get_tsc_hz() * (TAEL_PORT_STUCK_NS / 1000000)) {
        count(&port->counters.transmit_full, port->pending_count);
        rte_pktmbuf_free_bulk(port->pending, port->pending_count);
        port->pending_count = 0;
    }
    if (done > 0) memmove(port->pending, port->pending + done, port->pending_count * sizeof *port->pending);
    if (port->pending_count == 0) port->stuck_since = 0;
}

uint32_t tael_port_flush(struct tael_port *port) {
    uint32_t done = 0;
    uint32_t tries = 0;
    while (done < port->pending_count && tries < FLUSH_TRIES) {
        const uint32_t taken = hand_over(port, done);
        done += taken;
        tries = taken > 0 ? 0 : tries + 1;
    }
    if (done < port->pending_count) {
        pending_keep(port, done);
    } else {
        port->pending_count = 0;
        port->stuck_since = 0;
    }
    return done;
}

void tael_port_counters(const struct tael_port *port, struct tael_port_counters *out) {
    const uint64_t *from = (const uint64_t *)&port->counters;
    uint64_t *to = (uint64_t *)out;
    static_assert(sizeof *out % sizeof *to == 0, "nothing but counters");
    for (size_t i = 0; i < sizeof *out / sizeof *to; i++) to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}
