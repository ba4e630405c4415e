#include "cli/server.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <tael/bits.h>
#include <tael/completion.h>
#include <tael/link.h>

#include "cli/clock.h"
#include "cli/command.h"
#include "cli/core.h"
#include "cli/counters.h"
#include "cli/loop.h"
#include "cli/memory.h"
#include "cli/output.h"
#include "cli/room.h"
#include "cli/threads.h"
#include "cli/touch.h"
#include "persist/data_directory.h"
#include "persist/disk_uring.h"

enum {
    RING_ENTRIES = 4096,
    RING_COMPLETIONS = 32768, /* more than connections, log and signals have in flight together */
    REPLIES_SMALL = 2048,
    READS_MAX = 256,
    QUERIES_MAX = 16,
    LOOPS_MAX = 3,
};

#define DRAIN_MAX_NS (10 * TAEL_NS_PER_S)
#define CLOSE_MAX_NS TAEL_NS_PER_S
/* How long a loop looks for what others hand it before it sleeps. With 50 us and a loop on each processor, what the kernel does for the
 * disk there came late: commits took milliseconds. */
#define SPIN_NS 10000u

/* How far the end of a server has come. */
enum phase {
    SERVING,
    DRAINING, /* no more requests are taken; those that were are answered */
    CLOSING, /* connections are closed */
};

/* A loop, and the thread that runs it; the first one's is the caller. */
struct seat {
    struct tael_server *server;
    struct tael_loop loop;
    uint32_t processor;
    pthread_t thread;
    sem_t is_open; /* or has failed to */
    sem_t may_run; /* all are open */
    int error; /* of opening, then of running */
};

/* An ingress, as a role. */
struct net {
    struct tael_server *server;
    const struct tael_ingress *ingress;
    struct tael_role role;
    /* How far it is in the phases: written by its loop. */
    _Atomic bool is_drained;
    _Atomic bool is_closed;
};

struct tael_server {
    const struct tael_server_options *options;
    struct tael_disk *disk;
    struct tael_superblock superblock;
    struct tael_arena arena;
    struct tael_core core;
    struct tael_link links[TAEL_INGRESSES_MAX]; /* one an ingress */
    struct tael_clock clock;
    struct tael_touch touch;
    struct tael_threads threads; /* of all workers but the first, which is a role */
    struct tael_room_watch room;
    uint64_t room_look_ns; /* monotonic: when to look at it next */
    /* Roles, and the loops that poll them: one for each processor that the map has for them. */
    struct net nets[TAEL_INGRESSES_MAX];
    struct tael_role log, worker;
    struct seat seats[LOOPS_MAX]; /* the first one is the log's */
    uint32_t seat_count;
    struct seat *net_seat, *worker_seat;
    /* Signals. */
    int signal_fd;
    struct signalfd_siginfo signal;
    struct tael_completion signal_read;
    uint64_t stop_by_ns; /* monotonic: what is not drained, or closed, by then is left */
    /* Written by the log's loop. */
    _Alignas(TAEL_CACHE_LINE) _Atomic uint32_t phase; /* enum phase */
    _Atomic uint32_t counters_asked; /* how many times */
    _Atomic bool ended; /* the loops are to end */
};

static void say_line(void *context, const char *line) {
    (void)context;
    tael_say("%s", line);
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
        .workers = server->options->placement.map.worker_count,
        .idle = server->options->placement.idle,
    };
}

static uint32_t replies_max(const struct tael_server *server) { return REPLIES_SMALL + server->options->replies_large; }

static void budget_fill(const struct tael_server *server, struct tael_budget *budget) {
    const struct tael_core_options core = core_options(server);
    tael_core_budget(&core, budget);
    for (uint32_t i = 0; i < server->options->ingress_count; i++) {
        const struct tael_ingress *ingress = &server->options->ingresses[i];
        tael_budget_add(budget, ingress->name,
                        ingress->size_bytes(ingress->context, REPLIES_SMALL, server->options->replies_large) +
                            2 * tael_ring_size_bytes(tael_power_of_two(ingress->messages_max)) +
                            2 * tael_ring_size_bytes(tael_power_of_two(replies_max(server))),
                        ingress->size_options);
    }
}

/* --- start --- */

static void tell_limit(const char *option, uint64_t asked, uint64_t before, uint64_t now) {
    if (now != before) {
        tael_say("--%s is raised from %" PRIu64 " to %" PRIu64 ", for good", option, before, now);
    } else if (asked != 0 && asked < now) {
        tael_say("--%s %" PRIu64 " is below the ledger's limit of %" PRIu64 ", which stays: limits only rise", option,
                 asked, now);
    }
}

