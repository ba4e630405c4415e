/* A completion: what is called when an asynchronous operation of the kernel ends.
 *
 * One io_uring serves everything on a thread. Every submission's user_data is a pointer to a struct tael_completion that
 * its owner keeps until `done` was called (for a multishot operation: was called without IORING_CQE_F_MORE). The loop that
 * owns the io_uring only ever calls tael_completion_dispatch; what an operation means, its owner alone knows.
 *
 * user_data 0 (no completion) is legal: nobody waits for it. */
#ifndef TAEL_COMPLETION_H
#define TAEL_COMPLETION_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in the owner's own struct; `done` finds it by the completion's place in it. */
struct tael_completion {
    /* `result` is the kernel's: a count or a negative errno. `flags` are those of the completion queue entry. */
    void (*done)(struct tael_completion *completion, int32_t result, uint32_t flags);
};

/* What the loop does with each completion queue entry. */
static inline void tael_completion_dispatch(uint64_t user_data, int32_t result, uint32_t flags) {
    struct tael_completion *completion = (struct tael_completion *)(uintptr_t)user_data;
    if (completion != NULL) completion->done(completion, result, flags);
}

/* The struct that holds `member`, from a pointer to the member. */
#define TAEL_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
