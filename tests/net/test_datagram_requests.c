/* Requests reach the sequencer whole and once, in whatever order their parts come, and what stays half sent is given up.
 * Method: arrival orders as rows; then each rule of lending, refusing and asking as a story. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tael/multi_batch.h>

#include "io/datagram_messages.h"
#include "io/datagram_reassembly.h"
#include "tests/net/datagram_rig.h"

enum { PART = 1408, TOKEN = 77, CLIENT = 5 };

static uint8_t body[TAEL_BODY_SIZE_MAX];
static struct rig rig;
static struct tael_endpoint from;

static int start(void **unused) {
    (void)unused;
    const struct tael_datagram_server_options options = rig_options();
    for (uint32_t i = 0; i < sizeof body; i++) body[i] = rig_byte(1, i);
    rig_start(&rig, &options);
    from = rig_endpoint(1);
    rig_open(&rig, &from, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
    return 0;
}

static int stop(void **unused) {
    (void)unused;
    rig_stop(&rig);
    return 0;
}

static struct tael_datagram request_of(uint32_t number, uint32_t body_size) {
    return (struct tael_datagram){.token = TOKEN,
                                  .ledger = RIG_LEDGER,
                                  .client = CLIENT,
                                  .request = number,
                                  .body_size = body_size,
                                  .slot = 3,
                                  .flags = TAEL_DATAGRAM_ONE_BATCH,
                                  .kind = TAEL_DATAGRAM_REQUEST,
                                  .operation = TAEL_OPERATION_create_transfers,
                                  .part_units = 11};
}

/* The next datagram is a notice of this code. */
static void expect_notice(enum tael_datagram_notice_code code, bool waits) {
    struct rig_sent *sent = rig_take(&rig);
    assert_non_null(sent);
    assert_int_equal(sent->view.header.kind, TAEL_DATAGRAM_NOTICE);
    struct tael_datagram_notice notice;
    memcpy(&notice, sent->view.part, sizeof notice);
    assert_int_equal(notice.code, code);
    assert_int_equal(notice.wait_ms != 0, waits);
    rig_done(sent);
}

/* The next datagram tells of these parts, the lowest bit being the first. */
static void expect_have(uint16_t parts, uint64_t bits) {
    struct rig_sent *sent = rig_take(&rig);
    assert_non_null(sent);
    assert_int_equal(sent->view.header.kind, TAEL_DATAGRAM_HAVE_REQUEST);
    struct tael_datagram_have have;
    memcpy(&have, sent->view.part, sizeof have);
    assert_int_equal(have.parts, parts);
    assert_int_equal(have.window, rig.options.window);
    assert_memory_equal(have.bits, &bits, sizeof bits);
    rig_done(sent);
}

/* All the bytes of a message's parts are those of the body. */
static void expect_body(const struct tael_message *message, uint32_t size) {
    uint32_t at = 0;
    assert_int_equal(message->body_size, size);
    for (uint32_t i = 0; i < message->part_count; i++) {
        assert_memory_equal(message->parts[i].data, body + at, message->parts[i].size);
        at += message->parts[i].size;
    }
    assert_int_equal(at, size);
}

/* --- orders of arrival --- */

/* What arrives, a letter each: 0 to 4, a to e, A to E are the parts of request 11, 12 and 10; - is a part of request 11 that says it has
 * another size; w waits 0.9 s, W waits 1 s. */
