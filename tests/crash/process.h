/* Programs that a test runs: a server of its own on a free port, and commands whose output it reads.
 *
 * Whatever cannot be set up fails the running CMocka test. */
#ifndef TAEL_TESTS_CRASH_PROCESS_H
#define TAEL_TESTS_CRASH_PROCESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_server {
    const char *program; /* the built `tael` */
    char directory[64]; /* temporary; removed by process_server_remove */
    char data[80]; /* the ledger, in it */
    char address[32]; /* 127.0.0.1:PORT, or that of the datagrams' port */
    uint16_t port;
    uint32_t workers; /* for the next start; 0: as many as by default */
    char cores[64]; /* in place of that: as --cores has it; empty: the default */
    pid_t pid; /* 0: not running */
    off_t log_start; /* where its words begin in the log of all */
    /* Datagrams over a port of DPDK in place of TCP: EAL's arguments, and the pid of a process in whose network namespace the server
     * runs. NULL: TCP. */
    const char *eal;
    const char *network;
};

/* Formats a small ledger for cluster 0 in a new temporary directory. */
void process_server_make(struct process_server *server, const char *program);
void process_server_remove(struct process_server *server);

/* Starts the server, without waiting; its output goes to `log` in the directory. */
void process_server_start(struct process_server *server);

/* Waits until the server accepts connections, or the server of datagrams says that it is ready. */
void process_server_await(struct process_server *server);

/* SIGKILL. The server must have lived until then. */
void process_server_kill(struct process_server *server);

/* SIGTERM: must end with exit code 0. */
void process_server_stop(struct process_server *server);

/* User and system time that the server has used so far. */
uint64_t process_server_cpu_ns(const struct process_server *server);

/* Runs a command, arguments as in argv with a NULL at the end, and returns its exit code and what it printed to stdout. */
int process_run(const char *const *argv, char *output, size_t output_size);

/* The same for a command that must succeed and print one JSON object. The caller gives it back with json_decref. */
json_t *process_run_json(const char *const *argv);

#endif
