#include "io/host_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <tael/bits.h>

/* One or two digits, the first of two not 0. */
static int prefix_length_parse(const char *text, uint8_t *out) {
    unsigned length = 0;
    const size_t size = strlen(text);
    if (size < 1 || size > 2 || (size == 2 && text[0] == '0')) return -EINVAL;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return -EINVAL;
        length = length * 10 + (unsigned)(*text - '0');
    }
    if (length > 32) return -EINVAL;
    *out = (uint8_t)length;
    return 0;
}

int tael_host_address_parse(const char *text, struct tael_host_address *out) {
    char host[INET_ADDRSTRLEN];
    uint8_t prefix_length = 32;
    struct in_addr in;
    const char *slash = strchr(text, '/');
    const size_t size = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if (size >= sizeof host) return -EINVAL;
    if (slash != NULL && prefix_length_parse(slash + 1, &prefix_length) != 0) return -EINVAL;
    memcpy(host, text, size);
    host[size] = '\0';
    if (inet_pton(AF_INET, host, &in) != 1) return -EINVAL;
    *out = (struct tael_host_address){.address = ntohl(in.s_addr), .prefix_length = prefix_length};
    return 0;
}

const char *tael_host_address_format(const struct tael_host_address *address,
                                     char text[static TAEL_HOST_ADDRESS_TEXT_SIZE]) {
    const uint32_t a = address->address;
    const unsigned length = address->prefix_length & 63;
    const int size =
        snprintf(text, TAEL_HOST_ADDRESS_TEXT_SIZE, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
    if (length != 32) snprintf(text + size, TAEL_HOST_ADDRESS_TEXT_SIZE - (size_t)size, "/%u", length);
    return text;
}

bool tael_host_address_is_neighbour(const struct tael_host_address *address, uint32_t other) {
    /* In 64 bits, since a shift by 32 has no meaning in 32. */
    const uint64_t mask = UINT64_MAX << (32 - address->prefix_length);
    return ((address->address ^ other) & mask) == 0;
}

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

int tael_mac_parse(const char *text, uint8_t mac[static TAEL_MAC_SIZE]) {
    uint8_t parsed[TAEL_MAC_SIZE];
    if (strlen(text) != TAEL_MAC_TEXT_SIZE - 1) return -EINVAL;
    for (size_t i = 0; i < TAEL_MAC_SIZE; i++) {
        const int high = hex_digit(text[3 * i]);
        const int low = hex_digit(text[3 * i + 1]);
        if (high < 0 || low < 0) return -EINVAL;
        if (i + 1 < TAEL_MAC_SIZE && text[3 * i + 2] != ':') return -EINVAL;
        parsed[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(mac, parsed, sizeof parsed);
    return 0;
}

const char *tael_mac_format(const uint8_t mac[static TAEL_MAC_SIZE], char text[static TAEL_MAC_TEXT_SIZE]) {
    snprintf(text, TAEL_MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    return text;
}

bool tael_mac_is_unicast(const uint8_t mac[static TAEL_MAC_SIZE]) {
    return (mac[0] & 1) == 0 && !tael_bytes_are_zero(mac, TAEL_MAC_SIZE);
}

void tael_mac_from_address(uint32_t address, uint8_t mac[static TAEL_MAC_SIZE]) {
    mac[0] = 0x02; /* the bit that says: not a manufacturer's */
    mac[1] = 0;
    for (int i = 0; i < 4; i++) mac[2 + i] = (uint8_t)(address >> (24 - 8 * i));
}
