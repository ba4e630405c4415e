/* A TCP server in the test's own process and thread, on loopback, with an echo in the sequencer's place, and clients that
 * never block. Time stands still until the test moves it. */
#ifndef TAEL_TESTS_NET_HARNESS_H
#define TAEL_TESTS_NET_HARNESS_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/link.h>

#include "io/tcp.h"

#define HARNESS_CLUSTER 7
#define HARNESS_RELEASE 0x1109u

enum { HARNESS_POOL_SMALL = 0, HARNESS_POOL_LARGE = 1, HARNESS_SMALL_CAPACITY = 16384 };

struct harness_options {
    struct tael_tcp_options tcp;
    uint32_t requests_capacity; /* of the ring */
    bool stands_still; /* listens, but makes no turn yet */
};

/* The echo answers each request with a frame whose body is the request's, or `reply_size` bytes in all where that is set. */
struct harness_echo {
    bool stopped; /* takes no requests */
    bool keeps_messages; /* takes them, answers nothing, and keeps them until harness_release */
    uint32_t reply_size;
    uint32_t taken;
    uint32_t bad; /* messages that break the link's promises */
    uint64_t last_connection;
    struct tael_message **kept;
    uint32_t kept_count;
};

struct harness {
    struct io_uring ring;
    struct tael_arena arena;
    struct tael_link link;
    struct tael_tcp *tcp;
    struct tael_tcp_options options;
    uint64_t now_ns;
    struct harness_echo echo;
    struct tael_reply *replies;
    struct tael_reply **replies_free[2];
    uint32_t replies_free_count[2];
    uint32_t log_lines;
    char log_last[256];
};

struct harness_options harness_options_default(void);
/* Starts listening on a port of the kernel's choice. */
void harness_start(struct harness *harness, const struct harness_options *options);
/* Closes everything, and checks that nothing was lost on the way. */
void harness_stop(struct harness *harness);

/* One turn of everything: the server, the echo, the kernel. Waits up to `wait_us` for the kernel when there was nothing. */
uint32_t harness_turn(struct harness *harness, uint32_t wait_us);
/* Turns until nothing happens any more. */
void harness_settle(struct harness *harness);
/* Moves time, and settles. */
void harness_pass(struct harness *harness, uint64_t duration_ns);
/* Gives back the oldest `count` messages that the echo keeps. */
void harness_release(struct harness *harness, uint32_t count);
/* Sends a small reply to a handle, as a sequencer that is late would. */
void harness_reply_to(struct harness *harness, tael_connection connection);
const struct tael_tcp_counters *harness_counters(const struct harness *harness);

/* --- clients --- */

int client_connect(const struct harness *harness);
/* Writes all of it, turning the server while the socket is full. */
void client_send(struct harness *harness, int fd, const void *data, size_t size);
/* Reads exactly `size` bytes; false when the connection ended, or nothing came for two seconds. */
bool client_receive(struct harness *harness, int fd, void *data, size_t size);
/* A whole frame into `frame` (1 MiB), both checksums checked. */
bool client_receive_frame(struct harness *harness, int fd, struct tael_frame *frame);
/* True when the server has closed the connection and everything before is read. */
bool client_is_closed(struct harness *harness, int fd);

/* --- frames --- */

/* A sealed request with a body that `request` decides. `frame` has room for `size` bytes. */
void frame_request(struct tael_frame *frame, uint32_t size, uint64_t client, uint32_t request);
void frame_ping(struct tael_frame *frame, uint64_t client, uint64_t timestamp);
/* Sends a request and receives its echo; false when that fails. */
bool client_round_trip(struct harness *harness, int fd, uint32_t size, uint64_t client, uint32_t request);

/* A frame buffer of 1 MiB that ASan watches; free() it. */
struct tael_frame *frame_new(void);

#endif
