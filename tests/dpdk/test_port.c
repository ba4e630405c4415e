/* A port hands on datagrams, answers what it can answer, and counts and gives back all else; nothing that is full stops it.
 * Method: net_ring, a device that hands back to a queue what was sent on it: what the test sends as the peer is received as
 * the host, and what the host answers as the peer. Two queues. */
#include "io/port.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <tael/limits.h>

#include "io/eal.h"
#include "packets.h"

enum { QUEUES = 2, RING_SIZE = 1024 };

static struct tael_port *ports[QUEUES];
static cpu_set_t affinity_before;

static struct tael_port_options options_of_test(void) {
    struct tael_port_options options = tael_port_options_default();
    options.queues = QUEUES;
    options.receive_descriptors = 512;
    options.transmit_descriptors = 512;
    options.packets_kept_max = 512;
    options.address = PACKETS_HOST_ADDRESS;
    return options;
}

static char runtime_directory[256];

/* EAL leaves its directory behind, empty but for telemetry's socket until the process ends. */
static void runtime_directory_remove(void) { rmdir(runtime_directory); }

static int open_port(void **unused) {
    (void)unused;
    static alignas(TAEL_SECTOR_SIZE) uint8_t memory[1 << 16];
    static struct tael_arena arena = {.base = memory, .size = sizeof memory};
    const struct tael_port_options options = options_of_test();
    char arguments[128];
    char why[TAEL_WHY_SIZE] = "";
    sched_getaffinity(0, sizeof affinity_before, &affinity_before);
    snprintf(arguments, sizeof arguments, "--no-huge -m 64 --file-prefix=tael-test-%d --vdev=net_ring0", getpid());
    const struct tael_eal_options eal = {.arguments = arguments};
    atexit(runtime_directory_remove); /* before telemetry's, so that it runs behind that */
    if (tael_eal_start(&eal, why) != 0 || tael_port_open(ports, &arena, &options, why) != 0) {
        fprintf(stderr, "%s\n", why);
        return -1;
    }
    snprintf(runtime_directory, sizeof runtime_directory, "%s", rte_eal_get_runtime_dir());
    return arena.used == tael_port_size_bytes(&options) ? 0 : -1;
}

static int close_port(void **unused) {
    (void)unused;
    tael_port_close(ports, QUEUES);
    tael_eal_stop();
    return 0;
}

static struct tael_port_counters counters_of(const struct tael_port *port) {
    struct tael_port_counters counters;
    tael_port_counters(port, &counters);
    return counters;
}

/* A packet with these bytes. */
static struct rte_mbuf *packet_with(struct tael_port *port, const void *bytes, uint32_t size) {
    struct rte_mbuf *packet = tael_port_packet(port);
    assert_non_null(packet);
    char *data = rte_pktmbuf_append(packet, (uint16_t)size);
    assert_non_null(data);
    memcpy(data, bytes, size);
    return packet;
}

/* The peer sends a frame: the host's next burst has it. */
static void peer_sends(struct tael_port *port, const struct packet *frame) {
    tael_port_transmit(port, packet_with(port, frame->bytes, frame->size));
    assert_int_equal(tael_port_flush(port), 1);
}

/* The one packet that has come in. */
static struct rte_mbuf *receive_one(struct tael_port *port) {
    struct rte_mbuf *packets[TAEL_PORT_BURST_MAX];
    assert_int_equal(tael_port_receive(port, packets), 1);
    return packets[0];
}

static void assert_nothing_comes(struct tael_port *port) {
    struct rte_mbuf *packets[TAEL_PORT_BURST_MAX];
    assert_int_equal(tael_port_receive(port, packets), 0);
}

/* The packets that nobody holds. */
static uint32_t free_packets(struct tael_port *port) {
    struct rte_mbuf *packet = tael_port_packet(port);
    assert_non_null(packet);
    struct rte_mempool *pool = packet->pool;
    rte_pktmbuf_free(packet);
    return rte_mempool_avail_count(pool);
}

