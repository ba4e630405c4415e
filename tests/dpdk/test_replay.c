/* What a network may carry, right and wrong, goes through a port and a host, and each packet is found again: handed on, answered or
 * counted as what it is.
 * Method: net_pcap reads frames from a file that the test writes, the rows of packets.c in an order drawn by chance, some of them often, and a
 * frame that is too long for one buffer; it writes what is sent to another file, which the test reads. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <rte_mbuf.h>

#include <tael/limits.h>

#include "io/eal.h"
#include "io/port.h"
#include "packets.h"
#include "tests/support/random.h"

enum { FRAMES = 5000, LONG_FRAMES = 3, LONG_SIZE = 4000 };

/* The format of tcpdump's files: a header, then each frame behind one of its own. */
struct pcap_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy;
    uint32_t size_max;
    uint32_t link_type;
};
struct pcap_frame {
    uint32_t seconds, microseconds;
    uint32_t size_here, size;
};

static const struct pcap_header pcap_header = {0xa1b2c3d4, 2, 4, 0, 0, 65535, 1};

static char directory[] = "/tmp/tael-replay-XXXXXX";
static char path_in[64], path_out[64];

/* What went in. */
static uint64_t datagrams, neighbours, drops[TAEL_HOST_DROPS];
static struct packet answers[FRAMES];
static uint32_t answer_count;

static void file_write(FILE *file, const void *data, size_t size) {
    assert_int_equal(fwrite(data, 1, size, file), size);
}

static void frame_write(FILE *file, const uint8_t *bytes, uint32_t size) {
    const struct pcap_frame frame = {.size_here = size, .size = size};
    file_write(file, &frame, sizeof frame);
    file_write(file, bytes, size);
}

/* The answer is the host's, which tests/net/test_host.c has looked at to the last byte. */
static void expect(const struct packet_row *row, struct packet *frame) {
    const struct tael_host host = packets_host();
    struct tael_host_received received;
    datagrams += row->verdict == TAEL_HOST_DATAGRAM;
    neighbours += row->verdict == TAEL_HOST_NEIGHBOUR;
    if (row->verdict == TAEL_HOST_DROP) drops[row->drop]++;
    if (row->verdict != TAEL_HOST_ANSWER) return;
    tael_host_receive(&host, frame->bytes, frame->size, 0, &received);
    frame->size = received.answer_size;
    answers[answer_count++] = *frame;
}

/* A file cannot say what a device knows. */
static const struct packet_row *row_draw(struct test_random *random) {
    const struct packet_row *row;
    do row = &packet_rows[test_random_below(random, packet_row_count)];
    while (row->checksums_known != 0);
    return row;
}

static void traffic_write(uint64_t seed) {
    static const uint8_t long_frame[LONG_SIZE];
    struct test_random random = {seed};
    FILE *file = fopen(path_in, "wb");
    assert_non_null(file);
    file_write(file, &pcap_header, sizeof pcap_header);
    for (uint32_t i = 0; i < FRAMES; i++) {
        const struct packet_row *row = row_draw(&random);
        struct packet frame = packet_from_row(row);
        frame_write(file, frame.bytes, frame.size);
        expect(row, &frame);
    }
    for (uint32_t i = 0; i < LONG_FRAMES; i++) frame_write(file, long_frame, sizeof long_frame);
    drops[TAEL_HOST_DROP_segments] += LONG_FRAMES;
    assert_int_equal(fclose(file), 0);
}

/* Turns, until a burst is empty: a file gives all it has. */
static void replay(struct tael_port *port) {
    const struct tael_host host = packets_host();
    struct rte_mbuf *packets[TAEL_PORT_BURST_MAX];
    struct tael_host_received received;
    for (uint32_t count = 1; count > 0;) {
        count = tael_port_receive(port, packets);
        for (uint32_t i = 0; i < count; i++) {
            if (tael_port_take(port, &host, packets[i], &received) == TAEL_HOST_DATAGRAM) rte_pktmbuf_free(packets[i]);
        }
        tael_port_flush(port);
    }
}

static void assert_answers_are_in_the_file(void) {
    FILE *file = fopen(path_out, "rb");
    struct pcap_header header;
    struct pcap_frame frame;
    struct packet packet;
    assert_non_null(file);
    assert_int_equal(fread(&header, 1, sizeof header, file), sizeof header);
    for (uint32_t i = 0; i < answer_count; i++) {
        assert_int_equal(fread(&frame, 1, sizeof frame, file), sizeof frame);
        assert_int_equal(frame.size_here, answers[i].size);
        assert_int_equal(fread(packet.bytes, 1, frame.size_here, file), frame.size_here);
        assert_memory_equal(packet.bytes, answers[i].bytes, answers[i].size);
    }
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
}

static void test_each_packet_is_found_again(void **unused) {
    (void)unused;
    static alignas(TAEL_SECTOR_SIZE) uint8_t memory[1 << 16];
    struct tael_arena arena = {.base = memory, .size = sizeof memory};
    struct tael_port_options options = tael_port_options_default();
    struct tael_port_counters counters;
    struct tael_port *port;
    char why[TAEL_WHY_SIZE] = "";
    options.address = PACKETS_HOST_ADDRESS;
    if (tael_port_open(&port, &arena, &options, why) != 0) fail_msg("%s", why);
    replay(port);
    tael_port_counters(port, &counters);
    tael_port_close(&port, 1);
    assert_int_equal(counters.received, FRAMES + LONG_FRAMES);
    assert_int_equal(counters.datagrams, datagrams);
    assert_int_equal(counters.neighbours, neighbours);
    assert_int_equal(counters.answers, answer_count);
    assert_int_equal(counters.sent, answer_count);
    for (unsigned reason = 0; reason < TAEL_HOST_DROPS; reason++) {
        if (counters.drops[reason] != drops[reason])
            fail_msg("%s: %llu", tael_host_drop_name(reason), (unsigned long long)counters.drops[reason]);
    }
    assert_answers_are_in_the_file();
}

static int set_up(void **unused) {
    (void)unused;
    char arguments[256];
    char why[TAEL_WHY_SIZE] = "";
    if (mkdtemp(directory) == NULL) return -1;
    snprintf(path_in, sizeof path_in, "%s/in.pcap", directory);
    snprintf(path_out, sizeof path_out, "%s/out.pcap", directory);
    traffic_write(1);
    snprintf(arguments, sizeof arguments,
             "--no-huge -m 64 --no-telemetry --file-prefix=tael-test --vdev=net_pcap0,rx_pcap=%s,tx_pcap=%s", path_in,
             path_out);
    if (tael_eal_start(&(struct tael_eal_options){.arguments = arguments}, why) == 0) return 0;
    fprintf(stderr, "%s\n", why);
    return -1;
}

static int tear_down(void **unused) {
    (void)unused;
    tael_eal_stop();
    unlink(path_in);
    unlink(path_out);
    return rmdir(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_packet_is_found_again)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
