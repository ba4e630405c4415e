#include "io/datagram.h"

#include <string.h>

/* In place: for a datagram a call would be a good part of the time. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <tael/assert.h>

#define CHECKSUM_SIZE offsetof(struct tael_datagram, token)
#define FLAGS_OF_CLIENTS TAEL_DATAGRAM_ONE_BATCH
#define FLAGS_OF_SERVERS TAEL_DATAGRAM_SCRATCH

const char *tael_datagram_verdict_text(enum tael_datagram_verdict verdict) {
    static const char *const texts[] = {
#define X(name, text) text,
        TAEL_DATAGRAM_VERDICT_TABLE(X)
#undef X
    };
    TAEL_ASSERT(verdict < TAEL_DATAGRAM_VERDICTS);
    return texts[verdict];
}

static bool is_zero(const uint8_t *bytes, size_t size) {
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) any |= bytes[i];
    return any == 0;
}

/* The size that a kind's body always has; UINT32_MAX: any. False: this side does not send it. */
static bool kind_known(uint8_t kind, enum tael_datagram_side side, uint32_t *body_size) {
    *body_size = UINT32_MAX;
    const bool is_client = side == TAEL_DATAGRAM_FROM_CLIENT;
    switch (kind) {
    case TAEL_DATAGRAM_HELLO:
        *body_size = sizeof(struct tael_datagram_hello);
        return is_client;
    case TAEL_DATAGRAM_REQUEST:
        return is_client;
    case TAEL_DATAGRAM_POLL:
        *body_size = 0;
        return is_client;
    case TAEL_DATAGRAM_HAVE_REPLY:
        *body_size = sizeof(struct tael_datagram_have);
        return is_client;
    case TAEL_DATAGRAM_COOKIE:
        *body_size = sizeof(struct tael_datagram_cookie);
        return !is_client;
    case TAEL_DATAGRAM_WELCOME:
        *body_size = sizeof(struct tael_datagram_welcome);
        return !is_client;
    case TAEL_DATAGRAM_REPLY:
        return !is_client;
    case TAEL_DATAGRAM_HAVE_REQUEST:
        *body_size = sizeof(struct tael_datagram_have);
        return !is_client;
    case TAEL_DATAGRAM_NOTICE:
        *body_size = sizeof(struct tael_datagram_notice);
        return !is_client;
    default:
        return false;
    }
}

uint32_t tael_datagram_parts(uint32_t body_size, uint32_t part_units) {
    TAEL_ASSERT(part_units > 0);
    TAEL_ASSERT(body_size <= TAEL_BODY_SIZE_MAX);
    const uint32_t size = part_units * TAEL_PART_UNIT;
    return body_size == 0 ? 1 : (body_size + size - 1) / size;
}

uint32_t tael_datagram_part_size(uint32_t body_size, uint32_t part_units, uint32_t part) {
    const uint32_t size = part_units * TAEL_PART_UNIT;
    const uint32_t parts = tael_datagram_parts(body_size, part_units);
    TAEL_ASSERT(part < parts);
    return part + 1 < parts ? size : body_size - part * size;
}

uint8_t tael_datagram_part_units(uint32_t datagram_max) {
    TAEL_ASSERT(datagram_max >= TAEL_DATAGRAM_SIZE_ETHERNET);
    TAEL_ASSERT(datagram_max <= TAEL_DATAGRAM_SIZE_MAX);
    return (uint8_t)((datagram_max - TAEL_DATAGRAM_HEADER_SIZE) / TAEL_PART_UNIT);
}

/* Sizes and parts, once the kind is known: whether they agree with each other and the datagram. */
static bool parts_agree(struct tael_datagram_view *view, size_t size, enum tael_datagram_side side) {
    const struct tael_datagram *header = &view->header;
    if (header->part_units == 0 || header->body_size > TAEL_BODY_SIZE_MAX) return false;
    view->part_count = tael_datagram_parts(header->body_size, header->part_units);
    if (view->part_count > TAEL_PARTS_MAX || header->part >= view->part_count) return false;
    view->part_size = tael_datagram_part_size(header->body_size, header->part_units, header->part);
    const uint32_t needed = TAEL_DATAGRAM_HEADER_SIZE + view->part_size;
    const uint32_t least = side == TAEL_DATAGRAM_FROM_CLIENT ? TAEL_DATAGRAM_SIZE_MIN : TAEL_DATAGRAM_HEADER_SIZE;
    return size == (needed < least ? least : needed);
}

