/* Small questions about bytes and numbers that several parts ask. Pure. */
#ifndef TAEL_BITS_H
#define TAEL_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool tael_bytes_are_zero(const void *data, size_t size) {
    const uint8_t *bytes = data;
    /* Equal to itself one byte on, and the first byte is zero: memcmp is the widest loop there is. */
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* The smallest power of two that is at least `number`, which is at most 2^31: capacities of rings, places of tables. */
static inline uint32_t tael_power_of_two(uint32_t number) {
    uint32_t power = 1;
    while (power < number) power *= 2;
    return power;
}

#endif
