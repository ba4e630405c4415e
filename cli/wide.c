#include "cli/wide.h"

#include <stdbool.h>

static unsigned digit_value(char c) {
    if (c >= '0' && c <= '9') return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f') return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') return (unsigned)(c - 'A') + 10;
    return UINT32_MAX;
}

enum tael_wide_outcome tael_wide_read(const char *text, size_t size, tael_u128 *out) {
    const bool is_hex = size > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const unsigned base = is_hex ? 16 : 10;
    bool is_too_large = false;
    tael_u128 value = 0;
    size_t i = is_hex ? 2 : 0;
    if (i >= size || text[i] == '_') return TAEL_WIDE_NONE;
    for (; i < size; i++) {
        if (text[i] == '_') continue;
        const unsigned digit = digit_value(text[i]);
        if (digit >= base) return TAEL_WIDE_NONE;
        is_too_large |= value > (TAEL_U128_MAX - digit) / base;
        value = value * base + digit;
    }
    if (is_too_large) return TAEL_WIDE_TOO_LARGE;
    *out = value;
    return TAEL_WIDE_READ;
}

const char *tael_wide_format(tael_u128 number, char buffer[static TAEL_WIDE_TEXT_SIZE]) {
    char *place = buffer + TAEL_WIDE_TEXT_SIZE - 1;
    *place = '\0';
    do {
        *--place = (char)('0' + (unsigned)(number % 10));
        number /= 10;
    } while (number != 0);
    return place;
}
