#include "tests/crash/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void sleep_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static uint16_t free_port(void) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(listener >= 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    close(listener);
    return ntohs(address.sin_port);
}

static bool accepts(uint16_t port) {
    const int connection = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(connection >= 0);
    const struct sockaddr_in address = loopback(port);
    const bool connected = connect(connection, (const struct sockaddr *)&address, sizeof address) == 0;
    close(connection);
    return connected;
}

void process_server_make(struct process_server *server, const char *program) {
    *server = (struct process_server){.program = program, .directory = "/tmp/tael-crash-XXXXXX", .port = free_port()};
    assert_non_null(mkdtemp(server->directory));
    snprintf(server->data, sizeof server->data, "%s/ledger", server->directory);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%" PRIu16, server->port);
    char output[512];
    assert_int_equal(process_run((const char *const[]){program, "format", "--cluster", "0", "--accounts-max", "1000",
                                                       "--transfers-max", "2000000", "--sessions-max", "64",
                                                       "--segment-size", "4M", server->data, NULL},
                                 output, sizeof output),
                     0);
}

void process_server_remove(struct process_server *server) {
    if (server->pid != 0) process_server_kill(server);
    char output[16];
    assert_int_equal(process_run((const char *const[]){"rm", "-rf", server->directory, NULL}, output, sizeof output),
                     0);
}

/* In the child: becomes the program, with its output on the given descriptors; dies with the test. */
__attribute__((noreturn)) static void become(const char *const *argv, int out, int err) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (out >= 0) dup2(out, STDOUT_FILENO);
    if (err >= 0) dup2(err, STDERR_FILENO);
    /* execvp takes its arguments as non-const for reasons of history and does not write to them. */
    union {
        const char *const *constant;
        char *const *plain;
    } arguments = {.constant = argv};
    execvp(argv[0], arguments.plain);
    _exit(127);
}

/* In the child. */
__attribute__((noreturn)) static void become_server(const struct process_server *server, int log) {
    const char *argv[20];
    char workers[16];
    uint32_t count = 0;
    snprintf(workers, sizeof workers, "%" PRIu32, server->workers == 0 ? 1 : server->workers);
    if (server->network != NULL) {
        const char *const elsewhere[] = {"nsenter", "--target", server->network, "--net"};
        for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) argv[count++] = elsewhere[i];
    }
    argv[count++] = server->program;
    argv[count++] = "start";
    argv[count++] = server->cores[0] != '\0' ? "--cores" : "--workers";
    argv[count++] = server->cores[0] != '\0' ? server->cores : workers;
    if (server->eal != NULL) {
        argv[count++] = "--eal";
        argv[count++] = server->eal;
    }
    argv[count++] = server->eal != NULL ? "--address" : "--listen";
    argv[count++] = server->address;
    argv[count++] = server->data;
    argv[count] = NULL;
    become(argv, log, log);
}

/* Bytes that the servers have said so far. */
static off_t log_size(const struct process_server *server) {
    char path[96];
    struct stat status;
    snprintf(path, sizeof path, "%s/log", server->directory);
    return stat(path, &status) == 0 ? status.st_size : 0;
}

void process_server_start(struct process_server *server) {
    assert_int_equal(server->pid, 0);
    char log_path[96];
    server->log_start = log_size(server);
    snprintf(log_path, sizeof log_path, "%s/log", server->directory);
    const int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(log >= 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) become_server(server, log);
    close(log);
    server->pid = child;
}

/* Whether the present server has said that it takes datagrams. */
static bool says_ready(const struct process_server *server) {
    char path[96], line[512];
    bool is_ready = false;
    snprintf(path, sizeof path, "%s/log", server->directory);
    FILE *log = fopen(path, "re");
    if (log == NULL) return false;
    if (fseeko(log, server->log_start, SEEK_SET) == 0) {
        while (!is_ready && fgets(line, sizeof line, log) != NULL) is_ready = strncmp(line, "datagrams to ", 13) == 0;
    }
    fclose(log);
    return is_ready;
}

static void print_log(const struct process_server *server) {
    char output[16384];
    char log_path[96];
    snprintf(log_path, sizeof log_path, "%s/log", server->directory);
    process_run((const char *const[]){"tail", "-n", "40", log_path, NULL}, output, sizeof output);
    /* Not with print_error, which cuts long texts. */
    fprintf(stderr, "the server said:\n%s\n", output);
}

void process_server_await(struct process_server *server) {
    for (int tries = 0; tries < 3000; tries++) {
        if (server->eal != NULL ? says_ready(server) : accepts(server->port)) return;
        int status;
        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            server->pid = 0;
            print_log(server);
            fail_msg("the server ended with status %d", status);
        }
        sleep_ms(10);
    }
    print_log(server);
    fail_msg("the server does not listen after 30 s");
}

static int end(struct process_server *server, int signal_number) {
    int status = 0;
    assert_int_equal(kill(server->pid, signal_number), 0);
    assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
    server->pid = 0;
    return status;
}

void process_server_kill(struct process_server *server) {
    const int status = end(server, SIGKILL);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return;
    print_log(server);
    fail_msg("the server had ended by itself, with status %d", status);
}

void process_server_stop(struct process_server *server) {
    const int status = end(server, SIGTERM);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    print_log(server);
    fail_msg("SIGTERM did not end the server cleanly: status %d", status);
}

uint64_t process_server_cpu_ns(const struct process_server *server) {
    clockid_t clock;
    struct timespec used;
    assert_int_equal(clock_getcpuclockid(server->pid, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

int process_run(const char *const *argv, char *output, size_t output_size) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) become(argv, ends[1], -1);
    close(ends[1]);
    size_t used = 0;
    for (;;) {
        const ssize_t size = read(ends[0], output + used, output_size - 1 - used);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) break;
        used += (size_t)size;
    }
    output[used] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

json_t *process_run_json(const char *const *argv) {
    char output[16384];
    const int code = process_run(argv, output, sizeof output);
    if (code != 0) fail_msg("%s %s: exit code %d\n%s", argv[0], argv[1], code, output);
    json_error_t error;
    json_t *object = json_loads(output, 0, &error);
    if (object == NULL) fail_msg("%s %s: %s in\n%s", argv[0], argv[1], error.text, output);
    return object;
}
