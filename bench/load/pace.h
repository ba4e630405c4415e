/* When the batches of a given rate are meant to be sent: evenly, whatever became of those before. Latency that counts
 * from these times holds what a customer waits whom a slow server keeps in line. Pure. */
#ifndef TAEL_BENCH_PACE_H
#define TAEL_BENCH_PACE_H

#include <stdint.h>

struct tael_pace {
    uint64_t begin_ns; /* when the first is meant to be sent */
    uint64_t rate; /* transfers a second; not 0 */
    uint32_t batch; /* transfers in each */
};

/* When batch `number`, from 0, is meant to be sent. Never drifts: each is computed from the beginning. */
uint64_t tael_pace_intended_ns(const struct tael_pace *pace, uint64_t number);

#endif
