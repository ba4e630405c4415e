/* Whatever a peer does wrong costs it its connection, and no other client notices.
 * Method: as in test_tcp.c; beside each offender a well-behaved neighbour has to get its answers all the while. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/aegis.h"

#define SECOND_NS TAEL_NS_PER_S

enum { SMALL = 512, LARGE = TAEL_MESSAGE_SIZE_MAX, NEIGHBOUR = 1000 };

/* The story's stage: a server, and a neighbour who must never notice anything. */
struct stage {
    struct harness harness;
    int neighbour;
    uint32_t requests;
    struct tael_frame *frame;
};

static void stage_open(struct stage *stage, const struct harness_options *options) {
    harness_start(&stage->harness, options);
    stage->neighbour = client_connect(&stage->harness);
    stage->requests = 0;
    stage->frame = frame_new();
}

static void neighbour_is_served(struct stage *stage) {
    assert_true(client_round_trip(&stage->harness, stage->neighbour, SMALL, NEIGHBOUR, ++stage->requests));
}

static void stage_close(struct stage *stage) {
    neighbour_is_served(stage);
    free(stage->frame);
    close(stage->neighbour);
    harness_stop(&stage->harness);
}

static const struct tael_tcp_counters *counters(const struct stage *stage) { return harness_counters(&stage->harness); }

/* --- frames that are wrong --- */

static void seal_header_only(struct tael_frame *frame) {
    frame->checksum = tael_checksum((const uint8_t *)frame + 16, TAEL_FRAME_HEADER_SIZE - 16);
}

static void spoil_header_bit(struct tael_frame *frame) { frame->request.session ^= 1; }
static void spoil_body_bit(struct tael_frame *frame) { ((uint8_t *)(frame + 1))[77] ^= 1; }
static void spoil_cluster(struct tael_frame *frame) {
    frame->cluster++;
    seal_header_only(frame);
}
static void spoil_command(struct tael_frame *frame) {
    frame->command = TAEL_COMMAND_REPLY;
    seal_header_only(frame);
}
static void spoil_protocol(struct tael_frame *frame) {
    frame->protocol = 1;
    seal_header_only(frame);
}
static void spoil_reserved(struct tael_frame *frame) {
    frame->reserved[3] = 1;
    seal_header_only(frame);
}
static void spoil_client(struct tael_frame *frame) {
    frame->request.client = 0;
    seal_header_only(frame);
}
static void spoil_size_below(struct tael_frame *frame) {
    frame->size = TAEL_FRAME_HEADER_SIZE - 1;
    seal_header_only(frame);
}
static void spoil_size_above(struct tael_frame *frame) {
    frame->size = TAEL_MESSAGE_SIZE_MAX + 1;
    seal_header_only(frame);
}

static void test_a_wrong_frame_costs_its_connection_only(void **unused) {
    (void)unused;
    static const struct {
        void (*spoil)(struct tael_frame *frame);
        enum tael_frame_verdict verdict;
    } rows[] = {
        {spoil_header_bit, TAEL_FRAME_header_checksum},
        {spoil_body_bit, TAEL_FRAME_body_checksum},
        {spoil_cluster, TAEL_FRAME_cluster},
        {spoil_command, TAEL_FRAME_command},
        {spoil_protocol, TAEL_FRAME_protocol},
        {spoil_reserved, TAEL_FRAME_reserved},
        {spoil_client, TAEL_FRAME_client},
        {spoil_size_below, TAEL_FRAME_size},
        {spoil_size_above, TAEL_FRAME_size},
    };
    static const uint32_t sizes[] = {SMALL, LARGE};
    struct stage stage;
    const struct harness_options options = harness_options_default();
    stage_open(&stage, &options);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t j = 0; j < 2; j++) {
            const uint64_t before = counters(&stage)->rejected[rows[i].verdict];
            const int fd = client_connect(&stage.harness);
            assert_true(client_round_trip(&stage.harness, fd, SMALL, 5, 1));
            frame_request(stage.frame, sizes[j], 5, 2);
            rows[i].spoil(stage.frame);
            client_send(&stage.harness, fd, stage.frame, sizes[j]);
            assert_true(client_is_closed(&stage.harness, fd));
            assert_int_equal(counters(&stage)->rejected[rows[i].verdict], before + 1);
            close(fd);
            neighbour_is_served(&stage);
        }
    }
    stage_close(&stage);
}