static const struct order {
    const char *name;
    const char *arrivals;
    const char *whole; /* the requests that become whole, in order: 0 for 11, a for 12, A for 10 */
    uint64_t repeated;
    uint64_t disagreeing;
    uint64_t old;
    uint64_t replaced;
    uint64_t expired;
} orders[] = {
    {"in order", "01234", "0", 0, 0, 0, 0, 0},
    {"backwards", "43210", "0", 0, 0, 0, 0, 0},
    {"anyhow", "30142", "0", 0, 0, 0, 0, 0},
    {"each twice", "0011223344", "0", 5, 0, 0, 0, 0},
    {"once more when it is whole", "01234321", "0", 3, 0, 0, 0, 0},
    {"one is missing", "0124", "", 0, 0, 0, 0, 0},
    {"the missing one comes late", "0124w3", "0", 0, 0, 0, 0, 0},
    {"the missing one comes too late", "0124W3", "", 0, 0, 0, 0, 1},
    {"what was given up begins anew", "0124W01234", "0", 0, 0, 0, 0, 1},
    {"slowly", "0w1w2w3w4", "0", 0, 0, 0, 0, 0},
    {"repetitions are no progress", "0w0w0", "", 1, 0, 0, 0, 1},
    {"one that contradicts", "01-234", "0", 0, 1, 0, 0, 0},
    {"one that contradicts comes first", "-01W01234", "0", 0, 2, 0, 0, 1},
    {"a newer one takes the slot", "012abcde34", "a", 0, 0, 2, 1, 0},
    {"a newer one while the older is executed", "01234abcde", "0a", 0, 0, 0, 0, 0},
    {"an older one comes late", "0A1B2C3D4E", "0", 0, 0, 5, 0, 0},
    {"an older one comes first", "AB01234CDE", "0", 0, 0, 3, 1, 0},
};

static void arrive(char letter) {
    static const struct {
        char first;
        uint32_t number;
    } requests[] = {{'0', 11}, {'a', 12}, {'A', 10}};
    if (letter == 'w') (void)rig_turn(&rig, 900 * RIG_MS);
    if (letter == 'W') (void)rig_turn(&rig, 1000 * RIG_MS);
    if (letter == '-') {
        const struct tael_datagram header = request_of(11, 4 * PART + 129);
        (void)rig_send_part(&rig, &from, &header, body, 2);
    }
    for (size_t i = 0; i < 3; i++) {
        const struct tael_datagram header = request_of(requests[i].number, 4 * PART + 128);
        if (letter < requests[i].first || letter > requests[i].first + 4) continue;
        (void)rig_send_part(&rig, &from, &header, body, (uint32_t)(letter - requests[i].first));
    }
}

static void order_check(const struct order *order) {
    const struct tael_datagram_counters *counters = rig_counters(&rig);
    const struct tael_datagram_counters before = *counters;
    struct tael_message *messages[4];
    uint32_t count = 0;
    for (const char *letter = order->arrivals; *letter != '\0'; letter++) {
        arrive(*letter);
        struct tael_message *message = rig_message(&rig);
        if (message == NULL) continue;
        messages[count++] = message;
        expect_body(message, 4 * PART + 128);
        assert_int_equal(message->part_count, 5);
        assert_true(message->is_one_batch);
        assert_int_equal(message->token, TOKEN);
        assert_int_equal(message->slot, 3);
    }
    assert_int_equal(count, strlen(order->whole));
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t number = order->whole[i] == '0' ? 11 : order->whole[i] == 'a' ? 12 : 10;
        assert_int_equal(messages[i]->request, number);
        rig_release(&rig, messages[i]);
    }
    (void)rig_turn(&rig, 0);
    assert_int_equal(counters->parts_repeated - before.parts_repeated, order->repeated);
    assert_int_equal(counters->parts_disagreeing - before.parts_disagreeing, order->disagreeing);
    assert_int_equal(counters->parts_old - before.parts_old, order->old);
    assert_int_equal(counters->assemblies_replaced - before.assemblies_replaced, order->replaced);
    assert_int_equal(counters->assemblies_expired - before.assemblies_expired, order->expired);
}

static void test_parts_in_every_order(void **state) {
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        print_message("%s\n", orders[i].name);
        order_check(&orders[i]);
        (void)rig_turn(&rig, 2 * RIG_S); /* nothing of it is left */
        assert_int_equal(rig.kept, 0);
        (void)stop(state);
        (void)start(state);
    }
}

