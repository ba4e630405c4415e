/* The synchronous client against a server that drops, damages, repeats and refuses, as a script tells it. What counts: the
 * caller gets the right reply once or a clear error within its time, and what is sent again is the same to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/record.h>

#include "fake_server.h"
#include "io/client.h"

#define CLUSTER ((tael_u128)42)
#define MS 1000000ull
#define RETRANSMIT_NS (60 * MS)
#define TIMEOUT_NS (5000 * MS)

static struct tael_client *client_to(const char *address) {
    struct tael_client *client = NULL;
    const struct tael_client_options options = {.address = address, .cluster = CLUSTER, .retransmit_ns = RETRANSMIT_NS};
    assert_int_equal(tael_client_new(&options, &client), 0);
    return client;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Sends 128 bytes of `fill` and checks that the same come back. */
static int echo(struct tael_client *client, uint8_t fill, uint64_t timeout_ns) {
    struct tael_client_reply reply = {0};
    memset(tael_client_body(client), fill, 128);
    const int error = tael_client_request(client, TAEL_OPERATION_trial_balance, 128, timeout_ns, &reply);
    if (error != 0) return error;
    assert_int_equal(reply.body_size, 128);
    for (int i = 0; i < 128; i++) assert_int_equal(((const uint8_t *)reply.body)[i], fill);
    return 0;
}

