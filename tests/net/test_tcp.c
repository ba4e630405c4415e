/* The TCP server takes frames however they are cut, answers in order, stops reading where there is no room, and ends cleanly.
 * Method: real sockets on loopback in one thread; an echo stands in for the sequencer; time is the test's. harness_stop
 * checks each time that all messages, buffers and replies came back. */
#include "harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { SMALL = 512, LARGE = TAEL_MESSAGE_SIZE_MAX };

/* The linker leads every allocation of the server and of this test here. */
static bool allocation_is_forbidden;
static uint32_t allocations_seen;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size) {
    allocations_seen += allocation_is_forbidden ? 1 : 0;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    allocations_seen += allocation_is_forbidden ? 1 : 0;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    allocations_seen += allocation_is_forbidden ? 1 : 0;
    return __real_realloc(old, size);
}

/* `count` requests back to back, numbered from 1. */
static uint8_t *stream_new(uint32_t count, uint32_t size) {
    uint8_t *stream = aligned_alloc(64, ((size_t)count * size + 63) & ~(size_t)63);
    assert_non_null(stream);
    for (uint32_t i = 0; i < count; i++) {
        frame_request((struct tael_frame *)(void *)(stream + (size_t)i * size), size, 9, i + 1);
    }
    return stream;
}

/* The echoes of requests first..last, in order. */
static void expect_replies(struct harness *harness, int fd, uint32_t first, uint32_t last) {
    struct tael_frame *reply = frame_new();
    for (uint32_t request = first; request <= last; request++) {
        assert_true(client_receive_frame(harness, fd, reply));
        assert_int_equal(reply->reply.request, request);
    }
    free(reply);
}

static void test_requests_of_all_sizes_are_echoed(void **unused) {
    (void)unused;
    static const uint32_t sizes[] = {256,   272,        512,  4096, 8176, 8192, 8208, 20000 - 20000 % 16,
                                     65536, LARGE - 16, LARGE};
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_true(client_round_trip(&harness, fd, sizes[i], 5, i + 1));
    }
    close(fd);
    harness_stop(&harness);
}

static void test_frames_in_one_write_are_answered_in_order(void **unused) {
    (void)unused;
    static const uint32_t sizes[] = {256, 512, 1040, 8192, 40000};
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const uint32_t count = 60;
        uint8_t *stream = stream_new(count, sizes[i]);
        const int fd = client_connect(&harness);
        harness.echo.reply_size = 256;
        client_send(&harness, fd, stream, (size_t)count * sizes[i]);
        expect_replies(&harness, fd, 1, count);
        free(stream);
        close(fd);
    }
    harness_stop(&harness);
}

static void test_a_frame_may_come_byte_by_byte(void **unused) {
    (void)unused;
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    uint8_t *stream = stream_new(2, SMALL);
    for (size_t i = 0; i < 2 * SMALL; i++) {
        client_send(&harness, fd, stream + i, 1);
        harness_turn(&harness, 0);
    }
    expect_replies(&harness, fd, 1, 2);
    free(stream);
    close(fd);
    harness_stop(&harness);
}

static void test_frames_may_be_cut_anywhere(void **unused) {
    (void)unused;
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    uint8_t *stream = stream_new(3, SMALL);
    for (size_t cut = 1; cut < 3 * SMALL; cut += 13) {
        client_send(&harness, fd, stream, cut);
        harness_settle(&harness);
        client_send(&harness, fd, stream + cut, 3 * SMALL - cut);
        expect_replies(&harness, fd, 1, 3);
    }
    free(stream);
    close(fd);
    harness_stop(&harness);
}

static void test_large_frames_may_be_cut_anywhere(void **unused) {
    (void)unused;
    static const uint32_t cuts[] = {1,    255,    256,       257,   8191,      8192,
                                    8193, 100000, LARGE - 1, LARGE, LARGE + 1, LARGE + 300};
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    uint8_t *stream = stream_new(2, LARGE);
    harness.echo.reply_size = 256;
    for (uint32_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        client_send(&harness, fd, stream, cuts[i]);
        harness_settle(&harness);
        client_send(&harness, fd, stream + cuts[i], 2 * (size_t)LARGE - cuts[i]);
        expect_replies(&harness, fd, 1, 2);
    }
    free(stream);
    close(fd);
    harness_stop(&harness);
}

