/* A frame has one verdict, an answer is right to the last byte, and what is sealed is received.
 * Method: the rows of packets.c, which spoil one thing at a time; answers and sealed frames against bytes that the test makes itself, with a
 * checksum of its own. */
#include "io/host.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "packets.h"

static struct tael_host_received receive(const struct tael_host *host, struct packet *packet, unsigned known) {
    struct tael_host_received received;
    tael_host_receive(host, packet->bytes, packet->size, known, &received);
    return received;
}

static void test_each_frame_has_its_verdict(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    for (size_t i = 0; i < packet_row_count; i++) {
        const struct packet_row *row = &packet_rows[i];
        struct packet packet = packet_from_row(row);
        const struct tael_host_received received = receive(&host, &packet, row->checksums_known);
        if (received.verdict != row->verdict) fail_msg("%s: verdict %d", row->name, (int)received.verdict);
        if (row->verdict == TAEL_HOST_DROP && received.drop != row->drop)
            fail_msg("%s: %s", row->name, tael_host_drop_text(received.drop));
    }
}

static void test_each_reason_has_a_row(void **unused) {
    (void)unused;
    for (unsigned reason = 0; reason < TAEL_HOST_DROPS; reason++) {
        bool is_there = reason == TAEL_HOST_DROP_segments; /* the port's: no frame says it */
        for (size_t i = 0; i < packet_row_count; i++)
            is_there |= packet_rows[i].verdict == TAEL_HOST_DROP && packet_rows[i].drop == reason;
        if (!is_there) fail_msg("no row for %s", tael_host_drop_name(reason));
    }
}

static void test_a_frame_that_is_cut_is_dropped(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    for (enum packet_kind kind = PACKET_UDP; kind <= PACKET_ARP; kind++) {
        struct packet whole = packet_make(kind);
        packet_sum(&whole);
        for (uint32_t size = 0; size < whole.size; size++) {
            struct packet cut = whole;
            cut.size = size;
            assert_int_equal(receive(&host, &cut, 0).verdict, TAEL_HOST_DROP);
            assert_memory_equal(cut.bytes, whole.bytes, sizeof cut.bytes);
        }
    }
}

static void test_only_answers_change_the_packet(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    for (size_t i = 0; i < packet_row_count; i++) {
        struct packet packet = packet_from_row(&packet_rows[i]);
        const struct packet before = packet;
        const struct tael_host_received received = receive(&host, &packet, packet_rows[i].checksums_known);
        if (received.verdict != TAEL_HOST_ANSWER) assert_memory_equal(packet.bytes, before.bytes, sizeof before.bytes);
    }
}

static void test_a_datagram_is_handed_on_with_where_it_came_from(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    struct packet packet = packet_make(PACKET_UDP);
    packet_sum(&packet);
    const struct tael_host_received received = receive(&host, &packet, 0);
    assert_ptr_equal(received.payload, packet.bytes + TAEL_HOST_HEADERS_SIZE);
    assert_int_equal(received.payload_size, PACKET_PAYLOAD_SIZE);
    assert_int_equal(received.from.address, PACKETS_PEER_ADDRESS);
    assert_int_equal(received.from.port, PACKETS_PEER_PORT);
    assert_memory_equal(received.from.mac, PACKETS_PEER_MAC, TAEL_MAC_SIZE);
}

static void test_udp_checksums_are_verified_when_asked(void **unused) {
    (void)unused;
    static const struct {
        const char *sum; /* NULL: the right one */
        unsigned known;
        enum tael_host_verdict verdict;
    } rows[] = {
        {NULL, 0, TAEL_HOST_DATAGRAM},
        {"\0\0", 0, TAEL_HOST_DATAGRAM},
        {"\x12\x34", 0, TAEL_HOST_DROP},
        {"\x12\x34", TAEL_HOST_UDP_GOOD, TAEL_HOST_DATAGRAM},
        {NULL, TAEL_HOST_UDP_WRONG, TAEL_HOST_DROP},
    };
    struct tael_host host = packets_host();
    host.verify_udp = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct packet packet = packet_make(PACKET_UDP);
        packet_sum(&packet);
        if (rows[i].sum != NULL) memcpy(packet.bytes + AT_UDP_SUM, rows[i].sum, 2);
        const struct tael_host_received received = receive(&host, &packet, rows[i].known);
        assert_int_equal(received.verdict, rows[i].verdict);
        if (rows[i].verdict == TAEL_HOST_DROP) assert_int_equal(received.drop, TAEL_HOST_DROP_udp_checksum);
    }
}

