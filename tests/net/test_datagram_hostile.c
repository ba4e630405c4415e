/* Whatever a client does wrong costs nobody else anything.
 * Method: a client of each kind does its worst; then, or meanwhile, an honest one is served as if it were alone. What it cannot
 * be: locked out by room, by buffers, by the table of peers, or by somebody who speaks in its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/datagram_replies.h"
#include "io/part_set.h"
#include "tests/net/datagram_rig.h"
#include "tests/support/random.h"

enum { PART = 1408, HONEST = 1, HOSTILE = 2, HOSTILE_TOKEN = 99, HONEST_TOKEN = 77 };

static uint8_t body[TAEL_BODY_SIZE_MAX];
static struct rig rig;
static struct tael_endpoint honest;
static struct tael_endpoint hostile;
static uint32_t honest_number;

static int start(void **unused) {
    (void)unused;
    struct tael_datagram_server_options options = rig_options();
    options.peers_per_address_max = 4;
    for (uint32_t i = 0; i < sizeof body; i++) body[i] = rig_byte(1, i);
    rig_start(&rig, &options);
    honest = rig_endpoint(1);
    hostile = rig_endpoint(100);
    rig_open(&rig, &honest, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
    rig_open(&rig, &hostile, TAEL_DATAGRAM_SIZE_ETHERNET, 1024);
    honest_number = 1;
    return 0;
}

static int stop(void **unused) {
    (void)unused;
    rig_stop(&rig);
    return 0;
}

static struct tael_datagram request_of(uint32_t client, uint8_t slot, uint32_t number, uint32_t body_size) {
    return (struct tael_datagram){.token = client == HONEST ? HONEST_TOKEN : HOSTILE_TOKEN,
                                  .ledger = RIG_LEDGER,
                                  .client = client,
                                  .request = number,
                                  .body_size = body_size,
                                  .slot = slot,
                                  .flags = TAEL_DATAGRAM_ONE_BATCH,
                                  .kind = TAEL_DATAGRAM_REQUEST,
                                  .operation = TAEL_OPERATION_create_transfers,
                                  .part_units = 11};
}

/* The honest client's message; what came before it is released. */
static struct tael_message *honest_message(void) {
    struct tael_message *message;
    while ((message = rig_message(&rig)) != NULL && message->client != HONEST) rig_release(&rig, message);
    return message;
}

/* Takes what the honest client was sent; of a reply, which parts it has now. */
static void honest_take(struct tael_part_set *has) {
    struct rig_sent *sent;
    while ((sent = rig_take(&rig)) != NULL) {
        if (tael_endpoint_equal(&sent->to, &honest)) {
            assert_int_not_equal(sent->view.header.kind, TAEL_DATAGRAM_NOTICE);
            assert_int_not_equal(sent->view.header.kind, TAEL_DATAGRAM_COOKIE);
            if (sent->view.header.kind == TAEL_DATAGRAM_REPLY) tael_part_set_add(has, sent->view.header.part);
        }
        rig_done(sent);
    }
}

static void honest_ask(uint32_t body_size, uint32_t reply_size) {
    const struct tael_datagram header = request_of(HONEST, 0, honest_number++, body_size);
    struct tael_part_set has;
    tael_part_set_clear(&has);
    (void)rig_discard(&rig);
    rig_send_body(&rig, &honest, &header, body);
    struct tael_message *message = honest_message();
    assert_non_null(message);
    assert_int_equal(message->body_size, body_size);
    assert_true(rig_reply(&rig, message, reply_size, 5));
    rig_release(&rig, message);
    const uint32_t parts = tael_datagram_parts(reply_size, 11);
    for (uint32_t i = 0; i < 20 && tael_part_set_count(&has) < parts; i++) {
        (void)rig_turn(&rig, 0);
        honest_take(&has);
        if (parts > 1) rig_have(&rig, &honest, &header, 16, (uint16_t)parts, (const uint8_t *)&has);
    }
    assert_int_equal(tael_part_set_count(&has), parts);
}

/* One part and several, there and back. */
static void honest_is_served(void) {
    honest_ask(128, 16);
    honest_ask(20 * PART, 16);
    honest_ask(128, 40 * PART);
}

/* --- floods --- */

static void test_one_that_floods_requests(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 5000; i++) {
        const struct tael_datagram header = request_of(HOSTILE, (uint8_t)i, i / 256, 128);
        (void)rig_send(&rig, &hostile, &header, body, 128);
        if (i % 100 == 0) honest_is_served();
    }
    assert_true(rig_counters(&rig)->busy_queue > 1000);
}

