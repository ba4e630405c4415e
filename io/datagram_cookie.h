/* Cookies: what an endpoint shows to prove that what is sent to its address arrives there, without anything being remembered.
 *
 * A cookie is SipHash-2-4 with 128 bits, by a key that the server drew at its start, over address, port and the number of the period in
 * which it was made. It holds in that period and in the next. SipHash since it is meant for short messages from whoever wants
 * to forge or to collide them; libsodium's since that one is looked after, takes no context and allocates nothing.
 *
 * Pure; any thread. */
#ifndef TAEL_IO_DATAGRAM_COOKIE_H
#define TAEL_IO_DATAGRAM_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/limits.h>

#include "io/endpoint.h"

#define TAEL_COOKIE_SIZE 16
#define TAEL_COOKIE_KEY_SIZE 16
/* A cookie is good for so long at least, and for twice that at most. */
#define TAEL_COOKIE_PERIOD_NS (10 * TAEL_NS_PER_S)

struct tael_cookie_key {
    uint8_t bytes[TAEL_COOKIE_KEY_SIZE];
};

void tael_cookie_make(uint8_t cookie[TAEL_COOKIE_SIZE], const struct tael_cookie_key *key,
                      const struct tael_endpoint *of, uint64_t now_ns);

/* Whether it was made for this endpoint, not too long ago. In constant time. */
bool tael_cookie_check(const uint8_t cookie[TAEL_COOKIE_SIZE], const struct tael_cookie_key *key,
                       const struct tael_endpoint *of, uint64_t now_ns);

#endif
