/* See step_counters.h. */
#include "tests/support/step_counters.h"

#include <inttypes.h>
#include <stdio.h>

void test_step_counters_add(struct tael_parallel_counters *sum, const struct tael_parallel_counters *counters) {
    sum->steps += counters->steps;
    sum->events += counters->events;
    sum->events_listed += counters->events_listed;
    for (uint32_t i = 0; i < TAEL_LISTED_REASONS; i++) sum->listed[i] += counters->listed[i];
    sum->steps_sequential += counters->steps_sequential;
    for (uint32_t i = 0; i < TAEL_SEQUENTIAL_REASONS; i++) sum->sequential[i] += counters->sequential[i];
    sum->steps_backed_off += counters->steps_backed_off;
    sum->chains_alone += counters->chains_alone;
    sum->events_alone += counters->events_alone;
    sum->legs_reclaimed += counters->legs_reclaimed;
}

static void print_reason(const char *name, uint64_t count) { printf("  %-28s%12" PRIu64 "\n", name, count); }

void test_step_counters_print(const struct tael_parallel_counters *sum, bool reasons) {
    printf("%" PRIu64 " steps of %" PRIu64 " events, %" PRIu64 " of them decided in the residue; %" PRIu64
           " steps undone, %" PRIu64 " backed off, %" PRIu64 " chains alone, %" PRIu64 " events one by one; %" PRIu64
           " legs reclaimed\n",
           sum->steps, sum->events, sum->events_listed, sum->steps_sequential, sum->steps_backed_off, sum->chains_alone,
           sum->events_alone, sum->legs_reclaimed);
    if (!reasons) return;
#define X(name, text) print_reason("listed_" #name, sum->listed[TAEL_LISTED_##name]);
    TAEL_LISTED_TABLE(X)
#undef X
#define X(name, text) print_reason("sequential_" #name, sum->sequential[TAEL_SEQUENTIAL_##name]);
    TAEL_SEQUENTIAL_TABLE(X)
#undef X
}

bool test_step_counters_suffice(const struct tael_parallel_counters *sum) {
    if (sum->events >= sum->events_alone) return true;
    printf("too few events were applied together: %" PRIu64 " of %" PRIu64 "\n", sum->events,
           sum->events + sum->events_alone);
    return false;
}

static uint32_t missing(const char *name, uint64_t count) {
    if (count > 0) return 0;
    printf("never reached: %s\n", name);
    return 1;
}

uint32_t test_step_counters_missing(const struct tael_parallel_counters *sum) {
    uint32_t count = 0;
#define X(name, text) count += missing("listed_" #name, sum->listed[TAEL_LISTED_##name]);
    TAEL_LISTED_TABLE(X)
#undef X
#define X(name, text) count += missing("sequential_" #name, sum->sequential[TAEL_SEQUENTIAL_##name]);
    TAEL_SEQUENTIAL_TABLE(X)
#undef X
    return count;
}