static void test_one_that_floods_questions(void **unused) {
    (void)unused;
    const uint8_t bits[TAEL_PARTS_MAX / 8] = {1};
    for (uint32_t i = 0; i < 5000; i++) {
        const struct tael_datagram header = request_of(HOSTILE, (uint8_t)i, i / 256, 128);
        rig_poll_request(&rig, &hostile, &header);
        rig_have(&rig, &hostile, &header, 1024, 9, bits);
        if (i % 100 == 0) honest_is_served();
    }
    assert_true(rig_counters(&rig)->polls_dropped > 1000);
}

static void test_one_that_floods_registers_and_reads(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 2000; i++) {
        struct tael_datagram header = request_of(HOSTILE, (uint8_t)i, i, 32);
        header.operation = i % 2 == 0 ? TAEL_OPERATION_register : TAEL_OPERATION_lookup_accounts;
        header.token = i % 2 == 0 ? 0 : HOSTILE_TOKEN;
        (void)rig_send(&rig, &hostile, &header, body, 32);
        if (i % 100 == 0) honest_is_served();
    }
}

static void test_one_that_says_hello_from_every_port(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 16 * 50; i++) {
        const struct tael_endpoint endpoint = {.address = hostile.address, .port = (uint16_t)(1 + i)};
        rig_open(&rig, &endpoint, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
    }
    assert_true(tael_datagram_server_peers(rig.server) <= 5);
    honest_is_served();
}

static void test_one_that_asks_for_parts_again_and_again(void **unused) {
    (void)unused;
    const struct tael_datagram header = request_of(HOSTILE, 0, 1, 128);
    (void)rig_send(&rig, &hostile, &header, body, 128);
    struct tael_message *message = rig_message(&rig);
    assert_true(rig_reply(&rig, message, 700 * PART, 5));
    rig_release(&rig, message);
    for (uint32_t i = 0; i < 5; i++) (void)rig_turn(&rig, 0);
    assert_int_equal(rig_discard(&rig), 700);
    const uint8_t none[TAEL_PARTS_MAX / 8] = {0};
    for (uint32_t i = 0; i < 10000; i++) rig_have(&rig, &hostile, &header, 1024, 700, none);
    for (uint32_t i = 0; i < 10; i++) (void)rig_turn(&rig, 0);
    assert_int_equal(rig.sent_count, 0); /* so soon nobody has waited in vain */
    (void)rig_turn(&rig, TAEL_REPLY_QUIET_NS);
    for (uint32_t i = 0; i < 10000; i++) rig_have(&rig, &hostile, &header, 1024, 700, none);
    for (uint32_t i = 0; i < 10; i++) (void)rig_turn(&rig, 0);
    assert_int_equal(rig_discard(&rig), 700);
    honest_is_served();
}

/* --- takes and does not give --- */

static void test_one_that_never_reads(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 200; i++) {
        const struct tael_datagram header = request_of(HOSTILE, (uint8_t)(i % 64), i, 128);
        (void)rig_send(&rig, &hostile, &header, body, 128);
        struct tael_message *message = rig_message(&rig);
        assert_true(rig_reply(&rig, message, i % 2 == 0 ? 100 * PART : 2 * PART, 5)); /* there are buffers always */
        rig_release(&rig, message);
        (void)rig_turn(&rig, 0);
        (void)rig_discard(&rig);
        if (i % 10 == 0) honest_is_served();
    }
}

static void test_one_that_starts_and_never_finishes(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 3000; i++) {
        const struct tael_datagram header = request_of(HOSTILE + i % 50, (uint8_t)i, 1, (2 + i % 700) * PART);
        (void)rig_send_part(&rig, &hostile, &header, body, i % 2);
        if (i % 100 == 0) honest_is_served();
    }
    assert_true(rig_counters(&rig)->busy_parts > 100);
    (void)rig_turn(&rig, RIG_S);
    for (uint32_t i = 0; i < 100; i++) (void)rig_turn(&rig, 0);
    assert_int_equal(rig.kept, 0);
}

static void test_one_that_starts_again_and_again(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 3000; i++) {
        const struct tael_datagram header = request_of(HOSTILE, (uint8_t)(i % 4), i, (2 + i % 700) * PART);
        (void)rig_send_part(&rig, &hostile, &header, body, 0);
        assert_true(rig.kept <= 8);
        if (i % 100 == 0) honest_is_served();
    }
}

/* From one address after the other, all of them its own: what is left behind is swept when room is short. */
static void test_one_that_starts_and_is_forgotten(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 300; i++) {
        const struct tael_endpoint endpoint = {.address = hostile.address, .port = (uint16_t)(1 + i)};
        (void)rig_discard(&rig);
        rig_open(&rig, &endpoint, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
        if (i % 8 == 7) (void)rig_turn(&rig, RIG_MS);
        const struct tael_datagram header = request_of(HOSTILE, 0, i, 256 * PART); /* a sixteenth of all room */
        (void)rig_send_part(&rig, &endpoint, &header, body, 0);
        (void)rig_turn(&rig, RIG_MS);
        honest_is_served();
    }
}

/* --- lies --- */

