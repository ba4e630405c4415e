/* The client library against a server that drops, damages, repeats, holds and refuses, as a script tells it. What counts: each
 * submit is completed once, with its own results or a clear status within its time; what is sent again is the same to the
 * byte; and what may go together does, nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tael/client.h>
#include <tael/limits.h>

#include "fake_server.h"

#define CLUSTER ((tael_u128)42)
#define MS 1000000ull
#define RETRANSMIT_NS (60 * MS)
#define TIMEOUT_NS (5000 * MS)
#define TRIES_MAX 5

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

static void sleep_ms(long ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL); }

static struct tael_client_options options_for(const struct fake_server *server) {
    return (struct tael_client_options){.address = fake_server_address(server),
                                        .cluster = CLUSTER,
                                        .timeout_ns = TIMEOUT_NS,
                                        .connect_timeout_ns = TIMEOUT_NS,
                                        .retransmit_ns = RETRANSMIT_NS};
}

static struct tael_client *client_with(const struct tael_client_options *options) {
    struct tael_client *client = NULL;
    char why[TAEL_CLIENT_WHY_SIZE];
    const int error = tael_client_connect(options, &client, why);
    if (error != 0) fail_msg("%s: %s", strerror(-error), why);
    return client;
}

static struct tael_client *client_to(const struct fake_server *server, uint32_t sessions) {
    struct tael_client_options options = options_for(server);
    options.sessions = sessions;
    return client_with(&options);
}

/* Creates one transfer of that id; the reply must be its own. */
static int create(struct tael_client *client, uint64_t id, uint64_t timeout_ns, struct tael_client_reply *reply) {
    const struct tael_transfer transfer = {.id = id};
    struct tael_create_result result = {0};
    const int error =
        tael_client_call(client, TAEL_OPERATION_create_transfers, &transfer, 1, &result, 1, timeout_ns, reply);
    if (error == 0) assert_int_equal(result.timestamp, id);
    return error;
}

/* --- submits and what came of them --- */

static pthread_mutex_t done_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_changed = PTHREAD_COND_INITIALIZER;
static uint32_t done_count;

/* Events stay where they are until all tests are done: some submits outlive their test's interest in them. */
struct memory {
    struct memory *next;
    tael_u128 bytes[];
};
static struct memory *memory_taken;

static void *memory_take(size_t size) {
    struct memory *memory = calloc(1, sizeof *memory + size);
    assert_non_null(memory);
    memory->next = memory_taken;
    memory_taken = memory;
    return memory->bytes;
}

static int memory_free(void **state) {
    (void)state;
    while (memory_taken != NULL) {
        struct memory *memory = memory_taken;
        memory_taken = memory->next;
        free(memory);
    }
    return 0;
}

struct work {
    union {
        struct tael_transfer *transfers;
        tael_u128 *ids;
        struct tael_account_filter filter;
    } events;
    uint32_t place; /* in the order of the completions, from 1; 0: not completed */
    uint32_t completions;
    int status;
    uint32_t count;
    tael_u128 first; /* id of the first result */
    bool is_right; /* the results are those of the events */
    char why[TAEL_CLIENT_WHY_SIZE];
};

/* Called with the mutex held. */
static void work_note(struct work *work, const struct tael_client_result *result) {
    work->place = ++done_count;
    work->completions++;
    work->status = result->status;
    work->count = result->count;
    snprintf(work->why, sizeof work->why, "%s", result->why);
    pthread_cond_broadcast(&done_changed);
}

static void created(void *context, const struct tael_client_result *result) {
    struct work *work = context;
    const struct tael_create_result *results = result->results;
    pthread_mutex_lock(&done_mutex);
    work->is_right = true;
    for (uint32_t i = 0; i < result->count; i++) {
        work->is_right &= results[i].timestamp == (uint64_t)work->events.transfers[i].id;
    }
    work_note(work, result);
    pthread_mutex_unlock(&done_mutex);
}

static void found(void *context, const struct tael_client_result *result) {
    struct work *work = context;
    const uint8_t *results = result->results;
    pthread_mutex_lock(&done_mutex);
    if (result->count > 0) memcpy(&work->first, results, sizeof work->first);
    work_note(work, result);
    pthread_mutex_unlock(&done_mutex);
}

static void await_done(uint32_t count) {
    pthread_mutex_lock(&done_mutex);
    while (done_count < count) pthread_cond_wait(&done_changed, &done_mutex);
    pthread_mutex_unlock(&done_mutex);
}

static int submit_with(struct tael_client *client, struct work *work, uint8_t operation, const void *events,
                       uint32_t count, uint64_t timeout_ns, uint32_t flags) {
    const bool creates = operation == TAEL_OPERATION_create_transfers;
    const struct tael_client_submit submit = {.operation = operation,
                                              .event_count = count,
                                              .events = events,
                                              .timeout_ns = timeout_ns,
                                              .flags = flags,
                                              .completion = creates ? created : found,
                                              .context = work};
    return tael_client_submit(client, &submit);
}

