/* The datagram client, datagram by datagram: what it sends for what comes, and when.
 * Method: a carrier that keeps what is sent, answers made by hand, and a clock that the test sets. Chance is none: pauses have their least
 * length. */
#include "io/datagram_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tael/limits.h>
#include <tael/operation.h>

#include "io/datagram_pace.h"
#include "io/faults.h"

#define LEDGER ((tael_u128)9)
#define ID ((tael_u128)77)
#define TOKEN 0xABCDEFull
#define MS 1000000ull
#define TRIP MS
#define PAUSE TAEL_DATAGRAM_PAUSE_MIN_NS

enum { SENT_MAX = 2048, CREATE = TAEL_OPERATION_create_transfers };

struct sent {
    struct tael_datagram header;
    uint8_t part[160];
    uint64_t checksum;
    uint32_t size;
};

static struct bench {
    struct tael_datagram_client *client;
    void *memory;
    uint64_t now_ns;
    uint64_t chance;
    uint32_t room; /* datagrams that the carrier takes */
    uint8_t datagram[TAEL_DATAGRAM_SIZE_MAX];
    struct sent sent[SENT_MAX];
    uint32_t sent_count; /* since it was last looked at */
} bench;

static uint8_t body[TAEL_BODY_SIZE_MAX];

/* --- the carrier --- */

static void *transmit_begin(void *context, uint32_t size_max) {
    (void)context;
    assert_true(size_max <= sizeof bench.datagram);
    return bench.room == 0 ? NULL : bench.datagram;
}

static void transmit_end(void *context, void *datagram, uint32_t size) {
    struct tael_datagram_view view;
    (void)context;
    assert_ptr_equal(datagram, bench.datagram);
    assert_int_equal(tael_datagram_check(datagram, size, TAEL_DATAGRAM_FROM_CLIENT, LEDGER, &view),
                     TAEL_DATAGRAM_VERDICT_ok);
    assert_true(bench.sent_count < SENT_MAX);
    struct sent *sent = &bench.sent[bench.sent_count++];
    sent->header = view.header;
    sent->checksum = view.header.checksum;
    sent->size = size;
    memcpy(sent->part, view.part, view.part_size < sizeof sent->part ? view.part_size : sizeof sent->part);
    bench.room--;
}

static uint64_t chance(void *context) {
    (void)context;
    return bench.chance;
}

/* --- answers --- */

static struct tael_datagram_client_event answer(struct tael_datagram header, const void *part, uint32_t size) {
    static uint8_t datagram[TAEL_DATAGRAM_SIZE_MAX];
    if (header.part_units == 0) header.part_units = 11;
    header.ledger = LEDGER;
    if (size > 0) memcpy(datagram + TAEL_DATAGRAM_HEADER_SIZE, part, size);
    const uint32_t sealed = tael_datagram_seal(datagram, &header, size);
    return tael_datagram_client_receive(bench.client, datagram, sealed, bench.now_ns);
}

static struct tael_datagram_client_event cookie(uint8_t value) {
    struct tael_datagram_cookie cookie = {0};
    memset(cookie.cookie, value, sizeof cookie.cookie);
    return answer((struct tael_datagram){.kind = TAEL_DATAGRAM_COOKIE, .body_size = sizeof cookie}, &cookie,
                  sizeof cookie);
}

static struct tael_datagram_client_event welcome(uint32_t window, uint32_t slots) {
    const struct tael_datagram_welcome welcome = {
        .datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET, .window = (uint16_t)window, .slots_max = (uint16_t)slots};
    return answer((struct tael_datagram){.kind = TAEL_DATAGRAM_WELCOME, .body_size = sizeof welcome}, &welcome,
                  sizeof welcome);
}

static struct tael_datagram_client_event registered(uint64_t token, uint32_t slots, uint64_t op) {
    const struct tael_datagram_registered registered = {.token = token, .slots = (uint16_t)slots};
    return answer((struct tael_datagram){.kind = TAEL_DATAGRAM_REPLY,
                                         .op = op,
                                         .operation = TAEL_OPERATION_register,
                                         .body_size = sizeof registered},
                  &registered, sizeof registered);
}

static struct tael_datagram_client_event notice(uint32_t slot, uint32_t number, uint16_t code, uint32_t wait_ms) {
    const struct tael_datagram_notice notice = {.code = code, .wait_ms = (uint16_t)wait_ms};
    return answer((struct tael_datagram){.token = TOKEN,
                                         .kind = TAEL_DATAGRAM_NOTICE,
                                         .slot = (uint8_t)slot,
                                         .request = number,
                                         .operation = CREATE,
                                         .body_size = sizeof notice},
                  &notice, sizeof notice);
}

/* The parts first .. end - 1 of `parts`. */
static struct tael_datagram_client_event have(uint32_t slot, uint32_t number, uint32_t window, uint32_t parts,
                                              uint32_t first, uint32_t end) {
    struct tael_datagram_have have = {.window = (uint16_t)window, .parts = (uint16_t)parts};
    for (uint32_t i = first; i < end; i++) have.bits[i / 8] |= (uint8_t)(1u << i % 8);
    return answer((struct tael_datagram){.token = TOKEN,
                                         .kind = TAEL_DATAGRAM_HAVE_REQUEST,
                                         .slot = (uint8_t)slot,
                                         .request = number,
                                         .operation = CREATE,
                                         .body_size = sizeof have},
                  &have, sizeof have);
}

static struct tael_datagram reply_header(uint32_t slot, uint32_t number, uint64_t op, uint32_t size, uint32_t part) {
    return (struct tael_datagram){.token = TOKEN,
                                  .op = op,
                                  .timestamp = op * 10,
                                  .kind = TAEL_DATAGRAM_REPLY,
                                  .slot = (uint8_t)slot,
                                  .request = number,
                                  .operation = CREATE,
                                  .body_size = size,
                                  .part = (uint16_t)part,
                                  .part_units = 11};
}

