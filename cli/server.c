#include "cli/server.h"

#include <errno.h>
#include <liburing.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <tael/bits.h>
#include <tael/completion.h>
#include <tael/link.h>

#include "cli/clock.h"
#include "cli/command.h"
#include "cli/core.h"
#include "cli/memory.h"
#include "cli/output.h"
#include "cli/room.h"
#include "cli/threads.h"
#include "cli/topology.h"
#include "cli/touch.h"
#include "io/address.h"
#include "io/tcp.h"
#include "io/uring.h"
#include "persist/data_directory.h"
#include "persist/disk_uring.h"

enum {
    RING_ENTRIES = 4096,
    RING_COMPLETIONS = 32768, /* more than connections, log and signals have in flight together */
    REPLIES_SMALL = 2048,
    READS_MAX = 256,
    QUERIES_MAX = 16,
    COMPLETIONS_TURN = 4096,
    BUFFER_GROUP = 1,
    FILES_OWN =
        192, /* files open besides connections: the log's, a few more, and connections that are just being refused */
};

#define SLEEP_MAX_NS TAEL_NS_PER_S /* so that the clock's leaps and the limits are seen */
#define DRAIN_MAX_NS (10 * TAEL_NS_PER_S)

struct tael_server {
    const struct tael_server_options *options;
    struct io_uring ring;
    struct tael_disk *disk;
    struct tael_superblock superblock;
    struct tael_arena arena;
    struct tael_core core;
    struct tael_tcp *tcp;
    uint32_t connections_max; /* as asked for, or as the limit of open files allows */
    struct tael_link link;
    struct tael_clock clock;
    struct tael_touch touch;
    struct tael_threads threads; /* of all workers but the first, which this one is */
    struct tael_room_watch room;
    uint64_t room_look_ns; /* monotonic: when to look at it next */
    /* Signals. */
    int signal_fd;
    struct signalfd_siginfo signal;
    struct tael_completion signal_read;
    bool stopping;
    uint64_t stop_by_ns; /* monotonic: what is not drained by then is left */
};

/* One line for the administrator. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fputs("tael: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

static void say_line(void *context, const char *line) {
    (void)context;
    say("%s", line);
}

/* --- memory --- */

static struct tael_core_options core_options(const struct tael_server *server) {
    return (struct tael_core_options){
        .disk = server->disk,
        .superblock = &server->superblock,
        .log = {.in_flight_max = server->options->log_in_flight, .notice = say_line},
        .replies_small = REPLIES_SMALL,
        .replies_large = server->options->replies_large,
        .reads_max = READS_MAX,
        .queries_max = QUERIES_MAX,
        .workers = server->options->workers,
    };
}

static struct tael_tcp_options tcp_options(const struct tael_server *server) {
    struct tael_tcp_options options = tael_tcp_options_default();
    options.cluster = server->superblock.cluster;
    options.connections_max = server->connections_max;
    options.large_buffers = server->options->replies_large;
    options.buffer_group = BUFFER_GROUP;
    options.reply_buffers[TAEL_REPLY_POOL_SMALL] = REPLIES_SMALL;
    options.reply_buffers[TAEL_REPLY_POOL_LARGE] = server->options->replies_large;
    options.log = say_line;
    return options;
}

static uint32_t replies_max(const struct tael_server *server) { return REPLIES_SMALL + server->options->replies_large; }

static void budget_fill(const struct tael_server *server, struct tael_budget *budget) {
    const struct tael_core_options core = core_options(server);
    const struct tael_tcp_options tcp = tcp_options(server);
    tael_core_budget(&core, budget);
    tael_budget_add(budget, "network",
                    tael_tcp_size_bytes(&tcp) + 2 * tael_ring_size_bytes(tael_power_of_two(tcp.messages_max)) +
                        2 * tael_ring_size_bytes(tael_power_of_two(replies_max(server))),
                    "--connections-max, --buffers-large");
}

/* --- start --- */