/* Submits `count` transfers with ids from `first_id` on. */
static int submit_transfers(struct tael_client *client, struct work *work, uint64_t first_id, uint32_t count,
                            uint64_t timeout_ns, uint32_t flags) {
    *work = (struct work){.events.transfers = memory_take((count + 1) * sizeof(struct tael_transfer))};
    for (uint32_t i = 0; i < count; i++) work->events.transfers[i].id = first_id + i;
    return submit_with(client, work, TAEL_OPERATION_create_transfers, work->events.transfers, count, timeout_ns, flags);
}

static int submit_lookup(struct tael_client *client, struct work *work, uint64_t first_id, uint32_t count) {
    *work = (struct work){.events.ids = memory_take((count + 1) * sizeof(tael_u128))};
    for (uint32_t i = 0; i < count; i++) work->events.ids[i] = first_id + i;
    return submit_with(client, work, TAEL_OPERATION_lookup_accounts, work->events.ids, count, 0, 0);
}

static int submit_filter(struct tael_client *client, struct work *work, uint64_t id, uint32_t limit) {
    *work = (struct work){.events.filter = {.account_id = id, .limit = limit}};
    return submit_with(client, work, TAEL_OPERATION_get_account_transfers, &work->events.filter, 1, 0, 0);
}

static void assert_created(const struct work *work, uint32_t count) {
    if (work->status != 0) fail_msg("%s", work->why);
    assert_int_equal(work->completions, 1);
    assert_int_equal(work->count, count);
    assert_true(work->is_right);
}

static void assert_log(const struct fake_seen *seen, uint32_t index, uint8_t operation, uint32_t batches,
                       uint32_t events) {
    const struct fake_request *request = &seen->log[index];
    if (index >= seen->log_count || request->operation != operation || request->batches != batches ||
        request->events != events) {
        fail_msg("request %u: operation %u, %u batches, %u events", index, request->operation, request->batches,
                 request->events);
    }
}

/* A client of one session, whose request waits at the server until fake_server_hold(server, false). */
static struct tael_client *client_held(struct fake_server *server, struct work *blocker) {
    struct tael_client *client = client_to(server, 1);
    done_count = 0;
    fake_server_hold(server, true);
    assert_int_equal(submit_transfers(client, blocker, 1, 1, 0, 0), 0);
    assert_true(fake_server_await_held(server, 1));
    return client;
}

/* --- one request, and trouble on its way --- */

static void test_every_trouble_on_the_way_ends_in_one_right_reply(void **state) {
    (void)state;
    /* The first letter is what register gets, the second and those behind it are for the request. */
    static const struct {
        const char *script;
        uint32_t connections;
        uint32_t requests; /* register and both requests, at least: a machine that is slow sends again */
    } rows[] =
        {
            {"rr", 1, 3}, {"rs", 1, 4},   {"rss", 1, 5}, {"rssss", 2, 7}, /* a connection that stays silent is given up */
            {"rc", 2, 4}, {"rccc", 4, 6}, {"rk", 2, 4},  {"rh", 2, 4},        {"rb", 2, 4}, {"rC", 2, 4},
            {"rq", 2, 4}, {"ro", 2, 4},   {"ru", 2, 4},  {"r2", 2, 4},        {"rx", 1, 3}, {"rp", 1, 3},
            {"rt", 1, 3}, {"rtt", 1, 3},  {"rB", 1, 4},  {"rBBB", 1, 6},      {"s", 1, 4},  {"c", 2, 4},
            {"k", 2, 4},  {"h", 2, 4},    {"t", 1, 3},   {"rskhbB2c", 6, 10}, {"rd", 1, 3}, {"d", 1, 3},
            {"rz", 1, 3}, {"w", 2, 4},
        };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_server *server = fake_server_start(rows[i].script, CLUSTER);
        struct tael_client *client = client_to(server, 1);
        struct tael_client_reply reply;
        int error = create(client, 1, 0, &reply);
        if (error == 0) error = create(client, 2, 0, &reply);
        if (error != 0) fail_msg("%s: %s: %s", rows[i].script, strerror(-error), reply.why);
        tael_client_close(client, 0);
        const struct fake_seen seen = fake_server_stop(server);
        if (seen.connections != rows[i].connections || seen.requests < rows[i].requests || seen.distinct != 3) {
            fail_msg("%s: %u connections, %u requests, %u of them different", rows[i].script, seen.connections,
                     seen.requests, seen.distinct);
        }
    }
}

static void test_requests_count_up_and_name_the_previous_reply(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_to(server, 1);
    struct tael_client_reply reply;
    assert_int_equal(create(client, 1, 0, &reply), 0);
    assert_int_equal(create(client, 2, 0, &reply), 0);
    assert_int_equal(reply.op, 9);
    assert_int_equal(reply.timestamp, 1);
    const struct tael_client_counters counters = tael_client_counters(client);
    assert_int_equal(counters.submits, 2);
    assert_int_equal(counters.requests, 2);
    assert_int_equal(counters.sessions, 1);
    tael_client_close(client, 0);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.last.request.request, 2);
    assert_int_equal(seen.last.request.session, 7);
    assert_true(seen.last.request.parent != 0);
    assert_true(seen.last.request.client != 0);
    assert_int_equal(seen.register_capabilities, TAEL_CAPABILITY_BUSY);
}