/* A scratch ledger is served only by those who tell their clients what it is. 0, or -EPERM. */
static int scratch_accept(const struct tael_server *server, struct tael_report *report) {
    if (server->superblock.scratch == 0) return 0;
    for (uint32_t i = 0; i < server->options->ingress_count; i++) {
        if (server->options->ingresses[i].serves_scratch) continue;
        tael_report_set(report, "this is " TAEL_SCRATCH_TEXT
                                ". Clients by TCP would not be told so, and are not served from it");
        return -EPERM;
    }
    tael_say("this is " TAEL_SCRATCH_TEXT);
    return 0;
}

/* Takes the memory for the ledger as it is about to be, before its superblock says so: limits never fall again. */
static int memory_accept(void *context, const struct tael_superblock *superblock, struct tael_report *report) {
    struct tael_server *server = context;
    struct tael_budget budget = {0};
    server->superblock = *superblock;
    int error = scratch_accept(server, report);
    if (error != 0) return error;
    budget_fill(server, &budget);
    if (!server->options->is_quiet) {
        char text[TAEL_CORE_MAP_TEXT_SIZE];
        const char *processors = tael_placement_describe(&server->options->placement, text);
        if (processors != NULL) printf("processors: %s\n", processors);
        printf("memory, at most:\n");
        tael_budget_print(&budget, stdout);
    }
    error = tael_memory_map(&server->arena, tael_budget_total(&budget) + TAEL_SECTOR_SIZE);
    if (error != 0) {
        tael_report_set(report, "no memory for a ledger of this size: %s; nothing was changed", strerror(-error));
        return error;
    }
    const size_t needed = tael_budget_needed(&budget);
    const size_t machine = tael_memory_of_machine();
    if (needed > machine) {
        tael_say(
            "a full ledger of this size needs %.1f GiB of memory, and this machine has %.1f GiB: it will be killed "
            "before it "
            "is full",
            (double)needed / (1 << 30), (double)machine / (1 << 30));
    }
    return 0;
}

static int directory_open(struct tael_server *server) {
    const struct tael_server_options *options = server->options;
    struct tael_report report = {0};
    const struct tael_disk_uring_options disk = {.path = options->path, .ring = &server->seats[0].loop.ring};
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
    const struct tael_core_map *map = &server->options->placement.map;
    if (map->worker_count <= 1) return 0;
    const int error = tael_threads_begin(&server->threads, server->core.state.crew, map->worker_count,
                                         server->options->placement.is_bound ? map : NULL);
    if (error != 0) {
        tael_error(&tael_command_start, "no threads for %" PRIu32 " workers: %s", map->worker_count, strerror(-error));
    }
    return error;
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
        tael_say(
            "the wall clock is %.3f s behind the last timestamp; timestamps go on from there until it has caught up",
            (double)behind / 1e9);
        return 0;
    case TAEL_CLOCK_FAR_AHEAD:
        tael_say("the wall clock is %" PRIu64 " days ahead of the ledger; all timestamps will be, if it is wrong",
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
        tael_say("%s, as accepted", text);
        return 0;
    }
    tael_error(&tael_command_start, "%s. Set the clock right; or, if it is, start with --accept-clock", text);
    return -ETIME;
}

static void link_open(struct tael_server *server, struct tael_link *link, uint32_t messages_max) {
    tael_ring_init(&link->requests, &server->arena, tael_power_of_two(messages_max));
    tael_ring_init(&link->released, &server->arena, tael_power_of_two(messages_max));
    tael_ring_init(&link->replies, &server->arena, tael_power_of_two(replies_max(server)));
    tael_ring_init(&link->sent, &server->arena, tael_power_of_two(replies_max(server)));
}

static int core_open(struct tael_server *server) {
    struct tael_report report = {0};
    const uint32_t count = server->options->ingress_count;
    for (uint32_t i = 0; i < count; i++) {
        link_open(server, &server->links[i], server->options->ingresses[i].messages_max);
    }
    const int error = tael_core_open(&server->core, &server->arena, server->links, count, &report);
    if (error != 0) tael_error(&tael_command_start, "%s: %s", server->options->path, report.text);
    return error;
}