static struct packet sound(enum packet_kind kind) {
    struct packet frame = packet_make(kind);
    packet_sum(&frame);
    return frame;
}

static void test_starting_leaves_the_affinity_alone(void **unused) {
    (void)unused;
    cpu_set_t now;
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_true(CPU_EQUAL(&now, &affinity_before));
}

static void test_eal_starts_once(void **unused) {
    (void)unused;
    char why[TAEL_WHY_SIZE] = "";
    assert_int_equal(tael_eal_start(&(struct tael_eal_options){.arguments = ""}, why), -EALREADY);
    assert_non_null(strstr(why, "once"));
}

static void test_a_port_that_is_not_there_is_named(void **unused) {
    (void)unused;
    static alignas(TAEL_SECTOR_SIZE) uint8_t memory[1 << 16];
    struct tael_arena arena = {.base = memory, .size = sizeof memory};
    struct tael_port_options options = options_of_test();
    struct tael_port *none[TAEL_PORT_QUEUES_MAX];
    char why[TAEL_WHY_SIZE] = "";
    options.port_id = 7;
    assert_int_equal(tael_port_open(none, &arena, &options, why), -ENODEV);
    assert_string_equal(why, "there is no port 7: EAL has found 1");
    options.port_id = 0;
    options.queues = TAEL_PORT_QUEUES_MAX;
    assert_int_equal(tael_port_open(none, &arena, &options, why), -ENOTSUP);
    assert_non_null(strstr(why, "has no 64 queues"));
}

static void test_a_device_without_a_mac_gets_one_from_the_address(void **unused) {
    (void)unused;
    uint8_t mac[TAEL_MAC_SIZE];
    tael_port_mac(ports[0], mac);
    assert_memory_equal(mac, PACKETS_HOST_MAC, TAEL_MAC_SIZE);
    assert_true(tael_port_is_up(ports[0]));
    assert_int_equal(tael_port_offloads(ports[0]), 0);
}

static void test_a_datagram_is_handed_on_and_echoed(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    const struct packet frame = sound(PACKET_UDP);
    const struct tael_port_counters before = counters_of(ports[0]);
    struct tael_host_received received;
    peer_sends(ports[0], &frame);
    struct rte_mbuf *packet = receive_one(ports[0]);
    assert_int_equal(tael_port_take(ports[0], &host, packet, &received), TAEL_HOST_DATAGRAM);
    assert_ptr_equal(received.payload, tael_port_payload(packet));
    assert_int_equal(received.payload_size, PACKET_PAYLOAD_SIZE);
    tael_port_send(ports[0], &host, &received.from, packet, received.payload_size);
    assert_int_equal(tael_port_flush(ports[0]), 1);
    packet = receive_one(ports[0]);
    assert_int_equal(rte_pktmbuf_pkt_len(packet), frame.size);
    const uint8_t *echo = rte_pktmbuf_mtod(packet, const uint8_t *);
    assert_memory_equal(echo + AT_ETHER_TO, PACKETS_PEER_MAC, TAEL_MAC_SIZE);
    assert_memory_equal(echo + AT_PAYLOAD, frame.bytes + AT_PAYLOAD, PACKET_PAYLOAD_SIZE);
    rte_pktmbuf_free(packet);
    const struct tael_port_counters after = counters_of(ports[0]);
    assert_int_equal(after.received - before.received, 2);
    assert_int_equal(after.received_bytes - before.received_bytes, 2 * frame.size);
    assert_int_equal(after.sent - before.sent, 2);
    assert_int_equal(after.sent_bytes - before.sent_bytes, 2 * frame.size);
    assert_int_equal(after.bursts - before.bursts, 2);
    assert_int_equal(after.datagrams - before.datagrams, 1);
}

