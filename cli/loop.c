#include "cli/loop.h"

#include <errno.h>
#include <immintrin.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <x86intrin.h>

#include <tael/assert.h>

#include "cli/command.h"
#include "cli/output.h"
#include "io/uring.h"

enum { COMPLETIONS_TURN = 4096 };

#define SLEEP_MAX_NS TAEL_NS_PER_S /* so that the clock's leaps and the limits are seen */
#define GIVE_WAY_NS 25000u

/* --- opening --- */

static int ring_open(struct tael_loop *loop) {
    /* What saves most first: older kernels lack the latest. DEFER_TASKRUN: completions are made when the loop asks for them, many
     * at a time, and never interrupt it. */
    const unsigned savings[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
                                IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};
    int error = -EINVAL;
    for (size_t i = 0; i < sizeof savings / sizeof savings[0] && error == -EINVAL; i++) {
        struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | savings[i],
                                         .cq_entries = loop->options.ring_completions};
        error = io_uring_queue_init_params(loop->options.ring_entries, &loop->ring, &params);
    }
    if (error != 0) {
        tael_error(&tael_command_start, "%s", tael_uring_refusal_text(error));
        return error;
    }
    const char *missing = tael_uring_missing(&loop->ring);
    if (missing == NULL) return 0;
    tael_error(&tael_command_start, "%s", missing);
    io_uring_queue_exit(&loop->ring);
    return -ENOSYS;
}

static void bell_await(struct tael_loop *loop) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);
    if (sqe == NULL) {
        (void)io_uring_submit(&loop->ring);
        sqe = io_uring_get_sqe(&loop->ring);
    }
    TAEL_ASSERT(sqe != NULL);
    io_uring_prep_read(sqe, loop->bell_fd, &loop->bell_value, sizeof loop->bell_value, 0);
    io_uring_sqe_set_data(sqe, &loop->bell_read);
}

static void bell_rang(struct tael_completion *completion, int32_t result, uint32_t flags) {
    struct tael_loop *loop = TAEL_CONTAINER_OF(completion, struct tael_loop, bell_read);
    (void)result;
    (void)flags;
    bell_await(loop);
}

int tael_loop_open(struct tael_loop *loop, const struct tael_loop_options *options) {
    *loop = (struct tael_loop){.options = *options, .bell_read = {.done = bell_rang}, .begun_ticks = __rdtsc()};
    loop->begun_ns = tael_clock_read().monotonic_ns;
    loop->bell_fd = eventfd(0, EFD_CLOEXEC | (options->has_ring ? 0 : EFD_NONBLOCK));
    if (loop->bell_fd < 0) {
        const int error = -errno;
        tael_error(&tael_command_start, "no file descriptor for an event: %s", strerror(-error));
        return error;
    }
    if (!options->has_ring) return 0;
    const int error = ring_open(loop);
    if (error != 0) {
        close(loop->bell_fd);
        return error;
    }
    bell_await(loop);
    return 0;
}

void tael_loop_close(struct tael_loop *loop) {
    if (loop->options.has_ring) io_uring_queue_exit(&loop->ring);
    close(loop->bell_fd);
}

void tael_loop_add(struct tael_loop *loop, struct tael_role *role) {
    TAEL_ASSERT(loop->role_count < TAEL_LOOP_ROLES_MAX);
    loop->roles[loop->role_count++] = role;
}

void tael_role_hands(struct tael_role *role, const struct tael_loop *from, const struct tael_ring *ring,
                     const struct tael_watermark *watermark, struct tael_loop *to) {
    if (from == to) return;
    TAEL_ASSERT(role->edge_count < TAEL_ROLE_EDGES_MAX);
    role->edges[role->edge_count++] = (struct tael_edge){.ring = ring, .watermark = watermark, .to = to};
    to->is_rung = true;
}

/* --- bells --- */

void tael_loop_wake(struct tael_loop *loop) {
    if (!atomic_exchange_explicit(&loop->asleep, false, memory_order_acq_rel)) return; /* S2 */
    const uint64_t one = 1;
    const ssize_t written = write(loop->bell_fd, &one, sizeof one);
    TAEL_ASSERT(written == sizeof one);
}

/* Wakes whom the role has handed something since the last time. */
static void edges_tell(struct tael_role *role) {
    for (uint32_t i = 0; i < role->edge_count; i++) {
        struct tael_edge *edge = &role->edges[i];
        /* Relaxed: this thread writes them. */
        const uint64_t now = edge->ring != NULL ? atomic_load_explicit(&edge->ring->tail, memory_order_relaxed)
                                                : atomic_load_explicit(&edge->watermark->value, memory_order_relaxed);
        if (now == edge->told) continue;
        edge->told = now;
        tael_loop_wake(edge->to);
    }
}

