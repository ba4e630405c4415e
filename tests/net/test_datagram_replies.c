/* Replies reach the client part by part within its window, are kept as long as it reads, and no longer.
 * Method: a client that says what it has, in stories; its peer's window is 16 parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/datagram_replies.h"
#include "io/part_set.h"
#include "tests/net/datagram_rig.h"

enum { PART = 1408, WINDOW = 16, TOKEN = 77 };

static struct rig rig;
static struct tael_endpoint from;

static void start_with(const struct tael_datagram_server_options *options, uint16_t datagram_max, uint16_t window) {
    rig_start(&rig, options);
    from = rig_endpoint(1);
    rig_open(&rig, &from, datagram_max, window);
}

static int start(void **unused) {
    (void)unused;
    const struct tael_datagram_server_options options = rig_options();
    start_with(&options, TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
    return 0;
}

static int stop(void **unused) {
    (void)unused;
    rig_stop(&rig);
    return 0;
}

static struct tael_datagram request_of(uint8_t slot, uint32_t number) {
    return (struct tael_datagram){.token = TOKEN,
                                  .ledger = RIG_LEDGER,
                                  .client = 5,
                                  .request = number,
                                  .body_size = 128,
                                  .slot = slot,
                                  .flags = TAEL_DATAGRAM_ONE_BATCH,
                                  .kind = TAEL_DATAGRAM_REQUEST,
                                  .operation = TAEL_OPERATION_create_transfers,
                                  .part_units = 1};
}

/* A request, and its reply, in one turn. */
static struct tael_datagram answered(const struct tael_endpoint *peer, uint8_t slot, uint32_t number,
                                     uint32_t body_size, uint64_t op) {
    static const uint8_t body[128];
    const struct tael_datagram header = request_of(slot, number);
    (void)rig_send(&rig, peer, &header, body, sizeof body);
    struct tael_message *message = rig_message(&rig);
    assert_non_null(message);
    assert_true(rig_reply(&rig, message, body_size, op));
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
    return header;
}

/* The parts that were sent since the last look, each as it has to be; none twice. */
static struct tael_part_set parts_sent(uint64_t op, uint32_t body_size, uint32_t units) {
    struct tael_part_set set;
    tael_part_set_clear(&set);
    struct rig_sent *sent;
    while ((sent = rig_take(&rig)) != NULL) {
        const struct tael_datagram *header = &sent->view.header;
        assert_int_equal(header->kind, TAEL_DATAGRAM_REPLY);
        assert_int_equal(header->token, TOKEN);
        assert_int_equal(header->op, op);
        assert_int_equal(header->timestamp, op * 10);
        assert_int_equal(header->body_size, body_size);
        assert_int_equal(header->part_units, units);
        assert_int_equal(header->operation, TAEL_OPERATION_create_transfers);
        assert_false(tael_part_set_has(&set, header->part));
        tael_part_set_add(&set, header->part);
        const uint32_t begin = header->part * units * TAEL_PART_UNIT;
        for (uint32_t i = 0; i < sent->view.part_size; i++) {
            if (sent->view.part[i] != rig_byte(op, begin + i)) fail_msg("byte %u", begin + i);
        }
        rig_done(sent);
    }
    return set;
}

static struct tael_part_set range(uint32_t begin, uint32_t end) {
    struct tael_part_set set;
    struct tael_part_set below;
    tael_part_set_fill(&set, end);
    tael_part_set_fill(&below, begin);
    tael_part_set_subtract(&set, &below);
    return set;
}

static void expect_sent(uint64_t op, uint32_t body_size, struct tael_part_set expected) {
    const struct tael_part_set set = parts_sent(op, body_size, 11);
    assert_memory_equal(&set, &expected, sizeof set);
}

static struct tael_part_set with(struct tael_part_set set, struct tael_part_set other) {
    tael_part_set_unite(&set, &other);
    return set;
}

static struct tael_part_set without(struct tael_part_set set, uint32_t begin, uint32_t end) {
    const struct tael_part_set other = range(begin, end);
    tael_part_set_subtract(&set, &other);
    return set;
}