static int ring_open(struct tael_server *server) {
    /* What saves most first: older kernels lack the latest. DEFER_TASKRUN: completions are made when the loop asks for them, many
     * at a time, and never interrupt it. */
    const unsigned savings[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
                                IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};
    int error = -EINVAL;
    for (size_t i = 0; i < sizeof savings / sizeof savings[0] && error == -EINVAL; i++) {
        struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | savings[i],
                                         .cq_entries = RING_COMPLETIONS};
        error = io_uring_queue_init_params(RING_ENTRIES, &server->ring, &params);
    }
    if (error != 0) {
        tael_error(&tael_command_start, "%s", tael_uring_refusal_text(error));
        return error;
    }
    const char *missing = tael_uring_missing(&server->ring);
    if (missing == NULL) return 0;
    tael_error(&tael_command_start, "%s", missing);
    io_uring_queue_exit(&server->ring);
    return -ENOSYS;
}

static void tell_limit(const char *option, uint64_t asked, uint64_t before, uint64_t now) {
    if (now != before) {
        say("--%s is raised from %" PRIu64 " to %" PRIu64 ", for good", option, before, now);
    } else if (asked != 0 && asked < now) {
        say("--%s %" PRIu64 " is below the ledger's limit of %" PRIu64 ", which stays: limits only rise", option, asked,
            now);
    }
}

/* Takes the memory for the ledger as it is about to be, before its superblock says so: limits never fall again. */
static int memory_accept(void *context, const struct tael_superblock *superblock, struct tael_report *report) {
    struct tael_server *server = context;
    struct tael_budget budget = {0};
    server->superblock = *superblock;
    budget_fill(server, &budget);
    printf("memory, at most:\n");
    tael_budget_print(&budget, stdout);
    const int error = tael_memory_map(&server->arena, tael_budget_total(&budget) + TAEL_SECTOR_SIZE);
    if (error != 0) {
        tael_report_set(report, "no memory for a ledger of this size: %s; nothing was changed", strerror(-error));
        return error;
    }
    const size_t needed = tael_budget_needed(&budget);
    const size_t machine = tael_memory_of_machine();
    if (needed > machine) {
        say("a full ledger of this size needs %.1f GiB of memory, and this machine has %.1f GiB: it will be killed "
            "before it "
            "is full",
            (double)needed / (1 << 30), (double)machine / (1 << 30));
    }
    return 0;
}

static int directory_open(struct tael_server *server) {
    const struct tael_server_options *options = server->options;
    struct tael_report report = {0};
    const struct tael_disk_uring_options disk = {.path = options->path, .ring = &server->ring};
    int error = tael_disk_uring_open(&disk, &server->disk);
    if (error != 0) {
        tael_error(&tael_command_start, "%s: %s", options->path, strerror(-error));
        return error;
    }
    struct tael_superblock before = {0};
    error = tael_superblock_read(server->disk, &before, NULL, &report);
    const struct tael_data_directory_options directory = {.limits = {.accounts_max = options->accounts_max,
                                                                     .transfers_max = options->transfers_max,
                                                                     .sessions_max = options->sessions_max},
                                                          .accept = memory_accept,
                                                          .context = server};
    if (error == 0) error = tael_data_directory_open(server->disk, &directory, &server->superblock, &report);
    if (error != 0) {
        tael_error(&tael_command_start, "%s: %s", options->path, report.text);
        tael_disk_destroy(server->disk);
        return error;
    }
    const struct tael_superblock_limits *now = &server->superblock.limits;
    tell_limit("accounts-max", options->accounts_max, before.limits.accounts_max, now->accounts_max);
    tell_limit("transfers-max", options->transfers_max, before.limits.transfers_max, now->transfers_max);
    tell_limit("sessions-max", options->sessions_max, before.limits.sessions_max, now->sessions_max);
    return 0;
}

/* Starts the threads of all workers but the first. */
static int workers_begin(struct tael_server *server) {
    const uint32_t workers = server->options->workers;
    struct tael_topology topology;
    struct tael_core_map map;
    if (workers <= 1) return 0;
    int error = tael_topology_read(&topology);
    if (error == 0) {
        tael_core_map_choose(&topology, workers, &map);
        error = tael_threads_begin(&server->threads, server->core.state.crew, workers, &map);
    }
    if (error != 0) {
        tael_error(&tael_command_start, "no threads for %" PRIu32 " workers: %s", workers, strerror(-error));
        return error;
    }
    uint32_t allowed = 0;
    for (uint32_t i = 0; i < topology.count; i++) allowed += topology.processors[i].is_allowed;
    if (workers > allowed) {
        say("%" PRIu32 " workers on %" PRIu32 " processors wait for each other: fewer are faster", workers, allowed);
    }
    return 0;
}