static void test_an_echo_request_is_answered(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    struct packet packet = packet_make(PACKET_ECHO);
    packet.bytes[AT_IP + 1] = 0xb8; /* a type of service, which the answer keeps */
    packet_sum(&packet);
    struct packet expected = packet;
    memcpy(expected.bytes + AT_ETHER_TO, PACKETS_PEER_MAC, TAEL_MAC_SIZE);
    memcpy(expected.bytes + AT_ETHER_FROM, PACKETS_HOST_MAC, TAEL_MAC_SIZE);
    memcpy(expected.bytes + AT_IP + 4, "\0\0\x40\0\x40\x01\0\0\x0a\0\0\x02\x0a\0\0\x01", 16);
    memcpy(expected.bytes + AT_ICMP, "\0\0\0\0", 4);
    packet_sum(&expected);
    packet.size += 7; /* padding, which is not sent back */
    const struct tael_host_received received = receive(&host, &packet, 0);
    assert_int_equal(received.verdict, TAEL_HOST_ANSWER);
    assert_int_equal(received.answer_size, expected.size);
    assert_memory_equal(packet.bytes, expected.bytes, expected.size);
}

static void test_echoes_of_all_sizes_up_to_the_mtu_are_answered(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    for (uint32_t ip_size = 28; ip_size <= host.mtu; ip_size++) {
        struct packet packet = packet_make(PACKET_ECHO);
        packet.bytes[AT_IP_LENGTH] = (uint8_t)(ip_size >> 8);
        packet.bytes[AT_IP_LENGTH + 1] = (uint8_t)ip_size;
        packet.size = AT_IP + ip_size;
        packet_sum(&packet);
        assert_int_equal(receive(&host, &packet, 0).answer_size, packet.size);
        assert_int_equal(packet_checksum(packet.bytes + AT_IP, 20, 0), 0);
        assert_int_equal(packet_checksum(packet.bytes + AT_ICMP, ip_size - 20, 0), 0);
    }
}

static void test_an_arp_request_is_answered(void **unused) {
    (void)unused;
    static const char expected[] = PACKETS_PEER_MAC PACKETS_HOST_MAC "\x08\x06\0\x01\x08\0\x06\x04\0\x02" /* a reply */
        PACKETS_HOST_MAC "\x0a\0\0\x02" PACKETS_PEER_MAC "\x0a\0\0\x01";
    const struct tael_host host = packets_host();
    struct packet packet = packet_make(PACKET_ARP);
    packet.size = 60;
    const struct tael_host_received received = receive(&host, &packet, 0);
    assert_int_equal(received.verdict, TAEL_HOST_ANSWER);
    assert_int_equal(received.answer_size, TAEL_HOST_ARP_SIZE);
    assert_memory_equal(packet.bytes, expected, TAEL_HOST_ARP_SIZE);
}

static void test_an_announcement_names_the_host_twice(void **unused) {
    (void)unused;
    static const char expected[] =
        "\xff\xff\xff\xff\xff\xff" PACKETS_HOST_MAC "\x08\x06\0\x01\x08\0\x06\x04\0\x01" PACKETS_HOST_MAC
        "\x0a\0\0\x02\0\0\0\0\0\0\x0a\0\0\x02";
    const struct tael_host host = packets_host();
    struct packet packet;
    memset(&packet, 0xee, sizeof packet);
    assert_int_equal(tael_host_announce(&host, packet.bytes), TAEL_HOST_ARP_SIZE);
    assert_memory_equal(packet.bytes, expected, TAEL_HOST_ARP_SIZE);
}

static struct tael_host other_host(const struct tael_host *host) {
    struct tael_host other = *host;
    other.address += 5;
    other.mac[5] = 9;
    return other;
}

