/* Ethernet frames for tests, made byte by byte with code of their own, and rows that spoil one thing in a sound one.
 * All are about one host, PACKETS_HOST, and one peer that writes to it. */
#ifndef TAEL_TESTS_PACKETS_H
#define TAEL_TESTS_PACKETS_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "io/host.h"

#define PACKETS_HOST_ADDRESS 0x0a000002u /* 10.0.0.2 */
#define PACKETS_HOST_PORT 3000
#define PACKETS_HOST_MAC "\x02\x00\x0a\x00\x00\x02"
#define PACKETS_PEER_ADDRESS 0x0a000001u
#define PACKETS_PEER_PORT 40000
#define PACKETS_PEER_MAC "\x02\x00\x0a\x00\x00\x01"

enum { PACKET_SIZE_MAX = 2048, PACKET_PAYLOAD_SIZE = 101 };

struct packet {
    alignas(2) uint8_t bytes[PACKET_SIZE_MAX];
    uint32_t size;
};

struct tael_host packets_host(void);

/* A sound frame from the peer to the host, without its sums (see packet_sum). */
enum packet_kind { PACKET_UDP, PACKET_ECHO, PACKET_ARP };
struct packet packet_make(enum packet_kind kind);

/* The Internet checksum, one 16-bit word after the other (RFC 1071). A field that holds 0 meanwhile is given it; over what holds its
 * checksum it is 0. */
uint16_t packet_checksum(const uint8_t *data, size_t size, uint32_t begin);
/* The same for UDP, with its pseudo-header, in a frame without IP options. */
uint16_t packet_udp_checksum(const struct packet *packet);

/* Makes the checksums right: IP's, then what is behind it. */
void packet_sum(struct packet *packet);

struct packet_patch {
    uint32_t at; /* byte of the frame */
    uint32_t size; /* 0: no patch */
    const char *bytes;
};

/* Offsets in a frame. */
enum {
    AT_ETHER_TO = 0,
    AT_ETHER_FROM = 6,
    AT_ETHER_TYPE = 12,
    AT_IP = 14,
    AT_IP_LENGTH = 16,
    AT_IP_FRAGMENT = 20,
    AT_IP_TTL = 22,
    AT_IP_PROTOCOL = 23,
    AT_IP_SUM = 24,
    AT_IP_FROM = 26,
    AT_IP_TO = 30,
    AT_UDP_FROM = 34,
    AT_UDP_TO = 36,
    AT_UDP_LENGTH = 38,
    AT_UDP_SUM = 40,
    AT_ICMP = 34,
    AT_ICMP_SUM = 36,
    AT_PAYLOAD = 42,
    AT_ARP = 14,
    AT_ARP_OPCODE = 20,
    AT_ARP_SENDER_MAC = 22,
    AT_ARP_SENDER = 28,
    AT_ARP_TARGET_MAC = 32,
    AT_ARP_TARGET = 38,
};

/* A sound frame, patched, then summed, then patched behind that, then cut or padded. */
struct packet_row {
    const char *name;
    enum packet_kind kind;
    struct packet_patch patches[3];
    struct packet_patch late; /* what the checksums do not cover */
    uint32_t size; /* 0: as it was made */
    unsigned checksums_known;
    enum tael_host_verdict verdict;
    enum tael_host_drop drop;
};

extern const struct packet_row packet_rows[];
extern const size_t packet_row_count;

struct packet packet_from_row(const struct packet_row *row);

#endif
