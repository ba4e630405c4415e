/* The client library over datagrams, against a model of the server behind a UDP socket: the same promises as over TCP. What the datagrams
 * are, tests/net has; here it is slots and sockets, statuses and deadlines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tael/client.h>
#include <tael/limits.h>

#include "fake_datagram_server.h"

#define LEDGER ((tael_u128)42)
#define MS 1000000ull
#define TIMEOUT_NS (10000 * MS)

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

static struct tael_client_options options_for(const struct fake_datagram_server *server, uint32_t sessions) {
    return (struct tael_client_options){.address = fake_datagram_server_address(server),
                                        .cluster = LEDGER,
                                        .sessions = sessions,
                                        .timeout_ns = TIMEOUT_NS,
                                        .connect_timeout_ns = TIMEOUT_NS,
                                        .transport = TAEL_CLIENT_UDP};
}

static struct tael_client *client_with(const struct tael_client_options *options) {
    struct tael_client *client = NULL;
    char why[TAEL_CLIENT_WHY_SIZE];
    const int error = tael_client_connect(options, &client, why);
    if (error != 0) fail_msg("%s: %s", strerror(-error), why);
    return client;
}

static struct tael_client *client_to(const struct fake_datagram_server *server, uint32_t sessions) {
    const struct tael_client_options options = options_for(server, sessions);
    return client_with(&options);
}

/* Creates `count` transfers with ids from `first` on; the results must be theirs. */
static int create(struct tael_client *client, uint64_t first, uint32_t count, uint64_t timeout_ns,
                  struct tael_client_reply *reply) {
    struct tael_transfer *transfers = calloc(count, sizeof *transfers);
    struct tael_create_result *results = calloc(count, sizeof *results);
    assert_non_null(transfers);
    assert_non_null(results);
    for (uint32_t i = 0; i < count; i++) transfers[i].id = first + i;
    const int error =
        tael_client_call(client, TAEL_OPERATION_create_transfers, transfers, count, results, count, timeout_ns, reply);
    for (uint32_t i = 0; i < count && error == 0; i++) assert_int_equal(results[i].timestamp, first + i);
    free(transfers);
    free(results);
    return error;
}

static void test_every_trouble_on_the_way_ends_in_one_right_reply(void **unused) {
    (void)unused;
    static const char *const scripts[] = {"",   "s",   "m",  "k",    "rs",      "rss", "rm",
                                          "rk", "rkk", "rB", "rBBB", "rskmBsk", "rrk"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct fake_datagram_server *server = fake_datagram_server_start(scripts[i], LEDGER, 64);
        struct tael_client *client = client_to(server, 1);
        struct tael_client_reply reply;
        int error = create(client, 1, 1, 0, &reply);
        if (error == 0) error = create(client, 100, 3000, 0, &reply);
        if (error != 0) fail_msg("%s: %s: %s", scripts[i], strerror(-error), reply.why);
        assert_int_equal(reply.op, 3);
        tael_client_close(client, 0);
        const struct datagram_model_counters seen = fake_datagram_server_stop(server);
        assert_int_equal(seen.executions, 2);
        assert_int_equal(seen.registers, 1);
    }
}

static void test_the_largest_request_and_many_slots(void **unused) {
    (void)unused;
    enum { SESSIONS = 130 };
    struct fake_datagram_server *server = fake_datagram_server_start("", LEDGER, 64);
    struct tael_client *client = client_to(server, SESSIONS);
    struct tael_client_reply reply;
    assert_int_equal(create(client, 1, TAEL_CLIENT_EVENTS_MAX, 0, &reply), 0);
    assert_int_equal(tael_client_counters(client).sessions, SESSIONS);
    tael_client_close(client, 0);
    assert_int_equal(fake_datagram_server_stop(server).registers, 3);
}

struct work {
    struct tael_transfer transfer;
    sem_t *done;
    int status;
    bool is_right;
};

