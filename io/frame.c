/* Invariants:
 *  1. Nothing of a header is believed before its checksum holds, and no byte behind it is read before its size is checked.
 *  2. The checks look in the order of TAEL_FRAME_VERDICT_TABLE, so that a frame has one verdict whatever else is wrong. */
#include "io/frame.h"

#include <stddef.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/bits.h>

#include "io/aegis.h"

/* The header's checksum leaves itself out and covers all the rest. */
#define HEADER_CHECKSUM_OFFSET sizeof(tael_u128)

static_assert(offsetof(struct tael_frame, checksum_padding) == HEADER_CHECKSUM_OFFSET, "what the checksum covers");

static tael_u128 header_checksum(const struct tael_frame *frame) {
    return tael_checksum((const uint8_t *)frame + HEADER_CHECKSUM_OFFSET,
                         TAEL_FRAME_HEADER_SIZE - HEADER_CHECKSUM_OFFSET);
}

static tael_u128 body_checksum(const struct tael_frame *frame) {
    return tael_checksum((const uint8_t *)frame + TAEL_FRAME_HEADER_SIZE, tael_frame_body_size(frame));
}

const char *tael_frame_verdict_text(enum tael_frame_verdict verdict) {
    static const char *const texts[TAEL_FRAME_VERDICTS] = {
#define X(name, text) [TAEL_FRAME_##name] = text,
        TAEL_FRAME_VERDICT_TABLE(X)
#undef X
    };
    TAEL_ASSERT(verdict < TAEL_FRAME_VERDICTS);
    return texts[verdict];
}

static bool common_reserved_zero(const struct tael_frame *frame) {
    return frame->checksum_padding == 0 && frame->checksum_body_padding == 0 && frame->nonce == 0 &&
           tael_bytes_are_zero(frame->reserved, sizeof frame->reserved);
}

static bool request_reserved_zero(const struct tael_frame_request *request) {
    return request->parent_padding == 0 && request->timestamp == 0 &&
           tael_bytes_are_zero(request->reserved_a, sizeof request->reserved_a) &&
           tael_bytes_are_zero(request->reserved_b, sizeof request->reserved_b);
}

enum tael_frame_verdict tael_frame_check_header(const struct tael_frame *frame, tael_u128 cluster) {
    if (header_checksum(frame) != frame->checksum) return TAEL_FRAME_header_checksum;
    if (frame->size < TAEL_FRAME_HEADER_SIZE || frame->size > TAEL_MESSAGE_SIZE_MAX) return TAEL_FRAME_size;
    if (frame->protocol != 0 || frame->epoch != 0) return TAEL_FRAME_protocol;
    if (!common_reserved_zero(frame)) return TAEL_FRAME_reserved;
    if (frame->cluster != cluster) return TAEL_FRAME_cluster;
    return TAEL_FRAME_ok;
}

static enum tael_frame_verdict check_ping(const struct tael_frame *frame) {
    if (frame->size != TAEL_FRAME_HEADER_SIZE) return TAEL_FRAME_size;
    if (!tael_bytes_are_zero(frame->ping_client.reserved, sizeof frame->ping_client.reserved))
        return TAEL_FRAME_reserved;
    return frame->ping_client.client == 0 ? TAEL_FRAME_client : TAEL_FRAME_ok;
}

static enum tael_frame_verdict check_request(const struct tael_frame *frame) {
    if (!request_reserved_zero(&frame->request)) return TAEL_FRAME_reserved;
    return frame->request.client == 0 ? TAEL_FRAME_client : TAEL_FRAME_ok;
}

enum tael_frame_verdict tael_frame_check_incoming(const struct tael_frame *frame, tael_u128 cluster) {
    const enum tael_frame_verdict verdict = tael_frame_check_header(frame, cluster);
    if (verdict != TAEL_FRAME_ok) return verdict;
    switch (frame->command) {
    case TAEL_COMMAND_PING_CLIENT:
        return check_ping(frame);
    case TAEL_COMMAND_REQUEST:
        return check_request(frame);
    default:
        return TAEL_FRAME_command;
    }
}

enum tael_frame_verdict tael_frame_check_body(const struct tael_frame *frame) {
    return body_checksum(frame) == frame->checksum_body ? TAEL_FRAME_ok : TAEL_FRAME_body_checksum;
}

void tael_frame_seal(struct tael_frame *frame) {
    TAEL_ASSERT(frame->size >= TAEL_FRAME_HEADER_SIZE);
    TAEL_ASSERT(frame->size <= TAEL_MESSAGE_SIZE_MAX);
    frame->checksum_body = body_checksum(frame);
    frame->checksum = header_checksum(frame);
}
