/* The receiving sides: A1 and R2 of the ring, A1 of the watermark that publishes and W1 of the one that comes back. */
#include "plant.h"

#include "stress.h"

static bool message_is_right(const struct stress_message *message, uint64_t seed, uint64_t number) {
    if (message->number != number) return false;
    for (uint64_t i = 0; i < 6; i++) {
        if (message->content[i] != stress_content(seed, number, i)) return false;
    }
    return true;
}

void *ring_stress_consume(void *argument) {
    struct ring_stress *stress = argument;
    uint64_t random = ~stress->options.seed;
    while (stress->received < stress->options.count) {
        struct stress_message *message = tael_ring_peek(stress->ring);
        if (message == NULL) {
            sched_yield();
            continue;
        }
        if (!message_is_right(message, stress->options.seed, stress->received)) stress->wrong++;
        /* Ours until it is popped: a producer that reuses it too early would see or lose this. */
        message->number = UINT64_MAX;
        if (tael_ring_pop(stress->ring) != message) stress->wrong++;
        stress->received++;
        stress_pause(&random);
    }
    return NULL;
}

void *watermark_stress_read(void *argument) {
    struct watermark_stress *stress = argument;
    uint64_t random = ~stress->options.seed;
    uint64_t consumed = 0;
    while (consumed < stress->options.count) {
        const uint64_t published = tael_watermark_read(stress->published);
        if (published == consumed) sched_yield();
        if (published < consumed) stress->wrong++;
        while (consumed < published) {
            consumed++;
            uint64_t *cell = &stress->cells[consumed % STRESS_CELLS];
            if (*cell != stress_content(stress->options.seed, consumed, 0)) stress->wrong++;
            *cell = UINT64_MAX;
        }
        tael_watermark_publish(stress->consumed, consumed);
        stress_pause(&random);
    }
    return NULL;
}