static void test_a_wrong_header_is_refused_before_its_body_is_asked_for(void **unused) {
    (void)unused;
    struct stage stage;
    const struct harness_options options = harness_options_default();
    stage_open(&stage, &options);
    const int fd = client_connect(&stage.harness);
    frame_request(stage.frame, LARGE, 5, 1);
    spoil_header_bit(stage.frame);
    client_send(&stage.harness, fd, stage.frame, TAEL_FRAME_HEADER_SIZE);
    assert_true(client_is_closed(&stage.harness, fd));
    close(fd);
    stage_close(&stage);
}

static void test_the_request_before_a_wrong_frame_is_still_handed_on(void **unused) {
    (void)unused;
    struct stage stage;
    const struct harness_options options = harness_options_default();
    stage_open(&stage, &options);
    _Alignas(16) uint8_t both[2 * SMALL];
    frame_request((struct tael_frame *)(void *)both, SMALL, 5, 1);
    frame_request((struct tael_frame *)(void *)(both + SMALL), SMALL, 5, 2);
    both[2 * SMALL - 1] ^= 1;
    const int fd = client_connect(&stage.harness);
    client_send(&stage.harness, fd, both, sizeof both);
    assert_true(client_is_closed(&stage.harness, fd));
    assert_int_equal(stage.harness.echo.taken, 1);
    close(fd);
    stage_close(&stage);
}

static void test_another_cluster_is_said_in_the_log_but_not_too_often(void **unused) {
    (void)unused;
    struct stage stage;
    const struct harness_options options = harness_options_default();
    stage_open(&stage, &options);
    for (int i = 0; i < 5; i++) {
        const int fd = client_connect(&stage.harness);
        frame_request(stage.frame, SMALL, 5, 1);
        spoil_cluster(stage.frame);
        client_send(&stage.harness, fd, stage.frame, SMALL);
        assert_true(client_is_closed(&stage.harness, fd));
        close(fd);
        if (i == 3) {
            assert_int_equal(stage.harness.log_lines, 1);
            assert_non_null(strstr(stage.harness.log_last, "127.0.0.1:"));
            assert_non_null(strstr(stage.harness.log_last, "this one is 7"));
            harness_pass(&stage.harness, 10 * SECOND_NS);
        }
    }
    assert_int_equal(stage.harness.log_lines, 2);
    assert_non_null(strstr(stage.harness.log_last, "3 more"));
    stage_close(&stage);
}

/* --- frames that are not completed --- */

static void test_half_sent_frames_have_a_deadline_from_their_first_byte(void **unused) {
    (void)unused;
    static const uint32_t starts[] = {1, 255, 256, 300, LARGE};
    struct stage stage;
    const struct harness_options options = harness_options_default();
    stage_open(&stage, &options);
    const int idle = client_connect(&stage.harness);
    uint8_t *bytes = (uint8_t *)stage.frame;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        const uint32_t size = starts[i] == LARGE ? LARGE : SMALL;
        frame_request(stage.frame, size, 5, 1);
        const int fd = client_connect(&stage.harness);
        client_send(&stage.harness, fd, bytes, starts[i] - 1);
        harness_settle(&stage.harness);
        harness_pass(&stage.harness, 6 * SECOND_NS);
        /* One byte more is no new frame. */
        client_send(&stage.harness, fd, bytes + starts[i] - 1, starts[i] == LARGE ? 0 : 1);
        harness_pass(&stage.harness, 4 * SECOND_NS - 1);
        assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_frame_deadline], i > 0 ? i - 1 : 0);
        neighbour_is_served(&stage);
        harness_pass(&stage.harness, 1);
        if (i == 0) {
            /* Its first byte came late. */
            assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_frame_deadline], 0);
            close(fd);
            harness_settle(&stage.harness);
            continue;
        }
        assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_frame_deadline], i);
        assert_true(client_is_closed(&stage.harness, fd));
        close(fd);
    }
    /* Who says nothing at all may stay. */
    harness_pass(&stage.harness, 1000 * SECOND_NS);
    assert_true(client_round_trip(&stage.harness, idle, SMALL, 6, 1));
    close(idle);
    stage_close(&stage);
}