static void test_a_request_is_answered_by_the_other_host_and_understood(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    const struct tael_host other = other_host(&host);
    struct packet packet;
    packet.size = tael_host_resolve_request(&host, other.address, packet.bytes);
    assert_int_equal(receive(&other, &packet, 0).verdict, TAEL_HOST_ANSWER);
    const struct tael_host_received received = receive(&host, &packet, 0);
    assert_int_equal(received.verdict, TAEL_HOST_NEIGHBOUR);
    assert_int_equal(received.from.address, other.address);
    assert_int_equal(received.from.port, 0);
    assert_memory_equal(received.from.mac, other.mac, TAEL_MAC_SIZE);
}

static struct tael_endpoint endpoint_of(const struct tael_host *host) {
    struct tael_endpoint endpoint = {.address = host->address, .port = host->port};
    memcpy(endpoint.mac, host->mac, sizeof endpoint.mac);
    return endpoint;
}

static void test_headers_are_written_byte_for_byte(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    const struct tael_endpoint peer = {PACKETS_PEER_ADDRESS, PACKETS_PEER_PORT, {2, 0, 10, 0, 0, 1}};
    static const char headers[] =
        PACKETS_PEER_MAC PACKETS_HOST_MAC "\x08\0"
                                          "\x45\0\0\x81\0\0\x40\0\x40\x11\0\0\x0a\0\0\x02\x0a\0\0\x01"
                                          "\x0b\xb8\x9c\x40\0\x6d\0\0";
    struct packet expected = packet_make(PACKET_UDP);
    memcpy(expected.bytes, headers, TAEL_HOST_HEADERS_SIZE);
    packet_sum(&expected);
    struct packet packet = packet_make(PACKET_UDP);
    memset(packet.bytes, 0xee, TAEL_HOST_HEADERS_SIZE);
    assert_int_equal(tael_host_seal(&host, &peer, packet.bytes, PACKET_PAYLOAD_SIZE, 0), expected.size);
    assert_memory_equal(packet.bytes, expected.bytes, expected.size);
}

static void test_what_is_sealed_is_received(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    struct tael_host other = other_host(&host);
    other.verify_udp = true;
    const struct tael_endpoint to = endpoint_of(&other);
    for (uint32_t size = 0; size <= host.mtu - TAEL_HOST_MTU_HEADERS_SIZE; size++) {
        struct packet packet;
        memset(packet.bytes, (int)size, sizeof packet.bytes);
        packet.size = tael_host_seal(&host, &to, packet.bytes, size, 0);
        const struct tael_host_received received = receive(&other, &packet, 0);
        assert_int_equal(received.verdict, TAEL_HOST_DATAGRAM);
        assert_int_equal(received.payload_size, size);
        assert_int_equal(received.from.address, host.address);
        assert_int_equal(received.from.port, host.port);
        assert_memory_equal(received.from.mac, host.mac, TAEL_MAC_SIZE);
        assert_int_equal(packet_udp_checksum(&packet), 0);
    }
}

/* A sum of 0 would say that there is none: it is sent as 0xffff, which is the same number (RFC 768). */
static void test_a_udp_checksum_of_zero_is_sent_as_its_complement(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    const struct tael_endpoint to = {PACKETS_PEER_ADDRESS, PACKETS_PEER_PORT, {2, 0, 10, 0, 0, 1}};
    struct packet packet;
    memset(&packet, 0, sizeof packet);
    packet.size = tael_host_seal(&host, &to, packet.bytes, 2, 0);
    /* With its own complement for payload everything sums up to 0xffff. */
    memcpy(packet.bytes + AT_PAYLOAD, packet.bytes + AT_UDP_SUM, 2);
    tael_host_seal(&host, &to, packet.bytes, 2, 0);
    assert_memory_equal(packet.bytes + AT_UDP_SUM, "\xff\xff", 2);
}

