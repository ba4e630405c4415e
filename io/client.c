/* A small synchronous client; see client.h.
 *
 * The heart is `exchange`: it (re)connects, (re)sends and listens in turns until there is an answer to the request in
 * flight or the deadline has come. The socket never blocks; every wait is a poll that ends at the deadline at the latest. */
#include "io/client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/frame.h>
#include <tael/limits.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>

#include "io/address.h"
#include "io/frame.h"

/* 0.17.9. Any release is accepted and comes back in the replies. */
#define CLIENT_RELEASE 0x00001109u
#define NS_PER_MS 1000000ull
#define RETRANSMIT_DEFAULT_NS (600 * NS_PER_MS)
#define BACKOFF_FIRST_NS (10 * NS_PER_MS)
#define BACKOFF_MAX_NS (10 * TAEL_NS_PER_S) /* between retransmissions */
#define RECONNECT_MAX_NS TAEL_NS_PER_S /* between connects: a refused connect is cheap */
#define WAITING_AFTER_NS TAEL_NS_PER_S
/* A connection on which this many sends went unanswered is given up: the peer may be gone without a word. */
#define SILENCES_MAX 4

/* What a wait for the answer came to. */
enum outcome {
    OUTCOME_ANSWER,
    OUTCOME_SILENCE, /* the time to listen is over, the connection stands */
    OUTCOME_DROPPED, /* the connection is gone, or what came over it was wrong */
    OUTCOME_BUSY,
    OUTCOME_EVICTED,
    OUTCOME_IGNORED, /* a frame that is none of our business: listen on */
};

struct tael_client {
    struct tael_address address;
    tael_u128 cluster;
    void (*waiting)(void *context, const char *why);
    void *context;
    tael_u128 id;
    tael_u128 parent; /* the previous reply's context */
    uint64_t session; /* 0 before register */
    uint64_t retransmit_ns;
    uint64_t random; /* xorshift64 */
    uint64_t busy_wait_ns; /* the server's wish, of the last busy */
    uint64_t latency_ns; /* of the previous request */
    uint64_t deadline_ns; /* of the call being served */
    uint32_t number; /* of the last request */
    uint32_t silences; /* on this connection */
    uint32_t resends; /* of this request, after silence */
    uint32_t drops; /* of connections since the last that worked */
    int socket; /* -1: not connected */
    uint8_t eviction; /* enum tael_eviction_reason of the last eviction */
    bool is_over;
    bool was_connected;
    struct tael_frame *request; /* header and body, TAEL_MESSAGE_SIZE_MAX bytes */
    struct tael_frame *answer; /* as long */
    struct tael_client_counters counters;
    char why[160]; /* what the last attempt failed of */
    char error[384];
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void sleep_until(uint64_t deadline_ns) {
    const struct timespec wake = {.tv_sec = (time_t)(deadline_ns / TAEL_NS_PER_S),
                                  .tv_nsec = (long)(deadline_ns % TAEL_NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL) == EINTR) {
    }
}

/* 0 .. bound, roughly even: spreads clients that lost the same server. */
static uint64_t random_up_to(struct tael_client *client, uint64_t bound) {
    client->random ^= client->random << 13;
    client->random ^= client->random >> 7;
    client->random ^= client->random << 17;
    return client->random % (bound + 1);
}

static uint64_t backoff_ns(struct tael_client *client, uint32_t attempt, uint64_t max_ns) {
    const uint64_t grown_ns = attempt >= 20 ? max_ns : earlier(BACKOFF_FIRST_NS << attempt, max_ns);
    return random_up_to(client, grown_ns);
}

__attribute__((format(printf, 2, 3))) static void why_set(struct tael_client *client, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(client->why, sizeof client->why, format, arguments);
    va_end(arguments);
}

__attribute__((format(printf, 3, 4))) static int error_set(struct tael_client *client, int error, const char *format,
                                                           ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(client->error, sizeof client->error, format, arguments);
    va_end(arguments);
    return error;
}

/* --- the socket --- */

static void disconnect(struct tael_client *client) {
    if (client->socket >= 0) close(client->socket);
    client->socket = -1;
}

static enum outcome drop(struct tael_client *client, const char *what, int error) {
    why_set(client, "%s: %s", what, strerror(error));
    disconnect(client);
    return OUTCOME_DROPPED;
}

/* True when the socket has one of `events` (or an error, which the next call on it tells) before the deadline. */
static bool socket_wait(int socket, short events, uint64_t deadline_ns) {
    for (;;) {
        const uint64_t now = now_ns();
        if (now >= deadline_ns) return false;
        struct pollfd entry = {.fd = socket, .events = events};
        const struct timespec left = {.tv_sec = (time_t)((deadline_ns - now) / TAEL_NS_PER_S),
                                      .tv_nsec = (long)((deadline_ns - now) % TAEL_NS_PER_S)};
        const int ready = ppoll(&entry, 1, &left, NULL);
        if (ready > 0) return true;
        if (ready < 0 && errno != EINTR) return true;
    }
}

/* Connects within the deadline; the socket is set only on success. */
static enum outcome socket_connect(struct tael_client *client, uint64_t deadline_ns) {
    const struct sockaddr *peer = (const struct sockaddr *)&client->address.storage;
    client->socket = socket(peer->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (client->socket < 0) return drop(client, "socket", errno);
    const int one = 1;
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->socket, peer, client->address.size) != 0) {
        if (errno != EINPROGRESS) return drop(client, "connect", errno);
        if (!socket_wait(client->socket, POLLOUT, deadline_ns)) return drop(client, "connect", ETIMEDOUT);
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(client->socket, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) return drop(client, "connect", error);
    }
    if (client->was_connected) client->counters.reconnects++;
    client->was_connected = true;
    client->silences = 0;
    return OUTCOME_ANSWER;
}