static void test_the_loop_is_told_when_to_wake_for_a_deadline(void **unused) {
    (void)unused;
    struct stage stage;
    const struct harness_options options = harness_options_default();
    stage_open(&stage, &options);
    harness_settle(&stage.harness);
    assert_true(tael_tcp_deadline_ns(stage.harness.tcp) == UINT64_MAX);
    const int fd = client_connect(&stage.harness);
    frame_request(stage.frame, SMALL, 5, 1);
    client_send(&stage.harness, fd, stage.frame, 100);
    harness_settle(&stage.harness);
    assert_true(tael_tcp_deadline_ns(stage.harness.tcp) == stage.harness.now_ns + 10 * SECOND_NS);
    client_send(&stage.harness, fd, (const uint8_t *)stage.frame + 100, SMALL - 100);
    assert_true(client_receive_frame(&stage.harness, fd, stage.frame));
    harness_settle(&stage.harness);
    assert_true(tael_tcp_deadline_ns(stage.harness.tcp) == UINT64_MAX);
    close(fd);
    stage_close(&stage);
}

/* A header that promises a large body and brings none takes a large buffer until its deadline, never a small frame's. */
static void test_half_sent_large_frames_do_not_starve_small_ones(void **unused) {
    (void)unused;
    enum { LIARS = 10 };
    struct stage stage;
    struct harness_options options = harness_options_default();
    options.tcp.large_buffers = 2;
    stage_open(&stage, &options);
    int liars[LIARS];
    frame_request(stage.frame, LARGE, 5, 1);
    for (int i = 0; i < LIARS; i++) {
        liars[i] = client_connect(&stage.harness);
        client_send(&stage.harness, liars[i], stage.frame, 20000);
    }
    const int honest = client_connect(&stage.harness);
    client_send(&stage.harness, honest, stage.frame, 20000);
    harness_settle(&stage.harness);
    assert_int_equal(counters(&stage)->waits_large, LIARS - 2 + 1);
    /* In order of arrival: two at a time, each for its ten seconds, then the honest one. */
    for (int round = 0; round < LIARS / 2; round++) {
        neighbour_is_served(&stage);
        assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_frame_deadline], round * 2);
        harness_pass(&stage.harness, 10 * SECOND_NS);
    }
    client_send(&stage.harness, honest, (const uint8_t *)stage.frame + 20000, LARGE - 20000);
    struct tael_frame *reply = frame_new();
    assert_true(client_receive_frame(&stage.harness, honest, reply));
    assert_int_equal(reply->size, LARGE);
    free(reply);
    for (int i = 0; i < LIARS; i++) close(liars[i]);
    close(honest);
    stage_close(&stage);
}

static void test_half_sent_small_frames_leave_buffers_for_others(void **unused) {
    (void)unused;
    enum { SLOW = 40 };
    struct stage stage;
    const struct harness_options options = harness_options_default();
    stage_open(&stage, &options);
    int slow[SLOW];
    frame_request(stage.frame, SMALL, 5, 1);
    for (int i = 0; i < SLOW; i++) {
        slow[i] = client_connect(&stage.harness);
        client_send(&stage.harness, slow[i], stage.frame, 300);
    }
    neighbour_is_served(&stage);
    harness_pass(&stage.harness, 10 * SECOND_NS);
    assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_frame_deadline], SLOW);
    for (int i = 0; i < SLOW; i++) close(slow[i]);
    stage_close(&stage);
}

