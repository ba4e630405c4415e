/* Warnings when a ledger fills up: at 80, 90 and 95 % of a limit, once each, with the command that raises it; and when
 * requests are refused, since most clients only wait then, and a large request may find no room long before. */
#ifndef TAEL_CLI_ROOM_H
#define TAEL_CLI_ROOM_H

#include <stdint.h>

#include <tael/log_format.h>

#include "engine/sequencer.h"
#include "engine/sessions.h"
#include "engine/worker.h"

enum { TAEL_ROOM_ACCOUNTS, TAEL_ROOM_TRANSFERS, TAEL_ROOM_SESSIONS, TAEL_ROOM_KINDS };

struct tael_room_watch {
    uint64_t max[TAEL_ROOM_KINDS];
    uint32_t told_percent[TAEL_ROOM_KINDS]; /* the highest step that was told; 0 none */
    uint64_t refused[TAEL_ROOM_KINDS]; /* requests without room, at the last look */
    uint32_t looks_silent[TAEL_ROOM_KINDS]; /* to come before refusals are told again */
};

void tael_room_watch_begin(struct tael_room_watch *watch, const struct tael_superblock_limits *limits);

/* Looks, and warns on stderr where a step was passed or requests were refused since the last look. */
void tael_room_watch(struct tael_room_watch *watch, struct tael_worker *worker, const struct tael_sessions *sessions,
                     const struct tael_sequencer_counters *counters);

/* The step that `taken` of `max` has reached: 0, 80, 90 or 95. Pure. */
uint32_t tael_room_step(uint64_t taken, uint64_t max);

#endif
