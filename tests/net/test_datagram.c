/* A datagram is let in only when all of it is as docs/datagram-protocol.md says.
 * Method: rows that spoil one thing in a sound datagram, sealed anew, so that only that thing is wrong. */
#include "io/datagram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEDGER 7

enum { ROOM = TAEL_DATAGRAM_SIZE_MAX };

/* At an odd address, as behind Ethernet's header. */
static uint8_t memory[ROOM + 1];
static uint8_t *const datagram = memory + 1;

static const struct tael_datagram sound = {
    .token = 11,
    .ledger = LEDGER,
    .client = 12,
    .request = 13,
    .body_size = 3000,
    .part = 1,
    .slot = 2,
    .flags = TAEL_DATAGRAM_ONE_BATCH,
    .kind = TAEL_DATAGRAM_REQUEST,
    .operation = 147,
    .part_units = 11,
};

/* Seals what is at hand, whatever it says. */
static uint32_t seal(const struct tael_datagram *header, uint32_t part_size) {
    memset(datagram + TAEL_DATAGRAM_HEADER_SIZE, 0, part_size);
    return tael_datagram_seal(datagram, header, part_size);
}

static enum tael_datagram_verdict check(uint32_t size, enum tael_datagram_side side) {
    struct tael_datagram_view view;
    return tael_datagram_check(datagram, size, side, LEDGER, &view);
}

static void test_a_sound_one_is_let_in(void **unused) {
    (void)unused;
    struct tael_datagram_view view;
    for (uint32_t i = 0; i < 1408; i++) datagram[TAEL_DATAGRAM_HEADER_SIZE + i] = (uint8_t)i;
    const uint32_t size = tael_datagram_seal(datagram, &sound, 1408);
    assert_int_equal(size, TAEL_DATAGRAM_SIZE_ETHERNET);
    assert_int_equal(tael_datagram_check(datagram, size, TAEL_DATAGRAM_FROM_CLIENT, LEDGER, &view), 0);
    assert_int_equal(view.part_size, 1408);
    assert_int_equal(view.part_count, 3);
    assert_ptr_equal(view.part, datagram + TAEL_DATAGRAM_HEADER_SIZE);
    assert_memory_equal(&view.header.token, &sound.token, offsetof(struct tael_datagram, version) - 8);
    assert_int_equal(view.header.version, TAEL_DATAGRAM_VERSION);
    for (uint32_t i = 0; i < 1408; i++) assert_int_equal(view.part[i], (uint8_t)i);
}