static void have_window(const struct tael_datagram *about, uint16_t parts, struct tael_part_set set, uint16_t window) {
    uint8_t bits[TAEL_PARTS_MAX / 8];
    memcpy(bits, &set, sizeof bits);
    rig_have(&rig, &from, about, window, parts, bits);
    (void)rig_turn(&rig, 0);
}

static void have(const struct tael_datagram *about, uint16_t parts, struct tael_part_set set) {
    have_window(about, parts, set, WINDOW);
}

/* --- one part --- */

static void test_a_reply_of_one_part_goes_and_its_buffer_comes_back(void **unused) {
    (void)unused;
    static const uint32_t sizes[] = {0, 1, 16, PART};
    for (uint32_t i = 0; i < 4; i++) {
        (void)answered(&from, 0, i, sizes[i], 100 + i);
        expect_sent(100 + i, sizes[i], range(0, 1));
        assert_int_equal(rig_replies_out(&rig), 0);
    }
}

static void test_what_the_carrier_cannot_take_is_lost_and_counted(void **unused) {
    (void)unused;
    rig.has_no_transmit_buffer = true;
    (void)answered(&from, 0, 1, 16, 1);
    assert_int_equal(rig.sent_count, 0);
    assert_int_equal(rig_replies_out(&rig), 0);
    assert_int_equal(rig_counters(&rig)->unsent, 1);
    /* Parts of a longer one are not lost. */
    (void)answered(&from, 0, 2, 3 * PART, 2);
    assert_true(tael_datagram_server_deadline_ns(rig.server) <= rig.now_ns);
    rig.has_no_transmit_buffer = false;
    (void)rig_turn(&rig, RIG_MS);
    expect_sent(2, 3 * PART, range(0, 3));
}

