/* A server without work sleeps. On a machine whose cores all spin, the kernel's own threads, which complete the disk's
 * writes, wait for a tick: a commit then takes 4 ms and more instead of 0.15. So the server must never spin.
 *
 * Judged by the processor time that the server uses, which does not depend on what else the machine does. What a commit
 * takes, alone and beside neighbours that do spin, is printed and not judged. Usage: test_idle TAEL */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <tael/client.h>

#include "tests/crash/load.h"
#include "tests/crash/process.h"

#define WATCH_S 3
#define IDLE_CPU_MAX_NS (WATCH_S * TAEL_NS_PER_S / 50) /* 2 % of a core */
#define COMMITS 200
#define NEIGHBOURS_MAX 64

static const char *program;
static struct process_server server;
static struct tael_client *client;

static uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* A server's first seconds go into touching its memory behind. */
static void await_rest(void) {
    uint64_t used = process_server_cpu_ns(&server);
    for (int i = 0; i < 150; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        const uint64_t before = used;
        used = process_server_cpu_ns(&server);
        if (used - before < 1000000) return;
    }
}

static void assert_idle(void) {
    await_rest();
    const uint64_t before = process_server_cpu_ns(&server);
    nanosleep(&(struct timespec){.tv_sec = WATCH_S}, NULL);
    const uint64_t used = process_server_cpu_ns(&server) - before;
    print_message("%.2f ms of processor time in %d s\n", (double)used / 1e6, WATCH_S);
    assert_in_range(used, 0, IDLE_CPU_MAX_NS);
}

static int compare_u64(const void *a, const void *b) {
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

/* Posts transfers one at a time; prints what a commit took; returns the server's processor time for all of them. */
static uint64_t commit_one_at_a_time(const char *where) {
    static uint64_t number;
    uint64_t latency_ns[COMMITS];
    const uint64_t before = process_server_cpu_ns(&server);
    for (uint32_t i = 0; i < COMMITS; i++) {
        const struct tael_transfer transfer = {
            .id = ++number, .debit_account_id = 1, .credit_account_id = 2, .amount = 1, .ledger = 1, .code = 1};
        struct tael_create_result result;
        const uint64_t begun = monotonic_ns();
        assert_int_equal(
            tael_client_call(client, TAEL_OPERATION_create_transfers, &transfer, 1, &result, 1, LOAD_TIMEOUT_NS, NULL),
            0);
        latency_ns[i] = monotonic_ns() - begun;
        assert_int_equal(result.status, TAEL_STATUS_CREATED);
    }
    qsort(latency_ns, COMMITS, sizeof latency_ns[0], compare_u64);
    const uint64_t *half = &latency_ns[COMMITS / 2];
    const uint64_t *nearly_all = &latency_ns[COMMITS * 95 / 100];
    print_message("%s: a commit takes %.2f ms, one in twenty more than %.2f ms\n", where, (double)*half / 1e6,
                  (double)*nearly_all / 1e6);
    return process_server_cpu_ns(&server) - before;
}

static void test_a_server_without_clients_sleeps(void **state) {
    (void)state;
    assert_idle();
}

static void test_a_server_sleeps_again_after_work(void **state) {
    (void)state;
    load_open_accounts(server.address);
    client = load_client(server.address);
    commit_one_at_a_time("alone");
    assert_idle();
}

/* While a commit is under way the server waits for the disk and for nothing else: it does not spin on the completion. */
static void test_a_server_sleeps_while_it_waits_for_the_disk(void **state) {
    (void)state;
    pid_t neighbours[NEIGHBOURS_MAX];
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const size_t count = cores < NEIGHBOURS_MAX ? (size_t)cores : NEIGHBOURS_MAX;
    for (size_t i = 0; i < count; i++) {
        neighbours[i] = fork();
        assert_true(neighbours[i] >= 0);
        if (neighbours[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (volatile uint64_t spin = 0;; spin++) continue;
        }
    }
    const uint64_t begun = monotonic_ns();
    const uint64_t used = commit_one_at_a_time("beside neighbours that spin on every core");
    const uint64_t elapsed = monotonic_ns() - begun;
    for (size_t i = 0; i < count; i++) {
        kill(neighbours[i], SIGKILL);
        waitpid(neighbours[i], NULL, 0);
    }
    print_message("%.2f ms of processor time in %.0f ms\n", (double)used / 1e6, (double)elapsed / 1e6);
    /* A commit is some tens of microseconds of work, however long the disk takes. */
    assert_in_range(used, 0, COMMITS * TAEL_NS_PER_S / 2000);
}

static int group_setup(void **state) {
    (void)state;
    process_server_make(&server, program);
    process_server_start(&server);
    process_server_await(&server);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    tael_client_close(client, 0);
    process_server_stop(&server);
    process_server_remove(&server);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: test_idle TAEL\n");
        return 2;
    }
    program = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_without_clients_sleeps),
        cmocka_unit_test(test_a_server_sleeps_again_after_work),
        cmocka_unit_test(test_a_server_sleeps_while_it_waits_for_the_disk),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
