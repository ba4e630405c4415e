/* Checks datagrams that came in, and seals those that go out. What a body means, and whether a session exists, is not decided here.
 *
 * Pure; any thread. Everything in an incoming datagram is input: it is rejected, never asserted. */
#ifndef TAEL_IO_DATAGRAM_H
#define TAEL_IO_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/datagram.h>

/* What a check found, in the order in which it looks. The text goes into counters. */
/* clang-format off */
#define TAEL_DATAGRAM_VERDICT_TABLE(X)                                      \
    X(ok,         "ok")                                                     \
    X(short,      "shorter than any datagram of its direction, or longer")  \
    X(checksum,   "wrong checksum")                                         \
    X(version,    "another version")                                        \
    X(ledger,     "another ledger")                                         \
    X(kind,       "a kind that this side does not send")                    \
    X(client,     "client zero")                                            \
    X(flags,      "an unknown flag")                                        \
    X(parts,      "sizes and parts that contradict each other")             \
    X(reserved,   "padding or a reserved byte is not zero")
/* clang-format on */

enum tael_datagram_verdict {
#define X(name, text) TAEL_DATAGRAM_VERDICT_##name,
    TAEL_DATAGRAM_VERDICT_TABLE(X)
#undef X
        TAEL_DATAGRAM_VERDICTS
};

/* The verdict's text, for people. */
const char *tael_datagram_verdict_text(enum tael_datagram_verdict verdict);

/* A datagram that was looked at. */
struct tael_datagram_view {
    struct tael_datagram header;
    const uint8_t *part; /* in the datagram; any alignment */
    uint32_t part_size;
    uint32_t part_count; /* of the body, at least 1 */
};

enum tael_datagram_side { TAEL_DATAGRAM_FROM_CLIENT, TAEL_DATAGRAM_FROM_SERVER };

/* Checks a whole datagram of any alignment. With `ok` all of `out` holds; from `version` on the header's bytes are what was sent, so
 * that it can be answered. */
enum tael_datagram_verdict tael_datagram_check(const void *datagram, size_t size, enum tael_datagram_side side,
                                               tael_u128 ledger, struct tael_datagram_view *out);

/* How many parts a body has: at least 1. part_units is at least 1. */
uint32_t tael_datagram_parts(uint32_t body_size, uint32_t part_units);
/* Bytes of one of them. */
uint32_t tael_datagram_part_size(uint32_t body_size, uint32_t part_units, uint32_t part);
/* The largest parts that fit datagrams of so many bytes, and a body into TAEL_PARTS_MAX of them; `datagram_max` is at least
 * TAEL_DATAGRAM_SIZE_ETHERNET. */
uint8_t tael_datagram_part_units(uint32_t datagram_max);

/* Writes header and checksum in front of the part of `part_size` bytes that stands at datagram + TAEL_DATAGRAM_HEADER_SIZE, and padding
 * behind it where a client's would be too short: `datagram` has room for TAEL_DATAGRAM_SIZE_MIN. `header`'s checksum and version
 * are filled in. Any alignment. Returns the datagram's size. */
uint32_t tael_datagram_seal(void *datagram, const struct tael_datagram *header, uint32_t part_size);

#endif
