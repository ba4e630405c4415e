/* Frame checks on arbitrary bytes: no read beyond them, and a verdict that holds together.
 *
 * The first byte steers: odd means the header's checksum is made right first, since chance never would; bit 1 means the
 * body's too. The rest is the frame. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>

#include "io/aegis.h"
#include "io/frame.h"

#define CLUSTER 0

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the server relies on once a frame was let in. */
static void check_promises(const struct tael_frame *frame) {
    TAEL_ASSERT(frame->size >= TAEL_FRAME_HEADER_SIZE);
    TAEL_ASSERT(frame->size <= TAEL_MESSAGE_SIZE_MAX);
    TAEL_ASSERT(frame->cluster == CLUSTER);
    TAEL_ASSERT(frame->command == TAEL_COMMAND_PING_CLIENT || frame->command == TAEL_COMMAND_REQUEST);
    if (frame->command == TAEL_COMMAND_PING_CLIENT) TAEL_ASSERT(frame->size == TAEL_FRAME_HEADER_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 + TAEL_FRAME_HEADER_SIZE) return 0;
    const uint8_t steer = data[0];
    const size_t frame_size = size - 1;
    /* Exactly as large as the input, so that a read beyond it is seen. */
    struct tael_frame *frame = malloc(frame_size);
    if (frame == NULL) return 0;
    memcpy(frame, data + 1, frame_size);
    const size_t body_size = frame_size - TAEL_FRAME_HEADER_SIZE;
    if (steer & 2) frame->checksum_body = tael_checksum(frame + 1, body_size);
    if (steer & 1) frame->checksum = tael_checksum((const uint8_t *)frame + 16, TAEL_FRAME_HEADER_SIZE - 16);
    const enum tael_frame_verdict verdict = tael_frame_check_incoming(frame, CLUSTER);
    TAEL_ASSERT(tael_frame_verdict_text(verdict) != NULL);
    if (verdict == TAEL_FRAME_ok) {
        check_promises(frame);
        if (frame->size <= frame_size && tael_frame_check_body(frame) == TAEL_FRAME_ok) {
            const tael_u128 before = frame->checksum;
            tael_frame_seal(frame);
            TAEL_ASSERT(frame->checksum == before);
        }
    }
    free(frame);
    return 0;
}
