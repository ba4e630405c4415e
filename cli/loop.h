/* A loop: a thread that polls its roles by turns, and sleeps in the kernel when none of them had anything to do.
 *
 * Loops hand each other work through rings and watermarks. Who sleeps is woken by its bell:
 *   S1 sleeper raises asleep, then polls its roles once more, and looks whether it is to end or to print;  S2 ringer has handed over,
 *   then takes asleep down, and rings where it was up;  S3 who is awake again takes it down. All three exchange it (acquire and
 *   release), so they come one after the other: either S2 finds it up, or S1 comes later, and the look behind it finds what was
 *   handed over. tests/spin/bell.pml is a model of this.
 *
 * A loop that has an io_uring waits in it: for completions, for its bell, for the next deadline; one without waits for the bell and the
 * deadline. Before that it spins for a while, since to be woken takes tens of microseconds; but never for long: the kernel's own
 * threads, which complete the disk's writes, need a processor too (docs/concurrency.md). */
#ifndef TAEL_CLI_LOOP_H
#define TAEL_CLI_LOOP_H

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tael/completion.h>
#include <tael/ring.h>
#include <tael/watermark.h>

#include "cli/clock.h"

#define TAEL_LOOP_ROLES_MAX 4
#define TAEL_ROLE_EDGES_MAX 6

struct tael_loop;

/* Where a role hands work to a loop: a ring that it pushes to, or a watermark that it writes; the other one is NULL. */
struct tael_edge {
    const struct tael_ring *ring;
    const struct tael_watermark *watermark;
    struct tael_loop *to;
    uint64_t told; /* how far the other loop has been told */
};

/* Where time went since the start; differences tell of a stretch of it. */
struct tael_role_times {
    const char *name;
    uint64_t turns;
    uint64_t turns_worked; /* in which it had something to do */
    uint64_t worked_ns; /* that those took */
};
/* What is left of its life a thread polled in vain. */
struct tael_loop_times {
    const struct tael_role *first; /* the role that it polls first */
    uint64_t life_ns;
    uint64_t completions_ns; /* dispatching them */
    uint64_t kernel_ns; /* submitting to it */
    uint64_t asleep_ns;
    uint64_t sleeps;
};

struct tael_role {
    const char *name;
    void *context;
    /* A turn at this time: how much it did, or a negative errno, which ends the loop. With 0, whom it handed anything isn't woken. */
    int (*poll)(void *context, const struct tael_clock_reading *now);
    /* For how long, in ns, it need not be polled when nothing wakes the loop; called after a turn that found nothing to do. */
    uint64_t (*idle_ns)(void *context, const struct tael_clock_reading *now);
    /* Prints its counters, on its own thread. */
    void (*print)(void *context);
    bool is_long; /* its turns are: what others queued is submitted before */
    struct tael_edge edges[TAEL_ROLE_EDGES_MAX];
    uint32_t edge_count;
    /* Written by the loop; ticks are those of the time stamp counter. */
    _Atomic uint64_t turns;
    _Atomic uint64_t turns_worked;
    _Atomic uint64_t ticks_worked;
};

struct tael_loop_options {
    bool has_ring;
    bool spins; /* never sleeps */
    uint64_t spin_ns; /* spins for that long before it sleeps */
    uint32_t ring_entries;
    uint32_t ring_completions;
};

struct tael_loop {
    struct tael_loop_options options;
    struct tael_role *roles[TAEL_LOOP_ROLES_MAX];
    uint32_t role_count;
    struct io_uring ring;
    struct tael_completion bell_read;
    uint64_t bell_value;
    int bell_fd; /* an eventfd */
    bool is_rung; /* some other loop's role hands work to it */
    uint64_t idle_since_ns; /* monotonic; 0: it is not idle */
    uint64_t gave_way_ns; /* monotonic: when others could last have its processor */
    uint32_t printed; /* how many times counters have been */
    uint64_t begun_ticks; /* when it was opened */
    uint64_t begun_ns; /* the same, monotonic */
    /* Written by the loop. */
    _Atomic uint64_t ticks_completions;
    _Atomic uint64_t ticks_kernel;
    _Atomic uint64_t ticks_asleep;
    _Atomic uint64_t sleeps;
    _Alignas(TAEL_CACHE_LINE) _Atomic bool asleep; /* S1, S2, S3 */
};

/* By the thread that runs it. 0 or a negative errno, -ENOSYS where the kernel's io_uring lacks something; said why. */
int tael_loop_open(struct tael_loop *loop, const struct tael_loop_options *options);
void tael_loop_close(struct tael_loop *loop);
/* Before it runs. Roles are polled in the order in which they were added. */
void tael_loop_add(struct tael_loop *loop, struct tael_role *role);
/* `role`, which `from` polls, hands work to `to`; nothing to do where that is the same loop. */
void tael_role_hands(struct tael_role *role, const struct tael_loop *from, const struct tael_ring *ring,
                     const struct tael_watermark *watermark, struct tael_loop *to);

/* Turns until a role fails or `*ended`. Prints the roles' counters whenever `*asked` has risen. 0, or the role's error. */
int tael_loop_run(struct tael_loop *loop, const _Atomic bool *ended, const _Atomic uint32_t *asked);

/* Wakes the loop where it sleeps. Any thread. */
void tael_loop_wake(struct tael_loop *loop);

/* Any thread, `role` being one of the loop's. */
struct tael_loop_times tael_loop_times_read(const struct tael_loop *loop);
struct tael_role_times tael_role_times_read(const struct tael_loop *loop, const struct tael_role *role);

#endif