static void test_a_scratch_ledger_says_so_in_every_datagram(void **state) {
    (void)stop(state);
    struct tael_datagram_server_options options = rig_options();
    options.is_scratch = true;
    start_with(&options, TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
    (void)answered(&from, 0, 1, 16, 1);
    (void)answered(&from, 1, 1, 2 * PART, 1);
    static const uint8_t none[16];
    rig_hello(&rig, &from, none, TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
    assert_int_equal(rig.sent_count, 4);
    struct rig_sent *sent;
    while ((sent = rig_take(&rig)) != NULL) {
        assert_int_equal(sent->view.header.flags, TAEL_DATAGRAM_SCRATCH);
        rig_done(sent);
    }
}

static void test_notices_of_the_sequencer(void **unused) {
    (void)unused;
    static const struct {
        uint16_t code;
        uint16_t wait_ms;
    } rows[] = {
        {TAEL_NOTICE_NO_SESSION, 0}, {TAEL_NOTICE_BODY, 0},    {TAEL_NOTICE_BUSY_ACCOUNTS, 50},
        {TAEL_NOTICE_BUSY_DISK, 60}, {TAEL_NOTICE_TOO_OLD, 0}, {TAEL_NOTICE_UNSEEN, 0},
    };
    static const uint8_t body[128];
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct tael_datagram header = request_of(2, i);
        (void)rig_send(&rig, &from, &header, body, sizeof body);
        struct tael_message *message = rig_message(&rig);
        assert_true(rig_notice(&rig, message, rows[i].code, rows[i].wait_ms));
        rig_release(&rig, message);
        (void)rig_turn(&rig, 0);
        struct rig_sent *sent = rig_take(&rig);
        struct tael_datagram_notice notice;
        memcpy(&notice, sent->view.part, sizeof notice);
        assert_int_equal(sent->view.header.kind, TAEL_DATAGRAM_NOTICE);
        assert_int_equal(sent->view.header.request, i);
        assert_int_equal(sent->view.header.operation, TAEL_OPERATION_create_transfers);
        assert_int_equal(sent->view.header.slot, 2);
        assert_int_equal(sent->view.header.token, TOKEN);
        assert_int_equal(notice.code, rows[i].code);
        assert_int_equal(notice.wait_ms, rows[i].wait_ms);
        rig_done(sent);
        assert_int_equal(rig_replies_out(&rig), 0);
    }
}

/* --- several parts --- */

static void test_no_more_than_the_window_is_on_the_way(void **unused) {
    (void)unused;
    const uint32_t size = 40 * PART;
    const struct tael_datagram about = answered(&from, 0, 1, size, 9);
    expect_sent(9, size, range(0, 16));
    have(&about, 40, range(0, 4));
    expect_sent(9, size, range(16, 20));
    have(&about, 40, range(0, 20));
    expect_sent(9, size, range(20, 36));
    have_window(&about, 40, range(0, 22), 2);
    expect_sent(9, size, range(0, 0));
    have(&about, 40, range(0, 36));
    expect_sent(9, size, range(36, 40));
    assert_int_equal(rig_replies_out(&rig), 1);
    have(&about, 40, range(0, 40));
    assert_int_equal(rig_replies_out(&rig), 0);
    assert_int_equal(rig_counters(&rig)->replies_done, 1);
    assert_int_equal(rig_counters(&rig)->reply_parts, 40);
    assert_int_equal(rig_counters(&rig)->reply_parts_again, 0);
}

static void test_what_others_have_overtaken_is_sent_again_once(void **unused) {
    (void)unused;
    const uint32_t size = 100 * PART;
    const struct tael_datagram about = answered(&from, 0, 1, size, 9);
    expect_sent(9, size, range(0, 16));
    /* Parts 2 and 3 are missing: that may be reordering, until eight more have come. */
    have(&about, 100, without(range(0, 8), 2, 4));
    expect_sent(9, size, range(16, 22));
    have(&about, 100, without(range(0, 12), 2, 4));
    expect_sent(9, size, with(range(2, 4), range(22, 26)));
    have(&about, 100, without(range(0, 16), 2, 4));
    expect_sent(9, size, range(26, 30));
    /* When what was sent after that has come, they are lost again. */
    have(&about, 100, without(range(0, 27), 2, 4));
    expect_sent(9, size, with(range(2, 4), range(30, 41)));
    have(&about, 100, range(0, 28));
    expect_sent(9, size, range(41, 44));
}

static void test_who_says_nothing_new_has_waited_in_vain(void **unused) {
    (void)unused;
    const uint32_t size = 20 * PART;
    const struct tael_datagram about = answered(&from, 0, 1, size, 9);
    expect_sent(9, size, range(0, 16));
    have(&about, 20, range(0, 0)); /* too soon */
    expect_sent(9, size, range(0, 0));
    rig.now_ns += TAEL_REPLY_QUIET_NS;
    have(&about, 20, range(0, 0));
    expect_sent(9, size, range(0, 16));
    have(&about, 20, range(10, 16)); /* the others may still come: nothing that was sent after them is there */
    expect_sent(9, size, range(16, 20));
    rig.now_ns += TAEL_REPLY_QUIET_NS;
    have(&about, 20, range(10, 16));
    expect_sent(9, size, with(range(0, 10), range(16, 20)));
    /* The last ones, by themselves; no more than the window. */
    rig.now_ns += TAEL_REPLY_QUIET_NS;
    have_window(&about, 20, range(10, 16), 3);
    expect_sent(9, size, range(0, 3));
    rig.now_ns += TAEL_REPLY_QUIET_NS;
    have(&about, 20, range(0, 19));
    expect_sent(9, size, range(0, 0));
    rig.now_ns += TAEL_REPLY_QUIET_NS;
    have(&about, 20, range(0, 19));
    expect_sent(9, size, range(19, 20));
}

static void test_a_poll_is_answered_with_what_is_missing(void **unused) {
    (void)unused;
    const struct tael_datagram about = answered(&from, 0, 1, 3 * PART, 9);
    expect_sent(9, 3 * PART, range(0, 3));
    have(&about, 3, range(1, 2));
    rig.now_ns += TAEL_REPLY_QUIET_NS;
    rig_poll_request(&rig, &from, &about);
    (void)rig_turn(&rig, 0);
    expect_sent(9, 3 * PART, with(range(0, 1), range(2, 3)));
    assert_null(rig_message(&rig)); /* the sequencer was not asked */
}

static void test_a_closed_window_waits(void **state) {
    (void)stop(state);
    const struct tael_datagram_server_options options = rig_options();
    start_with(&options, TAEL_DATAGRAM_SIZE_ETHERNET, 0);
    const struct tael_datagram about = answered(&from, 0, 1, 3 * PART, 9);
    assert_int_equal(rig.sent_count, 0);
    have_window(&about, 3, range(0, 0), 2);
    expect_sent(9, 3 * PART, range(0, 2));
}

static void test_nobody_has_what_was_not_sent(void **unused) {
    (void)unused;
    const uint32_t size = 40 * PART;
    const struct tael_datagram about = answered(&from, 0, 1, size, 9);
    expect_sent(9, size, range(0, 16));
    have(&about, 40, range(0, 1024));
    expect_sent(9, size, range(16, 32));
    assert_int_equal(rig_replies_out(&rig), 1);
    have(&about, 41, range(0, 32)); /* of another number of parts: said of another reply */
    expect_sent(9, size, range(0, 0));
}

static void test_parts_are_as_large_as_both_take(void **unused) {
    static const struct {
        uint16_t servers;
        uint16_t clients;
        uint32_t units;
    } rows[] = {{1472, 1472, 11}, {1472, 65535, 11}, {8972, 1472, 11}, {8972, 2000, 15}, {8972, 8972, 69}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)stop(unused);
        struct tael_datagram_server_options options = rig_options();
        options.datagram_max = rows[i].servers;
        start_with(&options, rows[i].clients, 1000);
        (void)answered(&from, 0, 1, 100000, 9);
        const struct tael_part_set set = parts_sent(9, 100000, rows[i].units);
        const struct tael_part_set all = range(0, tael_datagram_parts(100000, rows[i].units));
        assert_memory_equal(&set, &all, sizeof set);
    }
}

