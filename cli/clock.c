#include "cli/clock.h"

#include <time.h>

#include <tael/assert.h>
#include <tael/limits.h>

enum tael_clock_verdict tael_clock_check(uint64_t wall_ns, uint64_t timestamp_last, uint64_t format_time_ns) {
    const uint64_t later = timestamp_last > format_time_ns ? timestamp_last : format_time_ns;
    if (wall_ns < timestamp_last) {
        return timestamp_last - wall_ns > TAEL_CLOCK_BEHIND_MAX_NS ? TAEL_CLOCK_BEHIND : TAEL_CLOCK_SLIGHTLY_BEHIND;
    }
    if (wall_ns <= later) return TAEL_CLOCK_GOOD;
    if (wall_ns - later > TAEL_CLOCK_AHEAD_MAX_NS) return TAEL_CLOCK_AHEAD;
    return wall_ns - later > TAEL_CLOCK_AHEAD_WARN_NS ? TAEL_CLOCK_FAR_AHEAD : TAEL_CLOCK_GOOD;
}

void tael_clock_begin(struct tael_clock *clock, struct tael_clock_reading reading) {
    *clock = (struct tael_clock){.last = reading};
}

uint64_t tael_clock_follow(struct tael_clock *clock, struct tael_clock_reading reading, enum tael_clock_event *event) {
    TAEL_ASSERT(reading.monotonic_ns >= clock->last.monotonic_ns);
    const uint64_t elapsed = reading.monotonic_ns - clock->last.monotonic_ns;
    const uint64_t expected = clock->last.wall_ns + elapsed;
    const uint64_t stray = reading.wall_ns > expected ? reading.wall_ns - expected : expected - reading.wall_ns;
    /* No slew is allowed for while it is off: else a short leap would count as one after a long sleep. */
    const uint64_t slew = clock->leapt ? 0 : elapsed / TAEL_CLOCK_SLEW_DIVISOR;
    const bool leaps = stray > TAEL_CLOCK_STRAY_MAX_NS + slew;
    *event = TAEL_CLOCK_STEADY;
    if (leaps && !clock->leapt) *event = TAEL_CLOCK_LEAPT;
    if (!leaps && clock->leapt) *event = TAEL_CLOCK_RETURNED;
    clock->leapt = leaps;
    clock->leap_ns = leaps ? (int64_t)(reading.wall_ns - expected) : 0;
    clock->last.wall_ns = leaps ? expected : reading.wall_ns;
    clock->last.monotonic_ns = reading.monotonic_ns;
    return clock->last.wall_ns;
}

void tael_clock_confirm(struct tael_clock *clock, struct tael_clock_reading reading) {
    tael_clock_begin(clock, reading);
}

static uint64_t read_ns(clockid_t id) {
    struct timespec time;
    const int failed = clock_gettime(id, &time);
    TAEL_ASSERT(!failed);
    return (uint64_t)time.tv_sec * TAEL_NS_PER_S + (uint64_t)time.tv_nsec;
}

struct tael_clock_reading tael_clock_read(void) {
    return (struct tael_clock_reading){.wall_ns = read_ns(CLOCK_REALTIME), .monotonic_ns = read_ns(CLOCK_BOOTTIME)};
}
