/* A frame is let in only when all of it is as the protocol says, and has one verdict whatever else is wrong with it.
 * Method: rows that spoil one thing in a sound frame, sealed anew, so that only that thing is wrong. */
#include "io/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/aegis.h"

#define CLUSTER 7

enum { BODY_SIZE = 512 };

struct whole {
    struct tael_frame frame;
    uint8_t body[BODY_SIZE];
};

static struct whole sound_request(void) {
    struct whole whole;
    memset(&whole, 0, sizeof whole);
    whole.frame.cluster = CLUSTER;
    whole.frame.size = sizeof whole;
    whole.frame.release = 0x1109;
    whole.frame.view = 3;
    whole.frame.command = TAEL_COMMAND_REQUEST;
    whole.frame.request.parent = 11;
    whole.frame.request.client = 12;
    whole.frame.request.session = 13;
    whole.frame.request.request = 14;
    whole.frame.request.operation = 147;
    whole.frame.request.previous_latency_us = 15;
    memset(whole.body, 0x5a, sizeof whole.body);
    return whole;
}

static struct whole sound_ping(void) {
    struct whole whole;
    memset(&whole, 0, sizeof whole);
    whole.frame.cluster = CLUSTER;
    whole.frame.size = TAEL_FRAME_HEADER_SIZE;
    whole.frame.command = TAEL_COMMAND_PING_CLIENT;
    whole.frame.ping_client.client = 12;
    whole.frame.ping_client.timestamp_monotonic = 99;
    whole.frame.ping_client.session = 13;
    return whole;
}

static enum tael_frame_verdict verdict_of(const struct whole *whole) {
    const enum tael_frame_verdict verdict = tael_frame_check_incoming(&whole->frame, CLUSTER);
    return verdict == TAEL_FRAME_ok ? tael_frame_check_body(&whole->frame) : verdict;
}

static void test_sound_frames_are_let_in(void **unused) {
    (void)unused;
    struct whole request = sound_request();
    tael_frame_seal(&request.frame);
    assert_int_equal(verdict_of(&request), TAEL_FRAME_ok);
    struct whole ping = sound_ping();
    tael_frame_seal(&ping.frame);
    assert_int_equal(verdict_of(&ping), TAEL_FRAME_ok);
    struct whole old_register = sound_request();
    old_register.frame.size = TAEL_FRAME_HEADER_SIZE;
    old_register.frame.request.operation = 2;
    tael_frame_seal(&old_register.frame);
    assert_int_equal(verdict_of(&old_register), TAEL_FRAME_ok);
}

static void test_any_release_view_and_replica_are_let_in(void **unused) {
    (void)unused;
    struct whole request = sound_request();
    request.frame.release = UINT32_MAX;
    request.frame.view = UINT32_MAX;
    request.frame.replica = 255;
    tael_frame_seal(&request.frame);
    assert_int_equal(verdict_of(&request), TAEL_FRAME_ok);
}

static void test_one_wrong_byte_has_its_verdict(void **unused) {
    (void)unused;
    static const struct {
        const char *what;
        size_t offset;
        uint8_t value;
        enum tael_frame_verdict expected;
    } rows[] = {
        {"checksum padding", 16, 1, TAEL_FRAME_reserved},
        {"body checksum padding", 63, 1, TAEL_FRAME_reserved},
        {"nonce", 64, 1, TAEL_FRAME_reserved},
        {"cluster", 80, CLUSTER + 1, TAEL_FRAME_cluster},
        {"cluster, high half", 95, 1, TAEL_FRAME_cluster},
        {"epoch", 100, 1, TAEL_FRAME_protocol},
        {"protocol", 113, 1, TAEL_FRAME_protocol},
        {"command 0", 114, 0, TAEL_FRAME_command},
        {"command pong", 114, TAEL_COMMAND_PONG_CLIENT, TAEL_FRAME_command},
        {"command reply", 114, TAEL_COMMAND_REPLY, TAEL_FRAME_command},
        {"command eviction", 114, TAEL_COMMAND_EVICTION, TAEL_FRAME_command},
        {"command busy", 114, TAEL_COMMAND_BUSY, TAEL_FRAME_command},
        {"common reserved, first", 116, 1, TAEL_FRAME_reserved},
        {"common reserved, last", 127, 1, TAEL_FRAME_reserved},
        {"parent padding", 144, 1, TAEL_FRAME_reserved},
        {"client 0", 160, 0, TAEL_FRAME_client},
        {"timestamp", 184, 1, TAEL_FRAME_reserved},
        {"request reserved a", 197, 1, TAEL_FRAME_reserved},
        {"request reserved b, first", 204, 1, TAEL_FRAME_reserved},
        {"request reserved b, last", 255, 1, TAEL_FRAME_reserved},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct whole request = sound_request();
        ((uint8_t *)&request)[rows[i].offset] = rows[i].value;
        /* Seal asks for a sane size only, and sets no byte but the two checksums. */
        tael_frame_seal(&request.frame);
        if (verdict_of(&request) != rows[i].expected) {
            fail_msg("%s: %s, not %s", rows[i].what, tael_frame_verdict_text(verdict_of(&request)),
                     tael_frame_verdict_text(rows[i].expected));
        }
    }
}