static void test_the_largest_body(void **unused) {
    (void)unused;
    const struct tael_datagram header = request_of(1, TAEL_BODY_SIZE_MAX);
    rig_send_body(&rig, &from, &header, body);
    struct tael_message *message = rig_message(&rig);
    assert_int_equal(message->part_count, 745);
    expect_body(message, TAEL_BODY_SIZE_MAX);
    assert_int_equal(rig.kept, 745);
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
    assert_int_equal(rig.kept, 0);
}

static void test_ten_seconds_are_the_end_of_it(void **unused) {
    (void)unused;
    const struct tael_datagram header = request_of(1, 20 * PART);
    for (uint32_t part = 0; part < 13; part++) {
        (void)rig_send_part(&rig, &from, &header, body, part);
        (void)rig_turn(&rig, 800 * RIG_MS);
    }
    assert_int_equal(rig_counters(&rig)->assemblies_expired, 1);
}

static void test_the_deadline_is_that_of_the_first_to_be_given_up(void **unused) {
    (void)unused;
    assert_true(tael_datagram_server_deadline_ns(rig.server) == UINT64_MAX);
    const struct tael_datagram header = request_of(1, 2 * PART);
    const uint64_t begun_ns = rig.now_ns;
    (void)rig_send_part(&rig, &from, &header, body, 0);
    assert_true(tael_datagram_server_deadline_ns(rig.server) == begun_ns + TAEL_ASSEMBLY_IDLE_NS);
    (void)rig_turn(&rig, TAEL_ASSEMBLY_IDLE_NS);
    assert_true(tael_datagram_server_deadline_ns(rig.server) == UINT64_MAX);
    assert_int_equal(rig.kept, 0);
}

/* --- what tells requests apart --- */

static void test_the_same_parts_have_the_same_identity(void **unused) {
    (void)unused;
    tael_u128 identities[3];
    for (uint32_t i = 0; i < 3; i++) {
        const struct tael_datagram header = request_of(i == 2 ? 9 : 8, 2 * PART);
        (void)rig_send_part(&rig, &from, &header, body, i == 1 ? 1 : 0);
        (void)rig_send_part(&rig, &from, &header, body, i == 1 ? 0 : 1);
        struct tael_message *message = rig_message(&rig);
        identities[i] = message->checksum;
        rig_release(&rig, message);
        (void)rig_turn(&rig, 0);
    }
    assert_true(identities[0] == identities[1]);
    assert_true(identities[0] != identities[2]);
}

static void test_a_request_of_one_part_is_lent_where_it_stands(void **unused) {
    (void)unused;
    const struct tael_datagram header = request_of(1, 128);
    assert_true(rig_send(&rig, &from, &header, body, 128));
    struct tael_message *message = rig_message(&rig);
    assert_int_equal(message->kind, TAEL_MESSAGE_REQUEST);
    assert_int_equal(message->part_count, 1);
    expect_body(message, 128);
    struct tael_datagram sealed;
    memcpy(&sealed, message->parts[0].data - TAEL_DATAGRAM_HEADER_SIZE, sizeof sealed);
    assert_true(message->checksum == sealed.checksum);
    rig_release(&rig, message);
    assert_int_equal(rig.kept, 1);
    (void)rig_turn(&rig, 0);
    assert_int_equal(rig.kept, 0);
}

static void test_a_request_without_a_body_keeps_no_buffer(void **unused) {
    (void)unused;
    const struct tael_datagram header = request_of(1, 0);
    assert_false(rig_send(&rig, &from, &header, body, 0));
    struct tael_message *message = rig_message(&rig);
    assert_int_equal(message->part_count, 0);
    assert_int_equal(message->body_size, 0);
    rig_release(&rig, message);
}

/* --- tokens --- */

