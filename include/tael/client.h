/* The client library of Tael: batches of events to a running server, their results back. Link with `pkg-config --libs tael-client`.
 *
 * A client holds several sessions with one server. A session has one request in flight, so as many requests proceed in
 * parallel as there are sessions. While all are busy, submits queue; what has gathered for one operation by the time that
 * a session is free goes together in one request, each submit a batch of its own: chains never span submits, and each
 * gets the results of its own events. With a session free, a submit is sent at once.
 *
 *  1. At most once: a request is sent again, byte for byte the same, until it is answered, over as many connections as it
 *     takes and through restarts of the server, which executes it once.
 *  2. Deadlines are kept: every submit is completed when its timeout is over, at the latest.
 *  3. A status says whether the outcome is known (tael_client_outcome_is_unknown). Where it is not, submit the same events
 *     again: their ids make sure that nothing is created twice, and a result `exists` tells what was.
 *  4. Everything queued is bounded by `queue_max`. Nothing is allocated after tael_client_connect.
 *
 * Submits that are outstanding together are executed in any order; with one session, in the order of their submits. The
 * rest of a submit's events are executed in order, nothing between them.
 *
 * Thread-safe: any thread may submit. One thread of the library does all the work and calls the completions; it sleeps
 * while there is none. A client does not survive fork(). Needs Linux and a processor with AES-NI and AVX2.
 * Functions return 0 or a negative errno. */
#ifndef TAEL_CLIENT_H
#define TAEL_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/flag.h>
#include <tael/operation.h>
#include <tael/record.h>
#include <tael/status.h>
#include <tael/u128.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TAEL_CLIENT_API __attribute__((visibility("default")))

#define TAEL_CLIENT_EVENTS_MAX 8189 /* in one submit; and results of one */
#define TAEL_CLIENT_SESSIONS_MAX 4096
#define TAEL_CLIENT_QUEUE_MAX (1u << 24)
#define TAEL_CLIENT_WHY_SIZE 384

struct tael_client;

enum tael_client_transport {
    TAEL_CLIENT_TCP, /* a session is a connection */
    TAEL_CLIENT_UDP, /* datagrams over IPv4, to the server's datagram port; a session is a slot, up to 64 share a socket */
};

/* Zero in a field means its default. */
struct tael_client_options {
    const char *address; /* "127.0.0.1:3000", "[::1]:3000", or "3000": a port of this machine. No names */
    tael_u128 cluster; /* the ledger's number; zero is one too */
    uint32_t sessions; /* 1 .. TAEL_CLIENT_SESSIONS_MAX; default 1 */
    uint32_t queue_max; /* submits not completed yet, at most; default 16384 */
    uint64_t timeout_ns; /* of a submit that names none; default 60 s */
    uint64_t connect_timeout_ns; /* of tael_client_connect; default 10 s */
    uint64_t retransmit_ns; /* silence before a request is sent again; default 600 ms, UDP: 20 ms or 4 round trips */
    /* Called once a request, on the library's thread, when there is no reply after a second and it goes on trying: `why`
     * the last try failed. May be NULL. */
    void (*waiting)(void *context, const char *why);
    void *waiting_context;
    enum tael_client_transport transport; /* default TCP */
    uint32_t datagram_max; /* UDP: bytes of a datagram that the way takes, 1472 .. 8972; default 1472 */
    /* UDP, for tests: faults on purpose, percent of the datagrams either way, as "drop=20,duplicate=10,reorder=10,corrupt=1,seed=7".
     * NULL: none. */
    const char *faults;
};

/* Opens all sessions. On failure `why` (may be NULL) holds a sentence for people.
 *   -EINVAL        the address is none, or an option is out of its range
 *   -ENOTSUP       the processor lacks the instructions
 *   -ETIMEDOUT     no server answered in time
 *   -ECONNABORTED  the server refused a session
 *   or what the system said about memory, threads and descriptors. */
TAEL_CLIENT_API int tael_client_connect(const struct tael_client_options *options, struct tael_client **out,
                                        char why[TAEL_CLIENT_WHY_SIZE]);

/* Ends the client: waits up to `wait_ns` for what is outstanding, then completes what is left (-ECANCELED, -ESHUTDOWN).
 * All completions have returned when it returns. No other thread may use the client any more, but those that wait in
 * tael_client_submit or tael_client_call: they return. Not from a completion. NULL is fine. */
TAEL_CLIENT_API void tael_client_close(struct tael_client *client, uint64_t wait_ns);

