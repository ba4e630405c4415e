/* Addresses are read as they are written, and nothing else is. Method: rows of text and what it means. */
#include "io/host_address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void test_addresses_are_read_and_written(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        uint32_t address;
        uint8_t prefix_length;
        const char *written; /* NULL: as it was read */
    } rows[] = {
        {"10.0.0.2/24", 0x0a000002, 24, NULL},        {"10.0.0.2", 0x0a000002, 32, NULL},
        {"10.0.0.2/32", 0x0a000002, 32, "10.0.0.2"},  {"255.255.255.255/0", 0xffffffff, 0, NULL},
        {"192.168.100.200/30", 0xc0a864c8, 30, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tael_host_address address;
        char text[TAEL_HOST_ADDRESS_TEXT_SIZE];
        assert_int_equal(tael_host_address_parse(rows[i].text, &address), 0);
        assert_int_equal(address.address, rows[i].address);
        assert_int_equal(address.prefix_length, rows[i].prefix_length);
        const char *written = rows[i].written == NULL ? rows[i].text : rows[i].written;
        assert_string_equal(tael_host_address_format(&address, text), written);
    }
}

static void test_what_is_no_address_is_rejected(void **unused) {
    (void)unused;
    static const char *const rows[] = {
        "",           "10",           "10.0.0",       "10.0.0.256",   "10.0.0.2/",        "10.0.0.2/33",
        "10.0.0.2/-", "10.0.0.2/024", "10.0.0.2/2/4", "10.0.0.2:300", "10.0.0.2 ",        " 10.0.0.2",
        "/24",        "::1",          "localhost",    "10.0.0.2/1e1", "100.100.100.1000", "100.100.100.100.100.100/24",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tael_host_address address;
        if (tael_host_address_parse(rows[i], &address) != -EINVAL) fail_msg("\"%s\" was taken for an address", rows[i]);
    }
}

static void test_unicast_addresses(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        bool is_unicast;
    } rows[] = {
        {"0.0.0.0", false},   {"0.1.2.3", false},   {"1.0.0.0", true},          {"10.255.255.255", true},
        {"127.0.0.1", false}, {"126.0.0.1", true},  {"128.0.0.1", true},        {"223.255.255.255", true},
        {"224.0.0.1", false}, {"240.0.0.1", false}, {"255.255.255.255", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tael_host_address address;
        assert_int_equal(tael_host_address_parse(rows[i].text, &address), 0);
        if (tael_address_is_unicast(address.address) != rows[i].is_unicast) fail_msg("%s", rows[i].text);
    }
}

static void test_neighbours_share_the_prefix(void **unused) {
    (void)unused;
    static const struct {
        const char *own, *other;
        bool is_neighbour;
    } rows[] = {
        {"10.0.0.2/24", "10.0.0.77", true}, {"10.0.0.2/24", "10.0.1.2", false},  {"10.0.0.2", "10.0.0.3", false},
        {"10.0.0.2", "10.0.0.2", true},     {"10.0.0.2/0", "200.200.1.1", true}, {"10.0.0.2/31", "10.0.0.3", true},
        {"10.0.0.2/31", "10.0.0.4", false}, {"128.0.0.1/1", "127.0.0.1", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tael_host_address own, other;
        assert_int_equal(tael_host_address_parse(rows[i].own, &own), 0);
        assert_int_equal(tael_host_address_parse(rows[i].other, &other), 0);
        if (tael_host_address_is_neighbour(&own, other.address) != rows[i].is_neighbour)
            fail_msg("%s and %s", rows[i].own, rows[i].other);
    }
}

static void test_macs_are_read_and_written(void **unused) {
    (void)unused;
    static const char *const wrong[] = {
        "",
        "02:00:0a:00:00",
        "02:00:0a:00:00:0",
        "02:00:0a:00:00:0g",
        "02-00-0a-00-00-02",
        "02:00:0a:00:00:02:",
        "2:0:a:0:0:2",
    };
    uint8_t mac[TAEL_MAC_SIZE];
    char text[TAEL_MAC_TEXT_SIZE];
    assert_int_equal(tael_mac_parse("02:00:0A:fe:00:09", mac), 0);
    assert_memory_equal(mac, "\x02\x00\x0a\xfe\x00\x09", TAEL_MAC_SIZE);
    assert_string_equal(tael_mac_format(mac, text), "02:00:0a:fe:00:09");
    for (size_t i = 0; i < COUNT(wrong); i++) {
        if (tael_mac_parse(wrong[i], mac) != -EINVAL) fail_msg("\"%s\" was taken for a MAC", wrong[i]);
    }
}

static void test_a_mac_is_made_from_an_address(void **unused) {
    (void)unused;
    uint8_t mac[TAEL_MAC_SIZE];
    tael_mac_from_address(0x0a0102fe, mac);
    assert_memory_equal(mac, "\x02\x00\x0a\x01\x02\xfe", TAEL_MAC_SIZE);
    assert_true(tael_mac_is_unicast(mac));
    assert_false(tael_mac_is_unicast((const uint8_t[]){0, 0, 0, 0, 0, 0}));
    assert_false(tael_mac_is_unicast((const uint8_t[]){1, 0, 0, 0, 0, 0}));
    assert_false(tael_mac_is_unicast((const uint8_t[]){255, 255, 255, 255, 255, 255}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_read_and_written),
        cmocka_unit_test(test_what_is_no_address_is_rejected),
        cmocka_unit_test(test_unicast_addresses),
        cmocka_unit_test(test_neighbours_share_the_prefix),
        cmocka_unit_test(test_macs_are_read_and_written),
        cmocka_unit_test(test_a_mac_is_made_from_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