static int recover(struct tael_server *server) {
    struct tael_report report = {0};
    const struct tael_core_options options = core_options(server);
    tael_core_init(&server->core, &server->arena, &options);
    if (!server->options->lazy_memory) tael_touch_begin(&server->touch, &server->arena);
    int error = workers_begin(server);
    if (error != 0) return error;
    error = tael_core_recover(&server->core, &report);
    if (error != 0) tael_error(&tael_command_start, "%s: %s", server->options->path, report.text);
    return error;
}

/* Days, for people. */
static uint64_t days(uint64_t ns) { return ns / (24 * 3600 * TAEL_NS_PER_S); }

/* The wall clock against the ledger. 0, or -ETIME where it is refused. */
static int clock_open(struct tael_server *server) {
    const struct tael_clock_reading reading = tael_clock_read();
    const uint64_t last = server->core.recovery.position.timestamp_last;
    const uint64_t format = server->superblock.format_time;
    const uint64_t ahead = reading.wall_ns - (last > format ? last : format);
    const uint64_t behind = last - reading.wall_ns;
    tael_clock_begin(&server->clock, reading);
    const enum tael_clock_verdict verdict = tael_clock_check(reading.wall_ns, last, format);
    switch (verdict) {
    case TAEL_CLOCK_GOOD:
        return 0;
    case TAEL_CLOCK_SLIGHTLY_BEHIND:
        say("the wall clock is %.3f s behind the last timestamp; timestamps go on from there until it has caught up",
            (double)behind / 1e9);
        return 0;
    case TAEL_CLOCK_FAR_AHEAD:
        say("the wall clock is %" PRIu64 " days ahead of the ledger; all timestamps will be, if it is wrong",
            days(ahead));
        return 0;
    case TAEL_CLOCK_BEHIND:
    case TAEL_CLOCK_AHEAD:
        break;
    }
    const bool is_behind = verdict == TAEL_CLOCK_BEHIND;
    char text[128];
    (void)snprintf(text, sizeof text, "the wall clock is %llu %s %s the ledger",
                   is_behind ? behind / TAEL_NS_PER_S : days(ahead), is_behind ? "s" : "days",
                   is_behind ? "behind" : "ahead of");
    if (server->options->accept_clock) {
        say("%s, as accepted", text);
        return 0;
    }
    tael_error(&tael_command_start, "%s. Set the clock right; or, if it is, start with --accept-clock", text);
    return -ETIME;
}

static void link_open(struct tael_server *server, const struct tael_tcp_options *tcp) {
    tael_ring_init(&server->link.requests, &server->arena, tael_power_of_two(tcp->messages_max));
    tael_ring_init(&server->link.released, &server->arena, tael_power_of_two(tcp->messages_max));
    tael_ring_init(&server->link.replies, &server->arena, tael_power_of_two(replies_max(server)));
    tael_ring_init(&server->link.sent, &server->arena, tael_power_of_two(replies_max(server)));
}

static int core_open(struct tael_server *server) {
    struct tael_report report = {0};
    const struct tael_tcp_options tcp = tcp_options(server);
    link_open(server, &tcp);
    const int error = tael_core_open(&server->core, &server->arena, &server->link, 1, &report);
    if (error != 0) tael_error(&tael_command_start, "%s: %s", server->options->path, report.text);
    return error;
}

/* Sees to it that connections leave files for the log, which is worth more. 0, or -EMFILE where hardly any may be open. */
static int files_open(struct tael_server *server) {
    struct rlimit limit;
    const rlim_t wanted = server->connections_max + FILES_OWN;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return 0;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return 0;
    if (limit.rlim_cur <= FILES_OWN) {
        tael_error(&tael_command_start,
                   "only %" PRIu64 " files may be open, and more than %d are needed: raise the limit (ulimit -n)",
                   (uint64_t)limit.rlim_cur, FILES_OWN);
        return -EMFILE;
    }
    server->connections_max = (uint32_t)(limit.rlim_cur - FILES_OWN);
    say("only %" PRIu64 " files may be open, so at most %" PRIu32
        " connections: to have more, raise the limit (ulimit -n)",
        (uint64_t)limit.rlim_cur, server->connections_max);
    return 0;
}