static void test_a_refused_request_leaves_the_session(void **state) {
    (void)state;
    static const char *const scripts[] = {"r4", "r5", "r6"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct fake_server *server = fake_server_start(scripts[i], CLUSTER);
        struct tael_client *client = client_to(server, 1);
        struct tael_client_reply reply;
        assert_int_equal(create(client, 1, 0, &reply), -EINVAL);
        assert_non_null(strstr(reply.why, "refused the request"));
        assert_int_equal(create(client, 2, 0, &reply), 0);
        tael_client_close(client, 0);
        const struct fake_seen seen = fake_server_stop(server);
        assert_int_equal(seen.last.request.request, 2);
        assert_int_equal(seen.registers, 1);
    }
}

/* The refusal of the other copy would be taken for the next request's. */
static void test_a_refusal_of_one_of_two_copies_ends_the_session(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("rs5", CLUSTER);
    struct tael_client *client = client_to(server, 1);
    assert_int_equal(create(client, 1, 0, NULL), -EINVAL);
    assert_int_equal(create(client, 2, 0, NULL), 0);
    tael_client_close(client, 0);
    assert_int_equal(fake_server_stop(server).registers, 2);
}

static void test_an_evicted_session_is_replaced_and_the_outcome_unknown(void **state) {
    (void)state;
    static const char *const scripts[] = {"r1", "r7"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct fake_server *server = fake_server_start(scripts[i], CLUSTER);
        struct tael_client *client = client_to(server, 1);
        struct tael_client_reply reply;
        const int status = create(client, 1, 0, &reply);
        assert_int_equal(status, -ECONNABORTED);
        assert_true(tael_client_outcome_is_unknown(status));
        assert_non_null(strstr(reply.why, "ended the session"));
        assert_int_equal(create(client, 2, 0, &reply), 0);
        tael_client_close(client, 0);
        const struct fake_seen seen = fake_server_stop(server);
        assert_int_equal(seen.registers, 2);
        assert_true(seen.log[0].client != seen.log[1].client);
        assert_int_equal(seen.log[1].request, 1);
    }
}

static void test_a_reply_with_a_wrong_body_says_so(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("rw", CLUSTER);
    struct tael_client *client = client_to(server, 1);
    struct tael_client_reply reply;
    assert_int_equal(create(client, 1, 0, &reply), -EPROTO);
    assert_non_null(strstr(reply.why, "create_transfers"));
    assert_true(tael_client_outcome_is_unknown(-EPROTO));
    assert_int_equal(create(client, 2, 0, &reply), 0);
    tael_client_close(client, 0);
    fake_server_stop(server);
}

/* --- time --- */

struct time_row {
    const char *script;
    int status;
    const char *text;
};

/* Whether a submit of 200 ms ended as the row says; that it ended in time, and what follows from how, is asserted. */
static bool ends_in_time(const struct time_row *row) {
    struct fake_server *server = fake_server_start(row->script, CLUSTER);
    struct tael_client *client = client_to(server, 1);
    struct tael_client_reply reply;
    const uint64_t begun_ns = now_ns();
    const int status = create(client, 1, 200 * MS, &reply);
    assert_in_range(now_ns() - begun_ns, 200 * MS, 1200 * MS);
    assert_int_equal(tael_client_outcome_is_unknown(status), status != -EBUSY);
    const bool is_right = status == row->status && strstr(reply.why, row->text) != NULL;
    if (!is_right) print_message("%s: %s: %s\n", row->script, strerror(-status), reply.why);
    fake_server_follow(server, "");
    assert_int_equal(create(client, 2, 0, &reply), 0);
    tael_client_close(client, 0);
    assert_int_equal(fake_server_stop(server).registers, status == -EBUSY ? 1 : 2);
    return is_right;
}

