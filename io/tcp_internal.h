/* What the parts of the TCP server share: tcp.c (connections' lives, deadlines, the turn), tcp_receive.c and tcp_send.c.
 * Nobody else includes this.
 *
 * A connection is in at most one place of each kind: `ready` when it has something to do this turn, `waiting` when its
 * reading stands still until somebody gives something back, `frame_deadline` while a frame is half there, `send_deadline`
 * while something is unsent. The deadline lists are in order of time, since each is only ever joined with the present time.
 *
 * The kernel reads and writes a connection's buffers until an operation's completion, so a connection that is closed lives
 * on as `closing` until none is in flight. */
#ifndef TAEL_IO_TCP_INTERNAL_H
#define TAEL_IO_TCP_INTERNAL_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <tael/completion.h>

#include "io/list.h"
#include "io/peer_table.h"
#include "io/receive_pool.h"
#include "io/tcp.h"

/* Frames that leave in one send. */
#define TAEL_TCP_GATHER_MAX 8
/* Unsent frames with which a connection is no longer read: the peer should read first. */
#define TAEL_TCP_UNSENT_MAX 64
/* Above this a reply is large: see docs/client-protocol.md, "Drops". */
#define TAEL_TCP_LARGE_REPLY_SIZE (64u << 10)

/* A request that is lent to the sequencer, and the buffer that it stands in. */
struct tael_tcp_message {
    struct tael_message message;
    uint32_t buffer;
    struct tael_tcp_message *next_free;
};

/* A frame in a connection's queue. */
struct tael_tcp_unsent {
    struct tael_tcp_unsent *next; /* in the queue, or in the free chain */
    struct tael_frame *frame;
    struct tael_reply *reply; /* NULL for the connection's own pong */
};

struct tael_tcp_operation {
    struct tael_completion completion;
    int32_t result;
    uint32_t flags;
    bool in_flight;
    bool done; /* ended, and what it brought is not looked at yet */
};

enum tael_tcp_state { TAEL_TCP_STATE_FREE = 0, TAEL_TCP_STATE_OPEN, TAEL_TCP_STATE_CLOSING };

struct tael_tcp_connection {
    struct tael_tcp *tcp;
    struct tael_list ready;
    struct tael_list waiting;
    struct tael_list frame_deadline;
    struct tael_list send_deadline;
    enum tael_tcp_state state;
    uint32_t generation; /* never 0; raised when it is freed, so that old handles find nothing */
    uint32_t next_free;
    uint32_t peer;
    int fd;

    /* Receiving: bytes [start, filled) of `buffer` are not consumed yet; a frame begins at start. */
    struct tael_tcp_operation receive;
    uint32_t buffer; /* TAEL_RECEIVE_NONE when nothing is there */
    uint32_t start;
    uint32_t filled;
    uint32_t discard; /* bytes to come that belong to a frame that is skipped */
    const struct tael_list *waits_in; /* the list that `waiting` stands in */
    bool header_checked; /* of the frame at start */
    bool body_checked;
    bool socket_drained; /* the last receive emptied the socket: the next one need not try before it waits */
    uint64_t frame_since_ns;
    struct tael_tcp_message *in_progress; /* the latest request of this connection that the sequencer has in hand */

    /* Sending: the first frames of the queue are in flight; `sent` bytes of the first one are gone. */
    struct tael_tcp_operation send;
    struct tael_tcp_unsent *unsent_first;
    struct tael_tcp_unsent *unsent_last;
    uint32_t unsent_count;
    uint32_t unsent_large; /* without the first one */
    uint32_t sent;
    uint64_t send_since_ns; /* of the last progress */
    struct msghdr gather;
    struct iovec gather_parts[TAEL_TCP_GATHER_MAX];
    bool pong_unsent;
    struct tael_tcp_unsent pong_entry;
    struct tael_frame pong;
};

struct tael_tcp {
    struct tael_tcp_options options;
    struct io_uring *ring;
    struct tael_link *link;
    struct tael_receive_pool *pool;
    struct tael_peer_table *peers;
    uint64_t now_ns;
    struct tael_tcp_counters counters;

    struct tael_tcp_connection *connections;
    uint32_t connections_count; /* not free */
    uint32_t connections_free; /* chain */
    struct tael_list ready;
    uint32_t ready_count;
    struct tael_list wait_requests; /* a whole frame is there, the sequencer has no room */
    struct tael_list wait_small;
    struct tael_list wait_large;
    struct tael_list frame_deadlines;
    struct tael_list send_deadlines;

    struct tael_tcp_message *messages_free;
    uint32_t messages_lent;
    struct tael_tcp_unsent *unsent_free;
    uint32_t replies_held[TAEL_TCP_REPLY_POOLS_MAX];

    struct tael_completion accepted;
    int listen_fd; /* -1 when not listening */
    bool accept_in_flight;
    bool draining;
    uint64_t accept_after_ns; /* not before, after an error */
    uint64_t cluster_log_after_ns;
    uint64_t cluster_log_unsaid;
};

/* --- tcp.c --- */

/* A submission, NULL when the kernel takes none just now: then try again next turn. */
struct io_uring_sqe *tael_tcp_submission(struct tael_tcp *tcp);

/* The connection has something to do. */
void tael_tcp_ready(struct tael_tcp_connection *connection);

/* Closes: no more is received or sent. */
void tael_tcp_connection_close(struct tael_tcp_connection *connection, enum tael_tcp_close reason);
void tael_tcp_connection_reject(struct tael_tcp_connection *connection, enum tael_frame_verdict verdict);

tael_connection tael_tcp_handle(const struct tael_tcp_connection *connection);
/* The open connection of a handle, NULL when it is gone. */
struct tael_tcp_connection *tael_tcp_find(struct tael_tcp *tcp, tael_connection handle);

/* --- tcp_receive.c --- */

void tael_tcp_receive_init(struct tael_tcp_connection *connection);
/* Once a turn: takes back what the sequencer released, and serves who waits. How many came back. */
uint32_t tael_tcp_receive_turn(struct tael_tcp *tcp);
/* Looks at what a receive brought. */
void tael_tcp_receive_result(struct tael_tcp_connection *connection);
/* Hands on what is whole, and receives on. */
void tael_tcp_receive_continue(struct tael_tcp_connection *connection);
/* Gives back what a closed connection had received. */
void tael_tcp_receive_abandon(struct tael_tcp_connection *connection);

/* --- tcp_send.c --- */

void tael_tcp_send_init(struct tael_tcp_connection *connection);
/* Once a turn: takes the sequencer's replies. How many. */
uint32_t tael_tcp_send_turn(struct tael_tcp *tcp);
void tael_tcp_send_result(struct tael_tcp_connection *connection);
void tael_tcp_send_continue(struct tael_tcp_connection *connection);
void tael_tcp_send_pong(struct tael_tcp_connection *connection, const struct tael_frame *ping);
/* Returns the replies of a closed connection. */
void tael_tcp_send_abandon(struct tael_tcp_connection *connection);
/* True when a pool's reply buffers are all held here. */
bool tael_tcp_send_short(const struct tael_tcp *tcp);

#endif