/* The address with the port that the kernel chose, where it was asked to. */
static void print_listening(const struct tael_server *server) {
    struct tael_address address;
    char host[TAEL_ADDRESS_TEXT_SIZE];
    const int error = tael_address_parse(server->options->listen, &address);
    TAEL_ASSERT(error == 0);
    char *colon = strrchr(tael_address_format(&address, host), ':');
    TAEL_ASSERT(colon != NULL);
    *colon = '\0';
    const struct tael_replay *replay = &server->core.state.replay;
    char text[512];
    if (replay->skipped > 0) say("ops left out, as told by skip-op: %" PRIu64, replay->skipped);
    printf("op %" PRIu64 ": %s\n", replay->op, tael_recovery_describe(&server->core.recovery, text, sizeof text));
    printf("listening on %s:%u\n", host, (unsigned)tael_tcp_port(server->tcp));
    fflush(stdout);
}

static int network_open(struct tael_server *server) {
    const char *listen = server->options->listen;
    struct tael_address address;
    int error = tael_address_parse(listen, &address);
    TAEL_ASSERT(error == 0); /* the command has looked */
    const struct tael_tcp_options options = tcp_options(server);
    error = tael_tcp_init(&server->tcp, &server->arena, &options, &server->ring, &server->link);
    if (error != 0) {
        tael_error(&tael_command_start, "the network cannot be set up: %s", strerror(-error));
        return error;
    }
    error = tael_tcp_listen(server->tcp, listen);
    if (error != 0) {
        tael_error(&tael_command_start, "cannot listen on %s: %s", listen, strerror(-error));
        return error;
    }
    if (!tael_address_is_loopback(&address)) {
        say("%s is reachable from other machines, and there is no authentication yet: whoever reaches it can move "
            "money",
            listen);
    }
    return 0;
}

/* --- signals --- */

static void print_counter(const char *name, uint64_t count, const char *text) {
    fprintf(stderr, "  %-24s%14" PRIu64 "  %s\n", name, count, text);
}

static void print_network_counters(const struct tael_tcp *tcp) {
    const struct tael_tcp_counters *counters = tael_tcp_counters(tcp);
    print_counter("connections", tael_tcp_connections(tcp), "open now");
    print_counter("connections_accepted", counters->accepted, "since the start");
    for (uint32_t i = 0; i < TAEL_TCP_CLOSES; i++) {
        if (counters->closed[i] > 0) print_counter("closed", counters->closed[i], tael_tcp_close_text(i));
    }
    for (uint32_t i = 0; i < TAEL_FRAME_VERDICTS; i++) {
        if (counters->rejected[i] > 0) print_counter("rejected", counters->rejected[i], tael_frame_verdict_text(i));
    }
}

/* Of several workers; with one there is nothing to tell. */
static void print_worker_counters(const struct tael_parallel *parallel, const struct tael_lookups *lookups) {
    if (parallel == NULL) return;
    const struct tael_parallel_counters counters = tael_parallel_counters(parallel);
    print_counter("steps", counters.steps, "applied by several workers together");
    print_counter("step_events", counters.events, "transfers in them");
    print_counter("steps_sequential", counters.steps_sequential, "undone, and applied one by one");
    print_counter("step_events_residue", counters.events_listed, "decided by one worker for all");
    print_counter("steps_reclaimed", counters.legs_reclaimed, "ids that failed made the next ones be looked up anew");
    print_counter("lookups_together", tael_lookups_counters(lookups).lookups, "answered by several workers together");
}

static void print_counters(const struct tael_server *server) {
    const struct tael_sequencer_counters *counters = tael_sequencer_counters(server->core.sequencer);
    const struct tael_log_counters log = tael_log_counters(server->core.log);
#define X(name, text) print_counter(#name, counters->name, text);
    TAEL_SEQUENCER_COUNTER_TABLE(X)
#undef X
    print_counter("log_bytes", log.bytes, "bytes written to the log");
    print_counter("log_blocks", log.blocks, "blocks written to the log, empty ones included");
    print_network_counters(server->tcp);
    print_worker_counters(server->core.state.parallel, server->core.state.lookups);
}