/* A body of odd size is somebody's mistake, for the sequencer to tell; the next frame must still stand aligned. */
static void test_odd_sizes_leave_the_next_frame_aligned(void **unused) {
    (void)unused;
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    struct tael_frame *frame = frame_new();
    harness.echo.reply_size = 256;
    for (uint32_t size = 257; size < 300; size++) {
        frame_request(frame, size, 9, size);
        client_send(&harness, fd, frame, size);
    }
    expect_replies(&harness, fd, 257, 299);
    free(frame);
    close(fd);
    harness_stop(&harness);
}

static void test_several_clients_share_a_connection(void **unused) {
    (void)unused;
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    for (uint32_t client = 1; client < 20; client++) {
        assert_true(client_round_trip(&harness, fd, SMALL, client, client * 3));
    }
    close(fd);
    harness_stop(&harness);
}

static void test_a_ping_gets_its_pong(void **unused) {
    (void)unused;
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    struct tael_frame ping;
    frame_ping(&ping, 5, 123456789);
    client_send(&harness, fd, &ping, sizeof ping);
    struct tael_frame pong;
    assert_true(client_receive_frame(&harness, fd, &pong));
    assert_int_equal(pong.command, TAEL_COMMAND_PONG_CLIENT);
    assert_int_equal(pong.release, HARNESS_RELEASE);
    assert_int_equal(pong.pong_client.timestamp_monotonic, 123456789);
    assert_int_equal(harness.echo.taken, 0);
    close(fd);
    harness_stop(&harness);
}

static void test_two_thousand_connections_each_get_their_answer(void **unused) {
    (void)unused;
    enum { CONNECTIONS = 2000 };
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_max < 2 * CONNECTIONS + 64) {
        print_message("skipped: the limit of open files is below %d\n", 2 * CONNECTIONS + 64);
        skip();
    }
    struct harness harness;
    struct harness_options options = harness_options_default();
    options.tcp.connections_max = CONNECTIONS;
    harness_start(&harness, &options);
    int *fds = calloc(CONNECTIONS, sizeof *fds);
    struct tael_frame *frame = frame_new();
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        fds[i] = client_connect(&harness);
        if (i % 64 == 0) harness_turn(&harness, 0);
    }
    harness_settle(&harness);
    assert_int_equal(tael_tcp_connections(harness.tcp), CONNECTIONS);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            frame_request(frame, SMALL, i + 1, i + 1);
            client_send(&harness, fds[i], frame, SMALL);
        }
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            assert_true(client_receive_frame(&harness, fds[i], frame));
            assert_int_equal(frame->reply.client, i + 1);
        }
    }
    for (uint32_t i = 0; i < CONNECTIONS; i++) close(fds[i]);
    harness_settle(&harness);
    assert_int_equal(tael_tcp_connections(harness.tcp), 0);
    assert_int_equal(harness_counters(&harness)->closed[TAEL_TCP_CLOSE_by_peer], CONNECTIONS);
    free(frame);
    free(fds);
    harness_stop(&harness);
}

static void test_a_full_queue_stops_reading_and_loses_nothing(void **unused) {
    (void)unused;
    enum { COUNT = 200 };
    struct harness harness;
    struct harness_options options = harness_options_default();
    options.requests_capacity = 4;
    options.tcp.messages_max = 8;
    harness_start(&harness, &options);
    harness.echo.stopped = true;
    uint8_t *stream = stream_new(COUNT, SMALL);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(&harness);
        client_send(&harness, fds[i], stream, (size_t)COUNT * SMALL);
    }
    harness_settle(&harness);
    assert_int_equal(harness_counters(&harness)->requests, 4);
    assert_int_equal(harness_counters(&harness)->waits_requests, 3);
    /* Its own doing, so no deadline runs. */
    harness_pass(&harness, 60 * TAEL_NS_PER_S);
    harness.echo.stopped = false;
    for (int i = 0; i < 3; i++) expect_replies(&harness, fds[i], 1, COUNT);
    for (int i = 0; i < 3; i++) close(fds[i]);
    free(stream);
    harness_stop(&harness);
}

