/* Planted faults: includes the ring and the watermark with one side's memory orders weakened to relaxed, when the build
 * says so. Each side stands in a file of its own, so one of the labelled orderings is broken at a time and its partner
 * stays whole. On x86 the weakened code still runs right, which is why ThreadSanitizer is the judge.
 *
 * Include it before anything else that includes <stdatomic.h>'s users. */
#ifndef TAEL_TESTS_THREADS_PLANT_H
#define TAEL_TESTS_THREADS_PLANT_H

#include <stdatomic.h>

#ifdef PLANT_RELAXED_RELEASE
#define memory_order_release memory_order_relaxed
#endif
#ifdef PLANT_RELAXED_ACQUIRE
#define memory_order_acquire memory_order_relaxed
#endif

#include <tael/ring.h>
#include <tael/watermark.h>

#endif