/* --- peers that do not read --- */

/* Asks `count` times for replies of `reply_size`, and reads none. */
static int greedy_client(struct stage *stage, uint32_t count, uint32_t reply_size) {
    const int fd = client_connect(&stage->harness);
    stage->harness.echo.reply_size = reply_size;
    for (uint32_t i = 0; i < count; i++) {
        frame_request(stage->frame, 256, 5, i + 1);
        client_send(&stage->harness, fd, stage->frame, 256);
        harness_settle(&stage->harness);
    }
    stage->harness.echo.reply_size = 0;
    return fd;
}

static void test_a_client_that_never_reads_is_closed_in_time(void **unused) {
    (void)unused;
    struct stage stage;
    struct harness_options options = harness_options_default();
    options.tcp.reply_buffers[HARNESS_POOL_LARGE] = 16;
    stage_open(&stage, &options);
    const int fd = greedy_client(&stage, 14, LARGE);
    neighbour_is_served(&stage);
    harness_pass(&stage.harness, 5 * SECOND_NS - 1);
    assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_send_deadline], 0);
    harness_pass(&stage.harness, 1);
    assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_send_deadline], 1);
    assert_int_equal(stage.harness.replies_free_count[HARNESS_POOL_LARGE], 16);
    close(fd);
    stage_close(&stage);
}

static void test_one_large_reply_waits_and_further_ones_are_dropped(void **unused) {
    (void)unused;
    struct stage stage;
    struct harness_options options = harness_options_default();
    options.tcp.reply_buffers[HARNESS_POOL_LARGE] = 16;
    stage_open(&stage, &options);
    const int fd = greedy_client(&stage, 14, LARGE);
    /* Some went into the sockets' own buffers; then one is being sent and one waits. */
    assert_int_equal(stage.harness.replies_free_count[HARNESS_POOL_LARGE], 14);
    const uint64_t dropped = counters(&stage)->replies_dropped;
    assert_true(dropped > 0);
    /* Reading late is no crime: what was kept arrives whole. */
    for (uint64_t i = 0; i < 14 - dropped; i++) {
        assert_true(client_receive_frame(&stage.harness, fd, stage.frame));
        assert_int_equal(stage.frame->size, LARGE);
    }
    stage.harness.echo.reply_size = 0;
    assert_true(client_round_trip(&stage.harness, fd, SMALL, 5, 99));
    close(fd);
    stage_close(&stage);
}

static void test_when_reply_buffers_run_out_the_longest_stalled_goes(void **unused) {
    (void)unused;
    struct stage stage;
    const struct harness_options options = harness_options_default(); /* four large ones */
    stage_open(&stage, &options);
    const int first = greedy_client(&stage, 8, LARGE);
    harness_pass(&stage.harness, SECOND_NS);
    assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_reply_buffers], 0);
    const int second = greedy_client(&stage, 8, LARGE);
    assert_int_equal(stage.harness.replies_free_count[HARNESS_POOL_LARGE], 2);
    assert_true(client_is_closed(&stage.harness, first));
    assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_reply_buffers], 1);
    harness_pass(&stage.harness, SECOND_NS / 10);
    assert_false(client_is_closed(&stage.harness, second));
    close(first);
    close(second);
    stage_close(&stage);
}