static void stop(struct tael_server *server) {
    if (server->stopping) {
        say("told to stop again: ending at once");
        _exit(TAEL_EXIT_FAILED);
    }
    say("stopping");
    server->stopping = true;
    server->stop_by_ns = tael_clock_read().monotonic_ns + DRAIN_MAX_NS;
    tael_tcp_drain(server->tcp);
}

static void signal_await(struct tael_server *server) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&server->ring);
    if (sqe == NULL) {
        (void)io_uring_submit(&server->ring);
        sqe = io_uring_get_sqe(&server->ring);
    }
    TAEL_ASSERT(sqe != NULL);
    io_uring_prep_read(sqe, server->signal_fd, &server->signal, sizeof server->signal, 0);
    io_uring_sqe_set_data(sqe, &server->signal_read);
}

static void signal_done(struct tael_completion *completion, int32_t result, uint32_t flags) {
    struct tael_server *server = TAEL_CONTAINER_OF(completion, struct tael_server, signal_read);
    (void)flags;
    const uint32_t number = result == sizeof server->signal ? server->signal.ssi_signo : 0;
    if (number == SIGTERM || number == SIGINT) stop(server);
    if (number == SIGUSR1) print_counters(server);
    if (number == SIGHUP) {
        if (server->clock.leapt) say("the wall clock is confirmed, and followed from now on");
        tael_clock_confirm(&server->clock, tael_clock_read());
    }
    signal_await(server);
}

static int signals_open(struct tael_server *server) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -errno;
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (server->signal_fd < 0) return -errno;
    server->signal_read.done = signal_done;
    signal_await(server);
    return 0;
}

/* --- the turn --- */

/* The time to sequence by; tells of leaps. */
static uint64_t wall_ns(struct tael_server *server, struct tael_clock_reading reading) {
    enum tael_clock_event event;
    const uint64_t wall = tael_clock_follow(&server->clock, reading, &event);
    if (event == TAEL_CLOCK_LEAPT) {
        say("the wall clock leapt by %.3f s and is not followed: timestamps go on by the monotonic clock. If it is "
            "right "
            "now, say so: kill -HUP %d",
            (double)server->clock.leap_ns / 1e9, (int)getpid());
    }
    if (event == TAEL_CLOCK_RETURNED) say("the wall clock came back, and is followed again");
    return wall;
}

static uint32_t dispatch(struct tael_server *server) {
    struct io_uring_cqe *cqe;
    uint32_t count = 0;
    while (count < COMPLETIONS_TURN && io_uring_peek_cqe(&server->ring, &cqe) == 0) {
        const uint64_t user_data = cqe->user_data;
        const int32_t result = cqe->res;
        const uint32_t flags = cqe->flags;
        io_uring_cqe_seen(&server->ring, cqe);
        tael_completion_dispatch(user_data, result, flags);
        count++;
    }
    return count;
}

/* Hands what the roles queued to the kernel. */
static void submit(struct tael_server *server) {
    if (io_uring_sq_ready(&server->ring) > 0) (void)io_uring_submit(&server->ring);
}

/* One turn of all roles. How much they did, or a negative errno of the log. */
static int turn(struct tael_server *server, struct tael_clock_reading reading, uint64_t wall) {
    int work = (int)tael_tcp_poll(server->tcp, reading.monotonic_ns);
    work += (int)tael_core_sequence(&server->core, wall);
    submit(server); /* so that the disk works while the block is applied */
    work += (int)tael_core_apply(&server->core);
    const int logged = tael_core_log(&server->core, reading.monotonic_ns);
    if (logged < 0) return logged;
    submit(server);
    return work + logged + (int)dispatch(server);
}

/* Sleeps until something completes or is due. */
static void sleep_until_due(struct tael_server *server, struct tael_clock_reading reading, uint64_t wall) {
    uint64_t sleep_ns = SLEEP_MAX_NS;
    const uint64_t deadlines[2] = {tael_tcp_deadline_ns(server->tcp), tael_log_deadline_ns(server->core.log)};
    for (uint32_t i = 0; i < 2; i++) {
        const uint64_t left = deadlines[i] > reading.monotonic_ns ? deadlines[i] - reading.monotonic_ns : 0;
        if (left < sleep_ns) sleep_ns = left;
    }
    const uint64_t due = tael_sequencer_due_ns(server->core.sequencer);
    const uint64_t due_in = due > wall ? due - wall : 0;
    /* An expiry that is due already waits for room: that shows in a completion, or at the next look. */
    if (due_in > 0 && due_in < sleep_ns) sleep_ns = due_in;
    struct __kernel_timespec timeout = {.tv_sec = (long long)(sleep_ns / TAEL_NS_PER_S),
                                        .tv_nsec = (long long)(sleep_ns % TAEL_NS_PER_S)};
    struct io_uring_cqe *cqe;
    (void)io_uring_submit_and_wait_timeout(&server->ring, &cqe, 1, &timeout, NULL);
}

