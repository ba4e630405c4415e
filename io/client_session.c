/* One session of the client library; see client_session.h.
 *
 * Invariants:
 *  1. The socket is open exactly when the link is not down, and epoll watches it.
 *  2. `timer` is not NONE while a request is in flight: something always happens next.
 *  3. A connection on which half a request was sent, or half a frame came, carries nothing else after it. */
#include "io/client_session.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/operation.h>

#include "io/aegis.h"
#include "io/frame.h"

/* 0.17.9. Any release is accepted and comes back in the replies. */
#define CLIENT_RELEASE 0x00001109u
#define NS_PER_MS 1000000ull
#define BACKOFF_FIRST_NS (10 * NS_PER_MS)
#define BACKOFF_MAX_NS (10 * TAEL_NS_PER_S) /* between retransmissions */
#define RECONNECT_MAX_NS TAEL_NS_PER_S /* between connects: a refused connect is cheap */
#define CONNECT_MAX_NS (4 * TAEL_NS_PER_S) /* for one connect */
#define WAITING_AFTER_NS TAEL_NS_PER_S
#define BUSY_MARGIN_MIN_NS (10 * NS_PER_MS)
/* A connection on which this many sends went unanswered is given up: the peer may be gone without a word. So is one that
 * makes no progress with a frame for as many times the retransmission's pause. */
#define SILENCES_MAX 4

/* What a frame that came is to the session. */
enum judgement {
    FRAME_ANSWER,
    FRAME_BUSY,
    FRAME_EVICTION,
    FRAME_IGNORED, /* none of our business */
    FRAME_WRONG, /* the connection was dropped for it */
};

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Relaxed: one writer, and a number by itself. */
static void count(_Atomic uint64_t *counter) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* 0 .. a bound that grows with each attempt, roughly even: spreads clients that lost the same server. */
static uint64_t backoff_ns(struct tael_client_wire *wire, uint32_t attempt, uint64_t max_ns) {
    const uint64_t grown_ns = attempt >= 20 ? max_ns : earlier(BACKOFF_FIRST_NS << attempt, max_ns);
    wire->random ^= wire->random << 13;
    wire->random ^= wire->random >> 7;
    wire->random ^= wire->random << 17;
    return wire->random % (grown_ns + 1);
}

static bool is_in_flight(const struct tael_client_session *session) {
    return session->link.phase == TAEL_CLIENT_REGISTERING || session->link.phase == TAEL_CLIENT_REQUESTING;
}

static void timer_set(struct tael_client_session *session, enum tael_client_timer timer, uint64_t at_ns) {
    session->timer = timer;
    session->source.timer_ns = at_ns;
    session->wire->timer_ns = earlier(session->wire->timer_ns, at_ns);
}

static void timer_clear(struct tael_client_session *session) {
    session->timer = TAEL_CLIENT_TIMER_NONE;
    session->source.timer_ns = TAEL_CLIENT_NEVER;
}

static uint64_t stall_ns(const struct tael_client_session *session) {
    return session->wire->retransmit_ns * SILENCES_MAX;
}

__attribute__((format(printf, 2, 3))) static void why_set(struct tael_client_session *session, const char *format,
                                                          ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(session->why, sizeof session->why, format, arguments);
    va_end(arguments);
}

/* Says once a request that it takes long, and why: nothing happens before `again_ns`. */
static void waiting_tell(struct tael_client_session *session, uint64_t again_ns) {
    if (session->is_waiting_told || again_ns - session->begun_ns <= WAITING_AFTER_NS) return;
    session->is_waiting_told = true;
    if (session->wire->waiting != NULL) session->wire->waiting(session->wire->waiting_context, session->why);
}

/* --- the connection --- */

static void disconnect(struct tael_client_session *session) {
    if (session->socket >= 0) {
        /* Closing doesn't end the watch while a child of a fork has the socket too, until its exec. */
        epoll_ctl(session->wire->epoll, EPOLL_CTL_DEL, session->socket, NULL);
        close(session->socket);
    }
    session->socket = -1;
    session->connection = TAEL_CLIENT_CONNECTION_DOWN;
    session->sent = 0;
    session->received = 0;
    session->silences = 0;
    session->is_sending = false;
    session->is_header_checked = false;
    timer_clear(session);
}

