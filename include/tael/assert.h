/* Assertions for our own mistakes. They stay on in production: for money, stopping is cheaper than going on.
 *
 * Customers' mistakes are statuses and the world's are negative errnos; neither is ever asserted. On failure the condition,
 * its place and what the thread was working on (see tael_panic_context) are printed, then the process aborts. */
#ifndef TAEL_ASSERT_H
#define TAEL_ASSERT_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* What the calling thread is working on, for the report of a failed assertion. Set by whoever applies a request or
 * recovers a block; zero means nothing to tell. */
struct tael_panic_context {
    uint64_t op; /* the request being applied */
    uint64_t block_sequence; /* the block that holds it */
    uint32_t event_index; /* the event within the request */
    void (*dump)(FILE *out, const void *state);
    const void *state; /* handed to dump */
};

/* Weak, so that every file that includes this header shares one. */
__attribute__((weak)) _Thread_local struct tael_panic_context tael_panic_context;

__attribute__((cold, noreturn)) static inline void tael_assert_failed(const char *condition, const char *file, int line,
                                                                      const char *function) {
    const struct tael_panic_context *context = &tael_panic_context;
    fprintf(stderr, "tael: assertion failed: %s\n  at %s:%d in %s\n", condition, file, line, function);
    fprintf(stderr, "  op %" PRIu64 ", event %" PRIu32 ", block %" PRIu64 "\n", context->op, context->event_index,
            context->block_sequence);
    if (context->dump != NULL) context->dump(stderr, context->state);
    fprintf(stderr, "  nothing more is acknowledged; see docs/operations.md, \"When an assertion fails\"\n");
    abort();
}

#define TAEL_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define TAEL_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define TAEL_ASSERT(condition)                                                                                         \
    do {                                                                                                               \
        if (TAEL_UNLIKELY(!(condition))) tael_assert_failed(#condition, __FILE__, __LINE__, __func__);                 \
    } while (0)

/* A place that is never reached; `why` says what would have to be wrong. */
#define TAEL_UNREACHABLE(why) tael_assert_failed("never reached: " why, __FILE__, __LINE__, __func__)

/* Costly checks: always compiled, run only where TAEL_CHECK_COSTLY is 1 (the sanitizer builds). */
#ifndef TAEL_CHECK_COSTLY
#define TAEL_CHECK_COSTLY 0
#endif
#define TAEL_ASSERT_COSTLY(condition)                                                                                  \
    do {                                                                                                               \
        if (TAEL_CHECK_COSTLY) TAEL_ASSERT(condition);                                                                 \
    } while (0)

#endif