/* --- the turn --- */

/* Relaxed: only this thread writes them, and others only read them for people. */
static void count_add(_Atomic uint64_t *counter, uint64_t more) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

static uint64_t count_read(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static uint32_t completions_dispatch(struct tael_loop *loop) {
    struct io_uring_cqe *cqe;
    uint32_t count = 0;
    const uint64_t begun = __rdtsc();
    while (count < COMPLETIONS_TURN && io_uring_peek_cqe(&loop->ring, &cqe) == 0) {
        const uint64_t user_data = cqe->user_data;
        const int32_t result = cqe->res;
        const uint32_t flags = cqe->flags;
        io_uring_cqe_seen(&loop->ring, cqe);
        tael_completion_dispatch(user_data, result, flags);
        count++;
    }
    if (count > 0) count_add(&loop->ticks_completions, __rdtsc() - begun);
    return count;
}

/* Hands what the roles queued to the kernel. */
static void submit(struct tael_loop *loop) {
    if (!loop->options.has_ring || io_uring_sq_ready(&loop->ring) == 0) return;
    const uint64_t begun = __rdtsc();
    (void)io_uring_submit(&loop->ring);
    count_add(&loop->ticks_kernel, __rdtsc() - begun);
}

static int role_turn(struct tael_role *role, const struct tael_clock_reading *now) {
    const uint64_t begun = __rdtsc();
    const int work = role->poll(role->context, now);
    count_add(&role->turns, 1);
    if (work <= 0) return work;
    count_add(&role->ticks_worked, __rdtsc() - begun);
    count_add(&role->turns_worked, 1);
    edges_tell(role);
    return work;
}

/* One turn of all roles. How much they did, or a negative errno. */
static int turn(struct tael_loop *loop, const struct tael_clock_reading *now) {
    int work = loop->options.has_ring ? (int)completions_dispatch(loop) : 0;
    for (uint32_t i = 0; i < loop->role_count; i++) {
        if (loop->roles[i]->is_long) submit(loop); /* so that the disk works meanwhile */
        const int done = role_turn(loop->roles[i], now);
        if (done < 0) return done;
        work += done;
    }
    submit(loop);
    return work;
}

/* --- sleeping --- */

static uint64_t sleep_ns(const struct tael_loop *loop, const struct tael_clock_reading *now) {
    uint64_t shortest = SLEEP_MAX_NS;
    for (uint32_t i = 0; i < loop->role_count; i++) {
        const uint64_t idle = loop->roles[i]->idle_ns(loop->roles[i]->context, now);
        if (idle < shortest) shortest = idle;
    }
    return shortest;
}

/* Until something completes, the bell rings or something is due. */
static void wait(struct tael_loop *loop, uint64_t at_most_ns) {
    const long long seconds = (long long)(at_most_ns / TAEL_NS_PER_S);
    const long long rest = (long long)(at_most_ns % TAEL_NS_PER_S);
    const uint64_t begun = __rdtsc();
    if (loop->options.has_ring) {
        struct __kernel_timespec timeout = {.tv_sec = seconds, .tv_nsec = rest};
        struct io_uring_cqe *cqe;
        (void)io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, &timeout, NULL);
    } else {
        const struct timespec timeout = {.tv_sec = seconds, .tv_nsec = rest};
        struct pollfd bell = {.fd = loop->bell_fd, .events = POLLIN};
        if (ppoll(&bell, 1, &timeout, NULL) > 0) (void)!read(loop->bell_fd, &loop->bell_value, sizeof(uint64_t));
    }
    count_add(&loop->ticks_asleep, __rdtsc() - begun);
    count_add(&loop->sleeps, 1);
}

/* Whether it is to end, or to print. Acquire: what was done before either word was set is visible. */
static bool is_called(const struct tael_loop *loop, const _Atomic bool *ended, const _Atomic uint32_t *asked) {
    return atomic_load_explicit(ended, memory_order_acquire) ||
           atomic_load_explicit(asked, memory_order_acquire) != loop->printed;
}

