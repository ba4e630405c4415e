/* Where a datagram came from and where an answer to it goes. Pure; any thread. */
#ifndef TAEL_IO_ENDPOINT_H
#define TAEL_IO_ENDPOINT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define TAEL_MAC_SIZE 6

struct tael_endpoint {
    uint32_t address; /* IPv4, in the machine's byte order: 127.0.0.1 is 0x7f000001 */
    uint16_t port; /* UDP, in the machine's byte order */
    uint8_t mac[TAEL_MAC_SIZE]; /* of the last hop, itself or a gateway; in the order in which it is sent */
};
static_assert(sizeof(struct tael_endpoint) == 12, "kept with every session, without padding");

/* Whether both are the same socket. The last hop is no part of that: a route may change under a session. */
static inline bool tael_endpoint_equal(const struct tael_endpoint *a, const struct tael_endpoint *b) {
    return a->address == b->address && a->port == b->port;
}

#endif