static void test_answers_are_sent_as_the_host_made_them(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    for (enum packet_kind kind = PACKET_ECHO; kind <= PACKET_ARP; kind++) {
        struct packet frame = sound(kind);
        struct tael_host_received received;
        frame.size += 20; /* padding */
        peer_sends(ports[0], &frame);
        assert_int_equal(tael_port_take(ports[0], &host, receive_one(ports[0]), &received), TAEL_HOST_ANSWER);
        assert_int_equal(tael_port_flush(ports[0]), 1);
        tael_host_receive(&host, frame.bytes, frame.size, 0, &received);
        struct rte_mbuf *packet = receive_one(ports[0]);
        assert_int_equal(rte_pktmbuf_pkt_len(packet), received.answer_size);
        assert_memory_equal(rte_pktmbuf_mtod(packet, const uint8_t *), frame.bytes, received.answer_size);
        rte_pktmbuf_free(packet);
    }
}

static void test_drops_are_counted_by_reason_and_given_back(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    const uint32_t free_before = free_packets(ports[0]);
    const struct tael_port_counters before = counters_of(ports[0]);
    uint64_t expected[TAEL_HOST_DROPS] = {0};
    for (size_t i = 0; i < packet_row_count; i++) {
        const struct packet_row *row = &packet_rows[i];
        if (row->verdict != TAEL_HOST_DROP || row->checksums_known != 0) continue;
        const struct packet frame = packet_from_row(row);
        struct tael_host_received received;
        peer_sends(ports[0], &frame);
        assert_int_equal(tael_port_take(ports[0], &host, receive_one(ports[0]), &received), TAEL_HOST_DROP);
        expected[row->drop]++;
    }
    const struct tael_port_counters after = counters_of(ports[0]);
    for (unsigned reason = 0; reason < TAEL_HOST_DROPS; reason++)
        assert_int_equal(after.drops[reason] - before.drops[reason], expected[reason]);
    assert_int_equal(free_packets(ports[0]), free_before);
}

static void test_a_packet_in_two_buffers_is_dropped(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    const struct packet frame = sound(PACKET_UDP);
    const uint32_t free_before = free_packets(ports[0]);
    struct tael_host_received received;
    struct rte_mbuf *first = packet_with(ports[0], frame.bytes, 60);
    assert_int_equal(rte_pktmbuf_chain(first, packet_with(ports[0], frame.bytes + 60, frame.size - 60)), 0);
    assert_int_equal(tael_port_take(ports[0], &host, first, &received), TAEL_HOST_DROP);
    assert_int_equal(received.drop, TAEL_HOST_DROP_segments);
    assert_int_equal(free_packets(ports[0]), free_before);
}

static void test_what_the_device_says_of_checksums_counts(void **unused) {
    (void)unused;
    static const struct {
        uint64_t flags;
        bool is_ip_wrong, is_udp_wrong; /* in the frame */
        enum tael_host_verdict verdict;
        enum tael_host_drop drop;
    } rows[] = {
        {0, false, false, TAEL_HOST_DATAGRAM, 0},
        {0, true, false, TAEL_HOST_DROP, TAEL_HOST_DROP_ip_checksum},
        {0, false, true, TAEL_HOST_DROP, TAEL_HOST_DROP_udp_checksum},
        {RTE_MBUF_F_RX_IP_CKSUM_GOOD, true, false, TAEL_HOST_DATAGRAM, 0},
        {RTE_MBUF_F_RX_IP_CKSUM_NONE, true, false, TAEL_HOST_DATAGRAM, 0},
        {RTE_MBUF_F_RX_IP_CKSUM_BAD, false, false, TAEL_HOST_DROP, TAEL_HOST_DROP_ip_checksum},
        {RTE_MBUF_F_RX_L4_CKSUM_GOOD, false, true, TAEL_HOST_DATAGRAM, 0},
        {RTE_MBUF_F_RX_L4_CKSUM_NONE, false, true, TAEL_HOST_DATAGRAM, 0},
        {RTE_MBUF_F_RX_L4_CKSUM_BAD, false, false, TAEL_HOST_DROP, TAEL_HOST_DROP_udp_checksum},
    };
    struct tael_host host = packets_host();
    host.verify_udp = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct packet frame = sound(PACKET_UDP);
        struct tael_host_received received;
        frame.bytes[AT_IP_SUM] ^= rows[i].is_ip_wrong;
        frame.bytes[AT_UDP_SUM] ^= rows[i].is_udp_wrong;
        struct rte_mbuf *packet = packet_with(ports[0], frame.bytes, frame.size);
        packet->ol_flags |= rows[i].flags;
        assert_int_equal(tael_port_take(ports[0], &host, packet, &received), rows[i].verdict);
        assert_int_equal(received.drop, rows[i].drop);
        if (received.verdict == TAEL_HOST_DATAGRAM) rte_pktmbuf_free(packet);
    }
}