static void test_a_turn_sends_so_many_parts_and_of_each_reply_some(void **state) {
    (void)stop(state);
    const struct tael_datagram_server_options options = rig_options();
    start_with(&options, TAEL_DATAGRAM_SIZE_ETHERNET, 1024);
    static const uint8_t body[128];
    for (uint8_t slot = 0; slot < 3; slot++) {
        const struct tael_datagram header = request_of(slot, 1);
        (void)rig_send(&rig, &from, &header, body, sizeof body);
        struct tael_message *message = rig_message(&rig);
        assert_true(rig_reply(&rig, message, 700 * PART, 9));
        rig_release(&rig, message);
    }
    (void)rig_turn(&rig, 0);
    uint32_t parts[3] = {0};
    struct rig_sent *sent;
    while ((sent = rig_take(&rig)) != NULL) {
        parts[sent->view.header.slot]++;
        rig_done(sent);
    }
    assert_int_equal(parts[0] + parts[1] + parts[2], 256);
    for (uint32_t slot = 0; slot < 3; slot++) assert_in_range(parts[slot], 80, 96);
}

/* --- the end of it --- */

static void test_a_reply_is_given_up_after_a_second_without_progress(void **unused) {
    (void)unused;
    const uint32_t size = 40 * PART;
    const struct tael_datagram about = answered(&from, 0, 1, size, 9);
    expect_sent(9, size, range(0, 16));
    (void)rig_turn(&rig, 900 * RIG_MS);
    have(&about, 40, range(0, 1));
    (void)rig_turn(&rig, 900 * RIG_MS);
    have(&about, 40, range(0, 1)); /* says nothing new */
    assert_int_equal(rig_replies_out(&rig), 1);
    assert_true(tael_datagram_server_deadline_ns(rig.server) == rig.now_ns + 100 * RIG_MS);
    (void)rig_turn(&rig, 100 * RIG_MS);
    assert_int_equal(rig_replies_out(&rig), 0);
    assert_int_equal(rig_counters(&rig)->replies_expired, 1);
    (void)rig_discard(&rig);
    /* The client goes on: the sequencer is asked, and the reply goes on where the client stands. */
    have(&about, 40, without(range(0, 12), 3, 5));
    struct tael_message *message = rig_message(&rig);
    assert_int_equal(message->kind, TAEL_MESSAGE_POLL);
    assert_int_equal(message->request, 1);
    message->operation = TAEL_OPERATION_create_transfers;
    assert_true(rig_reply(&rig, message, size, 9));
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
    expect_sent(9, size, with(range(3, 5), range(12, 26)));
    have(&about, 40, range(0, 26));
    expect_sent(9, size, range(26, 40));
    have(&about, 40, range(0, 40));
    assert_int_equal(rig_replies_out(&rig), 0);
    have(&about, 40, range(0, 40)); /* once more: nobody is asked */
    assert_null(rig_message(&rig));
}