static void test_every_trouble_on_the_way_ends_in_one_right_reply(void **state) {
    (void)state;
    /* The first letter is what register gets, the second and those behind it are for the request. */
    static const struct {
        const char *script;
        uint32_t connections;
        uint32_t requests; /* register and both requests, at least: a machine that is slow sends again */
    } rows[] = {
        {"rr", 1, 3}, {"rs", 1, 4},   {"rss", 1, 5}, {"rssss", 2, 7}, /* a connection that stays silent is given up */
        {"rc", 2, 4}, {"rccc", 4, 6}, {"rk", 2, 4},  {"rh", 2, 4},        {"rb", 2, 4}, {"rC", 2, 4},
        {"rq", 2, 4}, {"ro", 2, 4},   {"ru", 2, 4},  {"r2", 2, 4},        {"rx", 1, 3}, {"rp", 1, 3},
        {"rt", 1, 3}, {"rtt", 1, 3},  {"rB", 1, 4},  {"rBBB", 1, 6},      {"s", 1, 4},  {"c", 2, 4},
        {"k", 2, 4},  {"h", 2, 4},    {"t", 1, 3},   {"rskhbB2c", 6, 10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_server *server = fake_server_start(rows[i].script, CLUSTER);
        struct tael_client *client = client_to(fake_server_address(server));
        int error = tael_client_register(client, TIMEOUT_NS);
        if (error == 0) error = echo(client, 1, TIMEOUT_NS);
        if (error == 0) error = echo(client, 2, TIMEOUT_NS);
        if (error != 0) fail_msg("%s: %s: %s", rows[i].script, strerror(-error), tael_client_error(client));
        tael_client_free(client);
        const struct fake_seen seen = fake_server_stop(server);
        if (seen.connections != rows[i].connections || seen.requests < rows[i].requests || seen.distinct != 3) {
            fail_msg("%s: %u connections, %u requests, %u of them different", rows[i].script, seen.connections,
                     seen.requests, seen.distinct);
        }
    }
}

static void test_evictions_for_a_wrong_request_leave_the_session(void **state) {
    (void)state;
    static const char *const scripts[] = {"r4", "r5", "r6"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct fake_server *server = fake_server_start(scripts[i], CLUSTER);
        struct tael_client *client = client_to(fake_server_address(server));
        assert_int_equal(tael_client_register(client, TIMEOUT_NS), 0);
        assert_int_equal(echo(client, 1, TIMEOUT_NS), -EINVAL);
        assert_non_null(strstr(tael_client_error(client), "refused the request"));
        assert_int_equal(echo(client, 2, TIMEOUT_NS), 0);
        tael_client_free(client);
        const struct fake_seen seen = fake_server_stop(server);
        assert_int_equal(seen.last.request.request, 2);
    }
}

static void test_an_evicted_session_is_over_and_says_so(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("r1", CLUSTER);
    struct tael_client *client = client_to(fake_server_address(server));
    assert_int_equal(tael_client_register(client, TIMEOUT_NS), 0);
    assert_int_equal(echo(client, 1, TIMEOUT_NS), -ECONNABORTED);
    assert_non_null(strstr(tael_client_error(client), "doesn't know the session"));
    assert_int_equal(echo(client, 2, TIMEOUT_NS), -ECONNABORTED);
    tael_client_free(client);
    assert_int_equal(fake_server_stop(server).requests, 2);
}

static void test_no_call_outlasts_its_time(void **state) {
    (void)state;
    static const struct {
        const char *script;
        int error;
        const char *text;
    } rows[] = {
        {"rssssssssssssssssssssssssssssssssssssss", -ETIMEDOUT, "doesn't answer"},
        {"rcccccccccccccccccccccccccccccccccccccc", -ETIMEDOUT, "closed the connection"},
        {"r2222222222222222222222222222222222222", -ETIMEDOUT, "half a frame"},
        {"rhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh", -ETIMEDOUT, "wrong header checksum"},
        {"rBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", -EBUSY, "--transfers-max"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_server *server = fake_server_start(rows[i].script, CLUSTER);
        struct tael_client *client = client_to(fake_server_address(server));
        assert_int_equal(tael_client_register(client, TIMEOUT_NS), 0);
        const uint64_t begun_ns = now_ns();
        const int error = echo(client, 1, 200 * MS);
        const uint64_t took_ns = now_ns() - begun_ns;
        if (error != rows[i].error || strstr(tael_client_error(client), rows[i].text) == NULL) {
            fail_msg("%s: %s: %s", rows[i].script, strerror(-error), tael_client_error(client));
        }
        assert_in_range(took_ns, 190 * MS, 1200 * MS);
        /* Whether it was executed isn't known: nothing may follow. */
        assert_int_equal(echo(client, 2, TIMEOUT_NS), -ECONNABORTED);
        tael_client_free(client);
        fake_server_stop(server);
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
    struct tael_client *client = NULL;
    const struct tael_client_options options = {.address = fake_server_address(server),
                                                .cluster = CLUSTER,
                                                .retransmit_ns = RETRANSMIT_NS,
                                                .waiting = waiting_count,
                                                .context = &told};
    assert_int_equal(tael_client_new(&options, &client), 0);
    assert_int_equal(tael_client_register(client, TIMEOUT_NS), 0);
    assert_int_equal(echo(client, 1, TIMEOUT_NS), 0);
    assert_int_equal(told, 0);
    assert_int_equal(echo(client, 2, 1500 * MS), -ETIMEDOUT);
    assert_int_equal(told, 1);
    tael_client_free(client);
    fake_server_stop(server);
}

static void test_a_server_that_is_not_there_is_named(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("", CLUSTER);
    char address[32];
    strcpy(address, fake_server_address(server));
    fake_server_stop(server);
    struct tael_client *client = client_to(address);
    assert_int_equal(tael_client_register(client, 100 * MS), -ETIMEDOUT);
    assert_non_null(strstr(tael_client_error(client), address));
    assert_non_null(strstr(tael_client_error(client), "refused"));
    tael_client_free(client);
}

static void test_requests_count_up_and_name_the_previous_reply(void **state) {
    (void)state;
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_to(fake_server_address(server));
    assert_int_equal(tael_client_register(client, TIMEOUT_NS), 0);
    assert_int_equal(tael_client_session(client), 7);
    assert_int_equal(echo(client, 1, TIMEOUT_NS), 0);
    assert_int_equal(echo(client, 2, TIMEOUT_NS), 0);
    tael_client_free(client);
    const struct fake_seen seen = fake_server_stop(server);
    assert_int_equal(seen.last.request.request, 2);
    assert_int_equal(seen.last.request.session, 7);
    assert_true(seen.last.request.parent != 0);
    assert_true(seen.last.request.client != 0);
    assert_int_equal(seen.register_capabilities, TAEL_CAPABILITY_BUSY);
}

static void test_a_batch_comes_back_decoded(void **state) {
    (void)state;
    static const uint32_t counts[] = {0, 1, 8189};
    struct fake_server *server = fake_server_start("", CLUSTER);
    struct tael_client *client = client_to(fake_server_address(server));
    assert_int_equal(tael_client_register(client, TIMEOUT_NS), 0);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        memset(tael_client_body(client), (int)i, (size_t)counts[i] * 128);
        struct tael_client_reply reply;
        uint32_t results = 77;
        /* Its events and results are of one size, so its request echoed is a good reply. */
        assert_int_equal(
            tael_client_batch(client, TAEL_OPERATION_get_account_transfers, counts[i], TIMEOUT_NS, &reply, &results),
            0);
        assert_int_equal(results, counts[i]);
        assert_memory_equal(reply.body, tael_client_body(client), (size_t)counts[i] * 128);
    }
    /* Results of 16 bytes behind a trailer for 128: the counts don't fit. */
    struct tael_client_reply reply;
    uint32_t results;
    assert_int_equal(tael_client_batch(client, TAEL_OPERATION_create_transfers, 3, TIMEOUT_NS, &reply, &results),
                     -EPROTO);
    tael_client_free(client);
    fake_server_stop(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_trouble_on_the_way_ends_in_one_right_reply),
        cmocka_unit_test(test_evictions_for_a_wrong_request_leave_the_session),
        cmocka_unit_test(test_an_evicted_session_is_over_and_says_so),
        cmocka_unit_test(test_no_call_outlasts_its_time),
        cmocka_unit_test(test_a_wait_of_more_than_a_second_is_told_once),
        cmocka_unit_test(test_a_server_that_is_not_there_is_named),
        cmocka_unit_test(test_requests_count_up_and_name_the_previous_reply),
        cmocka_unit_test(test_a_batch_comes_back_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