static void reconnect_later(struct tael_client_session *session, uint64_t now_ns) {
    disconnect(session);
    if (!is_in_flight(session)) return;
    const uint64_t pause_ns = BACKOFF_FIRST_NS + backoff_ns(session->wire, session->drops++, RECONNECT_MAX_NS);
    timer_set(session, TAEL_CLIENT_TIMER_RECONNECT, now_ns + pause_ns);
    waiting_tell(session, now_ns + pause_ns);
}

static void drop(struct tael_client_session *session, const char *what, int error, uint64_t now_ns) {
    why_set(session, "%s: %s", what, strerror(error));
    reconnect_later(session, now_ns);
}

static enum judgement nonsense(struct tael_client_session *session, const char *what, uint64_t now_ns) {
    why_set(session, "the server sent a wrong frame: %s", what);
    reconnect_later(session, now_ns);
    return FRAME_WRONG;
}

/* Has epoll tell when the socket has something to read, and where `for_room` when it takes more. */
static int watch(struct tael_client_session *session, int operation, bool for_room) {
    struct epoll_event event = {.events = EPOLLIN | (for_room ? (uint32_t)EPOLLOUT : 0), .data.ptr = &session->source};
    session->is_watched_for_room = for_room;
    return epoll_ctl(session->wire->epoll, operation, session->socket, &event);
}

static void request_send(struct tael_client_session *session, uint64_t now_ns);
static void session_end(struct tael_client_session *session);
static void session_release(struct tael_client_session *session);

static void connected(struct tael_client_session *session, uint64_t now_ns) {
    session->connection = TAEL_CLIENT_CONNECTION_UP;
    if (session->was_connected) count(&session->wire->reconnects);
    session->was_connected = true;
    request_send(session, now_ns);
}

