#include "packets.h"

#include <string.h>

struct tael_host packets_host(void) {
    struct tael_host host = {.address = PACKETS_HOST_ADDRESS, .port = PACKETS_HOST_PORT, .mtu = 1500};
    memcpy(host.mac, PACKETS_HOST_MAC, sizeof host.mac);
    return host;
}

static void put(struct packet *packet, const void *bytes, uint32_t size) {
    memcpy(packet->bytes + packet->size, bytes, size);
    packet->size += size;
}

static void put_16(struct packet *packet, uint32_t number) {
    put(packet, (const uint8_t[]){(uint8_t)(number >> 8), (uint8_t)number}, 2);
}

static void put_32(struct packet *packet, uint32_t number) {
    put_16(packet, number >> 16);
    put_16(packet, number & 0xffff);
}

static void put_ether(struct packet *packet, const char *to, uint32_t type) {
    put(packet, to, TAEL_MAC_SIZE);
    put(packet, PACKETS_PEER_MAC, TAEL_MAC_SIZE);
    put_16(packet, type);
}

static void put_ip(struct packet *packet, uint32_t payload_size, uint8_t protocol) {
    put_16(packet, 0x4500);
    put_16(packet, 20 + payload_size);
    put_32(packet, 0x12344000); /* an identification, DF */
    put(packet, (const uint8_t[]){33, protocol, 0, 0}, 4);
    put_32(packet, PACKETS_PEER_ADDRESS);
    put_32(packet, PACKETS_HOST_ADDRESS);
}

static void put_payload(struct packet *packet) {
    for (uint32_t i = 0; i < PACKET_PAYLOAD_SIZE; i++) put(packet, (const uint8_t[]){(uint8_t)(i * 7 + 1)}, 1);
}

static void put_udp(struct packet *packet) {
    put_ether(packet, PACKETS_HOST_MAC, 0x0800);
    put_ip(packet, 8 + PACKET_PAYLOAD_SIZE, 17);
    put_16(packet, PACKETS_PEER_PORT);
    put_16(packet, PACKETS_HOST_PORT);
    put_16(packet, 8 + PACKET_PAYLOAD_SIZE);
    put_16(packet, 0);
    put_payload(packet);
}

static void put_echo(struct packet *packet) {
    put_ether(packet, PACKETS_HOST_MAC, 0x0800);
    put_ip(packet, 8 + PACKET_PAYLOAD_SIZE, 1);
    put_32(packet, 0x08000000);
    put_32(packet, 0x77660005); /* the asker's identifier and sequence */
    put_payload(packet);
}

static void put_arp(struct packet *packet) {
    put_ether(packet, "\xff\xff\xff\xff\xff\xff", 0x0806);
    put_32(packet, 0x00010800);
    put_32(packet, 0x06040001);
    put(packet, PACKETS_PEER_MAC, TAEL_MAC_SIZE);
    put_32(packet, PACKETS_PEER_ADDRESS);
    put(packet, "\0\0\0\0\0\0", TAEL_MAC_SIZE);
    put_32(packet, PACKETS_HOST_ADDRESS);
}

struct packet packet_make(enum packet_kind kind) {
    struct packet packet;
    memset(&packet, 0, sizeof packet);
    if (kind == PACKET_UDP) put_udp(&packet);
    if (kind == PACKET_ECHO) put_echo(&packet);
    if (kind == PACKET_ARP) put_arp(&packet);
    return packet;
}