/* True when a server that is stopping has nothing left to do, or no time. */
static bool drained(struct tael_server *server, uint64_t now_ns) {
    if (tael_tcp_drained(server->tcp) && tael_core_is_idle(&server->core)) return true;
    if (now_ns < server->stop_by_ns) return false;
    say("some clients did not take their replies in time; they get them after the next start");
    return true;
}

/* Turns until told to stop and drained. 0, or the log's error. */
static int run(struct tael_server *server) {
    for (;;) {
        const struct tael_clock_reading reading = tael_clock_read();
        const uint64_t wall = wall_ns(server, reading);
        const int work = turn(server, reading, wall);
        if (work < 0) return work;
        if (server->stopping && drained(server, reading.monotonic_ns)) return 0;
        if (reading.monotonic_ns >= server->room_look_ns) {
            tael_room_watch(&server->room, server->core.state.worker, server->core.state.sessions,
                            tael_sequencer_counters(server->core.sequencer));
            server->room_look_ns = reading.monotonic_ns + TAEL_NS_PER_S;
        }
        if (work == 0) sleep_until_due(server, reading, wall);
    }
}

/* The end of a server that was told to stop: connections, then the log with its last, empty block. */
static int finish(struct tael_server *server) {
    tael_sequencer_drain(server->core.sequencer);
    tael_tcp_close(server->tcp);
    const uint64_t by_ns = tael_clock_read().monotonic_ns + TAEL_NS_PER_S;
    for (;;) {
        const struct tael_clock_reading reading = tael_clock_read();
        const int work = turn(server, reading, wall_ns(server, reading));
        if (work < 0) return work;
        if (tael_tcp_closed(server->tcp) || reading.monotonic_ns > by_ns) break;
        if (work == 0) sleep_until_due(server, reading, server->clock.last.wall_ns);
    }
    return tael_log_close(server->core.log);
}

static int serve(struct tael_server *server) {
    int error = run(server);
    if (error == 0) error = finish(server);
    if (error != 0) {
        tael_error(&tael_command_start,
                   "the log cannot be written: %s. Nothing more was acknowledged, and nothing that was is lost. See to "
                   "the disk, then start again",
                   strerror(-error));
        return TAEL_EXIT_FAILED;
    }
    say("stopped at op %" PRIu64, tael_sequencer_op(server->core.sequencer));
    return TAEL_EXIT_DONE;
}

/* The parts, one on the other. What a failed start leaves is given back by the end of the process. */
static int open_all(struct tael_server *server) {
    int error = recover(server);
    if (error == 0) error = clock_open(server);
    if (error == 0) error = core_open(server);
    if (error == 0) error = files_open(server);
    if (error == 0) error = network_open(server);
    if (error == 0) error = signals_open(server);
    if (error != 0) return error;
    tael_arena_freeze(&server->arena);
    tael_room_watch_begin(&server->room, &server->superblock.limits);
    print_listening(server);
    return 0;
}

int tael_server_run(const struct tael_server_options *options) {
    static struct tael_server server; /* one a process; large */
    server = (struct tael_server){.options = options, .connections_max = options->connections_max, .signal_fd = -1};
    if (ring_open(&server) != 0) return TAEL_EXIT_FAILED;
    int status = TAEL_EXIT_FAILED;
    if (directory_open(&server) != 0) goto close_ring;
    if (open_all(&server) == 0) status = serve(&server);
    if (status != TAEL_EXIT_DONE) return status; /* something may still be under way: the process's end sees to it */
    tael_threads_end(&server.threads);
    tael_touch_end(&server.touch);
    tael_disk_destroy(server.disk);
    tael_memory_unmap(&server.arena);
    close(server.signal_fd);
close_ring:
    io_uring_queue_exit(&server.ring);
    return status;
}