static void test_an_announcement_and_a_request_reach_the_other_host(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    struct tael_host other = host;
    struct tael_host_received received;
    other.address = PACKETS_PEER_ADDRESS;
    memcpy(other.mac, PACKETS_PEER_MAC, TAEL_MAC_SIZE);
    const uint64_t neighbours_before = counters_of(ports[0]).neighbours;
    assert_true(tael_port_announce(ports[0], &host));
    tael_port_flush(ports[0]);
    assert_int_equal(tael_port_take(ports[0], &other, receive_one(ports[0]), &received), TAEL_HOST_NEIGHBOUR);
    assert_int_equal(received.from.address, host.address);
    assert_true(tael_port_resolve(ports[0], &other, host.address));
    tael_port_flush(ports[0]);
    assert_int_equal(tael_port_take(ports[0], &host, receive_one(ports[0]), &received), TAEL_HOST_ANSWER);
    tael_port_flush(ports[0]);
    assert_int_equal(tael_port_take(ports[0], &other, receive_one(ports[0]), &received), TAEL_HOST_NEIGHBOUR);
    assert_memory_equal(received.from.mac, host.mac, TAEL_MAC_SIZE);
    assert_int_equal(counters_of(ports[0]).neighbours - neighbours_before, 2);
}

static void test_queues_are_apart(void **unused) {
    (void)unused;
    const struct packet frame = sound(PACKET_UDP);
    peer_sends(ports[1], &frame);
    assert_nothing_comes(ports[0]);
    rte_pktmbuf_free(receive_one(ports[1]));
    assert_int_equal(tael_port_queue(ports[1]), 1);
}

/* Takes in all there is, and lets what waits follow. How many. */
static uint32_t receive_all(void) {
    struct rte_mbuf *packets[TAEL_PORT_BURST_MAX];
    uint32_t received = 0;
    for (uint32_t more = 1; more > 0; received += more) {
        more = tael_port_receive(ports[0], packets);
        rte_pktmbuf_free_bulk(packets, more);
        tael_port_flush(ports[0]);
    }
    return received;
}

static void test_what_the_device_does_not_take_waits_and_the_rest_is_dropped(void **unused) {
    (void)unused;
    enum { TAKEN = RING_SIZE - 1, TOO_MANY = 100 };
    const uint32_t free_before = free_packets(ports[0]);
    const struct tael_port_counters before = counters_of(ports[0]);
    for (int i = 0; i < TAKEN; i++) tael_port_transmit(ports[0], packet_with(ports[0], "x", 1));
    tael_port_flush(ports[0]);
    assert_false(tael_port_is_full(ports[0]));
    for (int i = 0; i < TAEL_PORT_PENDING_MAX; i++) tael_port_transmit(ports[0], packet_with(ports[0], "x", 1));
    assert_true(tael_port_is_full(ports[0]));
    assert_int_equal(counters_of(ports[0]).transmit_full, before.transmit_full);
    for (int i = 0; i < TOO_MANY; i++) tael_port_transmit(ports[0], packet_with(ports[0], "x", 1));
    assert_int_equal(counters_of(ports[0]).transmit_full - before.transmit_full, TOO_MANY);
    assert_int_equal(receive_all(), TAKEN + TAEL_PORT_PENDING_MAX);
    assert_int_equal(counters_of(ports[0]).sent - before.sent, TAKEN + TAEL_PORT_PENDING_MAX);
    assert_false(tael_port_is_full(ports[0]));
    assert_int_equal(free_packets(ports[0]), free_before);
}