static void test_a_peer_that_does_not_read_small_replies_is_no_longer_read(void **unused) {
    (void)unused;
    struct stage stage;
    struct harness_options options = harness_options_default();
    options.tcp.reply_buffers[HARNESS_POOL_SMALL] = 4096;
    stage_open(&stage, &options);
    const int fd = client_connect(&stage.harness);
    stage.harness.echo.reply_size = HARNESS_SMALL_CAPACITY;
    frame_request(stage.frame, 256, 5, 1);
    for (uint32_t i = 0; i < 4000; i++) {
        if (send(fd, stage.frame, 256, MSG_DONTWAIT | MSG_NOSIGNAL) != 256) break;
        harness_turn(&stage.harness, 0);
    }
    harness_settle(&stage.harness);
    const uint32_t held = 4096 - stage.harness.replies_free_count[HARNESS_POOL_SMALL];
    assert_in_range(held, 64, 64 + 8192 / 256);
    stage.harness.echo.reply_size = 0;
    neighbour_is_served(&stage);
    harness_pass(&stage.harness, 5 * SECOND_NS);
    assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_send_deadline], 1);
    close(fd);
    stage_close(&stage);
}

static void test_pings_that_are_not_read_do_not_pile_up(void **unused) {
    (void)unused;
    struct stage stage;
    const struct harness_options options = harness_options_default();
    stage_open(&stage, &options);
    const int fd = client_connect(&stage.harness);
    _Alignas(16) struct tael_frame pings[32];
    for (uint32_t i = 0; i < 32; i++) frame_ping(&pings[i], 5, i + 1);
    client_send(&stage.harness, fd, pings, sizeof pings);
    harness_settle(&stage.harness);
    assert_int_equal(counters(&stage)->pings, 32);
    assert_true(counters(&stage)->pings_skipped > 0);
    neighbour_is_served(&stage);
    close(fd);
    stage_close(&stage);
}

/* --- too many connections --- */

static void test_an_address_has_a_limit_of_connections(void **unused) {
    (void)unused;
    struct stage stage;
    struct harness_options options = harness_options_default();
    options.tcp.connections_per_address_max = 3;
    stage_open(&stage, &options);
    harness_settle(&stage.harness);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = client_connect(&stage.harness);
        harness_settle(&stage.harness);
    }
    assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_address_limit], 2);
    assert_int_equal(tael_tcp_connections(stage.harness.tcp), 3);
    assert_true(client_is_closed(&stage.harness, fds[3]));
    close(fds[0]);
    harness_settle(&stage.harness);
    const int again = client_connect(&stage.harness);
    assert_true(client_round_trip(&stage.harness, again, SMALL, 5, 1));
    close(again);
    for (int i = 1; i < 4; i++) close(fds[i]);
    stage_close(&stage);
}

static void test_the_server_has_a_limit_of_connections(void **unused) {
    (void)unused;
    struct stage stage;
    struct harness_options options = harness_options_default();
    options.tcp.connections_max = 2;
    stage_open(&stage, &options);
    harness_settle(&stage.harness);
    const int second = client_connect(&stage.harness);
    harness_settle(&stage.harness);
    const int third = client_connect(&stage.harness);
    assert_true(client_is_closed(&stage.harness, third));
    assert_int_equal(counters(&stage)->closed[TAEL_TCP_CLOSE_connections_max], 1);
    assert_true(client_round_trip(&stage.harness, second, SMALL, 5, 1));
    close(second);
    close(third);
    stage_close(&stage);
}

/* --- all of it at once --- */