static void test_no_submit_outlasts_its_time(void **state) {
    (void)state;
    static const struct time_row rows[] = {
        {"rsssssssssssssssssss", -ETIMEDOUT, "answer"},
        {"rccccccccccccccccccccc", -ETIMEDOUT, "closed the connection"},
        {"r22222222222", -ETIMEDOUT, "half a frame"},
        {"rhhhhhhhhhhhhhhhhhhhhh", -ETIMEDOUT, "wrong header checksum"},
        {"rBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", -EBUSY, "--transfers-max"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        /* A machine that is busy itself may miss the server's last word, or be at another point of its way. */
        int tries = 1;
        while (!ends_in_time(&rows[i]) && tries < TRIES_MAX) tries++;
        assert_true(tries < TRIES_MAX);
    }
}

static void test_a_submit_that_could_not_be_sent_in_time_says_that(void **state) {
    (void)state;
    struct work blocker, late;
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    assert_int_equal(submit_transfers(client, &late, 2, 1, 50 * MS, 0), 0);
    await_done(1);
    assert_int_equal(late.status, -EHOSTUNREACH);
    assert_false(tael_client_outcome_is_unknown(late.status));
    assert_non_null(strstr(late.why, "busy"));
    fake_server_hold(server, false);
    await_done(2);
    assert_created(&blocker, 1);
    /* And with nobody there. */
    fake_server_stop(server);
    struct tael_client_reply reply;
    assert_int_equal(create(client, 3, 100 * MS, &reply), -EHOSTUNREACH);
    assert_non_null(strstr(reply.why, "refused"));
    tael_client_close(client, 0);
}

static void test_a_session_that_cannot_be_replaced_in_time_says_that(void **state) {
    (void)state;
    struct tael_client_reply reply;
    /* Nobody is there any more. */
    struct fake_server *server = fake_server_start("rssssssss", CLUSTER);
    struct tael_client *client = client_to(server, 1);
    assert_int_equal(create(client, 1, 100 * MS, &reply), -ETIMEDOUT);
    fake_server_stop(server);
    assert_int_equal(create(client, 2, 100 * MS, &reply), -EHOSTUNREACH);
    assert_non_null(strstr(reply.why, "refused"));
    tael_client_close(client, 0);
    /* The server refuses a new one, but not the one after that, which isn't asked for at once. */
    server = fake_server_start("r17", CLUSTER);
    client = client_to(server, 1);
    assert_int_equal(create(client, 1, 0, &reply), -ECONNABORTED);
    assert_int_equal(create(client, 2, 100 * MS, &reply), -EHOSTUNREACH);
    assert_non_null(strstr(reply.why, "newer session"));
    assert_int_equal(fake_server_seen(server).registers, 2);
    assert_int_equal(create(client, 3, 0, &reply), 0);
    tael_client_close(client, 0);
    assert_int_equal(fake_server_stop(server).registers, 3);
}

/* Two submits in one request, of which one has less time; returns its status. Where that one was certainly not executed,
 * its events are not sent again with the other's. */
static int shared_request_ends(const char *script) {
    struct work blocker, brief, patient;
    struct fake_server *server = fake_server_start(script, CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    assert_int_equal(submit_transfers(client, &brief, 10, 3, 150 * MS, 0), 0);
    assert_int_equal(submit_transfers(client, &patient, 20, 2, 20 * TIMEOUT_NS, 0), 0);
    fake_server_hold(server, false);
    await_done(3);
    assert_created(&patient, 2);
    tael_client_close(client, 0);
    assert_int_equal(brief.completions, 1);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.log[1].batches, 2);
    assert_int_equal(seen.log[seen.log_count - 1].batches, tael_client_outcome_is_unknown(brief.status) ? 2 : 1);
    assert_int_equal(seen.registers, 1);
    return brief.status;
}

static void test_a_deadline_in_a_shared_request_ends_one_submit_only(void **state) {
    (void)state;
    static const struct {
        const char *script;
        int status;
    } rows[] = {
        {"rrssss", -ETIMEDOUT},
        {"rrBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", -EBUSY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int tries = 1;
        while (shared_request_ends(rows[i].script) != rows[i].status && tries < TRIES_MAX) tries++;
        assert_true(tries < TRIES_MAX);
    }
}

static void waiting_count(void *context, const char *why) {
    assert_non_null(strstr(why, "doesn't answer"));
    ++*(int *)context;
}

static void test_a_wait_of_more_than_a_second_is_told_once(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("rrsssssssssssssssssssssssssssssssssssssssssssssssssss", CLUSTER);
    int told = 0;
    struct tael_client_options options = options_for(server);
    options.waiting = waiting_count;
    options.waiting_context = &told;
    struct tael_client *client = client_with(&options);
    assert_int_equal(create(client, 1, 0, NULL), 0);
    assert_int_equal(create(client, 2, 1500 * MS, NULL), -ETIMEDOUT);
    tael_client_close(client, 0);
    assert_int_equal(told, 1);
    fake_server_stop(server);
}

/* --- connecting --- */

static void test_a_server_that_is_not_there_is_named(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("", CLUSTER);
    char address[32];
    char why[TAEL_CLIENT_WHY_SIZE];
    strcpy(address, fake_server_address(server));
    fake_server_stop(server);
    struct tael_client *client = NULL;
    const struct tael_client_options options = {.address = address, .connect_timeout_ns = 100 * MS};
    assert_int_equal(tael_client_connect(&options, &client, why), -ETIMEDOUT);
    assert_null(client);
    assert_non_null(strstr(why, address));
    assert_non_null(strstr(why, "refused"));
}

static void test_a_session_that_the_server_refuses_fails_the_connect(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("7", CLUSTER);
    struct tael_client *client = NULL;
    char why[TAEL_CLIENT_WHY_SIZE];
    const struct tael_client_options options = options_for(server);
    assert_int_equal(tael_client_connect(&options, &client, why), -ECONNABORTED);
    assert_non_null(strstr(why, "newer session"));
    fake_server_stop(server);
}

static void test_options_out_of_range_are_refused(void **state) {
    (void)state;
    const struct tael_client_options rows[] = {
        {.address = NULL},
        {.address = "localhost:3000"},
        {.address = "3000", .sessions = TAEL_CLIENT_SESSIONS_MAX + 1},
        {.address = "3000", .queue_max = TAEL_CLIENT_QUEUE_MAX + 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tael_client *client = NULL;
        char why[TAEL_CLIENT_WHY_SIZE] = "";
        assert_int_equal(tael_client_connect(&rows[i], &client, why), -EINVAL);
        assert_true(why[0] != '\0');
    }
}

static void test_no_two_sessions_have_one_id(void **state) {
    (void)state;
    enum { CLIENTS = 3, SESSIONS = 4 };
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *clients[CLIENTS];
    struct work works[CLIENTS * SESSIONS];
    done_count = 0;
    fake_server_hold(server, true);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = client_to(server, SESSIONS);
        for (uint32_t j = 0; j < SESSIONS; j++) {
            struct work *work = &works[i * SESSIONS + j];
            assert_int_equal(submit_transfers(clients[i], work, 1, 1, 0, TAEL_CLIENT_ALONE), 0);
        }
    }
    assert_true(fake_server_await_held(server, CLIENTS * SESSIONS));
    fake_server_hold(server, false);
    for (uint32_t i = 0; i < CLIENTS; i++) tael_client_close(clients[i], TIMEOUT_NS);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.log_count, CLIENTS * SESSIONS);
    for (uint32_t i = 0; i < seen.log_count; i++) {
        assert_true(seen.log[i].client != 0);
        for (uint32_t j = 0; j < i; j++) assert_true(seen.log[i].client != seen.log[j].client);
        assert_created(&works[i], 1);
    }
}

/* --- many at once --- */

static void test_sessions_have_their_requests_in_flight_together(void **state) {
    (void)state;
    enum { SESSIONS = 4 };
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_to(server, SESSIONS);
    struct work works[SESSIONS + 1];
    done_count = 0;
    fake_server_hold(server, true);
    for (uint32_t i = 0; i <= SESSIONS; i++) {
        assert_int_equal(submit_transfers(client, &works[i], 10000 * i, TAEL_CLIENT_EVENTS_MAX, 0, 0), 0);
    }
    assert_true(fake_server_await_held(server, SESSIONS));
    fake_server_hold(server, false);
    await_done(SESSIONS + 1);
    tael_client_close(client, 0);
    assert_int_equal(fake_server_stop(server).log_count, SESSIONS + 1);
    for (uint32_t i = 0; i <= SESSIONS; i++) assert_created(&works[i], TAEL_CLIENT_EVENTS_MAX);
}

static void test_what_gathers_goes_together_and_each_gets_its_own_results(void **state) {
    (void)state;
    static const uint32_t counts[] = {1, 7, 0, 300, 2};
    enum { WORKS = sizeof counts / sizeof counts[0] };
    struct work blocker, works[WORKS];
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    for (uint32_t i = 0; i < WORKS; i++) {
        assert_int_equal(submit_transfers(client, &works[i], 1000 * i + 5, counts[i], 0, 0), 0);
    }
    fake_server_hold(server, false);
    await_done(WORKS + 1);
    const struct tael_client_counters counters = tael_client_counters(client);
    tael_client_close(client, 0);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.log_count, 2);
    assert_log(&seen, 0, TAEL_OPERATION_create_transfers, 1, 1);
    assert_log(&seen, 1, TAEL_OPERATION_create_transfers, WORKS, 310);
    assert_int_equal(counters.submits, WORKS + 1);
    assert_int_equal(counters.requests, 2);
    for (uint32_t i = 0; i < WORKS; i++) {
        assert_created(&works[i], counts[i]);
        assert_int_equal(works[i].place, i + 2); /* completed in the order of their submits */
    }
}

