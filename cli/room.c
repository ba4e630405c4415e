#include "cli/room.h"

#include <inttypes.h>
#include <stdio.h>

enum { LOOKS_BETWEEN_REFUSALS = 60 }; /* a look a second: a line a minute */

void tael_room_watch_begin(struct tael_room_watch *watch, const struct tael_superblock_limits *limits) {
    *watch = (struct tael_room_watch){
        .max =
            {
                [TAEL_ROOM_ACCOUNTS] = limits->accounts_max,
                [TAEL_ROOM_TRANSFERS] = limits->transfers_max,
                [TAEL_ROOM_SESSIONS] = limits->sessions_max,
            },
    };
}

uint32_t tael_room_step(uint64_t taken, uint64_t max) {
    static const uint32_t steps[] = {95, 90, 80};
    for (uint32_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (taken * 100 >= max * steps[i]) return steps[i]; /* limits are far from 2^64 / 100 */
    }
    return 0;
}

static const struct {
    const char *what;
    const char *option;
    const char *full;
} kinds[TAEL_ROOM_KINDS] = {
    [TAEL_ROOM_ACCOUNTS] = {"accounts", "accounts-max", "requests that need more are refused"},
    [TAEL_ROOM_TRANSFERS] = {"transfers and burnt ids", "transfers-max", "requests that need more are refused"},
    [TAEL_ROOM_SESSIONS] = {"sessions", "sessions-max", "the longest unused one is evicted for each new client"},
};

/* What each line ends with. */
static void print_advice(const struct tael_room_watch *watch, uint32_t kind) {
    fprintf(stderr, "To raise the limit, restart with: tael start --%s %" PRIu64 " DIR\n", kinds[kind].option,
            watch->max[kind] * 2);
}

static void look_at_fill(struct tael_room_watch *watch, uint32_t kind, uint64_t taken) {
    const uint32_t step = tael_room_step(taken, watch->max[kind]);
    if (step <= watch->told_percent[kind]) return;
    watch->told_percent[kind] = step;
    fprintf(stderr, "tael: %s are %" PRIu32 " %% full: %" PRIu64 " of %" PRIu64 ". When full, %s. ", kinds[kind].what,
            step, taken, watch->max[kind], kinds[kind].full);
    print_advice(watch, kind);
}

static void look_at_refusals(struct tael_room_watch *watch, uint32_t kind, uint64_t taken, uint64_t refused) {
    const uint64_t more = refused - watch->refused[kind];
    if (watch->looks_silent[kind] > 0) watch->looks_silent[kind]--;
    if (more == 0 || watch->looks_silent[kind] > 0) return;
    watch->refused[kind] = refused;
    watch->looks_silent[kind] = LOOKS_BETWEEN_REFUSALS;
    fprintf(stderr,
            "tael: requests are refused, %" PRIu64 " so far: they need room for more %s than is left, %" PRIu64
            " of %" PRIu64 " are taken. Their clients wait. ",
            refused, kinds[kind].what, taken, watch->max[kind]);
    print_advice(watch, kind);
}

void tael_room_watch(struct tael_room_watch *watch, struct tael_worker *worker, const struct tael_sessions *sessions,
                     const struct tael_sequencer_counters *counters) {
    const struct tael_worker_board *board = &tael_worker_link(worker)->board;
    /* Relaxed: only for a person to read. */
    const uint64_t accounts = atomic_load_explicit(&board->accounts, memory_order_relaxed);
    const uint64_t transfers = atomic_load_explicit(&board->transfers, memory_order_relaxed);
    look_at_fill(watch, TAEL_ROOM_ACCOUNTS, accounts);
    look_at_fill(watch, TAEL_ROOM_TRANSFERS, transfers);
    look_at_fill(watch, TAEL_ROOM_SESSIONS, tael_sessions_usage(sessions).sessions);
    look_at_refusals(watch, TAEL_ROOM_ACCOUNTS, accounts, counters->dropped_room_accounts);
    look_at_refusals(watch, TAEL_ROOM_TRANSFERS, transfers, counters->dropped_room_transfers);
}
