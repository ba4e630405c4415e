/* A host on an Ethernet, of which IPv4, ARP, ICMP echo and UDP exist: Ethernet frames in, a verdict on each out, and frames made
 * around datagrams.
 *
 * It answers ARP requests for its address and echo requests (ping), so that neighbours find it and operators can reach it, and
 * hands on datagrams for its port. It keeps no state: an answer goes to the MAC that the request came from, which is right for
 * neighbours and through gateways alike, so that a server never resolves an address. A client learns its server's MAC with
 * tael_host_resolve_request.
 *
 * 1. Whatever a frame says of itself is input: no length is believed before it was compared with the bytes that are there.
 * 2. What is handed on lies within the packet.
 * 3. Each frame has one verdict, and each drop one reason: the first that applies in the order of TAEL_HOST_DROP_TABLE (too_short comes
 *    up with each header in turn).
 * Not here: fragments and IP options (dropped; clients set DF and keep to the MTU), VLANs (the device's or the switch's concern),
 * limits of rate.
 *
 * Pure; any thread. No allocation. Packets begin at even addresses, as those of a device do. */
#ifndef TAEL_IO_HOST_H
#define TAEL_IO_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "io/endpoint.h"

/* Ethernet, IPv4 and UDP headers: a payload begins so many bytes behind its packet. */
#define TAEL_HOST_HEADERS_SIZE 42u
/* The part of them that counts against the MTU. */
#define TAEL_HOST_MTU_HEADERS_SIZE 28u
/* What tael_host_announce and tael_host_resolve_request write; devices pad to Ethernet's 60. */
#define TAEL_HOST_ARP_SIZE 42u
/* What every host must take (RFC 791), and what an IPv4 length can say. */
#define TAEL_HOST_MTU_MIN 576u
#define TAEL_HOST_MTU_MAX 65535u

struct tael_host {
    uint32_t address; /* IPv4, in the machine's byte order */
    uint16_t port; /* UDP; what is for other ports is dropped */
    uint16_t mtu; /* bytes of an IP packet */
    uint8_t mac[TAEL_MAC_SIZE];
    /* Whether a UDP checksum that no device has verified is verified here. Off by default: senders on the same machine (veth,
     * virtio) leave it unfinished, and the datagram protocol has a checksum of its own over each datagram, a stronger one.
     * A checksum that the device found wrong is a drop in any case. */
    bool verify_udp;
};

/* 0, or -EINVAL: the address or the MAC is not one host's, the port is 0, or the MTU is out of bounds. */
int tael_host_check(const struct tael_host *host);

/* Why a frame was dropped, in the order in which it is looked at. The text goes into counters and the log. */
/* clang-format off */
#define TAEL_HOST_DROP_TABLE(X)                                                        \
    X(segments,         "in more than one buffer")                                     \
    X(too_short,        "shorter than its headers")                                    \
    X(source_mac,       "from no MAC, a group's or our own")                           \
    X(vlan,             "tagged for a VLAN")                                           \
    X(other_mac,        "for another MAC")                                             \
    X(ether_type,       "neither IPv4 nor ARP")                                        \
    X(group_mac,        "broadcast or multicast, and not ARP")                         \
    X(arp_form,         "ARP that is not of IPv4 over Ethernet, request or reply")     \
    X(arp_sender,       "ARP whose sender cannot be a host")                           \
    X(arp_conflict,     "ARP: another host has our address")                           \
    X(arp_other,        "ARP that is not for us")                                      \
    X(ip_version,       "IP version other than 4")                                     \
    X(ip_header_length, "IP header length below 20")                                   \
    X(ip_options,       "IP options")                                                  \
    X(ip_length,        "IP length beyond the frame or below its headers")             \
    X(ip_checksum,      "wrong IP checksum")                                           \
    X(fragment,         "an IP fragment")                                              \
    X(other_address,    "for another IP address")                                      \
    X(source_address,   "from an IP address that is nobody's or our own")              \
    X(protocol,         "neither UDP nor ICMP")                                        \
    X(icmp_length,      "ICMP shorter than its header")                                \
    X(icmp_type,        "ICMP other than an echo request")                             \
    X(icmp_size,        "an echo request beyond the MTU")                              \
    X(icmp_checksum,    "wrong ICMP checksum")                                         \
    X(udp_length,       "UDP length other than what IP holds")                         \
    X(other_port,       "for another UDP port")                                        \
    X(source_port,      "from UDP port 0")                                             \
    X(udp_checksum,     "wrong UDP checksum")