static void created(void *context, const struct tael_client_result *result) {
    struct work *work = context;
    const struct tael_create_result *results = result->results;
    work->status = result->status;
    work->is_right = result->status == 0 && result->count == 1 && results[0].timestamp == (uint64_t)work->transfer.id;
    sem_post(work->done);
}

static void submit(struct tael_client *client, struct work *work, uint64_t id, uint32_t flags, sem_t *done) {
    *work = (struct work){.transfer = {.id = id}, .done = done};
    const struct tael_client_submit submit = {.operation = TAEL_OPERATION_create_transfers,
                                              .event_count = 1,
                                              .events = &work->transfer,
                                              .flags = flags,
                                              .completion = created,
                                              .context = work};
    assert_int_equal(tael_client_submit(client, &submit), 0);
}

static void test_slots_have_their_requests_in_flight_together(void **unused) {
    (void)unused;
    enum { SESSIONS = 100, WORKS = 300 };
    static struct work works[WORKS];
    sem_t done;
    struct fake_datagram_server *server = fake_datagram_server_start("", LEDGER, 64);
    struct tael_client *client = client_to(server, SESSIONS);
    sem_init(&done, 0, 0);
    fake_datagram_server_hold(server, true);
    for (uint32_t i = 0; i < WORKS; i++) submit(client, &works[i], i + 1, i < SESSIONS ? TAEL_CLIENT_ALONE : 0, &done);
    assert_true(fake_datagram_server_await_held(server, SESSIONS));
    fake_datagram_server_hold(server, false);
    for (uint32_t i = 0; i < WORKS; i++) sem_wait(&done);
    tael_client_close(client, 0);
    fake_datagram_server_stop(server);
    for (uint32_t i = 0; i < WORKS; i++) assert_true(works[i].is_right);
    sem_destroy(&done);
}