uint16_t packet_checksum(const uint8_t *data, size_t size, uint32_t begin) {
    uint32_t sum = begin;
    for (size_t i = 0; i < size; i++) sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* The bytes behind IP's header: what IP says, or what there is if that is less. */
static uint32_t ip_payload_size(const struct packet *packet) {
    const uint32_t said = (uint32_t)packet->bytes[AT_IP_LENGTH] << 8 | packet->bytes[AT_IP_LENGTH + 1];
    const uint32_t there = packet->size - AT_IP;
    return (said < there ? said : there) - 20;
}

uint16_t packet_udp_checksum(const struct packet *packet) {
    const uint32_t size = ip_payload_size(packet);
    /* The pseudo-header: both addresses, the protocol, the length. */
    const uint32_t addresses = (uint16_t)~packet_checksum(packet->bytes + AT_IP_FROM, 8, 0);
    return packet_checksum(packet->bytes + AT_UDP_FROM, size, addresses + 17 + size);
}

static void sum_write(struct packet *packet, uint32_t at, uint16_t sum) {
    packet->bytes[at] = (uint8_t)(sum >> 8);
    packet->bytes[at + 1] = (uint8_t)sum;
}

void packet_sum(struct packet *packet) {
    if (packet->bytes[AT_ETHER_TYPE + 1] != 0) return; /* not IPv4 */
    sum_write(packet, AT_IP_SUM, packet_checksum(packet->bytes + AT_IP, 20, 0));
    if (packet->bytes[AT_IP_PROTOCOL] == 17) sum_write(packet, AT_UDP_SUM, packet_udp_checksum(packet));
    if (packet->bytes[AT_IP_PROTOCOL] == 1)
        sum_write(packet, AT_ICMP_SUM, packet_checksum(packet->bytes + AT_ICMP, ip_payload_size(packet), 0));
}

static void patch(struct packet *packet, const struct packet_patch *what) {
    if (what->size != 0) memcpy(packet->bytes + what->at, what->bytes, what->size);
}

struct packet packet_from_row(const struct packet_row *row) {
    struct packet packet = packet_make(row->kind);
    for (int i = 0; i < 3; i++) patch(&packet, &row->patches[i]);
    packet_sum(&packet);
    patch(&packet, &row->late);
    if (row->size != 0) packet.size = row->size;
    return packet;
}

/* clang-format off */
#define PATCH(at, bytes) {(at), sizeof(bytes) - 1, (bytes)}
#define DROPPED(reason) .verdict = TAEL_HOST_DROP, .drop = TAEL_HOST_DROP_##reason
#define UDP(name, ...) {name, PACKET_UDP, __VA_ARGS__}
#define ECHO(name, ...) {name, PACKET_ECHO, __VA_ARGS__}
#define ARP(name, ...) {name, PACKET_ARP, __VA_ARGS__}

#define HOST_ADDRESS "\x0a\x00\x00\x02"
#define PEER_ADDRESS "\x0a\x00\x00\x01"

/* The whole frame of UDP and of an echo has 143 bytes (an odd number, so that checksums have an odd byte), an ARP packet 42. */
const struct packet_row packet_rows[] = {
    UDP("a datagram", .verdict = TAEL_HOST_DATAGRAM),
    UDP("padding behind", .size = 150, .verdict = TAEL_HOST_DATAGRAM),
    UDP("no payload, padded to Ethernet's least size", .patches = {PATCH(AT_IP_LENGTH, "\0\x1c"), PATCH(AT_UDP_LENGTH, "\0\x08")},
        .size = 60, .verdict = TAEL_HOST_DATAGRAM),
    UDP("a TTL of 0", .patches = {PATCH(AT_IP_TTL, "\0")}, .verdict = TAEL_HOST_DATAGRAM),
    UDP("without DF", .patches = {PATCH(AT_IP_FRAGMENT, "\0\0")}, .verdict = TAEL_HOST_DATAGRAM),
    UDP("with a type of service", .patches = {PATCH(AT_IP + 1, "\xb8")}, .verdict = TAEL_HOST_DATAGRAM),
    UDP("without a UDP checksum", .late = PATCH(AT_UDP_SUM, "\0\0"), .verdict = TAEL_HOST_DATAGRAM),
    UDP("a UDP checksum that nobody finished", .late = PATCH(AT_UDP_SUM, "\x12\x34"), .verdict = TAEL_HOST_DATAGRAM),
    UDP("an IP checksum that the device believes", .late = PATCH(AT_IP_SUM, "\0\0"), .checksums_known = TAEL_HOST_IP_GOOD,
        .verdict = TAEL_HOST_DATAGRAM),

    UDP("nothing", .size = 13, DROPPED(too_short)),
    UDP("Ethernet alone", .size = 14, DROPPED(too_short)),
    UDP("half an IP header", .size = 33, DROPPED(too_short)),
    UDP("from no MAC", .patches = {PATCH(AT_ETHER_FROM, "\0\0\0\0\0\0")}, DROPPED(source_mac)),
    UDP("from a multicast MAC", .patches = {PATCH(AT_ETHER_FROM, "\x03")}, DROPPED(source_mac)),
    UDP("from the broadcast MAC", .patches = {PATCH(AT_ETHER_FROM, "\xff\xff\xff\xff\xff\xff")}, DROPPED(source_mac)),
    UDP("from our own MAC", .patches = {PATCH(AT_ETHER_FROM, PACKETS_HOST_MAC)}, DROPPED(source_mac)),
    UDP("a VLAN tag", .patches = {PATCH(AT_ETHER_TYPE, "\x81\x00")}, DROPPED(vlan)),
    UDP("two VLAN tags", .patches = {PATCH(AT_ETHER_TYPE, "\x88\xa8")}, DROPPED(vlan)),
    UDP("for another MAC", .patches = {PATCH(AT_ETHER_TO + 5, "\x03")}, DROPPED(other_mac)),
    UDP("IPv6", .patches = {PATCH(AT_ETHER_TYPE, "\x86\xdd")}, DROPPED(ether_type)),
    UDP("a length instead of a type", .patches = {PATCH(AT_ETHER_TYPE, "\0\x40")}, DROPPED(ether_type)),
    UDP("broadcast", .patches = {PATCH(AT_ETHER_TO, "\xff\xff\xff\xff\xff\xff")}, DROPPED(group_mac)),
    UDP("multicast", .patches = {PATCH(AT_ETHER_TO, "\x01\x00\x5e\x00\x00\x01")}, DROPPED(group_mac)),

    UDP("IP version 6", .patches = {PATCH(AT_IP, "\x65")}, DROPPED(ip_version)),
    UDP("IP version 0", .patches = {PATCH(AT_IP, "\x05")}, DROPPED(ip_version)),
    UDP("an IP header of 16 bytes", .patches = {PATCH(AT_IP, "\x44")}, DROPPED(ip_header_length)),
    UDP("an IP header of none", .patches = {PATCH(AT_IP, "\x40")}, DROPPED(ip_header_length)),
    UDP("IP options", .patches = {PATCH(AT_IP, "\x46")}, DROPPED(ip_options)),
    UDP("an IP header of 60 bytes", .patches = {PATCH(AT_IP, "\x4f")}, DROPPED(ip_options)),
    UDP("IP options beyond the frame", .patches = {PATCH(AT_IP, "\x4f")}, .size = 40, DROPPED(ip_options)),
    UDP("an IP length of 0", .late = PATCH(AT_IP_LENGTH, "\0\0"), DROPPED(ip_length)),
    UDP("an IP length below its header", .late = PATCH(AT_IP_LENGTH, "\0\x13"), DROPPED(ip_length)),
    UDP("an IP length one beyond the frame", .patches = {PATCH(AT_IP_LENGTH, "\0\x82")}, DROPPED(ip_length)),
    UDP("the largest IP length", .patches = {PATCH(AT_IP_LENGTH, "\xff\xff")}, DROPPED(ip_length)),
    UDP("the last byte cut off", .size = 142, DROPPED(ip_length)),
    UDP("a wrong IP checksum", .late = PATCH(AT_IP_SUM, "\x12\x34"), DROPPED(ip_checksum)),
    UDP("a flipped bit in IP", .late = PATCH(AT_IP_TTL, "\x20"), DROPPED(ip_checksum)),
    UDP("an IP checksum of 0", .late = PATCH(AT_IP_SUM, "\0\0"), DROPPED(ip_checksum)),
    UDP("the device says: wrong IP checksum", .checksums_known = TAEL_HOST_IP_WRONG, DROPPED(ip_checksum)),
    UDP("a first fragment", .patches = {PATCH(AT_IP_FRAGMENT, "\x20\0")}, DROPPED(fragment)),
    UDP("a middle fragment", .patches = {PATCH(AT_IP_FRAGMENT, "\x20\x01")}, DROPPED(fragment)),
    UDP("a last fragment", .patches = {PATCH(AT_IP_FRAGMENT, "\x1f\xff")}, DROPPED(fragment)),
    UDP("a last fragment with DF", .patches = {PATCH(AT_IP_FRAGMENT, "\x40\x01")}, DROPPED(fragment)),
    UDP("for another address", .patches = {PATCH(AT_IP_TO, "\x0a\x00\x00\x03")}, DROPPED(other_address)),
    UDP("for all addresses", .patches = {PATCH(AT_IP_TO, "\xff\xff\xff\xff")}, DROPPED(other_address)),
    UDP("from our own address", .patches = {PATCH(AT_IP_FROM, HOST_ADDRESS)}, DROPPED(source_address)),
    UDP("from 0.0.0.0", .patches = {PATCH(AT_IP_FROM, "\0\0\0\0")}, DROPPED(source_address)),
    UDP("from 127.0.0.1", .patches = {PATCH(AT_IP_FROM, "\x7f\0\0\x01")}, DROPPED(source_address)),
    UDP("from a multicast address", .patches = {PATCH(AT_IP_FROM, "\xe0\0\0\x01")}, DROPPED(source_address)),
    UDP("from 255.255.255.255", .patches = {PATCH(AT_IP_FROM, "\xff\xff\xff\xff")}, DROPPED(source_address)),
    UDP("TCP", .patches = {PATCH(AT_IP_PROTOCOL, "\x06")}, DROPPED(protocol)),
    UDP("UDP-Lite", .patches = {PATCH(AT_IP_PROTOCOL, "\x88")}, DROPPED(protocol)),

    UDP("IP without room for UDP", .patches = {PATCH(AT_IP_LENGTH, "\0\x1b")}, DROPPED(udp_length)),
    UDP("IP with nothing in it", .patches = {PATCH(AT_IP_LENGTH, "\0\x14")}, DROPPED(udp_length)),
    UDP("a UDP length of 0", .patches = {PATCH(AT_UDP_LENGTH, "\0\0")}, DROPPED(udp_length)),
    UDP("a UDP length below its header", .patches = {PATCH(AT_UDP_LENGTH, "\0\x07")}, DROPPED(udp_length)),
    UDP("a UDP length one above IP's", .patches = {PATCH(AT_UDP_LENGTH, "\0\x6e")}, DROPPED(udp_length)),
    UDP("a UDP length one below IP's", .patches = {PATCH(AT_UDP_LENGTH, "\0\x6c")}, DROPPED(udp_length)),
    UDP("a UDP length that padding would fill", .patches = {PATCH(AT_UDP_LENGTH, "\0\x70")}, .size = 150, DROPPED(udp_length)),
    UDP("the largest UDP length", .patches = {PATCH(AT_UDP_LENGTH, "\xff\xff")}, DROPPED(udp_length)),
    UDP("for another port", .patches = {PATCH(AT_UDP_TO, "\x0b\xb9")}, DROPPED(other_port)),
    UDP("for port 0", .patches = {PATCH(AT_UDP_TO, "\0\0")}, DROPPED(other_port)),
    UDP("from port 0", .patches = {PATCH(AT_UDP_FROM, "\0\0")}, DROPPED(source_port)),
    UDP("the device says: wrong UDP checksum", .checksums_known = TAEL_HOST_UDP_WRONG, DROPPED(udp_checksum)),

    ECHO("an echo request", .verdict = TAEL_HOST_ANSWER),
    ECHO("an echo request with padding", .size = 150, .verdict = TAEL_HOST_ANSWER),
    ECHO("an echo request without data", .patches = {PATCH(AT_IP_LENGTH, "\0\x1c")}, .size = 60, .verdict = TAEL_HOST_ANSWER),
    ECHO("half an ICMP header", .patches = {PATCH(AT_IP_LENGTH, "\0\x1b")}, DROPPED(icmp_length)),
    ECHO("an echo reply", .patches = {PATCH(AT_ICMP, "\0")}, DROPPED(icmp_type)),
    ECHO("unreachable", .patches = {PATCH(AT_ICMP, "\x03\x03")}, DROPPED(icmp_type)),
    ECHO("a redirect", .patches = {PATCH(AT_ICMP, "\x05\x01")}, DROPPED(icmp_type)),
    ECHO("an echo request with a code", .patches = {PATCH(AT_ICMP + 1, "\x01")}, DROPPED(icmp_type)),
    ECHO("an echo request beyond the MTU", .patches = {PATCH(AT_IP_LENGTH, "\x05\xdd")}, .size = 14 + 1501, DROPPED(icmp_size)),
    ECHO("a wrong ICMP checksum", .late = PATCH(AT_ICMP_SUM, "\x12\x34"), DROPPED(icmp_checksum)),
    ECHO("an echo request to all", .patches = {PATCH(AT_ETHER_TO, "\xff\xff\xff\xff\xff\xff")}, DROPPED(group_mac)),

    ARP("a request for our address", .verdict = TAEL_HOST_ANSWER),
    ARP("a request with padding", .size = 60, .verdict = TAEL_HOST_ANSWER),
    ARP("a request to us alone", .patches = {PATCH(AT_ETHER_TO, PACKETS_HOST_MAC)}, .verdict = TAEL_HOST_ANSWER),
    ARP("a probe for our address", .patches = {PATCH(AT_ARP_SENDER, "\0\0\0\0")}, .verdict = TAEL_HOST_ANSWER),
    ARP("a reply to us", .patches = {PATCH(AT_ARP_OPCODE, "\0\x02"), PATCH(AT_ARP_TARGET_MAC, PACKETS_HOST_MAC)},
        .verdict = TAEL_HOST_NEIGHBOUR),
    ARP("an announcement", .patches = {PATCH(AT_ARP_TARGET, PEER_ADDRESS)}, .verdict = TAEL_HOST_NEIGHBOUR),
    ARP("an announcement as a reply", .patches = {PATCH(AT_ARP_OPCODE, "\0\x02"), PATCH(AT_ARP_TARGET, PEER_ADDRESS)},
        .verdict = TAEL_HOST_NEIGHBOUR),
    ARP("the last byte of ARP cut off", .size = 41, DROPPED(too_short)),
    ARP("ARP for another MAC", .patches = {PATCH(AT_ETHER_TO, "\x02\0\0\0\0\x07")}, DROPPED(other_mac)),
    ARP("hardware other than Ethernet", .patches = {PATCH(AT_ARP, "\0\x06")}, DROPPED(arp_form)),
    ARP("a protocol other than IPv4", .patches = {PATCH(AT_ARP + 2, "\x86\xdd")}, DROPPED(arp_form)),
    ARP("MACs of 8 bytes", .patches = {PATCH(AT_ARP + 4, "\x08")}, DROPPED(arp_form)),
    ARP("addresses of 16 bytes", .patches = {PATCH(AT_ARP + 5, "\x10")}, DROPPED(arp_form)),
    ARP("a reverse request", .patches = {PATCH(AT_ARP_OPCODE, "\0\x03")}, DROPPED(arp_form)),
    ARP("from no MAC inside", .patches = {PATCH(AT_ARP_SENDER_MAC, "\0\0\0\0\0\0")}, DROPPED(arp_sender)),
    ARP("from the broadcast MAC inside", .patches = {PATCH(AT_ARP_SENDER_MAC, "\xff\xff\xff\xff\xff\xff")}, DROPPED(arp_sender)),
    ARP("from 127.0.0.1", .patches = {PATCH(AT_ARP_SENDER, "\x7f\0\0\x01")}, DROPPED(arp_sender)),
    ARP("a reply from no address", .patches = {PATCH(AT_ARP_OPCODE, "\0\x02"), PATCH(AT_ARP_SENDER, "\0\0\0\0")},
        DROPPED(arp_sender)),
    ARP("another host has our address", .patches = {PATCH(AT_ARP_SENDER, HOST_ADDRESS)}, DROPPED(arp_conflict)),
    ARP("a request for another address", .patches = {PATCH(AT_ARP_TARGET, "\x0a\0\0\x03")}, DROPPED(arp_other)),
    ARP("a probe for no address", .patches = {PATCH(AT_ARP_SENDER, "\0\0\0\0"), PATCH(AT_ARP_TARGET, "\0\0\0\0")},
        DROPPED(arp_other)),
};
/* clang-format on */

const size_t packet_row_count = sizeof packet_rows / sizeof packet_rows[0];