/* How a submit ended. The status is
 *   0              answered: the results are there
 *  not executed, and will not be:
 *   -EHOSTUNREACH  it could not be sent in time
 *   -EBUSY         the server had no room for it, asked again and again until the deadline; with UDP that is -ETIMEDOUT,
 *                  since the network may have repeated a datagram
 *   -EINVAL        the server refused it
 *   -ECANCELED     the client was closed before it was sent
 *  outcome unknown, see 3 above:
 *   -ETIMEDOUT     sent, and no reply in time
 *   -ECONNABORTED  the server ended the session with the request in flight; later submits have a new one
 *   -EPROTO        the reply is not what the protocol says
 *   -ESHUTDOWN     the client was closed with the request in flight */
struct tael_client_result {
    int status;
    uint32_t count; /* of results */
    const void *results; /* of the operation's type (see tael_client_submit), valid during the completion */
    uint64_t op; /* the request's place in the order of all; of a read: the last op that it shows */
    uint64_t timestamp; /* ns since 1970, of that op */
    const char *why; /* a sentence for people, empty with status 0; valid during the completion */
};

/* Called once for each submit that was taken, on the library's thread. It may submit, but not wait: neither TAEL_CLIENT_WAIT nor
 * tael_client_call nor tael_client_close. What it takes long for, all others wait for. */
typedef void (*tael_client_completion)(void *context, const struct tael_client_result *result);

enum tael_client_submit_flag {
    TAEL_CLIENT_WAIT = 1u << 0, /* with the queue full, wait for room until the deadline, instead of -EAGAIN at once */
    TAEL_CLIENT_ALONE = 1u << 1, /* a request of its own, with no other submits in it */
};

/* Events in and results out, by operation (the records are in record.h, the statuses in status.h):
 *   create_accounts, create_transfers    tael_account, tael_transfer -> tael_create_result, one each
 *   create_*_sparse                      the same -> tael_create_result_sparse, of those that failed
 *   lookup_accounts, lookup_transfers    tael_u128 ids -> tael_account, tael_transfer, of those that exist
 *   get_account_transfers, _balances     one tael_account_filter -> tael_transfer, tael_account_balance
 *   query_accounts, query_transfers      one tael_query_filter -> tael_account, tael_transfer
 *   get_change_events                    one tael_change_events_filter -> tael_change_event
 *   trial_balance                        one tael_trial_balance_filter -> tael_trial_balance_row */
struct tael_client_submit {
    uint8_t operation; /* enum tael_operation */
    uint32_t event_count;
    const void *events; /* stay yours, unchanged until the completion */
    uint64_t timeout_ns; /* from now to the completion; 0: the client's */
    uint32_t flags; /* enum tael_client_submit_flag */
    tael_client_completion completion;
    void *context; /* handed to it */
};

/* Queues a submit. With 0 its completion will be called; otherwise it won't, and nothing was sent:
 *   -EAGAIN    the queue is full, or was until the deadline
 *   -EINVAL    not an operation for clients, not one filter where one is due, or no completion
 *   -EMSGSIZE  too many events, or more results than a reply can hold
 *   -EDEADLK   TAEL_CLIENT_WAIT in a completion
 *   -ESHUTDOWN the client is being closed */
TAEL_CLIENT_API int tael_client_submit(struct tael_client *client, const struct tael_client_submit *submit);

struct tael_client_reply {
    uint32_t count;
    uint64_t op;
    uint64_t timestamp;
    char why[TAEL_CLIENT_WHY_SIZE];
};

/* Submits and waits for the completion. The results are copied to `results`, which has room for `results_max`. Returns
 * the status of the result or an error of tael_client_submit, after waiting for room where there is none.
 *   -ENOBUFS  executed, but there are more results (reply->count) than `results_max`; none are copied.
 * `reply` may be NULL. */
TAEL_CLIENT_API int tael_client_call(struct tael_client *client, uint8_t operation, const void *events,
                                     uint32_t event_count, void *results, uint32_t results_max, uint64_t timeout_ns,
                                     struct tael_client_reply *reply);

/* Whether after this status the events may have been executed or not. */
TAEL_CLIENT_API bool tael_client_outcome_is_unknown(int status);

/* What happened so far, for reports; any thread. */
struct tael_client_counters {
    uint64_t submits; /* completed */
    uint64_t requests; /* answered, for those; fewer where submits went together */
    uint64_t retransmissions;
    uint64_t reconnects;
    uint64_t busy;
    uint64_t sessions; /* opened */
};
TAEL_CLIENT_API struct tael_client_counters tael_client_counters(const struct tael_client *client);

#ifdef __cplusplus
}
#endif

#endif
