/* A port of DPDK: a network device, of which each net role has one queue for receiving and one for sending.
 *
 * A turn of a role: receive a burst, take each packet of it (ARP and echo are answered on the way), send what there is to send,
 * flush. Packets are DPDK's mbufs, from one pool a queue; the role may keep those that hold datagrams for it, as many as was said.
 * Whoever sends gives the packet away.
 *
 * Everything is bounded: bursts, the pool, and how long the device is asked to take what is sent; what it does not take, or what finds
 * no free packet, is dropped and counted: clients ask again.
 *
 * One struct tael_port is one queue, owned by one thread, which must be known to EAL (io/eal.h). After opening: no allocation, no
 * locks, no system calls but those of the driver. Counters may be read by any thread. */
#ifndef TAEL_IO_PORT_H
#define TAEL_IO_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>

#include "io/host.h"
#include "io/why.h"

struct rte_mbuf; /* rte_mbuf.h */
struct tael_port;

enum { TAEL_PORT_BURST_MAX = 64, TAEL_PORT_QUEUES_MAX = 64, TAEL_PORT_PENDING_MAX = 1024 };

/* So many packets may be sent in a turn after tael_port_is_full was false, and none is dropped. */
#define TAEL_PORT_ROOM_MIN 512

/* For so long a device may take nothing; then what waits for it is dropped. */
#define TAEL_PORT_STUCK_NS 10000000u

struct tael_port_options {
    uint16_t port_id; /* DPDK's number; the first device that EAL was told of is 0 */
    uint16_t queues; /* at most TAEL_PORT_QUEUES_MAX and what the device has; packets are spread over them by RSS */
    uint16_t receive_descriptors; /* the device may take fewer or more */
    uint16_t transmit_descriptors;
    uint16_t mtu; /* bytes of an IP packet; above 1500 where the device can */
    uint32_t packets_kept_max; /* a queue: packets that its owner holds on to, received or to be sent */
    uint32_t address; /* IPv4: makes a MAC where the device has none of its own (ring, pcap, tap) */
    uint8_t mac[TAEL_MAC_SIZE]; /* zero: the device's */
};

/* Besides the drops by reason. */
/* clang-format off */
#define TAEL_PORT_COUNTER_TABLE(X)                                               \
    X(received,          "packets received")                                     \
    X(received_bytes,    "bytes received, with Ethernet's headers")              \
    X(bursts,            "bursts received, none of them empty")                  \
    X(datagrams,         "datagrams handed on")                                  \
    X(answers,           "ARP requests and echo requests answered")              \
    X(neighbours,        "MACs learnt by ARP")                                   \
    X(sent,              "packets sent")                                         \
    X(sent_bytes,        "bytes sent, with Ethernet's headers")                  \
    X(no_packet,         "packets not made, for lack of a free one")             \
    X(transmit_full,     "packets that the device did not take in time")
/* clang-format on */

struct tael_port_counters {
#define X(name, text) uint64_t name;
    TAEL_PORT_COUNTER_TABLE(X)
#undef X
    uint64_t drops[TAEL_HOST_DROPS];
};

/* 1024 descriptors each way, an MTU of 1500, one queue, 4096 packets kept. */
struct tael_port_options tael_port_options_default(void);

/* What the arena must have. */
size_t tael_port_size_bytes(const struct tael_port_options *options);

/* What EAL must have for it (struct tael_eal_options), driver included, roughly. */
uint32_t tael_port_memory_mib(const struct tael_port_options *options);

/* Configures and starts the device; ports[0] to ports[queues - 1] are its queues. On the thread that started EAL.
 * 0, or a negative errno and a sentence in `why`: -ENODEV without such a port, -ENOTSUP for what the device cannot, -ENOMEM. */
int tael_port_open(struct tael_port *ports[], struct tael_arena *arena, const struct tael_port_options *options,
                   char why[static TAEL_WHY_SIZE]);

/* Stops the device, when no thread uses its queues any more, and gives their pools back: all packets must have been freed. */
void tael_port_close(struct tael_port *ports[], uint16_t queues);

/* The MAC that it has: to go into struct tael_host. */
void tael_port_mac(const struct tael_port *port, uint8_t mac[static TAEL_MAC_SIZE]);

/* Whether there is somebody at the other end. Not for each turn: drivers may ask the kernel. */
bool tael_port_is_up(const struct tael_port *port);

/* What the device does by itself when it sends: a set of enum tael_host_offloads. */
unsigned tael_port_offloads(const struct tael_port *port);

/* Packets that have come in, at most TAEL_PORT_BURST_MAX; they are the caller's. */
uint32_t tael_port_receive(struct tael_port *port, struct rte_mbuf *packets[static TAEL_PORT_BURST_MAX]);

/* Looks at a received packet as `host`. With TAEL_HOST_DATAGRAM the packet stays the caller's, who may keep it and frees it
 * (rte_pktmbuf_free) or sends it (tael_port_send). Else it is gone: sent back as an answer, or dropped and counted. */
enum tael_host_verdict tael_port_take(struct tael_port *port, const struct tael_host *host, struct rte_mbuf *packet,
                                      struct tael_host_received *out);

/* A packet to be filled, its payload at tael_port_payload, of up to the MTU's size; NULL, counted, when none is free. */
struct rte_mbuf *tael_port_packet(struct tael_port *port);
uint8_t *tael_port_payload(struct rte_mbuf *packet);

/* Sends a datagram of `payload_size` bytes that stand at tael_port_payload, from the host to `to`. It leaves with the next flush. */
void tael_port_send(struct tael_port *port, const struct tael_host *host, const struct tael_endpoint *to,
                    struct rte_mbuf *packet, uint32_t payload_size);

/* Sends a whole frame; tael_port_send is built on it. */
void tael_port_transmit(struct tael_port *port, struct rte_mbuf *packet);

/* Tells neighbours of the host; asks them for the MAC of `address` (see io/host.h). False when no packet was free. */
bool tael_port_announce(struct tael_port *port, const struct tael_host *host);
bool tael_port_resolve(struct tael_port *port, const struct tael_host *host, uint32_t address);

/* Hands to the device what was sent: to be called at the end of each turn. What the device does not take waits for the next flush, at most
 * TAEL_PORT_PENDING_MAX packets, and at most TAEL_PORT_STUCK_NS where it takes nothing. Returns how much it took. */
uint32_t tael_port_flush(struct tael_port *port);

/* Whether so much waits that it is better to send no more for now: a burst might be dropped. */
bool tael_port_is_full(const struct tael_port *port);

/* The queue's counters, at some moment of late. Any thread. */
void tael_port_counters(const struct tael_port *port, struct tael_port_counters *out);

/* Which one it is. */
uint16_t tael_port_id(const struct tael_port *port);
uint16_t tael_port_queue(const struct tael_port *port);

#endif