static enum outcome socket_send(struct tael_client *client, uint64_t deadline_ns) {
    const uint8_t *bytes = (const uint8_t *)client->request;
    for (size_t sent = 0; sent < client->request->size;) {
        const ssize_t size = send(client->socket, bytes + sent, client->request->size - sent, MSG_NOSIGNAL);
        if (size >= 0) {
            sent += (size_t)size;
        } else if (errno == EAGAIN) {
            /* Half a frame is of no use to a later try on this connection. */
            if (!socket_wait(client->socket, POLLOUT, deadline_ns)) return drop(client, "send", ETIMEDOUT);
        } else if (errno != EINTR) {
            return drop(client, "send", errno);
        }
    }
    return OUTCOME_ANSWER;
}

/* Reads answer bytes [from, to). Silence is only possible before the first byte of a frame; later it is a dropped frame. */
static enum outcome socket_receive(struct tael_client *client, size_t from, size_t to, uint64_t deadline_ns) {
    uint8_t *bytes = (uint8_t *)client->answer;
    while (from < to) {
        const ssize_t size = recv(client->socket, bytes + from, to - from, 0);
        if (size > 0) {
            from += (size_t)size;
        } else if (size == 0) {
            return drop(client, "the server closed the connection", ECONNRESET);
        } else if (errno == EAGAIN) {
            if (socket_wait(client->socket, POLLIN, deadline_ns)) continue;
            if (from == 0) return OUTCOME_SILENCE;
            return drop(client, "half a frame came", ETIMEDOUT);
        } else if (errno != EINTR) {
            return drop(client, "receive", errno);
        }
    }
    return OUTCOME_ANSWER;
}

/* --- answers --- */

static enum outcome nonsense(struct tael_client *client, const char *what) {
    why_set(client, "the server sent a wrong frame: %s", what);
    disconnect(client);
    return OUTCOME_DROPPED;
}

static enum outcome frame_receive(struct tael_client *client, uint64_t deadline_ns) {
    struct tael_frame *answer = client->answer;
    enum outcome outcome = socket_receive(client, 0, TAEL_FRAME_HEADER_SIZE, deadline_ns);
    if (outcome != OUTCOME_ANSWER) return outcome;
    enum tael_frame_verdict verdict = tael_frame_check_header(answer, client->cluster);
    if (verdict != TAEL_FRAME_ok) return nonsense(client, tael_frame_verdict_text(verdict));
    /* A frame that has begun is read to its end, unless the sender stalls. */
    const uint64_t stall_ns = now_ns() + client->retransmit_ns * SILENCES_MAX;
    outcome = socket_receive(client, TAEL_FRAME_HEADER_SIZE, answer->size, earlier(client->deadline_ns, stall_ns));
    if (outcome != OUTCOME_ANSWER) return outcome;
    verdict = tael_frame_check_body(answer);
    return verdict == TAEL_FRAME_ok ? OUTCOME_ANSWER : nonsense(client, tael_frame_verdict_text(verdict));
}

