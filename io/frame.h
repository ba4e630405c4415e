/* Checks frames that came in and seals frames that go out. What an operation or a body means is not decided here.
 *
 * Pure; any thread. Everything in an incoming frame is input: it is rejected, never asserted. */
#ifndef TAEL_IO_FRAME_H
#define TAEL_IO_FRAME_H

#include <stdbool.h>

#include <tael/frame.h>
#include <tael/u128.h>

/* What a check found, in the order in which it looks. Only `ok` lets the connection live: the rest is a peer that does not
 * speak the protocol, or (wrong_cluster) one that is at the wrong server. The text goes into counters and the log. */
/* clang-format off */
#define TAEL_FRAME_VERDICT_TABLE(X)                                                   \
    X(ok,                "ok")                                                        \
    X(header_checksum,   "wrong header checksum")                                     \
    X(size,              "size below a header, above 1 MiB, or wrong for its command") \
    X(protocol,          "unknown protocol or epoch")                                 \
    X(reserved,          "a reserved byte is not zero")                               \
    X(cluster,           "another cluster")                                           \
    X(command,           "a command that clients do not send")                        \
    X(client,            "client zero")                                               \
    X(body_checksum,     "wrong body checksum")
/* clang-format on */

enum tael_frame_verdict {
#define X(name, text) TAEL_FRAME_##name,
    TAEL_FRAME_VERDICT_TABLE(X)
#undef X
        TAEL_FRAME_VERDICTS
};

/* The verdict's text, for people. */
const char *tael_frame_verdict_text(enum tael_frame_verdict verdict);

/* Checks what all commands have in common: header checksum, size bounds, protocol, epoch, reserved zeros, cluster. Only the
 * header is read; after `ok` its size may be believed. Any release, view and replica is fine. */
enum tael_frame_verdict tael_frame_check_header(const struct tael_frame *frame, tael_u128 cluster);

/* For the server: tael_frame_check_header, and that it is a whole and sound ping_client or request. A register of an old
 * client may come without a body. */
enum tael_frame_verdict tael_frame_check_incoming(const struct tael_frame *frame, tael_u128 cluster);

/* Checks the body behind a header that passed: frame->size bytes must be there. */
enum tael_frame_verdict tael_frame_check_body(const struct tael_frame *frame);

/* Fills in both checksums of a frame that is otherwise complete, its body behind it. */
void tael_frame_seal(struct tael_frame *frame);

/* Bytes of body behind the header. */
static inline uint32_t tael_frame_body_size(const struct tael_frame *frame) {
    return frame->size - TAEL_FRAME_HEADER_SIZE;
}

#endif