/* clang-format on */

enum tael_host_drop {
#define X(name, text) TAEL_HOST_DROP_##name,
    TAEL_HOST_DROP_TABLE(X)
#undef X
        TAEL_HOST_DROPS
};

/* The reason's name as in the table, and its text, for people. */
const char *tael_host_drop_name(enum tael_host_drop reason);
const char *tael_host_drop_text(enum tael_host_drop reason);

/* What a device says of a received packet's checksums; none of these where it does not know. */
enum tael_host_checksums {
    TAEL_HOST_IP_GOOD = 1,
    TAEL_HOST_IP_WRONG = 2,
    TAEL_HOST_UDP_GOOD = 4, /* also where it knows that the bytes are sound though the checksum is unfinished */
    TAEL_HOST_UDP_WRONG = 8,
};

/* What a device does itself when it sends. */
enum tael_host_offloads {
    TAEL_HOST_OFFLOAD_IP = 1, /* the IP checksum */
    TAEL_HOST_OFFLOAD_UDP = 2, /* the UDP checksum, from that of the pseudo-header on */
};

enum tael_host_verdict {
    TAEL_HOST_DATAGRAM, /* for us */
    TAEL_HOST_ANSWER, /* the packet has become an answer: to be sent */
    TAEL_HOST_NEIGHBOUR, /* ARP told us who has an address */
    TAEL_HOST_DROP,
};

struct tael_host_received {
    enum tael_host_verdict verdict;
    enum tael_host_drop drop; /* of a drop: why */
    uint32_t answer_size; /* of an answer: bytes to be sent from the packet's begin on */
    uint32_t payload_size; /* of a datagram, in bytes; 0, or more than our own MTU, may come from a peer */
    const uint8_t *payload; /* of a datagram: in the packet, at any alignment */
    struct tael_endpoint from; /* of a datagram; of a neighbour, with port 0 */
};

/* Looks at one frame of `size` bytes without its FCS; `checksums_known` is a set of enum tael_host_checksums. Fills in `out` as the
 * verdict says, the rest is zero. The packet is changed only for an answer, which is never longer than it. */
void tael_host_receive(const struct tael_host *host, void *packet, uint32_t size, unsigned checksums_known,
                       struct tael_host_received *out);

/* Writes the headers in front of `payload_size` bytes that stand at packet + TAEL_HOST_HEADERS_SIZE already, at most the host's MTU
 * less TAEL_HOST_MTU_HEADERS_SIZE: from the host's address and port to `to`. `offloads` is a set of enum tael_host_offloads, which
 * the packet's descriptor must then ask of the device. Returns the frame's size in bytes. */
uint32_t tael_host_seal(const struct tael_host *host, const struct tael_endpoint *to, void *packet,
                        uint32_t payload_size, unsigned offloads);

/* Writes an announcement of the host (gratuitous ARP, RFC 5227), to be sent when its link comes up, so that neighbours and switches
 * that knew the address elsewhere learn. Returns its size, TAEL_HOST_ARP_SIZE. */
uint32_t tael_host_announce(const struct tael_host *host, void *packet);

/* Writes an ARP request for the MAC of `address`, a neighbour's. The reply is received with the verdict TAEL_HOST_NEIGHBOUR; until then
 * the caller asks again. Returns its size, TAEL_HOST_ARP_SIZE. */
uint32_t tael_host_resolve_request(const struct tael_host *host, uint32_t address, void *packet);

#endif
