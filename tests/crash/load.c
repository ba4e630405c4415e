#include "tests/crash/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <tael/client.h>
#include <tael/limits.h>

#define RETRANSMIT_NS (TAEL_NS_PER_S / 10)
#define POST_ALL TAEL_U128_MAX

uint64_t load_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static enum tael_client_transport transport = TAEL_CLIENT_TCP;
static const char *faults;

void load_speak_datagrams(const char *faults_wanted) {
    transport = TAEL_CLIENT_UDP;
    faults = faults_wanted;
}

static struct tael_client *client_connected(const char *address) {
    const struct tael_client_options options = {.address = address,
                                                .retransmit_ns = transport == TAEL_CLIENT_TCP ? RETRANSMIT_NS : 0,
                                                .timeout_ns = LOAD_TIMEOUT_NS,
                                                .connect_timeout_ns = LOAD_TIMEOUT_NS,
                                                .transport = transport,
                                                .faults = faults};
    struct tael_client *client = NULL;
    return tael_client_connect(&options, &client, NULL) == 0 ? client : NULL;
}

struct tael_client *load_client(const char *address) {
    struct tael_client *client = client_connected(address);
    assert_non_null(client);
    return client;
}

void load_open_accounts(const char *address) {
    struct tael_client *client = load_client(address);
    struct tael_account accounts[LOAD_ACCOUNTS];
    for (uint32_t i = 0; i < LOAD_ACCOUNTS; i++) {
        accounts[i] = (struct tael_account){.id = i + 1, .ledger = 1, .code = 1};
        if (i % 2 == 0) accounts[i].flags = TAEL_ACCOUNT_FLAG_history;
        if (i == LOAD_ACCOUNTS - 1) accounts[i].flags = TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits;
    }
    struct tael_create_result results[LOAD_ACCOUNTS];
    assert_int_equal(tael_client_call(client, TAEL_OPERATION_create_accounts, accounts, LOAD_ACCOUNTS, results,
                                      LOAD_ACCOUNTS, 0, NULL),
                     0);
    for (uint32_t i = 0; i < LOAD_ACCOUNTS; i++) assert_int_equal(results[i].status, TAEL_STATUS_CREATED);
    tael_client_close(client, 0);
}

/* A post or void of one of the session's recent transfers, whatever has become of that one. */
static struct tael_transfer resolution_random(struct load_session *session, tael_u128 id, uint64_t entry) {
    const uint64_t back = 1 + load_random(&session->random) % (entry < 200 ? entry : 200);
    const bool post = load_random(&session->random) % 2 == 0;
    return (struct tael_transfer){
        .id = id,
        .pending_id = session->entries[entry - back].sent.id,
        .amount = post ? POST_ALL : 0,
        .flags = post ? TAEL_TRANSFER_FLAG_post_pending_transfer : TAEL_TRANSFER_FLAG_void_pending_transfer,
        .user_data_64 = session->number + 1,
    };
}

static struct tael_transfer transfer_random(struct load_session *session, uint64_t entry) {
    uint64_t *random = &session->random;
    const tael_u128 id = tael_u128_make(session->number + 1, entry + 1);
    const uint64_t kind = load_random(random) % 16;
    if (kind < 4 && entry > 0) return resolution_random(session, id, entry);
    const uint64_t debit = load_random(random) % LOAD_ACCOUNTS;
    const uint64_t credit = (debit + 1 + load_random(random) % (LOAD_ACCOUNTS - 1)) % LOAD_ACCOUNTS;
    struct tael_transfer transfer = {
        .id = id,
        .debit_account_id = debit + 1,
        .credit_account_id = credit + 1,
        .amount = 1 + load_random(random) % 100,
        .user_data_64 = session->number + 1,
        .ledger = 1,
        .code = 1,
    };
    if (kind >= 4 && kind < 8) transfer.flags = TAEL_TRANSFER_FLAG_pending;
    if (kind == 4) transfer.timeout = 1;
    if (kind == 8) transfer.code = 0;
    if (kind == 9) transfer.flags = TAEL_TRANSFER_FLAG_linked;
    if (kind == 10) transfer.flags = TAEL_TRANSFER_FLAG_balancing_debit;
    return transfer;
}

/* One batch, sent until it is answered. False when the session is at its end. */
static bool post_batch(struct load_session *session, struct tael_client *client) {
    const uint64_t first = atomic_load_explicit(&session->acknowledged, memory_order_relaxed); /* relaxed: own number */
    const uint32_t count = 1 + (uint32_t)(load_random(&session->random) % LOAD_BATCH_MAX);
    if (first + count > LOAD_TRANSFERS_MAX) return false;
    struct tael_transfer events[LOAD_BATCH_MAX];
    struct tael_create_result results[LOAD_BATCH_MAX];
    for (uint32_t i = 0; i < count; i++) {
        session->entries[first + i].sent = events[i] = transfer_random(session, first + i);
    }
    struct tael_client_reply reply;
    if (tael_client_call(client, TAEL_OPERATION_create_transfers, events, count, results, count, 0, &reply) != 0) {
        snprintf(session->failure_text, sizeof session->failure_text, "session %u: %s", session->number, reply.why);
        session->failure = session->failure_text;
        return false;
    }
    for (uint32_t i = 0; i < count; i++) session->entries[first + i].result = results[i];
    session->requests++;
    atomic_store_explicit(&session->op, reply.op, memory_order_relaxed); /* relaxed: a number by itself */
    atomic_store_explicit(&session->acknowledged, first + count, memory_order_release); /* partner: load_acknowledged */
    return true;
}

static void *session_run(void *argument) {
    struct load_session *session = argument;
    struct tael_client *client = client_connected(session->address);
    if (client == NULL) {
        session->failure = "a session could not be opened";
        return NULL;
    }
    /* Relaxed: only tells when to end. */
    while (!atomic_load_explicit(session->stop, memory_order_relaxed) && post_batch(session, client)) {
        const long pause_ns = (long)(load_random(&session->random) % session->pause_max_ns);
        nanosleep(&(struct timespec){.tv_nsec = pause_ns}, NULL);
    }
    const struct tael_client_counters counters = tael_client_counters(client);
    session->retransmissions = counters.retransmissions;
    session->reconnects = counters.reconnects;
    tael_client_close(client, 0);
    return NULL;
}

uint64_t load_op_acknowledged(const struct load *load) {
    uint64_t op = 0;
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) {
        /* Relaxed: a number by itself. */
        const uint64_t session_op = atomic_load_explicit(&load->sessions[i].op, memory_order_relaxed);
        if (session_op > op) op = session_op;
    }
    return op;
}

void load_start(struct load *load, const char *address, uint64_t seed, uint64_t pause_max_ns) {
    atomic_init(&load->stop, false);
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) {
        struct load_session *session = &load->sessions[i];
        *session = (struct load_session){.number = i, .random = seed * LOAD_SESSIONS + i, .address = address};
        session->stop = &load->stop;
        session->pause_max_ns = pause_max_ns;
        session->entries = calloc(LOAD_TRANSFERS_MAX, sizeof *session->entries);
        assert_non_null(session->entries);
        assert_int_equal(pthread_create(&session->thread, NULL, session_run, session), 0);
    }
}

void load_stop(struct load *load) {
    atomic_store_explicit(&load->stop, true, memory_order_relaxed);
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) assert_int_equal(pthread_join(load->sessions[i].thread, NULL), 0);
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) {
        if (load->sessions[i].failure != NULL) fail_msg("%s", load->sessions[i].failure);
    }
}

void load_free(struct load *load) {
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) free(load->sessions[i].entries);
}