static void times_read(const void *context, struct tael_server_times *times) {
    const struct tael_server *server = context;
    times->roles[0] = tael_role_times_read(&server->net_seat->loop, &server->nets[0].role);
    times->roles[1] = tael_role_times_read(&server->seats[0].loop, &server->log);
    times->roles[2] = tael_role_times_read(&server->worker_seat->loop, &server->worker);
    times->thread_count = server->seat_count;
    for (uint32_t i = 0; i < server->seat_count; i++) times->threads[i] = tael_loop_times_read(&server->seats[i].loop);
}

static bool is_settled(const void *context) {
    return tael_touch_is_done(&((const struct tael_server *)context)->touch);
}

static int ingresses_open(struct tael_server *server) {
    for (uint32_t i = 0; i < server->options->ingress_count; i++) {
        const struct tael_ingress *ingress = &server->options->ingresses[i];
        const struct tael_ingress_site site = {
            .cluster = server->superblock.cluster,
            .is_scratch = server->superblock.scratch != 0,
            .arena = &server->arena,
            .ring = &server->net_seat->loop.ring,
            .link = &server->links[i],
            .replies_small = REPLIES_SMALL,
            .replies_large = server->options->replies_large,
            .say = say_line,
            .server = server,
            .times_read = times_read,
            .is_settled = is_settled,
        };
        const int error = ingress->open(ingress->context, &site);
        if (error != 0) return error;
    }
    return 0;
}

static void tell_ready(const struct tael_server *server) {
    const struct tael_replay *replay = &server->core.state.replay;
    char text[512];
    if (replay->skipped > 0) tael_say("ops left out, as told by skip-op: %" PRIu64, replay->skipped);
    if (!server->options->is_quiet) {
        printf("op %" PRIu64 ": %s\n", replay->op, tael_recovery_describe(&server->core.recovery, text, sizeof text));
    }
    for (uint32_t i = 0; i < server->options->ingress_count; i++) {
        server->options->ingresses[i].tell(server->options->ingresses[i].context);
    }
    fflush(stdout);
}

/* --- signals --- */

static void loops_wake(struct tael_server *server) {
    for (uint32_t i = 0; i < server->seat_count; i++) tael_loop_wake(&server->seats[i].loop);
}

static void phase_begin(struct tael_server *server, enum phase phase, uint64_t at_most_ns) {
    server->stop_by_ns = tael_clock_read().monotonic_ns + at_most_ns;
    atomic_store_explicit(&server->phase, phase, memory_order_release); /* what led to it is visible to net */
    loops_wake(server);
}

/* Relaxed: only the log's loop, whose own this is, writes it. */
static enum phase phase_of(const struct tael_server *server) {
    return (enum phase)atomic_load_explicit(&server->phase, memory_order_relaxed);
}

static void stop(struct tael_server *server) {
    if (phase_of(server) != SERVING) {
        tael_say("told to stop again: ending at once");
        _exit(TAEL_EXIT_FAILED);
    }
    if (!server->options->is_quiet) tael_say("stopping");
    phase_begin(server, DRAINING, DRAIN_MAX_NS);
}

/* Each loop prints those of its roles. */
static void counters_ask(struct tael_server *server) {
    atomic_fetch_add_explicit(&server->counters_asked, 1, memory_order_release);
    loops_wake(server);
}

static void signal_await(struct tael_server *server) {
    struct io_uring *ring = &server->seats[0].loop.ring;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (sqe == NULL) {
        (void)io_uring_submit(ring);
        sqe = io_uring_get_sqe(ring);
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
    if (number == SIGUSR1) counters_ask(server);
    if (number == SIGHUP) {
        if (server->clock.leapt) tael_say("the wall clock is confirmed, and followed from now on");
        tael_clock_confirm(&server->clock, tael_clock_read());
    }
    signal_await(server);
}

static sigset_t signals_of_server(void) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    return set;
}

/* Before an ingress opens: the libraries beneath may start threads, and one of theirs that a signal reached would end the process. */
static int signals_block(void) {
    const sigset_t set = signals_of_server();
    (void)signal(SIGPIPE, SIG_IGN);
    return sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? 0 : -errno;
}

static int signals_open(struct tael_server *server) {
    const sigset_t set = signals_of_server();
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (server->signal_fd < 0) return -errno;
    server->signal_read.done = signal_done;
    signal_await(server);
    return 0;
}

/* --- roles: net --- */