static void test_results_of_lookups_and_filters_are_split_by_submit(void **state) {
    (void)state;
    struct work blocker, lookups[3], filters[4];
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    assert_int_equal(submit_lookup(client, &lookups[0], 3, 1), 0); /* not there */
    assert_int_equal(submit_lookup(client, &lookups[1], 30, 6), 0); /* four of them are */
    assert_int_equal(submit_lookup(client, &lookups[2], 50, 1), 0);
    assert_int_equal(submit_filter(client, &filters[0], 100, 5000), 0);
    assert_int_equal(submit_filter(client, &filters[1], 200, 3000), 0);
    assert_int_equal(submit_filter(client, &filters[2], 300, 200), 0); /* has no room in the reply any more */
    assert_int_equal(submit_filter(client, &filters[3], 400, 0), 0);
    fake_server_hold(server, false);
    await_done(8);
    tael_client_close(client, 0);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.log_count, 4);
    assert_log(&seen, 1, TAEL_OPERATION_lookup_accounts, 3, 8);
    assert_log(&seen, 2, TAEL_OPERATION_get_account_transfers, 2, 2);
    assert_log(&seen, 3, TAEL_OPERATION_get_account_transfers, 2, 2);
    static const uint32_t found_counts[] = {0, 4, 1}, filter_counts[] = {5000, 3000, 200, 0};
    static const uint64_t found_firsts[] = {0, 31, 50}, filter_firsts[] = {100, 200, 300, 0};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(lookups[i].status, 0);
        assert_int_equal(lookups[i].count, found_counts[i]);
        assert_true(lookups[i].first == found_firsts[i]);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(filters[i].status, 0);
        assert_int_equal(filters[i].count, filter_counts[i]);
        assert_true(filters[i].first == filter_firsts[i]);
    }
}