static enum outcome reply_judge(struct tael_client *client) {
    const struct tael_frame_reply *reply = &client->answer->reply;
    const struct tael_frame_request *request = &client->request->request;
    if (reply->client != client->id || reply->request < request->request) return OUTCOME_IGNORED;
    if (reply->request != request->request) return nonsense(client, "a reply to a request that was not sent");
    if (reply->request_checksum != client->request->checksum) return nonsense(client, "a reply to another request");
    if (reply->operation != request->operation) return nonsense(client, "a reply of another operation");
    return OUTCOME_ANSWER;
}

static enum outcome busy_judge(struct tael_client *client) {
    const struct tael_frame_busy *busy = &client->answer->busy;
    if (busy->client != client->id || busy->request_checksum != client->request->checksum) return OUTCOME_IGNORED;
    static const char *const reasons[] = {
        [TAEL_BUSY_ACCOUNTS] = "there is no room for more accounts; 'tael start --accounts-max' raises the limit",
        [TAEL_BUSY_TRANSFERS] = "there is no room for more transfers; 'tael start --transfers-max' raises the limit",
        [TAEL_BUSY_DISK] = "there is no room on its disk",
        [TAEL_BUSY_SESSIONS] = "there is no room for the reply",
    };
    const bool is_known = busy->reason > 0 && busy->reason < sizeof reasons / sizeof reasons[0];
    why_set(client, "the server is busy: %s", is_known ? reasons[busy->reason] : "it doesn't say why");
    client->busy_wait_ns = busy->wait_ms * NS_PER_MS;
    client->counters.busy++;
    return OUTCOME_BUSY;
}

static enum outcome answer_judge(struct tael_client *client) {
    switch (client->answer->command) {
    case TAEL_COMMAND_REPLY:
        return reply_judge(client);
    case TAEL_COMMAND_EVICTION:
        if (client->answer->eviction.client != client->id) return OUTCOME_IGNORED;
        client->eviction = client->answer->eviction.reason;
        return OUTCOME_EVICTED;
    case TAEL_COMMAND_BUSY:
        return busy_judge(client);
    case TAEL_COMMAND_PONG_CLIENT:
        return OUTCOME_IGNORED;
    default:
        return nonsense(client, "an unknown command");
    }
}

static enum outcome answer_await(struct tael_client *client, uint64_t deadline_ns) {
    enum outcome outcome;
    do {
        outcome = frame_receive(client, deadline_ns);
        if (outcome == OUTCOME_ANSWER) outcome = answer_judge(client);
    } while (outcome == OUTCOME_IGNORED);
    return outcome;
}

/* --- requests --- */