/* What the client has of a read's first run is worth nothing in the next. */
static void test_a_read_that_was_given_up_begins_anew(void **unused) {
    (void)unused;
    struct tael_datagram about = request_of(0, 1);
    about.operation = TAEL_OPERATION_lookup_accounts;
    have(&about, 40, range(0, 12));
    struct tael_message *message = rig_message(&rig);
    assert_int_equal(message->kind, TAEL_MESSAGE_POLL);
    assert_true(rig_reply(&rig, message, 40 * PART, 9));
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
    struct rig_sent *sent = rig_take(&rig);
    assert_int_equal(sent->view.header.part, 0);
    rig_done(sent);
    assert_int_equal(rig_discard(&rig), 15);
}

static void test_ten_seconds_are_the_end_of_it(void **unused) {
    (void)unused;
    const struct tael_datagram about = answered(&from, 0, 1, 40 * PART, 9);
    for (uint32_t i = 1; i <= 12; i++) {
        (void)rig_turn(&rig, 800 * RIG_MS);
        have(&about, 40, range(0, i));
    }
    assert_int_equal(rig_replies_out(&rig), 1);
    (void)rig_turn(&rig, 800 * RIG_MS);
    assert_int_equal(rig_replies_out(&rig), 0);
}

static void test_a_newer_request_in_the_slot_gives_it_up(void **unused) {
    (void)unused;
    (void)answered(&from, 0, 1, 3 * PART, 9);
    (void)answered(&from, 1, 1, 3 * PART, 10);
    assert_int_equal(rig_replies_out(&rig), 2);
    static const uint8_t body[128];
    struct tael_datagram header = request_of(0, 2);
    (void)rig_send(&rig, &from, &header, body, sizeof body);
    assert_int_equal(rig_replies_out(&rig), 1);
    header = request_of(1, 1); /* the same again */
    (void)rig_send(&rig, &from, &header, body, sizeof body);
    assert_int_equal(rig_replies_out(&rig), 1);
    assert_int_equal(rig_release_all(&rig), 2);
}

static void test_the_same_reply_again_is_sent_on_from_the_first_buffer(void **unused) {
    (void)unused;
    const struct tael_datagram about = answered(&from, 0, 1, 3 * PART, 9);
    expect_sent(9, 3 * PART, range(0, 3));
    have(&about, 3, range(0, 1));
    rig.now_ns += TAEL_REPLY_QUIET_NS;
    (void)answered(&from, 0, 1, 3 * PART, 9);
    expect_sent(9, 3 * PART, range(1, 3));
    assert_int_equal(rig_replies_out(&rig), 1);
}

static void test_a_read_run_again_takes_the_place_of_the_first(void **unused) {
    (void)unused;
    const struct tael_datagram about = answered(&from, 0, 1, 3 * PART, 9);
    expect_sent(9, 3 * PART, range(0, 3));
    have(&about, 3, range(0, 2));
    (void)answered(&from, 0, 1, 3 * PART, 10);
    expect_sent(10, 3 * PART, range(0, 3));
    assert_int_equal(rig_replies_out(&rig), 1);
    /* What is said last counts, also when it is less. */
    have(&about, 3, range(0, 2));
    have(&about, 3, range(2, 3));
    rig.now_ns += TAEL_REPLY_QUIET_NS;
    have(&about, 3, range(2, 3));
    expect_sent(10, 3 * PART, range(0, 2));
}