static void test_together_goes_what_fits_and_is_not_to_be_alone(void **state) {
    (void)state;
    struct work blocker, works[6];
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    assert_int_equal(submit_transfers(client, &works[0], 10000, 4000, 0, 0), 0);
    assert_int_equal(submit_transfers(client, &works[1], 20000, 4189, 0, 0), 0);
    assert_int_equal(submit_transfers(client, &works[2], 30000, 1, 0, 0), 0);
    assert_int_equal(submit_transfers(client, &works[3], 40000, 1, 0, TAEL_CLIENT_ALONE), 0);
    assert_int_equal(submit_transfers(client, &works[4], 50000, 1, 0, 0), 0);
    assert_int_equal(submit_transfers(client, &works[5], 60000, 1, 0, 0), 0);
    fake_server_hold(server, false);
    await_done(7);
    tael_client_close(client, 0);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.log_count, 5);
    assert_log(&seen, 1, TAEL_OPERATION_create_transfers, 2, 8189);
    assert_log(&seen, 2, TAEL_OPERATION_create_transfers, 1, 1);
    assert_log(&seen, 3, TAEL_OPERATION_create_transfers, 1, 1);
    assert_log(&seen, 4, TAEL_OPERATION_create_transfers, 2, 2);
}

/* 8189 singles need a trailer of more than one element: fewer fit into a message. */
static void test_singles_fill_a_message_and_not_more(void **state) {
    (void)state;
    enum { WORKS = 9000, FIT = 8063 };
    struct work blocker, *works = memory_take(WORKS * sizeof *works);
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    for (uint32_t i = 0; i < WORKS; i++) assert_int_equal(submit_transfers(client, &works[i], i + 1, 1, 0, 0), 0);
    fake_server_hold(server, false);
    await_done(WORKS + 1);
    tael_client_close(client, 0);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.log_count, 3);
    assert_log(&seen, 1, TAEL_OPERATION_create_transfers, FIT, FIT);
    assert_log(&seen, 2, TAEL_OPERATION_create_transfers, WORKS - FIT, WORKS - FIT);
    for (uint32_t i = 0; i < WORKS; i++) assert_created(&works[i], 1);
}

static void test_one_session_keeps_the_order_of_submits(void **state) {
    (void)state;
    static const char pattern[] = "ttltll"; /* transfers and lookups */
    struct work blocker, works[6];
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    for (uint32_t i = 0; pattern[i] != '\0'; i++) {
        const int error = pattern[i] == 't' ? submit_transfers(client, &works[i], i + 1, 1, 0, 0)
                                            : submit_lookup(client, &works[i], i + 1, 1);
        assert_int_equal(error, 0);
    }
    fake_server_hold(server, false);
    await_done(7);
    tael_client_close(client, 0);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.log_count, 5);
    assert_log(&seen, 1, TAEL_OPERATION_create_transfers, 2, 2);
    assert_log(&seen, 2, TAEL_OPERATION_lookup_accounts, 1, 1);
    assert_log(&seen, 3, TAEL_OPERATION_create_transfers, 1, 1);
    assert_log(&seen, 4, TAEL_OPERATION_lookup_accounts, 2, 2);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(works[i].place, i + 2);
    }
}

static void test_bare_operations_are_never_joined(void **state) {
    (void)state;
    struct work blocker, works[2];
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    static const struct tael_trial_balance_filter filter = {.ledger_min = 0};
    for (uint32_t i = 0; i < 2; i++) {
        works[i] = (struct work){0};
        assert_int_equal(submit_with(client, &works[i], TAEL_OPERATION_trial_balance, &filter, 1, 0, 0), 0);
    }
    fake_server_hold(server, false);
    await_done(3);
    tael_client_close(client, 0);
    assert_int_equal(fake_server_stop(server).log_count, 3);
    assert_int_equal(works[0].count, 2);
    assert_int_equal(works[1].count, 2);
}

/* --- bounds --- */

static void test_submits_that_can_be_no_request_are_refused_at_once(void **state) {
    (void)state;
    static struct tael_account_filter filters[2];
    static struct tael_transfer transfers[1];
    static const struct {
        uint8_t operation;
        const void *events;
        uint32_t count;
        int error;
    } rows[] = {
        {TAEL_OPERATION_register, transfers, 1, -EINVAL},
        {TAEL_OPERATION_pulse, NULL, 0, -EINVAL},
        {TAEL_OPERATION_evict, NULL, 0, -EINVAL},
        {99, transfers, 1, -EINVAL},
        {TAEL_OPERATION_create_transfers, NULL, 1, -EINVAL},
        {TAEL_OPERATION_get_account_transfers, filters, 2, -EINVAL},
        {TAEL_OPERATION_get_account_transfers, filters, 0, -EINVAL},
        {TAEL_OPERATION_create_transfers, transfers, TAEL_CLIENT_EVENTS_MAX + 1, -EMSGSIZE},
        {TAEL_OPERATION_lookup_accounts, transfers, UINT32_MAX, -EMSGSIZE},
    };
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_to(server, 1);
    struct tael_client_reply reply;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(tael_client_call(client, rows[i].operation, rows[i].events, rows[i].count, NULL, 0, 0, &reply),
                         rows[i].error);
        assert_true(reply.why[0] != '\0');
    }
    assert_int_equal(tael_client_submit(client, &(struct tael_client_submit){.operation = 147}), -EINVAL);
    struct tael_create_result result;
    transfers[0].id = 7;
    assert_int_equal(tael_client_call(client, 147, transfers, 1, &result, 0, 0, &reply), -ENOBUFS);
    assert_int_equal(reply.count, 1);
    tael_client_close(client, 0);
    fake_server_stop(server);
}

