/* One session of the client library: its connection, the request in flight, and when that is sent again. It never blocks: whoever
 * owns it calls it when its socket has something or its timer is due, and sleeps in epoll meanwhile.
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

#include "io/address.h"

#define TAEL_CLIENT_NEVER UINT64_MAX

/* What all sessions of a client share. */
struct tael_client_wire {
    struct tael_address address;
    tael_u128 cluster;
    uint64_t retransmit_ns;
    int epoll; /* where the sessions' sockets are watched; each event's data.ptr is its session */
    uint64_t timer_ns; /* no session's timer is earlier */
    struct {
        tael_u128 secret; /* random, so that no two clients draw the same ids */
        uint64_t drawn; /* session ids so far */
    } ids;
    uint64_t random; /* xorshift64, for pauses */
    void (*waiting)(void *context, const char *why);
    void *waiting_context;
    /* Written by the owning thread, read by any: relaxed, numbers by themselves. */
    _Atomic uint64_t retransmissions;
    _Atomic uint64_t reconnects;
    _Atomic uint64_t busy;
    _Atomic uint64_t sessions;
};

enum tael_client_event {
    TAEL_CLIENT_EVENT_NONE,
    TAEL_CLIENT_EVENT_OPENED, /* the session is registered */
    TAEL_CLIENT_EVENT_ANSWERED, /* session->answer is the reply, until tael_client_session_release */
    TAEL_CLIENT_EVENT_REFUSED, /* the request was: it is not executed, and no longer in flight */
    TAEL_CLIENT_EVENT_EVICTED, /* the session is over; for a request in flight the outcome is unknown */
};

enum tael_client_phase {
    TAEL_CLIENT_CLOSED,
    TAEL_CLIENT_REGISTERING,
    TAEL_CLIENT_IDLE,
    TAEL_CLIENT_REQUESTING,
};

enum tael_client_link { TAEL_CLIENT_LINK_DOWN, TAEL_CLIENT_LINK_CONNECTING, TAEL_CLIENT_LINK_UP };

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
    struct tael_client_wire *wire;
    enum tael_client_phase phase;
    enum tael_client_link link;
    enum tael_client_timer timer;
    uint64_t timer_ns;
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

/* Takes memory. -ENOMEM: nothing is taken. */
int tael_client_session_init(struct tael_client_session *session, struct tael_client_wire *wire);
void tael_client_session_free(struct tael_client_session *session);

/* Opens a closed session under an id of its own. */
void tael_client_session_register(struct tael_client_session *session, uint64_t now_ns);

/* Where the body of the next request is written, TAEL_BODY_SIZE_MAX bytes; only while the session is idle. */
void *tael_client_session_body(struct tael_client_session *session);

/* Sends the body of `body_size` bytes as a request of an idle session. It is the owner who acts at the deadline; the
 * session only sees to it that a busy server's last word is heard by then. */
void tael_client_session_request(struct tael_client_session *session, uint8_t operation, uint32_t body_size,
                                 uint64_t deadline_ns, uint64_t now_ns);

/* The socket has something: `events` as epoll tells them. */
enum tael_client_event tael_client_session_ready(struct tael_client_session *session, uint32_t events, uint64_t now_ns);

/* The time timer_ns has come. */
void tael_client_session_tick(struct tael_client_session *session, uint64_t now_ns);

/* The reply has been read: the session is idle again, or closed where it has no more request numbers. */
void tael_client_session_release(struct tael_client_session *session);

/* True when no copy of the request in flight can be executed any more. */
bool tael_client_session_is_certain(const struct tael_client_session *session);

/* Forgets the request in flight, which is certain; the session is idle again. */
void tael_client_session_withdraw(struct tael_client_session *session);

/* Ends the session, whatever it was doing. */
void tael_client_session_end(struct tael_client_session *session);

/* Why the request in flight is not answered yet, for people. */
const char *tael_client_session_trouble(const struct tael_client_session *session);

/* What the server said by its last eviction, for people. */
const char *tael_client_session_eviction_text(const struct tael_client_session *session);

#endif