static uint32_t slow_calls;

/* A device that takes nothing at each second call, and else no more than three. */
static uint16_t slow_transmit(void *queue, struct rte_mbuf **packets, uint16_t count) {
    (void)queue;
    const uint16_t taken = slow_calls++ % 2 == 0 ? 0 : (uint16_t)RTE_MIN(count, 3);
    rte_pktmbuf_free_bulk(packets, taken);
    return taken;
}

static uint16_t stuck_transmit(void *queue, struct rte_mbuf **packets, uint16_t count) {
    (void)queue;
    (void)packets;
    (void)count;
    slow_calls++;
    return 0;
}

/* Sends 64 packets through a device like that; returns how many it took. */
static uint64_t send_through(eth_tx_burst_t transmit) {
    const eth_tx_burst_t before = rte_eth_fp_ops[0].tx_pkt_burst;
    const uint64_t sent_before = counters_of(ports[0]).sent;
    slow_calls = 0;
    rte_eth_fp_ops[0].tx_pkt_burst = transmit;
    for (int i = 0; i < TAEL_PORT_BURST_MAX; i++) tael_port_transmit(ports[0], packet_with(ports[0], "x", 1));
    tael_port_flush(ports[0]);
    rte_eth_fp_ops[0].tx_pkt_burst = before;
    return counters_of(ports[0]).sent - sent_before;
}

static void test_a_slow_device_is_asked_again_and_a_stuck_one_given_up(void **unused) {
    (void)unused;
    const uint32_t free_before = free_packets(ports[0]);
    const uint64_t full_before = counters_of(ports[0]).transmit_full;
    assert_int_equal(send_through(slow_transmit), TAEL_PORT_BURST_MAX);
    assert_int_equal(counters_of(ports[0]).transmit_full, full_before);
    assert_int_equal(send_through(stuck_transmit), 0);
    assert_int_equal(counters_of(ports[0]).transmit_full, full_before);
    usleep(2 * TAEL_PORT_STUCK_NS / 1000);
    assert_int_equal(send_through(stuck_transmit), 0);
    assert_int_equal(counters_of(ports[0]).transmit_full - full_before, 2 * TAEL_PORT_BURST_MAX);
    assert_true(slow_calls <= 100);
    assert_int_equal(free_packets(ports[0]), free_before);
}

static void test_without_a_free_packet_none_is_made(void **unused) {
    (void)unused;
    enum { MORE_THAN_THERE_ARE = 4096 };
    static struct rte_mbuf *packets[MORE_THAN_THERE_ARE];
    const struct tael_host host = packets_host();
    const uint64_t before = counters_of(ports[1]).no_packet;
    uint32_t taken = 0;
    while (taken < MORE_THAN_THERE_ARE && (packets[taken] = tael_port_packet(ports[1])) != NULL) taken++;
    assert_true(taken >= options_of_test().packets_kept_max);
    assert_true(taken < MORE_THAN_THERE_ARE);
    assert_false(tael_port_announce(ports[1], &host));
    assert_int_equal(counters_of(ports[1]).no_packet - before, 2);
    rte_pktmbuf_free_bulk(packets, taken);
    assert_true(tael_port_announce(ports[1], &host));
    tael_port_flush(ports[1]);
    rte_pktmbuf_free(receive_one(ports[1]));
}

static void test_the_largest_datagram_fits(void **unused) {
    (void)unused;
    const struct tael_host host = packets_host();
    const struct tael_endpoint to = {host.address, host.port, {2, 0, 10, 0, 0, 2}};
    struct tael_host other = host;
    struct tael_host_received received;
    const uint32_t size = host.mtu - TAEL_HOST_MTU_HEADERS_SIZE;
    other.address = PACKETS_PEER_ADDRESS;
    memcpy(other.mac, PACKETS_PEER_MAC, TAEL_MAC_SIZE);
    struct rte_mbuf *packet = tael_port_packet(ports[0]);
    memset(tael_port_payload(packet), 0x5a, size);
    tael_port_send(ports[0], &other, &to, packet, size);
    tael_port_flush(ports[0]);
    packet = receive_one(ports[0]);
    assert_int_equal(tael_port_take(ports[0], &host, packet, &received), TAEL_HOST_DATAGRAM);
    assert_int_equal(received.payload_size, size);
    rte_pktmbuf_free(packet);
}