static void test_a_register_gets_a_token_and_nobody_else(void **unused) {
    (void)unused;
    struct tael_datagram header = request_of(0, 32);
    header.token = 0;
    header.flags = 0;
    header.operation = TAEL_OPERATION_register;
    (void)rig_send(&rig, &from, &header, body, 32);
    struct tael_message *message = rig_message(&rig);
    assert_int_not_equal(message->token, 0);
    const uint64_t first = message->token;
    rig_release(&rig, message);
    (void)rig_send(&rig, &from, &header, body, 32);
    message = rig_message(&rig);
    assert_int_not_equal(message->token, first);
    rig_release(&rig, message);
    /* With a token, or anything else without one. */
    header.token = TOKEN;
    (void)rig_send(&rig, &from, &header, body, 32);
    expect_notice(TAEL_NOTICE_NO_SESSION, false);
    header = request_of(1, 128);
    header.token = 0;
    (void)rig_send(&rig, &from, &header, body, 128);
    expect_notice(TAEL_NOTICE_NO_SESSION, false);
    rig_poll_request(&rig, &from, &header);
    expect_notice(TAEL_NOTICE_NO_SESSION, false);
    assert_null(rig_message(&rig));
}

/* --- reads --- */

static struct tael_datagram read_of(uint32_t number, uint32_t ids, uint8_t flags) {
    struct tael_datagram header = request_of(number, ids * 16);
    header.operation = TAEL_OPERATION_lookup_accounts;
    header.flags = flags;
    return header;
}

static void expect_read(uint32_t ids) {
    struct tael_message *message = rig_message(&rig);
    assert_non_null(message);
    assert_int_equal(message->part_count, 1);
    assert_int_equal((uintptr_t)message->parts[0].data % 16, 0);
    assert_int_equal(message->body_size, message->parts[0].size);
    assert_false(message->is_one_batch);
    struct tael_multi_batch batches;
    assert_int_equal(tael_multi_batch_decode(message->parts[0].data, message->body_size, 16, &batches),
                     TAEL_MULTI_BATCH_OK);
    assert_int_equal(batches.batch_count, 1);
    assert_int_equal(batches.element_count, ids);
    assert_memory_equal(batches.payload, body, ids * 16);
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
}

static void test_a_read_is_copied_with_its_trailer_and_aligned(void **unused) {
    (void)unused;
    static const uint32_t counts[] = {0, 1, 88, 89, 8189};
    for (uint32_t i = 0; i < 5; i++) {
        const struct tael_datagram header = read_of(i, counts[i], TAEL_DATAGRAM_ONE_BATCH);
        rig_send_body(&rig, &from, &header, body);
        (void)rig_turn(&rig, 0);
        assert_int_equal(rig.kept, 0); /* the packets are free already */
        expect_read(counts[i]);
    }
    /* With a trailer of its own. */
    uint8_t framed[48];
    memcpy(framed, body, 32);
    const uint16_t two = 2;
    (void)tael_multi_batch_encode(framed, 32, &two, 1, 16);
    struct tael_datagram header = read_of(7, 3, 0);
    (void)rig_send(&rig, &from, &header, framed, sizeof framed);
    expect_read(2);
}

static void test_a_read_of_no_possible_size_is_told_so(void **unused) {
    (void)unused;
    struct tael_datagram header = read_of(1, 1, TAEL_DATAGRAM_ONE_BATCH);
    header.body_size = 17;
    (void)rig_send(&rig, &from, &header, body, 17);
    expect_notice(TAEL_NOTICE_BODY_SIZE, false);
    header = read_of(2, 17000, 0); /* more than any body for reads */
    rig_send_body(&rig, &from, &header, body);
    (void)rig_turn(&rig, 0);
    while (rig.sent_count > 1) rig_done(rig_take(&rig));
    expect_notice(TAEL_NOTICE_BODY_SIZE, false);
    assert_int_equal(rig.kept, 0);
    assert_null(rig_message(&rig));
}

