/* The clock policy: which time the sequencer is told.
 *
 * Timestamps stand in the log for ever and only rise, so a wall clock that is wrong once would be believed for ever. At the
 * start a clock that contradicts the ledger is refused. While running, the wall clock is followed as long as it goes with
 * the monotonic one; a leap is reported and not followed (time goes on by the monotonic clock) until an administrator
 * confirms it, or the clock comes back.
 *
 * Pure: readings are handed in; tael_clock_read is the thin part that asks the kernel. */
#ifndef TAEL_CLI_CLOCK_H
#define TAEL_CLI_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* A wall clock that far behind the last timestamp, or that far ahead of the ledger, is refused at the start. */
#define TAEL_CLOCK_BEHIND_MAX_NS (3600ull * 1000000000)
#define TAEL_CLOCK_AHEAD_MAX_NS (400ull * 24 * 3600 * 1000000000)
/* Further ahead than this is worth a word: a ledger that was not used for that long, or a clock that is wrong. */
#define TAEL_CLOCK_AHEAD_WARN_NS (7ull * 24 * 3600 * 1000000000)
/* Between two readings the wall clock may stray that far from the monotonic one, and by a part of the time between them
 * (clocks are slewed by up to a tenth); more is a leap. */
#define TAEL_CLOCK_STRAY_MAX_NS 500000000ull
#define TAEL_CLOCK_SLEW_DIVISOR 8

enum tael_clock_verdict {
    TAEL_CLOCK_GOOD,
    TAEL_CLOCK_SLIGHTLY_BEHIND, /* accepted: timestamps go on by ones until the clock has caught up */
    TAEL_CLOCK_FAR_AHEAD, /* accepted, with a warning */
    TAEL_CLOCK_BEHIND, /* refused */
    TAEL_CLOCK_AHEAD, /* refused */
};

/* What to make of the wall clock at the start. `timestamp_last` is 0 where the ledger is empty. */
enum tael_clock_verdict tael_clock_check(uint64_t wall_ns, uint64_t timestamp_last, uint64_t format_time_ns);

struct tael_clock_reading {
    uint64_t wall_ns; /* since 1970 */
    uint64_t monotonic_ns; /* counts on while the machine is suspended */
};

struct tael_clock {
    struct tael_clock_reading last; /* the last reading, its wall clock as it was followed */
    bool leapt; /* the wall clock is not followed at present */
    int64_t leap_ns; /* by how much it is off, where it leapt */
};

enum tael_clock_event {
    TAEL_CLOCK_STEADY, /* nothing to tell */
    TAEL_CLOCK_LEAPT, /* from now on it is not followed */
    TAEL_CLOCK_RETURNED, /* it agrees again, and is followed */
};

void tael_clock_begin(struct tael_clock *clock, struct tael_clock_reading reading);

/* The time to go by, and in `event` what is to be told of it. Readings' monotonic parts never fall. */
uint64_t tael_clock_follow(struct tael_clock *clock, struct tael_clock_reading reading, enum tael_clock_event *event);

/* The administrator says that the wall clock is right: it is followed from this reading on. */
void tael_clock_confirm(struct tael_clock *clock, struct tael_clock_reading reading);

struct tael_clock_reading tael_clock_read(void);

#endif