struct chain {
    struct tael_client *client;
    struct work *next;
    int error; /* of the submit in the completion */
    int error_waiting;
};

static void chain_on(void *context, const struct tael_client_result *result) {
    struct chain *chain = context;
    (void)result;
    chain->error = submit_transfers(chain->client, chain->next, 50, 1, 0, 0);
    struct work never;
    chain->error_waiting = submit_transfers(chain->client, &never, 50, 1, 0, TAEL_CLIENT_WAIT);
    pthread_mutex_lock(&done_mutex);
    done_count++;
    pthread_mutex_unlock(&done_mutex);
}

static void *release_soon(void *argument) {
    sleep_ms(50);
    fake_server_hold(argument, false);
    return NULL;
}

static void test_a_full_queue_says_so(void **state) {
    (void)state;
    struct work works[2], refused, next;
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client_options options = options_for(server);
    options.queue_max = 3;
    struct tael_client *client = client_with(&options);
    struct chain chain = {.client = client, .next = &next};
    const struct tael_transfer transfer = {.id = 1};
    const struct tael_client_submit first = {.operation = TAEL_OPERATION_create_transfers,
                                             .event_count = 1,
                                             .events = &transfer,
                                             .completion = chain_on,
                                             .context = &chain};
    done_count = 0;
    fake_server_hold(server, true);
    assert_int_equal(tael_client_submit(client, &first), 0);
    for (uint32_t i = 0; i < 2; i++) assert_int_equal(submit_transfers(client, &works[i], 10 * i, 1, 0, 0), 0);
    assert_int_equal(submit_transfers(client, &refused, 90, 1, 0, 0), -EAGAIN);
    const uint64_t begun_ns = now_ns();
    assert_int_equal(submit_transfers(client, &refused, 90, 1, 50 * MS, TAEL_CLIENT_WAIT), -EAGAIN);
    assert_in_range(now_ns() - begun_ns, 50 * MS, 1000 * MS);
    fake_server_hold(server, false);
    await_done(4);
    tael_client_close(client, 0);
    assert_int_equal(chain.error, 0); /* its own slot was free again */
    assert_int_equal(chain.error_waiting, -EDEADLK);
    assert_created(&next, 1);
    for (uint32_t i = 0; i < 2; i++) assert_created(&works[i], 1);
    fake_server_stop(server);
}

static void test_a_submit_may_wait_for_room(void **state) {
    (void)state;
    enum { WORKS = 6, QUEUE = 2 };
    struct work works[WORKS];
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client_options options = options_for(server);
    options.queue_max = QUEUE;
    struct tael_client *client = client_with(&options);
    done_count = 0;
    fake_server_hold(server, true);
    pthread_t helper;
    assert_int_equal(pthread_create(&helper, NULL, release_soon, server), 0);
    for (uint32_t i = 0; i < WORKS; i++) {
        assert_int_equal(submit_transfers(client, &works[i], 10 * i, 1, 0, TAEL_CLIENT_WAIT), 0);
    }
    pthread_join(helper, NULL);
    await_done(WORKS);
    tael_client_close(client, 0);
    for (uint32_t i = 0; i < WORKS; i++) assert_created(&works[i], 1);
    fake_server_stop(server);
}

/* Processor time of this process in 300 ms, the fake server's few wake-ups included. */
static uint64_t cpu_of_a_while_ns(void) {
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    sleep_ms(300);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    return (uint64_t)(after.tv_sec - before.tv_sec) * TAEL_NS_PER_S + (uint64_t)after.tv_nsec -
           (uint64_t)before.tv_nsec;
}

static void test_a_client_that_waits_sleeps(void **state) {
    (void)state;
    struct work works[2];
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client_options options = options_for(server);
    options.retransmit_ns = 20 * TAEL_NS_PER_S;
    struct tael_client *client = client_with(&options);
    done_count = 0;
    assert_in_range(cpu_of_a_while_ns(), 0, 100 * MS); /* idle */
    fake_server_hold(server, true);
    for (uint32_t i = 0; i < 2; i++) assert_int_equal(submit_transfers(client, &works[i], 10 * i, 1, 0, 0), 0);
    assert_in_range(cpu_of_a_while_ns(), 0, 100 * MS); /* one in flight, one waiting */
    fake_server_hold(server, false);
    await_done(2);
    fake_server_stop(server);
    assert_in_range(cpu_of_a_while_ns(), 0, 100 * MS); /* hung up on */
    tael_client_close(client, 0);
    for (uint32_t i = 0; i < 2; i++) assert_created(&works[i], 1);
}