static void connect_begin(struct tael_client_session *session, uint64_t now_ns) {
    TAEL_ASSERT(session->connection == TAEL_CLIENT_CONNECTION_DOWN);
    TAEL_ASSERT(is_in_flight(session));
    const struct tael_address *address = &session->wire->address;
    const struct sockaddr *peer = (const struct sockaddr *)&address->storage;
    session->socket = socket(peer->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (session->socket < 0) {
        drop(session, "socket", errno, now_ns);
        return;
    }
    const int one = 1;
    setsockopt(session->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const int error = connect(session->socket, peer, address->size) == 0 ? 0 : errno;
    if (error != 0 && error != EINPROGRESS) {
        drop(session, "connect", error, now_ns);
    } else if (watch(session, EPOLL_CTL_ADD, error != 0) != 0) {
        drop(session, "epoll", errno, now_ns);
    } else if (error == 0) {
        connected(session, now_ns);
    } else {
        session->connection = TAEL_CLIENT_CONNECTING;
        timer_set(session, TAEL_CLIENT_TIMER_CONNECTED, now_ns + CONNECT_MAX_NS);
    }
}

static void connect_end(struct tael_client_session *session, uint64_t now_ns) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(session->socket, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        drop(session, "connect", error, now_ns);
    } else {
        connected(session, now_ns);
    }
}

/* --- sending --- */

/* The copy at hand is with the kernel: from here on it may be executed. */
static void request_sent(struct tael_client_session *session, uint64_t now_ns) {
    session->is_sending = false;
    session->copies++;
    session->copied_ns = now_ns;
    const uint64_t jitter_ns = session->resends == 0 ? 0 : backoff_ns(session->wire, session->resends, BACKOFF_MAX_NS);
    session->resend_ns = now_ns + session->wire->retransmit_ns + jitter_ns;
    if (session->is_watched_for_room) watch(session, EPOLL_CTL_MOD, false);
    timer_set(session, TAEL_CLIENT_TIMER_ANSWER, session->resend_ns);
}

static void request_push(struct tael_client_session *session, uint64_t now_ns) {
    const uint8_t *bytes = (const uint8_t *)session->request;
    while (session->sent < session->request->size) {
        const ssize_t size =
            send(session->socket, bytes + session->sent, session->request->size - session->sent, MSG_NOSIGNAL);
        if (size >= 0) {
            session->sent += (uint32_t)size;
        } else if (errno == EAGAIN) {
            if (!session->is_watched_for_room) watch(session, EPOLL_CTL_MOD, true);
            timer_set(session, TAEL_CLIENT_TIMER_SENT, now_ns + stall_ns(session));
            return;
        } else if (errno != EINTR) {
            drop(session, "send", errno, now_ns);
            return;
        }
    }
    request_sent(session, now_ns);
}

static void request_send(struct tael_client_session *session, uint64_t now_ns) {
    TAEL_ASSERT(session->connection == TAEL_CLIENT_CONNECTION_UP);
    if (session->copies > 0) count(&session->wire->retransmissions);
    session->sent = 0;
    session->is_sending = true;
    request_push(session, now_ns);
}

/* Seals the request and sends it, now or as soon as there is a connection. */
static void request_begin(struct tael_client_session *session, uint64_t now_ns) {
    tael_frame_seal(session->request);
    session->begun_ns = now_ns;
    session->copies = 0;
    session->copies_busy = 0;
    session->resends = 0;
    session->is_waiting_told = false;
    session->why[0] = '\0';
    if (session->connection == TAEL_CLIENT_CONNECTION_UP) {
        request_send(session, now_ns);
    } else {
        connect_begin(session, now_ns);
    }
}

static void request_header_build(struct tael_client_session *session, uint8_t operation, uint32_t body_size) {
    const uint64_t latency_us = session->latency_ns / 1000;
    *session->request = (struct tael_frame){
        .cluster = session->wire->cluster,
        .size = TAEL_FRAME_HEADER_SIZE + body_size,
        .release = CLIENT_RELEASE,
        .command = TAEL_COMMAND_REQUEST,
        .request =
            {
                .parent = session->parent,
                .client = session->id,
                .session = session->session,
                .request = session->number,
                .operation = operation,
                .previous_latency_us = latency_us > UINT32_MAX ? UINT32_MAX : (uint32_t)latency_us,
            },
    };
}

static void session_register(struct tael_client_session *session, uint64_t now_ns) {
    TAEL_ASSERT(session->link.phase == TAEL_CLIENT_CLOSED);
    TAEL_ASSERT(session->connection == TAEL_CLIENT_CONNECTION_DOWN);
    session->wire->ids.drawn++;
    session->id = tael_checksum(&session->wire->ids, sizeof session->wire->ids) | 1; /* never zero */
    session->parent = 0;
    session->session = 0;
    session->number = 0;
    session->latency_ns = 0;
    session->deadline_ns = TAEL_CLIENT_NEVER;
    session->link.phase = TAEL_CLIENT_REGISTERING;
    uint8_t *body = (uint8_t *)(session->request + 1);
    const uint32_t body_size = tael_operation_info(TAEL_OPERATION_register).event_size;
    const uint32_t capabilities = TAEL_CAPABILITY_BUSY;
    memset(body, 0, body_size);
    memcpy(body + TAEL_CAPABILITIES_OFFSET, &capabilities, sizeof capabilities);
    request_header_build(session, TAEL_OPERATION_register, body_size);
    request_begin(session, now_ns);
}

static void *session_body(struct tael_client_session *session) {
    TAEL_ASSERT(session->link.phase == TAEL_CLIENT_IDLE);
    return session->request + 1;
}

static void session_request(struct tael_client_session *session, uint8_t operation, uint32_t body_size,
                            uint64_t deadline_ns, uint64_t now_ns) {
    TAEL_ASSERT(session->link.phase == TAEL_CLIENT_IDLE);
    TAEL_ASSERT(body_size <= TAEL_BODY_SIZE_MAX);
    TAEL_ASSERT(session->number < UINT32_MAX);
    session->number++;
    session->link.phase = TAEL_CLIENT_REQUESTING;
    session->deadline_ns = deadline_ns;
    request_header_build(session, operation, body_size);
    request_begin(session, now_ns);
}

/* --- receiving --- */

static enum judgement reply_judge(struct tael_client_session *session, uint64_t now_ns) {
    const struct tael_frame_reply *reply = &session->answer->reply;
    const struct tael_frame_request *request = &session->request->request;
    if (reply->client != session->id || !is_in_flight(session) || reply->request < request->request) {
        return FRAME_IGNORED;
    }
    if (reply->request != request->request) return nonsense(session, "a reply to a request that was not sent", now_ns);
    if (reply->request_checksum != session->request->checksum)
        return nonsense(session, "a reply to another request", now_ns);
    if (reply->operation != request->operation) return nonsense(session, "a reply of another operation", now_ns);
    return FRAME_ANSWER;
}

static enum judgement busy_judge(struct tael_client_session *session) {
    const struct tael_frame_busy *busy = &session->answer->busy;
    if (busy->client != session->id || !is_in_flight(session) || busy->request_checksum != session->request->checksum) {
        return FRAME_IGNORED;
    }
    static const char *const reasons[] = {
        [TAEL_BUSY_ACCOUNTS] = "there is no room for more accounts; 'tael start --accounts-max' raises the limit",
        [TAEL_BUSY_TRANSFERS] = "there is no room for more transfers; 'tael start --transfers-max' raises the limit",
        [TAEL_BUSY_DISK] = "there is no room on its disk",
        [TAEL_BUSY_SESSIONS] = "there is no room for the reply",
    };
    const bool is_known = busy->reason > 0 && busy->reason < sizeof reasons / sizeof reasons[0];
    why_set(session, "the server is busy: %s", is_known ? reasons[busy->reason] : "it doesn't say why");
    session->busy_wait_ns = busy->wait_ms == 0 ? NS_PER_MS : busy->wait_ms * NS_PER_MS;
    return FRAME_BUSY;
}

static enum judgement frame_judge(struct tael_client_session *session, uint64_t now_ns) {
    switch (session->answer->command) {
    case TAEL_COMMAND_REPLY:
        return reply_judge(session, now_ns);
    case TAEL_COMMAND_EVICTION:
        if (session->answer->eviction.client != session->id || !is_in_flight(session)) return FRAME_IGNORED;
        session->eviction = session->answer->eviction.reason;
        return FRAME_EVICTION;
    case TAEL_COMMAND_BUSY:
        return busy_judge(session);
    case TAEL_COMMAND_PONG_CLIENT:
        return FRAME_IGNORED;
    default:
        return nonsense(session, "an unknown command", now_ns);
    }
}

/* Drops the first frame from what was received. */
static void frame_consume(struct tael_client_session *session) {
    const uint32_t size = session->answer->size;
    TAEL_ASSERT(session->received >= size);
    session->received -= size;
    session->is_header_checked = false;
    memmove(session->answer, (const uint8_t *)session->answer + size, session->received);
}

/* When to ask a busy server again. Not so shortly before the deadline that the answer might miss it: then it would not
 * be known whether that copy was executed, where all before were certainly not. */
static uint64_t busy_again_ns(const struct tael_client_session *session, uint64_t now_ns) {
    const uint64_t again_ns = now_ns + session->busy_wait_ns;
    const uint64_t round_trip_ns = now_ns - session->copied_ns;
    const uint64_t margin_ns = round_trip_ns * 4 > BUSY_MARGIN_MIN_NS ? round_trip_ns * 4 : BUSY_MARGIN_MIN_NS;
    const uint64_t longest_ns = (session->deadline_ns - session->begun_ns) / 4;
    if (again_ns + earlier(margin_ns, longest_ns) < session->deadline_ns) return again_ns;
    return session->deadline_ns > now_ns ? session->deadline_ns : now_ns;
}

static void busy_took(struct tael_client_session *session, uint64_t now_ns) {
    count(&session->wire->busy);
    if (session->copies_busy < session->copies) session->copies_busy++;
    if (session->is_sending) return; /* of an earlier copy; this one will have its own answer */
    const uint64_t again_ns = busy_again_ns(session, now_ns);
    timer_set(session, TAEL_CLIENT_TIMER_BUSY, again_ns);
    waiting_tell(session, again_ns);
}

static enum tael_client_event evicted(struct tael_client_session *session) {
    const bool is_request_wrong = session->eviction == TAEL_EVICTION_INVALID_REQUEST_OPERATION ||
                                  session->eviction == TAEL_EVICTION_INVALID_REQUEST_BODY ||
                                  session->eviction == TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    if (!is_request_wrong || session->link.phase == TAEL_CLIENT_REGISTERING) {
        session_end(session);
        return TAEL_CLIENT_EVENT_EVICTED;
    }
    /* An eviction doesn't name its request: with more than one copy sent, another one may come and would be taken for
     * the next request's. It is meant for this session's id alone. */
    if (session->copies > 1 || session->is_sending || session->number == UINT32_MAX) {
        session_end(session);
    } else {
        timer_clear(session);
        session->link.phase = TAEL_CLIENT_IDLE;
    }
    return TAEL_CLIENT_EVENT_REFUSED;
}

static enum tael_client_event registered(struct tael_client_session *session, uint64_t now_ns) {
    const struct tael_frame *answer = session->answer;
    if (answer->reply.commit == 0 || tael_frame_body_size(answer) != sizeof(struct tael_register_result)) {
        nonsense(session, "the answer to the opening of a session", now_ns);
        return TAEL_CLIENT_EVENT_NONE;
    }
    session->session = answer->reply.commit;
    count(&session->wire->sessions);
    session->is_answered = true;
    session_release(session);
    return TAEL_CLIENT_EVENT_OPENED;
}

static enum tael_client_event answered(struct tael_client_session *session, uint64_t now_ns) {
    session->latency_ns = now_ns - session->begun_ns;
    session->parent = session->answer->reply.context;
    timer_clear(session);
    if (session->link.phase == TAEL_CLIENT_REGISTERING) return registered(session, now_ns);
    session->is_answered = true;
    return TAEL_CLIENT_EVENT_ANSWERED;
}

/* True when a whole and sound frame stands at the beginning of `answer`; what is wrong drops the connection. */
static bool frame_is_there(struct tael_client_session *session, uint64_t now_ns) {
    if (session->received < TAEL_FRAME_HEADER_SIZE) return false;
    if (!session->is_header_checked) {
        const enum tael_frame_verdict verdict = tael_frame_check_header(session->answer, session->wire->cluster);
        if (verdict != TAEL_FRAME_ok) {
            nonsense(session, tael_frame_verdict_text(verdict), now_ns);
            return false;
        }
        session->is_header_checked = true;
    }
    if (session->received < session->answer->size) return false;
    const enum tael_frame_verdict verdict = tael_frame_check_body(session->answer);
    if (verdict == TAEL_FRAME_ok) return true;
    nonsense(session, tael_frame_verdict_text(verdict), now_ns);
    return false;
}

/* Takes the whole frames that were received, up to one that the owner must hear of. */
static enum tael_client_event frames_take(struct tael_client_session *session, uint64_t now_ns) {
    while (frame_is_there(session, now_ns)) {
        session->drops = 0;
        session->silences = 0;
        switch (frame_judge(session, now_ns)) {
        case FRAME_ANSWER:
            return answered(session, now_ns);
        case FRAME_EVICTION:
            frame_consume(session);
            return evicted(session);
        case FRAME_BUSY:
            frame_consume(session);
            busy_took(session, now_ns);
            break;
        case FRAME_IGNORED:
            frame_consume(session);
            break;
        case FRAME_WRONG:
            return TAEL_CLIENT_EVENT_NONE;
        }
    }
    return TAEL_CLIENT_EVENT_NONE;
}

/* Nothing more comes for now. A frame that has begun is waited for, unless the sender stalls. */
static void receive_pause(struct tael_client_session *session, bool has_progressed, uint64_t now_ns) {
    if (session->is_sending) return;
    if (session->received > 0) {
        if (has_progressed || session->timer != TAEL_CLIENT_TIMER_FRAME) {
            timer_set(session, TAEL_CLIENT_TIMER_FRAME, now_ns + stall_ns(session));
        }
    } else if (session->timer == TAEL_CLIENT_TIMER_FRAME) {
        if (is_in_flight(session)) timer_set(session, TAEL_CLIENT_TIMER_ANSWER, session->resend_ns);
        if (!is_in_flight(session)) timer_clear(session);
    }
}

static enum tael_client_event receive(struct tael_client_session *session, uint64_t now_ns) {
    bool has_progressed = false;
    for (;;) {
        const ssize_t size = recv(session->socket, (uint8_t *)session->answer + session->received,
                                  TAEL_MESSAGE_SIZE_MAX - session->received, 0);
        if (size > 0) {
            has_progressed = true;
            session->received += (uint32_t)size;
            const enum tael_client_event event = frames_take(session, now_ns);
            if (event != TAEL_CLIENT_EVENT_NONE || session->connection != TAEL_CLIENT_CONNECTION_UP) return event;
        } else if (size == 0) {
            drop(session, "the server closed the connection", ECONNRESET, now_ns);
            return TAEL_CLIENT_EVENT_NONE;
        } else if (errno == EAGAIN) {
            receive_pause(session, has_progressed, now_ns);
            return TAEL_CLIENT_EVENT_NONE;
        } else if (errno != EINTR) {
            drop(session, "receive", errno, now_ns);
            return TAEL_CLIENT_EVENT_NONE;
        }
    }
}

static enum tael_client_event session_ready(struct tael_client_session *session, uint32_t events, uint64_t now_ns) {
    TAEL_ASSERT(!session->is_answered);
    TAEL_ASSERT(session->connection != TAEL_CLIENT_CONNECTION_DOWN);
    if (session->connection == TAEL_CLIENT_CONNECTING) {
        if ((events & ~(uint32_t)EPOLLIN) != 0) connect_end(session, now_ns);
        return TAEL_CLIENT_EVENT_NONE;
    }
    if ((events & EPOLLOUT) != 0 && session->is_sending) request_push(session, now_ns);
    if (session->connection != TAEL_CLIENT_CONNECTION_UP || (events & ~(uint32_t)EPOLLOUT) == 0)
        return TAEL_CLIENT_EVENT_NONE;
    return receive(session, now_ns);
}

/* --- time --- */

/* No answer for long enough: the same again, and on another connection where this one has been silent for long. */
static void silence(struct tael_client_session *session, uint64_t now_ns) {
    why_set(session, "it accepts connections but doesn't answer");
    session->resends++;
    session->drops = 0;
    if (++session->silences < SILENCES_MAX) {
        request_send(session, now_ns);
    } else {
        disconnect(session);
        connect_begin(session, now_ns);
    }
    if (session->timer == TAEL_CLIENT_TIMER_ANSWER) waiting_tell(session, session->resend_ns);
}

static void session_tick(struct tael_client_session *session, uint64_t now_ns) {
    TAEL_ASSERT(now_ns >= session->source.timer_ns);
    switch (session->timer) {
    case TAEL_CLIENT_TIMER_NONE:
        TAEL_UNREACHABLE("a timer that waits for nothing has no time");
    case TAEL_CLIENT_TIMER_RECONNECT:
        connect_begin(session, now_ns);
        break;
    case TAEL_CLIENT_TIMER_CONNECTED:
        drop(session, "connect", ETIMEDOUT, now_ns);
        break;
    case TAEL_CLIENT_TIMER_SENT:
        drop(session, "send", ETIMEDOUT, now_ns);
        break;
    case TAEL_CLIENT_TIMER_FRAME:
        drop(session, "half a frame came", ETIMEDOUT, now_ns);
        break;
    case TAEL_CLIENT_TIMER_ANSWER:
        silence(session, now_ns);
        break;
    case TAEL_CLIENT_TIMER_BUSY:
        request_send(session, now_ns);
        break;
    }
}

/* --- ends --- */

/* The request is no longer in flight. Half a copy on the connection makes that useless. */
static void request_over(struct tael_client_session *session) {
    if (session->is_sending || session->connection == TAEL_CLIENT_CONNECTING) {
        disconnect(session);
    } else if (session->timer != TAEL_CLIENT_TIMER_FRAME) {
        timer_clear(session);
    }
    session->link.phase = TAEL_CLIENT_IDLE;
    if (session->number == UINT32_MAX) session_end(session);
}

static void session_release(struct tael_client_session *session) {
    TAEL_ASSERT(is_in_flight(session));
    TAEL_ASSERT(session->is_answered);
    session->is_answered = false;
    frame_consume(session);
    request_over(session);
}

static bool session_is_certain(const struct tael_client_session *session) {
    return !session->is_answered && session->copies == session->copies_busy;
}

static void session_withdraw(struct tael_client_session *session) {
    TAEL_ASSERT(session->link.phase == TAEL_CLIENT_REQUESTING);
    TAEL_ASSERT(session_is_certain(session));
    request_over(session);
}

static void session_end(struct tael_client_session *session) {
    disconnect(session);
    session->is_answered = false;
    session->link.phase = TAEL_CLIENT_CLOSED;
}

static const char *session_trouble(const struct tael_client_session *session) {
    if (session->received > 0) return "half a frame came";
    if (session->why[0] != '\0') return session->why;
    if (session->is_sending) return "it takes nothing more";
    return session->copies > 0 ? "it has not answered yet" : "not connected yet";
}

static const char *session_eviction_text(const struct tael_client_session *session) {
    switch (session->eviction) {
    case TAEL_EVICTION_NO_SESSION:
        return "it doesn't know the session (it was the oldest when there were too many, or this is another ledger)";
    case TAEL_EVICTION_CLIENT_RELEASE_TOO_LOW:
        return "this client's release is too low for it";
    case TAEL_EVICTION_CLIENT_RELEASE_TOO_HIGH:
        return "this client's release is too high for it";
    case TAEL_EVICTION_INVALID_REQUEST_OPERATION:
        return "it has no such operation";
    case TAEL_EVICTION_INVALID_REQUEST_BODY:
        return "the request's body is wrong";
    case TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE:
        return "the size of the request's body is wrong";
    case TAEL_EVICTION_SESSION_TOO_LOW:
        return "the same client opened a newer session";
    case TAEL_EVICTION_SESSION_RELEASE_MISMATCH:
        return "the session was opened by another release";
    default:
        return "it doesn't say why";
    }
}

/* --- as a link --- */

static struct tael_client_session *session_of(struct tael_client_link *link) {
    return (struct tael_client_session *)((uint8_t *)link - offsetof(struct tael_client_session, link));
}

static const struct tael_client_session *session_of_const(const struct tael_client_link *link) {
    return (const struct tael_client_session *)((const uint8_t *)link - offsetof(struct tael_client_session, link));
}

static void link_open(struct tael_client_link *link, uint64_t now_ns) { session_register(session_of(link), now_ns); }

static void *link_body(struct tael_client_link *link) { return session_body(session_of(link)); }

static void link_request(struct tael_client_link *link, uint8_t operation, uint32_t body_size, bool is_one_batch,
                         uint64_t deadline_ns, uint64_t now_ns) {
    TAEL_ASSERT(!is_one_batch);
    session_request(session_of(link), operation, body_size, deadline_ns, now_ns);
}

static struct tael_client_answer link_answer(const struct tael_client_link *link) {
    const struct tael_frame *frame = session_of_const(link)->answer;
    return (struct tael_client_answer){.op = frame->reply.op,
                                       .timestamp = frame->reply.timestamp,
                                       .body = frame + 1,
                                       .body_size = frame->size - TAEL_FRAME_HEADER_SIZE};
}

static void link_release(struct tael_client_link *link) { session_release(session_of(link)); }

static bool link_was_sent(const struct tael_client_link *link) { return session_of_const(link)->copies > 0; }

static bool link_is_certain(const struct tael_client_link *link) { return session_is_certain(session_of_const(link)); }

static void link_withdraw(struct tael_client_link *link) { session_withdraw(session_of(link)); }

static void link_end(struct tael_client_link *link) { session_end(session_of(link)); }

static const char *link_trouble(const struct tael_client_link *link) { return session_trouble(session_of_const(link)); }

static const char *link_why(const struct tael_client_link *link) { return session_of_const(link)->why; }

static const char *link_eviction(const struct tael_client_link *link) {
    return session_eviction_text(session_of_const(link));
}

static void source_ready(struct tael_client_source *source, uint32_t events, uint64_t now_ns) {
    struct tael_client_session *session = (struct tael_client_session *)source;
    const enum tael_client_event event = session_ready(session, events, now_ns);
    if (event == TAEL_CLIENT_EVENT_NONE) return;
    session->wire->event(session->wire->event_context, &session->link, event);
}

static void source_tick(struct tael_client_source *source, uint64_t now_ns) {
    session_tick((struct tael_client_session *)source, now_ns);
}
static_assert(offsetof(struct tael_client_session, source) == 0, "a source is its session");

static const struct tael_client_link_operations link_operations = {
    .open = link_open,
    .body = link_body,
    .request = link_request,
    .answer = link_answer,
    .release = link_release,
    .was_sent = link_was_sent,
    .is_certain = link_is_certain,
    .withdraw = link_withdraw,
    .end = link_end,
    .trouble = link_trouble,
    .why = link_why,
    .eviction = link_eviction,
};

static const struct tael_client_source_operations source_operations = {.ready = source_ready, .tick = source_tick};

static void session_free(struct tael_client_session *session) {
    if (session->socket >= 0) close(session->socket);
    session->socket = -1;
    free(session->request);
    free(session->answer);
    session->request = NULL;
    session->answer = NULL;
}

static int session_init(struct tael_client_session *session, struct tael_client_wire *wire) {
    *session = (struct tael_client_session){.source = {&source_operations, TAEL_CLIENT_NEVER},
                                            .link = {.operations = &link_operations},
                                            .wire = wire,
                                            .socket = -1};
    session->request = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_MESSAGE_SIZE_MAX);
    session->answer = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_MESSAGE_SIZE_MAX);
    if (session->request != NULL && session->answer != NULL) return 0;
    session_free(session);
    return -ENOMEM;
}

static void links_free(struct tael_client_links *links) {
    struct tael_client_session *sessions = links->all;
    for (uint32_t i = 0; i < links->sources_count; i++) session_free(&sessions[i]);
    free(links->links);
    free(links->sources);
    free(sessions);
}

int tael_client_links_tcp(struct tael_client_wire *wire, uint32_t count_wanted, struct tael_client_links *out) {
    struct tael_client_session *sessions = calloc(count_wanted, sizeof *sessions);
    struct tael_client_links links = {.all = sessions, .free = links_free};
    links.links = calloc(count_wanted, sizeof *links.links);
    links.sources = calloc(count_wanted, sizeof *links.sources);
    int error = sessions == NULL || links.links == NULL || links.sources == NULL ? -ENOMEM : 0;
    while (error == 0 && links.links_count < count_wanted) {
        struct tael_client_session *session = &sessions[links.links_count];
        error = session_init(session, wire);
        if (error != 0) break;
        links.links[links.links_count++] = &session->link;
        links.sources[links.sources_count++] = &session->source;
    }
    if (error != 0) {
        links_free(&links);
        return error;
    }
    *out = links;
    return 0;
}
