#include "engine/team.h"

#include <immintrin.h>

#include <tael/assert.h>
#include <tael/limits.h>

/* A rising number that others wait for, and who sleeps on it. */
struct word {
    _Alignas(TAEL_CACHE_LINE) _Atomic uint32_t value;
    _Atomic uint32_t asleep; /* how many */
};

struct tael_crew {
    struct tael_sleeping sleeping;
    uint32_t workers;
    struct word turn;
    /* Of the pass under way; written by the leader before W1. */
    _Alignas(TAEL_CACHE_LINE) void (*pass)(void *argument, uint32_t worker); /* NULL: dismissed */
    void *argument;
    struct word *ended; /* by worker */
};

size_t tael_crew_size_bytes(uint32_t workers) {
    return tael_arena_share(sizeof(struct tael_crew)) + tael_arena_share(workers * sizeof(struct word));
}

struct tael_crew *tael_crew_init(struct tael_arena *arena, uint32_t workers, const struct tael_sleeping *sleeping) {
    TAEL_ASSERT(workers >= 1);
    TAEL_ASSERT(workers <= TAEL_WORKERS_MAX);
    struct tael_crew *crew = tael_arena_take(arena, sizeof *crew);
    crew->sleeping = *sleeping;
    crew->workers = workers;
    crew->ended = tael_arena_take(arena, workers * sizeof *crew->ended);
    return crew;
}

static void word_publish(const struct tael_crew *crew, struct word *word, uint32_t value) {
    atomic_store_explicit(&word->value, value, memory_order_seq_cst); /* W1, W2; S2 */
    if (atomic_load_explicit(&word->asleep, memory_order_seq_cst) > 0) crew->sleeping.wake(&word->value); /* S2 */
}

/* Returns when the word is no longer `value`, and what it is. */
static uint32_t word_await(const struct tael_crew *crew, struct word *word, uint32_t value, uint32_t spins) {
    uint32_t now;
    for (uint32_t i = 0; i < spins; i++) {
        now = atomic_load_explicit(&word->value, memory_order_acquire); /* A1, A2 */
        if (now != value) return now;
        _mm_pause();
    }
    atomic_fetch_add_explicit(&word->asleep, 1, memory_order_seq_cst); /* S1 */
    while ((now = atomic_load_explicit(&word->value, memory_order_seq_cst)) == value) { /* A1, A2; S1 */
        crew->sleeping.wait(&word->value, value);
    }
    atomic_fetch_sub_explicit(&word->asleep, 1, memory_order_relaxed); /* relaxed: at worst somebody is woken in vain */
    return now;
}

static void crew_run(void *context, void (*pass)(void *argument, uint32_t worker), void *argument) {
    struct tael_crew *crew = context;
    /* Relaxed: only this thread writes it. */
    const uint32_t before = atomic_load_explicit(&crew->turn.value, memory_order_relaxed);
    crew->pass = pass;
    crew->argument = argument;
    word_publish(crew, &crew->turn, before + 1);
    pass(argument, 0);
    for (uint32_t i = 1; i < crew->workers; i++) {
        const uint32_t ended = word_await(crew, &crew->ended[i], before, crew->sleeping.spins_pass);
        TAEL_ASSERT(ended == before + 1);
    }
}

struct tael_team tael_crew_team(struct tael_crew *crew) {
    return (struct tael_team){.workers = crew->workers, .run = crew_run, .context = crew};
}

void tael_crew_work(struct tael_crew *crew, uint32_t worker) {
    TAEL_ASSERT(worker > 0);
    TAEL_ASSERT(worker < crew->workers);
    for (uint32_t turn = 0;;) {
        turn = word_await(crew, &crew->turn, turn, crew->sleeping.spins_idle);
        if (crew->pass == NULL) return;
        crew->pass(crew->argument, worker);
        word_publish(crew, &crew->ended[worker], turn);
    }
}

void tael_crew_dismiss(struct tael_crew *crew) {
    const uint32_t before = atomic_load_explicit(&crew->turn.value, memory_order_relaxed); /* relaxed: own */
    crew->pass = NULL;
    word_publish(crew, &crew->turn, before + 1);
}
