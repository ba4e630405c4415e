/* 128-bit unsigned integers: ids, amounts, balances and checksums.
 *
 * They are little-endian on the wire, in the log and in memory. The compiler's own type is used; `__extension__` keeps
 * strict C17 warnings quiet about it. Everything here is pure. */
#ifndef TAEL_U128_H
#define TAEL_U128_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 tael_u128;

static_assert(sizeof(tael_u128) == 16, "wire format");
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "records are little-endian and are used in place"
#endif

#define TAEL_U128_MAX (~(tael_u128)0)

static inline tael_u128 tael_u128_make(uint64_t high, uint64_t low) { return ((tael_u128)high << 64) | low; }
static inline uint64_t tael_u128_low(tael_u128 value) { return (uint64_t)value; }
static inline uint64_t tael_u128_high(tael_u128 value) { return (uint64_t)(value >> 64); }

/* True when a + b does not fit 128 bits. */
static inline bool tael_u128_sum_overflows(tael_u128 a, tael_u128 b) { return b > TAEL_U128_MAX - a; }

#endif