/* The same with each message kept for a while: requests stay where they are, new frames go elsewhere. */
static void test_requests_in_hand_stay_untouched_while_more_arrive(void **unused) {
    (void)unused;
    enum { COUNT = 300, SIZE = 1296 };
    struct harness harness;
    struct harness_options options = harness_options_default();
    options.tcp.small_buffers = 8;
    options.tcp.messages_max = 32;
    harness_start(&harness, &options);
    harness.echo.keeps_messages = true;
    uint8_t *stream = stream_new(COUNT, SIZE);
    const int fd = client_connect(&harness);
    for (uint32_t sent = 0; sent < COUNT; sent += 10)
        client_send(&harness, fd, stream + (size_t)sent * SIZE, 10 * SIZE);
    for (uint32_t turns = 0; harness.echo.taken < COUNT && turns < 10000; turns++) {
        harness_turn(&harness, 0);
        if (harness.echo.kept_count > turns % 7) harness_release(&harness, 1);
    }
    assert_int_equal(harness.echo.taken, COUNT);
    assert_true(harness_counters(&harness)->waits_small > 0);
    free(stream);
    close(fd);
    harness_stop(&harness);
}

/* A connection whose own requests hold its buffer goes on as soon as they come back, though others wait before it. */
static void test_connections_share_too_few_small_buffers(void **unused) {
    (void)unused;
    enum { CONNECTIONS = 40, SIZE = 4112 };
    struct harness harness;
    struct harness_options options = harness_options_default();
    options.tcp.small_buffers = 4;
    harness_start(&harness, &options);
    uint8_t *stream = stream_new(3, SIZE);
    int fds[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) fds[i] = client_connect(&harness);
    for (int i = 0; i < CONNECTIONS; i++) client_send(&harness, fds[i], stream, (size_t)3 * SIZE);
    for (int i = 0; i < CONNECTIONS; i++) expect_replies(&harness, fds[i], 1, 3);
    for (int i = 0; i < CONNECTIONS; i++) close(fds[i]);
    free(stream);
    harness_stop(&harness);
}

static void test_a_repeated_request_is_skipped_while_the_first_is_in_hand(void **unused) {
    (void)unused;
    static const uint32_t sizes[] = {SMALL, 8000, LARGE};
    struct harness harness;
    struct harness_options options = harness_options_default();
    options.tcp.large_buffers = 1;
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    struct tael_frame *frame = frame_new();
    for (uint32_t i = 0; i < 3; i++) {
        harness.echo.keeps_messages = true;
        frame_request(frame, sizes[i], 9, i + 1);
        client_send(&harness, fd, frame, sizes[i]);
        client_send(&harness, fd, frame, sizes[i]);
        client_send(&harness, fd, frame, sizes[i]);
        harness_settle(&harness);
        assert_int_equal(harness_counters(&harness)->requests_repeated, (i + 1) * 2);
        assert_int_equal(harness.echo.kept_count, 1);
        harness_release(&harness, 1);
        harness.echo.keeps_messages = false;
        /* Nothing answered the first, so once it is released it counts as new. */
        assert_true(client_round_trip(&harness, fd, sizes[i], 9, i + 1));
    }
    free(frame);
    close(fd);
    harness_stop(&harness);
}

static void test_replies_to_gone_connections_come_back(void **unused) {
    (void)unused;
    struct harness harness;
    struct harness_options options = harness_options_default();
    options.tcp.connections_max = 1;
    harness_start(&harness, &options);
    const int first = client_connect(&harness);
    assert_true(client_round_trip(&harness, first, SMALL, 1, 1));
    const tael_connection stale = harness.echo.last_connection;
    close(first);
    harness_settle(&harness);
    /* The second stands in the first one's place. */
    const int second = client_connect(&harness);
    assert_true(client_round_trip(&harness, second, SMALL, 2, 1));
    assert_true(harness.echo.last_connection != stale);
    harness_reply_to(&harness, stale);
    harness_reply_to(&harness, TAEL_CONNECTION_NONE);
    harness_reply_to(&harness, UINT64_MAX);
    harness_settle(&harness);
    assert_int_equal(harness_counters(&harness)->replies_stale, 3);
    assert_true(client_round_trip(&harness, second, SMALL, 2, 2));
    close(second);
    harness_stop(&harness);
}

static void test_drain_answers_what_was_handed_on_and_reads_no_more(void **unused) {
    (void)unused;
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    const int fd = client_connect(&harness);
    struct tael_frame *frame = frame_new();
    harness.echo.stopped = true;
    frame_request(frame, SMALL, 1, 1);
    client_send(&harness, fd, frame, SMALL);
    harness_settle(&harness);
    const uint16_t port = tael_tcp_port(harness.tcp);
    tael_tcp_drain(harness.tcp);
    assert_false(tael_tcp_drained(harness.tcp));
    frame_request(frame, SMALL, 1, 2);
    client_send(&harness, fd, frame, SMALL);
    harness.echo.stopped = false;
    expect_replies(&harness, fd, 1, 1);
    harness_settle(&harness);
    assert_true(tael_tcp_drained(harness.tcp));
    assert_int_equal(harness.echo.taken, 1);
    assert_int_equal(tael_tcp_connections(harness.tcp), 1);
    /* Nobody listens there any more. */
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
    assert_int_equal(tael_tcp_listen(harness.tcp, address), 0);
    free(frame);
    close(fd);
    harness_stop(&harness);
}