static const char *eviction_text(uint8_t reason) {
    switch (reason) {
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

static int evicted(struct tael_client *client) {
    const bool is_request_wrong = client->eviction == TAEL_EVICTION_INVALID_REQUEST_OPERATION ||
                                  client->eviction == TAEL_EVICTION_INVALID_REQUEST_BODY ||
                                  client->eviction == TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    if (is_request_wrong && client->session != 0) {
        return error_set(client, -EINVAL, "the server refused the request: %s", eviction_text(client->eviction));
    }
    client->is_over = true;
    return error_set(client, -ECONNABORTED, "the server ended the session: %s", eviction_text(client->eviction));
}

static int out_of_time(struct tael_client *client, enum outcome last, uint64_t timeout_ns) {
    char address[TAEL_ADDRESS_TEXT_SIZE];
    tael_address_format(&client->address, address);
    client->is_over = true;
    disconnect(client);
    const double seconds = (double)timeout_ns / (double)TAEL_NS_PER_S;
    if (last == OUTCOME_BUSY) {
        return error_set(client, -EBUSY, "%s was asked for %.3g s without effect: %s", address, seconds, client->why);
    }
    return error_set(client, -ETIMEDOUT, "no reply from %s within %.3g s (%s)", address, seconds, client->why);
}

/* One try: a connection, the request, a time to listen. */
static enum outcome attempt(struct tael_client *client, bool is_first) {
    const uint64_t deadline_ns = client->deadline_ns;
    if (client->socket < 0) {
        const enum outcome outcome = socket_connect(client, deadline_ns);
        if (outcome != OUTCOME_ANSWER) return outcome;
    }
    if (!is_first) client->counters.retransmissions++;
    const enum outcome outcome = socket_send(client, deadline_ns);
    if (outcome != OUTCOME_ANSWER) return outcome;
    const uint64_t jitter_ns = client->resends == 0 ? 0 : backoff_ns(client, client->resends, BACKOFF_MAX_NS);
    return answer_await(client, earlier(deadline_ns, now_ns() + client->retransmit_ns + jitter_ns));
}

/* How long to wait before the next try; also gives up a connection that has been silent for long. */
static uint64_t pause_ns(struct tael_client *client, enum outcome outcome) {
    if (outcome == OUTCOME_DROPPED) {
        return BACKOFF_FIRST_NS + backoff_ns(client, client->drops++, RECONNECT_MAX_NS);
    }
    client->drops = 0;
    if (outcome == OUTCOME_BUSY) return (client->busy_wait_ns == 0 ? NS_PER_MS : client->busy_wait_ns);
    TAEL_ASSERT(outcome == OUTCOME_SILENCE);
    why_set(client, "it accepts connections but doesn't answer");
    client->resends++;
    if (++client->silences >= SILENCES_MAX) disconnect(client);
    return 0;
}

/* Sends client->request, sealed here, until it is answered, refused, or its time is over. The answer is client->answer. */
static int exchange(struct tael_client *client, uint64_t timeout_ns) {
    const uint64_t begun_ns = now_ns();
    client->deadline_ns = begun_ns + earlier(timeout_ns, UINT64_MAX / 2);
    tael_frame_seal(client->request);
    why_set(client, "not connected");
    enum outcome outcome = OUTCOME_SILENCE;
    bool is_waiting_told = false;
    client->resends = 0;
    client->drops = 0;
    for (bool is_first = true; is_first || now_ns() < client->deadline_ns; is_first = false) {
        outcome = attempt(client, is_first);
        if (outcome == OUTCOME_EVICTED) return evicted(client);
        if (outcome == OUTCOME_ANSWER) {
            client->latency_ns = now_ns() - begun_ns;
            client->parent = client->answer->reply.context;
            return 0;
        }
        const uint64_t again_ns = now_ns() + pause_ns(client, outcome);
        if (client->waiting != NULL && !is_waiting_told && again_ns - begun_ns > WAITING_AFTER_NS) {
            client->waiting(client->context, client->why);
            is_waiting_told = true;
        }
        sleep_until(earlier(client->deadline_ns, again_ns));
    }
    return out_of_time(client, outcome, timeout_ns);
}

static void request_header_build(struct tael_client *client, uint8_t operation, uint32_t body_size) {
    const uint64_t latency_us = client->latency_ns / 1000;
    *client->request = (struct tael_frame){
        .cluster = client->cluster,
        .size = TAEL_FRAME_HEADER_SIZE + body_size,
        .release = CLIENT_RELEASE,
        .command = TAEL_COMMAND_REQUEST,
        .request =
            {
                .parent = client->parent,
                .client = client->id,
                .session = client->session,
                .request = client->number,
                .operation = operation,
                .previous_latency_us = latency_us > UINT32_MAX ? UINT32_MAX : (uint32_t)latency_us,
            },
    };
}

static int random_fill(void *out, size_t size) {
    for (size_t filled = 0; filled < size;) {
        const ssize_t got = getrandom((uint8_t *)out + filled, size - filled, 0);
        if (got < 0 && errno != EINTR) return -errno;
        if (got > 0) filled += (size_t)got;
    }
    return 0;
}

int tael_client_new(const struct tael_client_options *options, struct tael_client **out) {
    struct tael_client *client = calloc(1, sizeof *client);
    if (client == NULL) return -ENOMEM;
    client->socket = -1;
    client->cluster = options->cluster;
    client->waiting = options->waiting;
    client->context = options->context;
    client->retransmit_ns = options->retransmit_ns == 0 ? RETRANSMIT_DEFAULT_NS : options->retransmit_ns;
    int error = tael_address_parse(options->address, &client->address);
    if (error == 0) error = random_fill(&client->id, sizeof client->id);
    if (error == 0) error = random_fill(&client->random, sizeof client->random);
    if (error != 0) goto fail;
    error = -ENOMEM;
    client->request = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_MESSAGE_SIZE_MAX);
    client->answer = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_MESSAGE_SIZE_MAX);
    if (client->request == NULL || client->answer == NULL) goto fail;
    client->id |= 1; /* never zero */
    client->random |= 1;
    *out = client;
    return 0;
fail:
    tael_client_free(client);
    return error;
}

