/* Loops hand a token round: each role passes it on, now and then after dawdling, so that the others have gone to sleep, or are about
 * to. A bell that is missed leaves a loop asleep until it looks by itself, a second later: so the time of each lap is held
 * against half of that. One loop has an io_uring, the other has none.
 *
 * Usage: loop_stress LAPS */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <tael/assert.h>

#include "cli/loop.h"
#include "cli/output.h"
#include "tests/support/random.h"

enum { LOOPS = 2, RING_CAPACITY = 4 };

#define LAP_MAX_NS (TAEL_NS_PER_S / 2) /* of a loop's own look, a second */
#define TRIES 3 /* a machine under load may hold a thread up for that long; a missed bell comes again */

struct station {
    struct tael_loop loop;
    struct tael_role role;
    struct tael_ring to_next;
    struct station *before;
    struct test_random random;
    uint64_t lap_begun_ns; /* of the first station */
    uint64_t laps_late;
    uint32_t laps;
    uint32_t laps_wanted;
    pthread_t thread;
};

static struct station stations[LOOPS];
static int token_only;
static _Atomic bool ended;
static _Atomic uint32_t asked;
static pthread_barrier_t opened, assigned;

/* Mostly about as long as the other one takes to fall asleep, now and then long. */
static void dawdle(struct station *station) {
    const uint64_t most = test_random_percent(&station->random, 98) ? 300 : 2000;
    const uint64_t pauses = test_random_below(&station->random, most);
    for (uint64_t i = 0; i < pauses; i++) __builtin_ia32_pause();
}

/* Counted and timed by the first station. */
static void lap_end(struct station *station) {
    const uint64_t now_ns = tael_monotonic_ns();
    if (station->lap_begun_ns != 0 && now_ns - station->lap_begun_ns > LAP_MAX_NS) station->laps_late++;
    station->lap_begun_ns = now_ns;
    if (++station->laps < station->laps_wanted && station->laps_late < TRIES) return;
    atomic_store_explicit(&ended, true, memory_order_release);
    for (uint32_t i = 0; i < LOOPS; i++) tael_loop_wake(&stations[i].loop);
}

static int station_poll(void *context, const struct tael_clock_reading *now) {
    struct station *station = context;
    int *token = tael_ring_pop(&station->before->to_next);
    (void)now;
    if (token == NULL) return 0;
    dawdle(station);
    if (station == &stations[0]) lap_end(station);
    const bool is_pushed = tael_ring_push(&station->to_next, token);
    TAEL_ASSERT(is_pushed); /* it holds more than there are */
    return 1;
}

static uint64_t station_idle_ns(void *context, const struct tael_clock_reading *now) {
    (void)context;
    (void)now;
    return UINT64_MAX;
}

static void station_print(void *context) { (void)context; }

static const struct tael_loop_options loop_options[LOOPS] = {
    {.has_ring = true, .spin_ns = 3000, .ring_entries = 8, .ring_completions = 16},
    {.has_ring = false, .spin_ns = 3000},
};

static void *station_run(void *context) {
    struct station *station = context;
    TAEL_ASSERT(tael_loop_open(&station->loop, &loop_options[station - stations]) == 0);
    (void)pthread_barrier_wait(&opened);
    (void)pthread_barrier_wait(&assigned);
    TAEL_ASSERT(tael_loop_run(&station->loop, &ended, &asked) == 0);
    return NULL;
}

static void stations_init(uint32_t laps) {
    static _Alignas(TAEL_CACHE_LINE) uint8_t memory[4096];
    struct tael_arena arena = {.base = memory, .size = sizeof memory};
    for (uint32_t i = 0; i < LOOPS; i++) {
        struct station *station = &stations[i];
        station->random = (struct test_random){.state = i + 1};
        station->before = &stations[(i + LOOPS - 1) % LOOPS];
        station->laps_wanted = laps;
        tael_ring_init(&station->to_next, &arena, RING_CAPACITY);
        station->role = (struct tael_role){.name = "station",
                                           .context = station,
                                           .poll = station_poll,
                                           .idle_ns = station_idle_ns,
                                           .print = station_print};
    }
    TAEL_ASSERT(tael_ring_push(&stations[0].to_next, &token_only));
}

static void roles_assign(void) {
    for (uint32_t i = 0; i < LOOPS; i++) {
        struct station *station = &stations[i];
        tael_loop_add(&station->loop, &station->role);
        tael_role_hands(&station->role, &station->loop, &station->to_next, NULL, &stations[(i + 1) % LOOPS].loop);
    }
}

int main(int argc, char **argv) {
    const uint32_t laps = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 20000;
    (void)pthread_barrier_init(&opened, NULL, LOOPS + 1);
    (void)pthread_barrier_init(&assigned, NULL, LOOPS + 1);
    stations_init(laps);
    for (uint32_t i = 0; i < LOOPS; i++) {
        TAEL_ASSERT(pthread_create(&stations[i].thread, NULL, station_run, &stations[i]) == 0);
    }
    (void)pthread_barrier_wait(&opened);
    roles_assign();
    (void)pthread_barrier_wait(&assigned);
    uint64_t sleeps = 0;
    for (uint32_t i = 0; i < LOOPS; i++) TAEL_ASSERT(pthread_join(stations[i].thread, NULL) == 0);
    for (uint32_t i = 0; i < LOOPS; i++) {
        sleeps += tael_loop_times_read(&stations[i].loop).sleeps;
        tael_loop_close(&stations[i].loop);
    }
    printf("%" PRIu32 " laps, %" PRIu64 " of them late; loops slept %" PRIu64 " times\n", stations[0].laps,
           stations[0].laps_late, sleeps);
    if (sleeps < laps / 10) fprintf(stderr, "the loops hardly slept, so nothing was tried\n");
    return stations[0].laps_late >= TRIES || sleeps < laps / 10;
}