/* Follows the phases, and tells how far it is. */
static void net_follow(struct net *net) {
    struct tael_server *server = net->server;
    const struct tael_ingress *ingress = net->ingress;
    const enum phase phase = (enum phase)atomic_load_explicit(&server->phase, memory_order_acquire);
    if (TAEL_LIKELY(phase == SERVING)) return;
    if (phase == DRAINING) ingress->drain(ingress->context);
    if (phase == CLOSING) ingress->close(ingress->context);
    /* Release: what net handed on before is visible to the log's loop. */
    atomic_store_explicit(&net->is_drained, ingress->drained(ingress->context), memory_order_release);
    atomic_store_explicit(&net->is_closed, ingress->closed(ingress->context), memory_order_release);
    tael_loop_wake(&server->seats[0].loop);
}

static int net_poll(void *context, const struct tael_clock_reading *now) {
    struct net *net = context;
    const uint32_t work = net->ingress->poll(net->ingress->context, now->monotonic_ns);
    net_follow(net);
    return (int)work;
}

static uint64_t until(uint64_t deadline_ns, uint64_t now_ns) { return deadline_ns > now_ns ? deadline_ns - now_ns : 0; }

static uint64_t net_idle_ns(void *context, const struct tael_clock_reading *now) {
    const struct tael_ingress *ingress = ((struct net *)context)->ingress;
    return until(ingress->deadline_ns(ingress->context), now->monotonic_ns);
}

static void net_print(void *context) {
    const struct tael_ingress *ingress = ((struct net *)context)->ingress;
    ingress->print(ingress->context);
}

/* Whether all ingresses have got so far. */
static bool nets_drained(const struct tael_server *server) {
    bool all = true;
    for (uint32_t i = 0; i < server->options->ingress_count; i++) {
        all &= atomic_load_explicit(&server->nets[i].is_drained, memory_order_acquire);
    }
    return all;
}

static bool nets_closed(const struct tael_server *server) {
    bool all = true;
    for (uint32_t i = 0; i < server->options->ingress_count; i++) {
        all &= atomic_load_explicit(&server->nets[i].is_closed, memory_order_acquire);
    }
    return all;
}

/* --- roles: the log, with the sequencer --- */

/* The time to sequence by; tells of leaps. */
static uint64_t wall_ns(struct tael_server *server, const struct tael_clock_reading *reading) {
    enum tael_clock_event event;
    const uint64_t wall = tael_clock_follow(&server->clock, *reading, &event);
    if (event == TAEL_CLOCK_LEAPT) {
        tael_say(
            "the wall clock leapt by %.3f s and is not followed: timestamps go on by the monotonic clock. If it is "
            "right "
            "now, say so: kill -HUP %d",
            (double)server->clock.leap_ns / 1e9, (int)getpid());
    }
    if (event == TAEL_CLOCK_RETURNED) tael_say("the wall clock came back, and is followed again");
    return wall;
}

/* On the way to the end: from phase to phase, as far as others are. */
static void end_approach(struct tael_server *server, uint64_t now_ns) {
    const bool is_late = now_ns >= server->stop_by_ns;
    if (phase_of(server) == DRAINING) {
        if (!(nets_drained(server) && tael_core_is_idle(&server->core)) && !is_late) return;
        if (is_late) tael_say("some clients did not take their replies in time; they get them after the next start");
        tael_sequencer_drain(server->core.sequencer);
        phase_begin(server, CLOSING, CLOSE_MAX_NS);
    } else if (nets_closed(server) || is_late) {
        atomic_store_explicit(&server->ended, true, memory_order_release);
        loops_wake(server);
    }
}

static void room_look(struct tael_server *server, uint64_t now_ns) {
    if (server->options->is_quiet || now_ns < server->room_look_ns) return;
    tael_room_watch(&server->room, server->core.state.worker, server->core.state.sessions,
                    tael_sequencer_counters(server->core.sequencer));
    server->room_look_ns = now_ns + TAEL_NS_PER_S;
}

static int log_poll(void *context, const struct tael_clock_reading *now) {
    struct tael_server *server = context;
    const uint64_t wall = wall_ns(server, now);
    const int logged = tael_core_log(&server->core, now->monotonic_ns);
    if (logged < 0) return logged;
    const int work = logged + (int)tael_core_sequence(&server->core, wall);
    if (phase_of(server) != SERVING) end_approach(server, now->monotonic_ns);
    room_look(server, now->monotonic_ns);
    return work;
}