static void test_statuses_say_what_is_known(void **unused) {
    (void)unused;
    static const struct {
        const char *script;
        int status;
        const char *why;
        uint32_t registers; /* after another request */
    } rows[] = {
        {"r4", -EINVAL, "refused the request", 1},
        {"r5", -EINVAL, "body is wrong", 1},
        {"r6", -EINVAL, "refused the request", 1},
        {"re", -ECONNABORTED, "ended the session", 2},
        {"rw", -EPROTO, "create_transfers", 1},
        {"rssssssssssssssssssssssss", -ETIMEDOUT, "doesn't answer", 1},
        {"rBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
         -ETIMEDOUT, "", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_datagram_server *server = fake_datagram_server_start(rows[i].script, LEDGER, 64);
        struct tael_client *client = client_to(server, 1);
        struct tael_client_reply reply;
        const int status = create(client, 1, 1, 200 * MS, &reply);
        if (status != rows[i].status || strstr(reply.why, rows[i].why) == NULL) {
            fail_msg("%s: %s: %s", rows[i].script, strerror(-status), reply.why);
        }
        fake_datagram_server_follow(server, "");
        assert_int_equal(create(client, 2, 1, 0, &reply), 0);
        tael_client_close(client, 0);
        const struct datagram_model_counters seen = fake_datagram_server_stop(server);
        assert_int_equal(seen.registers, rows[i].registers);
    }
}

static void test_nobody_there(void **unused) {
    (void)unused;
    struct fake_datagram_server *server = fake_datagram_server_start("", LEDGER, 64);
    struct tael_client_options options = options_for(server, 3);
    struct tael_client *client = client_with(&options);
    struct tael_client_reply reply;
    char address[32], why[TAEL_CLIENT_WHY_SIZE];
    strcpy(address, options.address);
    options.address = address;
    fake_datagram_server_stop(server);
    assert_int_equal(create(client, 1, 1, 150 * MS, &reply), -ETIMEDOUT); /* it was sent */
    tael_client_close(client, 0);
    options.connect_timeout_ns = 150 * MS;
    assert_int_equal(tael_client_connect(&options, &client, why), -ETIMEDOUT);
    assert_non_null(strstr(why, "refused"));
}

static void test_another_ledger_and_too_few_slots(void **unused) {
    (void)unused;
    struct fake_datagram_server *server = fake_datagram_server_start("", LEDGER, 2);
    struct tael_client *client;
    char why[TAEL_CLIENT_WHY_SIZE];
    struct tael_client_options options = options_for(server, 3);
    assert_int_equal(tael_client_connect(&options, &client, why), -ECONNABORTED);
    assert_non_null(strstr(why, "fewer slots"));
    options.sessions = 2;
    options.cluster = LEDGER + 1;
    options.connect_timeout_ns = 150 * MS;
    assert_int_equal(tael_client_connect(&options, &client, why), -ETIMEDOUT);
    fake_datagram_server_stop(server);
}

static void test_options_that_are_wrong(void **unused) {
    (void)unused;
    const struct tael_client_options rows[] = {
        {.address = "[::1]:3000", .transport = TAEL_CLIENT_UDP},
        {.address = "3000", .transport = (enum tael_client_transport)2},
        {.address = "3000", .transport = TAEL_CLIENT_UDP, .datagram_max = 1471},
        {.address = "3000", .transport = TAEL_CLIENT_UDP, .datagram_max = 8973},
        {.address = "3000", .transport = TAEL_CLIENT_UDP, .faults = "drop"},
        {.address = "3000", .faults = "drop=1"},
        {.address = "3000", .datagram_max = 1472},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tael_client *client = NULL;
        assert_int_equal(tael_client_connect(&rows[i], &client, NULL), -EINVAL);
    }
}

static void test_faults_cost_time_only(void **unused) {
    (void)unused;
    struct fake_datagram_server *server = fake_datagram_server_start("", LEDGER, 64);
    struct tael_client_options options = options_for(server, 4);
    options.faults = "drop=8,duplicate=10,reorder=8,corrupt=2,seed=3";
    options.timeout_ns = 60 * TAEL_NS_PER_S; /* pauses double with each loss in succession */
    options.datagram_max = TAEL_DATAGRAM_SIZE_MAX;
    struct tael_client *client = client_with(&options);
    struct tael_client_reply reply;
    for (uint32_t i = 0; i < 20; i++) assert_int_equal(create(client, 10000 * i + 1, 1 + i * 40, 0, &reply), 0);
    assert_true(tael_client_counters(client).retransmissions > 0);
    tael_client_close(client, 0);
    assert_int_equal(fake_datagram_server_stop(server).executions, 20);
}

static void test_close_fails_what_is_outstanding(void **unused) {
    (void)unused;
    struct work work;
    sem_t done;
    struct fake_datagram_server *server = fake_datagram_server_start("", LEDGER, 64);
    struct tael_client *client = client_to(server, 2);
    sem_init(&done, 0, 0);
    fake_datagram_server_hold(server, true);
    submit(client, &work, 1, 0, &done);
    assert_true(fake_datagram_server_await_held(server, 1));
    const uint64_t begun_ns = now_ns();
    tael_client_close(client, 60 * MS);
    assert_in_range(now_ns() - begun_ns, 60 * MS, 2000 * MS);
    assert_int_equal(work.status, -ESHUTDOWN);
    fake_datagram_server_stop(server);
    sem_destroy(&done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_trouble_on_the_way_ends_in_one_right_reply),
        cmocka_unit_test(test_the_largest_request_and_many_slots),
        cmocka_unit_test(test_slots_have_their_requests_in_flight_together),
        cmocka_unit_test(test_statuses_say_what_is_known),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_another_ledger_and_too_few_slots),
        cmocka_unit_test(test_options_that_are_wrong),
        cmocka_unit_test(test_faults_cost_time_only),
        cmocka_unit_test(test_close_fails_what_is_outstanding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
