/* Replay: the state after op N from the log up to N, by the worker's and the sessions' own code.
 *
 * Used by recovery, verify and tests alike. Pure; single-threaded; before there is a sequencer. Each request's outcome is
 * kept before the next one moves the sessions on (engine/sessions.h, invariant 4).
 *
 * An op that the administrator had left out (docs/operations.md, "When an assertion fails") changes nothing, and its
 * client's session ends there: the client would wait for an answer that nobody can give. What the log holds of that client
 * after it still changes the ledger, as it did when it was acknowledged, and leaves no session. */
#ifndef TAEL_ENGINE_REPLAY_H
#define TAEL_ENGINE_REPLAY_H

#include <stdint.h>

#include <tael/arena.h>
#include <tael/block.h>
#include <tael/log_format.h>

#include "engine/sessions.h"
#include "engine/worker.h"

struct tael_replay {
    struct tael_worker *worker;
    struct tael_sessions *sessions;
    struct tael_outcome *outcomes; /* scratch for one block */
    struct tael_exception *exceptions;
    uint64_t op; /* last one replayed */
    uint64_t timestamp;
    uint64_t requests; /* replayed so far */
    uint64_t events;
    uint64_t skipped; /* ops left out so far */
};

size_t tael_replay_size_bytes(void);
/* Begins before op 1, with worker and sessions empty. */
void tael_replay_init(struct tael_replay *replay, struct tael_arena *arena, struct tael_worker *worker,
                      struct tael_sessions *sessions);

/* Replays a block of the log: its requests stand behind its header, and persist/ has checked that they make sense there.
 * Requests behind op `until` are left alone. */
void tael_replay_block(struct tael_replay *replay, const struct tael_log_block *header, uint64_t until);

#endif
