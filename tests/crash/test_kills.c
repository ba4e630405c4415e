/* Real kill -9 of a loaded server, at random, many times over.
 *
 * Goal: nothing acknowledged is ever missing, nothing is there twice, the books balance, and after each kill the ledger
 * is, to the last bit of its digest, what the slow model makes of the same log.
 * Method: sessions post without a break, over all kills, and remember each answer (load.h). The server is killed at a
 * random moment, now and then while it is still starting, with one, two or three workers, its roles on one thread
 * or on several. Then, offline: `tael verify` against the model. Then it is
 * started again, and what was acknowledged is looked up, with the load going on.
 *
 * Usage: test_kills TAEL MODEL_DIGEST [NETWORK EAL ADDRESS FAULTS]. With the latter it speaks datagrams, FAULTS as tael_client_options
 * has them, to a server in the network namespace of the process NETWORK. TAEL_CRASH_KILLS sets the number of kills, TAEL_CRASH_SEED the seed, which is
 * printed (it fixes what is sent and when kills are tried, not how the machine schedules them). */
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <tael/client.h>

#include "tests/crash/check.h"
#include "tests/crash/load.h"
#include "tests/crash/process.h"

static const char *program;
static const char *model_digest;
static struct process_server server;
static struct load load;
static uint64_t checked[LOAD_SESSIONS]; /* entries looked up so far */
static uint64_t created; /* of those */
static bool load_ended; /* as it should; without that there is nothing more to look at */

static uint64_t from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static uint64_t kills_wanted(void) {
    return from_environment("TAEL_CRASH_KILLS", getenv("TAEL_TEST_LONG") != NULL ? 300 : 30);
}

static void sleep_ms(uint64_t ms) {
    nanosleep(&(struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

/* The ledger on disk, as `tael verify` replays it and as the model does. The server must not run. */
static void check_against_model(uint64_t op_acknowledged) {
    json_t *verified = process_run_json((const char *const[]){program, "verify", "--json", server.data, NULL});
    json_t *modelled = process_run_json((const char *const[]){model_digest, server.data, NULL});
    assert_true(json_is_true(json_object_get(verified, "ok")));
    assert_true(json_is_true(json_object_get(verified, "balanced")));
    const json_int_t op = json_integer_value(json_object_get(verified, "op"));
    assert_true((uint64_t)op >= op_acknowledged);
    assert_int_equal(op, json_integer_value(json_object_get(modelled, "op")));
    const char *digest = json_string_value(json_object_get(verified, "digest"));
    assert_non_null(digest);
    assert_string_equal(digest, json_string_value(json_object_get(modelled, "digest")));
    json_decref(verified);
    json_decref(modelled);
}

/* Looks up all that was acknowledged since the last time. */
static void check_news(void) {
    struct tael_client *client = load_client(server.address);
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) {
        const uint64_t end = load_acknowledged(&load.sessions[i]);
        created += check_acknowledged(client, &load.sessions[i], checked[i], end);
        checked[i] = end;
    }
    tael_client_close(client, 0);
}

static uint64_t checked_sum(void) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) sum += checked[i];
    return sum;
}

/* The first two processors that this process may use; the same one twice where there is no other. */
static void processors_find(unsigned numbers[2]) {
    cpu_set_t allowed;
    unsigned found = 0;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    for (unsigned i = 0; i < CPU_SETSIZE && found < 2; i++) {
        if (CPU_ISSET(i, &allowed)) numbers[found++] = i;
    }
    if (found == 1) numbers[1] = numbers[0];
}

/* Draws how the next server runs: one to three workers, roles on one thread or on several, more of them than processors too. */
static void placement_draw(uint64_t *random) {
    unsigned p[2];
    const uint64_t draw = load_random(random);
    processors_find(p);
    server.workers = 1 + (uint32_t)(draw / 8 % 3);
    server.cores[0] = '\0';
    switch (draw % 8) {
    case 0:
        snprintf(server.cores, sizeof server.cores, "net=%u,log=%u,worker=%u", p[0], p[0], p[1]);
        break;
    case 1:
        snprintf(server.cores, sizeof server.cores, "net=%u,log=%u,worker=%u", p[0], p[1], p[1]);
        break;
    case 2:
        snprintf(server.cores, sizeof server.cores, "net=%u,log=%u,worker=%u,%u", p[1], p[0], p[1], p[0]);
        break;
    case 3:
        snprintf(server.cores, sizeof server.cores, "net=%u,log=%u,worker=%u,%u,%u", p[0], p[1], p[0], p[1], p[1]);
        break;
    default:
        break;
    }
}

