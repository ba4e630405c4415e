/* The TCP server: a net role that speaks the client protocol over io_uring sockets and a struct tael_link.
 *
 * It hands on requests that are sound as frames (see io/frame.h), answers pings itself, and sends what the sequencer gives
 * it. Whatever a peer does wrong costs that peer its connection and nobody else anything: each resource that a peer can hold
 * on to (connections, buffers, reply buffers) is bounded, and holding on has a deadline. docs/client-protocol.md has the
 * rules in full.
 *
 * Owned by one thread, that of the io_uring. Never blocks, allocates nothing after init, reads no clock: time is handed in. The
 * loop that owns the io_uring submits, waits and dispatches completions; then it calls tael_tcp_poll. */
#ifndef TAEL_IO_TCP_H
#define TAEL_IO_TCP_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/link.h>
#include <tael/u128.h>

#include "io/frame.h"

struct tael_tcp;

/* More pools of reply buffers than any sequencer has. */
#define TAEL_TCP_REPLY_POOLS_MAX 4

struct tael_tcp_options {
    tael_u128 cluster;
    uint32_t connections_max;
    uint32_t connections_per_address_max;
    uint32_t messages_max; /* requests lent to the sequencer; link->released holds as many */
    uint32_t small_buffers; /* for frames up to small_buffer_size, and the beginnings of larger ones */
    uint32_t small_buffer_size; /* bytes, a multiple of 64 */
    uint32_t large_buffers; /* 1 MiB each; more than the sequencer's reads that may keep one while they run */
    uint16_t buffer_group; /* unique among the users of the io_uring */
    uint32_t reply_buffers[TAEL_TCP_REPLY_POOLS_MAX]; /* how many there are of each pool; link->sent holds their sum */
    uint64_t
        frame_deadline_ns; /* from a frame's first byte (of one that waited for memory: from then on) to its last */
    uint64_t send_deadline_ns; /* for a send to make progress */
    uint64_t send_stall_ns; /* the same when a pool's reply buffers are all held here */
    void (*log)(void *context, const char *line); /* may be NULL */
    void *log_context;
};

/* Why a connection was closed, besides a frame that was not let in (enum tael_frame_verdict). */
/* clang-format off */
#define TAEL_TCP_CLOSE_TABLE(X)                                                  \
    X(by_peer,         "closed by the peer")                                     \
    X(error,           "a network error")                                        \
    X(connections_max, "more connections than the server takes")                 \
    X(address_limit,   "more connections than one address may have")             \
    X(frame_deadline,  "a half-sent frame was not completed in time")            \
    X(send_deadline,   "the peer did not read in time")                          \
    X(reply_buffers,   "the peer did not read while others waited for its buffer") \
    X(shutdown,        "the server is stopping")
/* clang-format on */

enum tael_tcp_close {
#define X(name, text) TAEL_TCP_CLOSE_##name,
    TAEL_TCP_CLOSE_TABLE(X)
#undef X
        TAEL_TCP_CLOSES
};

struct tael_tcp_counters {
    uint64_t accepted;
    uint64_t accept_errors;
    uint64_t closed[TAEL_TCP_CLOSES];
    uint64_t rejected[TAEL_FRAME_VERDICTS]; /* connections closed because of a frame */
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t requests; /* handed on */
    uint64_t requests_repeated; /* skipped: the sequencer still had the same one in hand */
    uint64_t pings;
    uint64_t pings_skipped; /* the pong to an earlier one was still unsent */
    uint64_t replies; /* queued for sending */
    uint64_t replies_stale; /* their connection was gone */
    uint64_t replies_dropped; /* large ones for a peer that had not read the one before */
    uint64_t waits_requests; /* times that a connection waited because the sequencer had no room, */
    uint64_t waits_small; /* for a small buffer, */
    uint64_t waits_large; /* for a large buffer */
};

/* The defaults; cluster, reply_buffers and log remain to be filled in. */
struct tael_tcp_options tael_tcp_options_default(void);

size_t tael_tcp_size_bytes(const struct tael_tcp_options *options);

/* 0, or a negative errno; then, where the reason is that the io_uring lacks something, it is named through `log`. The link's
 * rings must be as large as the options say. Everything handed in must outlive the server. */
int tael_tcp_init(struct tael_tcp **tcp, struct tael_arena *arena, const struct tael_tcp_options *options,
                  struct io_uring *ring, struct tael_link *link);

/* Begins to accept connections at an address as io/address.h has it. 0, or a negative errno: -EINVAL for the text, else as
 * bind and listen have it. Once; the limit of open files should be raised before. */
int tael_tcp_listen(struct tael_tcp *tcp, const char *address);

/* The port that it listens on, which for port 0 the kernel chose. */
uint16_t tael_tcp_port(const struct tael_tcp *tcp);

/* One bounded turn at monotonic time `now_ns`: how much it did, 0 when there was nothing to do: only then may the loop
 * sleep. Submissions are left in the io_uring for the loop. */
uint32_t tael_tcp_poll(struct tael_tcp *tcp, uint64_t now_ns);

/* When the next deadline falls due, UINT64_MAX when none runs: the loop must not sleep beyond it. */
uint64_t tael_tcp_deadline_ns(const struct tael_tcp *tcp);

/* Stops accepting and reading. Requests that were handed on are still answered. */
void tael_tcp_drain(struct tael_tcp *tcp);

/* True when no request is lent to the sequencer and no reply waits to be sent. */
bool tael_tcp_drained(const struct tael_tcp *tcp);

/* Drains, and closes all connections, whether they got their replies or not. The loop goes on until tael_tcp_closed. */
void tael_tcp_close(struct tael_tcp *tcp);

/* True when the kernel holds nothing of the server's any more. */
bool tael_tcp_closed(const struct tael_tcp *tcp);

const struct tael_tcp_counters *tael_tcp_counters(const struct tael_tcp *tcp);
uint32_t tael_tcp_connections(const struct tael_tcp *tcp);

/* The text of a close, for people. */
const char *tael_tcp_close_text(enum tael_tcp_close reason);

#endif