static uint32_t random_next(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Writes a stretch of mostly sound traffic, cut, spoilt or abandoned at random. */
static void misbehave(struct stage *stage, int fd, uint64_t *state) {
    static const uint32_t sizes[] = {256, 272, 512, 4096, 8192, 9008, 300000};
    const uint32_t size = sizes[random_next(state) % 7] + (random_next(state) % 16 == 0 ? random_next(state) % 16 : 0);
    frame_request(stage->frame, size, 1 + random_next(state) % 3, random_next(state));
    if (random_next(state) % 8 == 0) frame_ping(stage->frame, 5, random_next(state));
    const uint32_t whole = stage->frame->size;
    if (random_next(state) % 64 == 0) ((uint8_t *)stage->frame)[random_next(state) % whole] ^= 4;
    const uint32_t sent = random_next(state) % 48 == 0 ? random_next(state) % whole : whole;
    (void)send(fd, stage->frame, sent, MSG_DONTWAIT | MSG_NOSIGNAL); /* a short write is one more way to be wrong */
}

static void test_random_offenders_leave_nothing_behind(void **unused) {
    (void)unused;
    enum { CLIENTS = 24, STEPS = 3000 };
    struct stage stage;
    struct harness_options options = harness_options_default();
    options.tcp.messages_max = 32;
    options.requests_capacity = 16;
    options.tcp.small_buffers = 48;
    stage_open(&stage, &options);
    uint64_t state = 1;
    int fds[CLIENTS];
    uint8_t sink[65536];
    for (int i = 0; i < CLIENTS; i++) fds[i] = client_connect(&stage.harness);
    for (int step = 0; step < STEPS; step++) {
        const uint32_t who = random_next(&state) % CLIENTS;
        if (random_next(&state) % 32 == 0) {
            close(fds[who]);
            fds[who] = client_connect(&stage.harness);
        }
        for (uint32_t burst = random_next(&state) % 8; burst > 0; burst--) misbehave(&stage, fds[who], &state);
        if (random_next(&state) % 3 > 0) (void)recv(fds[who], sink, sizeof sink, MSG_DONTWAIT);
        stage.harness.now_ns += random_next(&state) % (SECOND_NS / 10);
        /* Some requests stay in the sequencer's hand for a while, and must not change there. */
        stage.harness.echo.keeps_messages = random_next(&state) % 2 == 0;
        harness_turn(&stage.harness, 0);
        if (stage.harness.echo.kept_count > random_next(&state) % 32) harness_release(&stage.harness, 1);
        if (step % 100 > 0) continue;
        stage.harness.echo.keeps_messages = false;
        harness_release(&stage.harness, stage.harness.echo.kept_count);
        neighbour_is_served(&stage);
    }
    assert_int_equal(stage.harness.echo.bad, 0);
    assert_true(counters(&stage)->requests > STEPS / 4);
    for (int i = 0; i < CLIENTS; i++) close(fds[i]);
    stage.harness.echo.keeps_messages = false;
    harness_release(&stage.harness, stage.harness.echo.kept_count);
    harness_pass(&stage.harness, 20 * SECOND_NS);
    assert_int_equal(tael_tcp_connections(stage.harness.tcp), 1);
    stage_close(&stage);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_frame_costs_its_connection_only),
        cmocka_unit_test(test_a_wrong_header_is_refused_before_its_body_is_asked_for),
        cmocka_unit_test(test_the_request_before_a_wrong_frame_is_still_handed_on),
        cmocka_unit_test(test_another_cluster_is_said_in_the_log_but_not_too_often),
        cmocka_unit_test(test_half_sent_frames_have_a_deadline_from_their_first_byte),
        cmocka_unit_test(test_the_loop_is_told_when_to_wake_for_a_deadline),
        cmocka_unit_test(test_half_sent_large_frames_do_not_starve_small_ones),
        cmocka_unit_test(test_half_sent_small_frames_leave_buffers_for_others),
        cmocka_unit_test(test_a_client_that_never_reads_is_closed_in_time),
        cmocka_unit_test(test_one_large_reply_waits_and_further_ones_are_dropped),
        cmocka_unit_test(test_when_reply_buffers_run_out_the_longest_stalled_goes),
        cmocka_unit_test(test_a_peer_that_does_not_read_small_replies_is_no_longer_read),
        cmocka_unit_test(test_pings_that_are_not_read_do_not_pile_up),
        cmocka_unit_test(test_an_address_has_a_limit_of_connections),
        cmocka_unit_test(test_the_server_has_a_limit_of_connections),
        cmocka_unit_test(test_random_offenders_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