static uint64_t log_idle_ns(void *context, const struct tael_clock_reading *now) {
    const struct tael_server *server = context;
    const uint64_t log = until(tael_log_deadline_ns(server->core.log), now->monotonic_ns);
    const uint64_t pulse = until(tael_sequencer_due_ns(server->core.sequencer), server->clock.last.wall_ns);
    const uint64_t end = phase_of(server) == SERVING ? UINT64_MAX : until(server->stop_by_ns, now->monotonic_ns);
    const uint64_t first = log < end ? log : end;
    /* An expiry that is due already waits for room: that shows in a completion, or at the next look. */
    return pulse > 0 && pulse < first ? pulse : first;
}

static void log_print(void *context) {
    const struct tael_core *core = &((struct tael_server *)context)->core;
    tael_counters_print_log(core->sequencer, core->log);
}

/* --- roles: worker 0 --- */

static int worker_poll(void *context, const struct tael_clock_reading *now) {
    (void)now;
    return (int)tael_core_apply(&((struct tael_server *)context)->core);
}

static uint64_t worker_idle_ns(void *context, const struct tael_clock_reading *now) {
    (void)context;
    (void)now;
    return UINT64_MAX;
}

static void worker_print(void *context) {
    const struct tael_state *state = &((struct tael_server *)context)->core.state;
    tael_counters_print_worker(state);
}

/* --- loops --- */

/* The loop of this processor: there is one, or this is the next. */
static struct seat *seat_for(struct tael_server *server, uint32_t processor) {
    for (uint32_t i = 0; i < server->seat_count; i++) {
        if (server->seats[i].processor == processor) return &server->seats[i];
    }
    struct seat *seat = &server->seats[server->seat_count++];
    *seat = (struct seat){.server = server, .processor = processor};
    return seat;
}

static void seats_assign(struct tael_server *server) {
    const struct tael_core_map *map = &server->options->placement.map;
    (void)seat_for(server, map->log);
    server->net_seat = seat_for(server, map->net);
    server->worker_seat = seat_for(server, map->workers[0]);
}

static int seat_open(struct seat *seat) {
    const struct tael_server *server = seat->server;
    const struct tael_loop_options options = {
        .has_ring = seat == &server->seats[0] || seat == server->net_seat,
        .spins = server->options->placement.idle == TAEL_IDLE_SPIN,
        .spin_ns = server->seat_count > 1 && server->options->placement.idle == TAEL_IDLE_SLEEP ? SPIN_NS : 0,
        .ring_entries = RING_ENTRIES,
        .ring_completions = RING_COMPLETIONS,
    };
    return tael_loop_open(&seat->loop, &options);
}

static void net_assign(struct tael_server *server, uint32_t i) {
    struct tael_loop *log = &server->seats[0].loop;
    struct tael_loop *loop = &server->net_seat->loop;
    struct tael_link *link = &server->links[i];
    struct net *net = &server->nets[i];
    *net = (struct net){.server = server, .ingress = &server->options->ingresses[i]};
    net->role = (struct tael_role){
        .name = net->ingress->name, .context = net, .poll = net_poll, .idle_ns = net_idle_ns, .print = net_print};
    tael_loop_add(loop, &net->role);
    tael_role_hands(&net->role, loop, &link->requests, NULL, log);
    tael_role_hands(&net->role, loop, &link->sent, NULL, log);
    tael_role_hands(&server->log, log, &link->released, NULL, loop);
    tael_role_hands(&server->log, log, &link->replies, NULL, loop);
}

/* Who polls what, and who hands whom what. Once all loops are open and all parts there. */
static void roles_assign(struct tael_server *server) {
    struct tael_loop *log = &server->seats[0].loop;
    struct tael_loop *worker = &server->worker_seat->loop;
    struct tael_worker_link *link = tael_worker_link(server->core.state.worker);
    server->log = (struct tael_role){
        .name = "log", .context = server, .poll = log_poll, .idle_ns = log_idle_ns, .print = log_print};
    server->worker = (struct tael_role){.name = "worker",
                                        .context = server,
                                        .poll = worker_poll,
                                        .idle_ns = worker_idle_ns,
                                        .print = worker_print,
                                        .is_long = true};
    for (uint32_t i = 0; i < server->options->ingress_count; i++) net_assign(server, i);
    tael_loop_add(log, &server->log);
    tael_loop_add(worker, &server->worker);
    tael_role_hands(&server->log, log, &link->blocks, NULL, worker);
    tael_role_hands(&server->log, log, &link->reads, NULL, worker);
    tael_role_hands(&server->worker, worker, &link->reads_done, NULL, log);
    tael_role_hands(&server->worker, worker, NULL, &link->board.applied, log);
}