void tael_client_free(struct tael_client *client) {
    if (client == NULL) return;
    disconnect(client);
    free(client->request);
    free(client->answer);
    free(client);
}

void *tael_client_body(struct tael_client *client) { return client->request + 1; }
const char *tael_client_error(const struct tael_client *client) { return client->error; }
struct tael_client_counters tael_client_counters(const struct tael_client *client) {
    return client->counters;
}
uint64_t tael_client_session(const struct tael_client *client) { return client->session; }

int tael_client_register(struct tael_client *client, uint64_t timeout_ns) {
    TAEL_ASSERT(client->session == 0);
    TAEL_ASSERT(client->number == 0);
    uint8_t *body = tael_client_body(client);
    const uint32_t body_size = tael_operation_info(TAEL_OPERATION_register).event_size;
    const uint32_t capabilities = TAEL_CAPABILITY_BUSY;
    memset(body, 0, body_size);
    memcpy(body + TAEL_CAPABILITIES_OFFSET, &capabilities, sizeof capabilities);
    request_header_build(client, TAEL_OPERATION_register, body_size);
    const int error = exchange(client, timeout_ns);
    if (error != 0) return error;
    client->session = client->answer->reply.commit;
    if (client->session != 0 && tael_frame_body_size(client->answer) == sizeof(struct tael_register_result)) return 0;
    client->is_over = true;
    return error_set(client, -EPROTO, "the server's answer to the opening of a session is wrong");
}

int tael_client_request(struct tael_client *client, uint8_t operation, uint32_t body_size, uint64_t timeout_ns,
                        struct tael_client_reply *reply) {
    TAEL_ASSERT(body_size <= TAEL_BODY_SIZE_MAX);
    TAEL_ASSERT(client->number < UINT32_MAX);
    if (client->is_over || client->session == 0) {
        return error_set(client, -ECONNABORTED, "there is no session: it is over, or was never opened");
    }
    client->number++;
    request_header_build(client, operation, body_size);
    const int error = exchange(client, timeout_ns);
    if (error != 0) return error;
    *reply = (struct tael_client_reply){
        .body = client->answer + 1,
        .body_size = tael_frame_body_size(client->answer),
        .op = client->answer->reply.op,
        .timestamp = client->answer->reply.timestamp,
    };
    return 0;
}

int tael_client_batch(struct tael_client *client, uint8_t operation, uint32_t event_count, uint64_t timeout_ns,
                      struct tael_client_reply *reply, uint32_t *result_count) {
    const struct tael_operation_info info = tael_operation_info(operation);
    TAEL_ASSERT(info.multi_batch);
    TAEL_ASSERT(event_count <= TAEL_EVENTS_MAX);
    const uint16_t count = (uint16_t)event_count;
    const uint32_t body_size =
        tael_multi_batch_encode(tael_client_body(client), event_count * info.event_size, &count, 1, info.event_size);
    const int error = tael_client_request(client, operation, body_size, timeout_ns, reply);
    if (error != 0) return error;
    struct tael_multi_batch results;
    if (tael_multi_batch_decode(reply->body, reply->body_size, info.result_size, &results) == TAEL_MULTI_BATCH_OK &&
        results.batch_count == 1) {
        *result_count = results.element_count;
        return 0;
    }
    client->is_over = true;
    return error_set(client, -EPROTO, "the body of the server's reply to %s is wrong", info.name);
}
