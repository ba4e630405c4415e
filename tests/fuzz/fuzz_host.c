/* A host on arbitrary frames: no read or write beyond them, and a verdict that holds together.
 *
 * The first byte steers: its low four bits are what the device knows of checksums; bit 4 makes IP's checksum right and bit 5 makes
 * the frame one for the host, since chance never would; bit 6 has it verify UDP. The rest is the frame. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>

#include "io/host.h"
#include "io/host_address.h"
#include "packets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void address_to_host(uint8_t *frame, size_t size) {
    if (size >= AT_ETHER_TYPE) memcpy(frame, PACKETS_HOST_MAC, TAEL_MAC_SIZE);
    if (size >= AT_UDP_FROM) memcpy(frame + AT_IP_TO, "\x0a\0\0\x02", 4);
}

static void sum_ip(uint8_t *frame, size_t size) {
    if (size < AT_UDP_FROM) return;
    memset(frame + AT_IP_SUM, 0, 2);
    const uint16_t sum = packet_checksum(frame + AT_IP, 20, 0);
    frame[AT_IP_SUM] = (uint8_t)(sum >> 8);
    frame[AT_IP_SUM + 1] = (uint8_t)sum;
}

static void check_datagram(const struct tael_host *host, const uint8_t *frame, size_t size,
                           const struct tael_host_received *received) {
    TAEL_ASSERT(received->payload == frame + TAEL_HOST_HEADERS_SIZE);
    TAEL_ASSERT(received->payload_size <= size - TAEL_HOST_HEADERS_SIZE);
    TAEL_ASSERT(tael_address_is_unicast(received->from.address));
    TAEL_ASSERT(received->from.address != host->address);
    TAEL_ASSERT(received->from.port != 0);
    TAEL_ASSERT(tael_mac_is_unicast(received->from.mac));
    /* All of it is there to be read. */
    (void)packet_checksum(received->payload, received->payload_size, 0);
}

static void check_answer(const struct tael_host *host, const uint8_t *frame, size_t size,
                         const struct tael_host_received *received) {
    TAEL_ASSERT(received->answer_size <= size);
    TAEL_ASSERT(received->answer_size >= TAEL_HOST_ARP_SIZE);
    TAEL_ASSERT(received->answer_size <= host->mtu + 14u);
    TAEL_ASSERT(memcmp(frame + AT_ETHER_FROM, host->mac, TAEL_MAC_SIZE) == 0);
    TAEL_ASSERT(tael_mac_is_unicast(frame + AT_ETHER_TO));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    const uint8_t steer = data[0];
    const size_t frame_size = size - 1;
    struct tael_host host = packets_host();
    host.verify_udp = steer & 64;
    /* Exactly as large as the input, so that a read beyond it is seen. */
    uint8_t *frame = malloc(frame_size);
    if (frame == NULL) return 0;
    memcpy(frame, data + 1, frame_size);
    if (steer & 32) address_to_host(frame, frame_size);
    if (steer & 16) sum_ip(frame, frame_size);
    struct tael_host_received received;
    tael_host_receive(&host, frame, (uint32_t)frame_size, steer & 15u, &received);
    if (received.verdict == TAEL_HOST_DATAGRAM) check_datagram(&host, frame, frame_size, &received);
    if (received.verdict == TAEL_HOST_ANSWER) check_answer(&host, frame, frame_size, &received);
    if (received.verdict == TAEL_HOST_NEIGHBOUR) TAEL_ASSERT(tael_address_is_unicast(received.from.address));
    if (received.verdict == TAEL_HOST_DROP) TAEL_ASSERT(tael_host_drop_text(received.drop) != NULL);
    free(frame);
    return 0;
}