/* Whether the reserved bytes of the bodies that are structures are zero. */
static bool reserved_is_zero(const struct tael_datagram_view *view) {
    switch (view->header.kind) {
#define CASE(kind, type)                                                                                               \
    case kind:                                                                                                         \
        return is_zero(view->part + offsetof(struct type, reserved), sizeof((struct type *)NULL)->reserved);
        CASE(TAEL_DATAGRAM_HELLO, tael_datagram_hello)
        CASE(TAEL_DATAGRAM_COOKIE, tael_datagram_cookie)
        CASE(TAEL_DATAGRAM_WELCOME, tael_datagram_welcome)
        CASE(TAEL_DATAGRAM_HAVE_REPLY, tael_datagram_have)
        CASE(TAEL_DATAGRAM_HAVE_REQUEST, tael_datagram_have)
        CASE(TAEL_DATAGRAM_NOTICE, tael_datagram_notice)
#undef CASE
    default:
        return true;
    }
}

enum tael_datagram_verdict tael_datagram_check(const void *datagram, size_t size, enum tael_datagram_side side,
                                               tael_u128 ledger, struct tael_datagram_view *out) {
    const uint8_t *bytes = datagram;
    const bool is_client = side == TAEL_DATAGRAM_FROM_CLIENT;
    struct tael_datagram *header = &out->header;
    if (size < (is_client ? TAEL_DATAGRAM_SIZE_MIN : TAEL_DATAGRAM_HEADER_SIZE)) return TAEL_DATAGRAM_VERDICT_short;
    if (size > TAEL_DATAGRAM_SIZE_MAX) return TAEL_DATAGRAM_VERDICT_short;
    memcpy(header, bytes, sizeof *header);
    out->part = bytes + TAEL_DATAGRAM_HEADER_SIZE;
    if (XXH3_64bits(bytes + CHECKSUM_SIZE, size - CHECKSUM_SIZE) != header->checksum) {
        return TAEL_DATAGRAM_VERDICT_checksum;
    }
    if (header->version != TAEL_DATAGRAM_VERSION) return TAEL_DATAGRAM_VERDICT_version;
    if (header->ledger != ledger) return TAEL_DATAGRAM_VERDICT_ledger;
    uint32_t body_size;
    if (!kind_known(header->kind, side, &body_size)) return TAEL_DATAGRAM_VERDICT_kind;
    if (is_client && header->client == 0) return TAEL_DATAGRAM_VERDICT_client;
    if ((header->flags & ~(is_client ? FLAGS_OF_CLIENTS : FLAGS_OF_SERVERS)) != 0) return TAEL_DATAGRAM_VERDICT_flags;
    if (body_size != UINT32_MAX && header->body_size != body_size) return TAEL_DATAGRAM_VERDICT_parts;
    if (!parts_agree(out, size, side)) return TAEL_DATAGRAM_VERDICT_parts;
    if (body_size != UINT32_MAX && out->part_count != 1) return TAEL_DATAGRAM_VERDICT_parts;
    const uint32_t used = TAEL_DATAGRAM_HEADER_SIZE + out->part_size;
    if (!is_zero(bytes + used, size - used) || !reserved_is_zero(out)) return TAEL_DATAGRAM_VERDICT_reserved;
    return TAEL_DATAGRAM_VERDICT_ok;
}

uint32_t tael_datagram_seal(void *datagram, const struct tael_datagram *header, uint32_t part_size) {
    uint8_t *bytes = datagram;
    uint32_t size = TAEL_DATAGRAM_HEADER_SIZE + part_size;
    if (header->kind < TAEL_DATAGRAM_COOKIE && size < TAEL_DATAGRAM_SIZE_MIN) {
        memset(bytes + size, 0, TAEL_DATAGRAM_SIZE_MIN - size);
        size = TAEL_DATAGRAM_SIZE_MIN;
    }
    struct tael_datagram sealed = *header;
    sealed.version = TAEL_DATAGRAM_VERSION;
    memcpy(bytes, &sealed, sizeof sealed);
    sealed.checksum = XXH3_64bits(bytes + CHECKSUM_SIZE, size - CHECKSUM_SIZE);
    memcpy(bytes, &sealed.checksum, sizeof sealed.checksum);
    return size;
}
