#include "io/datagram_cookie.h"

#include <assert.h>

#include <sodium/crypto_shorthash_siphash24.h>
#include <sodium/utils.h>

static_assert(TAEL_COOKIE_SIZE == crypto_shorthash_siphashx24_BYTES, "the whole hash");
static_assert(TAEL_COOKIE_KEY_SIZE == crypto_shorthash_siphashx24_KEYBYTES, "the whole key");

/* What is hashed. */
struct subject {
    uint64_t period;
    uint32_t address;
    uint16_t port;
    uint16_t zero;
};
static_assert(sizeof(struct subject) == 16, "no padding is hashed");

static void make_in(uint8_t cookie[TAEL_COOKIE_SIZE], const struct tael_cookie_key *key, const struct tael_endpoint *of,
                    uint64_t period) {
    const struct subject subject = {.period = period, .address = of->address, .port = of->port};
    (void)crypto_shorthash_siphashx24(cookie, (const unsigned char *)&subject, sizeof subject, key->bytes);
}

void tael_cookie_make(uint8_t cookie[TAEL_COOKIE_SIZE], const struct tael_cookie_key *key,
                      const struct tael_endpoint *of, uint64_t now_ns) {
    make_in(cookie, key, of, now_ns / TAEL_COOKIE_PERIOD_NS);
}

static bool check_in(const uint8_t cookie[TAEL_COOKIE_SIZE], const struct tael_cookie_key *key,
                     const struct tael_endpoint *of, uint64_t period) {
    uint8_t expected[TAEL_COOKIE_SIZE];
    make_in(expected, key, of, period);
    return sodium_memcmp(cookie, expected, TAEL_COOKIE_SIZE) == 0;
}

bool tael_cookie_check(const uint8_t cookie[TAEL_COOKIE_SIZE], const struct tael_cookie_key *key,
                       const struct tael_endpoint *of, uint64_t now_ns) {
    const uint64_t period = now_ns / TAEL_COOKIE_PERIOD_NS;
    if (check_in(cookie, key, of, period)) return true;
    return period > 0 && check_in(cookie, key, of, period - 1);
}
