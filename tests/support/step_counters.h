/* What several workers did over many ledgers: summed up, printed, and held against what a test is meant to reach. */
#ifndef TAEL_TESTS_STEP_COUNTERS_H
#define TAEL_TESTS_STEP_COUNTERS_H

#include <stdbool.h>

#include "engine/parallel.h"

void test_step_counters_add(struct tael_parallel_counters *sum, const struct tael_parallel_counters *counters);
/* One line; with `reasons` one more for each reason. */
void test_step_counters_print(const struct tael_parallel_counters *sum, bool reasons);
/* Whether at least half of the events were applied together; says so if not. */
bool test_step_counters_suffice(const struct tael_parallel_counters *sum);
/* How many of the reasons, for which an event is listed or a step not applied together, never came up. Names them. */
uint32_t test_step_counters_missing(const struct tael_parallel_counters *sum);

#endif