static void kill_once(uint64_t *random) {
    const bool early = load_random(random) % 5 == 0;
    placement_draw(random);
    process_server_start(&server);
    if (early) {
        sleep_ms(load_random(random) % 60);
    } else {
        process_server_await(&server);
        check_news();
        sleep_ms(load_random(random) % 400);
    }
    process_server_kill(&server);
    check_against_model(load_op_acknowledged(&load));
}

static void test_nothing_acknowledged_is_lost_when_the_server_is_killed(void **state) {
    (void)state;
    const uint64_t kills = kills_wanted();
    const uint64_t seed = from_environment("TAEL_CRASH_SEED", (uint64_t)getpid());
    print_message("seed %" PRIu64 "\n", seed);
    process_server_start(&server);
    process_server_await(&server);
    load_open_accounts(server.address);
    /* Fewer requests a second where there are more kills: the model replays all of them after each. */
    load_start(&load, server.address, seed, 4000000 * (1 + kills / 40));
    sleep_ms(200);
    process_server_kill(&server);
    check_against_model(load_op_acknowledged(&load));
    uint64_t random = seed;
    for (uint64_t kill = 1; kill < kills; kill++) kill_once(&random);
    process_server_start(&server);
    process_server_await(&server);
    load_stop(&load);
    check_news();
    load_ended = true;
    print_message("%" PRIu64 " kills; %" PRIu64 " events acknowledged, %" PRIu64 " of them created and found again\n",
                  kills, checked_sum(), created);
    /* Otherwise the kills met no load. */
    assert_true(checked_sum() > (server.eal == NULL ? 1000 : 100) * kills);
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) {
        assert_true((server.eal == NULL ? load.sessions[i].reconnects : load.sessions[i].retransmissions) > 0);
    }
}

static void test_nothing_is_there_twice(void **state) {
    (void)state;
    assert_true(load_ended);
    struct tael_client *client = load_client(server.address);
    uint64_t found = 0;
    for (uint32_t i = 0; i < LOAD_SESSIONS; i++) {
        assert_int_equal(check_acknowledged(client, &load.sessions[i], 0, checked[i]),
                         check_once(client, &load.sessions[i]));
        found += check_once(client, &load.sessions[i]);
    }
    assert_int_equal(found, created);
    tael_client_close(client, 0);
}

static void test_the_books_balance_and_a_clean_stop_changes_nothing(void **state) {
    (void)state;
    assert_true(load_ended);
    json_t *balance = process_run_json((const char *const[]){program, "trial-balance", "--to", server.address, "--json",
                                                             server.eal == NULL ? NULL : "--udp", NULL});
    assert_true(json_is_true(json_object_get(balance, "balanced")));
    json_decref(balance);
    process_server_stop(&server);
    check_against_model(load_op_acknowledged(&load));
}

static const char *const *datagrams; /* NETWORK EAL ADDRESS FAULTS; NULL: TCP */

static int group_setup(void **state) {
    (void)state;
    process_server_make(&server, program);
    if (datagrams == NULL) return 0;
    server.network = datagrams[0];
    server.eal = datagrams[1];
    snprintf(server.address, sizeof server.address, "%s", datagrams[2]);
    load_speak_datagrams(datagrams[3]);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    process_server_remove(&server);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 7) {
        fprintf(stderr, "usage: test_kills TAEL MODEL_DIGEST [NETWORK EAL ADDRESS FAULTS]\n");
        return 2;
    }
    if (argc == 7) datagrams = (const char *const *)(argv + 3);
    program = argv[1];
    model_digest = argv[2];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_acknowledged_is_lost_when_the_server_is_killed),
        cmocka_unit_test(test_nothing_is_there_twice),
        cmocka_unit_test(test_the_books_balance_and_a_clean_stop_changes_nothing),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