static void *seat_thread(void *context) {
    struct seat *seat = context;
    struct tael_server *server = seat->server;
    if (server->options->placement.is_bound) tael_thread_stay_on(seat->processor);
    seat->error = seat_open(seat);
    if (seat->error == 0 && seat == server->net_seat) seat->error = ingresses_open(server);
    const bool is_open = seat->error == 0;
    (void)sem_post(&seat->is_open);
    if (!is_open) return NULL;
    while (sem_wait(&seat->may_run) != 0) continue;
    seat->error = tael_loop_run(&seat->loop, &server->ended, &server->counters_asked);
    return NULL;
}

/* Starts the threads of the other loops, one after the other; each opens what is its own. */
static int seats_begin(struct tael_server *server) {
    if (server->net_seat == &server->seats[0]) {
        const int error = ingresses_open(server);
        if (error != 0) return error;
    }
    for (uint32_t i = 1; i < server->seat_count; i++) {
        struct seat *seat = &server->seats[i];
        (void)sem_init(&seat->is_open, 0, 0);
        (void)sem_init(&seat->may_run, 0, 0);
        const char *name = seat == server->net_seat ? "net" : "worker 0";
        const int error = tael_thread_begin(&seat->thread, name, seat_thread, seat);
        if (error != 0) {
            tael_error(&tael_command_start, "no thread for a role: %s", strerror(-error));
            return error;
        }
        while (sem_wait(&seat->is_open) != 0) continue;
        if (seat->error != 0) return seat->error;
    }
    return 0;
}

/* Runs all loops, this thread the first one, until told to stop and drained. 0, or the log's error. */
static int run(struct tael_server *server) {
    for (uint32_t i = 1; i < server->seat_count; i++) (void)sem_post(&server->seats[i].may_run);
    if (server->options->placement.is_bound) tael_thread_stay_on(server->seats[0].processor);
    int error = tael_loop_run(&server->seats[0].loop, &server->ended, &server->counters_asked);
    atomic_store_explicit(&server->ended, true, memory_order_release);
    loops_wake(server);
    for (uint32_t i = 1; i < server->seat_count; i++) {
        (void)pthread_join(server->seats[i].thread, NULL);
        if (error == 0) error = server->seats[i].error;
    }
    return error;
}

static int serve(struct tael_server *server) {
    int error = run(server);
    if (error == 0) error = tael_log_close(server->core.log);
    if (error != 0) {
        tael_error(&tael_command_start,
                   "the log cannot be written: %s. Nothing more was acknowledged, and nothing that was is lost. See to "
                   "the disk, then start again",
                   strerror(-error));
        return TAEL_EXIT_FAILED;
    }
    if (!server->options->is_quiet) tael_say("stopped at op %" PRIu64, tael_sequencer_op(server->core.sequencer));
    return TAEL_EXIT_DONE;
}

/* The parts, one on the other. What a failed start leaves is given back by the end of the process. */
static int open_all(struct tael_server *server) {
    int error = recover(server);
    if (error == 0) error = clock_open(server);
    if (error == 0) error = core_open(server);
    if (error == 0) error = signals_block();
    if (error == 0) error = seats_begin(server);
    if (error == 0) error = signals_open(server);
    if (error != 0) return error;
    tael_arena_freeze(&server->arena);
    tael_room_watch_begin(&server->room, &server->superblock.limits);
    roles_assign(server);
    tell_ready(server);
    return 0;
}

int tael_server_run(const struct tael_server_options *options) {
    static struct tael_server server; /* one a process; large */
    server = (struct tael_server){.options = options, .signal_fd = -1};
    seats_assign(&server);
    if (seat_open(&server.seats[0]) != 0) return TAEL_EXIT_FAILED;
    int status = TAEL_EXIT_FAILED;
    if (directory_open(&server) != 0) goto close_loop;
    if (open_all(&server) == 0) status = serve(&server);
    if (status != TAEL_EXIT_DONE) return status; /* something may still be under way: the process's end sees to it */
    tael_threads_end(&server.threads);
    tael_touch_end(&server.touch);
    tael_disk_destroy(server.disk);
    tael_memory_unmap(&server.arena);
    close(server.signal_fd);
    for (uint32_t i = 1; i < server.seat_count; i++) tael_loop_close(&server.seats[i].loop);
close_loop:
    tael_loop_close(&server.seats[0].loop);
    return status;
}