static void test_one_that_lies_about_lengths(void **unused) {
    (void)unused;
    struct test_random random = {1};
    for (uint32_t i = 0; i < 5000; i++) {
        struct tael_datagram header = request_of(HOSTILE, (uint8_t)i, 1, (uint32_t)test_random_u64(&random));
        if (test_random_once_in(&random, 2)) header.body_size %= 3000;
        header.part = (uint16_t)test_random_below(&random, 4);
        header.part_units = (uint8_t)test_random_u64(&random);
        header.kind = (uint8_t)test_random_between(&random, 1, 4);
        (void)rig_send(&rig, &hostile, &header, body, (uint32_t)test_random_below(&random, PART));
        if (i % 100 == 0) honest_is_served();
    }
    assert_true(rig_counters(&rig)->rejected[TAEL_DATAGRAM_VERDICT_parts] > 1000);
}

static void test_one_whose_parts_contradict_each_other(void **unused) {
    (void)unused;
    struct test_random random = {2};
    for (uint32_t i = 0; i < 5000; i++) {
        struct tael_datagram header = request_of(HOSTILE, 0, 1, (uint32_t)test_random_between(&random, 2, 4) * PART);
        header.flags = (uint8_t)test_random_below(&random, 2);
        header.operation = (uint8_t)test_random_between(&random, 146, 147);
        (void)rig_send_part(&rig, &hostile, &header, body, (uint32_t)test_random_below(&random, 2));
        if (i % 100 == 0) honest_is_served();
    }
    assert_true(rig_counters(&rig)->parts_disagreeing > 1000);
}

/* --- in another's name --- */

static void test_one_that_invents_addresses(void **unused) {
    (void)unused;
    for (uint32_t i = 0; i < 5000; i++) {
        const struct tael_endpoint nobody = rig_endpoint(1000 + i);
        struct tael_datagram header = request_of(HOSTILE, 0, 1, 5 * PART);
        (void)rig_send_part(&rig, &nobody, &header, body, 0);
        header.body_size = 128;
        (void)rig_send(&rig, &nobody, &header, body, 128);
        rig_poll_request(&rig, &nobody, &header);
    }
    assert_int_equal(tael_datagram_server_peers(rig.server), 2);
    assert_int_equal(rig.kept, 0);
    assert_null(rig_message(&rig));
    assert_true(rig.bytes_out <= rig.bytes_in);
    honest_is_served();
}

/* It knows address, port, client and slot, but not the token. */
static void test_one_that_speaks_in_the_honest_ones_name(void **unused) {
    (void)unused;
    const struct tael_datagram half = request_of(HONEST, 7, 1, 3 * PART);
    (void)rig_send_part(&rig, &honest, &half, body, 0);
    (void)rig_send_part(&rig, &honest, &half, body, 1);
    const struct tael_datagram asked = request_of(HONEST, 8, 1, 128);
    (void)rig_send(&rig, &honest, &asked, body, 128);
    struct tael_message *message = rig_message(&rig);
    assert_true(rig_reply(&rig, message, 100 * PART, 5));
    rig_release(&rig, message);
    (void)rig_turn(&rig, 0);
    (void)rig_discard(&rig);

    uint8_t all[TAEL_PARTS_MAX / 8];
    memset(all, 0xff, sizeof all);
    for (uint8_t slot = 7; slot <= 8; slot++) {
        struct tael_datagram forged = request_of(HONEST, slot, 2, 3 * PART);
        forged.token++;
        (void)rig_send_part(&rig, &honest, &forged, body, 0);
        forged.body_size = 128;
        (void)rig_send(&rig, &honest, &forged, body, 128);
        forged.request = 1;
        rig_have(&rig, &honest, &forged, 0, 100, all);
        rig_poll_request(&rig, &honest, &forged);
    }
    (void)rig_release_all(&rig);
    (void)rig_discard(&rig);
    assert_int_equal(rig_replies_out(&rig), 1); /* the reply is still being sent, */
    (void)rig_send_part(&rig, &honest, &half, body, 2); /* and the request goes on */
    message = honest_message();
    assert_non_null(message);
    assert_int_equal(message->body_size, 3 * PART);
    rig_release(&rig, message);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_one_that_floods_requests),
        TEST(test_one_that_floods_questions),
        TEST(test_one_that_floods_registers_and_reads),
        TEST(test_one_that_says_hello_from_every_port),
        TEST(test_one_that_asks_for_parts_again_and_again),
        TEST(test_one_that_never_reads),
        TEST(test_one_that_starts_and_never_finishes),
        TEST(test_one_that_starts_again_and_again),
        TEST(test_one_that_starts_and_is_forgotten),
        TEST(test_one_that_lies_about_lengths),
        TEST(test_one_whose_parts_contradict_each_other),
        TEST(test_one_that_invents_addresses),
        TEST(test_one_that_speaks_in_the_honest_ones_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