static struct tael_datagram_client_event reply_part(uint32_t slot, uint32_t number, uint64_t op, uint32_t size,
                                                    uint32_t part) {
    uint8_t bytes[1408];
    const uint32_t part_size = tael_datagram_part_size(size, 11, part);
    for (uint32_t i = 0; i < part_size; i++) bytes[i] = (uint8_t)(op + part + i);
    return answer(reply_header(slot, number, op, size, part), bytes, part_size);
}

static struct tael_datagram_client_event reply(uint32_t slot, uint32_t number) {
    return reply_part(slot, number, 50, 16, 0);
}

/* --- steps --- */

static void pass(uint64_t ns) {
    bench.now_ns += ns;
    tael_datagram_client_tick(bench.client, bench.now_ns);
}

/* What was sent since the last look: its first datagram, after the count was held against `count`. */
static const struct sent *sent(uint32_t count) {
    if (bench.sent_count != count) {
        fail_msg("%u datagrams instead of %u, the first of kind %u", bench.sent_count, count,
                 bench.sent_count > 0 ? bench.sent[0].header.kind : 0);
    }
    bench.sent_count = 0;
    return &bench.sent[0];
}

static void assert_sent(uint32_t count, uint8_t kind) {
    const struct sent *first = sent(count);
    for (uint32_t i = 0; i < count; i++) assert_int_equal(first[i].header.kind, kind);
}

#define HAPPENS(what, event) assert_int_equal((event).happening, TAEL_DATAGRAM_CLIENT_##what)

static void client_make(uint32_t slots, uint32_t request_window) {
    const struct tael_datagram_client_options options = {.ledger = LEDGER,
                                                         .slots = slots,
                                                         .datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET,
                                                         .reply_window = 16,
                                                         .request_window = request_window,
                                                         .carrier = {NULL, transmit_begin, transmit_end},
                                                         .random = chance};
    free(bench.memory);
    memset(&bench, 0, sizeof bench);
    bench.memory = aligned_alloc(64, tael_datagram_client_size_bytes(&options));
    assert_non_null(bench.memory);
    bench.now_ns = TAEL_NS_PER_S;
    bench.room = UINT32_MAX;
    bench.client = tael_datagram_client_init(bench.memory, &options);
    tael_datagram_client_open(bench.client, ID, bench.now_ns);
}

/* Open, with a round trip of TRIP. */
static void client_open(uint32_t slots, uint32_t request_window, uint32_t server_window) {
    client_make(slots, request_window);
    bench.now_ns += TRIP;
    HAPPENS(NOTHING, cookie(1));
    bench.now_ns += TRIP;
    HAPPENS(NOTHING, welcome(server_window, TAEL_SLOTS_MAX));
    bench.now_ns += TRIP;
    HAPPENS(OPENED, registered(TOKEN, slots, 7));
    sent(3);
}

static void request(uint32_t slot, uint32_t size) {
    const struct tael_datagram_client_request request = {
        .body = body, .body_size = size, .operation = CREATE, .flags = TAEL_DATAGRAM_ONE_BATCH};
    tael_datagram_client_request(bench.client, slot, &request, bench.now_ns);
}

static const struct tael_datagram_client_counters *counters(void) {
    return tael_datagram_client_counters(bench.client);
}

/* --- opening --- */

static void test_hello_cookie_welcome_register(void **unused) {
    (void)unused;
    struct tael_datagram_hello hello;
    client_make(5, 100);
    const struct sent *first = sent(1);
    assert_int_equal(first->header.kind, TAEL_DATAGRAM_HELLO);
    assert_true(first->header.client == ID);
    assert_int_equal(first->size, TAEL_DATAGRAM_SIZE_MIN);
    memcpy(&hello, first->part, sizeof hello);
    for (int i = 0; i < 16; i++) assert_int_equal(hello.cookie[i], 0);
    assert_int_equal(hello.datagram_max, TAEL_DATAGRAM_SIZE_ETHERNET);
    assert_int_equal(hello.window, 16);
    HAPPENS(NOTHING, cookie(3));
    memcpy(&hello, sent(1)->part, sizeof hello);
    for (int i = 0; i < 16; i++) assert_int_equal(hello.cookie[i], 3);
    HAPPENS(NOTHING, welcome(64, 4));
    first = sent(1);
    assert_int_equal(first->header.kind, TAEL_DATAGRAM_REQUEST);
    assert_int_equal(first->header.operation, TAEL_OPERATION_register);
    assert_int_equal(first->header.token, 0);
    assert_int_equal(first->header.request, 0);
    assert_int_equal(first->header.slot, 0);
    struct tael_datagram_register wish;
    memcpy(&wish, first->part, sizeof wish);
    assert_int_equal(wish.slots, 4); /* as many as the server has */
    HAPPENS(OPENED, registered(TOKEN, 3, 7));
    assert_int_equal(tael_datagram_client_slots(bench.client), 3);
    assert_int_equal(tael_datagram_client_phase(bench.client), TAEL_DATAGRAM_CLIENT_OPEN);
    assert_true(tael_datagram_client_is_free(bench.client, 2));
    assert_false(tael_datagram_client_is_free(bench.client, 3));
    sent(0);
}

static void test_hello_is_said_again_with_longer_pauses(void **unused) {
    (void)unused;
    client_make(1, 100);
    sent(1);
    uint64_t pause = PAUSE;
    for (int i = 0; i < 12; i++) {
        assert_int_equal(tael_datagram_client_deadline_ns(bench.client), bench.now_ns + pause);
        pass(pause - 1);
        sent(0);
        pass(1);
        assert_sent(1, TAEL_DATAGRAM_HELLO);
        pause = pause * 2 < TAEL_DATAGRAM_PAUSE_MAX_NS ? pause * 2 : TAEL_DATAGRAM_PAUSE_MAX_NS;
    }
}