/* Every bit of it is covered by the checksum. */
static void test_a_flipped_bit_is_found(void **unused) {
    (void)unused;
    const uint32_t size = seal(&sound, 1408);
    for (uint32_t bit = 0; bit < size * 8; bit++) {
        datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(check(size, TAEL_DATAGRAM_FROM_CLIENT), TAEL_DATAGRAM_VERDICT_checksum);
        datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(check(size - 1, TAEL_DATAGRAM_FROM_CLIENT), TAEL_DATAGRAM_VERDICT_checksum);
    assert_int_equal(check(size, TAEL_DATAGRAM_FROM_CLIENT), TAEL_DATAGRAM_VERDICT_ok);
}

struct row {
    const char *name;
    enum tael_datagram_verdict verdict;
    struct tael_datagram header;
    uint32_t part_size;
    bool from_server;
};

#define REQUEST .ledger = LEDGER, .client = 1, .kind = TAEL_DATAGRAM_REQUEST, .part_units = 11
#define REPLY .ledger = LEDGER, .kind = TAEL_DATAGRAM_REPLY, .part_units = 11

static const struct row rows[] = {
    {"no body", TAEL_DATAGRAM_VERDICT_ok, {REQUEST}, 0, false},
    {"one transfer", TAEL_DATAGRAM_VERDICT_ok, {REQUEST, .body_size = 128}, 128, false},
    {"one full part", TAEL_DATAGRAM_VERDICT_ok, {REQUEST, .body_size = 1408}, 1408, false},
    {"the last part of one byte", TAEL_DATAGRAM_VERDICT_ok, {REQUEST, .body_size = 1409, .part = 1}, 1, false},
    {"the largest body", TAEL_DATAGRAM_VERDICT_ok, {REQUEST, .body_size = TAEL_BODY_SIZE_MAX, .part = 744}, 768, false},
    {"a jumbo part",
     TAEL_DATAGRAM_VERDICT_ok,
     {.ledger = LEDGER, .client = 1, .kind = TAEL_DATAGRAM_REQUEST, .part_units = 69, .body_size = 9000},
     69 * 128,
     false},
    {"a poll", TAEL_DATAGRAM_VERDICT_ok, {.ledger = LEDGER, .client = 1, .kind = 3, .part_units = 1}, 0, false},
    {"a short reply", TAEL_DATAGRAM_VERDICT_ok, {REPLY, .body_size = 16}, 16, true},
    {"a reply without a body", TAEL_DATAGRAM_VERDICT_ok, {REPLY}, 0, true},
    {"a scratch reply", TAEL_DATAGRAM_VERDICT_ok, {REPLY, .flags = TAEL_DATAGRAM_SCRATCH}, 0, true},
    {"another ledger",
     TAEL_DATAGRAM_VERDICT_ledger,
     {.ledger = LEDGER + 1, .client = 1, .kind = TAEL_DATAGRAM_REQUEST, .part_units = 1},
     0,
     false},
    {"kind 0", TAEL_DATAGRAM_VERDICT_kind, {.ledger = LEDGER, .client = 1, .part_units = 1}, 0, false},
    {"a reply from a client", TAEL_DATAGRAM_VERDICT_kind, {REPLY, .client = 1, .body_size = 32}, 32, false},
    {"a request from a server", TAEL_DATAGRAM_VERDICT_kind, {REQUEST}, 32, true},
    {"client zero",
     TAEL_DATAGRAM_VERDICT_client,
     {.ledger = LEDGER, .kind = TAEL_DATAGRAM_REQUEST, .part_units = 1},
     0,
     false},
    {"a client's scratch flag", TAEL_DATAGRAM_VERDICT_flags, {REQUEST, .flags = TAEL_DATAGRAM_SCRATCH}, 0, false},
    {"an unknown flag", TAEL_DATAGRAM_VERDICT_flags, {REPLY, .flags = 4}, 0, true},
    {"parts of no size",
     TAEL_DATAGRAM_VERDICT_parts,
     {.ledger = LEDGER, .client = 1, .kind = TAEL_DATAGRAM_REQUEST},
     0,
     false},
    {"a body too large", TAEL_DATAGRAM_VERDICT_parts, {REQUEST, .body_size = TAEL_BODY_SIZE_MAX + 1}, 1408, false},
    {"the largest size there is", TAEL_DATAGRAM_VERDICT_parts, {REQUEST, .body_size = UINT32_MAX}, 1408, false},
    {"a part behind the last", TAEL_DATAGRAM_VERDICT_parts, {REQUEST, .body_size = 1408, .part = 1}, 1408, false},
    {"a second part of no body", TAEL_DATAGRAM_VERDICT_parts, {REQUEST, .part = 1}, 0, false},
    {"more parts than there may be",
     TAEL_DATAGRAM_VERDICT_parts,
     {.ledger = LEDGER,
      .client = 1,
      .kind = TAEL_DATAGRAM_REQUEST,
      .part_units = 1,
      .body_size = (TAEL_PARTS_MAX + 1) * TAEL_PART_UNIT},
     128,
     false},
    {"a part too short", TAEL_DATAGRAM_VERDICT_parts, {REQUEST, .body_size = 3000}, 1407, false},
    {"a part too long", TAEL_DATAGRAM_VERDICT_parts, {REQUEST, .body_size = 3000}, 1409, false},
    {"more than its body", TAEL_DATAGRAM_VERDICT_parts, {REQUEST, .body_size = 64}, 128, false},
    {"a reply with padding", TAEL_DATAGRAM_VERDICT_parts, {REPLY, .body_size = 16}, 32, true},
    {"a poll with a body",
     TAEL_DATAGRAM_VERDICT_parts,
     {.ledger = LEDGER, .client = 1, .kind = TAEL_DATAGRAM_POLL, .part_units = 1, .body_size = 32},
     32,
     false},
    {"a structure in two parts",
     TAEL_DATAGRAM_VERDICT_parts,
     {.ledger = LEDGER, .client = 1, .kind = TAEL_DATAGRAM_HAVE_REPLY, .part_units = 1, .body_size = 136},
     128,
     false},
    {"a hello of another size",
     TAEL_DATAGRAM_VERDICT_parts,
     {.ledger = LEDGER, .client = 1, .kind = TAEL_DATAGRAM_HELLO, .part_units = 1, .body_size = 33},
     33,
     false},
};

static void test_each_contradiction_has_its_verdict(void **unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        const uint32_t size = seal(&row->header, row->part_size);
        const enum tael_datagram_verdict verdict =
            check(size, row->from_server ? TAEL_DATAGRAM_FROM_SERVER : TAEL_DATAGRAM_FROM_CLIENT);
        if (verdict != row->verdict) fail_msg("%s: %s", row->name, tael_datagram_verdict_text(verdict));
    }
}

