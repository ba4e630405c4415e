/* One session of the client library over TCP: its connection, the request in flight, and when that is sent again. It never blocks:
 * whoever owns it calls it, as client_link.h says, when its socket has something or its timer is due, and sleeps in epoll
 * meanwhile. tael_client_links_tcp makes them, one a link.
 *
 * 1. A request is sent again, byte for byte the same, until it is answered, refused, withdrawn or the session ended.
 * 2. A request goes out only when the one before is answered, or certainly not executed.
 * 3. Whether a request may have been executed is known: each copy that was sent whole and not answered with `busy` may be.
 * 4. A session whose request ends uncertain is over: nothing may follow it. The next one has another client id.
 *
 * Owned by one thread. */
#ifndef TAEL_IO_CLIENT_SESSION_H
#define TAEL_IO_CLIENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/frame.h>
#include <tael/u128.h>

#include "io/client_link.h"

enum tael_client_connection { TAEL_CLIENT_CONNECTION_DOWN, TAEL_CLIENT_CONNECTING, TAEL_CLIENT_CONNECTION_UP };

/* What the timer waits for. */
enum tael_client_timer {
    TAEL_CLIENT_TIMER_NONE,
    TAEL_CLIENT_TIMER_RECONNECT,
    TAEL_CLIENT_TIMER_CONNECTED,
    TAEL_CLIENT_TIMER_SENT,
    TAEL_CLIENT_TIMER_ANSWER,
    TAEL_CLIENT_TIMER_FRAME, /* the rest of a frame that has begun */
    TAEL_CLIENT_TIMER_BUSY,
};

struct tael_client_session {
    struct tael_client_source source;
    struct tael_client_link link;
    struct tael_client_wire *wire;
    enum tael_client_connection connection;
    enum tael_client_timer timer;
    int socket;
    uint32_t sent; /* bytes of the request, of the copy at hand */
    uint32_t received; /* bytes in `answer` */
    uint32_t copies; /* of the request that were sent whole */
    uint32_t copies_busy; /* of them, how many were answered with busy */
    uint32_t resends; /* of this request, after silence */
    uint32_t silences; /* on this connection */
    uint32_t drops; /* of connections since the last that worked */
    uint32_t number; /* of the last request */
    uint8_t eviction; /* enum tael_eviction_reason of the last eviction */
    bool is_sending;
    bool is_watched_for_room; /* epoll tells when the socket takes more */
    bool was_connected;
    bool is_waiting_told;
    bool is_header_checked; /* of the frame at the beginning of `answer` */
    bool is_answered; /* that frame is the reply and in use */
    tael_u128 id;
    tael_u128 parent; /* the previous reply's context */
    uint64_t session; /* 0 before it is registered */
    uint64_t begun_ns; /* of the request in flight */
    uint64_t deadline_ns; /* the first at which its owner may have no more use for an answer */
    uint64_t copied_ns; /* when its last copy was sent */
    uint64_t resend_ns; /* when silence will have been long enough */
    uint64_t busy_wait_ns; /* the server's wish */
    uint64_t latency_ns; /* of the previous request */
    struct tael_frame *request; /* header and body, TAEL_MESSAGE_SIZE_MAX bytes */
    struct tael_frame *answer; /* as long */
    char why[192]; /* what the last try failed of; empty: of nothing yet */
};

#endif
