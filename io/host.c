#include "io/host.h"

#include <errno.h>
#include <string.h>

#include <rte_arp.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include <tael/assert.h>

#include "io/host_address.h"

/* The headers as they stand in a packet, one behind the other. */
struct udp_packet {
    struct rte_ether_hdr ether;
    struct rte_ipv4_hdr ip;
    struct rte_udp_hdr udp;
} __attribute__((packed, aligned(2)));
static_assert(sizeof(struct udp_packet) == TAEL_HOST_HEADERS_SIZE, "wire format");

struct arp_packet {
    struct rte_ether_hdr ether;
    struct rte_arp_hdr arp;
} __attribute__((packed, aligned(2)));
static_assert(sizeof(struct arp_packet) == TAEL_HOST_ARP_SIZE, "wire format");

struct icmp_packet {
    struct rte_ether_hdr ether;
    struct rte_ipv4_hdr ip;
    struct rte_icmp_hdr icmp;
} __attribute__((packed, aligned(2)));

enum { TTL = 64, IP_HEADER_SIZE = sizeof(struct rte_ipv4_hdr) };

/* No reason to drop. */
#define KEPT TAEL_HOST_DROPS

static const uint8_t broadcast[TAEL_MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

int tael_host_check(const struct tael_host *host) {
    if (!tael_address_is_unicast(host->address)) return -EINVAL;
    if (!tael_mac_is_unicast(host->mac)) return -EINVAL;
    if (host->port == 0) return -EINVAL;
    return host->mtu >= TAEL_HOST_MTU_MIN ? 0 : -EINVAL;
}

const char *tael_host_drop_name(enum tael_host_drop reason) {
    static const char *const names[] = {
#define X(name, text) #name,
        TAEL_HOST_DROP_TABLE(X)
#undef X
    };
    TAEL_ASSERT(reason < TAEL_HOST_DROPS);
    return names[reason];
}

const char *tael_host_drop_text(enum tael_host_drop reason) {
    static const char *const texts[] = {
#define X(name, text) text,
        TAEL_HOST_DROP_TABLE(X)
#undef X
    };
    TAEL_ASSERT(reason < TAEL_HOST_DROPS);
    return texts[reason];
}

static enum tael_host_drop answer(struct tael_host_received *out, uint32_t size) {
    out->verdict = TAEL_HOST_ANSWER;
    out->answer_size = size;
    return KEPT;
}

static bool mac_equal(const void *a, const void *b) { return memcmp(a, b, TAEL_MAC_SIZE) == 0; }

/* A checksum over what holds its own checksum comes to this when it is right. */
static bool sums_up(const void *data, size_t size) { return rte_raw_cksum(data, size) == 0xffff; }

static void ether_write(const struct tael_host *host, struct rte_ether_hdr *ether, const void *to, uint16_t type) {
    memcpy(&ether->dst_addr, to, TAEL_MAC_SIZE);
    memcpy(&ether->src_addr, host->mac, TAEL_MAC_SIZE);
    ether->ether_type = rte_cpu_to_be_16(type);
}

/* Writes an ARP packet from the host, to the MAC `to` and about the address `target`. */
static void arp_write(const struct tael_host *host, struct arp_packet *packet, uint16_t opcode, const void *to,
                      const void *target_mac, uint32_t target) {
    struct rte_arp_hdr *arp = &packet->arp;
    ether_write(host, &packet->ether, to, RTE_ETHER_TYPE_ARP);
    arp->arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
    arp->arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
    arp->arp_hlen = TAEL_MAC_SIZE;
    arp->arp_plen = sizeof(uint32_t);
    arp->arp_opcode = rte_cpu_to_be_16(opcode);
    memcpy(&arp->arp_data.arp_sha, host->mac, TAEL_MAC_SIZE);
    arp->arp_data.arp_sip = rte_cpu_to_be_32(host->address);
    memcpy(&arp->arp_data.arp_tha, target_mac, TAEL_MAC_SIZE);
    arp->arp_data.arp_tip = rte_cpu_to_be_32(target);
}

static bool arp_is_well_formed(const struct rte_arp_hdr *arp) {
    const uint16_t opcode = rte_be_to_cpu_16(arp->arp_opcode);
    return rte_be_to_cpu_16(arp->arp_hardware) == RTE_ARP_HRD_ETHER &&
           rte_be_to_cpu_16(arp->arp_protocol) == RTE_ETHER_TYPE_IPV4 && arp->arp_hlen == TAEL_MAC_SIZE &&
           arp->arp_plen == sizeof(uint32_t) && (opcode == RTE_ARP_OP_REQUEST || opcode == RTE_ARP_OP_REPLY);
}

/* A sender without an address asks whether one is free before it takes it (a probe, RFC 5227). */
static bool arp_sender_is_possible(const struct rte_arp_hdr *arp) {
    const uint32_t sender = rte_be_to_cpu_32(arp->arp_data.arp_sip);
    const bool is_probe = sender == 0 && rte_be_to_cpu_16(arp->arp_opcode) == RTE_ARP_OP_REQUEST;
    return tael_mac_is_unicast(arp->arp_data.arp_sha.addr_bytes) && (is_probe || tael_address_is_unicast(sender));
}

static enum tael_host_drop neighbour(const struct rte_arp_hdr *arp, struct tael_host_received *out) {
    out->verdict = TAEL_HOST_NEIGHBOUR;
    out->from.address = rte_be_to_cpu_32(arp->arp_data.arp_sip);
    memcpy(out->from.mac, &arp->arp_data.arp_sha, TAEL_MAC_SIZE);
    return KEPT;
}

static enum tael_host_drop arp_receive(const struct tael_host *host, void *data, uint32_t size,
                                       struct tael_host_received *out) {
    struct arp_packet *packet = data;
    const struct rte_arp_hdr *arp = &packet->arp;
    if (size < sizeof *packet) return TAEL_HOST_DROP_too_short;
    if (!arp_is_well_formed(arp)) return TAEL_HOST_DROP_arp_form;
    if (!arp_sender_is_possible(arp)) return TAEL_HOST_DROP_arp_sender;
    const uint32_t sender = rte_be_to_cpu_32(arp->arp_data.arp_sip);
    const uint32_t target = rte_be_to_cpu_32(arp->arp_data.arp_tip);
    if (sender == host->address) return TAEL_HOST_DROP_arp_conflict;
    if (sender == target && sender != 0) return neighbour(arp, out); /* announced to all */
    if (target != host->address) return TAEL_HOST_DROP_arp_other;
    if (rte_be_to_cpu_16(arp->arp_opcode) == RTE_ARP_OP_REPLY) return neighbour(arp, out);
    uint8_t to[TAEL_MAC_SIZE];
    memcpy(to, &arp->arp_data.arp_sha, sizeof to);
    arp_write(host, packet, RTE_ARP_OP_REPLY, to, to, sender);
    return answer(out, sizeof *packet);
}

static void ip_write(const struct tael_host *host, struct rte_ipv4_hdr *ip, uint32_t to, uint8_t protocol,
                     uint32_t payload_size, bool checksum) {
    ip->version_ihl = RTE_IPV4_VHL_DEF;
    ip->total_length = rte_cpu_to_be_16((uint16_t)(IP_HEADER_SIZE + payload_size));
    /* With DF set the identification has no meaning (RFC 6864): what is never fragmented is never put together. */
    ip->packet_id = 0;
    ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
    ip->time_to_live = TTL;
    ip->next_proto_id = protocol;
    ip->src_addr = rte_cpu_to_be_32(host->address);
    ip->dst_addr = rte_cpu_to_be_32(to);
    ip->hdr_checksum = 0;
    if (checksum) ip->hdr_checksum = rte_ipv4_cksum(ip);
}

/* The reason for which an IP header is dropped, or KEPT. `size` bytes of it and what follows are there, at least a
 * header. A TTL of 0 is no reason: that is for routers to see (RFC 1122, 3.2.1.7). */
static enum tael_host_drop ip_check(const struct tael_host *host, const struct rte_ipv4_hdr *ip, uint32_t size,
                                    unsigned checksums_known) {
    if (ip->version_ihl >> 4 != IPVERSION) return TAEL_HOST_DROP_ip_version;
    const uint32_t header_size = rte_ipv4_hdr_len(ip);
    if (header_size < IP_HEADER_SIZE) return TAEL_HOST_DROP_ip_header_length;
    if (header_size > IP_HEADER_SIZE) return TAEL_HOST_DROP_ip_options;
    const uint32_t length = rte_be_to_cpu_16(ip->total_length);
    if (length < IP_HEADER_SIZE || length > size) return TAEL_HOST_DROP_ip_length;
    if (checksums_known & TAEL_HOST_IP_WRONG) return TAEL_HOST_DROP_ip_checksum;
    if (!(checksums_known & TAEL_HOST_IP_GOOD) && !sums_up(ip, IP_HEADER_SIZE)) return TAEL_HOST_DROP_ip_checksum;
    const uint16_t fragment = rte_be_to_cpu_16(ip->fragment_offset);
    if (fragment & (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) return TAEL_HOST_DROP_fragment;
    if (rte_be_to_cpu_32(ip->dst_addr) != host->address) return TAEL_HOST_DROP_other_address;
    const uint32_t source = rte_be_to_cpu_32(ip->src_addr);
    if (source == host->address || !tael_address_is_unicast(source)) return TAEL_HOST_DROP_source_address;
    return KEPT;
}

/* An echo request becomes its reply: `size` bytes of ICMP are there. */
static enum tael_host_drop icmp_receive(const struct tael_host *host, void *data, uint32_t size,
                                        struct tael_host_received *out) {
    struct icmp_packet *packet = data;
    struct rte_icmp_hdr *icmp = &packet->icmp;
    if (size < sizeof *icmp) return TAEL_HOST_DROP_icmp_length;
    if (icmp->icmp_type != RTE_IP_ICMP_ECHO_REQUEST || icmp->icmp_code != 0) return TAEL_HOST_DROP_icmp_type;
    if (IP_HEADER_SIZE + size > host->mtu) return TAEL_HOST_DROP_icmp_size;
    if (!sums_up(icmp, size)) return TAEL_HOST_DROP_icmp_checksum;
    uint8_t to[TAEL_MAC_SIZE];
    memcpy(to, &packet->ether.src_addr, sizeof to);
    ether_write(host, &packet->ether, to, RTE_ETHER_TYPE_IPV4);
    /* The type of service stays: it is the asker's (RFC 1122, 3.2.2.6). */
    ip_write(host, &packet->ip, rte_be_to_cpu_32(packet->ip.src_addr), IPPROTO_ICMP, size, true);
    icmp->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
    icmp->icmp_cksum = 0;
    icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, size);
    return answer(out, (uint32_t)(sizeof packet->ether + IP_HEADER_SIZE) + size);
}

static bool udp_checksum_is_wrong(const struct tael_host *host, const struct udp_packet *packet, unsigned known) {
    if (known & TAEL_HOST_UDP_WRONG) return true;
    if (known & TAEL_HOST_UDP_GOOD || !host->verify_udp) return false;
    if (packet->udp.dgram_cksum == 0) return false; /* the sender made none */
    /* The checksum over what holds the right one is 0, which for UDP is written as 0xffff. */
    return rte_ipv4_udptcp_cksum(&packet->ip, &packet->udp) != 0xffff;
}

/* `size` bytes of UDP are there. */
static enum tael_host_drop udp_receive(const struct tael_host *host, const void *data, uint32_t size,
                                       unsigned checksums_known, struct tael_host_received *out) {
    const struct udp_packet *packet = data;
    const struct rte_udp_hdr *udp = &packet->udp;
    if (size < sizeof *udp || rte_be_to_cpu_16(udp->dgram_len) != size) return TAEL_HOST_DROP_udp_length;
    if (rte_be_to_cpu_16(udp->dst_port) != host->port) return TAEL_HOST_DROP_other_port;
    if (udp->src_port == 0) return TAEL_HOST_DROP_source_port;
    if (udp_checksum_is_wrong(host, packet, checksums_known)) return TAEL_HOST_DROP_udp_checksum;
    out->verdict = TAEL_HOST_DATAGRAM;
    out->payload = (const uint8_t *)data + TAEL_HOST_HEADERS_SIZE;
    out->payload_size = size - (uint32_t)sizeof *udp;
    out->from.address = rte_be_to_cpu_32(packet->ip.src_addr);
    out->from.port = rte_be_to_cpu_16(udp->src_port);
    memcpy(out->from.mac, &packet->ether.src_addr, TAEL_MAC_SIZE);
    return KEPT;
}

static enum tael_host_drop ip_receive(const struct tael_host *host, void *data, uint32_t size, unsigned checksums_known,
                                      struct tael_host_received *out) {
    struct udp_packet *packet = data;
    const struct rte_ipv4_hdr *ip = &packet->ip;
    if (size < sizeof packet->ether + sizeof *ip) return TAEL_HOST_DROP_too_short;
    const enum tael_host_drop reason = ip_check(host, ip, size - (uint32_t)sizeof packet->ether, checksums_known);
    if (reason != KEPT) return reason;
    /* Behind what IP holds there may be Ethernet's padding, which is nobody's. */
    const uint32_t payload_size = rte_be_to_cpu_16(ip->total_length) - (uint32_t)IP_HEADER_SIZE;
    if (ip->next_proto_id == IPPROTO_UDP) return udp_receive(host, packet, payload_size, checksums_known, out);
    if (ip->next_proto_id == IPPROTO_ICMP) return icmp_receive(host, packet, payload_size, out);
    return TAEL_HOST_DROP_protocol;
}

static enum tael_host_drop ether_receive(const struct tael_host *host, void *packet, uint32_t size,
                                         unsigned checksums_known, struct tael_host_received *out) {
    const struct rte_ether_hdr *ether = packet;
    if (size < sizeof *ether) return TAEL_HOST_DROP_too_short;
    const uint16_t type = rte_be_to_cpu_16(ether->ether_type);
    const bool is_ours = mac_equal(&ether->dst_addr, host->mac);
    if (!tael_mac_is_unicast(ether->src_addr.addr_bytes)) return TAEL_HOST_DROP_source_mac;
    if (mac_equal(&ether->src_addr, host->mac)) return TAEL_HOST_DROP_source_mac;
    if (type == RTE_ETHER_TYPE_VLAN || type == RTE_ETHER_TYPE_QINQ) return TAEL_HOST_DROP_vlan;
    if (!is_ours && !rte_is_multicast_ether_addr(&ether->dst_addr)) return TAEL_HOST_DROP_other_mac;
    if (type == RTE_ETHER_TYPE_ARP) return arp_receive(host, packet, size, out);
    if (type != RTE_ETHER_TYPE_IPV4) return TAEL_HOST_DROP_ether_type;
    if (!is_ours) return TAEL_HOST_DROP_group_mac;
    return ip_receive(host, packet, size, checksums_known, out);
}

void tael_host_receive(const struct tael_host *host, void *packet, uint32_t size, unsigned checksums_known,
                       struct tael_host_received *out) {
    TAEL_ASSERT((uintptr_t)packet % 2 == 0);
    *out = (struct tael_host_received){.verdict = TAEL_HOST_DATAGRAM};
    const enum tael_host_drop reason = ether_receive(host, packet, size, checksums_known, out);
    if (reason == KEPT) return;
    out->verdict = TAEL_HOST_DROP;
    out->drop = reason;
}

uint32_t tael_host_seal(const struct tael_host *host, const struct tael_endpoint *to, void *packet,
                        uint32_t payload_size, unsigned offloads) {
    TAEL_ASSERT((uintptr_t)packet % 2 == 0);
    TAEL_ASSERT(payload_size <= host->mtu - TAEL_HOST_MTU_HEADERS_SIZE);
    struct udp_packet *headers = packet;
    const uint32_t udp_size = (uint32_t)sizeof headers->udp + payload_size;
    ether_write(host, &headers->ether, to->mac, RTE_ETHER_TYPE_IPV4);
    headers->ip.type_of_service = 0;
    ip_write(host, &headers->ip, to->address, IPPROTO_UDP, udp_size, !(offloads & TAEL_HOST_OFFLOAD_IP));
    headers->udp.src_port = rte_cpu_to_be_16(host->port);
    headers->udp.dst_port = rte_cpu_to_be_16(to->port);
    headers->udp.dgram_len = rte_cpu_to_be_16((uint16_t)udp_size);
    headers->udp.dgram_cksum = 0;
    headers->udp.dgram_cksum = offloads & TAEL_HOST_OFFLOAD_UDP ? rte_ipv4_phdr_cksum(&headers->ip, 0)
                                                                : rte_ipv4_udptcp_cksum(&headers->ip, &headers->udp);
    return TAEL_HOST_HEADERS_SIZE + payload_size;
}

uint32_t tael_host_announce(const struct tael_host *host, void *packet) {
    return tael_host_resolve_request(host, host->address, packet);
}

uint32_t tael_host_resolve_request(const struct tael_host *host, uint32_t address, void *packet) {
    static const uint8_t nobody[TAEL_MAC_SIZE];
    TAEL_ASSERT((uintptr_t)packet % 2 == 0);
    arp_write(host, packet, RTE_ARP_OP_REQUEST, broadcast, nobody, address);
    return TAEL_HOST_ARP_SIZE;
}