static void test_bodies_of_reads_are_bounded(void **unused) {
    (void)unused;
    struct tael_message *messages[16];
    for (uint32_t i = 0; i < rig.options.small_bodies; i++) {
        const struct tael_datagram header = read_of(i, 1, TAEL_DATAGRAM_ONE_BATCH);
        rig_send_body(&rig, &from, &header, body);
        messages[i] = rig_message(&rig);
        assert_non_null(messages[i]);
    }
    struct tael_datagram header = read_of(20, 1, TAEL_DATAGRAM_ONE_BATCH);
    rig_send_body(&rig, &from, &header, body);
    expect_notice(TAEL_NOTICE_BUSY_QUEUE, true);
    /* A create needs none. */
    header = request_of(21, 128);
    (void)rig_send(&rig, &from, &header, body, 128);
    assert_int_equal(rig_release_all(&rig), 1);
    for (uint32_t i = 0; i < rig.options.small_bodies; i++) rig_release(&rig, messages[i]);
    (void)rig_turn(&rig, 0);
}

static void test_large_reads_wait_for_a_body_and_others_pass_them(void **unused) {
    (void)unused;
    /* A quarter of the large bodies is one. */
    struct tael_datagram header = read_of(1, 1000, TAEL_DATAGRAM_ONE_BATCH);
    rig_send_body(&rig, &from, &header, body);
    struct tael_message *first = rig_message(&rig);
    assert_non_null(first);
    header.slot = 4;
    rig_send_body(&rig, &from, &header, body);
    assert_null(rig_message(&rig));
    header = request_of(1, 2 * PART);
    header.slot = 5;
    rig_send_body(&rig, &from, &header, body);
    assert_int_equal(rig_turn(&rig, 0), 1);
    struct tael_message *passing = rig_message(&rig);
    assert_int_equal(passing->slot, 5);
    assert_int_equal(rig_turn(&rig, 0), 0); /* waiting is no work */
    rig_release(&rig, first);
    rig_release(&rig, passing);
    (void)rig_turn(&rig, 0);
    struct tael_message *second = rig_message(&rig);
    assert_int_equal(second->slot, 4);
    rig_release(&rig, second);
    (void)rig_turn(&rig, 0);
    assert_int_equal(rig.kept, 0);
}

/* --- telling --- */

static void test_the_client_is_told_each_quarter_of_the_window(void **unused) {
    (void)unused;
    const struct tael_datagram header = request_of(1, 40 * PART);
    for (uint32_t part = 0; part < 15; part++) (void)rig_send_part(&rig, &from, &header, body, part);
    assert_int_equal(rig.sent_count, 0);
    (void)rig_send_part(&rig, &from, &header, body, 20);
    expect_have(40, 0x7fff | 1u << 20);
    for (uint32_t part = 21; part < 37; part++) (void)rig_send_part(&rig, &from, &header, body, part);
    expect_have(40, 0x7fff | 0x1ffffull << 20);
    assert_int_equal(rig.sent_count, 0);
}

static void test_a_quarter_counts_over_all_slots(void **unused) {
    (void)unused;
    for (uint8_t slot = 0; slot < 16; slot++) {
        struct tael_datagram header = request_of(1, 3 * PART);
        header.slot = slot;
        assert_int_equal(rig.sent_count, 0);
        (void)rig_send_part(&rig, &from, &header, body, slot % 3);
    }
    assert_int_equal(rig.sent_count, 16);
    for (uint32_t slot = 0; slot < 16; slot++) expect_have(3, 1u << slot % 3);
}

static void test_a_poll_is_answered_by_what_is_known(void **unused) {
    (void)unused;
    const struct tael_datagram header = request_of(4, 3 * PART);
    /* Nothing: the sequencer is asked. */
    rig_poll_request(&rig, &from, &header);
    struct tael_message *message = rig_message(&rig);
    assert_int_equal(message->kind, TAEL_MESSAGE_POLL);
    assert_int_equal(message->request, 4);
    assert_int_equal(message->slot, 3);
    assert_int_equal(message->token, TOKEN);
    assert_true(message->client == CLIENT);
    assert_int_equal(message->part_count, 0);
    assert_int_equal(message->body_size, 0);
    assert_true(rig_notice(&rig, message, TAEL_NOTICE_UNSEEN, 0));
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
    expect_notice(TAEL_NOTICE_UNSEEN, false);
    /* Some parts. */
    (void)rig_send_part(&rig, &from, &header, body, 2);
    rig_poll_request(&rig, &from, &header);
    expect_have(3, 4);
    /* Another request, another session. */
    struct tael_datagram other = header;
    other.request = 5;
    rig_poll_request(&rig, &from, &other);
    assert_int_equal(rig_release_all(&rig), 1);
    other = header;
    other.token++;
    rig_poll_request(&rig, &from, &other);
    assert_int_equal(rig_release_all(&rig), 1);
    /* All of it. */
    rig_send_body(&rig, &from, &header, body);
    rig_poll_request(&rig, &from, &header);
    expect_notice(TAEL_NOTICE_EXECUTING, false);
    message = rig_message(&rig);
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
    rig_poll_request(&rig, &from, &header);
    assert_int_equal(rig_release_all(&rig), 1);
}