static void test_nothing_is_allocated_after_the_start(void **unused) {
    (void)unused;
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    allocation_is_forbidden = true;
    for (uint32_t round = 1; round <= 3; round++) {
        const int fd = client_connect(&harness);
        assert_true(client_round_trip(&harness, fd, SMALL, 5, round));
        assert_true(client_round_trip(&harness, fd, LARGE, 5, round + 10));
        close(fd);
        harness_pass(&harness, TAEL_NS_PER_S);
    }
    allocation_is_forbidden = false;
    assert_int_equal(allocations_seen, 0);
    harness_stop(&harness);
}

/* Out of file descriptors, accepting pauses instead of spinning, and then goes on. */
static void test_accepting_goes_on_once_there_are_descriptors_again(void **unused) {
    (void)unused;
    struct harness harness;
    struct harness_options options = harness_options_default();
    options.stands_still = true; /* the kernel looks at the limit when it is asked to accept */
    harness_start(&harness, &options);
    const int next = dup(STDIN_FILENO);
    close(next);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    /* One more, which the client's end takes. */
    const struct rlimit one = {.rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &one), 0);
    const int fd = client_connect(&harness);
    harness_settle(&harness);
    const uint64_t errors = harness_counters(&harness)->accept_errors;
    assert_true(errors > 0);
    assert_true(tael_tcp_deadline_ns(harness.tcp) < UINT64_MAX);
    harness_settle(&harness);
    assert_int_equal(harness_counters(&harness)->accept_errors, errors);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    harness_pass(&harness, TAEL_NS_PER_S);
    assert_true(client_round_trip(&harness, fd, SMALL, 5, 1));
    close(fd);
    harness_stop(&harness);
}

static void test_listen_takes_both_families_and_says_what_is_wrong(void **unused) {
    (void)unused;
    struct harness harness;
    const struct harness_options options = harness_options_default();
    harness_start(&harness, &options);
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", (unsigned)tael_tcp_port(harness.tcp));
    struct harness other;
    harness_start(&other, &options);
    tael_tcp_drain(other.tcp);
    harness_settle(&other);
    assert_int_equal(tael_tcp_listen(other.tcp, "localhost:1"), -EINVAL);
    assert_int_equal(tael_tcp_listen(other.tcp, taken), -EADDRINUSE);
    const int error = tael_tcp_listen(other.tcp, "[::1]:0");
    if (error != -EADDRNOTAVAIL && error != -EAFNOSUPPORT) assert_int_equal(error, 0);
    harness_stop(&other);
    harness_stop(&harness);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_of_all_sizes_are_echoed),
        cmocka_unit_test(test_frames_in_one_write_are_answered_in_order),
        cmocka_unit_test(test_a_frame_may_come_byte_by_byte),
        cmocka_unit_test(test_frames_may_be_cut_anywhere),
        cmocka_unit_test(test_large_frames_may_be_cut_anywhere),
        cmocka_unit_test(test_odd_sizes_leave_the_next_frame_aligned),
        cmocka_unit_test(test_several_clients_share_a_connection),
        cmocka_unit_test(test_a_ping_gets_its_pong),
        cmocka_unit_test(test_two_thousand_connections_each_get_their_answer),
        cmocka_unit_test(test_a_full_queue_stops_reading_and_loses_nothing),
        cmocka_unit_test(test_requests_in_hand_stay_untouched_while_more_arrive),
        cmocka_unit_test(test_connections_share_too_few_small_buffers),
        cmocka_unit_test(test_a_repeated_request_is_skipped_while_the_first_is_in_hand),
        cmocka_unit_test(test_replies_to_gone_connections_come_back),
        cmocka_unit_test(test_drain_answers_what_was_handed_on_and_reads_no_more),
        cmocka_unit_test(test_nothing_is_allocated_after_the_start),
        cmocka_unit_test(test_accepting_goes_on_once_there_are_descriptors_again),
        cmocka_unit_test(test_listen_takes_both_families_and_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
