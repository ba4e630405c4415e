/* Addresses as people write them: what is one, what it means, and that it is written back so that it reads the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "io/address.h"

static void test_addresses_are_numeric_with_a_port(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *written; /* NULL: refused */
        bool is_loopback;
    } rows[] = {
        {"127.0.0.1:3000", "127.0.0.1:3000", true},
        {"3000", "127.0.0.1:3000", true},
        {"127.9.9.9:0", "127.9.9.9:0", true},
        {"0.0.0.0:65535", "0.0.0.0:65535", false},
        {"192.168.1.7:3000", "192.168.1.7:3000", false},
        {"[::1]:3000", "[::1]:3000", true},
        {"[::]:3000", "[::]:3000", false},
        {"[2001:db8::7]:1", "[2001:db8::7]:1", false},
        {"", NULL, false},
        {":", NULL, false},
        {":3000", NULL, false},
        {"127.0.0.1", NULL, false},
        {"127.0.0.1:", NULL, false},
        {"127.0.0.1:65536", NULL, false},
        {"127.0.0.1:999999999999", NULL, false},
        {"127.0.0.1:-1", NULL, false},
        {"127.0.0.1:3000x", NULL, false},
        {"::1:3000", NULL, false},
        {"[::1:3000", NULL, false},
        {"[::1]3000", NULL, false},
        {"[]:3000", NULL, false},
        {"localhost:3000", NULL, false},
        {"256.0.0.1:3000", NULL, false},
        {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:1", NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tael_address address;
        char text[TAEL_ADDRESS_TEXT_SIZE];
        const int error = tael_address_parse(rows[i].text, &address);
        if (rows[i].written == NULL) {
            if (error != -EINVAL) fail_msg("'%s' was taken", rows[i].text);
            continue;
        }
        if (error != 0) fail_msg("'%s' was refused", rows[i].text);
        assert_string_equal(tael_address_format(&address, text), rows[i].written);
        assert_int_equal(tael_address_is_loopback(&address), rows[i].is_loopback);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses_are_numeric_with_a_port)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