static void test_sizes_out_of_bounds(void **unused) {
    (void)unused;
    memset(datagram, 0, ROOM);
    assert_int_equal(check(0, TAEL_DATAGRAM_FROM_SERVER), TAEL_DATAGRAM_VERDICT_short);
    assert_int_equal(check(63, TAEL_DATAGRAM_FROM_SERVER), TAEL_DATAGRAM_VERDICT_short);
    assert_int_equal(check(95, TAEL_DATAGRAM_FROM_CLIENT), TAEL_DATAGRAM_VERDICT_short);
    assert_int_equal(check(ROOM + 1, TAEL_DATAGRAM_FROM_CLIENT), TAEL_DATAGRAM_VERDICT_short);
    assert_int_equal(check(64, TAEL_DATAGRAM_FROM_SERVER), TAEL_DATAGRAM_VERDICT_checksum);
}

/* Padding and reserved bytes: written behind the seal's back, so sealed by hand as the one part that there is. */
static void test_what_is_reserved_is_zero(void **unused) {
    (void)unused;
    struct tael_datagram header = sound;
    header.part = 0;
    header.body_size = 10;
    /* A datagram of 96 bytes whose padding holds something: the seal takes it for the part. */
    memset(datagram + TAEL_DATAGRAM_HEADER_SIZE, 0, 32);
    datagram[TAEL_DATAGRAM_HEADER_SIZE + 31] = 1;
    uint32_t size = tael_datagram_seal(datagram, &header, 32);
    assert_int_equal(check(size, TAEL_DATAGRAM_FROM_CLIENT), TAEL_DATAGRAM_VERDICT_reserved);
    static const struct {
        uint8_t kind;
        uint32_t offset;
        uint32_t size;
        bool from_server;
    } bodies[] = {
        {TAEL_DATAGRAM_HELLO, offsetof(struct tael_datagram_hello, reserved), 32, false},
        {TAEL_DATAGRAM_HAVE_REPLY, offsetof(struct tael_datagram_have, reserved), 136, false},
        {TAEL_DATAGRAM_COOKIE, offsetof(struct tael_datagram_cookie, reserved), 32, true},
        {TAEL_DATAGRAM_WELCOME, offsetof(struct tael_datagram_welcome, reserved), 32, true},
        {TAEL_DATAGRAM_HAVE_REQUEST, offsetof(struct tael_datagram_have, reserved), 136, true},
        {TAEL_DATAGRAM_NOTICE, offsetof(struct tael_datagram_notice, reserved), 32, true},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        const enum tael_datagram_side side =
            bodies[i].from_server ? TAEL_DATAGRAM_FROM_SERVER : TAEL_DATAGRAM_FROM_CLIENT;
        header = (struct tael_datagram){
            .ledger = LEDGER, .client = 1, .kind = bodies[i].kind, .body_size = bodies[i].size, .part_units = 2};
        size = seal(&header, bodies[i].size);
        assert_int_equal(check(size, side), TAEL_DATAGRAM_VERDICT_ok);
        datagram[TAEL_DATAGRAM_HEADER_SIZE + bodies[i].offset] = 1;
        size = tael_datagram_seal(datagram, &header, bodies[i].size);
        assert_int_equal(check(size, side), TAEL_DATAGRAM_VERDICT_reserved);
    }
}

static void test_parts_make_up_the_body(void **unused) {
    (void)unused;
    static const uint32_t sizes[] = {0, 1, 127, 128, 1407, 1408, 1409, 2816, 131072, TAEL_BODY_SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (uint32_t units = 8; units <= 69; units++) {
            const uint32_t parts = tael_datagram_parts(sizes[i], units);
            uint32_t sum = 0;
            for (uint32_t part = 0; part < parts; part++) sum += tael_datagram_part_size(sizes[i], units, part);
            assert_int_equal(sum, sizes[i]);
            assert_in_range(parts, 1, TAEL_PARTS_MAX);
        }
    }
    assert_int_equal(tael_datagram_part_units(TAEL_DATAGRAM_SIZE_ETHERNET), 11);
    assert_int_equal(tael_datagram_part_units(TAEL_DATAGRAM_SIZE_MAX), 69);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sound_one_is_let_in),
        cmocka_unit_test(test_a_flipped_bit_is_found),
        cmocka_unit_test(test_each_contradiction_has_its_verdict),
        cmocka_unit_test(test_sizes_out_of_bounds),
        cmocka_unit_test(test_what_is_reserved_is_zero),
        cmocka_unit_test(test_parts_make_up_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
