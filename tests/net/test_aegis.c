/* The clients' checksum gives the tags that the protocol's description lists, at every size and alignment.
 * Method: published vectors, and a plain reference written after the draft's text with an AES round in C. */
#include "io/aegis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- the reference: bytes and tables, no intrinsics --- */

static uint8_t reference_sbox[256];

static uint8_t rotate_left(uint8_t value, int by) { return (uint8_t)((value << by) | (value >> (8 - by))); }

static uint8_t times_two(uint8_t value) { return (uint8_t)((value << 1) ^ (value >> 7) * 0x1b); }

/* Walks the field by a generator and its inverse, which gives each element next to its inverse. */
static void reference_init(void) {
    uint8_t p = 1;
    uint8_t q = 1;
    do {
        p = (uint8_t)(p ^ times_two(p));
        q = (uint8_t)(q ^ (q << 1));
        q = (uint8_t)(q ^ (q << 2));
        q = (uint8_t)(q ^ (q << 4));
        if (q & 0x80) q ^= 0x09;
        const uint8_t mixed =
            (uint8_t)(q ^ rotate_left(q, 1) ^ rotate_left(q, 2) ^ rotate_left(q, 3) ^ rotate_left(q, 4));
        reference_sbox[p] = mixed ^ 0x63;
    } while (p != 1);
    reference_sbox[0] = 0x63;
}

static void aes_round(uint8_t out[16], const uint8_t in[16], const uint8_t key[16]) {
    uint8_t result[16];
    for (int column = 0; column < 4; column++) {
        uint8_t s[4];
        for (int row = 0; row < 4; row++) s[row] = reference_sbox[in[((column + row) % 4) * 4 + row]];
        for (int row = 0; row < 4; row++) {
            const uint8_t next = s[(row + 1) % 4];
            result[column * 4 + row] = (uint8_t)(times_two(s[row]) ^ times_two(next) ^ next ^ s[(row + 2) % 4] ^
                                                 s[(row + 3) % 4] ^ key[column * 4 + row]);
        }
    }
    memcpy(out, result, 16);
}

static void reference_round(uint8_t state[8][16], const uint8_t m0[16], const uint8_t m1[16]) {
    uint8_t next[8][16];
    for (int i = 0; i < 8; i++) {
        uint8_t key[16];
        for (int j = 0; j < 16; j++) {
            key[j] = (uint8_t)(state[i][j] ^ (i == 0 ? m0[j] : 0) ^ (i == 4 ? m1[j] : 0));
        }
        aes_round(next[i], state[(i + 7) % 8], key);
    }
    memcpy(state, next, sizeof next);
}

static tael_u128 reference_checksum(const uint8_t *data, size_t size) {
    static const uint8_t c0[16] = {0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d,
                                   0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79, 0x62};
    static const uint8_t c1[16] = {0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1,
                                   0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28, 0xdd};
    static const uint8_t zero[16] = {0};
    uint8_t state[8][16] = {{0}};
    memcpy(state[1], c1, 16);
    memcpy(state[2], c0, 16);
    memcpy(state[3], c1, 16);
    memcpy(state[5], c0, 16);
    memcpy(state[6], c1, 16);
    memcpy(state[7], c0, 16);
    for (int i = 0; i < 10; i++) reference_round(state, zero, zero);
    for (size_t at = 0; at < size; at += 32) {
        uint8_t chunk[32] = {0};
        memcpy(chunk, data + at, size - at < 32 ? size - at : 32);
        reference_round(state, chunk, chunk + 16);
    }
    uint8_t last[16] = {0};
    const uint64_t bits = (uint64_t)size * 8;
    memcpy(last, &bits, 8);
    for (int j = 0; j < 16; j++) last[j] ^= state[2][j];
    for (int i = 0; i < 7; i++) reference_round(state, last, last);
    uint8_t tag[16] = {0};
    for (int i = 0; i < 7; i++) {
        for (int j = 0; j < 16; j++) tag[j] ^= state[i][j];
    }
    tael_u128 result;
    memcpy(&result, tag, 16);
    return result;
}

/* --- tests --- */

static void fill(uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)i;
}

static void assert_hex(tael_u128 tag, const char *hex) {
    char text[33];
    uint8_t bytes[16];
    memcpy(bytes, &tag, 16);
    for (size_t i = 0; i < 16; i++) snprintf(text + i * 2, 3, "%02x", bytes[i]);
    assert_string_equal(text, hex);
}

static void test_published_vectors(void **unused) {
    (void)unused;
    static const struct {
        size_t size;
        const char *hex;
    } rows[] = {
        {0, "83cc600dc4e3e7e62d4055826174f149"},  {1, "6e12b8774264fed574e418fe77b706bc"},
        {31, "419e43b0a730e59ecedf48700b4d97ba"}, {32, "2a7ca5353eba9161dc6c83c36d2e6adb"},
        {33, "205dbc4d693090b206092b05c26870c4"}, {240, "cf36208392381922c05b21f99ce8fff6"},
    };
    uint8_t data[256];
    fill(data, sizeof data);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_hex(tael_checksum(data, rows[i].size), rows[i].hex);
    }
    memset(data, 0, 16);
    assert_hex(tael_checksum(data, 16), "f72ad48dd05dd1656133101cd4be3a26");
    assert_hex(tael_checksum(NULL, 0), "83cc600dc4e3e7e62d4055826174f149");
}

static void test_every_size_agrees_with_the_reference(void **unused) {
    (void)unused;
    uint8_t data[1024];
    fill(data, sizeof data);
    for (size_t size = 0; size <= sizeof data; size++) {
        assert_true(tael_checksum(data, size) == reference_checksum(data, size));
    }
}

static void test_alignment_does_not_matter(void **unused) {
    (void)unused;
    uint8_t data[512 + 64];
    for (size_t offset = 0; offset < 64; offset++) {
        fill(data + offset, 512);
        assert_true(tael_checksum(data + offset, 500) == reference_checksum(data + offset, 500));
    }
}

static void test_every_bit_counts(void **unused) {
    (void)unused;
    uint8_t data[240];
    fill(data, sizeof data);
    const tael_u128 right = tael_checksum(data, sizeof data);
    for (size_t bit = 0; bit < sizeof data * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_true(tael_checksum(data, sizeof data) != right);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

int main(void) {
    if (!tael_aegis_supported()) {
        printf("skipped: this processor has no AES-NI\n");
        return 77; /* meson's code for a skipped test */
    }
    reference_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_vectors),
        cmocka_unit_test(test_every_size_agrees_with_the_reference),
        cmocka_unit_test(test_alignment_does_not_matter),
        cmocka_unit_test(test_every_bit_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