/* --- short of buffers --- */

/* Whether the reply to a slot's first request is still kept: else the sequencer is asked. */
static bool is_kept(const struct tael_endpoint *peer, uint8_t slot) {
    const struct tael_datagram about = request_of(slot, 1);
    rig_poll_request(&rig, peer, &about);
    return rig_release_all(&rig) == 0;
}

static void test_a_peer_with_its_share_gives_up_its_own(void **unused) {
    (void)unused;
    const uint32_t share = rig.options.replies_held_max[RIG_POOL_LARGE] / 4;
    const struct tael_endpoint other = rig_endpoint(2);
    rig_open(&rig, &other, TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
    (void)answered(&other, 0, 1, 10 * PART, 1);
    for (uint8_t slot = 0; slot < 10; slot++) (void)answered(&from, slot, 1, 10 * PART, 2);
    assert_int_equal(rig_replies_out(&rig), 1 + share);
    assert_int_equal(rig_counters(&rig)->replies_crowded, 10 - share);
    /* Those of the other pool are counted by themselves. */
    (void)answered(&from, 20, 1, 2 * PART, 2);
    assert_int_equal(rig_replies_out(&rig), 2 + share);
    /* The first ones have their time; then they give way, the oldest first. */
    assert_true(is_kept(&from, 0));
    rig.now_ns += TAEL_REPLY_SLICE_NS;
    (void)answered(&from, 30, 1, 10 * PART, 2);
    assert_int_equal(rig_replies_out(&rig), 2 + share);
    assert_false(is_kept(&from, 0));
    assert_true(is_kept(&from, 1));
    assert_true(is_kept(&from, 30));
    assert_true(is_kept(&other, 0));
}

static void test_when_all_are_held_each_has_its_time(void **unused) {
    (void)unused;
    const uint32_t held_max = rig.options.replies_held_max[RIG_POOL_LARGE];
    struct tael_endpoint peers[14];
    assert_int_equal(held_max, 12);
    for (uint32_t i = 0; i < 14; i++) {
        if (i == 13) rig.now_ns += TAEL_REPLY_SLICE_NS;
        peers[i] = rig_endpoint(10 + i);
        rig_open(&rig, &peers[i], TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
        (void)answered(&peers[i], 0, 1, 10 * PART, 1);
        (void)rig_discard(&rig);
    }
    assert_int_equal(rig_replies_out(&rig), held_max);
    assert_false(is_kept(&peers[0], 0)); /* its time was over when the last one came */
    assert_true(is_kept(&peers[1], 0));
    assert_false(is_kept(&peers[12], 0)); /* came too early */
    assert_true(is_kept(&peers[13], 0));
}

static void test_who_holds_little_takes_from_who_holds_most(void **unused) {
    (void)unused;
    struct tael_endpoint peers[5];
    for (uint32_t i = 0; i < 4; i++) {
        peers[i] = rig_endpoint(10 + i);
        rig_open(&rig, &peers[i], TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
        for (uint8_t slot = 0; slot < 3; slot++) (void)answered(&peers[i], slot, 1, 10 * PART, 1);
        (void)rig_discard(&rig);
    }
    peers[4] = rig_endpoint(20);
    rig_open(&rig, &peers[4], TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
    (void)answered(&peers[4], 0, 1, 10 * PART, 1);
    assert_true(is_kept(&peers[4], 0));
    assert_false(is_kept(&peers[0], 0));
    /* However much the others ask, what little it has stays. */
    for (uint8_t slot = 10; slot < 30; slot++) {
        for (uint32_t i = 0; i < 4; i++) (void)answered(&peers[i], slot, 1, 10 * PART, 1);
        (void)rig_discard(&rig);
    }
    assert_true(is_kept(&peers[4], 0));
}

static void test_what_nobody_waits_for_is_returned(void **state) {
    (void)stop(state);
    struct tael_datagram_server_options options = rig_options();
    options.peers_max = 1;
    start_with(&options, TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
    static const uint8_t body[128];
    /* One reply is half sent, one to come, when another peer takes the place. */
    (void)answered(&from, 0, 1, 40 * PART, 1);
    const struct tael_datagram header = request_of(1, 1);
    (void)rig_send(&rig, &from, &header, body, sizeof body);
    struct tael_message *message = rig_message(&rig);
    (void)rig_discard(&rig);
    const struct tael_endpoint other = rig_endpoint(2);
    rig_open(&rig, &other, TAEL_DATAGRAM_SIZE_ETHERNET, WINDOW);
    assert_true(rig_reply(&rig, message, 16, 2));
    rig_release(&rig, message);
    (void)rig_turn(&rig, RIG_S);
    assert_int_equal(rig.sent_count, 0);
    assert_int_equal(rig_replies_out(&rig), 0);
    assert_int_equal(rig.kept, 0);
    assert_int_equal(rig_counters(&rig)->replies_stale, 1);
}

static void test_the_reply_goes_where_the_last_datagram_came_from(void **unused) {
    (void)unused;
    static const uint8_t body[128];
    const struct tael_datagram header = request_of(0, 1);
    (void)rig_send(&rig, &from, &header, body, sizeof body);
    struct tael_message *message = rig_message(&rig);
    from.mac[0] = 0x12; /* the route has changed */
    rig_poll_request(&rig, &from, &header);
    assert_true(rig_reply(&rig, message, 16, 2));
    rig_release(&rig, message);
    assert_int_equal(rig_release_all(&rig), 1);
    (void)rig_turn(&rig, 0);
    struct rig_sent *sent = rig_take(&rig);
    assert_memory_equal(&sent->to, &from, sizeof from);
    rig_done(sent);
}

static void test_closing_returns_everything(void **unused) {
    (void)unused;
    static const uint8_t body[128];
    (void)answered(&from, 0, 1, 40 * PART, 1);
    const struct tael_datagram header = request_of(1, 1);
    (void)rig_send(&rig, &from, &header, body, sizeof body);
    struct tael_message *message = rig_message(&rig);
    tael_datagram_server_close(rig.server);
    assert_int_equal(rig_replies_out(&rig), 0);
    assert_false(tael_datagram_server_closed(rig.server));
    (void)rig_discard(&rig);
    assert_true(rig_reply(&rig, message, 16, 2));
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
    assert_int_equal(rig.sent_count, 0);
    assert_true(tael_datagram_server_closed(rig.server));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_a_reply_of_one_part_goes_and_its_buffer_comes_back),
        TEST(test_what_the_carrier_cannot_take_is_lost_and_counted),
        TEST(test_a_scratch_ledger_says_so_in_every_datagram),
        TEST(test_notices_of_the_sequencer),
        TEST(test_no_more_than_the_window_is_on_the_way),
        TEST(test_what_others_have_overtaken_is_sent_again_once),
        TEST(test_who_says_nothing_new_has_waited_in_vain),
        TEST(test_a_poll_is_answered_with_what_is_missing),
        TEST(test_a_closed_window_waits),
        TEST(test_nobody_has_what_was_not_sent),
        TEST(test_parts_are_as_large_as_both_take),
        TEST(test_a_turn_sends_so_many_parts_and_of_each_reply_some),
        TEST(test_a_reply_is_given_up_after_a_second_without_progress),
        TEST(test_a_read_that_was_given_up_begins_anew),
        TEST(test_ten_seconds_are_the_end_of_it),
        TEST(test_a_newer_request_in_the_slot_gives_it_up),
        TEST(test_the_same_reply_again_is_sent_on_from_the_first_buffer),
        TEST(test_a_read_run_again_takes_the_place_of_the_first),
        TEST(test_a_peer_with_its_share_gives_up_its_own),
        TEST(test_when_all_are_held_each_has_its_time),
        TEST(test_who_holds_little_takes_from_who_holds_most),
        TEST(test_what_nobody_waits_for_is_returned),
        TEST(test_the_reply_goes_where_the_last_datagram_came_from),
        TEST(test_closing_returns_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
