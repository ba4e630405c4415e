/* Stress of the ring and the watermark: two threads, every message checked, pauses at random.
 *
 * Goal: all arrive, once, in order, whole; under ThreadSanitizer also: every hand-over is ordered, in both directions.
 * Usage: stress ring|watermark COUNT [SEED]. Prints the seed. Exits with 0, or 1 when something arrived wrong; where it
 * is built with ThreadSanitizer, with 66 when that found a race. */
#include "plant.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stress.h"

static void run_both(void *(*first)(void *), void *(*second)(void *), void *stress) {
    pthread_t threads[2];
    TAEL_ASSERT(pthread_create(&threads[0], NULL, first, stress) == 0);
    TAEL_ASSERT(pthread_create(&threads[1], NULL, second, stress) == 0);
    for (int i = 0; i < 2; i++) TAEL_ASSERT(pthread_join(threads[i], NULL) == 0);
}

static bool stress_ring(struct stress_options options) {
    static alignas(TAEL_SECTOR_SIZE) uint8_t memory[TAEL_SECTOR_SIZE];
    struct tael_arena arena = {.base = memory, .size = sizeof memory};
    static struct tael_ring ring;
    static struct ring_stress stress;
    tael_ring_init(&ring, &arena, STRESS_RING_CAPACITY);
    stress = (struct ring_stress){.options = options, .ring = &ring};
    run_both(ring_stress_produce, ring_stress_consume, &stress);
    printf("%llu of %llu messages, %llu wrong\n", (unsigned long long)stress.received,
           (unsigned long long)options.count, (unsigned long long)stress.wrong);
    return stress.received == options.count && stress.wrong == 0 && tael_ring_pop(&ring) == NULL;
}

static bool stress_watermark(struct stress_options options) {
    static struct tael_watermark published;
    static struct tael_watermark consumed;
    static struct watermark_stress stress;
    stress = (struct watermark_stress){.options = options, .published = &published, .consumed = &consumed};
    run_both(watermark_stress_write, watermark_stress_read, &stress);
    printf("%llu numbers, %llu wrong\n", (unsigned long long)tael_watermark_read(&consumed),
           (unsigned long long)stress.wrong);
    return tael_watermark_read(&consumed) == options.count && stress.wrong == 0;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: stress ring|watermark COUNT [SEED]\n");
        return 2;
    }
    struct stress_options options = {.count = strtoull(argv[2], NULL, 10), .seed = (uint64_t)getpid()};
    if (argc > 3) options.seed = strtoull(argv[3], NULL, 10);
    printf("seed %llu\n", (unsigned long long)options.seed);
    const bool right = strcmp(argv[1], "ring") == 0 ? stress_ring(options) : stress_watermark(options);
    return right ? 0 : 1;
}
