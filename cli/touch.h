/* Touches an arena's memory ahead of need, behind the server's back: a page's first touch takes the kernel's time to clear
 * it, which otherwise falls on the first transfers that come to it (two thirds of a fresh server's processor time, on a
 * virtual machine whose host must find the page too).
 *
 * A thread of the lowest priority does it, so it takes only processor time that nobody wants, and nothing waits for it. It
 * leaves reserves alone, and ends early where the machine runs short of memory. */
#ifndef TAEL_CLI_TOUCH_H
#define TAEL_CLI_TOUCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <tael/arena.h>

struct tael_touch {
    struct tael_arena arena; /* as it was at the begin; the thread only reads it */
    pthread_t thread;
    atomic_bool stop;
    atomic_bool done; /* all is touched, or it had to stop */
    bool begun;
};

/* Begins with what of the arena is in use now. The arena must stay mapped until tael_touch_end. Where no thread is to be
 * had, nothing is touched ahead. */
void tael_touch_begin(struct tael_touch *touch, const struct tael_arena *arena);

/* Ends it, done or not. Nothing where it was not begun. */
void tael_touch_end(struct tael_touch *touch);

/* Whether the thread is through, or there is none. Any thread. */
bool tael_touch_is_done(const struct tael_touch *touch);

/* What the thread does, for tests: touches all there is to touch, until told to stop. */
void tael_touch_run(struct tael_touch *touch);

#endif
