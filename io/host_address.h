/* A host's addresses as people write them: "10.0.0.2/24" and "02:00:0a:00:00:02". Pure; any thread. */
#ifndef TAEL_IO_HOST_ADDRESS_H
#define TAEL_IO_HOST_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/endpoint.h"

struct tael_host_address {
    uint32_t address; /* IPv4, in the machine's byte order */
    uint8_t prefix_length; /* 0 to 32; 32 where none was written: alone in its network */
};

#define TAEL_HOST_ADDRESS_TEXT_SIZE 20
#define TAEL_MAC_TEXT_SIZE 18

/* "A.B.C.D" or "A.B.C.D/LENGTH", decimal without leading zeros. 0, or -EINVAL. Whether a host may have the address is another
 * question: tael_address_is_unicast. */
int tael_host_address_parse(const char *text, struct tael_host_address *out);

/* As tael_host_address_parse reads it, the length left out where it is 32. Returns `text`. */
const char *tael_host_address_format(const struct tael_host_address *address,
                                     char text[static TAEL_HOST_ADDRESS_TEXT_SIZE]);

/* Whether one host beyond this machine can have the address: not 0/8, 127/8, multicast, reserved or broadcast. */
static inline bool tael_address_is_unicast(uint32_t address) {
    const uint32_t first = address >> 24;
    return first != 0 && first != 127 && first < 224;
}

/* Whether `other` is reached without a gateway. */
bool tael_host_address_is_neighbour(const struct tael_host_address *address, uint32_t other);

/* Six pairs of hexadecimal digits with colons between them. 0, or -EINVAL. */
int tael_mac_parse(const char *text, uint8_t mac[static TAEL_MAC_SIZE]);

/* Returns `text`. */
const char *tael_mac_format(const uint8_t mac[static TAEL_MAC_SIZE], char text[static TAEL_MAC_TEXT_SIZE]);

/* Whether one interface can have it: neither zero nor a group's. */
bool tael_mac_is_unicast(const uint8_t mac[static TAEL_MAC_SIZE]);

/* A locally administered MAC for a device without one: 02:00 and the address. Unique where the address is. */
void tael_mac_from_address(uint32_t address, uint8_t mac[static TAEL_MAC_SIZE]);

#endif