/* After a turn that found nothing to do. 0, or a role's error. */
static int rest(struct tael_loop *loop, const struct tael_clock_reading *now, const _Atomic bool *ended,
                const _Atomic uint32_t *asked) {
    if (loop->idle_since_ns == 0) loop->idle_since_ns = now->monotonic_ns;
    if (loop->options.spins || now->monotonic_ns - loop->idle_since_ns < loop->options.spin_ns) {
        _mm_pause();
        return 0;
    }
    int work = 0;
    if (loop->is_rung) {
        (void)atomic_exchange_explicit(&loop->asleep, true, memory_order_acq_rel); /* S1 */
        work = turn(loop, now);
    }
    /* Those words are handed over, too: one that was set since it was last read is seen here, or rings. */
    if (work == 0 && !is_called(loop, ended, asked)) wait(loop, sleep_ns(loop, now));
    if (loop->is_rung) (void)atomic_exchange_explicit(&loop->asleep, false, memory_order_acq_rel); /* S3 */
    loop->idle_since_ns = 0;
    return work < 0 ? work : 0;
}

/* A line for an administrator: the counter of a role, or of a thread by the role that it polls first. */
static void line_print(const struct tael_role *role, const char *what, uint64_t count, const char *text) {
    char name[64];
    (void)snprintf(name, sizeof name, "%s_%s", role->name, what);
    tael_counter_print(name, count, text);
}

static void counters_print(const struct tael_loop *loop) {
    for (uint32_t i = 0; i < loop->role_count; i++) {
        const struct tael_role *role = loop->roles[i];
        const struct tael_role_times times = tael_role_times_read(loop, role);
        role->print(role->context);
        line_print(role, "turns", times.turns, "of the role");
        line_print(role, "turns_worked", times.turns_worked, "in which it had something to do");
        line_print(role, "worked_us", times.worked_ns / 1000, "that those took");
    }
    const struct tael_loop_times times = tael_loop_times_read(loop);
    line_print(times.first, "thread_us", times.life_ns / 1000, "since its thread began");
    line_print(times.first, "thread_completions_us", times.completions_ns / 1000, "taking them in");
    line_print(times.first, "thread_kernel_us", times.kernel_ns / 1000, "handing work to it");
    line_print(times.first, "thread_asleep_us", times.asleep_ns / 1000, "having nothing to do");
    line_print(times.first, "thread_sleeps", times.sleeps, "how many times");
}

/* Lets whoever waits for this processor run. Where there is always something to do, or the loop never sleeps, the kernel's own threads come to
 * their turn else when a slice of some milliseconds is over; the disk's writes complete in one of them. */
static void give_way(struct tael_loop *loop, const struct tael_clock_reading *now) {
    if (now->monotonic_ns - loop->gave_way_ns < GIVE_WAY_NS) return;
    (void)sched_yield();
    loop->gave_way_ns = now->monotonic_ns;
}

int tael_loop_run(struct tael_loop *loop, const _Atomic bool *ended, const _Atomic uint32_t *asked) {
    /* Acquire: what was done before the word was set is visible. */
    while (!atomic_load_explicit(ended, memory_order_acquire)) {
        const struct tael_clock_reading now = tael_clock_read();
        const int work = turn(loop, &now);
        if (work < 0) return work;
        const uint32_t times = atomic_load_explicit(asked, memory_order_acquire);
        if (times != loop->printed) counters_print(loop);
        loop->printed = times;
        give_way(loop, &now);
        if (work > 0) {
            loop->idle_since_ns = 0;
            continue;
        }
        const int error = rest(loop, &now, ended, asked);
        if (error != 0) return error;
    }
    return 0;
}

/* --- where time went --- */

static double ns_per_tick(const struct tael_loop *loop, uint64_t *life_ns) {
    *life_ns = tael_clock_read().monotonic_ns - loop->begun_ns;
    return (double)*life_ns / (double)(__rdtsc() - loop->begun_ticks);
}

struct tael_loop_times tael_loop_times_read(const struct tael_loop *loop) {
    struct tael_loop_times times = {.first = loop->roles[0], .sleeps = count_read(&loop->sleeps)};
    const double scale = ns_per_tick(loop, &times.life_ns);
    times.completions_ns = (uint64_t)((double)count_read(&loop->ticks_completions) * scale);
    times.kernel_ns = (uint64_t)((double)count_read(&loop->ticks_kernel) * scale);
    times.asleep_ns = (uint64_t)((double)count_read(&loop->ticks_asleep) * scale);
    return times;
}

struct tael_role_times tael_role_times_read(const struct tael_loop *loop, const struct tael_role *role) {
    uint64_t life_ns;
    const double scale = ns_per_tick(loop, &life_ns);
    return (struct tael_role_times){
        .name = role->name,
        .turns = count_read(&role->turns),
        .turns_worked = count_read(&role->turns_worked),
        .worked_ns = (uint64_t)((double)count_read(&role->ticks_worked) * scale),
    };
}