static void seal_header_only(struct tael_frame *frame) {
    frame->checksum = tael_checksum((const uint8_t *)frame + 16, TAEL_FRAME_HEADER_SIZE - 16);
}

static void test_sizes_out_of_bounds_are_refused_from_the_header(void **unused) {
    (void)unused;
    static const uint32_t sizes[] = {0, 1, 255, TAEL_MESSAGE_SIZE_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct whole request = sound_request();
        request.frame.size = sizes[i];
        seal_header_only(&request.frame);
        assert_int_equal(tael_frame_check_incoming(&request.frame, CLUSTER), TAEL_FRAME_size);
    }
    struct whole largest = sound_request();
    largest.frame.size = TAEL_MESSAGE_SIZE_MAX;
    seal_header_only(&largest.frame);
    assert_int_equal(tael_frame_check_incoming(&largest.frame, CLUSTER), TAEL_FRAME_ok);
}

static void test_a_ping_is_a_bare_header(void **unused) {
    (void)unused;
    struct whole ping = sound_ping();
    ping.frame.size += 16;
    tael_frame_seal(&ping.frame);
    assert_int_equal(verdict_of(&ping), TAEL_FRAME_size);
    ping = sound_ping();
    ping.frame.ping_client.reserved[95] = 1;
    tael_frame_seal(&ping.frame);
    assert_int_equal(verdict_of(&ping), TAEL_FRAME_reserved);
    ping = sound_ping();
    ping.frame.ping_client.client = 0;
    tael_frame_seal(&ping.frame);
    assert_int_equal(verdict_of(&ping), TAEL_FRAME_client);
}

static void test_every_flipped_bit_is_found_by_a_checksum(void **unused) {
    (void)unused;
    struct whole request = sound_request();
    tael_frame_seal(&request.frame);
    for (size_t bit = 0; bit < sizeof request * 8; bit++) {
        uint8_t *byte = (uint8_t *)&request + bit / 8;
        const uint8_t mask = (uint8_t)(1u << (bit % 8));
        *byte ^= mask;
        assert_int_equal(verdict_of(&request),
                         bit / 8 < TAEL_FRAME_HEADER_SIZE ? TAEL_FRAME_header_checksum : TAEL_FRAME_body_checksum);
        *byte ^= mask;
    }
    assert_int_equal(verdict_of(&request), TAEL_FRAME_ok);
}

static void test_the_empty_body_has_the_known_checksum(void **unused) {
    (void)unused;
    struct whole ping = sound_ping();
    tael_frame_seal(&ping.frame);
    static const uint8_t known[16] = {0x83, 0xcc, 0x60, 0x0d, 0xc4, 0xe3, 0xe7, 0xe6,
                                      0x2d, 0x40, 0x55, 0x82, 0x61, 0x74, 0xf1, 0x49};
    assert_memory_equal(&ping.frame.checksum_body, known, sizeof known);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_frames_are_let_in),
        cmocka_unit_test(test_any_release_view_and_replica_are_let_in),
        cmocka_unit_test(test_one_wrong_byte_has_its_verdict),
        cmocka_unit_test(test_sizes_out_of_bounds_are_refused_from_the_header),
        cmocka_unit_test(test_a_ping_is_a_bare_header),
        cmocka_unit_test(test_every_flipped_bit_is_found_by_a_checksum),
        cmocka_unit_test(test_the_empty_body_has_the_known_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
