/* A team of threads that make passes together: the leader says which, all make it, and the leader goes on when all have ended.
 *
 * Two kinds of words, each on a cache line of its own:
 *   turn     the number of the pass under way; written by the leader
 *   ended    the last pass that a worker has ended; one each, written by that worker
 *
 *   W1 leader publishes turn (release)   ->  A1 worker reads turn (acquire): the pass, and all that was done before it, is visible.
 *   W2 worker publishes ended (release)  ->  A2 leader reads ended (acquire): all that the worker did in the pass is visible.
 *
 * It can't deadlock: the leader waits only for workers, a worker only for the leader, and neither while the other waits for it: the
 * leader publishes a turn only when all have ended the one before.
 *
 * Who waits spins for a while, then sleeps, by calls that are handed in. A sleeper says so first, then looks once more:
 *   S1 sleeper raises asleep, then reads the word;  S2 waker writes the word, then reads asleep. All four are sequentially
 *   consistent, so one of the two sees the other. */
#ifndef TAEL_ENGINE_TEAM_H
#define TAEL_ENGINE_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>

#include "engine/parallel.h"

struct tael_crew;

/* How a thread sleeps; as the kernel's futex. */
struct tael_sleeping {
    void (*wait)(_Atomic uint32_t *word,
                 uint32_t value); /* until woken, unless the word has another value; may return early */
    void (*wake)(_Atomic uint32_t *word); /* all who wait on it: workers share the leader's */
    uint32_t spins_idle; /* looks of a worker for the next pass, before it sleeps */
    uint32_t spins_pass; /* the leader's for the end of one that is under way */
};

size_t tael_crew_size_bytes(uint32_t workers);
struct tael_crew *tael_crew_init(struct tael_arena *arena, uint32_t workers, const struct tael_sleeping *sleeping);

/* The team, for whoever leads it. */
struct tael_team tael_crew_team(struct tael_crew *crew);

/* Worker 1 .. workers - 1, each on a thread of its own: makes passes until the crew is dismissed. */
void tael_crew_work(struct tael_crew *crew, uint32_t worker);
/* By the leader, between passes; then no pass can be run any more. It doesn't wait: the crew's memory is in use until every
 * tael_crew_work has returned. */
void tael_crew_dismiss(struct tael_crew *crew);

#endif
