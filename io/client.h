/* A small client of the protocol in include/tael/frame.h: one session, one request in flight, each call returns when the reply is there or
 * its time is over. For the command line and for tests; it blocks and owns one socket.
 *
 * 1. At most once: a request is sent again, byte for byte the same, until it is answered, over as many connections as it
 *    takes, so a server that was killed and started again in between answers it as if nothing had happened.
 * 2. No call outlasts its timeout_ns.
 * 3. A session whose request was not answered in time is over: whether it was executed isn't known, so nothing may follow
 *    it in this session. What it created is found out by sending the same events in a new one (their ids tell).
 *
 * Not thread-safe. Every failure leaves a sentence for people in tael_client_error. */
#ifndef TAEL_IO_CLIENT_H
#define TAEL_IO_CLIENT_H

#include <stdint.h>

#include <tael/u128.h>

struct tael_client;

struct tael_client_options {
    const char *address; /* see io/address.h */
    tael_u128 cluster;
    uint64_t retransmit_ns; /* silence before a request is sent again; 0: 600 ms */
    /* Once a call, when there is no reply after a second and it goes on trying: `why` the last try failed. May be NULL. */
    void (*waiting)(void *context, const char *why);
    void *context;
};

struct tael_client_reply {
    const void *body; /* valid until the next call */
    uint32_t body_size;
    uint64_t op;
    uint64_t timestamp;
};

/* What happened so far, for reports. */
struct tael_client_counters {
    uint64_t retransmissions;
    uint64_t reconnects;
    uint64_t busy;
};

/* Takes memory, connects nothing. -EINVAL: the address is none. -ENOMEM. */
int tael_client_new(const struct tael_client_options *options, struct tael_client **out);
void tael_client_free(struct tael_client *client); /* NULL is fine */

/* Opens the session, under a random id. Once, before all requests. Errors as for tael_client_request. */
int tael_client_register(struct tael_client *client, uint64_t timeout_ns);

/* Where the body of the next request is written: TAEL_BODY_SIZE_MAX bytes, free between calls. */
void *tael_client_body(struct tael_client *client);

/* Sends the body in tael_client_body, `body_size` bytes, and waits for its reply.
 *   -ETIMEDOUT     no reply in time; the session is over (see 3)
 *   -EBUSY         the server kept answering that it has no room; not executed; the session is over
 *   -EINVAL        the server found the operation or the body wrong (evictions 4, 5, 6); the session goes on
 *   -ECONNABORTED  the session was evicted, or was over already */
int tael_client_request(struct tael_client *client, uint8_t operation, uint32_t body_size, uint64_t timeout_ns,
                        struct tael_client_reply *reply);

/* The same for an operation with multi-batch bodies and one batch: `event_count` events stand in tael_client_body; on
 * return reply->body holds *result_count results. -EPROTO: the reply's body is wrong; the session is over. */
int tael_client_batch(struct tael_client *client, uint8_t operation, uint32_t event_count, uint64_t timeout_ns,
                      struct tael_client_reply *reply, uint32_t *result_count);

const char *tael_client_error(const struct tael_client *client);
struct tael_client_counters tael_client_counters(const struct tael_client *client);
uint64_t tael_client_session(const struct tael_client *client); /* 0 before register */

#endif