static void *enter_and_leave(void *known) {
    bool *is_known = known;
    is_known[0] = rte_lcore_id() != LCORE_ID_ANY;
    if (tael_eal_enter() != 0) return NULL;
    is_known[1] = rte_lcore_id() != LCORE_ID_ANY;
    /* What it takes comes from a cache of its own, and goes back to it. */
    rte_pktmbuf_free(tael_port_packet(ports[0]));
    tael_eal_leave();
    is_known[2] = rte_lcore_id() != LCORE_ID_ANY;
    return NULL;
}

static void test_another_thread_enters_and_leaves(void **unused) {
    (void)unused;
    bool is_known[3] = {true, false, true};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, enter_and_leave, is_known), 0);
    pthread_join(thread, NULL);
    assert_false(is_known[0]);
    assert_true(is_known[1]);
    assert_false(is_known[2]);
}

/* Asks EAL's telemetry as a client does: a socket of packets, which greets first. */
static const char *telemetry(const char *command) {
    static char answer[16384];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/dpdk_telemetry.v2", rte_eal_get_runtime_dir());
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_true(recv(fd, answer, sizeof answer, 0) > 0);
    assert_true(send(fd, command, strlen(command), 0) > 0);
    const ssize_t size = recv(fd, answer, sizeof answer - 1, 0);
    assert_true(size > 0);
    answer[size] = '\0';
    close(fd);
    return answer;
}

static void test_telemetry_tells_counters(void **unused) {
    (void)unused;
    const struct tael_port_counters counters = counters_of(ports[0]);
    char expected[64];
    const char *answer = telemetry("/tael/port");
    snprintf(expected, sizeof expected, "\"port0_queue0\":{\"received\":%llu,", (unsigned long long)counters.received);
    assert_non_null(strstr(answer, expected));
    assert_non_null(strstr(answer, "\"device_missed\":0"));
    assert_non_null(strstr(answer, "\"port0_queue1\":{"));
    answer = telemetry("/tael/drops");
    snprintf(expected, sizeof expected, "\"fragment\":%llu,",
             (unsigned long long)counters.drops[TAEL_HOST_DROP_fragment]);
    assert_non_null(strstr(answer, expected));
    assert_non_null(strstr(answer, "\"udp_checksum\":"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starting_leaves_the_affinity_alone),
        cmocka_unit_test(test_eal_starts_once),
        cmocka_unit_test(test_a_port_that_is_not_there_is_named),
        cmocka_unit_test(test_a_device_without_a_mac_gets_one_from_the_address),
        cmocka_unit_test(test_a_datagram_is_handed_on_and_echoed),
        cmocka_unit_test(test_answers_are_sent_as_the_host_made_them),
        cmocka_unit_test(test_drops_are_counted_by_reason_and_given_back),
        cmocka_unit_test(test_a_packet_in_two_buffers_is_dropped),
        cmocka_unit_test(test_what_the_device_says_of_checksums_counts),
        cmocka_unit_test(test_an_announcement_and_a_request_reach_the_other_host),
        cmocka_unit_test(test_queues_are_apart),
        cmocka_unit_test(test_what_the_device_does_not_take_waits_and_the_rest_is_dropped),
        cmocka_unit_test(test_a_slow_device_is_asked_again_and_a_stuck_one_given_up),
        cmocka_unit_test(test_without_a_free_packet_none_is_made),
        cmocka_unit_test(test_the_largest_datagram_fits),
        cmocka_unit_test(test_another_thread_enters_and_leaves),
        cmocka_unit_test(test_telemetry_tells_counters),
    };
    return cmocka_run_group_tests(tests, open_port, close_port);
}