static void test_what_the_device_does_is_left_to_it(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    const struct tael_endpoint to = {PACKETS_PEER_ADDRESS, PACKETS_PEER_PORT, {2, 0, 10, 0, 0, 1}};
    struct packet packet = packet_make(PACKET_UDP);
    tael_host_seal(&host, &to, packet.bytes, PACKET_PAYLOAD_SIZE, TAEL_HOST_OFFLOAD_IP | TAEL_HOST_OFFLOAD_UDP);
    assert_memory_equal(packet.bytes + AT_IP_SUM, "\0\0", 2);
    /* The device goes on from the sum of the pseudo-header, which stands in the field uncomplemented: with it, the sum over
     * UDP alone is the checksum. */
    uint16_t device = packet_checksum(packet.bytes + AT_UDP_FROM, 8 + PACKET_PAYLOAD_SIZE, 0);
    tael_host_seal(&host, &to, packet.bytes, PACKET_PAYLOAD_SIZE, 0);
    assert_int_equal(device, packet.bytes[AT_UDP_SUM] << 8 | packet.bytes[AT_UDP_SUM + 1]);
    assert_int_equal(packet_checksum(packet.bytes + AT_IP, 20, 0), 0);
}

static void test_jumbo_datagrams(void **unused) {
    (void)unused;
    static alignas(2) uint8_t bytes[9014];
    struct tael_host host = packets_host();
    host.mtu = 9000;
    struct tael_host other = other_host(&host);
    other.verify_udp = true;
    const struct tael_endpoint to = endpoint_of(&other);
    memset(bytes, 0xff, sizeof bytes); /* the largest sum */
    const uint32_t size = tael_host_seal(&host, &to, bytes, 9000 - TAEL_HOST_MTU_HEADERS_SIZE, 0);
    assert_int_equal(size, sizeof bytes);
    struct tael_host_received received;
    tael_host_receive(&other, bytes, size, 0, &received);
    assert_int_equal(received.verdict, TAEL_HOST_DATAGRAM);
    assert_int_equal(received.payload_size, 9000 - TAEL_HOST_MTU_HEADERS_SIZE);
}

static void test_a_host_is_checked(void **unused) {
    (void)unused;
    struct tael_host host = packets_host();
    assert_int_equal(tael_host_check(&host), 0);
    host.port = 0;
    assert_int_equal(tael_host_check(&host), -EINVAL);
    host = packets_host();
    host.mtu = TAEL_HOST_MTU_MIN - 1;
    assert_int_equal(tael_host_check(&host), -EINVAL);
    host = packets_host();
    host.address = 0x7f000001;
    assert_int_equal(tael_host_check(&host), -EINVAL);
    host = packets_host();
    host.mac[0] |= 1;
    assert_int_equal(tael_host_check(&host), -EINVAL);
}

static void test_endpoints_are_equal_whatever_the_last_hop(void **unused) {
    (void)unused;
    const struct tael_endpoint a = {1, 2, {3}};
    assert_true(tael_endpoint_equal(&a, &(struct tael_endpoint){1, 2, {4}}));
    assert_false(tael_endpoint_equal(&a, &(struct tael_endpoint){1, 3, {3}}));
    assert_false(tael_endpoint_equal(&a, &(struct tael_endpoint){2, 2, {3}}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_frame_has_its_verdict),
        cmocka_unit_test(test_each_reason_has_a_row),
        cmocka_unit_test(test_a_frame_that_is_cut_is_dropped),
        cmocka_unit_test(test_only_answers_change_the_packet),
        cmocka_unit_test(test_a_datagram_is_handed_on_with_where_it_came_from),
        cmocka_unit_test(test_udp_checksums_are_verified_when_asked),
        cmocka_unit_test(test_an_echo_request_is_answered),
        cmocka_unit_test(test_echoes_of_all_sizes_up_to_the_mtu_are_answered),
        cmocka_unit_test(test_an_arp_request_is_answered),
        cmocka_unit_test(test_an_announcement_names_the_host_twice),
        cmocka_unit_test(test_a_request_is_answered_by_the_other_host_and_understood),
        cmocka_unit_test(test_headers_are_written_byte_for_byte),
        cmocka_unit_test(test_what_is_sealed_is_received),
        cmocka_unit_test(test_a_udp_checksum_of_zero_is_sent_as_its_complement),
        cmocka_unit_test(test_what_the_device_does_is_left_to_it),
        cmocka_unit_test(test_jumbo_datagrams),
        cmocka_unit_test(test_a_host_is_checked),
        cmocka_unit_test(test_endpoints_are_equal_whatever_the_last_hop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
