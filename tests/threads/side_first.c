/* The sending sides: R1 and A2 of the ring, W1 of the watermark that publishes and A1 of the one that comes back. */
#include "plant.h"

#include "stress.h"

void *ring_stress_produce(void *argument) {
    struct ring_stress *stress = argument;
    uint64_t random = stress->options.seed;
    for (uint64_t number = 0; number < stress->options.count; number++) {
        struct stress_message *message = &stress->messages[number % STRESS_MESSAGES];
        message->number = number;
        for (uint64_t i = 0; i < 6; i++) message->content[i] = stress_content(stress->options.seed, number, i);
        while (!tael_ring_push(stress->ring, message)) sched_yield();
        stress_pause(&random);
    }
    return NULL;
}

void *watermark_stress_write(void *argument) {
    struct watermark_stress *stress = argument;
    uint64_t random = stress->options.seed;
    for (uint64_t number = 1; number <= stress->options.count; number++) {
        while (number > STRESS_CELLS && tael_watermark_read(stress->consumed) < number - STRESS_CELLS) sched_yield();
        stress->cells[number % STRESS_CELLS] = stress_content(stress->options.seed, number, 0);
        /* Several numbers may become visible at once, as when a block of many ops is announced; but never so late that
         * the reader, whom the next cell may wait for, could not go on. */
        const bool due = number == stress->options.count || number % (STRESS_CELLS / 2) == 0;
        if (due || stress_random(&random) % 4 != 0) tael_watermark_publish(stress->published, number);
        stress_pause(&random);
    }
    return NULL;
}