static void test_chance_makes_pauses_longer_by_a_quarter_at_most(void **unused) {
    (void)unused;
    struct tael_datagram_pace pace = {.pause_min_ns = PAUSE, .random = chance};
    bench.chance = PAUSE / 4;
    assert_int_equal(tael_datagram_pace_pause_ns(&pace, 0), PAUSE + PAUSE / 4);
    bench.chance = PAUSE / 4 + 1;
    assert_int_equal(tael_datagram_pace_pause_ns(&pace, 0), PAUSE);
    bench.chance = 0;
    tael_datagram_pace_measured(&pace, 10 * MS);
    assert_int_equal(tael_datagram_pace_pause_ns(&pace, 0), 40 * MS);
    assert_int_equal(tael_datagram_pace_pause_ns(&pace, 1), 80 * MS);
    assert_int_equal(tael_datagram_pace_pause_ns(&pace, 100), TAEL_DATAGRAM_PAUSE_MAX_NS);
    tael_datagram_pace_measured(&pace, 90 * MS);
    assert_int_equal(pace.round_trip_ns, 20 * MS);
}

static void test_a_lost_welcome_and_a_lost_registration(void **unused) {
    (void)unused;
    client_make(1, 100);
    HAPPENS(NOTHING, cookie(1));
    sent(2);
    pass(PAUSE);
    assert_sent(1, TAEL_DATAGRAM_HELLO);
    HAPPENS(NOTHING, welcome(64, 4));
    const uint64_t checksum = sent(1)->checksum;
    HAPPENS(NOTHING, welcome(64, 4)); /* twice */
    sent(0);
    pass(PAUSE);
    assert_int_equal(sent(1)->checksum, checksum);
    /* The address is forgotten before the register arrives. */
    HAPPENS(NOTHING, cookie(2));
    assert_sent(1, TAEL_DATAGRAM_HELLO);
    HAPPENS(NOTHING, welcome(64, 2)); /* fewer slots now, but the request stays as it is */
    assert_int_equal(sent(1)->checksum, checksum);
    HAPPENS(OPENED, registered(TOKEN, 1, 7));
    HAPPENS(NOTHING, registered(TOKEN + 1, 1, 8)); /* another one, late */
    request(0, 16);
    assert_int_equal(sent(1)->header.token, TOKEN);
}

static void test_a_registration_that_is_wrong_is_dropped(void **unused) {
    (void)unused;
    client_make(2, 100);
    cookie(1);
    welcome(64, 64);
    HAPPENS(NOTHING, registered(0, 2, 7));
    HAPPENS(NOTHING, registered(TOKEN, 0, 7));
    HAPPENS(NOTHING, registered(TOKEN, 3, 7));
    HAPPENS(NOTHING, registered(TOKEN, 2, 0));
    HAPPENS(OPENED, registered(TOKEN, 2, 7));
}

static void test_an_opening_that_is_refused_ends(void **unused) {
    (void)unused;
    static const uint16_t codes[] = {TAEL_NOTICE_NO_SESSION, TAEL_NOTICE_OPERATION, TAEL_NOTICE_BODY};
    for (size_t i = 0; i < 3; i++) {
        client_make(2, 100);
        cookie(1);
        welcome(64, 64);
        const struct tael_datagram_notice refusal = {.code = codes[i]};
        const struct tael_datagram_client_event event = answer(
            (struct tael_datagram){
                .kind = TAEL_DATAGRAM_NOTICE, .operation = TAEL_OPERATION_register, .body_size = sizeof refusal},
            &refusal, sizeof refusal);
        HAPPENS(ENDED, event);
        assert_int_equal(event.notice, codes[i]);
        assert_int_equal(tael_datagram_client_phase(bench.client), TAEL_DATAGRAM_CLIENT_CLOSED);
        assert_int_equal(tael_datagram_client_deadline_ns(bench.client), UINT64_MAX);
        sent(3);
        pass(TAEL_NS_PER_S);
        sent(0);
    }
}

static void test_another_ledger_is_a_hint(void **unused) {
    (void)unused;
    uint8_t datagram[TAEL_DATAGRAM_SIZE_MIN] = {0};
    const struct tael_datagram header = {
        .ledger = LEDGER + 1, .kind = TAEL_DATAGRAM_NOTICE, .body_size = 32, .part_units = 2};
    client_make(2, 100);
    tael_datagram_seal(datagram, &header, 32);
    HAPPENS(NOTHING, tael_datagram_client_receive(bench.client, datagram, sizeof datagram, bench.now_ns));
    assert_int_equal(tael_datagram_client_hint(bench.client), TAEL_NOTICE_LEDGER);
    assert_int_equal(tael_datagram_client_phase(bench.client), TAEL_DATAGRAM_CLIENT_OPENING);
}

/* --- requests of one part --- */

static void test_a_request_is_sent_again_the_same_until_it_is_answered(void **unused) {
    (void)unused;
    client_open(2, 100, 64);
    assert_true(tael_datagram_client_is_free(bench.client, 1));
    request(1, 128);
    struct sent first = *sent(1);
    assert_int_equal(first.size, 192);
    assert_int_equal(first.header.request, 1);
    assert_int_equal(first.header.slot, 1);
    assert_int_equal(first.header.flags, TAEL_DATAGRAM_ONE_BATCH);
    assert_false(tael_datagram_client_is_certain(bench.client, 1));
    uint64_t pause = PAUSE;
    for (int i = 0; i < 6; i++) {
        pass(pause - 1);
        sent(0);
        pass(1);
        assert_int_equal(sent(1)->checksum, first.checksum);
        pause = pause * 2 < TAEL_DATAGRAM_PAUSE_MAX_NS ? pause * 2 : TAEL_DATAGRAM_PAUSE_MAX_NS;
    }
    const struct tael_datagram_client_event event = reply(1, 1);
    HAPPENS(ANSWERED, event);
    assert_int_equal(event.slot, 1);
    const struct tael_datagram_client_answer found = tael_datagram_client_answer(bench.client, 1);
    assert_int_equal(found.op, 50);
    assert_int_equal(found.timestamp, 500);
    assert_int_equal(found.body_size, 16);
    assert_int_equal(((const uint8_t *)found.body)[3], 53);
    assert_int_equal(tael_datagram_client_deadline_ns(bench.client) > bench.now_ns, true);
    HAPPENS(NOTHING, reply(1, 1)); /* twice */
    pass(10 * TAEL_NS_PER_S);
    sent(0);
    request(1, 128);
    assert_int_equal(sent(1)->header.request, 2);
    HAPPENS(NOTHING, reply(1, 1)); /* an old one */
    HAPPENS(ANSWERED, reply(1, 2));
    assert_int_equal(counters()->repeats, 6);
}

