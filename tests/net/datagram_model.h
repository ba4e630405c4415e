/* A server of the datagram protocol for tests of its clients, as small and as plain as the protocol allows: it executes each request
 * of a slot at most once, keeps the last reply, answers polls and HAVEs, and asserts what a client must keep to.
 *
 * Pure: no socket, no clock. Peers are numbers. What is executed, and when, the test says. */
#ifndef TAEL_TESTS_DATAGRAM_MODEL_H
#define TAEL_TESTS_DATAGRAM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/datagram.h>

struct datagram_model;

struct datagram_model_request {
    tael_u128 client;
    uint32_t number;
    uint8_t slot;
    uint8_t operation;
    uint8_t flags;
    const uint8_t *body;
    uint32_t body_size;
};

enum datagram_model_verdict {
    DATAGRAM_MODEL_EXECUTE, /* and answer */
    DATAGRAM_MODEL_IGNORE, /* as if it had not arrived */
    DATAGRAM_MODEL_LATER, /* it is being executed, until datagram_model_execute */
    DATAGRAM_MODEL_MUTE, /* executed, but the answer is lost */
    DATAGRAM_MODEL_NOTICE, /* answered by the notice that the test wrote */
    DATAGRAM_MODEL_FORGET, /* the session is gone: NOTICE 1 */
    DATAGRAM_MODEL_RESTART, /* executed, not answered, and then the server starts again */
};

struct datagram_model_options {
    tael_u128 ledger;
    uint32_t datagram_max;
    uint32_t window; /* of requests' parts */
    uint32_t slots_max;
    void *context;
    void (*send)(void *context, uint64_t peer, const void *datagram, uint32_t size);
    /* What becomes of a whole request that is not executed yet, registers too. NULL: each is executed. */
    enum datagram_model_verdict (*judge)(void *context, const struct datagram_model_request *request,
                                         struct tael_datagram_notice *notice);
    /* Writes the reply's body, returns its size. Not for registers. */
    uint32_t (*execute)(void *context, const struct datagram_model_request *request, uint8_t *reply);
};

struct datagram_model *datagram_model_new(const struct datagram_model_options *options);
void datagram_model_free(struct datagram_model *model);

/* A datagram came. One that a sound network can't have made of a sound client's fails an assertion: `is_whole` says that this one
 * was not damaged on the way. */
void datagram_model_receive(struct datagram_model *model, uint64_t peer, const void *datagram, uint32_t size,
                            bool is_whole);

/* Executes and answers what waits, all of it or in one slot. */
void datagram_model_execute(struct datagram_model *model);

/* Forgets all but what is in the log: addresses, cookies, what was half there or being executed. */
void datagram_model_restart(struct datagram_model *model);

/* Forgets all addresses. */
void datagram_model_forget_addresses(struct datagram_model *model);

/* Ends all sessions. */
void datagram_model_forget_sessions(struct datagram_model *model);

void datagram_model_window(struct datagram_model *model, uint32_t window);

struct datagram_model_counters {
    uint64_t hellos, registers, executions, replies_again, polls, haves, notices, cookies;
    uint32_t waiting; /* requests that are being executed */
};
struct datagram_model_counters datagram_model_counters(const struct datagram_model *model);

#endif