/* --- no room --- */

static void test_a_peer_may_set_aside_a_quarter(void **unused) {
    (void)unused;
    struct tael_datagram header = request_of(1, 700 * PART);
    (void)rig_send_part(&rig, &from, &header, body, 0);
    struct tael_datagram second = request_of(2, 400 * PART);
    second.slot = 4;
    for (uint32_t part = 0; part < 50; part++) assert_false(rig_send_part(&rig, &from, &second, body, part));
    expect_notice(TAEL_NOTICE_BUSY_PARTS, true);
    assert_int_equal(rig.sent_count, 0); /* once for all parts */
    (void)rig_turn(&rig, 20 * RIG_MS);
    (void)rig_send_part(&rig, &from, &second, body, 0);
    expect_notice(TAEL_NOTICE_BUSY_PARTS, true);
    /* There is room for a smaller one, and for others. */
    struct tael_datagram third = request_of(1, 300 * PART);
    third.slot = 5;
    assert_true(rig_send_part(&rig, &from, &third, body, 0));
    const struct tael_endpoint other = rig_endpoint(2);
    rig_open(&rig, &other, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
    assert_true(rig_send_part(&rig, &other, &second, body, 0));
    /* After a time the first one is given up. */
    (void)rig_turn(&rig, RIG_S);
    assert_true(rig_send_part(&rig, &from, &second, body, 0));
}

static void test_the_sum_of_all_is_bounded(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 4; i++) {
        const struct tael_endpoint peer = rig_endpoint(10 + i);
        rig_open(&rig, &peer, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
        struct tael_datagram header = request_of(1, 512 * PART);
        for (header.slot = 0; header.slot < 2; header.slot++) {
            assert_true(rig_send_part(&rig, &peer, &header, body, 0));
        }
    }
    const struct tael_datagram header = request_of(1, 2 * PART);
    assert_false(rig_send_part(&rig, &from, &header, body, 0));
    expect_notice(TAEL_NOTICE_BUSY_PARTS, true);
}

static void test_a_full_queue_is_told_to_who_comes_by_one_part(void **unused) {
    (void)unused;
    struct tael_datagram header = request_of(0, 128);
    const struct tael_endpoint other = rig_endpoint(2);
    rig_open(&rig, &other, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
    uint32_t taken = 0;
    for (; rig.sent_count == 0; taken++, header.request++) (void)rig_send(&rig, &from, &header, body, 128);
    assert_int_equal(taken - 1, rig.options.messages_per_peer_max);
    expect_notice(TAEL_NOTICE_BUSY_QUEUE, true);
    rig_poll_request(&rig, &from, &header); /* in silence: nothing is known of it */
    assert_int_equal(rig.sent_count, 0);
    assert_int_equal(rig_counters(&rig)->polls_dropped, 1);
    /* Others have room. */
    assert_true(rig_send(&rig, &other, &header, body, 128));
}

/* The ring to the sequencer may be full while messages are left: nothing is lost with a request that is refused. */
static void test_a_full_ring_is_a_full_queue(void **state) {
    (void)stop(state);
    const struct tael_datagram_server_options options = rig_options();
    rig_start_with(&rig, &options, 2);
    rig_open(&rig, &from, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
    for (uint32_t round = 0; round < 3 * options.small_bodies; round++) {
        for (uint32_t i = 0; i < 3; i++) {
            const struct tael_datagram header = read_of(3 * round + i, 1, TAEL_DATAGRAM_ONE_BATCH);
            rig_send_body(&rig, &from, &header, body);
        }
        expect_notice(TAEL_NOTICE_BUSY_QUEUE, true);
        assert_int_equal(rig_release_all(&rig), 2);
        (void)rig_turn(&rig, 0);
    }
}

static void test_a_whole_request_waits_for_room(void **unused) {
    (void)unused;
    const struct tael_endpoint others[2] = {rig_endpoint(2), rig_endpoint(3)};
    for (uint32_t i = 0; i < 2; i++) {
        rig_open(&rig, &others[i], TAEL_DATAGRAM_SIZE_ETHERNET, 16);
        struct tael_datagram header = request_of(0, 128);
        for (; header.request < 32; header.request++) (void)rig_send(&rig, &others[i], &header, body, 128);
    }
    const struct tael_datagram header = request_of(1, 2 * PART);
    rig_send_body(&rig, &from, &header, body);
    rig_poll_request(&rig, &from, &header);
    expect_notice(TAEL_NOTICE_EXECUTING, false);
    assert_int_equal(rig_release_all(&rig), 64);
    (void)rig_turn(&rig, 0);
    struct tael_message *message = rig_message(&rig);
    assert_int_equal(message->body_size, 2 * PART);
    rig_release(&rig, message);
}

/* --- the end --- */

static void test_draining_takes_nothing_and_answers_what_it_took(void **unused) {
    (void)unused;
    struct tael_datagram header = request_of(1, 128);
    (void)rig_send(&rig, &from, &header, body, 128);
    struct tael_datagram half = request_of(1, 2 * PART);
    half.slot = 9;
    (void)rig_send_part(&rig, &from, &half, body, 0);
    tael_datagram_server_drain(rig.server);
    assert_false(tael_datagram_server_drained(rig.server));
    assert_int_equal(rig.kept, 1);
    header.request = 2;
    assert_false(rig_send(&rig, &from, &header, body, 128));
    assert_false(rig_send_part(&rig, &from, &half, body, 1));
    rig_poll_request(&rig, &from, &half);
    assert_int_equal(rig_counters(&rig)->draining, 3);
    struct tael_message *message = rig_message(&rig);
    assert_true(rig_reply(&rig, message, 16, 5));
    rig_release(&rig, message);
    assert_null(rig_message(&rig));
    (void)rig_turn(&rig, 0);
    assert_int_equal(rig_discard(&rig), 1);
    assert_true(tael_datagram_server_drained(rig.server));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_parts_in_every_order),
        TEST(test_the_largest_body),
        TEST(test_ten_seconds_are_the_end_of_it),
        TEST(test_the_deadline_is_that_of_the_first_to_be_given_up),
        TEST(test_the_same_parts_have_the_same_identity),
        TEST(test_a_request_of_one_part_is_lent_where_it_stands),
        TEST(test_a_request_without_a_body_keeps_no_buffer),
        TEST(test_a_register_gets_a_token_and_nobody_else),
        TEST(test_a_read_is_copied_with_its_trailer_and_aligned),
        TEST(test_a_read_of_no_possible_size_is_told_so),
        TEST(test_bodies_of_reads_are_bounded),
        TEST(test_large_reads_wait_for_a_body_and_others_pass_them),
        TEST(test_the_client_is_told_each_quarter_of_the_window),
        TEST(test_a_quarter_counts_over_all_slots),
        TEST(test_a_poll_is_answered_by_what_is_known),
        TEST(test_a_peer_may_set_aside_a_quarter),
        TEST(test_the_sum_of_all_is_bounded),
        TEST(test_a_full_queue_is_told_to_who_comes_by_one_part),
        TEST(test_a_full_ring_is_a_full_queue),
        TEST(test_a_whole_request_waits_for_room),
        TEST(test_draining_takes_nothing_and_answers_what_it_took),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