static void test_what_is_not_of_a_request_in_flight_changes_nothing(void **unused) {
    (void)unused;
    client_open(2, 100, 64);
    request(1, 128);
    sent(1);
    uint8_t bytes[16] = {0};
    static const struct {
        const char *name;
        struct tael_datagram change; /* what is not zero replaces what is right */
    } rows[] = {
        {"a foreign token", {.token = TOKEN + 1}},
        {"another number", {.request = 2}},
        {"a free slot", {.slot = 2}},
        {"a slot that there is not", {.slot = 63}},
        {"another operation", {.operation = 140}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint64_t strays = counters()->strays;
        struct tael_datagram header = reply_header(1, 1, 50, 16, 0);
        const struct tael_datagram *change = &rows[i].change;
        if (change->token != 0) header.token = change->token;
        if (change->request != 0) header.request = change->request;
        if (change->slot != 0) header.slot = (uint8_t)(change->slot == 2 ? 0 : change->slot);
        if (change->operation != 0) header.operation = change->operation;
        const struct tael_datagram_client_event event = answer(header, bytes, sizeof bytes);
        if (event.happening != TAEL_DATAGRAM_CLIENT_NOTHING) fail_msg("%s is taken", rows[i].name);
        assert_int_equal(counters()->strays, strays + 1);
        header.kind = TAEL_DATAGRAM_NOTICE;
        header.op = header.timestamp = 0;
        header.body_size = sizeof(struct tael_datagram_notice);
        const struct tael_datagram_notice end = {.code = TAEL_NOTICE_NO_SESSION};
        if (change->operation == 0) HAPPENS(NOTHING, answer(header, &end, sizeof end));
    }
    sent(0);
    HAPPENS(ANSWERED, reply(1, 1));
}

static void test_a_damaged_answer_changes_nothing(void **unused) {
    (void)unused;
    uint8_t datagram[TAEL_DATAGRAM_HEADER_SIZE + 16] = {0};
    client_open(1, 100, 64);
    request(0, 128);
    struct tael_datagram header = reply_header(0, 1, 50, 16, 0);
    header.ledger = LEDGER;
    tael_datagram_seal(datagram, &header, 16);
    for (uint32_t bit = 0; bit < sizeof datagram * 8; bit++) {
        datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
        HAPPENS(NOTHING, tael_datagram_client_receive(bench.client, datagram, sizeof datagram, bench.now_ns));
        datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(counters()->verdicts[TAEL_DATAGRAM_VERDICT_checksum], sizeof datagram * 8);
    HAPPENS(ANSWERED, tael_datagram_client_receive(bench.client, datagram, sizeof datagram, bench.now_ns));
}

struct notice_row {
    uint16_t code;
    enum tael_datagram_client_happening happening;
    bool is_free; /* the slot is, afterwards */
};

static void test_each_notice_has_its_consequence(void **unused) {
    (void)unused;
    static const struct notice_row rows[] = {
        {TAEL_NOTICE_NO_SESSION, TAEL_DATAGRAM_CLIENT_ENDED, false},
        {2, TAEL_DATAGRAM_CLIENT_NOTHING, false},
        {TAEL_NOTICE_OPERATION, TAEL_DATAGRAM_CLIENT_REFUSED, true},
        {TAEL_NOTICE_BODY, TAEL_DATAGRAM_CLIENT_REFUSED, true},
        {TAEL_NOTICE_BODY_SIZE, TAEL_DATAGRAM_CLIENT_REFUSED, true},
        {7, TAEL_DATAGRAM_CLIENT_NOTHING, false},
        {TAEL_NOTICE_BUSY, TAEL_DATAGRAM_CLIENT_BUSY, false},
        {TAEL_NOTICE_BUSY_ACCOUNTS, TAEL_DATAGRAM_CLIENT_BUSY, false},
        {TAEL_NOTICE_BUSY_TRANSFERS, TAEL_DATAGRAM_CLIENT_BUSY, false},
        {TAEL_NOTICE_BUSY_DISK, TAEL_DATAGRAM_CLIENT_BUSY, false},
        {TAEL_NOTICE_BUSY_SESSIONS, TAEL_DATAGRAM_CLIENT_BUSY, false},
        {TAEL_NOTICE_BUSY_PARTS, TAEL_DATAGRAM_CLIENT_BUSY, false},
        {TAEL_NOTICE_BUSY_QUEUE, TAEL_DATAGRAM_CLIENT_BUSY, false},
        {31, TAEL_DATAGRAM_CLIENT_BUSY, false},
        {TAEL_NOTICE_TOO_OLD, TAEL_DATAGRAM_CLIENT_ENDED, false},
        {TAEL_NOTICE_OTHER, TAEL_DATAGRAM_CLIENT_ENDED, false},
        {TAEL_NOTICE_EXECUTING, TAEL_DATAGRAM_CLIENT_NOTHING, false},
        {TAEL_NOTICE_UNSEEN, TAEL_DATAGRAM_CLIENT_NOTHING, false},
        {TAEL_NOTICE_LEDGER, TAEL_DATAGRAM_CLIENT_NOTHING, false},
        {TAEL_NOTICE_VERSION, TAEL_DATAGRAM_CLIENT_NOTHING, false},
        {9999, TAEL_DATAGRAM_CLIENT_NOTHING, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        client_open(1, 100, 64);
        request(0, 128);
        sent(1);
        const struct tael_datagram_client_event event = notice(0, 1, rows[i].code, 5);
        if (event.happening != rows[i].happening) fail_msg("notice %u: %d", rows[i].code, (int)event.happening);
        if (event.happening != TAEL_DATAGRAM_CLIENT_NOTHING) assert_int_equal(event.notice, rows[i].code);
        assert_int_equal(tael_datagram_client_is_free(bench.client, 0), rows[i].is_free);
        assert_true(tael_datagram_notice_text(rows[i].code)[0] != '\0');
        sent(0);
    }
}

static void test_a_busy_server_is_asked_again_when_it_said(void **unused) {
    (void)unused;
    client_open(1, 100, 64);
    request(0, 128);
    const uint64_t checksum = sent(1)->checksum;
    for (int i = 0; i < 3; i++) {
        HAPPENS(BUSY, notice(0, 1, TAEL_NOTICE_BUSY_DISK, 70));
        assert_int_equal(tael_datagram_client_busy(bench.client, 0), TAEL_NOTICE_BUSY_DISK);
        pass(30 * MS);
        HAPPENS(BUSY, notice(0, 1, TAEL_NOTICE_BUSY_DISK, 70)); /* the same again, which makes it no longer */
        pass(40 * MS - 1);
        sent(0);
        pass(1);
        assert_int_equal(sent(1)->checksum, checksum);
        assert_int_equal(tael_datagram_client_busy(bench.client, 0), 0);
    }
    /* Not even then is it certain that none is executed: a copy may have come twice. */
    assert_false(tael_datagram_client_is_certain(bench.client, 0));
    HAPPENS(ANSWERED, reply(0, 1));
}

static void test_what_is_given_up_goes_on_with_the_next_number(void **unused) {
    (void)unused;
    client_open(1, 100, 64);
    bench.room = 0;
    request(0, 128);
    assert_true(tael_datagram_client_is_certain(bench.client, 0));
    tael_datagram_client_give_up(bench.client, 0);
    bench.room = UINT32_MAX;
    pass(TAEL_NS_PER_S);
    sent(0);
    request(0, 128);
    assert_int_equal(sent(1)->header.request, 2);
    tael_datagram_client_give_up(bench.client, 0);
    request(0, 128);
    assert_int_equal(sent(1)->header.request, 3);
    HAPPENS(NOTHING, reply(0, 2)); /* executed after all */
    HAPPENS(NOTHING, notice(0, 2, TAEL_NOTICE_TOO_OLD, 0));
    HAPPENS(ANSWERED, reply(0, 3));
}

static void test_a_carrier_without_room_is_tried_again(void **unused) {
    (void)unused;
    client_open(1, 100, 64);
    bench.room = 0;
    request(0, 20000);
    sent(0);
    bench.room = 3;
    pass(0);
    sent(3);
    assert_true(tael_datagram_client_is_certain(bench.client, 0));
    bench.room = UINT32_MAX;
    pass(0);
    sent(12);
    assert_false(tael_datagram_client_is_certain(bench.client, 0));
}

/* --- a server that has forgotten the address --- */

static void test_a_cookie_for_an_answer_has_hello_said_and_all_sent_again(void **unused) {
    (void)unused;
    client_open(3, 100, 64);
    bench.now_ns += 2 * TAEL_NS_PER_S;
    request(0, 128);
    request(2, 3000);
    const struct sent *first = sent(4);
    const uint64_t checksums[4] = {first[0].checksum, first[1].checksum, first[2].checksum, first[3].checksum};
    HAPPENS(NOTHING, cookie(1)); /* the same value as before */
    assert_sent(1, TAEL_DATAGRAM_HELLO);
    HAPPENS(NOTHING, cookie(1)); /* the answer to another part of it */
    sent(0);
    request(1, 128); /* waits */
    pass(PAUSE - 1);
    sent(0);
    HAPPENS(NOTHING, welcome(64, 64));
    first = sent(5);
    assert_int_equal(first[0].checksum, checksums[0]);
    assert_int_equal(first[1].header.slot, 1);
    for (int i = 2; i < 5; i++) assert_int_equal(first[i].checksum, checksums[i - 1]);
    HAPPENS(NOTHING, cookie(1)); /* late */
    sent(0);
    HAPPENS(ANSWERED, reply(0, 1));
    HAPPENS(ANSWERED, reply(1, 1));
    assert_int_equal(counters()->greetings, 1);
    HAPPENS(NOTHING, cookie(2)); /* another one counts at once */
    assert_sent(1, TAEL_DATAGRAM_HELLO);
    HAPPENS(ANSWERED, reply(2, 1)); /* it knew us after all */
}

/* --- requests of several parts --- */

static void test_parts_go_out_as_the_window_lets(void **unused) {
    (void)unused;
    enum { PARTS = 40, SIZE = PARTS * 1408 };
    client_open(1, 100, 16);
    request(0, SIZE);
    const struct sent *first = sent(16);
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(first[i].header.part, i);
        assert_int_equal(first[i].size, TAEL_DATAGRAM_SIZE_ETHERNET);
    }
    assert_true(tael_datagram_client_is_certain(bench.client, 0));
    have(0, 1, 16, PARTS, 0, 4);
    assert_int_equal(sent(4)->header.part, 16);
    have(0, 1, 16, PARTS, 0, 4); /* tells nothing new */
    sent(0);
    have(0, 1, 0, PARTS, 0, 8); /* it asks to wait */
    sent(0);
    have(0, 1, 20, PARTS, 0, 8);
    sent(8);
    have(0, 1, 20, PARTS + 1, 0, 20); /* of another request */
    sent(0);
    have(0, 1, 100, PARTS, 0, 28);
    assert_int_equal(sent(12)->header.part, 28);
    HAPPENS(ANSWERED, reply(0, 1));
    assert_int_equal(counters()->repeats, 0);
    assert_int_equal(counters()->losses, 0);
}

static void test_a_gap_is_filled_and_halves_the_window(void **unused) {
    (void)unused;
    enum { PARTS = 200, SIZE = PARTS * 1408 };
    client_open(1, 64, 100);
    request(0, SIZE);
    sent(64);
    bench.now_ns += TRIP;
    have(0, 1, 100, PARTS, 2, 9); /* 0 and 1 may come yet: 8 is not far ahead */
    assert_int_equal(sent(7)->header.part, 64);
    bench.now_ns += TRIP;
    have(0, 1, 100, PARTS, 2, 18);
    sent(0); /* lost; half of 64 may be on the way, more are */
    have(0, 1, 100, PARTS, 2, 60);
    const struct sent *first = sent(21); /* of 32, 11 are still on the way */
    assert_int_equal(first[0].header.part, 0);
    assert_int_equal(first[1].header.part, 1);
    assert_int_equal(first[2].header.part, 71);
    bench.now_ns += TRIP;
    have(0, 1, 100, PARTS, 0, 71);
    sent(14); /* 13 arrived, and one more for a round trip without loss */
    assert_int_equal(counters()->repeats, 2);
    assert_int_equal(counters()->losses, 1);
}

static void test_silence_has_it_polled(void **unused) {
    (void)unused;
    enum { PARTS = 30, SIZE = PARTS * 1408 };
    client_open(1, 100, 64);
    request(0, SIZE);
    struct sent parts[PARTS];
    memcpy(parts, sent(PARTS), sizeof parts);
    pass(PAUSE - 1);
    sent(0);
    pass(1);
    assert_sent(1, TAEL_DATAGRAM_POLL);
    have(0, 1, 64, PARTS, 3, 28); /* what it says to have now is all */
    const struct sent *first = sent(5);
    static const uint32_t missing[] = {0, 1, 2, 28, 29};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(first[i].header.part, missing[i]);
        assert_int_equal(first[i].checksum, parts[missing[i]].checksum);
    }
    pass(PAUSE);
    assert_sent(1, TAEL_DATAGRAM_POLL);
    notice(0, 1, TAEL_NOTICE_EXECUTING, 0);
    pass(2 * PAUSE);
    assert_sent(1, TAEL_DATAGRAM_POLL);
    pass(4 * PAUSE - 1);
    sent(0);
    pass(1);
    assert_sent(1, TAEL_DATAGRAM_POLL);
    bench.now_ns += TRIP;
    notice(0, 1, TAEL_NOTICE_UNSEEN, 0); /* restarted meanwhile */
    first = sent(PARTS);
    for (uint32_t i = 0; i < PARTS; i++) assert_int_equal(first[i].checksum, parts[i].checksum);
    notice(0, 1, TAEL_NOTICE_EXECUTING, 0);
    notice(0, 1, TAEL_NOTICE_UNSEEN, 0); /* nobody asked */
    sent(0);
    HAPPENS(ANSWERED, reply(0, 1));
}

/* The server would not tell by itself: so few are less than a quarter of its window. */
static void test_a_small_window_is_asked_about(void **unused) {
    (void)unused;
    enum { WINDOW = 256, PARTS = 2 * TAEL_DATAGRAM_WINDOW_MIN, SIZE = PARTS * 1408 };
    client_open(1, TAEL_DATAGRAM_WINDOW_MIN, WINDOW);
    request(0, SIZE);
    assert_int_equal(sent(TAEL_DATAGRAM_WINDOW_MIN + 1)[TAEL_DATAGRAM_WINDOW_MIN].header.kind, TAEL_DATAGRAM_POLL);
    bench.now_ns += TRIP;
    have(0, 1, WINDOW, PARTS, 0, 4);
    sent(TAEL_DATAGRAM_WINDOW_MIN + 1); /* it lacked the others: they are lost; and it is asked again */
    have(0, 1, WINDOW, PARTS, 0, 8);
    assert_true(bench.sent_count <= TAEL_DATAGRAM_WINDOW_MIN); /* not asked again within a round trip */
}

static void test_a_window_of_zero_is_asked_about(void **unused) {
    (void)unused;
    client_open(2, 100, 64);
    request(1, 3000);
    sent(3);
    have(1, 1, 0, 3, 0, 3);
    request(0, 128);
    sent(0);
    assert_true(tael_datagram_client_is_certain(bench.client, 0));
    pass(PAUSE);
    const struct sent *first = sent(2);
    assert_int_equal(first[0].header.kind, TAEL_DATAGRAM_POLL);
    assert_int_equal(first[1].header.kind, TAEL_DATAGRAM_REQUEST);
    HAPPENS(ANSWERED, reply(1, 1));
    request(1, 3000);
    sent(0); /* there is room for one */
    HAPPENS(ANSWERED, reply(0, 1));
    sent(1);
    have(1, 2, 8, 3, 0, 1);
    sent(2);
}

static void test_all_slots_share_the_window(void **unused) {
    (void)unused;
    client_open(8, 100, 5);
    for (uint32_t i = 0; i < 8; i++) request(i, 128);
    sent(5);
    HAPPENS(ANSWERED, reply(2, 1));
    assert_int_equal(sent(1)->header.slot, 5);
    HAPPENS(BUSY, notice(0, 1, TAEL_NOTICE_BUSY_QUEUE, 500));
    assert_int_equal(sent(1)->header.slot, 6);
    tael_datagram_client_give_up(bench.client, 1);
    pass(0);
    assert_int_equal(sent(1)->header.slot, 7);
}

/* --- replies of several parts --- */

static void test_parts_of_a_reply_come_in_any_order(void **unused) {
    (void)unused;
    enum { SIZE = 4000 };
    client_open(1, 100, 64);
    request(0, 128);
    sent(1);
    HAPPENS(NOTHING, reply_part(0, 1, 50, SIZE, 2));
    HAPPENS(NOTHING, reply_part(0, 1, 50, SIZE, 0));
    HAPPENS(NOTHING, reply_part(0, 1, 50, SIZE, 0));
    sent(0);
    HAPPENS(ANSWERED, reply_part(0, 1, 50, SIZE, 1));
    const struct sent *last = sent(1);
    assert_int_equal(last->header.kind, TAEL_DATAGRAM_HAVE_REPLY);
    struct tael_datagram_have told;
    memcpy(&told, last->part, sizeof told);
    assert_int_equal(told.parts, 3);
    assert_int_equal(told.window, 16);
    assert_int_equal(told.bits[0], 7);
    const struct tael_datagram_client_answer found = tael_datagram_client_answer(bench.client, 0);
    assert_int_equal(found.body_size, SIZE);
    for (uint32_t i = 0; i < SIZE; i++) {
        assert_int_equal(((const uint8_t *)found.body)[i], (uint8_t)(50 + i / 1408 + i % 1408));
    }
}

static void test_each_quarter_of_a_window_is_told(void **unused) {
    (void)unused;
    enum { PARTS = 20, SIZE = PARTS * 1408 };
    client_open(1, 100, 64);
    request(0, 128);
    sent(1);
    for (uint32_t i = 0; i < PARTS; i++) {
        const struct tael_datagram_client_event event = reply_part(0, 1, 50, SIZE, i);
        assert_int_equal(event.happening, i + 1 < PARTS ? TAEL_DATAGRAM_CLIENT_NOTHING : TAEL_DATAGRAM_CLIENT_ANSWERED);
        if (i % 4 == 3) assert_sent(1, TAEL_DATAGRAM_HAVE_REPLY);
        if (i % 4 != 3) sent(0);
    }
}

static void test_what_is_missing_of_a_reply_is_asked_for(void **unused) {
    (void)unused;
    enum { SIZE = 4000 };
    client_open(1, 100, 64);
    request(0, 128);
    reply_part(0, 1, 50, SIZE, 1);
    sent(1);
    pass(PAUSE);
    assert_sent(1, TAEL_DATAGRAM_HAVE_REPLY);
    pass(2 * PAUSE);
    assert_sent(1, TAEL_DATAGRAM_HAVE_REPLY);
    notice(0, 1, TAEL_NOTICE_UNSEEN, 0); /* a read that it has forgotten */
    assert_sent(1, TAEL_DATAGRAM_REQUEST);
    HAPPENS(NOTHING, reply_part(0, 1, 50, SIZE, 0));
    HAPPENS(ANSWERED, reply_part(0, 1, 50, SIZE, 2));
}

/* Then it is the request that goes on, whatever is there of a reply: or each silence would have it begin anew. */
static void test_a_large_read_goes_on_after_its_reply_was_forgotten(void **unused) {
    (void)unused;
    enum { PARTS = 3, SIZE = PARTS * 1408 };
    client_open(1, 100, 64);
    request(0, SIZE);
    sent(PARTS);
    reply_part(0, 1, 50, 4000, 1);
    pass(PAUSE);
    assert_sent(1, TAEL_DATAGRAM_HAVE_REPLY);
    notice(0, 1, TAEL_NOTICE_UNSEEN, 0);
    assert_sent(PARTS, TAEL_DATAGRAM_REQUEST);
    pass(2 * PAUSE);
    assert_sent(1, TAEL_DATAGRAM_POLL);
    have(0, 1, 64, PARTS, 0, 2);
    assert_int_equal(sent(1)->header.part, 2);
    HAPPENS(NOTHING, reply_part(0, 1, 50, 4000, 0));
    pass(PAUSE);
    assert_sent(1, TAEL_DATAGRAM_HAVE_REPLY);
    HAPPENS(ANSWERED, reply_part(0, 1, 50, 4000, 2));
}

/* A read that is repeated may come with another op. */
static void test_another_op_in_the_midst_begins_anew(void **unused) {
    (void)unused;
    enum { SIZE = 4000 };
    client_open(1, 100, 64);
    request(0, 128);
    reply_part(0, 1, 50, SIZE, 0);
    reply_part(0, 1, 50, SIZE, 1);
    HAPPENS(NOTHING, reply_part(0, 1, 51, SIZE, 2));
    HAPPENS(NOTHING, reply_part(0, 1, 50, SIZE, 2)); /* late, of the earlier one */
    HAPPENS(NOTHING, reply_part(0, 1, 51, SIZE, 0));
    HAPPENS(ANSWERED, reply_part(0, 1, 51, SIZE, 1));
    assert_int_equal(tael_datagram_client_answer(bench.client, 0).op, 51);
    assert_int_equal(((const uint8_t *)tael_datagram_client_answer(bench.client, 0).body)[0], 51);
    /* The same op in parts of another size, after a restart. */
    request(0, 128);
    reply_part(0, 2, 60, SIZE, 0);
    struct tael_datagram header = reply_header(0, 2, 60, SIZE, 0);
    header.part_units = 32;
    static uint8_t whole[SIZE];
    HAPPENS(ANSWERED, answer(header, whole, SIZE));
}

/* Whatever got in with a large op does not stop the right one for ever. */
static void test_half_a_reply_that_nobody_completes_is_replaced(void **unused) {
    (void)unused;
    enum { SIZE = 4000 };
    client_open(1, 100, 64);
    request(0, 128);
    reply_part(0, 1, UINT64_MAX / 10, SIZE, 0);
    HAPPENS(NOTHING, reply(0, 1));
    sent(1);
    for (uint32_t i = 0; i < 4; i++) {
        HAPPENS(NOTHING, reply(0, 1));
        pass(PAUSE << i);
        assert_sent(1, TAEL_DATAGRAM_HAVE_REPLY);
    }
    HAPPENS(ANSWERED, reply(0, 1));
}

/* --- the session's end --- */

static void test_a_session_that_has_ended_opens_anew(void **unused) {
    (void)unused;
    client_open(2, 100, 64);
    request(0, 128);
    request(1, 128);
    sent(2);
    HAPPENS(ENDED, notice(1, 1, TAEL_NOTICE_NO_SESSION, 0));
    assert_int_equal(tael_datagram_client_slots(bench.client), 0);
    HAPPENS(NOTHING, reply(0, 1));
    pass(TAEL_NS_PER_S);
    sent(0);
    tael_datagram_client_open(bench.client, ID + 1, bench.now_ns);
    assert_int_equal(sent(1)->header.token, 0);
    cookie(1);
    welcome(64, 64);
    HAPPENS(OPENED, registered(TOKEN + 1, 2, 9));
    sent(2);
    request(1, 128);
    const struct sent *first = sent(1);
    assert_true(first->header.client == ID + 1);
    assert_int_equal(first->header.request, 1);
    assert_int_equal(first->header.token, TOKEN + 1);
}

static void test_options_out_of_range_have_no_size(void **unused) {
    (void)unused;
    const struct tael_datagram_client_options sound = {
        .slots = 1, .datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET, .reply_window = 1, .request_window = 1};
    assert_true(tael_datagram_client_size_bytes(&sound) > TAEL_BODY_SIZE_MAX);
    struct tael_datagram_client_options rows[8] = {sound, sound, sound, sound, sound, sound, sound, sound};
    rows[0].slots = 0;
    rows[1].slots = TAEL_SLOTS_MAX + 1;
    rows[2].datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET - 1;
    rows[3].datagram_max = TAEL_DATAGRAM_SIZE_MAX + 1;
    rows[4].reply_window = 0;
    rows[5].reply_window = TAEL_PARTS_MAX + 1;
    rows[6].request_window = 0;
    rows[7].request_window = UINT16_MAX + 1;
    for (int i = 0; i < 8; i++) assert_int_equal(tael_datagram_client_size_bytes(&rows[i]), 0);
}

/* --- faults --- */

static void test_faults_are_read(void **unused) {
    (void)unused;
    struct tael_faults_options options;
    assert_int_equal(tael_faults_parse("drop=20,duplicate=10,reorder=9,corrupt=1,seed=7", &options), 0);
    assert_int_equal(options.drop, 20);
    assert_int_equal(options.duplicate, 10);
    assert_int_equal(options.reorder, 9);
    assert_int_equal(options.corrupt, 1);
    assert_int_equal(options.seed, 7);
    assert_int_equal(tael_faults_parse("seed=18446744073709551615", &options), 0);
    assert_int_equal(options.drop, 0);
    static const char *const wrong[] = {
        "",
        "drop",
        "drop=",
        "drop=101",
        "drop=1,",
        "drop=1;",
        "drop=-1",
        "dro=1",
        "drops=1",
        "=1",
        ",",
        "drop=1,,seed=2",
        "seed=18446744073709551616",
        "drop=1 ",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (tael_faults_parse(wrong[i], &options) == 0) fail_msg("'%s' is read", wrong[i]);
    }
}

static uint64_t order_of[20000];
static uint32_t delivered;

static void note(void *context, const void *datagram, size_t size, uint64_t tag) {
    (void)context;
    (void)datagram;
    assert_int_equal(size, 100);
    order_of[delivered++] = tag;
}

static void test_faults_happen_as_often_as_asked_and_the_same_each_time(void **unused) {
    (void)unused;
    static struct tael_faults faults, again;
    static const uint8_t datagram[100];
    struct tael_faults_options options;
    assert_int_equal(tael_faults_parse("drop=20,duplicate=10,reorder=10,corrupt=5,seed=7", &options), 0);
    tael_faults_init(&faults, &options, 1);
    delivered = 0;
    for (uint64_t i = 0; i < 10000; i++) tael_faults_pass(&faults, datagram, sizeof datagram, i, note, NULL);
    assert_in_range(faults.drop_count, 1800, 2200);
    assert_in_range(faults.duplicate_count, 700, 900);
    assert_in_range(faults.reorder_count, 700, 900);
    assert_in_range(faults.corrupt_count, 320, 480);
    const uint64_t expected = 10000 - faults.drop_count + faults.duplicate_count;
    assert_in_range(delivered, expected - TAEL_FAULTS_HELD_MAX, expected);
    uint32_t late = 0;
    for (uint32_t i = 1; i < delivered; i++) late += order_of[i] < order_of[i - 1];
    assert_in_range(late, 400, 900);
    tael_faults_init(&again, &options, 1);
    delivered = 0;
    for (uint64_t i = 0; i < 10000; i++) tael_faults_pass(&again, datagram, sizeof datagram, i, note, NULL);
    assert_memory_equal(&faults, &again, sizeof faults);
    tael_faults_init(&again, &(struct tael_faults_options){.seed = 3}, 1);
    delivered = 0;
    for (uint64_t i = 0; i < 100; i++) tael_faults_pass(&again, datagram, sizeof datagram, i, note, NULL);
    assert_int_equal(delivered, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_cookie_welcome_register),
        cmocka_unit_test(test_hello_is_said_again_with_longer_pauses),
        cmocka_unit_test(test_chance_makes_pauses_longer_by_a_quarter_at_most),
        cmocka_unit_test(test_a_lost_welcome_and_a_lost_registration),
        cmocka_unit_test(test_a_registration_that_is_wrong_is_dropped),
        cmocka_unit_test(test_an_opening_that_is_refused_ends),
        cmocka_unit_test(test_another_ledger_is_a_hint),
        cmocka_unit_test(test_a_request_is_sent_again_the_same_until_it_is_answered),
        cmocka_unit_test(test_what_is_not_of_a_request_in_flight_changes_nothing),
        cmocka_unit_test(test_a_damaged_answer_changes_nothing),
        cmocka_unit_test(test_each_notice_has_its_consequence),
        cmocka_unit_test(test_a_busy_server_is_asked_again_when_it_said),
        cmocka_unit_test(test_what_is_given_up_goes_on_with_the_next_number),
        cmocka_unit_test(test_a_carrier_without_room_is_tried_again),
        cmocka_unit_test(test_a_cookie_for_an_answer_has_hello_said_and_all_sent_again),
        cmocka_unit_test(test_parts_go_out_as_the_window_lets),
        cmocka_unit_test(test_a_gap_is_filled_and_halves_the_window),
        cmocka_unit_test(test_silence_has_it_polled),
        cmocka_unit_test(test_a_small_window_is_asked_about),
        cmocka_unit_test(test_a_window_of_zero_is_asked_about),
        cmocka_unit_test(test_all_slots_share_the_window),
        cmocka_unit_test(test_parts_of_a_reply_come_in_any_order),
        cmocka_unit_test(test_each_quarter_of_a_window_is_told),
        cmocka_unit_test(test_what_is_missing_of_a_reply_is_asked_for),
        cmocka_unit_test(test_a_large_read_goes_on_after_its_reply_was_forgotten),
        cmocka_unit_test(test_another_op_in_the_midst_begins_anew),
        cmocka_unit_test(test_half_a_reply_that_nobody_completes_is_replaced),
        cmocka_unit_test(test_a_session_that_has_ended_opens_anew),
        cmocka_unit_test(test_options_out_of_range_have_no_size),
        cmocka_unit_test(test_faults_are_read),
        cmocka_unit_test(test_faults_happen_as_often_as_asked_and_the_same_each_time),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(bench.memory);
    return failed;
}
