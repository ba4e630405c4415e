/* Load on a server that is killed again and again: sessions, each in a thread of its own, that write down what was
 * acknowledged to them.
 *
 * Each session sends batches of random transfers (plain, linked in chains good and bad, pending with and without a
 * timeout, posts, voids, some that must fail) and retransmits until it is answered, as a client does. What a session
 * sent and what came back is kept whole, in order. Two sessions share each account, and one account is limited.
 *
 * Thread rule: the session's thread appends; anybody may read what is below session_acknowledged (its partner is the
 * release in the thread). Nothing is ever moved or changed. */
#ifndef TAEL_TESTS_CRASH_LOAD_H
#define TAEL_TESTS_CRASH_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tael/limits.h>
#include <tael/record.h>

struct tael_client;

#define LOAD_SESSIONS 4
#define LOAD_ACCOUNTS 6 /* with ids 1 .. 6, on ledger 1; the last may not overdraw */
#define LOAD_TIMEOUT_NS (120 * TAEL_NS_PER_S) /* for one answer, over as many kills as happen meanwhile */
#define LOAD_TRANSFERS_MAX 400000 /* a session */
#define LOAD_BATCH_MAX 96

struct load_entry {
    struct tael_transfer sent;
    struct tael_create_result result;
};

struct load_session {
    pthread_t thread;
    uint32_t number; /* from 0 */
    uint64_t random;
    const char *address;
    const atomic_bool *stop;
    uint64_t pause_max_ns; /* between two requests, so that the ledger stays small enough for the model */
    struct load_entry *entries; /* LOAD_TRANSFERS_MAX */
    _Atomic uint64_t acknowledged; /* entries that have a result; published with release */
    _Atomic uint64_t op; /* of the last reply */
    uint64_t requests; /* read after the thread's end */
    uint64_t retransmissions;
    uint64_t reconnects;
    const char *failure; /* NULL: all went well; read after the thread's end */
    char failure_text[512];
};

struct load {
    struct load_session sessions[LOAD_SESSIONS];
    atomic_bool stop;
};

/* From now on all clients, the test's own too, speak datagrams, with faults as struct tael_client_options has them. */
void load_speak_datagrams(const char *faults);

/* Opens the accounts in a session of its own, while the server is up. */
void load_open_accounts(const char *address);

/* Starts the sessions' threads. `address` must outlive them. */
void load_start(struct load *load, const char *address, uint64_t seed, uint64_t pause_max_ns);

/* Lets every session end with the request under way, and waits for them. Fails the test with what a session has to say. */
void load_stop(struct load *load);

void load_free(struct load *load);

/* The highest op that was acknowledged to any session. */
uint64_t load_op_acknowledged(const struct load *load);

/* A session of its own, for the test to look with. */
struct tael_client *load_client(const char *address);

static inline uint64_t load_acknowledged(const struct load_session *session) {
    return atomic_load_explicit(&session->acknowledged, memory_order_acquire); /* partner: the release in the thread */
}

/* A small generator; the same seed gives the same numbers. */
uint64_t load_random(uint64_t *state);

#endif
