/* What the two sides of the ring and watermark stress share. Each side is a file of its own, see plant.h.
 *
 * The ring carries pointers to messages that the producer fills with plain stores and the consumer reads and overwrites
 * with plain loads and stores; the watermark publishes a plain array. So every ordering that the headers promise is
 * what keeps some plain access from being a race. Nothing else synchronises the two threads between start and end. */
#ifndef TAEL_TESTS_THREADS_STRESS_H
#define TAEL_TESTS_THREADS_STRESS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#define STRESS_RING_CAPACITY 8u
/* One more than the ring holds: while the producer fills one, the others may all be in the ring. */
#define STRESS_MESSAGES (STRESS_RING_CAPACITY + 1u)
#define STRESS_CELLS 64u

struct stress_message {
    uint64_t number;
    uint64_t content[6];
};

struct stress_options {
    uint64_t count; /* messages to pass, or numbers to publish */
    uint64_t seed;
};

/* A small generator, one a thread: what to write and when to pause are functions of the seed. */
static inline uint64_t stress_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static inline uint64_t stress_content(uint64_t seed, uint64_t number, uint64_t index) {
    uint64_t state = seed ^ (number * 8 + index);
    return stress_random(&state);
}

/* Mostly goes on at once; sometimes lets the other side run, so that the ring is full, empty and in between. */
static inline void stress_pause(uint64_t *state) {
    const uint64_t chance = stress_random(state) % 64;
    if (chance == 0) sched_yield();
    if (chance >= 8) return;
    for (volatile uint64_t spin = 0; spin < chance * 100; spin++) continue;
}

struct tael_ring;
struct tael_watermark;

struct ring_stress {
    struct stress_options options;
    struct tael_ring *ring;
    struct stress_message messages[STRESS_MESSAGES];
    uint64_t received; /* by the consumer, read after its end */
    uint64_t wrong;
};

struct watermark_stress {
    struct stress_options options;
    struct tael_watermark *published; /* writer to reader: cells of numbers <= it are filled */
    struct tael_watermark *consumed; /* reader to writer: cells of numbers <= it may be filled anew */
    uint64_t cells[STRESS_CELLS];
    uint64_t wrong;
};

/* Threads' main functions; the argument is the struct. */
void *ring_stress_produce(void *argument);
void *ring_stress_consume(void *argument);
void *watermark_stress_write(void *argument);
void *watermark_stress_read(void *argument);

#endif