/* --- closing --- */

static void test_close_fails_what_is_outstanding_when_its_time_is_over(void **state) {
    (void)state;
    struct work blocker, waiting[3];
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_held(server, &blocker);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(submit_transfers(client, &waiting[i], 10 * i, 1, 0, 0), 0);
    const uint64_t begun_ns = now_ns();
    tael_client_close(client, 60 * MS);
    assert_in_range(now_ns() - begun_ns, 60 * MS, 1000 * MS);
    assert_int_equal(blocker.status, -ESHUTDOWN);
    assert_true(tael_client_outcome_is_unknown(blocker.status));
    assert_int_equal(blocker.completions, 1);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(waiting[i].status, -ECANCELED);
        assert_false(tael_client_outcome_is_unknown(waiting[i].status));
        assert_int_equal(waiting[i].completions, 1);
    }
    fake_server_stop(server);
}

static void test_close_waits_for_what_is_outstanding(void **state) {
    (void)state;
    struct work works[4];
    struct fake_server *server = fake_server_start("rzz", CLUSTER);
    struct tael_client *client = client_to(server, 1);
    done_count = 0;
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(submit_transfers(client, &works[i], 10 * i, 1, 0, 0), 0);
    tael_client_close(client, TIMEOUT_NS);
    for (uint32_t i = 0; i < 4; i++) assert_created(&works[i], 1);
    fake_server_stop(server);
}

static void *wait_for_room(void *argument) {
    struct tael_client *client = argument;
    const struct tael_transfer transfer = {.id = 1};
    struct tael_create_result result;
    const int error = tael_client_call(client, TAEL_OPERATION_create_transfers, &transfer, 1, &result, 1, 0, NULL);
    return error == -ESHUTDOWN ? NULL : argument;
}

static void test_close_lets_those_go_that_wait_for_room(void **state) {
    (void)state;
    struct work blocker;
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client_options options = options_for(server);
    options.queue_max = 1;
    struct tael_client *client = client_with(&options);
    fake_server_hold(server, true);
    assert_int_equal(submit_transfers(client, &blocker, 1, 1, 0, 0), 0);
    pthread_t waiters[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&waiters[i], NULL, wait_for_room, client), 0);
    sleep_ms(50);
    tael_client_close(client, 0);
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(waiters[i], &wrong);
        assert_null(wrong);
    }
    fake_server_stop(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_trouble_on_the_way_ends_in_one_right_reply),
        cmocka_unit_test(test_requests_count_up_and_name_the_previous_reply),
        cmocka_unit_test(test_a_refused_request_leaves_the_session),
        cmocka_unit_test(test_a_refusal_of_one_of_two_copies_ends_the_session),
        cmocka_unit_test(test_an_evicted_session_is_replaced_and_the_outcome_unknown),
        cmocka_unit_test(test_a_reply_with_a_wrong_body_says_so),
        cmocka_unit_test(test_no_submit_outlasts_its_time),
        cmocka_unit_test(test_a_submit_that_could_not_be_sent_in_time_says_that),
        cmocka_unit_test(test_a_session_that_cannot_be_replaced_in_time_says_that),
        cmocka_unit_test(test_a_deadline_in_a_shared_request_ends_one_submit_only),
        cmocka_unit_test(test_a_wait_of_more_than_a_second_is_told_once),
        cmocka_unit_test(test_a_server_that_is_not_there_is_named),
        cmocka_unit_test(test_a_session_that_the_server_refuses_fails_the_connect),
        cmocka_unit_test(test_options_out_of_range_are_refused),
        cmocka_unit_test(test_no_two_sessions_have_one_id),
        cmocka_unit_test(test_sessions_have_their_requests_in_flight_together),
        cmocka_unit_test(test_what_gathers_goes_together_and_each_gets_its_own_results),
        cmocka_unit_test(test_results_of_lookups_and_filters_are_split_by_submit),
        cmocka_unit_test(test_together_goes_what_fits_and_is_not_to_be_alone),
        cmocka_unit_test(test_singles_fill_a_message_and_not_more),
        cmocka_unit_test(test_one_session_keeps_the_order_of_submits),
        cmocka_unit_test(test_bare_operations_are_never_joined),
        cmocka_unit_test(test_submits_that_can_be_no_request_are_refused_at_once),
        cmocka_unit_test(test_a_full_queue_says_so),
        cmocka_unit_test(test_a_submit_may_wait_for_room),
        cmocka_unit_test(test_a_client_that_waits_sleeps),
        cmocka_unit_test(test_close_fails_what_is_outstanding_when_its_time_is_over),
        cmocka_unit_test(test_close_waits_for_what_is_outstanding),
        cmocka_unit_test(test_close_lets_those_go_that_wait_for_room),
    };
    return cmocka_run_group_tests(tests, NULL, memory_free);
}
