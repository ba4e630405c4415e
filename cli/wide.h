/* Numbers of up to 128 bits as people write and read them. Pure. */
#ifndef TAEL_CLI_WIDE_H
#define TAEL_CLI_WIDE_H

#include <stddef.h>

#include <tael/u128.h>

enum tael_wide_outcome { TAEL_WIDE_READ, TAEL_WIDE_NONE, TAEL_WIDE_TOO_LARGE };

/* Reads all `size` bytes as decimal or 0x and hexadecimal digits, with _ between them where it helps. `out` is untouched
 * unless TAEL_WIDE_READ. */
enum tael_wide_outcome tael_wide_read(const char *text, size_t size, tael_u128 *out);

enum { TAEL_WIDE_TEXT_SIZE = 40 };

/* Decimal digits. Returns a place in `buffer`. */
const char *tael_wide_format(tael_u128 number, char buffer[static TAEL_WIDE_TEXT_SIZE]);

#endif
